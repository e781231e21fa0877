//! Rows of stored numbers into scratch, as f32: laid down lanes, or row after row.
//!
//! Neither head size nor tile enters here, so there is one function a level and an element
//! (`dispatch/moves.rs`), and no entry holds a copy of its own.

use crate::elem::Elem;
use crate::simd::{MAX_LANES, Rows, Simd, Strip, StripMut, load_columns, prefetch, store_columns};

/// The first lanes of `row`, and zeros where it has no more.
#[inline(always)]
pub(crate) fn get<S: Simd, T: Elem>(simd: S, row: &[T]) -> S::F32 {
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
pub(crate) fn put<S: Simd, T: Elem>(simd: S, x: S::F32, row: &mut [T]) {
    if row.len() >= S::LANES {
        return T::store(simd, x, row);
    }
    let mut whole = [T::default(); MAX_LANES];
    T::store(simd, x, &mut whole);
    row.iter_mut().zip(whole).for_each(|(to, x)| *to = x);
}

/// Copies rows one behind the other: `to[j * width + c] = rows[j][c] * scale`; channels up to `width`
/// that a row lacks become zeros. Meanwhile the lines
/// `ahead` elements from each row come nearer.
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

/// Rows of queries or of outputs, at most a vector of lanes; those that are not there are empty.
pub(crate) type RowsOfLanes<'a, T> = [&'a [T]; MAX_LANES];

/// Rows for the lanes behind `idle` ones.
pub(crate) fn in_lanes<'r, T: 'r>(
    idle: usize,
    rows: impl Iterator<Item = &'r [T]>,
) -> RowsOfLanes<'r, T> {
    let mut lanes: RowsOfLanes<'r, T> = [&[]; MAX_LANES];
    for (lane, row) in lanes.iter_mut().skip(idle).zip(rows) {
        *lane = row;
    }
    lanes
}

/// Transposes rows of queries: `columns[c * width + r] = rows[r][c] * scale`. Zeros behind a row's last
/// number, and in lanes without a row.
#[inline(always)]
pub(crate) fn pack<S: Simd, T: Elem>(
    simd: S,
    rows: &RowsOfLanes<'_, T>,
    scale: f32,
    columns: &mut [f32],
    width: usize,
) {
    let factor = simd.splat(scale);
    let strip = Strip::new::<S>(rows);
    for (first, columns) in panels::<S, T>(rows, columns, width) {
        let mut square = square_at(simd, &strip, rows, first);
        for x in square.as_mut() {
            *x = simd.mul(*x, factor);
        }
        put_columns(simd, simd.transpose(square), columns, width);
    }
}

/// As [`pack`], the bits as they are: of pairs, and of words of codes.
#[inline(always)]
pub(crate) fn pack_bits<S: Simd>(
    simd: S,
    rows: &RowsOfLanes<'_, f32>,
    columns: &mut [f32],
    width: usize,
) {
    let strip = Strip::new::<S>(rows);
    for (first, columns) in panels::<S, f32>(rows, columns, width) {
        let square = square_at(simd, &strip, rows, first);
        put_columns(simd, simd.transpose(square), columns, width);
    }
}

/// As [`pack`], added to what is there.
#[inline(always)]
pub(crate) fn add_columns<S: Simd>(
    simd: S,
    rows: &RowsOfLanes<'_, f32>,
    scale: f32,
    columns: &mut [f32],
    width: usize,
) {
    let factor = simd.splat(scale);
    let strip = Strip::new::<S>(rows);
    for (first, columns) in panels::<S, f32>(rows, columns, width) {
        let square = simd.transpose(square_at(simd, &strip, rows, first));
        for (x, column) in square.as_ref().iter().zip(columns.chunks_mut(width.max(1))) {
            let x = simd.mul(*x, factor);
            simd.store(simd.add(simd.load(column), x), column);
        }
    }
}

/// The first channel of each square of some rows, and the columns that it is laid down to.
#[inline(always)]
pub(crate) fn panels<'c, S: Simd, T>(
    rows: &RowsOfLanes<'_, T>,
    columns: &'c mut [f32],
    width: usize,
) -> impl Iterator<Item = (usize, &'c mut [f32])> {
    let dim = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    // The last column may be shorter than the others.
    let end = columns.len().min(dim.saturating_sub(1) * width + MAX_LANES);
    let panels = columns.get_mut(..end).unwrap_or(&mut []).chunks_mut((S::LANES * width).max(1));
    (0..dim).step_by(S::LANES).zip(panels)
}

/// A square of rows, from channel `first` on; zeros where there is nothing.
#[inline(always)]
pub(crate) fn square_at<S: Simd, T: Elem>(
    simd: S,
    strip: &Strip<'_, T>,
    rows: &RowsOfLanes<'_, T>,
    first: usize,
) -> S::Square {
    if let Some(square) = strip.square(simd, first) {
        return square;
    }
    let mut square = simd.square();
    for (x, row) in square.as_mut().iter_mut().zip(rows) {
        *x = T::load(simd, &padded(row.get(first..).unwrap_or(&[])));
    }
    square
}

/// One column a vector of the square, as many as there are.
#[inline(always)]
pub(crate) fn put_columns<S: Simd>(simd: S, square: S::Square, columns: &mut [f32], width: usize) {
    if store_columns(simd, square, columns, width) {
        return;
    }
    for (x, column) in square.as_ref().iter().zip(columns.chunks_mut(width.max(1))) {
        simd.store(*x, column);
    }
}

/// The way back from lanes, rounded to how rows are stored: `rows[r][c] = columns[c * width + r]`.
#[inline(always)]
pub(crate) fn lift<S: Simd, T: Elem>(
    simd: S,
    columns: &[f32],
    width: usize,
    rows: &mut [&mut [T]; MAX_LANES],
) {
    let dim = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    for first in (0..dim).step_by(S::LANES) {
        let columns = columns.get(first * width..).unwrap_or(&[]);
        let square = load_columns(simd, columns, width).unwrap_or_else(|| {
            let mut square = simd.square();
            for (c, x) in square.as_mut().iter_mut().enumerate() {
                // The last column may hold no more lanes than there are rows.
                *x = get(simd, columns.get(c * width..).unwrap_or(&[]));
            }
            square
        });
        let square = simd.transpose(square);
        if StripMut::new::<S>(rows).store(simd, square, first) {
            continue;
        }
        for (x, row) in square.as_ref().iter().zip(rows.iter_mut()) {
            put(simd, *x, row.get_mut(first..).unwrap_or(&mut []));
        }
    }
}
