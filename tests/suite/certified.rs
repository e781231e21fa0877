//! Every entry, on every level, on ragged sizes, under every mask: within the certified bound.

use crate::case::{Case, Reach, Rule, entries_for, shape};
use flashlet::entry::Entry;
use flashlet::simd::Scalar;
use flashlet::{Heads, Level, Shape, TILE_K};

/// The widths that have generated entries, and some that have none.
const WIDTHS: [(usize, usize); 14] = [
    (1, 1),
    (3, 5),
    (17, 17),
    (32, 32),
    (64, 64),
    (64, 31),
    (80, 80),
    (96, 96),
    (100, 100),
    (128, 128),
    (192, 128),
    (256, 256),
    (512, 512),
    (576, 512),
];

pub(crate) fn rules(q_len: usize, kv_len: usize) -> Vec<Rule> {
    let past = kv_len as i64 - q_len as i64;
    vec![
        Rule::full(),
        Rule::causal(0),
        Rule::causal(past),
        Rule { offset: None, causal: true, ..Rule::default() },
        Rule::causal(past).windowed(Reach::Keys(5)),
        Rule::causal(past).windowed(Reach::Keys(3)).with_sinks(2),
        Rule::full().windowed(Reach::Span(9, 4)),
        Rule::full().windowed(Reach::Span(2, 70)).with_sinks(130),
    ]
}

fn check(case: &Case) {
    for entry in entries_for(case.shape.heads) {
        case.assert_certified(&entry, &case.run_entry(entry));
    }
}

#[test]
fn every_width_is_certified_on_every_entry() {
    for (seed, (dim, v_dim)) in (1..).zip(WIDTHS) {
        let heads = Heads { q: 4, kv: 2, dim, v_dim };
        check(&Case::random(shape(19, 103, heads), Rule::causal(84), seed));
    }
}

#[test]
fn ragged_lengths_are_certified_under_every_mask() {
    let lens = [0, 1, 2, 7, 15, 16, 17, TILE_K - 1, TILE_K, TILE_K + 1, 129, 2 * TILE_K + 1];
    let heads = Heads { q: 3, kv: 1, dim: 8, v_dim: 6 };
    for (seed, &kv_len) in (100..).zip(&lens) {
        for q_len in [0, 1, 2, 7, 33, 65, 129] {
            for rule in rules(q_len, kv_len) {
                check(&Case::random(shape(q_len, kv_len, heads), rule, seed));
            }
        }
    }
}

#[test]
fn generated_entries_are_certified_under_every_mask() {
    for pair in Entry::generated(Level::Scalar) {
        let [dim, v_dim] = pair[0].dims().expect("a generated entry has widths");
        let heads = Heads { q: 2, kv: 1, dim, v_dim };
        for (seed, rule) in (200..).zip(rules(37, 131)) {
            check(&Case::random(shape(37, 131, heads), rule, seed));
        }
    }
}

#[test]
fn generated_entries_are_certified_on_ragged_lengths() {
    for pair in Entry::generated(Level::Scalar) {
        let [dim, v_dim] = pair[0].dims().expect("a generated entry has widths");
        let heads = Heads { q: 3, kv: 1, dim, v_dim };
        for kv_len in [1, 7, TILE_K - 1, TILE_K, TILE_K + 1, 129] {
            for q_len in [1, 6, 23] {
                let rule = Rule { offset: None, causal: true, ..Rule::default() };
                check(&Case::random(shape(q_len, kv_len, heads), rule, kv_len as u64));
            }
        }
    }
}

/// What a module made for one model with its own `tile_k` calls.
#[test]
fn other_key_tiles_are_certified() {
    fn attend_f32_hd8_q16_k24_scalar(job: flashlet::entry::Job<'_>) {
        type Width = flashlet::entry::Fixed<8>;
        flashlet::entry::attend::<Scalar, Width, Width, 4, 4, 24>(Scalar, job);
    }
    let lanes = flashlet::entry::Lanes::Queries;
    let tiling = flashlet::entry::Tiling { lanes, vectors: 4, scalars: 4, rows: 16 };
    let name = "attend_f32_hd8_q16_k24_scalar";
    let entry = Entry::new(name, Level::Scalar, [8, 8], 24, tiling, attend_f32_hd8_q16_k24_scalar);
    for rule in rules(37, 131) {
        let case = Case::random(shape(37, 131, Heads::new(4, 2, 8)), rule, 600);
        case.assert_certified(&entry, &case.run_entry(entry));
    }
}

#[test]
fn every_group_size_is_certified() {
    for (q, kv) in [(1, 1), (2, 2), (4, 4), (6, 2), (5, 1), (7, 1), (16, 2), (71, 1)] {
        let heads = Heads { q, kv, dim: 16, v_dim: 16 };
        for (q_len, kv_len) in [(1, 50), (9, 9), (30, 99)] {
            check(&Case::random(shape(q_len, kv_len, heads), Rule::causal(0), q as u64));
        }
    }
}

#[test]
fn cross_attention_is_certified() {
    let heads = Heads::new(6, 6, 64);
    for (q_len, kv_len) in [(1, 150), (5, 97), (130, 3), (64, 200)] {
        check(&Case::random(shape(q_len, kv_len, heads), Rule::full(), kv_len as u64));
    }
}

#[test]
fn padded_batches_are_certified() {
    let shape = Shape { batch: 4, q_len: 11, kv_len: 120, heads: Heads::new(4, 2, 32) };
    for rule in rules(11, 120) {
        let mut case = Case::random(shape, rule, 300);
        case.kv_lens = Some(vec![120, 0, 1, 97]);
        check(&case);
    }
}

#[test]
fn scores_of_every_height_are_certified() {
    let heads = Heads::new(2, 1, 16);
    let base = Case::random(shape(9, 150, heads), Rule::full(), 400);
    // Peaked; flat; every score far below zero, which a running maximum that starts at 0 would lose.
    for scale in [64.0, 1e-6] {
        check(&Case { scale: Some(scale), ..base.clone() });
    }
    let mut shifted = base;
    shifted.q.fill(1.0);
    for k in &mut shifted.k {
        *k = *k * 0.1 - 100.0;
    }
    check(&shifted);
}

#[test]
fn values_of_every_size_are_certified() {
    let heads = Heads::new(1, 1, 16);
    let base = Case::random(shape(5, 200, heads), Rule::full(), 500);
    for factor in [1e-38, 1e-30, 1e4, 1e30] {
        let mut case = base.clone();
        for (j, v) in case.v.iter_mut().enumerate() {
            *v *= if j % 2 == 0 { factor } else { -factor };
        }
        check(&case);
    }
    let mut constant = base;
    constant.v.fill(3.75);
    check(&constant);
}
