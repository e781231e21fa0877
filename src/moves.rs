//! Rows of stored numbers into scratch, as f32: laid down lanes, or row after row.
//!
//! Neither head size nor tile enters here, so there is one function a level and an element
//! (`dispatch/moves.rs`), and no entry holds a copy of its own.

use crate::elem::Elem;
use crate::simd::{MAX_LANES, Rows, Simd, prefetch};

/// The rows of a vector of lanes; those that are not there are empty.
pub(crate) type LaneRows<'a, T> = [&'a [T]; MAX_LANES];

/// Transposes the first `LANES` rows: `columns[c * width + r] = rows[r][c] * scale`. Rows that are empty
/// give zeros. Meanwhile the lines `ahead` elements behind each row come nearer.
#[inline(always)]
pub(crate) fn lay<S: Simd, T: Elem>(
    simd: S,
    rows: &LaneRows<'_, T>,
    ahead: usize,
    scale: f32,
    columns: &mut [f32],
    width: usize,
) {
    let factor = simd.splat(scale);
    let dim = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut columns = columns.chunks_mut(width.max(1));
    for first in (0..dim).step_by(S::LANES) {
        let mut square = simd.square();
        for (x, row) in square.as_mut().iter_mut().zip(rows) {
            *x = simd.mul(T::load(simd, row.get(first..).unwrap_or(&[])), factor);
            if ahead > 0 {
                prefetch(row.as_ptr().wrapping_add(ahead + first));
            }
        }
        let square = simd.transpose(square);
        let channels = (dim - first).min(S::LANES);
        for (x, column) in square.as_ref().iter().zip(columns.by_ref().take(channels)) {
            simd.store(*x, column);
        }
    }
}

/// Copies rows one behind the other: `to[j * width + c] = rows[j][c] * scale`; channels up to `width`
/// that a row lacks become zeros. `ahead` as for [`lay`].
#[inline(always)]
pub(crate) fn flat<S: Simd, T: Elem>(
    simd: S,
    rows: Rows<'_, T>,
    ahead: usize,
    scale: f32,
    to: &mut [f32],
    width: usize,
) {
    let factor = simd.splat(scale);
    for (j, to) in to.chunks_mut(width.max(1)).enumerate().take(rows.len()) {
        let row = rows.row(j);
        for (first, to) in to.chunks_mut(S::LANES).enumerate() {
            let x = T::load(simd, row.get(first * S::LANES..).unwrap_or(&[]));
            if ahead > 0 {
                prefetch(row.as_ptr().wrapping_add(ahead + first * S::LANES));
            }
            simd.store(simd.mul(x, factor), to);
        }
    }
}

/// As [`lay`] for pairs of bf16: `columns[c * width + r]` is the pair of the channels `2c` and `2c + 1`
/// of row `r`, not scaled.
#[inline(always)]
pub(crate) fn lay_pairs<S: Simd, T: Elem>(
    simd: S,
    rows: &LaneRows<'_, T>,
    columns: &mut [f32],
    width: usize,
) {
    let dim = rows.iter().map(|row| row.len()).max().unwrap_or(0).div_ceil(2);
    let mut columns = columns.chunks_mut(width.max(1));
    for first in (0..dim).step_by(S::LANES) {
        let mut square = simd.square();
        for (x, row) in square.as_mut().iter_mut().zip(rows) {
            let mut pairs = [0.0; MAX_LANES];
            pair(row.get(2 * first..).unwrap_or(&[]), &mut pairs);
            *x = simd.load(&pairs);
        }
        let square = simd.transpose(square);
        let channels = (dim - first).min(S::LANES);
        for (x, column) in square.as_ref().iter().zip(columns.by_ref().take(channels)) {
            simd.store(*x, column);
        }
    }
}

/// As [`flat`] for pairs of bf16: `to[j * width + c]` is the pair of the channels `2c` and `2c + 1` of
/// row `j`.
#[inline(always)]
pub(crate) fn flat_pairs<T: Elem>(rows: Rows<'_, T>, to: &mut [f32], width: usize) {
    for (j, to) in to.chunks_mut(width.max(1)).enumerate().take(rows.len()) {
        pair(rows.row(j), to);
    }
}

/// Pairs of bf16 from neighbouring rows: `to[t * width + c]` is the pair of channel `c` of the rows
/// `2t` and `2t + 1`; 0 for a row that is not there.
#[inline(always)]
pub(crate) fn weave<T: Elem>(rows: Rows<'_, T>, to: &mut [f32], width: usize) {
    for (t, to) in to.chunks_mut(width.max(1)).enumerate().take(rows.len().div_ceil(2)) {
        let (even, odd) = (rows.row(2 * t), rows.row(2 * t + 1));
        if odd.is_empty() {
            for (to, even) in to.iter_mut().zip(even) {
                *to = f32::from_bits(u32::from(even.to_bf16().to_bits()));
            }
        }
        for ((to, even), odd) in to.iter_mut().zip(even).zip(odd) {
            *to = join(*even, *odd);
        }
    }
}

/// `to[c]` is the pair of `from[2c]` and `from[2c + 1]`; zeros follow the last number.
#[inline(always)]
fn pair<T: Elem>(from: &[T], to: &mut [f32]) {
    let (pairs, last) = from.as_chunks::<2>();
    for (to, [low, high]) in to.iter_mut().zip(pairs) {
        *to = join(*low, *high);
    }
    if let (Some(to), [last]) = (to.get_mut(pairs.len()), last) {
        *to = f32::from_bits(u32::from(last.to_bf16().to_bits()));
    }
}

/// The bits of a pair.
#[inline(always)]
fn join<T: Elem>(low: T, high: T) -> f32 {
    let bits = |x: T| u32::from(x.to_bf16().to_bits());
    f32::from_bits(bits(low) | bits(high) << 16)
}

/// Rounds a row of results to how it is stored.
#[inline(always)]
pub(crate) fn round<S: Simd, T: Elem>(simd: S, from: &[f32], to: &mut [T]) {
    for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
        T::store(simd, simd.load(from), to);
    }
}

/// The way back from lanes: `rows[r * width_to + c] = columns[c * width + r]` for `LANES` lanes.
#[inline(always)]
pub(crate) fn lift<S: Simd>(simd: S, columns: &[f32], width: usize, dim: usize, rows: &mut [f32]) {
    for first in (0..dim).step_by(S::LANES) {
        let mut square = simd.square();
        let from = columns.chunks(width.max(1)).skip(first).take(dim - first);
        for (x, column) in square.as_mut().iter_mut().zip(from) {
            *x = simd.load(column);
        }
        let square = simd.transpose(square);
        for (x, row) in square.as_ref().iter().zip(rows.chunks_exact_mut(dim.max(1))) {
            simd.store(*x, row.get_mut(first..).unwrap_or(&mut []));
        }
    }
}
