//! 2^x for the softmax: `x <= 0`, results below the normal range flushed to zero.

use crate::simd::{ROUND, Simd};

/// c1 ..= c6 of `2^f = 1 + c1 f + .. + c6 f^6` for `|f| <= 1/2`, tuned for the rounding of the whole
/// evaluation; c0 = 1 makes `exp2(0) = 1` exact. 0.7765 ulp at worst with fused multiply-add, 1.0606
/// without, over every f32 in [-126, -0]; `tests/suite/math.rs` measures every 97th.
const C: [f32; 6] = [
    f32::from_bits(0x3f31_7218),
    f32::from_bits(0x3e75_fded),
    f32::from_bits(0x3d63_5785),
    f32::from_bits(0x3c1d_9748),
    f32::from_bits(0x3aaf_a322),
    f32::from_bits(0x3920_a378),
];

/// `2^x` for `x <= 0`; 0 below -126; NaN of NaN. Never above 1, never negative.
///
/// ```text
/// n = round(x),  f = x - n in [-1/2, 1/2]        adding ROUND leaves n in the low bits
/// 2^x = 2^n * (1 + f (c1 + f (c2 + ... c6)))
/// ```
/// The guard is a select, not a clamp: a clamp by `max` would turn NaN into a number. Since no
/// result is subnormal, hosts that flush subnormals to zero give the same bits.
#[inline(always)]
pub fn exp2<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    polynomial(simd, x, C[5], [C[4], C[3], C[2], C[1], C[0], 1.0])
}

/// The minimax cubic of `2^f` for `|f| <= 1/2`, by relative error.
const CUBIC: [f32; 4] = [
    f32::from_bits(0x3f7f_fb49),
    f32::from_bits(0x3f31_798d),
    f32::from_bits(0x3e78_6f0d),
    f32::from_bits(0x3d61_fbb0),
];

/// As [`exp2`], within 2^-13.7 of it: enough for a weight that is rounded to bf16 next, which has 2^-8 for
/// an error. `exp2_bf16(0)` rounds to 1, and nothing to more. Near -126 it may be subnormal, which the
/// rounding flushes to zero. 7.49e-5 of relative error at worst; `tests/suite/math.rs` measures every 97th.
#[inline(always)]
pub fn exp2_bf16<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    polynomial(simd, x, CUBIC[3], [CUBIC[2], CUBIC[1], CUBIC[0]])
}

/// `2^n` times a polynomial of the rest, by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::F32, first: f32, rest: [f32; N]) -> S::F32 {
    let round = simd.splat(ROUND);
    let t = simd.add(x, round);
    let f = simd.sub(x, simd.sub(t, round));
    let mut y = simd.splat(first);
    for c in rest {
        y = simd.mul_add(y, f, simd.splat(c));
    }
    let y = simd.scale_by_exponent(y, t);
    simd.select(simd.lt(x, simd.splat(-126.0)), simd.splat(0.0), y)
}
