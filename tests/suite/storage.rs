//! Storage in 16 bits, f32 rows that are copied, few queries, and products of bf16 pairs.

use crate::bits::one_by_one;
use crate::case::{
    Case, FORMATS, Layout, Output, Reach, Rule, Storage, Tensor, arithmetic_of, assert_same_bits,
    entries_for, pair_entries, shape,
};
use crate::certified::rules;
use crate::states::{merge_in_order, pieces_of};
use flashlet::entry::Entry;
use flashlet::{Error, Heads, Inputs, Level, Precision, Shape, Strides, TILE_K};
use oracle::Format;

const F32: Format = Format::F32;
const BF16: Format = Format::Bf16;
const HALVES: [Format; 2] = [Format::F16, BF16];

/// Head sizes that fill no vector.
const ODD: [usize; 5] = [1, 3, 17, 31, 100];

fn mixes() -> impl Iterator<Item = [Format; 4]> {
    (0..81).map(|n| [27, 9, 3, 1].map(|place| FORMATS[n / place % 3]))
}

#[test]
fn every_mix_of_formats_is_certified() {
    let odd = Heads { q: 2, kv: 1, dim: 13, v_dim: 7 };
    for (heads, q_len) in [(Heads::new(2, 1, 32), 3), (odd, 20)] {
        let case = Case::random(shape(q_len, 103, heads), Rule::causal(103 - q_len as i64), 1);
        for formats @ [q, k, v, o] in mixes() {
            let case = case.rounded_to([q, k, v]);
            for entry in entries_for(heads) {
                let plan = case.plan_of(entry);
                let output = case.run_stored(&plan, Storage::packed(formats), plan.scratch_len());
                case.assert_certified_as(&entry, arithmetic_of(&entry).stored_as(o), &output);
            }
        }
    }
}

/// Layouts of queries, keys, values and outputs: by token, by head, odd strides, each its own.
fn layouts() -> [[Layout; 4]; 4] {
    let all = |order, gaps| [Layout { order, gaps }; 4];
    let each = [0, 1, 2, 3].map(|t| Layout { order: t + 2, gaps: [3, 5 + t, t] });
    [all(0, [0; 3]), all(1, [0; 3]), all(0, [1, 6, 3]), each]
}

/// The output in `format` is what the f32 output gives rounded once. All NaNs are alike.
#[track_caller]
fn assert_rounded_once(got: &Output, exact: &Output, format: Format, what: &str) {
    let canonical = |x: &[f32]| -> Vec<f32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN } else { *x }).collect()
    };
    let rounded = Tensor::rounded(&exact.o, format).widened();
    assert_same_bits(&canonical(&got.o), &canonical(&rounded), format_args!("{what}: o"));
    assert_same_bits(&canonical(&got.lse), &canonical(&exact.lse), format_args!("{what}: lse"));
}

#[test]
fn numbers_stored_in_16_bits_give_the_bits_of_the_same_numbers_in_f32() {
    let mut heads: Vec<Heads> = ODD.map(|dim| Heads { q: 4, kv: 2, dim, v_dim: dim % 33 }).to_vec();
    heads.extend([Heads::new(4, 2, 32), Heads { q: 2, kv: 2, dim: 192, v_dim: 128 }]);
    heads.extend(ODD.map(|v_dim| Heads { q: 2, kv: 2, dim: 9, v_dim }));
    for heads in heads {
        for q_len in [1, 21] {
            let shape = Shape { batch: 2, q_len, kv_len: 99, heads };
            let rule = Rule::causal(80).windowed(Reach::Keys(70)).with_sinks(3);
            let mut case = Case::random(shape, rule, q_len as u64);
            case.kv_lens = Some(vec![99, 50]);
            for (n, layouts) in layouts().into_iter().enumerate() {
                let [a, b] = HALVES;
                let inputs = [[a; 3], [b; 3], [F32, a, b], [b, a, F32]][(n + q_len) % 4];
                let output = HALVES[n % 2];
                let case = case.rounded_to(inputs);
                for entry in entries_for(heads) {
                    let plan = case.plan_of(entry);
                    let expected = case.run(&plan);
                    let what = format!("{} {heads:?} {inputs:?} {layouts:?}", entry.name());
                    let run = |[q, k, v]: [Format; 3], o| {
                        let storage = Storage { formats: [q, k, v, o], layouts };
                        case.run_stored(&plan, storage, plan.scratch_len())
                    };
                    run(inputs, F32).assert_same(&expected, &what);
                    assert_rounded_once(&run(inputs, output), &expected, output, &what);
                }
            }
        }
    }
}

/// One key a sequence, of weight 1: its values are the output. 64 of them a sequence.
fn passing(v: Vec<f32>) -> Case {
    let heads = Heads { q: 1, kv: 1, dim: 1, v_dim: 64 };
    let shape = Shape { batch: v.len() / 64, q_len: 1, kv_len: 1, heads };
    let mut case = Case::random(shape, Rule::full(), 1);
    case.v = v;
    case
}

#[test]
fn every_number_of_16_bits_is_widened_exactly() {
    for format in HALVES {
        let widen = |bits| match format {
            Format::F16 => half::f16::from_bits(bits).to_f32(),
            _ => half::bf16::from_bits(bits).to_f32(),
        };
        let all: Vec<f32> = (0..=u16::MAX).map(widen).collect();
        let values = passing(all.clone());
        // A row a number: its score is its log-sum-exp.
        let heads = Heads::new(1, 1, 1);
        let mut queries = Case::random(shape(1 << 16, 1, heads), Rule::full(), 1);
        (queries.q, queries.k) = (all.clone(), vec![1.0]);
        let by_key = Shape { batch: 1 << 16, ..shape(1, 1, heads) };
        let mut keys = Case::random(by_key, Rule::full(), 1);
        (keys.q, keys.k) = (vec![1.0; 1 << 16], all);
        for entry in entries_for(heads) {
            for (case, name) in [(&values, "values"), (&queries, "queries"), (&keys, "keys")] {
                let plan = case.plan_of(entry);
                let storage = Storage::packed([format, format, format, F32]);
                let case = &case.rounded_to([format; 3]);
                let got = case.run_stored(&plan, storage, plan.scratch_len());
                let what = format!("{name} of {format:?} on {}", entry.name());
                assert_rounded_once(&got, &case.run(&plan), F32, &what);
                if name == "values" {
                    // A sum begins at +0: there is no other zero in an output.
                    let v = case.v.iter().map(|v| v + 0.0).collect();
                    let exact = Output { o: v, lse: got.lse.clone() };
                    assert_rounded_once(&got, &exact, F32, &what);
                }
            }
        }
    }
}

#[test]
fn outputs_of_every_size_are_rounded_once() {
    // Any bits; the neighbourhood of what lies halfway between two numbers of 16 bits; what overflows.
    let mut random = fastrand::Rng::with_seed(1);
    let mut v: Vec<f32> = (0..20_000).map(|_| f32::from_bits(random.u32(..))).collect();
    for _ in 0..20_000 {
        let f16_halfway = random.u32(..) & 0xffff_e000 | 0x1000;
        let bf16_halfway = random.u32(..) & 0xffff_0000 | 0x8000;
        let small = (112 - random.u32(0..14)) << 23 | random.u32(..) & 0x807f_f000;
        for bits in [f16_halfway, bf16_halfway, small, random.u32(..) & 0x80ff_ffff] {
            let nudge = random.u32(0..3);
            v.push(f32::from_bits(bits.wrapping_add(nudge).wrapping_sub(1)));
        }
    }
    v.extend([65_504.0, 65_519.996, 65_520.0, 65_536.0, f32::MAX, f32::INFINITY, f32::NAN]);
    v.extend([65_504.0, 65_519.996, 65_520.0, f32::MAX, f32::INFINITY].map(|x: f32| -x));
    v.resize(v.len().next_multiple_of(64), -0.0);
    let case = passing(v);
    for entry in entries_for(case.shape.heads) {
        let plan = case.plan_of(entry);
        let exact = case.run(&plan);
        for format in HALVES {
            let storage = Storage::packed([F32, F32, F32, format]);
            let got = case.run_stored(&plan, storage, plan.scratch_len());
            assert_rounded_once(&got, &exact, format, &format!("{format:?}, {}", entry.name()));
        }
    }
}

/// Overwrites key `j` and its values in every head.
fn poison(case: &mut Case, j: usize, poison: f32) {
    let Heads { kv, dim, v_dim, .. } = case.shape.heads;
    case.k[j * kv * dim..(j + 1) * kv * dim].fill(poison);
    case.v[j * kv * v_dim..(j + 1) * kv * v_dim].fill(poison);
}

/// Rows of queries that may not see key `j` have the bits of `clean`.
#[track_caller]
fn assert_untouched(case: &Case, j: usize, got: &Output, clean: &Output, what: &str) {
    let Shape { q_len, heads, .. } = case.shape;
    let row = heads.q * heads.v_dim;
    for i in (0..q_len).filter(|&i| !case.sees(0, i, j)) {
        let rows = i * row..(i + 1) * row;
        let what = format_args!("{what} key {j} query {i}");
        assert_same_bits(&got.o[rows.clone()], &clean.o[rows], what);
    }
}

#[test]
fn a_hidden_key_in_16_bits_changes_no_bit() {
    let heads = Heads { q: 4, kv: 2, dim: 32, v_dim: 20 };
    let rule = Rule::causal(60).windowed(Reach::Keys(30)).with_sinks(5);
    let clean = Case::random(shape(67, 127, heads), rule, 1);
    for format in HALVES {
        let clean = clean.rounded_to([format; 3]);
        for x in [f32::NAN, f32::INFINITY] {
            for j in [0, 5, 40, 95, 96, 126] {
                let mut poisoned = clean.clone();
                poison(&mut poisoned, j, x);
                for entry in entries_for(heads) {
                    let run = |case: &Case| {
                        let plan = case.plan_of(entry);
                        let storage = Storage::packed([format, format, format, F32]);
                        case.run_stored(&plan, storage, plan.scratch_len())
                    };
                    let what = format!("{} {format:?} {x}", entry.name());
                    assert_untouched(&clean, j, &run(&poisoned), &run(&clean), &what);
                }
            }
        }
    }
}

#[test]
fn f32_rows_far_apart_give_the_bits_of_packed_ones() {
    for (heads, floats) in [
        (Heads::new(4, 2, 64), 256),
        (Heads::new(3, 1, 128), 1024),
        (Heads { q: 2, kv: 2, dim: 17, v_dim: 31 }, 256),
        (Heads { q: 2, kv: 1, dim: 9, v_dim: 40 }, 1024),
    ] {
        let apart = |dim: usize| {
            [0, 1].map(|order| {
                let token = if order == 0 { floats - heads.kv * dim } else { floats - dim };
                let gaps = if order == 0 { [0, token, 0] } else { [token, 0, 0] };
                Layout { order, gaps }
            })
        };
        for q_len in [1, 7, 90] {
            let rule = Rule::causal(150).windowed(Reach::Keys(101)).with_sinks(3);
            let case = Case::random(shape(q_len, 211, heads), rule, q_len as u64);
            for entry in entries_for(heads) {
                let plan = case.plan_of(entry);
                let expected = case.run(&plan);
                let lens = [plan.scratch_len(), plan.scratch_len_in_place()];
                for (k, v) in apart(heads.dim).into_iter().zip(apart(heads.v_dim)) {
                    for len in lens {
                        let layouts = [Layout::default(), k, v, Layout::default()];
                        let storage = Storage { formats: [F32; 4], layouts };
                        let got = case.run_stored(&plan, storage, len);
                        let name = entry.name();
                        got.assert_same(
                            &expected,
                            format_args!(
                                "{name} {heads:?} q_len {q_len}, {len} floats, {layouts:?}"
                            ),
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn copies_of_odd_tiles_fit_the_scratch() {
    // Many blocks of rows, whose copied keys and values lie one behind the other.
    for (dim, v_dim) in [(17, 64), (1, 2), (100, 31), (9, 40)] {
        let heads = Heads { q: 2, kv: 1, dim, v_dim };
        let case = Case::random(shape(76, 200, heads), Rule::full(), 1).rounded_to([BF16; 3]);
        for entry in entries_for(heads) {
            let plan = case.plan_of(entry);
            let storage = Storage::packed([BF16, BF16, BF16, F32]);
            let got = case.run_stored(&plan, storage, plan.scratch_len());
            got.assert_same(&case.run(&plan), format_args!("{} {heads:?}", entry.name()));
        }
    }
}

#[test]
fn scratch_too_small_for_16_bits_is_refused() {
    let heads = Heads::new(4, 2, 64);
    let case = Case::random(shape(30, 50, heads), Rule::full(), 1);
    let strides = |dims| Strides::by_token(dims).unwrap();
    let [q, k, v] = [case.shape.q(), case.shape.k(), case.shape.v()];
    for entry in entries_for(heads) {
        let plan = case.plan_of(entry);
        let (needed, in_place) = (plan.scratch_len(), plan.scratch_len_in_place());
        for [k_format, v_format] in [[BF16, F32], [F32, Format::F16], [Format::F16, BF16]] {
            let keys = Tensor::rounded(&case.k, k_format);
            let values = Tensor::rounded(&case.v, v_format);
            let queries = Tensor::rounded(&case.q, F32);
            let inputs = Inputs::new(
                queries.view(q, strides(q)),
                keys.view(k, strides(k)),
                values.view(v, strides(v)),
            );
            let mut output = case.unwritten();
            for given in [0, in_place - 1, needed - 1] {
                let mut scratch = vec![0.0; given];
                let outputs = output.as_outputs(case.shape);
                let refused = plan.bind(inputs, outputs, &mut scratch).err();
                let name = entry.name();
                match refused {
                    Some(Error::Scratch { needed: asked, given: had }) => {
                        assert!(asked <= needed && asked > given && had == given, "{name}");
                        let text = Error::Scratch { needed: asked, given }.to_string();
                        let numbers = [asked, given].map(|number| number.to_string());
                        assert!(numbers.iter().all(|number| text.contains(number)), "{text}");
                    }
                    // With keys in the lanes they are laid down lanes in any case.
                    None => assert!(given >= in_place, "{name}: {given}"),
                    Some(error) => panic!("{name}: {error}"),
                }
            }
            assert!(output.o.iter().all(|x| x.is_nan()), "nothing was written");
        }
    }
}

#[test]
fn few_queries_give_the_same_bits_on_every_entry() {
    for (kv, dim) in [(1, 32), (3, 9), (8, 7), (17, 5)] {
        for group in 1..=8 {
            let heads = Heads { q: kv * group, kv, dim, v_dim: dim };
            for q_len in 1..=5 {
                let shape = Shape { batch: 2, q_len, kv_len: 110, heads };
                let seed = group * 10 + q_len;
                let windowed = Rule::causal(90).windowed(Reach::Keys(31)).with_sinks(5);
                let rule = if seed % 2 == 0 { windowed } else { Rule::causal(100) };
                let mut case = Case::random(shape, rule, seed as u64);
                case.kv_lens = Some(vec![110, 97]);
                let parts = 1 + seed % 5;
                for fused in [false, true] {
                    let mut first = None;
                    let entries = entries_for(heads);
                    for entry in entries.filter(|entry| entry.level().is_fused() == fused) {
                        let plan = case.plan_of(entry);
                        let output = one_by_one(&case, &plan, parts);
                        let name = entry.name();
                        let what = format!("{name} {:?} {parts} parts", case.shape);
                        case.run(&plan).assert_same(&output, &what);
                        output.assert_same(first.get_or_insert_with(|| output.clone()), &what);
                    }
                }
            }
        }
    }
}

/// Heads that an entry for pairs was made for.
fn heads_of(entry: &Entry, group: usize, kv: usize) -> Heads {
    let [dim, v_dim] = entry.dims().expect("a generated entry has widths");
    Heads { q: kv * group, kv, dim, v_dim }
}

/// A case of bf16 numbers.
fn bf16_case(shape: Shape, rule: Rule, seed: u64) -> Case {
    Case::random(shape, rule, seed).rounded_to([BF16; 3])
}

/// Runs it as bf16, and judges it.
fn check_pairs(case: &Case, entry: Entry) {
    let plan = case.plan_of(entry);
    let storage = Storage::packed([BF16, BF16, BF16, F32]);
    let output = case.run_stored(&plan, storage, plan.scratch_len());
    case.assert_certified(&entry, &output);
}

#[test]
fn bf16_products_are_certified_under_every_mask() {
    for entry in pair_entries() {
        for (seed, rule) in (1..).zip(rules(37, 131)) {
            check_pairs(&bf16_case(shape(37, 131, heads_of(&entry, 2, 1)), rule, seed), entry);
        }
    }
}

#[test]
fn bf16_products_are_certified_on_ragged_lengths() {
    for entry in pair_entries().into_iter().take(3) {
        for kv_len in [0, 1, 2, 7, TILE_K - 1, TILE_K, TILE_K + 1, 193] {
            for q_len in [1, 6, 23, 65] {
                let rule = Rule { offset: None, causal: true, ..Rule::default() };
                let heads = heads_of(&entry, 3, 1);
                check_pairs(&bf16_case(shape(q_len, kv_len, heads), rule, 1), entry);
                check_pairs(&bf16_case(shape(q_len, kv_len, heads), Rule::full(), 2), entry);
            }
        }
    }
}

#[test]
fn bf16_products_are_certified_where_a_window_splits_a_pair() {
    for entry in pair_entries().into_iter().take(2) {
        for window in 1..8 {
            for offset in [0, 1, 95, 96, 97] {
                for sinks in [0, 1, 3] {
                    let rule = Rule::causal(offset).windowed(Reach::Keys(window)).with_sinks(sinks);
                    check_pairs(&bf16_case(shape(18, 121, heads_of(&entry, 1, 1)), rule, 1), entry);
                }
            }
        }
    }
}

#[test]
fn bf16_products_are_certified_for_every_group() {
    for entry in pair_entries().into_iter().take(1) {
        for (group, kv) in [(1, 3), (2, 2), (5, 1), (7, 1), (16, 1), (64, 1), (71, 1)] {
            let heads = heads_of(&entry, group, kv);
            for rule in [Rule::causal(90), Rule::causal(90).windowed(Reach::Keys(9))] {
                check_pairs(&bf16_case(shape(6, 103, heads), rule, 1), entry);
            }
            let mut padded = bf16_case(Shape { batch: 3, ..shape(5, 103, heads) }, Rule::full(), 2);
            padded.kv_lens = Some(vec![97, 0, 33]);
            check_pairs(&padded, entry);
        }
    }
}

/// A NaN in keys near the edges of the mask changes no bit of a row that may not see it.
fn check_hidden_keys(entry: Entry, group: usize, [q_len, kv_len]: [usize; 2], rules: &[Rule]) {
    for rule in rules {
        let rule = Rule { offset: Some((kv_len - q_len) as i64), ..rule.clone() };
        let case = bf16_case(shape(q_len, kv_len, heads_of(&entry, group, 1)), rule, 1);
        let clean = case.run_entry(entry);
        for j in (0..6).chain(60..67).chain(kv_len - 8..kv_len) {
            let mut poisoned = case.clone();
            poison(&mut poisoned, j, f32::NAN);
            let what = format!("{} {:?} {:?}", entry.name(), case.shape, case.rule);
            assert_untouched(&case, j, &poisoned.run_entry(entry), &clean, &what);
        }
    }
}

#[test]
fn a_hidden_key_of_a_pair_changes_no_bit() {
    let rules = [
        Rule::causal(0),
        Rule::causal(0).windowed(Reach::Keys(17)),
        Rule::causal(0).windowed(Reach::Keys(18)).with_sinks(2),
        Rule::full().windowed(Reach::Span(8, 1)),
    ];
    for entry in pair_entries() {
        check_hidden_keys(entry, 1, [70, 131], &rules);
        check_hidden_keys(entry, 1, [71, 130], &rules);
        check_hidden_keys(entry, 3, [30, 99], &rules);
    }
}

#[test]
fn a_hidden_key_beside_an_odd_sink_changes_no_bit() {
    let rule = Rule::causal(0).windowed(Reach::Keys(17)).with_sinks(3);
    for entry in pair_entries() {
        check_hidden_keys(entry, 1, [70, 131], std::slice::from_ref(&rule));
    }
}

/// Whole vectors of rows, or blocks of them, that are one query see all that they are handed.
#[test]
fn a_hidden_key_beside_the_last_of_a_wide_group_changes_no_bit() {
    for entry in pair_entries() {
        for group in [16, 32, 64] {
            check_hidden_keys(entry, group, [9, 99], &[Rule::causal(0)]);
        }
    }
}

#[test]
fn keys_beyond_the_visible_length_change_no_bit_of_bf16_products() {
    for entry in pair_entries() {
        let shape = Shape { batch: 2, ..shape(20, 110, heads_of(&entry, 2, 1)) };
        let mut clean = bf16_case(shape, Rule::full(), 1);
        clean.kv_lens = Some(vec![97, 3]);
        let mut poisoned = clean.clone();
        for j in (97..110).chain(113..220) {
            poison(&mut poisoned, j, f32::NAN);
        }
        poisoned.run_entry(entry).assert_same(&clean.run_entry(entry), entry.name());
    }
}

#[test]
fn states_of_bf16_products_merge_within_the_bound() {
    for entry in pair_entries().into_iter().take(2) {
        for cuts in [vec![40], vec![1, 2, 96], vec![13, 50, 51, 80, 129], vec![97, 98]] {
            for rule in [Rule::full(), Rule::causal(61)] {
                let case = bf16_case(shape(70, 131, heads_of(&entry, 1, 1)), rule, 1);
                let output = merge_in_order(&case, pieces_of(&case, &case.plan_of(entry), &cuts));
                let arithmetic = arithmetic_of(&entry).split(cuts.len() + 1);
                case.assert_certified_as(&entry, arithmetic, &output);
            }
        }
    }
}

#[test]
fn keys_outside_a_range_change_no_bit_of_bf16_products() {
    for entry in pair_entries().into_iter().take(2) {
        let clean = bf16_case(shape(70, 131, heads_of(&entry, 1, 1)), Rule::full(), 1);
        for range in [13..50, 12..96, 1..130, 96..98, 95..98] {
            let mut poisoned = clean.clone();
            for j in (0..131).filter(|j| !range.contains(j)) {
                poison(&mut poisoned, j, f32::NAN);
            }
            let plan = clean.plan_of(entry).keys(range.clone()).unwrap();
            let what = format!("{} {range:?}", entry.name());
            poisoned.run(&plan).assert_same(&clean.run(&plan), what);
        }
    }
}

#[test]
fn bf16_products_have_the_same_bits_whatever_bf16_numbers_are_stored_as() {
    for entry in pair_entries() {
        let heads = heads_of(&entry, 2, 2);
        let rule = Rule::causal(40).windowed(Reach::Keys(33)).with_sinks(3);
        // 7 significant bits and small exponents: f16 holds them too.
        let case = bf16_case(shape(71, 121, heads), rule, 1).rounded_to([Format::F16; 3]);
        let case = case.rounded_to([BF16; 3]);
        let plan = case.plan_of(entry);
        let expected = case.run(&plan);
        for (n, layouts) in layouts().into_iter().enumerate() {
            for [q, k, v] in [[BF16; 3], [F32, BF16, F32], [BF16, F32, F32]] {
                let output = FORMATS[n % 3];
                let run = |o| {
                    let storage = Storage { formats: [q, k, v, o], layouts };
                    case.run_stored(&plan, storage, plan.scratch_len())
                };
                let what = format!("{} {:?} {layouts:?}", entry.name(), [q, k, v]);
                run(F32).assert_same(&expected, &what);
                assert_rounded_once(&run(output), &expected, output, &what);
            }
        }
    }
}

#[test]
fn bf16_products_round_what_is_stored_otherwise() {
    for entry in pair_entries() {
        let case = Case::random(shape(20, 101, heads_of(&entry, 1, 1)), Rule::full(), 1);
        let rounded = case.rounded_to([BF16; 3]);
        case.run_entry(entry).assert_same(&rounded.run_entry(entry), entry.name());
        let case = case.rounded_to([Format::F16; 3]);
        let plan = case.plan_of(entry);
        let formats = [Format::F16, Format::F16, Format::F16, F32];
        let got = case.run_stored(&plan, Storage::packed(formats), plan.scratch_len());
        got.assert_same(&case.rounded_to([BF16; 3]).run_entry(entry), entry.name());
    }
}

#[test]
fn any_number_of_parts_gives_the_same_bits_of_bf16_products() {
    for entry in pair_entries() {
        let case = bf16_case(shape(150, 211, heads_of(&entry, 2, 2)), Rule::causal(61), 1);
        let plan = case.plan_of(entry);
        let expected = case.run(&plan);
        for parts in 1..=5 {
            let what = format!("{} in {parts} parts", entry.name());
            one_by_one(&case, &plan, parts).assert_same(&expected, what);
        }
    }
}

/// Two keys that a whole vector of rows sees are one step, two that only some of its rows see are two:
/// the rows around it enter a row's bits, so chunks have to be whole query tiles.
#[test]
fn prefill_in_chunks_of_whole_query_tiles_gives_the_same_bits_of_bf16_products() {
    let len = 2 * TILE_K + 31;
    for entry in pair_entries() {
        let heads = heads_of(&entry, 2, 1);
        let row = heads.q * heads.v_dim;
        let tile = entry.tiling().rows / heads.group();
        let windowed = Rule::causal(0).windowed(Reach::Keys(50)).with_sinks(5);
        for rule in [Rule::causal(0), windowed] {
            let whole = bf16_case(shape(len, len, heads), rule, 7);
            let expected = whole.run_entry(entry).o;
            for chunk in [tile, 2 * tile] {
                for start in (0..len).step_by(chunk) {
                    let end = len.min(start + chunk);
                    let mut case = whole.clone();
                    case.shape = shape(end - start, end, heads);
                    case.rule.offset = Some(start as i64);
                    case.q = whole.q[start * heads.q * heads.dim..]
                        [..(end - start) * heads.q * heads.dim]
                        .to_vec();
                    case.k.truncate(end * heads.kv * heads.dim);
                    case.v.truncate(end * heads.kv * heads.v_dim);
                    let (got, name) = (case.run_entry(entry).o, entry.name());
                    let what = format_args!("{name} {start}..{end} {:?}", case.rule);
                    assert_same_bits(&got, &expected[start * row..end * row], what);
                }
            }
        }
    }
}

#[test]
fn a_level_without_bf16_products_gives_the_bits_of_f32() {
    for heads in [Heads::new(4, 2, 64), Heads::new(4, 2, 48)] {
        for q_len in [1, 40] {
            let case = Case::random(shape(q_len, 120, heads), Rule::causal(80), 1);
            for level in Level::available() {
                let plan = case.plan().level(level).unwrap();
                let bf16 = plan.precision(Precision::Bf16Products);
                let other_way = case.plan().precision(Precision::Bf16Products);
                let other_way = other_way.level(level).unwrap();
                assert_eq!(bf16.entry().name(), other_way.entry().name());
                assert_eq!(bf16.precision(Precision::F32).entry().name(), plan.entry().name());
                let has_pairs = Entry::pairs(level, heads).is_some();
                let is_many = q_len == 40;
                let uses_pairs = bf16.entry().precision() == Precision::Bf16Products;
                assert_eq!(uses_pairs, has_pairs && is_many, "{level} {heads:?} {q_len}");
                if !uses_pairs {
                    case.run(&bf16).assert_same(&case.run(&plan), level);
                }
            }
        }
    }
}

#[test]
fn prefill_in_any_chunks_of_bf16_products_is_certified() {
    let len = TILE_K + 31;
    for entry in pair_entries().into_iter().take(1) {
        let heads = heads_of(&entry, 3, 1);
        let row = heads.q * heads.dim;
        let windowed = Rule::causal(0).windowed(Reach::Keys(50)).with_sinks(5);
        for rule in [Rule::causal(0), windowed] {
            let whole = bf16_case(shape(len, len, heads), rule, 7);
            for chunk in [1, 5, 64, 97] {
                for start in (0..len).step_by(chunk) {
                    let end = len.min(start + chunk);
                    let mut case = whole.clone();
                    case.shape = shape(end - start, end, heads);
                    case.rule.offset = Some(start as i64);
                    case.q = whole.q[start * row..end * row].to_vec();
                    case.k.truncate(end * heads.kv * heads.dim);
                    case.v.truncate(end * heads.kv * heads.v_dim);
                    check_pairs(&case, entry);
                }
            }
        }
    }
}
