//! The same bits: whatever the level, the entry, the chunking, the parts or the strides.

use crate::case::{Case, Output, Reach, Rule, assert_same_bits, entries_for, normal, shape};
use flashlet::entry::Entry;
use flashlet::{
    Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Shape, Strides, TILE_K, View, ViewMut,
    Window,
};

fn cases() -> Vec<Case> {
    let wide = Heads { q: 4, kv: 2, dim: 192, v_dim: 128 };
    vec![
        Case::random(shape(70, 70, Heads::new(6, 2, 64)), Rule::causal(0), 1),
        Case::random(shape(1, 300, Heads::new(8, 2, 128)), Rule::causal(299), 2),
        Case::random(shape(33, 211, wide), Rule::full(), 3),
        Case::random(
            shape(129, 250, Heads::new(3, 1, 32)),
            Rule::causal(121).windowed(Reach::Keys(40)).with_sinks(3),
            4,
        ),
        Case::random(
            shape(40, 200, Heads::new(2, 2, 80)),
            Rule { offset: Some(100), ..Rule::full() }.windowed(Reach::Span(30, 20)),
            5,
        ),
        Case::random(shape(17, 100, Heads { q: 2, kv: 1, dim: 13, v_dim: 7 }), Rule::full(), 6),
    ]
}

#[test]
fn generated_entries_equal_the_generic_ones() {
    let mut compared = 0;
    let widths = Entry::generated(Level::Scalar).iter().filter_map(|pair| pair[0].dims());
    let generated = widths.flat_map(|[dim, v_dim]| {
        let heads = Heads { q: 4, kv: 2, dim, v_dim };
        let rule = Rule::causal(90).windowed(Reach::Keys(60)).with_sinks(2);
        [1, 50].map(|q_len| Case::random(shape(q_len, 199, heads), rule.clone(), dim as u64))
    });
    for case in cases().into_iter().chain(generated) {
        for level in Level::available() {
            let [attend, decode] =
                Entry::generic(level, case.shape.heads).map(|entry| case.run_entry(entry));
            decode.assert_same(&attend, format_args!("generic decode and attend at {level}"));
            for pair in Entry::generated(level).iter().filter(|pair| pair[0].fits(case.shape.heads))
            {
                for entry in pair {
                    case.run_entry(*entry).assert_same(&attend, entry.name());
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 0 || !cfg!(feature = "specialised"));
}

#[test]
fn levels_of_one_class_agree() {
    for case in cases() {
        for fused in [false, true] {
            let mut levels = Level::available().filter(|level| level.is_fused() == fused);
            let Some(first) = levels.next() else { continue };
            let expected = case.run_on(first);
            for level in levels {
                let what = format_args!("{level} and {first}: {:?}", case.shape);
                case.run_on(level).assert_same(&expected, what);
            }
        }
    }
}

#[test]
fn prefill_in_chunks_equals_one_call() {
    let (len, heads) = (2 * TILE_K + 31, Heads::new(6, 2, 64));
    let windowed = Rule::causal(0).windowed(Reach::Keys(50)).with_sinks(4);
    for rule in [Rule::causal(0), windowed] {
        let whole = Case::random(shape(len, len, heads), rule, 7);
        let row = heads.q * heads.v_dim;
        for level in Level::available() {
            let expected = whole.run_on(level).o;
            for chunk in [1, 5, 64, TILE_K, 150] {
                let mut o = Vec::new();
                for start in (0..len).step_by(chunk) {
                    let end = len.min(start + chunk);
                    let mut case = whole.clone();
                    case.shape = shape(end - start, end, heads);
                    case.rule.offset = Some(start as i64);
                    case.q =
                        whole.q[start * heads.q * heads.dim..end * heads.q * heads.dim].to_vec();
                    case.k.truncate(end * heads.kv * heads.dim);
                    case.v.truncate(end * heads.kv * heads.v_dim);
                    o.extend(case.run_on(level).o);
                }
                let differs = expected.iter().zip(&o).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(
                    differs.map(|at| at / row),
                    None,
                    "first row, {level}, chunks of {chunk}"
                );
            }
        }
    }
}

#[test]
fn any_number_of_parts_gives_the_same_bits() {
    for case in cases() {
        for level in Level::available() {
            let plan = case.plan().level(level).unwrap();
            let expected = case.run(&plan);
            for parts in [1, 2, 3, 7, 64] {
                let what = format_args!("{level}, {parts} in turn");
                one_by_one(&case, &plan, parts).assert_same(&expected, what);
                let what = format_args!("{level}, {parts} threads");
                on_threads(&case, &plan, parts).assert_same(&expected, what);
            }
        }
    }
}

/// Parts in turn, last first, on one scratch.
pub(crate) fn one_by_one(case: &Case, plan: &Attention, parts: usize) -> Output {
    let mut output = case.unwritten();
    let mut scratch = vec![f32::NAN; plan.scratch_len()];
    let mut call = plan.bind(case.inputs(), output.as_outputs(case.shape), &mut scratch).unwrap();
    for index in (0..parts).rev() {
        call.part(index, parts).unwrap().run();
    }
    output
}

fn on_threads(case: &Case, plan: &Attention, parts: usize) -> Output {
    let mut output = case.unwritten();
    let mut scratch = vec![f32::NAN; parts * plan.scratch_len()];
    let call = plan.bind(case.inputs(), output.as_outputs(case.shape), &mut scratch).unwrap();
    std::thread::scope(|scope| {
        for part in call.parts(parts).unwrap() {
            scope.spawn(move || part.run());
        }
    });
    output
}

#[test]
fn parts_of_a_causal_prompt_cost_about_the_same() {
    // The visible pairs of the rows that each part writes stand for its time.
    let case = Case::random(shape(1024, 1024, Heads::new(8, 8, 8)), Rule::causal(0), 12);
    let plan = case.plan();
    for parts in [2, 3, 8, 16] {
        let cost = |index| {
            let mut output = case.unwritten();
            let mut scratch = vec![0.0; plan.scratch_len()];
            let outputs = output.as_outputs(case.shape);
            let mut call = plan.bind(case.inputs(), outputs, &mut scratch).unwrap();
            call.part(index, parts).unwrap().run();
            let written = output.lse.iter().enumerate().filter(|(_, lse)| !lse.is_nan());
            written.map(|(at, _)| at % 1024 + 1).sum::<usize>()
        };
        let costs: Vec<usize> = (0..parts).map(cost).collect();
        let mean = costs.iter().sum::<usize>() / parts;
        let worst = *costs.iter().max().unwrap();
        assert!(worst * 10 <= mean * 11, "{parts} parts: {costs:?}");
    }
}

#[test]
fn a_part_writes_only_its_own_rows() {
    let case = &cases()[0];
    let plan = case.plan();
    let whole = case.run(&plan);
    let parts = 3;
    let mut written = vec![0; whole.o.len()];
    for index in 0..parts {
        let mut output = case.unwritten();
        let mut scratch = vec![0.0; plan.scratch_len()];
        let mut call =
            plan.bind(case.inputs(), output.as_outputs(case.shape), &mut scratch).unwrap();
        call.part(index, parts).unwrap().run();
        for (count, (o, expected)) in written.iter_mut().zip(output.o.iter().zip(&whole.o)) {
            *count += usize::from(o.to_bits() == expected.to_bits());
        }
    }
    assert!(written.iter().all(|&count| count == 1), "each element by exactly one part");
}

#[test]
fn sequences_of_a_batch_equal_single_calls() {
    let shape = Shape { batch: 3, q_len: 10, kv_len: 110, heads: Heads::new(4, 2, 32) };
    let mut case = Case::random(shape, Rule { offset: None, causal: true, ..Rule::default() }, 8);
    case.kv_lens = Some(vec![110, 40, 97]);
    for level in Level::available() {
        let together = case.run_on(level).o;
        for (b, together) in together.chunks_exact(together.len() / 3).enumerate() {
            let part = |x: &[f32]| x[b * x.len() / 3..(b + 1) * x.len() / 3].to_vec();
            let mut single = case.clone();
            single.shape.batch = 1;
            (single.q, single.k, single.v) = (part(&case.q), part(&case.k), part(&case.v));
            single.kv_lens = Some(vec![case.visible_len(b)]);
            let what = format_args!("sequence {b}, {level}");
            assert_same_bits(&single.run_on(level).o, together, what);
        }
    }
}

#[test]
fn strides_do_not_change_bits() {
    let heads = Heads { q: 4, kv: 2, dim: 32, v_dim: 24 };
    let case = Case::random(Shape { batch: 2, q_len: 21, kv_len: 100, heads }, Rule::causal(79), 9);
    let q = by_head(&case.q, case.shape.q());
    // Keys and values interleaved in one allocation, with a gap: [k of all heads | v of all heads | gap].
    let (k_row, v_row) = (heads.kv * heads.dim, heads.kv * heads.v_dim);
    let token = k_row + v_row + 5;
    let mut kv = vec![f32::NAN; 200 * token];
    for t in 0..200 {
        kv[t * token..][..k_row].copy_from_slice(&case.k[t * k_row..][..k_row]);
        kv[t * token + k_row..][..v_row].copy_from_slice(&case.v[t * v_row..][..v_row]);
    }
    for level in Level::available() {
        let plan = case.plan().level(level).unwrap();
        let mut o = vec![f32::NAN; case.shape.o().iter().product()];
        let mut scratch = vec![0.0; plan.scratch_len()];
        let strides = Strides { batch: 100 * token, token, head: heads.dim };
        let inputs = Inputs::new(
            View::strided(&q, case.shape.q(), Strides::by_head(case.shape.q()).unwrap()).unwrap(),
            View::strided(&kv, case.shape.k(), strides).unwrap(),
            View::strided(&kv[k_row..], case.shape.v(), Strides { head: heads.v_dim, ..strides })
                .unwrap(),
        );
        let o_strides = Strides::by_head(case.shape.o()).unwrap();
        let outputs = Outputs::new(ViewMut::strided(&mut o, case.shape.o(), o_strides).unwrap());
        plan.bind(inputs, outputs, &mut scratch).unwrap().run();
        let expected = by_head(&case.run(&plan).o, case.shape.o());
        assert_same_bits(&o, &expected, level);
    }
}

/// `[batch, len, heads, dim]` laid out as `[batch, heads, len, dim]`.
fn by_head(x: &[f32], [batch, len, heads, dim]: [usize; 4]) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for b in 0..batch {
        for h in 0..heads {
            for i in 0..len {
                out.extend_from_slice(&x[((b * len + i) * heads + h) * dim..][..dim]);
            }
        }
    }
    out
}

#[test]
fn a_window_equals_the_same_range_of_keys() {
    // A window over a long past gives the bits of a plan that was told to read just its keys.
    let heads = Heads::new(2, 1, 64);
    let (past, window) = (3 * TILE_K, TILE_K);
    let long = Case::random(
        shape(1, past + 1, heads),
        Rule::causal(past as i64).windowed(Reach::Keys(window)),
        10,
    );
    for level in Level::available() {
        let first = past + 1 - window;
        let plan = Attention::new(
            long.shape,
            Mask::causal(Offset::at(past as i64)) & Window::keys(window),
        );
        let plan = plan.unwrap().level(level).unwrap().keys(first..past + 1).unwrap();
        long.run(&plan).assert_same(&long.run_on(level), level);
    }
}

#[test]
fn the_scratch_may_start_anywhere_and_hold_anything() {
    let case = &cases()[0];
    for entry in entries_for(case.shape.heads) {
        let expected = case.run_entry(entry);
        let plan = Attention::with_entry(case.shape, case.rule.mask(), entry).unwrap();
        for shift in [1, 3, 7, 13] {
            let mut scratch = normal(plan.scratch_len() + shift, 11);
            let mut output = case.unwritten();
            let outputs = output.as_outputs(case.shape);
            plan.bind(case.inputs(), outputs, &mut scratch[shift..]).unwrap().run();
            output.assert_same(&expected, format_args!("{} at {shift}", entry.name()));
        }
    }
}
