//! What a step of the inner loop multiplies: one number in f32, or a pair in bf16.
//!
//! A pair travels as the bits of an f32: the first number in its low half. Queries and keys are paired
//! along channels, weights and values along keys. Weights are rounded to bf16 for it, and their sum is
//! that of the rounded ones: what the rounding changes, it changes in the numerator and in the
//! denominator alike.

use crate::decode::rounding::{Parts, Rounding};
use crate::math::exp2;
use crate::outer::{RegisterTile, outer};
use crate::score::Queries;
use crate::simd::{Items, Rows, Simd, Steps};

/// How a plan may multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// Products and sums in f32. Storage is widened exactly.
    #[default]
    F32,
    /// Where the processor can (AVX512_BF16), products of bf16 numbers summed in f32: twice as fast
    /// as f32 on some processors, half as fast on others (measure!), and up to 2^-8 of relative error
    /// for the rounding of each weight. Queries, keys and values that
    /// are not stored as bf16 are rounded to it. Elsewhere, and for few queries, as [`Precision::F32`].
    Bf16Products,
    /// Over a cache of `i8`, [`Q8_0`](crate::Q8_0) or [`Q4_0`](crate::Q4_0): queries rounded to 8 bits, and their products with keys in integers;
    /// for few queries products of values too, with weights rounded to 8 bits. Faster than f32, several times for few queries, where the processor
    /// sums products of bytes (AVX512_VNNI or AVX-VNNI); the same bits without, slowly. A query errs by 1/254 of its largest channel, of 32 channels where keys have a scale for
    /// as many; a weight by 1/510 of the largest of a tile. Elsewhere as [`Precision::F32`]: heads whose width is no multiple of
    /// 32, scales by channel or of groups, zero points, a level without vectors.
    Int8Products,
}

/// Multiplication and addition of one step.
pub trait Products<S: Simd>: Copy {
    /// Numbers that a step takes from a row: 1, or 2.
    const DEPTH: usize;

    /// `a * b + c`, or the sum of two such products and `c`.
    fn mul_add(self, simd: S, a: S::F32, b: S::F32, c: S::F32) -> S::F32;

    /// Of the numbers in `a` only the one at `d < DEPTH`; zero for the others.
    fn only(self, a: f32, d: usize) -> f32;

    /// `2^x` for `x <= 0`, as exact as a weight is kept.
    fn exp2(self, simd: S, x: S::F32) -> S::F32;

    /// Scores of `R` keys from key `j` on, for the vectors `LO..N` of a block of queries.
    #[inline(always)]
    fn scores<const N: usize, const LO: usize, const R: usize>(
        self,
        simd: S,
        queries: Queries<'_, S::F32, N>,
        keys: Rows<'_>,
        j: usize,
    ) -> RegisterTile<S::F32, N, R> {
        let zero = [[simd.splat(0.0); N]; R];
        let steps = keys.across::<R>(j, queries.q.len()).and(Items::of(queries.q));
        outer::<S, Self, N, LO, R>(simd, self, zero, steps)
    }

    /// Weights as [`Products::mul_add`] takes them, and their rounded values: of `DEPTH` vectors, of
    /// which `odd` is the second if there is one.
    fn weights(self, simd: S, even: S::F32, odd: S::F32) -> (S::F32, [S::F32; 2]);
}

/// Products in f32: fused with the sum where the level fuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F32Products;

impl<S: Simd> Products<S> for F32Products {
    const DEPTH: usize = 1;

    #[inline(always)]
    fn mul_add(self, simd: S, a: S::F32, b: S::F32, c: S::F32) -> S::F32 {
        simd.mul_add(a, b, c)
    }
    #[inline(always)]
    fn only(self, a: f32, _: usize) -> f32 {
        a
    }
    #[inline(always)]
    fn exp2(self, simd: S, x: S::F32) -> S::F32 {
        exp2(simd, x)
    }
    #[inline(always)]
    fn weights(self, _: S, even: S::F32, odd: S::F32) -> (S::F32, [S::F32; 2]) {
        (even, [even, odd])
    }
}

/// Sums of four products of bytes.
pub(crate) trait ByteSums<S: Simd>: Copy {
    /// In each lane `c + sum a_n b_n` over its four bytes: those of `a` are not negative, those of `b` have a sign.
    fn dot(self, a: S::F32, b: S::F32, c: S::F32) -> S::F32;
    /// Lanes of integers as f32.
    fn to_f32(self, x: S::F32) -> S::F32;
}

/// Scores of codes, with queries in lanes: keys are words of four codes, raised so that none is negative, then their scales. All else is f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeProducts<B>(pub(crate) B);

impl<S: Simd, B: ByteSums<S>> Products<S> for CodeProducts<B> {
    const DEPTH: usize = 1;

    #[inline(always)]
    fn mul_add(self, simd: S, a: S::F32, b: S::F32, c: S::F32) -> S::F32 {
        F32Products.mul_add(simd, a, b, c)
    }
    #[inline(always)]
    fn only(self, a: f32, _: usize) -> f32 {
        a
    }
    #[inline(always)]
    fn exp2(self, simd: S, x: S::F32) -> S::F32 {
        exp2(simd, x)
    }
    #[inline(always)]
    fn scores<const N: usize, const LO: usize, const R: usize>(
        self,
        simd: S,
        Queries { q, rounding, .. }: Queries<'_, S::F32, N>,
        keys: Rows<'_>,
        j: usize,
    ) -> RegisterTile<S::F32, N, R> {
        let mut s = [[simd.splat(0.0); N]; R];
        let Some(Parts { words, each, parts }) = rounding.map(Rounding::parts) else { return s };
        for n in 0..parts {
            let (d, start) = (q.get(words + n), q.get(words + parts + n));
            let of_part = q.get(n * each..).and_then(|q| q.get(..each));
            let (Some(d), Some(start), Some(q)) = (d, start, of_part) else { return s };
            let mut sums = [*start; R];
            for (a, b) in keys.behind(n * each).across::<R>(j, each).and(Items::of(q)) {
                for (sums, a) in sums.iter_mut().zip(a) {
                    let a = simd.splat(a);
                    for v in LO..N {
                        sums[v] = self.0.dot(a, b[v], sums[v]);
                    }
                }
            }
            for (r, (s, sums)) in s.iter_mut().zip(sums).enumerate() {
                let scale = keys.row(j + r).get(words + n).copied().unwrap_or(f32::NAN);
                for v in LO..N {
                    let d = simd.mul(d[v], simd.splat(scale));
                    s[v] = simd.mul_add(self.0.to_f32(sums[v]), d, s[v]);
                }
            }
        }
        s
    }
    #[inline(always)]
    fn weights(self, _: S, even: S::F32, odd: S::F32) -> (S::F32, [S::F32; 2]) {
        (even, [even, odd])
    }
}
