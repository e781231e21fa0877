//! NaN, infinities, empty rows and poisoned keys: the policy, row by row of its table.

use crate::case::{Case, Output, Reach, Rule, assert_same_bits, entries_for, shape};
use flashlet::{Heads, Shape};

const HEADS: Heads = Heads { q: 4, kv: 2, dim: 32, v_dim: 20 };

/// Runs the case on every entry and hands each output over, with the entry's name.
fn on_every_entry(case: &Case, check: impl Fn(&str, Output)) {
    for entry in entries_for(case.shape.heads) {
        check(entry.name(), case.run_entry(entry));
    }
}

/// Output channels of query `i` of head `h`.
fn row(case: &Case, output: &Output, i: usize, h: usize) -> Vec<f32> {
    let Heads { q, v_dim, .. } = case.shape.heads;
    output.o[(i * q + h) * v_dim..][..v_dim].to_vec()
}

/// One row of keys or values, to be overwritten.
fn kv_row(x: &mut [f32], j: usize, g: usize, width: usize) -> &mut [f32] {
    &mut x[(j * HEADS.kv + g) * width..][..width]
}

#[test]
fn keys_a_query_may_not_see_change_no_bit_of_it() {
    let rules = [
        Rule::causal(60),
        Rule::causal(60).windowed(Reach::Keys(30)).with_sinks(5),
        Rule { offset: Some(60), ..Rule::full() }.windowed(Reach::Span(20, 10)),
    ];
    for (seed, rule) in (1..).zip(rules) {
        let clean = Case::random(shape(67, 127, HEADS), rule, seed);
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38, -0.0] {
            for j in [0, 4, 5, 40, 95, 96, 97, 126] {
                let mut poisoned = clean.clone();
                for g in 0..HEADS.kv {
                    kv_row(&mut poisoned.k, j, g, HEADS.dim).fill(poison);
                    kv_row(&mut poisoned.v, j, g, HEADS.v_dim).fill(poison);
                }
                for entry in entries_for(HEADS) {
                    let (a, b) = (clean.run_entry(entry), poisoned.run_entry(entry));
                    for i in (0..67).filter(|&i| !clean.sees(0, i, j)) {
                        for h in 0..HEADS.q {
                            let (a, b) = (row(&clean, &a, i, h), row(&clean, &b, i, h));
                            let name = entry.name();
                            let what = format_args!("{name} key {j} = {poison}, query {i}");
                            assert_same_bits(&b, &a, what);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn keys_beyond_the_visible_length_change_no_bit() {
    let shape = Shape { batch: 2, q_len: 5, kv_len: 110, heads: HEADS };
    let mut clean = Case::random(shape, Rule::full(), 10);
    clean.kv_lens = Some(vec![97, 3]);
    let mut poisoned = clean.clone();
    for (b, first) in [97, 3].into_iter().enumerate() {
        let rows = (b * 110 + first) * HEADS.kv..(b + 1) * 110 * HEADS.kv;
        poisoned.k[rows.start * HEADS.dim..rows.end * HEADS.dim].fill(f32::NAN);
        poisoned.v[rows.start * HEADS.v_dim..rows.end * HEADS.v_dim].fill(f32::INFINITY);
    }
    for entry in entries_for(HEADS) {
        poisoned.run_entry(entry).assert_same(&clean.run_entry(entry), entry.name());
    }
}

#[test]
fn rows_that_see_no_key_are_zero_with_lse_of_minus_infinity() {
    let past = Rule::causal(-5);
    let nothing = Rule::full().windowed(Reach::Keys(0));
    let no_keys = Case::random(shape(9, 0, HEADS), Rule::full(), 20);
    let masked = [past, nothing].map(|rule| Case::random(shape(9, 130, HEADS), rule, 21));
    for case in [no_keys].iter().chain(&masked) {
        on_every_entry(case, |name, output| {
            for i in (0..9).filter(|&i| !(0..case.shape.kv_len).any(|j| case.sees(0, i, j))) {
                for h in 0..HEADS.q {
                    let zeros = row(case, &output, i, h).iter().all(|x| x.to_bits() == 0);
                    assert!(zeros, "{name}: query {i} is +0.0");
                    assert_eq!(output.lse[h * 9 + i], f32::NEG_INFINITY, "{name}: query {i}");
                }
            }
        });
    }
}

#[test]
fn a_nan_query_makes_its_row_nan_and_no_other() {
    let mut case = Case::random(shape(40, 100, HEADS), Rule::causal(60), 30);
    let clean = case.clone();
    // A NaN with a payload in its low bits, as a bug might leave behind.
    case.q[(7 * HEADS.q + 2) * HEADS.dim + 3] = f32::from_bits(0x7fc0_0001);
    for entry in entries_for(HEADS) {
        let (output, expected) = (case.run_entry(entry), clean.run_entry(entry));
        for (i, h) in (0..40).flat_map(|i| (0..HEADS.q).map(move |h| (i, h))) {
            let (got, expected) = (row(&case, &output, i, h), row(&case, &expected, i, h));
            if (i, h) == (7, 2) {
                assert!(
                    got.iter().all(|x| x.is_nan()) && output.lse[h * 40 + i].is_nan(),
                    "{}",
                    entry.name()
                );
            } else {
                assert_eq!(got, expected, "{}: query {i} of head {h}", entry.name());
            }
        }
    }
}

#[test]
fn a_nan_key_makes_exactly_the_rows_that_see_it_nan() {
    for (j, nan) in [(0, 0x7fc0_0000), (50, 0x7fc0_0001), (99, 0xffff_ffff)] {
        let mut case = Case::random(shape(40, 100, HEADS), Rule::causal(60), 31);
        kv_row(&mut case.k, j, 1, HEADS.dim)[5] = f32::from_bits(nan);
        on_every_entry(&case, |name, output| {
            for (i, h) in (0..40).flat_map(|i| (0..HEADS.q).map(move |h| (i, h))) {
                let nan = case.sees(0, i, j) && h / 2 == 1;
                let all = row(&case, &output, i, h).iter().all(|x| x.is_nan() == nan);
                assert!(all, "{name}: query {i} of head {h}, key {j}");
            }
        });
    }
}

#[test]
fn a_nan_value_makes_its_column_nan_even_at_weight_zero() {
    let mut case = Case::random(shape(40, 100, HEADS), Rule::causal(60), 32);
    // Key 10 gets a score so low that its weight is flushed to zero.
    kv_row(&mut case.k, 10, 0, HEADS.dim).fill(0.0);
    for i in 0..40 {
        for h in 0..2 {
            case.q[(i * HEADS.q + h) * HEADS.dim] = 30.0;
        }
    }
    kv_row(&mut case.k, 10, 0, HEADS.dim)[0] = -1e4;
    kv_row(&mut case.v, 10, 0, HEADS.v_dim)[4] = f32::NAN;
    on_every_entry(&case, |name, output| {
        for (i, h) in (0..40).flat_map(|i| (0..HEADS.q).map(move |h| (i, h))) {
            for (c, x) in row(&case, &output, i, h).into_iter().enumerate() {
                assert_eq!(
                    x.is_nan(),
                    h < 2 && c == 4,
                    "{name}: query {i} of head {h}, channel {c}"
                );
            }
        }
    });
}

#[test]
fn an_infinite_value_gives_infinity_or_nan() {
    let mut case = Case::random(shape(3, 20, HEADS), Rule::full(), 33);
    kv_row(&mut case.v, 7, 0, HEADS.v_dim)[0] = f32::INFINITY;
    on_every_entry(&case, |name, output| {
        for h in 0..HEADS.q {
            assert_eq!(row(&case, &output, 1, h)[0].is_finite(), h >= 2, "{name}: head {h}");
            assert!(row(&case, &output, 1, h)[1].is_finite());
        }
    });
}

#[test]
fn a_score_of_plus_infinity_makes_the_row_nan() {
    let mut case = Case::random(shape(3, 120, HEADS), Rule::full(), 34);
    case.q[0..HEADS.dim].fill(1.0);
    kv_row(&mut case.k, 110, 0, HEADS.dim).fill(0.0);
    kv_row(&mut case.k, 110, 0, HEADS.dim)[0] = f32::INFINITY;
    on_every_entry(&case, |name, output| {
        assert!(row(&case, &output, 0, 0).iter().all(|x| x.is_nan()), "{name}");
    });
}

#[test]
fn a_score_of_minus_infinity_has_weight_zero() {
    let mut case = Case::random(shape(3, 120, HEADS), Rule::full(), 35);
    case.q[0..HEADS.dim].fill(1.0);
    let mut without = case.clone();
    kv_row(&mut case.k, 110, 0, HEADS.dim).fill(0.0);
    kv_row(&mut case.k, 110, 0, HEADS.dim)[0] = f32::NEG_INFINITY;
    // The same weight, by a score far below the normal range of 2^x.
    kv_row(&mut without.k, 110, 0, HEADS.dim).fill(0.0);
    kv_row(&mut without.k, 110, 0, HEADS.dim)[0] = -1e6;
    for entry in entries_for(HEADS) {
        let (a, b) = (case.run_entry(entry), without.run_entry(entry));
        assert_eq!(row(&case, &a, 0, 0), row(&case, &b, 0, 0), "{}", entry.name());
        assert!(row(&case, &a, 0, 0).iter().all(|x| x.is_finite()));
    }
}

#[test]
fn a_row_of_scores_of_minus_infinity_is_zero() {
    let mut case = Case::random(shape(2, 30, HEADS), Rule::full(), 36);
    case.q.fill(1.0);
    case.k.fill(f32::NEG_INFINITY);
    on_every_entry(&case, |name, output| {
        assert!(output.o.iter().all(|x| x.to_bits() == 0), "{name}");
        assert!(output.lse.iter().all(|&x| x == f32::NEG_INFINITY), "{name}");
    });
}
