//! Squares of numbers, a vector from each of as many rows as it has lanes: read and written whole, with
//! one check for all of it.

use super::{MAX_LANES, Simd};
use crate::elem::Elem;

/// A row for each lane. Lanes of a narrower vector than [`MAX_LANES`] have the first ones.
pub(crate) struct Strip<'a, T> {
    rows: &'a [&'a [T]; MAX_LANES],
    /// Elements that each of the first `lanes` rows has at least.
    len: usize,
    lanes: usize,
}

impl<'a, T: Elem> Strip<'a, T> {
    pub(crate) fn new<S: Simd>(rows: &'a [&'a [T]; MAX_LANES]) -> Self {
        let len = rows.iter().take(S::LANES).map(|row| row.len()).min().unwrap_or(0);
        Strip { rows, len, lanes: S::LANES }
    }

    /// The numbers from channel `first` on, if every row has as many.
    #[inline(always)]
    pub(crate) fn square<S: Simd>(&self, simd: S, first: usize) -> Option<S::Square> {
        let end = first.checked_add(S::LANES)?;
        if end > self.len || S::LANES > self.lanes {
            return None;
        }
        let mut square = simd.square();
        for (x, row) in square.as_mut().iter_mut().zip(self.rows) {
            // SAFETY: `end <= len`, which is the length of the shortest of these rows.
            *x = T::load(simd, unsafe { row.get_unchecked(first..end) });
        }
        Some(square)
    }
}

/// A row for each lane, to be written.
pub(crate) struct StripMut<'a, 'r, T> {
    rows: &'a mut [&'r mut [T]; MAX_LANES],
    /// As for [`Strip`].
    len: usize,
    lanes: usize,
}

impl<'a, 'r, T: Elem> StripMut<'a, 'r, T> {
    pub(crate) fn new<S: Simd>(rows: &'a mut [&'r mut [T]; MAX_LANES]) -> Self {
        let len = rows.iter().take(S::LANES).map(|row| row.len()).min().unwrap_or(0);
        StripMut { rows, len, lanes: S::LANES }
    }

    /// Writes numbers from channel `first` on, rounded to how they are stored; `false` if not every row
    /// takes as many.
    #[inline(always)]
    pub(crate) fn store<S: Simd>(&mut self, simd: S, square: S::Square, first: usize) -> bool {
        let Some(end) = first.checked_add(S::LANES) else { return false };
        if end > self.len || S::LANES > self.lanes {
            return false;
        }
        for (x, row) in square.as_ref().iter().zip(self.rows.iter_mut()) {
            // SAFETY: `end <= len`, which is the length of the shortest of these rows.
            T::store(simd, *x, unsafe { row.get_unchecked_mut(first..end) });
        }
        true
    }
}

/// A vector from each of as many columns as it has lanes, `width` floats apart, if they are all there.
#[inline(always)]
pub(crate) fn load_columns<S: Simd>(simd: S, columns: &[f32], width: usize) -> Option<S::Square> {
    if !holds_square::<S>(columns.len(), width) {
        return None;
    }
    let mut square = simd.square();
    for (c, x) in square.as_mut().iter_mut().enumerate() {
        // SAFETY: vector `c < LANES` ends inside the columns, as `holds_square` found.
        *x = simd.load(unsafe { columns.get_unchecked(c * width..c * width + S::LANES) });
    }
    Some(square)
}

/// Writes a vector to each of as many columns as it has lanes, `width` floats apart; `false` if they are
/// not all there.
#[inline(always)]
pub(crate) fn store_columns<S: Simd>(
    simd: S,
    square: S::Square,
    columns: &mut [f32],
    width: usize,
) -> bool {
    if !holds_square::<S>(columns.len(), width) {
        return false;
    }
    for (c, x) in square.as_ref().iter().enumerate() {
        // SAFETY: vector `c < LANES` ends inside the columns, as `holds_square` found.
        simd.store(*x, unsafe { columns.get_unchecked_mut(c * width..c * width + S::LANES) });
    }
    true
}

/// Whether so many floats hold a square of columns, `width` floats apart.
#[inline(always)]
fn holds_square<S: Simd>(floats: usize, width: usize) -> bool {
    let last = width.checked_mul(S::LANES - 1);
    last.and_then(|last| last.checked_add(S::LANES)).is_some_and(|end| end <= floats)
}
