//! What is read of [`Rows`] at a step that takes more than a number of each row.

use super::Simd;
use super::hints::Walk;
use super::scaled::RowScales;
use super::steps::Steps;
use crate::elem::Loaded;
use core::marker::PhantomData;

/// Channels of a [`Block`].
pub(crate) const DEEP: usize = 8;

/// `DEEP` channels of as many rows as a vector of `S` has lanes. Made only where all of them are there.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a, S, T> {
    first: *const T,
    stride: usize,
    of: PhantomData<(&'a [T], S)>,
}

impl<'a, S: Simd, T: Copy> Block<'a, S, T> {
    /// The channels of row `i`, or of the last one.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [T; DEEP] {
        let at = self.first.wrapping_add(i.min(S::LANES - 1) * self.stride);
        // SAFETY: a block has so many channels in each of `LANES` rows, borrowed for `'a`.
        unsafe { &*at.cast::<[T; DEEP]>() }
    }
}

/// A [`Block`] at every step, each right of the one before. Made only where each of the `left` steps
/// reads inside the rows.
#[derive(Debug)]
pub(crate) struct Blocks<'a, S, T> {
    pub(super) next: *const T,
    pub(super) stride: usize,
    pub(super) left: usize,
    pub(super) of: PhantomData<(&'a [T], S)>,
}

impl<'a, S: Simd, T: Copy> Steps for Blocks<'a, S, T> {
    type Item = Block<'a, S, T>;

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> Block<'a, S, T> {
        let block = Block { first: self.next, stride: self.stride, of: PhantomData };
        self.next = self.next.wrapping_add(DEEP);
        block
    }
}

/// [`DEEP`] elements of `R` rows. Made only where all of them are there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patch<'a, T, const R: usize> {
    first: *const T,
    apart: usize,
    of: PhantomData<&'a [T]>,
}

impl<T: Copy, const R: usize> Patch<'_, T, R> {
    /// Element `c` of row `r`, or of the last ones.
    #[inline(always)]
    pub(crate) fn at(&self, c: usize, r: usize) -> T {
        let (c, r) = (c.min(DEEP - 1), r.min(R - 1));
        // SAFETY: a patch has `DEEP` elements in each of `R` rows, borrowed for `'a`; `R > 0`, or there
        // were none.
        unsafe { *self.first.wrapping_add(r * self.apart + c) }
    }
}

/// A [`Patch`] at every step, each right of the one before. Made only where each of the `left` steps reads
/// inside the rows.
#[derive(Debug)]
pub(crate) struct Patches<'a, T, const R: usize> {
    pub(super) next: *const T,
    pub(super) apart: usize,
    pub(super) left: usize,
    pub(super) of: PhantomData<&'a [T]>,
}

impl<'a, T: Copy, const R: usize> Steps for Patches<'a, T, R> {
    type Item = Patch<'a, T, R>;

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> Patch<'a, T, R> {
        let patch = Patch { first: self.next, apart: self.apart, of: PhantomData };
        self.next = self.next.wrapping_add(DEEP);
        patch
    }
}

/// `N` vectors side by side at every step, widened and scaled. Made only where each of the `left` steps reads inside
/// the rows.
#[derive(Debug)]
pub(crate) struct Wide<'a, S, T, A: RowScales, const N: usize> {
    pub(super) simd: S,
    pub(super) scales: A::Each,
    pub(super) next: *const T,
    pub(super) step: usize,
    pub(super) walk: Walk,
    pub(super) left: usize,
    pub(super) of: PhantomData<&'a [T]>,
}

impl<S, T, A: RowScales, const N: usize> Wide<'_, S, T, A, N> {
    /// How far its walk went.
    #[inline(always)]
    pub(crate) fn walk(&self) -> Walk {
        self.walk
    }
}

impl<S: Simd, T: Loaded, A: RowScales, const N: usize> Steps for Wide<'_, S, T, A, N> {
    type Item = [S::F32; N];

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> [S::F32; N] {
        let mut vectors = [self.simd.splat(0.0); N];
        // SAFETY: `left` is at most what the scales have.
        let scale = unsafe { self.scales.step() };
        for (n, vector) in vectors.iter_mut().enumerate() {
            let at = self.next.wrapping_add(n * S::LANES);
            // SAFETY: `column` found that each of the steps that were left reads `N * LANES` elements
            // inside the rows.
            let row = T::load(self.simd, unsafe { core::slice::from_raw_parts(at, S::LANES) });
            *vector = A::row(self.simd, row, &scale);
        }
        self.walk.fetch(N * S::LANES * size_of::<T>());
        self.next = self.next.wrapping_add(self.step);
        vectors
    }
}
