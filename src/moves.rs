//! Rows of stored numbers into scratch, as f32: laid down lanes, or row after row.
//!
//! Neither head size nor tile enters here, so there is one function a level and an element
//! (`dispatch/moves.rs`), and no entry holds a copy of its own.

use crate::elem::Elem;
use crate::simd::{MAX_LANES, Rows, Simd, prefetch};

/// Transposes at most `LANES` rows: `columns[c * width + r] = rows[r][c]`. Lanes without a row get zeros.
/// Meanwhile the lines `ahead` elements from each row come nearer.
#[inline(always)]
pub(crate) fn lay<S: Simd, T: Elem>(
    simd: S,
    rows: Rows<'_, T>,
    ahead: isize,
    columns: &mut [f32],
    width: usize,
) {
    let (dim, all) = (rows.width(), 0..rows.len());
    let mut columns = columns.chunks_mut(width.max(1));
    for first in (0..dim).step_by(S::LANES) {
        let mut square = simd.square();
        if dim - first >= S::LANES {
            let mut chunks = rows.chunks::<S>(first, &all);
            for x in square.as_mut() {
                let Some(chunk) = chunks.next() else { break };
                *x = T::load(simd, chunk);
                prefetch(chunk.as_ptr().wrapping_offset(ahead));
            }
        } else {
            for (j, x) in square.as_mut().iter_mut().enumerate().take(rows.len()) {
                *x = T::load(simd, &padded(rows.row(j).get(first..).unwrap_or(&[])));
            }
        }
        let square = simd.transpose(square);
        let channels = (dim - first).min(S::LANES);
        for (x, column) in square.as_ref().iter().zip(columns.by_ref().take(channels)) {
            simd.store(*x, column);
        }
    }
}

/// The first lanes of `row`, and zeros where it has no more.
#[inline(always)]
fn get<S: Simd, T: Elem>(simd: S, row: &[T]) -> S::F32 {
    if row.len() >= S::LANES { T::load(simd, row) } else { T::load(simd, &padded(row)) }
}

/// A row's last numbers, and zeros behind them.
#[inline(always)]
fn padded<T: Elem>(row: &[T]) -> [T; MAX_LANES] {
    let mut whole = [T::default(); MAX_LANES];
    whole.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
    whole
}

/// Writes as many lanes as `row` takes.
#[inline(always)]
fn put<S: Simd, T: Elem>(simd: S, x: S::F32, row: &mut [T]) {
    if row.len() >= S::LANES {
        return T::store(simd, x, row);
    }
    let mut whole = [T::default(); MAX_LANES];
    T::store(simd, x, &mut whole);
    row.iter_mut().zip(whole).for_each(|(to, x)| *to = x);
}

/// Copies rows one behind the other: `to[j * width + c] = rows[j][c] * scale`; channels up to `width`
/// that a row lacks become zeros. `ahead` as for [`lay`].
#[inline(always)]
pub(crate) fn flat<S: Simd, T: Elem>(
    simd: S,
    rows: Rows<'_, T>,
    ahead: isize,
    scale: f32,
    to: &mut [f32],
    width: usize,
) {
    let factor = simd.splat(scale);
    for (j, to) in to.chunks_mut(width.max(1)).enumerate().take(rows.len()) {
        let row = rows.row(j);
        for (chunk, to) in to.chunks_mut(S::LANES).enumerate() {
            let from = row.get(chunk * S::LANES..).unwrap_or(&[]);
            if ahead != 0 {
                prefetch(from.as_ptr().wrapping_offset(ahead));
            }
            put(simd, simd.mul(get(simd, from), factor), to);
        }
    }
}

/// Rounds a row of results to how it is stored.
#[inline(always)]
pub(crate) fn round<S: Simd, T: Elem>(simd: S, from: &[f32], to: &mut [T]) {
    for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
        put(simd, get(simd, from), to);
    }
}

/// The way back from lanes: `rows[r * dim + c] = columns[c * width + r]` for `LANES` lanes.
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
            put(simd, *x, row.get_mut(first..).unwrap_or(&mut []));
        }
    }
}
