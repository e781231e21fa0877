//! A strided matrix whose bounds were checked once, so that inner loops need not.
//!
//! The loops are iterators, not functions that take a closure: a closure cannot be
//! `#[inline(always)]`, and one that is left out of line calls every intrinsic as a function.

use super::Simd;
use core::marker::PhantomData;
use core::ops::Range;
use half::bf16;

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

    /// Down the rows of `range`, the elements of a whole vector of `S` from channel `first` on.
    ///
    /// Empty if there are not as many rows or channels.
    #[inline(always)]
    pub(crate) fn chunks<S: Simd>(self, first: usize, range: &Range<usize>) -> Chunks<'a, S, T> {
        let (next, left) = self.column(first, S::LANES, range);
        Chunks { next, step: self.stride, left, of: PhantomData }
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

impl<'a> Rows<'a, f32> {
    /// As [`Rows::down`], but `N` vectors of channels at each step, from channel `first` on. The lines
    /// `ahead` floats from them come nearer.
    #[inline(always)]
    pub(crate) fn vectors<S: Simd, const N: usize>(
        self,
        first: usize,
        range: &Range<usize>,
        ahead: isize,
    ) -> Vectors<'a, S, N> {
        let (next, left) = self.column(first, N * S::LANES, range);
        Vectors { next, step: self.stride, ahead, left, of: PhantomData }
    }
}

/// Something that is read step by step, without a check at each: as many steps as [`Steps::left`] says.
///
/// Two of them side by side share one counter, so that a loop over both is a single block of code: only
/// within a block can a broadcast read its operand from memory.
pub(crate) trait Steps: Sized {
    /// What a step reads.
    type Item;

    /// Steps that are left.
    fn left(&self) -> usize;

    /// The next step.
    ///
    /// # Safety
    /// Fewer steps have been taken than were left when `self` was made.
    unsafe fn step(&mut self) -> Self::Item;

    /// Both at each step, for as many steps as both have.
    #[inline(always)]
    fn and<B: Steps>(self, b: B) -> Both<Self, B> {
        let left = self.left().min(b.left());
        Both { a: self, b, left }
    }
}

/// Asks at each step for a line that will be read much later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    next: *const u8,
    step: usize,
}

impl Hint {
    /// The first element of every row of `rows`, and of as many behind the last one.
    pub(crate) fn down<T>(rows: &Rows<'_, T>) -> Self {
        let step = rows.stride * size_of::<T>();
        Hint { next: rows.data.as_ptr().cast(), step }
    }

    /// The same line at every step.
    #[inline(always)]
    pub(crate) fn still<T>(at: &[T]) -> Self {
        Hint { next: at.as_ptr().cast(), step: 0 }
    }

    /// The same rows, `bytes` further.
    #[inline(always)]
    pub(crate) fn offset(self, bytes: usize) -> Self {
        Hint { next: self.next.wrapping_add(bytes), ..self }
    }
}

/// Steps that also give a hint each.
#[derive(Debug)]
pub(crate) struct Hinting<A> {
    inner: A,
    hint: Hint,
}

impl<A> Hinting<A> {
    #[inline(always)]
    pub(crate) fn new(inner: A, hint: Hint) -> Self {
        Hinting { inner, hint }
    }
}

impl<A: Iterator> Iterator for Hinting<A> {
    type Item = A::Item;

    #[inline(always)]
    fn next(&mut self) -> Option<A::Item> {
        let item = self.inner.next()?;
        prefetch(self.hint.next);
        self.hint.next = self.hint.next.wrapping_add(self.hint.step);
        Some(item)
    }
}

/// Two side by side: an iterator over what both read.
#[derive(Debug)]
pub(crate) struct Both<A, B> {
    a: A,
    b: B,
    left: usize,
}

impl<A: Steps, B: Steps> Steps for Both<A, B> {
    type Item = (A::Item, B::Item);

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> Self::Item {
        // SAFETY: `left` is at most what each of them had.
        unsafe { (self.a.step(), self.b.step()) }
    }
}

impl<A: Steps, B: Steps> Iterator for Both<A, B> {
    type Item = (A::Item, B::Item);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: a step was left, and this takes it.
        Some(unsafe { self.step() })
    }
}

/// The elements of a slice.
#[derive(Debug)]
pub(crate) struct Items<'a, T> {
    next: *const T,
    left: usize,
    of: PhantomData<&'a [T]>,
}

impl<'a, T: Copy> Items<'a, T> {
    /// All of them, in order.
    #[inline(always)]
    pub(crate) fn of(slice: &'a [T]) -> Self {
        Items { next: slice.as_ptr(), left: slice.len(), of: PhantomData }
    }
}

impl<T: Copy> Steps for Items<'_, T> {
    type Item = T;

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> T {
        // SAFETY: the slice has as many elements as there are steps.
        let item = unsafe { *self.next };
        self.next = self.next.wrapping_add(1);
        item
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

/// The elements of a whole vector at every step. Made only where each of the `left` steps reads inside
/// the rows.
#[derive(Debug)]
pub(crate) struct Chunks<'a, S, T> {
    next: *const T,
    step: usize,
    left: usize,
    of: PhantomData<(&'a [T], S)>,
}

impl<'a, S: Simd, T: Copy> Iterator for Chunks<'a, S, T> {
    type Item = &'a [T];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [T]> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: `column` found that each of the steps that were left reads `LANES` elements inside
        // the rows, which are borrowed for `'a`.
        let chunk = unsafe { core::slice::from_raw_parts(self.next, S::LANES) };
        self.next = self.next.wrapping_add(self.step);
        Some(chunk)
    }
}

/// `N` vectors side by side at every step. Made only where each of the `left` steps reads inside the
/// rows.
#[derive(Debug)]
pub(crate) struct Vectors<'a, S: Simd, const N: usize> {
    next: *const f32,
    step: usize,
    ahead: isize,
    left: usize,
    of: PhantomData<&'a S::F32>,
}

impl<S: Simd, const N: usize> Steps for Vectors<'_, S, N> {
    type Item = [S::F32; N];

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> [S::F32; N] {
        // SAFETY: `column` found that each of the steps that were left reads `N * LANES` floats
        // inside the rows. `Simd` is sealed, and every `F32` is so many floats in memory order; the
        // read asks for no alignment.
        let vectors = unsafe { self.next.cast::<[S::F32; N]>().read_unaligned() };
        for n in 0..N {
            prefetch(self.next.wrapping_add(n * S::LANES).wrapping_offset(self.ahead));
        }
        self.next = self.next.wrapping_add(self.step);
        vectors
    }
}

/// Asks for all lines of a row of `len` elements to come nearer: [`prefetch`].
pub(crate) fn prefetch_row<T>(at: *const T, len: usize) {
    let bytes = len * size_of::<T>();
    for line in (0..bytes + LINE - 1).step_by(LINE) {
        prefetch(at.cast::<u8>().wrapping_add(line.min(bytes)));
    }
}

/// Bytes of a line of a cache. Where lines are longer, some are asked for twice.
const LINE: usize = 64;

/// Asks for the line at an address to come to the second-level cache, if the processor has a way to
/// ask; nothing is read, so any address will do.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address, and every x86-64 has it.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
