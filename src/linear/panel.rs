//! Value channels are recurrences of their own: a block of them at a time stays near.

use crate::moves::{get, put};
use crate::simd::{Portable, Rows, Simd};
use core::hint::black_box;

/// Value channels of a block, at most.
pub(crate) const BLOCK: usize = if cfg!(target_arch = "x86_64") { 64 } else { 2 * Portable::LANES };

/// What is done to a block.
pub(super) trait Work {
    /// To the value channels from `first` on, whose states are the columns of a panel.
    fn block<S: Simd>(&mut self, simd: S, panel: &mut Panel<'_>, first: usize);
}

/// Columns of a state.
#[derive(Debug)]
pub(super) struct Panel<'a> {
    state: &'a mut [f32],
    stride: usize,
    /// The channel that its first column is.
    from: usize,
}

/// Works on all value channels of a state `[d_k, d_v]`, `wide` of them at a time; those that are no whole block in a copy, for
/// which `tail` has room.
#[inline(always)]
pub(super) fn all<S: Simd>(
    simd: S,
    mut work: impl Work,
    (state, stride): (&mut [f32], usize),
    tail: &mut [f32],
    [d_k, d_v, wide]: [usize; 3],
) {
    let mut panel = Panel { state, stride, from: 0 };
    let mut copy = Panel { state: tail, stride: wide, from: 0 };
    let is_whole = d_v.is_multiple_of(wide);
    let mut first = 0;
    while first < d_v {
        let left = if is_whole { wide } else { d_v - first };
        copy.from = first;
        if left < wide {
            for c in 0..d_k {
                copy_row(simd, panel.row(c, first, left), copy.row(c, first, wide));
            }
        }
        let here = if left < wide { &mut copy } else { &mut panel };
        // The same code for both, not a copy of it for each.
        work.block(simd, if is_whole { here } else { black_box(here) }, first);
        if left < wide {
            for c in 0..d_k {
                copy_row(simd, copy.row(c, first, left), panel.row(c, first, left));
            }
        }
        first += wide;
    }
}

impl Panel<'_> {
    /// Some columns of a row; none of a row that is not there.
    #[inline(always)]
    pub(super) fn row(&mut self, c: usize, first: usize, width: usize) -> &mut [f32] {
        let at = c * self.stride + first - self.from;
        self.state.get_mut(at..).and_then(|row| row.get_mut(..width)).unwrap_or(&mut [])
    }

    /// Some columns of all rows.
    #[inline(always)]
    pub(super) fn rows(&self, d_k: usize, first: usize, width: usize) -> Option<Rows<'_>> {
        Rows::new(self.state.get(first - self.from..)?, self.stride, d_k, width)
    }

    /// Some columns, row after row.
    #[inline(always)]
    pub(super) fn rows_mut(
        &mut self,
        first: usize,
        width: usize,
    ) -> impl Iterator<Item = &mut [f32]> {
        let at = first - self.from;
        let rows = self.state.chunks_mut(self.stride.max(1));
        rows.map_while(move |row| row.get_mut(at..).and_then(|row| row.get_mut(..width)))
    }
}

/// Copies a row, and zeros behind its end.
#[inline(always)]
fn copy_row<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    for (n, to) in to.chunks_mut(S::LANES).enumerate() {
        put(simd, get(simd, from.get(n * S::LANES..).unwrap_or(&[])), to);
    }
}

/// Vectors side by side; zeros if there are not as many.
#[inline(always)]
pub(super) fn vectors<S: Simd, const N: usize>(simd: S, from: &[f32]) -> [S::F32; N] {
    let mut vectors = [simd.splat(0.0); N];
    let from = from.get(..N * S::LANES).unwrap_or(&[]);
    for (x, from) in vectors.iter_mut().zip(from.chunks_exact(S::LANES)) {
        *x = simd.load(from);
    }
    vectors
}

/// Writes vectors side by side; nothing if there is no room for them.
#[inline(always)]
pub(super) fn put_vectors<S: Simd, const N: usize>(simd: S, x: &[S::F32; N], to: &mut [f32]) {
    let to = to.get_mut(..N * S::LANES).unwrap_or(&mut []);
    for (x, to) in x.iter().zip(to.chunks_exact_mut(S::LANES)) {
        simd.store(*x, to);
    }
}
