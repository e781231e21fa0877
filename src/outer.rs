//! The one inner loop: a sum of outer products, a register tile of `R` numbers by `N` vectors.
//!
//! ```text
//! sum[r][n] += a[r] * b[n]        at every step, for the vectors n in LO..N
//! ```
//! Scores and weighted values, with queries in lanes or with keys in lanes, are all this loop; only
//! what `a` and `b` are, and where they are read, differs. Each lane is one chain of multiply-adds in
//! the order of the steps, and nothing is ever summed across lanes: that is why the same number has
//! the same bits whichever way round it was computed.

use crate::products::Products;
use crate::simd::Simd;

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
    for ((a, b), bits) in steps {
        for (d, bits) in bits.iter().enumerate() {
            for r in 0..R {
                let a = simd.splat(products.only(a[r], d));
                for n in LO..N {
                    let new = products.mul_add(simd, a, b[n], sum[r][n]);
                    sum[r][n] = simd.select(simd.mask(bits >> (n * S::LANES)), new, sum[r][n]);
                }
            }
        }
    }
    sum
}
