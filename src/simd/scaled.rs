//! What rows are multiplied by as they are read: nothing, or a number each.

use super::Simd;
use super::steps::{Items, Steps};
use crate::moves::get;

/// Scales of rows.
pub(crate) trait RowScales: Copy {
    /// One at each step.
    type Each: Steps;
    /// Those of as many rows as a vector has lanes.
    type Lanes<S: Simd>: Copy;

    /// Those of all rows, in order.
    fn each(self) -> Self::Each;
    /// Those of the rows from `first` on.
    fn lanes<S: Simd>(self, simd: S, first: usize) -> Self::Lanes<S>;
    /// Channels of one row, times its scale.
    fn row<S: Simd>(simd: S, x: S::F32, scale: &<Self::Each as Steps>::Item) -> S::F32;
    /// A channel of as many rows, times the scale of each.
    fn column<S: Simd>(simd: S, x: S::F32, scales: Self::Lanes<S>) -> S::F32;
}

/// Rows are what they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unscaled;

impl Steps for Unscaled {
    type Item = ();

    #[inline(always)]
    fn left(&self) -> usize {
        usize::MAX
    }
    #[inline(always)]
    unsafe fn step(&mut self) {}
}

impl RowScales for Unscaled {
    type Each = Unscaled;
    type Lanes<S: Simd> = ();

    #[inline(always)]
    fn each(self) -> Unscaled {
        Unscaled
    }
    #[inline(always)]
    fn lanes<S: Simd>(self, _: S, _: usize) {}
    #[inline(always)]
    fn row<S: Simd>(_: S, x: S::F32, _: &()) -> S::F32 {
        x
    }
    #[inline(always)]
    fn column<S: Simd>(_: S, x: S::F32, _: ()) -> S::F32 {
        x
    }
}

/// One of each row.
impl<'a> RowScales for &'a [f32] {
    type Each = Items<'a, f32>;
    type Lanes<S: Simd> = S::F32;

    #[inline(always)]
    fn each(self) -> Items<'a, f32> {
        Items::of(self)
    }
    #[inline(always)]
    fn lanes<S: Simd>(self, simd: S, first: usize) -> S::F32 {
        get(simd, self.get(first..).unwrap_or(&[]))
    }
    #[inline(always)]
    fn row<S: Simd>(simd: S, x: S::F32, scale: &f32) -> S::F32 {
        simd.mul(x, simd.splat(*scale))
    }
    #[inline(always)]
    fn column<S: Simd>(simd: S, x: S::F32, scales: S::F32) -> S::F32 {
        simd.mul(x, scales)
    }
}
