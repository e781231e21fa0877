//! One key tile against the rows of one head: scores, weights, sums.

use super::products::Weights;
use super::{Keys, Workspace};
use crate::attend::QueryTile;
use crate::change::{At, Changing};
use crate::defect::planted;
use crate::entry::Job;
use crate::mask::Visible;
use crate::math::exp2;
use crate::online::{Online, finite, hidden};
use crate::simd::{Items, Rows, Simd, Steps};
use crate::staged::Ahead;
use crate::tiling::Lanes;

/// Joins the keys of one tile to the states of one head.
#[inline(always)]
pub(super) fn absorb<S: Simd, C: Changing>(
    simd: S,
    job: &Job<'_>,
    work: &mut Workspace<'_, S>,
    tile: &QueryTile,
    keys: &Keys<'_>,
    (ahead, visible): (Ahead, &Visible<'_>),
) {
    let (rows, range, sizes) = (tile.rows.len(), &keys.range, work.sizes);
    let (key_width, v_width) = (sizes.key_vectors * S::LANES, sizes.v_vectors * S::LANES);
    let at = || {
        let (rows, widths) = (tile.rows.clone(), [key_width, v_width]);
        At { rows, keys: range, widths, along: Lanes::Keys, idle: 0 }
    };
    let queries = Rows::inside(&*work.q, sizes.k_dim, rows, sizes.k_dim);
    let (s, stage) = (simd.floats_of(work.s), simd.floats_of(work.stage));
    job.k.scores(tile, range, ahead, queries, (s, key_width), stage);
    if C::MAY && job.changes_scores() {
        let s = simd.floats_of(work.s).get_mut(..rows * key_width).unwrap_or(&mut []);
        job.change_scores(visible, tile, at(), s, work.room);
    }
    for row in 0..rows {
        weigh(simd, work, row, range.len(), keys.bits);
    }
    let p = &*simd.floats_of(work.s);
    let p = Rows::inside(p, key_width, rows, range.len());
    sum_weights(simd, work.states, p);
    let (stage, sums) = (simd.floats_of(work.stage), simd.floats_of(work.sums));
    let bits = keys.bits.filter(|_| !planted!("zero_times_nan"));
    let weights = Weights { p, bits };
    job.v.sums(tile, range, ahead, weights, (sums, v_width), stage);
    let sums = work.sums.chunks_exact(sizes.v_vectors);
    let rows = work.o.chunks_exact_mut(sizes.v_vectors).zip(sums);
    for ((o, sums), [.., correction]) in rows.zip(work.states.iter()) {
        for (o, sum) in o.iter_mut().zip(sums) {
            o[0] = simd.mul_add(o[0], correction[0], *sum);
        }
    }
    if C::MAY && job.adds_values() {
        let (p, o) = (simd.floats_of(work.s), simd.floats_of(work.o.as_flattened_mut()));
        job.add_values(visible, tile, at(), p, o, work.room);
    }
}

/// Turns a row's scores of `keys` keys into weights. `bits` as in [`Keys`].
#[inline(always)]
fn weigh<S: Simd>(
    simd: S,
    work: &mut Workspace<'_, S>,
    row: usize,
    keys: usize,
    bits: Option<&[u64]>,
) {
    let vectors = work.sizes.key_vectors;
    let s = work.s.get_mut(row * vectors..).unwrap_or(&mut []);
    let s = s.get_mut(..keys.div_ceil(S::LANES)).unwrap_or(&mut []);
    let Some([m, l, correction]) = work.states.get_mut(row) else {
        return;
    };
    hide(simd.floats_of(s), keys, bits, row);
    let mut max = [simd.splat(f32::NEG_INFINITY)];
    for s in s.iter() {
        max[0] = simd.max(*s, max[0]);
    }
    let max = simd.splat(across(simd.floats_of(&mut max)));
    let max = [simd.add(simd.max(max, m[0]), simd.splat(0.0))];
    *correction = Online { m, l, o: &mut [] }.raise(simd, &max);
    let m = finite(simd, max[0]);
    for s in s.iter_mut() {
        *s = exp2(simd, simd.sub(*s, m));
    }
}

/// The largest number of a vector, none of them NaN: of halves, then of their halves, for speed.
#[inline(always)]
fn across(x: &mut [f32]) -> f32 {
    let mut len = x.len();
    while len > 1 {
        len /= 2;
        if let Some((low, high)) = x.split_at_mut_checked(len) {
            low.iter_mut().zip(high).for_each(|(a, b)| *a = if *a > *b { *a } else { *b });
        }
    }
    x.first().copied().unwrap_or(f32::NEG_INFINITY)
}

/// Joins the sums of each row's weights, some rows side by side; each in the order of the keys, as every
/// lane of `attend.rs` does it.
#[inline(always)]
fn sum_weights<S: Simd>(simd: S, states: &mut [[[S::F32; 1]; 3]], p: Rows<'_>) {
    let mut row = 0;
    while row + 8 <= p.len() {
        sum_rows::<S, 8>(simd, states, p, row);
        row += 8;
    }
    while row + 4 <= p.len() {
        sum_rows::<S, 4>(simd, states, p, row);
        row += 4;
    }
    while row < p.len() {
        sum_rows::<S, 1>(simd, states, p, row);
        row += 1;
    }
}

/// `R` rows of [`sum_weights`].
#[inline(always)]
fn sum_rows<S: Simd, const R: usize>(
    simd: S,
    states: &mut [[[S::F32; 1]; 3]],
    p: Rows<'_>,
    row: usize,
) {
    let mut sums = [-0.0; R];
    for (weights, _) in p.across::<R>(row, p.width()).and(Items::of(p.row(row))) {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += weight;
        }
    }
    for (sum, [_, l, correction]) in sums.iter().zip(states.iter_mut().skip(row)) {
        l[0] = simd.mul_add(l[0], correction[0], simd.splat(*sum));
    }
}

/// [`hidden`] for keys that the row may not see; -inf behind the last key.
#[inline(always)]
fn hide(s: &mut [f32], keys: usize, bits: Option<&[u64]>, row: usize) {
    for (s, bits) in s.iter_mut().zip(bits.unwrap_or(&[])) {
        *s = if bits >> row & 1 == 0 { hidden() } else { *s };
    }
    s.get_mut(keys..).unwrap_or(&mut []).fill(f32::NEG_INFINITY);
}
