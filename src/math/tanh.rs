//! tanh on lanes, for the soft cap of scores.

use super::exp2;
use crate::simd::Simd;

/// c0 ..= c4 of `tanh x = x + x y (c0 + c1 y + .. + c4 y^4)` with `y = x^2`, for `|x| < 0.625`: minimax by relative
/// error, 4.4e-9.
const C: [f32; 5] = [-0.333_332_8, 0.133_314_42, -0.053_739_715, 0.020_639_086, -0.005_704_987];

/// Below it the polynomial.
const SMALL: f32 = 0.625;

/// `tanh x`, NaN of NaN, +0 of both zeros: a polynomial near 0, where `1 - 2^-..` would cancel, otherwise
/// `(1 - e) / (1 + e)` with `e = 2^(-2 log2(e) |x|)`. [`TANH_ULPS`] at worst; `tests/suite/math.rs` measures every 97th.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let y = simd.mul(x, x);
    let mut q = simd.splat(C[4]);
    for c in [C[3], C[2], C[1], C[0]] {
        q = simd.mul_add(q, y, simd.splat(c));
    }
    let small = simd.mul_add(simd.mul(x, y), q, x);
    let is_negative = simd.lt(x, zero);
    let size = simd.select(is_negative, simd.sub(zero, x), x);
    let e = exp2(simd, simd.mul(size, simd.splat(-2.0 * core::f32::consts::LOG2_E)));
    let large = simd.div(simd.sub(one, e), simd.add(one, e));
    let large = simd.select(is_negative, simd.sub(zero, large), large);
    simd.select(simd.lt(size, simd.splat(SMALL)), small, large)
}

/// What [`tanh`] may be off by, in units in the last place of the result.
pub const TANH_ULPS: f64 = 2.0;
