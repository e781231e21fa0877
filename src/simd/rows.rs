//! A strided matrix whose bounds were checked once, so that inner loops need not.

use core::ops::Range;

/// `len` rows of `width` elements, `stride` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T = f32> {
    data: &'a [T],
    stride: usize,
    len: usize,
    width: usize,
}

impl<'a, T: Copy> Rows<'a, T> {
    /// The rows that start at `data[0]`, `data[stride]` ...; `None` if they do not all fit.
    #[must_use]
    pub fn new(data: &'a [T], stride: usize, len: usize, width: usize) -> Option<Self> {
        let last = len.saturating_sub(1).checked_mul(stride)?;
        let fits = len == 0 || last.checked_add(width)? <= data.len();
        fits.then_some(Rows { data, stride, len, width })
    }

    /// Runs along the channels of the `R` rows from row `first`:
    /// `f([row[first][c], .., row[first + R - 1][c]], &with[c])` for each `c` of `with`.
    ///
    /// Does nothing if there are not as many rows or channels.
    #[inline(always)]
    pub fn across<const R: usize, W>(
        self,
        first: usize,
        with: &[W],
        mut f: impl FnMut([T; R], &W),
    ) {
        if first > self.len || R > self.len - first || with.len() > self.width {
            return;
        }
        let base = self.data.as_ptr().wrapping_add(first * self.stride);
        for (c, w) in with.iter().enumerate() {
            f(
                core::array::from_fn(|r| {
                    // SAFETY: row `first + r < len` and channel `c < width`, so by the check in
                    // `new` the element lies inside `data`.
                    unsafe { *base.add(r * self.stride + c) }
                }),
                w,
            );
        }
    }

    /// Runs down the rows of `range`, over the `C` channels from channel `first`:
    /// `f([row[j][first], .., row[j][first + C - 1]], &with[j - range.start])`.
    ///
    /// Does nothing if there are not as many rows or channels, or if `with` has another length.
    #[inline(always)]
    pub fn down<const C: usize, W>(
        self,
        first: usize,
        range: Range<usize>,
        with: &[W],
        mut f: impl FnMut([T; C], &W),
    ) {
        let fits = range.start <= range.end
            && range.end <= self.len
            && range.end - range.start == with.len()
            && first <= self.width
            && C <= self.width - first;
        if !fits {
            return;
        }
        let base = self.data.as_ptr().wrapping_add(range.start * self.stride + first);
        for (j, w) in with.iter().enumerate() {
            f(
                core::array::from_fn(|c| {
                    // SAFETY: row `range.start + j < len` and channel `first + c < width`, so by
                    // the check in `new` the element lies inside `data`.
                    unsafe { *base.add(j * self.stride + c) }
                }),
                w,
            );
        }
    }
}
