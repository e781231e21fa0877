//! One key tile against the rows of one head: scores, weights, sums.

use super::{Keys, Sizes, Workspace};
use crate::attend::QueryTile;
use crate::entry::Job;
use crate::math::exp2;
use crate::online::{Online, finite};
use crate::outer::{outer, outer_where};
use crate::products::F32Products;
use crate::simd::{Items, Rows, Simd, Steps};
use crate::staged::Ahead;
use core::ops::Range;

/// Joins the keys of one tile to the states of one head.
#[inline(always)]
pub(super) fn absorb<S: Simd, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    job: &Job<'_>,
    work: &mut Workspace<'_, S>,
    tile: &QueryTile,
    keys: &Keys<'_>,
    ahead: Ahead,
) {
    let (rows, range) = (tile.rows.len(), &keys.range);
    score::<S, N, R>(simd, job, work, tile, range, ahead);
    for row in 0..rows {
        weigh(simd, work, row, range.len(), keys.bits);
    }
    let (stage, p) = (simd.floats_of(work.stage), &*simd.floats_of(work.s));
    let p = Rows::new(p, work.sizes.key_vectors * S::LANES, rows, range.len());
    if let Some(p) = p {
        sum_weights::<S, R>(simd, work.states, p);
    }
    job.v.stage(tile, range, ahead, stage);
    let values = job.v.read(tile, range, stage);
    let (Some(p), true) = (p, values.len() == range.len()) else {
        debug_assert!(false, "the scratch was cut for them");
        return;
    };
    let (o, states) = (&mut *work.o, &*work.states);
    let ahead = job.v.apart(ahead);
    let mut sums = Sums::<S> { p, values, o, states, vectors: work.sizes.v_vectors, ahead };
    match keys.bits {
        None => sums.add_all::<N, R>(simd),
        Some(bits) => sums.add_seen::<TILE_K>(simd, bits),
    }
}

/// `s [rows, keys]` of one tile: `N` vectors of keys are transposed, then meet all rows.
#[inline(always)]
fn score<S: Simd, const N: usize, const R: usize>(
    simd: S,
    job: &Job<'_>,
    work: &mut Workspace<'_, S>,
    tile: &QueryTile,
    range: &Range<usize>,
    ahead: Ahead,
) {
    let Sizes { k_dim, key_vectors, .. } = work.sizes;
    let rows = tile.rows.len();
    let vectors = range.len().div_ceil(S::LANES);
    for first in (0..vectors).step_by(N) {
        let count = N.min(vectors - first);
        for n in 0..count {
            let start = range.start + (first + n) * S::LANES;
            let keys = start..range.end.min(start + S::LANES);
            let columns = simd.floats_of(work.stage).get_mut(n * S::LANES..).unwrap_or(&mut []);
            job.k.lay(tile, keys, ahead, columns, N * S::LANES);
        }
        let queries = Rows::new(&*work.q, k_dim, rows, k_dim);
        let kt = Rows::new(&*work.stage, N, k_dim, N);
        let (Some(queries), Some(kt)) = (queries, kt) else {
            debug_assert!(false, "the scratch was cut for them");
            return;
        };
        // Columns behind the last key give scores that nothing reads.
        let mut scores = Scores::<S> { queries, kt, s: &mut *work.s, key_vectors };
        walk::<S, N, R>(simd, &mut scores, rows, first);
    }
}

/// A product whose rows and columns are walked in register tiles.
trait Product<S: Simd> {
    /// `R` rows from row `row` on, `N` vectors of columns from vector `first` on.
    fn block<const N: usize, const R: usize>(&mut self, simd: S, row: usize, first: usize);
}

/// All rows of the `N` vectors of columns from vector `first` on: `R` rows at a time, then one by one.
#[inline(always)]
fn walk<S: Simd, const N: usize, const R: usize>(
    simd: S,
    product: &mut impl Product<S>,
    rows: usize,
    first: usize,
) {
    let mut row = 0;
    while row + R <= rows {
        product.block::<N, R>(simd, row, first);
        row += R;
    }
    while row < rows {
        product.block::<N, 1>(simd, row, first);
        row += 1;
    }
}

/// `s = q kt`, for the vectors of keys that `kt` holds.
struct Scores<'a, S: Simd> {
    queries: Rows<'a>,
    kt: Rows<'a, S::F32>,
    /// `[rows, key_vectors]`.
    s: &'a mut [S::F32],
    key_vectors: usize,
}

impl<S: Simd> Product<S> for Scores<'_, S> {
    #[inline(always)]
    fn block<const N: usize, const R: usize>(&mut self, simd: S, row: usize, first: usize) {
        let channels = 0..self.kt.len();
        let steps = self.queries.across::<R>(row, channels.end);
        let steps = steps.and(self.kt.down::<N>(0, &channels));
        let zero = [[simd.splat(0.0); N]; R];
        let scores = outer::<S, F32Products, N, 0, R>(simd, F32Products, zero, steps);
        for (r, scores) in scores.iter().enumerate() {
            let to = self.s.get_mut((row + r) * self.key_vectors + first..).unwrap_or(&mut []);
            if let Some(to) = to.first_chunk_mut::<N>() {
                *to = *scores;
            }
        }
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
    let largest = |max: f32, s: &f32| if *s > max { *s } else { max };
    let max = simd.floats_of(&mut max).iter().fold(f32::NEG_INFINITY, largest);
    let max = [simd.add(simd.max(simd.splat(max), m[0]), simd.splat(0.0))];
    *correction = Online { m, l, o: &mut [] }.raise(simd, &max);
    let m = finite(simd, max[0]);
    for s in s.iter_mut() {
        *s = exp2(simd, simd.sub(*s, m));
    }
}

/// Joins the sums of each row's weights, `R` rows side by side; each in the order of the keys, as every
/// lane of `attend.rs` does it.
#[inline(always)]
fn sum_weights<S: Simd, const R: usize>(simd: S, states: &mut [[[S::F32; 1]; 3]], p: Rows<'_>) {
    let (mut states, mut row) = (states.iter_mut(), 0);
    while row < p.len() {
        let count = if p.len() - row >= R { R } else { 1 };
        let mut sums = [-0.0; R];
        if count == R {
            for (weights, _) in p.across::<R>(row, p.width()).and(Items::of(p.row(row))) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += weight;
                }
            }
        } else {
            for weight in p.row(row) {
                sums[0] += weight;
            }
        }
        for (sum, [_, l, correction]) in sums.iter().zip(states.by_ref().take(count)) {
            l[0] = simd.mul_add(l[0], correction[0], simd.splat(*sum));
        }
        row += count;
    }
}

/// -inf for keys that the row may not see, and behind the last key.
#[inline(always)]
fn hide(s: &mut [f32], keys: usize, bits: Option<&[u64]>, row: usize) {
    for (s, bits) in s.iter_mut().zip(bits.unwrap_or(&[])) {
        *s = if bits >> row & 1 == 0 { f32::NEG_INFINITY } else { *s };
    }
    s.get_mut(keys..).unwrap_or(&mut []).fill(f32::NEG_INFINITY);
}

/// `o = o * correction + p V`.
struct Sums<'a, S: Simd> {
    /// Weights, `[rows, keys]`.
    p: Rows<'a>,
    /// `[keys, channels]`.
    values: Rows<'a>,
    /// `[rows, vectors]`.
    o: &'a mut [[S::F32; 1]],
    /// As in [`Workspace`].
    states: &'a [[[S::F32; 1]; 3]],
    vectors: usize,
    /// Floats from the values of this tile to those that are read next.
    ahead: isize,
}

impl<S: Simd> Product<S> for Sums<'_, S> {
    #[inline(always)]
    fn block<const N: usize, const R: usize>(&mut self, simd: S, row: usize, first: usize) {
        let keys = 0..self.values.len();
        let values = self.values.vectors::<S, N>(first * S::LANES, &keys, self.ahead);
        let steps = self.p.across::<R>(row, keys.end).and(values);
        let zero = [[simd.splat(-0.0); N]; R];
        let sum = outer::<S, F32Products, N, 0, R>(simd, F32Products, zero, steps);
        for (r, sum) in sum.iter().enumerate() {
            self.join(simd, row + r, first, sum);
        }
    }
}

impl<S: Simd> Sums<'_, S> {
    /// All values, where every row sees every key.
    #[inline(always)]
    fn add_all<const N: usize, const R: usize>(&mut self, simd: S) {
        let (rows, mut first) = (self.p.len(), 0);
        while first + N <= self.vectors {
            walk::<S, N, R>(simd, self, rows, first);
            first += N;
        }
        while first < self.vectors {
            walk::<S, 1, R>(simd, self, rows, first);
            first += 1;
        }
    }

    /// Only the values that a row may see: the others may be NaN.
    #[inline(always)]
    fn add_seen<const TILE_K: usize>(&mut self, simd: S, bits: &[u64]) {
        let keys = 0..self.values.len();
        for row in 0..self.p.len() {
            let mut lanes = [0; TILE_K];
            for (lanes, bits) in lanes.iter_mut().zip(bits) {
                *lanes = if bits >> row & 1 == 0 { 0 } else { u64::MAX };
            }
            for first in 0..self.vectors {
                let values = self.values.vectors::<S, 1>(first * S::LANES, &keys, 0);
                let steps = self.p.across::<1>(row, keys.end).and(values);
                let steps = steps.and(Items::of(lanes.as_chunks().0));
                let zero = [[simd.splat(-0.0)]];
                let sum = outer_where::<S, F32Products, 1, 0, 1, 1>(simd, F32Products, zero, steps);
                self.join(simd, row, first, &sum[0]);
            }
        }
    }

    /// `o = o * correction + sum` for some vectors of a row.
    #[inline(always)]
    fn join<const N: usize>(&mut self, simd: S, row: usize, first: usize, sum: &[S::F32; N]) {
        let o = self.o.get_mut(row * self.vectors + first..).unwrap_or(&mut []);
        let state = self.states.get(row);
        if let (Some(o), Some([.., [correction]])) = (o.first_chunk_mut::<N>(), state) {
            for (o, sum) in o.iter_mut().zip(sum) {
                o[0] = simd.mul_add(o[0], *correction, *sum);
            }
        }
    }
}
