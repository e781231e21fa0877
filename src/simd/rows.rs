//! A strided matrix whose bounds were checked once, so that inner loops need not.
//!
//! The loops are iterators, not functions that take a closure: a closure cannot be
//! `#[inline(always)]`, and one that is left out of line calls every intrinsic as a function.

use core::ops::Range;
use core::slice;

/// `len` rows of `width` elements, `stride` elements apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a, T = f32> {
    data: &'a [T],
    stride: usize,
    len: usize,
    width: usize,
}

impl<'a, T: Copy> Rows<'a, T> {
    /// The rows that start at `data[0]`, `data[stride]` ...; `None` if they do not all fit.
    pub(crate) fn new(data: &'a [T], stride: usize, len: usize, width: usize) -> Option<Self> {
        let last = len.saturating_sub(1).checked_mul(stride)?;
        let fits = len == 0 || last.checked_add(width)? <= data.len();
        fits.then_some(Rows { data, stride, len, width })
    }

    /// Along the channels of the `R` rows from row `first`:
    /// `([row[first][c], .., row[first + R - 1][c]], &with[c])` for each `c` of `with`.
    ///
    /// Empty if there are not as many rows or channels.
    #[inline(always)]
    pub(crate) fn across<const R: usize, W>(
        self,
        first: usize,
        with: &'a [W],
    ) -> Steps<'a, T, W, R> {
        let fits = R > 0 && first < self.len && R <= self.len - first && with.len() <= self.width;
        let (start, with) = if fits { (first * self.stride, with) } else { (0, &[][..]) };
        // Element `c` of row `first + r` lies at `start + r * stride + c`: step `c` reads inside
        // row `first + r < len` and below `width`, so by the check in `new` inside `data`.
        let next = self.data.as_ptr().wrapping_add(start);
        Steps { next, step: 1, apart: self.stride, with: with.iter() }
    }

    /// Down the rows of `range`, over the `C` channels from channel `first`:
    /// `([row[j][first], .., row[j][first + C - 1]], &with[j - range.start])`.
    ///
    /// Empty if there are not as many rows or channels, or if `with` has another length.
    #[inline(always)]
    pub(crate) fn down<const C: usize, W>(
        self,
        first: usize,
        range: &Range<usize>,
        with: &'a [W],
    ) -> Steps<'a, T, W, C> {
        let fits = C > 0
            && range.start < range.end
            && range.end <= self.len
            && range.end - range.start == with.len()
            && first < self.width
            && C <= self.width - first;
        let (start, with) =
            if fits { (range.start * self.stride + first, with) } else { (0, &[][..]) };
        // Channel `first + c` of row `range.start + j` lies at `start + j * stride + c`: step `j`
        // reads below `width` of a row below `len`, so by the check in `new` inside `data`.
        let next = self.data.as_ptr().wrapping_add(start);
        Steps { next, step: self.stride, apart: 1, with: with.iter() }
    }
}

/// `L` elements `apart` from each other at every step, beside an element of a slice. Made only where
/// every step of `with` reads inside the rows.
#[derive(Debug)]
pub(crate) struct Steps<'a, T, W, const L: usize> {
    next: *const T,
    step: usize,
    apart: usize,
    with: slice::Iter<'a, W>,
}

impl<'a, T: Copy, W, const L: usize> Iterator for Steps<'a, T, W, L> {
    type Item = ([T; L], &'a W);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let with = self.with.next()?;
        // SAFETY: `with` has an element for each step whose reads `across` or `down` found to lie
        // inside the rows; `L > 0`, or there is none.
        let mut elements = [unsafe { *self.next }; L];
        for (l, element) in elements.iter_mut().enumerate() {
            // SAFETY: as above, for element `l < L` of this step.
            *element = unsafe { *self.next.add(l * self.apart) };
        }
        self.next = self.next.wrapping_add(self.step);
        Some((elements, with))
    }
}
