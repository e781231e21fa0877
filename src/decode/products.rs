//! The two products of a key tile with few rows.
//!
//! Neither head size nor tile enters here, so there is one function a level and an element
//! (`dispatch/moves.rs`), and stored numbers are widened on their way into a register.

use crate::elem::Loaded;
use crate::outer::{outer, outer_deep};
use crate::products::F32Products;
use crate::simd::{RowScales, Rows, Simd, Steps, Walk};
use core::ops::Range;

/// `s[r * width + j] = sum_c q[r][c] k[j][c]`, for the keys of whole vectors and channels up to a multiple
/// of [`crate::simd::DEEP`]; `k` are the rows times their `scales`. Meanwhile as many lines come nearer as `walk` goes over.
#[inline(always)]
pub(crate) fn scores<S: Simd, T: Loaded, A: RowScales>(
    simd: S,
    queries: Rows<'_>,
    (keys, scales): (Rows<'_, T>, A),
    walk: &mut Walk,
    s: &mut [f32],
    width: usize,
) {
    let mut to = Scores { queries, keys, scales, walk, s, width };
    for first in (0..keys.len()).step_by(S::LANES) {
        to.walk(simd, first);
    }
}

/// What [`scores`] is given.
struct Scores<'a, T, A> {
    queries: Rows<'a>,
    keys: Rows<'a, T>,
    scales: A,
    walk: &'a mut Walk,
    s: &'a mut [f32],
    width: usize,
}

impl<T: Loaded, A: RowScales> Scores<'_, T, A> {
    /// All rows of the vector of keys from key `first` on.
    #[inline(always)]
    fn walk<S: Simd>(&mut self, simd: S, first: usize) {
        let (mut row, mut walk) = (0, *self.walk);
        while row + 8 <= self.queries.len() {
            self.block::<S, 8>(simd, row, first, &mut walk);
            row += 8;
        }
        while row + 4 <= self.queries.len() {
            self.block::<S, 4>(simd, row, first, &mut walk);
            row += 4;
        }
        while row < self.queries.len() {
            self.block::<S, 1>(simd, row, first, &mut walk);
            row += 1;
        }
    }

    #[inline(always)]
    fn block<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        row: usize,
        first: usize,
        walk: &mut Walk,
    ) {
        let steps = self.queries.across_deep::<R>(row).and(self.keys.blocks::<S>(first));
        let scales = self.scales.lanes(simd, first);
        let scores = outer_deep::<S, T, A, R>(simd, scales, steps, walk);
        if row == 0 {
            // The first rows asked for all lines.
            (*self.walk, *walk) = (*walk, self.keys.walk(0));
        }
        for (r, scores) in scores.iter().enumerate() {
            let to = self.s.get_mut((row + r) * self.width + first..).unwrap_or(&mut []);
            simd.store(*scores, to);
        }
    }
}

/// What values are multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// `[rows, keys]`.
    pub(crate) p: Rows<'a>,
    /// Bit `r` of `bits[j]`: row `r` may see key `j`; `None`: all rows see all of them.
    pub(crate) bits: Option<&'a [u64]>,
}

impl<'a> Weights<'a> {
    /// Those of some of the keys.
    pub(crate) fn of(&self, keys: &Range<usize>) -> Self {
        let bits = self.bits.map(|bits| bits.get(keys.clone()).unwrap_or(&[]));
        Weights { p: self.p.behind(keys.start), bits }
    }
}

/// `to[r * width + c] += sum_j p[r][j] v[j][c]`, `v` being the rows times their `scales`, for the channels of whole vectors, over the keys that a
/// row may see: values of others have no influence. Sums that begin at -0.0 take the first term without a change of a bit. Meanwhile as many lines come nearer as `walk` goes over.
#[inline(always)]
pub(crate) fn sums<S: Simd, T: Loaded, A: RowScales>(
    simd: S,
    weights: Weights<'_>,
    (values, scales): (Rows<'_, T>, A),
    walk: &mut Walk,
    to: &mut [f32],
    width: usize,
) {
    let mut to = Sums { weights, values, scales, walk, to, width };
    if S::LANES == 1 {
        to.walk::<S, 1, 4>(simd);
    } else if S::LEVEL.registers() < 32 {
        to.walk::<S, 2, 4>(simd);
    } else if weights.p.len() < 8 {
        to.walk::<S, 4, 4>(simd);
    } else {
        // Fewer channels of all keys at once stay in the first-level cache for the next rows.
        to.walk::<S, 2, 8>(simd);
    }
}

/// What [`sums`] is given.
struct Sums<'a, T, A> {
    weights: Weights<'a>,
    values: Rows<'a, T>,
    scales: A,
    walk: &'a mut Walk,
    to: &'a mut [f32],
    width: usize,
}

impl<T: Loaded, A: RowScales> Sums<'_, T, A> {
    /// All channels, `N` vectors by `R` rows at a time.
    #[inline(always)]
    fn walk<S: Simd, const N: usize, const R: usize>(&mut self, simd: S) {
        let (vectors, mut first) = (self.values.width() / S::LANES, 0);
        while first + N <= vectors {
            self.rows::<S, N, R>(simd, first);
            first += N;
        }
        while first < vectors {
            self.rows::<S, 1, R>(simd, first);
            first += 1;
        }
    }

    /// All rows of the `N` vectors from vector `first` on.
    #[inline(always)]
    fn rows<S: Simd, const N: usize, const R: usize>(&mut self, simd: S, first: usize) {
        let (rows, mut row) = (self.weights.p.len(), 0);
        if let Some(bits) = self.weights.bits {
            while row < rows {
                self.seen::<S, N>(simd, row, first, bits);
                row += 1;
            }
        }
        while row + R <= rows {
            self.block::<S, N, R>(simd, row, first);
            row += R;
        }
        while R > 4 && row + 4 <= rows {
            self.block::<S, N, 4>(simd, row, first);
            row += 4;
        }
        while row < rows {
            self.block::<S, N, 1>(simd, row, first);
            row += 1;
        }
    }

    #[inline(always)]
    fn block<S: Simd, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        row: usize,
        first: usize,
    ) {
        let walk = if row == 0 { *self.walk } else { self.values.walk(0) };
        let values = self.values.scaled::<S, A, N>(simd, first * S::LANES, self.scales, walk);
        let mut steps = self.weights.p.across::<R>(row, self.values.len()).and(values);
        let mut begun = [[simd.splat(0.0); N]; R];
        for (r, begun) in begun.iter_mut().enumerate() {
            *begun = self.begun(simd, row + r, first);
        }
        let sum = outer::<S, F32Products, N, 0, R>(simd, F32Products, begun, steps.by_ref());
        if row == 0 {
            *self.walk = steps.second().walk();
        }
        for (r, sum) in sum.iter().enumerate() {
            self.put(simd, row + r, first, sum);
        }
    }

    /// Only the values that a row may see: the others may be NaN.
    #[inline(always)]
    fn seen<S: Simd, const N: usize>(&mut self, simd: S, row: usize, first: usize, bits: &[u64]) {
        let walk = self.values.walk(0);
        let values = self.values.scaled::<S, A, N>(simd, first * S::LANES, self.scales, walk);
        let steps = self.weights.p.across::<1>(row, self.values.len()).and(values);
        let mut sum = self.begun::<S, N>(simd, row, first);
        for (([weight], values), bits) in steps.zip(bits) {
            if bits >> row & 1 == 0 {
                continue;
            }
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum = simd.mul_add(simd.splat(weight), value, *sum);
            }
        }
        self.put(simd, row, first, &sum);
    }

    /// The sums of earlier keys.
    #[inline(always)]
    fn begun<S: Simd, const N: usize>(&self, simd: S, row: usize, first: usize) -> [S::F32; N] {
        let mut begun = [simd.splat(0.0); N];
        let at = row * self.width + first * S::LANES;
        if let Some(from) = self.to.get(at..at + N * S::LANES) {
            for (begun, from) in begun.iter_mut().zip(from.chunks_exact(S::LANES)) {
                *begun = simd.load(from);
            }
        }
        begun
    }

    #[inline(always)]
    fn put<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        row: usize,
        first: usize,
        sum: &[S::F32; N],
    ) {
        let at = row * self.width + first * S::LANES;
        if let Some(to) = self.to.get_mut(at..at + N * S::LANES) {
            for (sum, to) in sum.iter().zip(to.chunks_exact_mut(S::LANES)) {
                simd.store(*sum, to);
            }
        }
    }
}
