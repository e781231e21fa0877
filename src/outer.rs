//! The one inner loop: a sum of outer products, a register tile of `R` numbers by `N` vectors.
//!
//! ```text
//! sum[r][n] += a[r] * b[n]        at every step, for the vectors n in LO..N
//! ```
//! Scores and weighted values, with queries in lanes or with keys in lanes, are all this loop; only
//! what `a` and `b` are, and where they are read, differs. Each lane is one chain of multiply-adds in
//! the order of the steps, and nothing is ever summed across lanes: that is why the same number has
//! the same bits whichever way round it was computed.

use crate::elem::Loaded;
use crate::products::Products;
use crate::simd::{Block, DEEP, Patch, RowScales, Simd, Walk};

/// `R` numbers by `N` vectors.
pub(crate) type RegisterTile<V, const N: usize, const R: usize> = [[V; N]; R];

/// `sum[r][n] += a[r] * b[n]` over all steps `(a, b)`. Vectors below `LO` stay as they are.
#[inline(always)]
pub(crate) fn outer<S, P, const N: usize, const LO: usize, const R: usize>(
    simd: S,
    products: P,
    mut sum: RegisterTile<S::F32, N, R>,
    steps: impl Iterator<Item = ([f32; R], [S::F32; N])>,
) -> RegisterTile<S::F32, N, R>
where
    S: Simd,
    P: Products<S>,
{
    for (a, b) in steps {
        for r in 0..R {
            let a = simd.splat(a[r]);
            for n in LO..N {
                sum[r][n] = products.mul_add(simd, a, b[n], sum[r][n]);
            }
        }
    }
    sum
}

/// As [`outer`], only in the lanes whose bit is set; the others are left as they are, whatever `a`
/// and `b` hold. A step has a word of bits for each of its `D` keys.
#[inline(always)]
pub(crate) fn outer_where<S, P, const N: usize, const LO: usize, const R: usize, const D: usize>(
    simd: S,
    products: P,
    mut sum: RegisterTile<S::F32, N, R>,
    steps: impl Iterator<Item = (([f32; R], [S::F32; N]), [u64; D])>,
) -> RegisterTile<S::F32, N, R>
where
    S: Simd,
    P: Products<S>,
{
    let of_vector = |bits: u64, n: usize| bits >> (n * S::LANES);
    for ((a, b), bits) in steps {
        let all = bits.iter().fold(u64::MAX, |all, bits| all & bits);
        for n in LO..N {
            let mask = simd.mask(of_vector(all, n));
            for r in 0..R {
                let new = products.mul_add(simd, simd.splat(a[r]), b[n], sum[r][n]);
                sum[r][n] = simd.select(mask, new, sum[r][n]);
            }
        }
        if D == 1 {
            continue;
        }
        // Lanes that see one key of a step and not the other: few, along a diagonal.
        for (d, bits) in bits.iter().enumerate() {
            for n in LO..N {
                let bits = of_vector(bits & !all, n);
                if bits & (u64::MAX >> (64 - S::LANES)) == 0 {
                    continue;
                }
                for r in 0..R {
                    let a = simd.splat(products.only(a[r], d));
                    let new = products.mul_add(simd, a, b[n], sum[r][n]);
                    sum[r][n] = simd.select(simd.mask(bits), new, sum[r][n]);
                }
            }
        }
    }
    sum
}

/// As [`outer`] for one vector of rows whose channels lie side by side: it is turned [`DEEP`] channels
/// at a time, in registers, and scaled. Meanwhile a `walk` goes over as many bytes.
#[inline(always)]
pub(crate) fn outer_deep<'a, S: Simd, T: Loaded, A: RowScales, const R: usize>(
    simd: S,
    scales: A::Lanes<S>,
    steps: impl Iterator<Item = (Patch<'a, f32, R>, Block<'a, S, T>)>,
    walk: &mut Walk,
) -> [S::F32; R] {
    let mut sum = [simd.splat(0.0); R];
    for (a, block) in steps {
        let columns = T::columns(simd, block);
        for (c, column) in columns.into_iter().enumerate() {
            let column = A::column(simd, column, scales);
            for (r, sum) in sum.iter_mut().enumerate() {
                *sum = simd.mul_add(simd.splat(a.at(c, r)), column, *sum);
            }
        }
        if walk.moves() {
            walk.fetch(DEEP * S::LANES * size_of::<T>());
        }
    }
    sum
}
