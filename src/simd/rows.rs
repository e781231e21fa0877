//! A strided matrix whose bounds were checked once, so that inner loops need not.
//!
//! The loops are iterators, not functions that take a closure: a closure cannot be
//! `#[inline(always)]`, and one that is left out of line calls every intrinsic as a function.

use super::Simd;
use super::blocks::{Blocks, DEEP, Patches, Wide};
use super::hints::{Hint, Walk};
use super::scaled::{RowScales, Unscaled};
use super::steps::Steps;
use crate::elem::{BLOCK, Coded, Loaded};
use core::marker::PhantomData;
use core::ops::Range;
use half::bf16;

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
    pub(crate) fn new(data: &'a [T], stride: usize, len: usize, width: usize) -> Option<Self> {
        let last = len.saturating_sub(1).checked_mul(stride)?;
        let fits = len == 0 || last.checked_add(width)? <= data.len();
        fits.then_some(Rows { data, stride, len, width })
    }

    /// The same where they are known to fit; no rows if they do not.
    pub(crate) fn inside(data: &'a [T], stride: usize, len: usize, width: usize) -> Self {
        let none = Rows { data: &[], stride: 0, len: 0, width: 0 };
        Rows::new(data, stride, len, width).unwrap_or(none)
    }

    /// Elements from one row to the next.
    #[inline(always)]
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Elements of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// A single row.
    pub(crate) fn one(row: &'a [T]) -> Self {
        Rows { data: row, stride: 0, len: 1, width: row.len() }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Row `j`; empty if there is no such row.
    #[inline(always)]
    pub(crate) fn row(&self, j: usize) -> &'a [T] {
        if j >= self.len {
            return &[];
        }
        self.data.get(j * self.stride..).and_then(|row| row.get(..self.width)).unwrap_or(&[])
    }

    /// The rows of a range, or as many of them as there are.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len);
        if range.start >= end {
            return Rows { data: &[], len: 0, ..*self };
        }
        let data = self.data.get(range.start * self.stride..).unwrap_or(&[]);
        Rows { data, len: end - range.start, ..*self }
    }

    /// Along the first `steps` channels of the `R` rows from row `first`: at step `c`,
    /// `[row[first][c], .., row[first + R - 1][c]]`.
    ///
    /// Empty if there are not as many rows or channels.
    #[inline(always)]
    pub(crate) fn across<const R: usize>(self, first: usize, steps: usize) -> Lines<'a, T, R> {
        let fits = R > 0 && first < self.len && R <= self.len - first && steps <= self.width;
        let (start, left) = if fits { (first * self.stride, steps) } else { (0, 0) };
        // Element `c` of row `first + r` lies at `start + r * stride + c`: step `c` reads inside
        // row `first + r < len` and below `width`, so by the check in `new` inside `data`.
        let next = self.data.as_ptr().wrapping_add(start);
        Lines { next, step: 1, apart: self.stride, left, of: PhantomData }
    }

    /// Down the rows of `range`, over the `C` channels from channel `first`: at step `j`,
    /// `[row[range.start + j][first], .., row[range.start + j][first + C - 1]]`.
    ///
    /// Empty if there are not as many rows or channels.
    #[inline(always)]
    pub(crate) fn down<const C: usize>(
        self,
        first: usize,
        range: &Range<usize>,
    ) -> Lines<'a, T, C> {
        let (next, left) = self.column(first, C, range);
        Lines { next, step: self.stride, apart: 1, left, of: PhantomData }
    }

    /// Channel `c` of the `R` rows from row `first` on, once; not at all if there are not as many rows.
    #[inline(always)]
    pub(crate) fn down_column<const R: usize>(self, c: usize, first: usize) -> Option<[T; R]> {
        let mut lines = self.behind(c).across::<R>(first, 1);
        // SAFETY: a step is left.
        (lines.left() > 0).then(|| unsafe { lines.step() })
    }

    /// Where `count` channels from channel `first` on begin in the first row of `range`, and how many
    /// rows follow, a stride apart, in which they lie inside the data: all of `range`, or none.
    #[inline(always)]
    fn column(&self, first: usize, count: usize, range: &Range<usize>) -> (*const T, usize) {
        let fits = count > 0
            && range.start < range.end
            && range.end <= self.len
            && first < self.width
            && count <= self.width - first;
        let (start, left) = if fits {
            (range.start * self.stride + first, range.end - range.start)
        } else {
            (0, 0)
        };
        // Channel `first + c` of row `range.start + j` lies at `start + j * stride + c`: below `width`
        // of a row below `len`, so by the check in `new` inside `data`.
        (self.data.as_ptr().wrapping_add(start), left)
    }
}

impl<'a> Rows<'a, bf16> {
    /// The same rows as pairs of neighbouring channels, each in the bits of an f32; `None` if a pair does
    /// not always lie as an f32 does.
    pub(crate) fn pairs(self) -> Option<Rows<'a>> {
        // SAFETY: a bf16 is two bytes, and any four bytes are an f32.
        let (before, data, _) = unsafe { self.data.align_to::<f32>() };
        let is_even = (self.stride | self.width).is_multiple_of(2);
        if !before.is_empty() || !is_even {
            return None;
        }
        Rows::new(data, self.stride / 2, self.len, self.width / 2)
    }
}

impl<'a, T: Copy> Rows<'a, T> {
    /// Channels of each row from `first` on.
    pub(crate) fn behind(self, first: usize) -> Self {
        let first = first.min(self.width);
        let data = self.data.get(first..).unwrap_or(&[]);
        // A row that ends inside the data still does.
        Rows { data, width: self.width - first, ..self }
    }

    /// Along the channels of the `R` rows from row `first`, [`DEEP`] at each step: at step `t`, channel
    /// `DEEP * t + c` of row `first + r` is `[c][r]`.
    ///
    /// Empty if there are not as many rows.
    #[inline(always)]
    pub(crate) fn across_deep<const R: usize>(self, first: usize) -> Patches<'a, T, R> {
        let fits = R > 0 && first < self.len && R <= self.len - first;
        let (start, left) = if fits { (first * self.stride, self.width / DEEP) } else { (0, 0) };
        // As in `across`: step `t` reads channels below `DEEP * left`, which is at most `width`.
        let next = self.data.as_ptr().wrapping_add(start);
        Patches { next, apart: self.stride, left, of: PhantomData }
    }

    /// Along the channels of a whole vector of rows from row `first`, [`DEEP`] at each step.
    ///
    /// Empty if there are not as many rows.
    #[inline(always)]
    pub(crate) fn blocks<S: Simd>(self, first: usize) -> Blocks<'a, S, T> {
        let fits = first < self.len && S::LANES <= self.len - first;
        let (start, left) = if fits { (first * self.stride, self.width / DEEP) } else { (0, 0) };
        // As in `across_deep`, with the lanes for rows.
        let next = self.data.as_ptr().wrapping_add(start);
        Blocks { next, stride: self.stride, left, of: PhantomData }
    }

    /// As [`Rows::down`], but `N` vectors of channels at each step, from channel `first` on, widened.
    /// Meanwhile as many lines come nearer as `walk` goes over.
    #[inline(always)]
    pub(crate) fn wide<S: Simd, const N: usize>(
        self,
        simd: S,
        first: usize,
        walk: Walk,
    ) -> Wide<'a, S, T, Unscaled, N>
    where
        T: Loaded,
    {
        self.scaled(simd, first, Unscaled, walk)
    }

    /// As [`Rows::wide`], each row times its scale.
    #[inline(always)]
    pub(crate) fn scaled<S: Simd, A: RowScales, const N: usize>(
        self,
        simd: S,
        first: usize,
        scales: A,
        walk: Walk,
    ) -> Wide<'a, S, T, A, N>
    where
        T: Loaded,
    {
        let (next, left) = self.column(first, N * S::LANES, &(0..self.len));
        let scales = scales.each();
        let left = left.min(scales.left());
        Wide { simd, scales, next, step: self.stride, walk, left, of: PhantomData }
    }

    /// Along the blocks of 32 channels of a whole vector of rows from row `first`: one of each row at each step.
    ///
    /// Empty if there are not as many rows.
    #[inline(always)]
    pub(crate) fn coded<S: Simd>(self, first: usize) -> CodedBlocks<'a, S, T::Block>
    where
        T: Coded,
    {
        let fits = first < self.len && S::LANES <= self.len - first;
        self.coded_rows(first, usize::MAX, fits)
    }

    /// The same of the rows that are there, at least one; the last one again in lanes behind it.
    #[inline(always)]
    pub(crate) fn coded_few<S: Simd>(self, first: usize) -> CodedBlocks<'a, S, T::Block>
    where
        T: Coded,
    {
        let fits = first < self.len;
        self.coded_rows(first, if fits { self.len - 1 - first } else { 0 }, fits)
    }

    #[inline(always)]
    fn coded_rows<S: Simd>(
        self,
        first: usize,
        last: usize,
        fits: bool,
    ) -> CodedBlocks<'a, S, T::Block>
    where
        T: Coded,
    {
        const { assert!(size_of::<T::Block>() * T::CHANNELS == size_of::<T>() * BLOCK) };
        const { assert!(align_of::<T::Block>() <= align_of::<T>()) };
        // Step `b` reads units `b * units ..` of row `first + i`, and `b < width / units`: inside a row below `len`, so by the check in
        // `new` inside `data`.
        let (units, stride) = (BLOCK / T::CHANNELS, self.stride * size_of::<T>());
        let next = self.data.as_ptr().wrapping_add(if fits { first * self.stride } else { 0 });
        let left = if fits { self.width / units } else { 0 };
        CodedBlocks {
            block: BlockLanes { first: next.cast(), stride, last, of: PhantomData },
            left,
        }
    }

    /// The first element of every row, and of as many behind the last one.
    pub(crate) fn hint(&self) -> Hint {
        Hint::new(self.data.as_ptr(), self.stride * size_of::<T>())
    }

    /// The lines `ahead` elements from these rows and from those behind them, in order; none if that is
    /// no way at all.
    #[inline(always)]
    pub(crate) fn walk(&self, ahead: isize) -> Walk {
        let first = self.data.as_ptr();
        match ahead {
            0 => Walk::still(first),
            _ => Walk::new(first.wrapping_offset(ahead), self.width, self.stride),
        }
    }

    /// The same of memory as it lies.
    #[inline(always)]
    pub(crate) fn stream(&self, ahead: isize) -> Walk {
        Walk::new(self.data.as_ptr().wrapping_offset(ahead), self.width, self.width)
    }
}

/// `L` elements `apart` from each other at every step. Made only where each of the `left` steps reads
/// inside the rows.
#[derive(Debug)]
pub(crate) struct Lines<'a, T, const L: usize> {
    next: *const T,
    step: usize,
    apart: usize,
    left: usize,
    of: PhantomData<&'a T>,
}

impl<T: Copy, const L: usize> Steps for Lines<'_, T, L> {
    type Item = [T; L];

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> [T; L] {
        // SAFETY: `across` and `column` found that each of the steps that were left reads inside the
        // rows; `L > 0`, or there were none.
        let mut elements = [unsafe { *self.next }; L];
        for (l, element) in elements.iter_mut().enumerate() {
            // SAFETY: as above, for element `l < L` of this step.
            *element = unsafe { *self.next.add(l * self.apart) };
        }
        self.next = self.next.wrapping_add(self.step);
        elements
    }
}

/// One block of each of some rows, all of which are there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockLanes<'a, S, B> {
    first: *const B,
    /// Bytes.
    stride: usize,
    last: usize,
    of: PhantomData<(&'a B, S)>,
}

impl<'a, S: Simd, B> BlockLanes<'a, S, B> {
    /// That of row `lane`, or of the last one.
    #[inline(always)]
    pub(crate) fn at(&self, lane: usize) -> &'a B {
        let lane = lane.min(self.last).min(S::LANES - 1);
        let at = self.first.wrapping_byte_add(lane * self.stride);
        // SAFETY: `coded_rows` found that the block is inside the data, borrowed for `'a`, in each row up to `last`, or in as many as a vector
        // has lanes, and that it is so many elements.
        unsafe { &*at }
    }
}

/// [`BlockLanes`] at every step, each right of the one before. Made only where all of the `left` steps are inside the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodedBlocks<'a, S, B> {
    block: BlockLanes<'a, S, B>,
    left: usize,
}

impl<'a, S: Copy, B: Copy> CodedBlocks<'a, S, B> {
    /// From block `b` on.
    #[inline(always)]
    pub(crate) fn from(mut self, b: usize) -> Self {
        let skipped = b.min(self.left);
        self.block.first = self.block.first.wrapping_add(skipped);
        self.left -= skipped;
        self
    }

    /// What the next step reads, if one is left.
    #[inline(always)]
    pub(crate) fn next(&self) -> Option<BlockLanes<'a, S, B>> {
        self.next_few::<1>().map(|[block]| block)
    }

    /// What the next steps read, if as many are left.
    #[inline(always)]
    pub(crate) fn next_few<const N: usize>(&self) -> Option<[BlockLanes<'a, S, B>; N]> {
        let mut few = [self.block; N];
        for (n, block) in few.iter_mut().enumerate() {
            block.first = block.first.wrapping_add(n);
        }
        (self.left >= N).then_some(few)
    }
}

impl<'a, S: Simd, B: Copy> Steps for CodedBlocks<'a, S, B> {
    type Item = BlockLanes<'a, S, B>;

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> BlockLanes<'a, S, B> {
        let block = self.block;
        self.block.first = block.first.wrapping_add(1);
        self.left -= 1;
        block
    }
}
