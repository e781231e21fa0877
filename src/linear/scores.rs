//! What the tokens of a chunk have to do with each other: products of queries and keys, decayed.
//!
//! Keys lie in lanes, so a score is a sum in the order of the channels on every level. With one gate a token the decay
//! multiplies the sum. With a gate a channel it has to be inside of it: going from token to token, the keys in their
//! lanes decay as the state would.

use super::chunk::{CHUNK, Chunk, times};
use super::family::{Family, Gate, Known, Rule};
use crate::moves;
use crate::outer::outer;
use crate::products::F32Products;
use crate::simd::{Rows, Simd, Steps};

/// All scores of a chunk.
#[inline(always)]
pub(super) fn all<S: Simd, F: Known, const R: usize>(simd: S, family: F, chunk: &mut Chunk<'_>) {
    let Family { gate, rule } = family.family();
    let heads = chunk.heads(rule);
    // Keys that decay inside of the sums do so where they lie: once for each query head.
    let rounds = if gate == Gate::Channel { heads } else { 1 };
    for h in 0..rounds {
        lay_down::<S>(chunk);
        if gate == Gate::Channel {
            by_channel(simd, rule, chunk, h);
        } else {
            by_token::<S, R>(simd, rule, chunk, gate == Gate::Never);
        }
    }
    // A token that is read before it is learnt adds to its own output in another way.
    if rule.reads_before() {
        let of_heads =
            chunk.scores.chunks_exact_mut(CHUNK * CHUNK).zip(chunk.own.chunks_exact(CHUNK));
        for (scores, own) in of_heads {
            for (i, own) in own.iter().enumerate() {
                *scores.get_mut(i * CHUNK + i).unwrap_or(&mut 0.0) = *own;
            }
        }
    }
}

/// Lays the keys down in lanes.
#[inline(always)]
fn lay_down<S: Simd>(chunk: &mut Chunk<'_>) {
    let (d_k, deep) = (chunk.dims[0].max(1), chunk.deep);
    let panels = chunk.panels.chunks_exact_mut((S::LANES * d_k).max(1));
    for (n, panel) in panels.enumerate().take(chunk.keys.len() / (S::LANES * deep).max(1)) {
        let Some(rows) = Rows::new(chunk.keys, deep, (n + 1) * S::LANES, d_k) else { return };
        let rows = (n * S::LANES..(n + 1) * S::LANES).map(|j| rows.row(j));
        chunk.moves.pack(&moves::in_lanes(0, rows), 1.0, panel, S::LANES);
    }
}

/// Products first, then their decay.
#[inline(always)]
fn by_token<S: Simd, const R: usize>(simd: S, rule: Rule, chunk: &mut Chunk<'_>, is_kept: bool) {
    let wide = rule.writes() * CHUNK;
    let (heads, deep) = (chunk.heads(rule), chunk.deep);
    for asker in 0..heads + usize::from(rule.looks()) {
        products::<S, R>(simd, chunk, asker, wide);
        if is_kept {
            continue;
        }
        let is_before = if asker == heads { rule.looks_before() } else { rule.reads_before() };
        let scores = chunk.scores.get_mut(asker * CHUNK * wide..).unwrap_or(&mut []);
        let mut left = [0.0; CHUNK];
        for (i, row) in scores.chunks_exact_mut(wide).enumerate().take(chunk.len) {
            if is_before {
                times_each(simd, row, &left);
            }
            let decay = simd.splat(chunk.decay.get(i * deep).copied().unwrap_or(1.0));
            for left in left.chunks_exact_mut(S::LANES) {
                simd.store(simd.mul(simd.load(left), decay), left);
            }
            *left.get_mut(i).unwrap_or(&mut 0.0) = 1.0;
            if !is_before {
                times_each(simd, row, &left);
            }
        }
    }
}

/// Multiplies the scores of a token with each key.
#[inline(always)]
fn times_each<S: Simd>(simd: S, row: &mut [f32], by: &[f32; CHUNK]) {
    row.chunks_exact_mut(CHUNK).for_each(|part| times(simd, part, by));
}

/// `scores[i][j] = sum_c asks[i][c] keys[j][c]` of an asker.
#[inline(always)]
fn products<S: Simd, const R: usize>(simd: S, chunk: &mut Chunk<'_>, asker: usize, wide: usize) {
    let (d_k, len) = (chunk.dims[0], chunk.len);
    let Chunk { asks, panels, scores, deep, .. } = chunk;
    let asks = asks.get(asker * CHUNK * *deep..).unwrap_or(&[]);
    let Some(asks) = Rows::new(asks, *deep, CHUNK, d_k) else { return };
    let scores = scores.get_mut(asker * CHUNK * wide..).unwrap_or(&mut []);
    for n in 0..wide / S::LANES {
        let panel = panels.get(n * S::LANES * d_k..).unwrap_or(&[]);
        let Some(keys) = Rows::new(panel, S::LANES, d_k, S::LANES) else { return };
        // Tokens before all of the vector's see none of its keys.
        let mut i = (n * S::LANES) % CHUNK / R * R;
        while i < len {
            let zero = [[simd.splat(-0.0); 1]; R];
            let steps = asks.across::<R>(i, d_k).and(keys.wide::<S, 1>(simd, 0, keys.walk(0)));
            let sums = outer::<S, F32Products, 1, 0, R>(simd, F32Products, zero, steps);
            for (r, [sum]) in sums.into_iter().enumerate() {
                let to = scores.get_mut((i + r) * wide + n * S::LANES..).unwrap_or(&mut []);
                simd.store(sum, to);
            }
            i += R;
        }
    }
}

/// Tokens at once where keys decay on their way: their sums are chains of their own.
const TOKENS: usize = 4;

/// The scores of a query head, with decay inside of the sums; those of the looks with the first.
#[inline(always)]
fn by_channel<S: Simd>(simd: S, rule: Rule, chunk: &mut Chunk<'_>, h: usize) {
    let (wide, heads) = (rule.writes() * CHUNK, chunk.heads(rule));
    let (d_k, deep, len) = (chunk.dims[0], chunk.deep, [chunk.len, wide]);
    // What is seen before a token's own decay: of the queries, of the looks.
    let before = [rule.reads_before(), rule.looks_before()];
    let Chunk { asks, decay, panels, scores, .. } = chunk;
    let (queries, looks) = asks.split_at((heads * CHUNK * deep).min(asks.len()));
    let queries = queries.get(h * CHUNK * deep..).unwrap_or(&[]);
    let looks = if rule.looks() { looks } else { queries };
    let rows = [queries, looks, &**decay].map(|rows| Rows::new(rows, deep, CHUNK, d_k));
    let (read, looked) = scores.split_at_mut((heads * CHUNK * wide).min(scores.len()));
    let read = read.get_mut(h * CHUNK * wide..).unwrap_or(&mut []);
    let [Some(q), Some(look), Some(decay)] = rows else { return };
    if rule.looks() {
        // Again with each query head, to the same numbers.
        decaying::<S, 2>(simd, [q, look], before, decay, panels, [read, looked], len);
    } else {
        decaying::<S, 1>(simd, [q], [before[0]], decay, panels, [read], len);
    }
}

/// Scores of `X` kinds of rows.
#[inline(always)]
fn decaying<S: Simd, const X: usize>(
    simd: S,
    x: [Rows<'_>; X],
    before: [bool; X],
    decay: Rows<'_>,
    panels: &mut [f32],
    mut scores: [&mut [f32]; X],
    [len, wide]: [usize; 2],
) {
    let d_k = decay.width();
    let mut is_before = [simd.mask(0); X];
    for (mask, before) in is_before.iter_mut().zip(before) {
        *mask = simd.mask(if before { u64::MAX } else { 0 });
    }
    for (n, panel) in
        panels.chunks_exact_mut((S::LANES * d_k).max(1)).enumerate().take(wide / S::LANES)
    {
        let first = (n * S::LANES) % CHUNK;
        let mut i = first / TOKENS * TOKENS;
        while i < len {
            // Keys of earlier tokens decay; a token's own, and those of later ones, do not yet.
            let mut is_earlier = [simd.mask(0); TOKENS];
            for (r, mask) in is_earlier.iter_mut().enumerate() {
                let earlier = (i + r).saturating_sub(first).min(63);
                *mask = simd.mask((1 << earlier) - 1);
            }
            let mut sums = [[simd.splat(-0.0); TOKENS]; X];
            let rows = x[0].across::<TOKENS>(i, d_k).and(x[X - 1].across::<TOKENS>(i, d_k));
            let steps = rows.and(decay.across::<TOKENS>(i, d_k));
            for (column, ((x0, x1), decay)) in panel.chunks_exact_mut(S::LANES).zip(steps) {
                let mut key = simd.load(column);
                for r in 0..TOKENS {
                    let decayed = simd.mul(key, simd.splat(decay[r]));
                    let decayed = simd.select(is_earlier[r], decayed, key);
                    for (kind, x) in [x0[r], x1[r]].into_iter().take(X).enumerate() {
                        let seen = simd.select(is_before[kind], key, decayed);
                        sums[kind][r] = simd.mul_add(simd.splat(x), seen, sums[kind][r]);
                    }
                    key = decayed;
                }
                simd.store(key, column);
            }
            for (sums, scores) in sums.iter().zip(scores.iter_mut()) {
                for (r, sum) in sums.iter().enumerate() {
                    let at = (i + r) * wide + n * S::LANES;
                    simd.store(*sum, scores.get_mut(at..).unwrap_or(&mut []));
                }
            }
            i += TOKENS;
        }
    }
}
