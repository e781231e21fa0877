//! Functions of one number.

use crate::part::{Part, lanes, power_of_two, relative, ulps};
use flashlet::math::{TANH_ULPS, exp, exp2, exp2_bf16, tanh};
use flashlet::simd::Simd;
use oracle::{Arithmetic, CUBIC_ERROR, LN_ERROR};
use std::ops::RangeInclusive;

/// Every f32, NaNs too.
const ALL: &[RangeInclusive<u32>] = &[0..=u32::MAX];
/// Those without a sign.
const POSITIVE: &[RangeInclusive<u32>] = &[0..=0x7fff_ffff];

/// In units of u = 2^-24, relative: what the bound takes for the kernel's `exp2`.
const fn exp2_error(fused: bool) -> f64 {
    let arithmetic = if fused { Arithmetic::fused(1) } else { Arithmetic::unfused(1) };
    arithmetic.exp2_error()
}

/// The softmax's 2^x. Never negative or above 1; 0 below -126.
pub(crate) struct Exp2;

impl Part for Exp2 {
    const NAME: &'static str = "exp2";
    const UNIT: &'static str = "ulp";
    /// 0, what has a sign, NaN.
    const DOMAIN: &'static [RangeInclusive<u32>] =
        &[0..=0, 0x7f80_0001..=0x7fff_ffff, 0x8000_0000..=0xffff_ffff];
    type Exact = f64;
    type Got = f32;

    fn exact(input: u32) -> f64 {
        let x = f32::from_bits(input);
        if x < -126.0 { 0.0 } else { f64::from(x).exp2() }
    }
    #[inline(always)]
    fn compute<S: Simd>(simd: S, inputs: &[u32], got: &mut [f32]) {
        lanes(simd, inputs, got, |x| exp2(simd, x));
    }
    fn error(_: u32, got: f32, exact: f64) -> f64 {
        let is_weight = got.is_nan() || got.is_sign_positive() && got <= 1.0;
        if is_weight { ulps(got, exact) } else { f64::INFINITY }
    }
    fn limit(fused: bool) -> f64 {
        exp2_error(fused) / 2.0
    }
}

/// The cubic for weights that are rounded to bf16 next. Below -125 a result may be subnormal, and is flushed then.
pub(crate) struct Exp2Bf16;

impl Part for Exp2Bf16 {
    const NAME: &'static str = "exp2 for bf16";
    const UNIT: &'static str = "relative";
    const DOMAIN: &'static [RangeInclusive<u32>] = &[0..=0, 0x8000_0000..=(-125.0_f32).to_bits()];
    type Exact = f64;
    type Got = f32;

    fn exact(input: u32) -> f64 {
        f64::from(f32::from_bits(input)).exp2()
    }
    #[inline(always)]
    fn compute<S: Simd>(simd: S, inputs: &[u32], got: &mut [f32]) {
        lanes(simd, inputs, got, |x| exp2_bf16(simd, x));
    }
    fn error(_: u32, got: f32, exact: f64) -> f64 {
        // What rounds to more than 1 would be a weight above 1: from half an ulp of bf16 on.
        let is_weight = got <= 1.0 + 1.0 / 256.0;
        if is_weight { relative(got, exact) * power_of_two(-24) } else { f64::INFINITY }
    }
    fn limit(_: bool) -> f64 {
        CUBIC_ERROR
    }
}

/// e^x of feature maps, which may miss `2 |x| u` more than `exp2` does: only what is beyond that counts.
pub(crate) struct Exp;

impl Part for Exp {
    const NAME: &'static str = "exp";
    const UNIT: &'static str = "u beyond 2|x|u";
    const DOMAIN: &'static [RangeInclusive<u32>] = ALL;
    type Exact = f64;
    type Got = f32;

    fn exact(input: u32) -> f64 {
        f64::from(f32::from_bits(input)).exp()
    }
    #[inline(always)]
    fn compute<S: Simd>(simd: S, inputs: &[u32], got: &mut [f32]) {
        lanes(simd, inputs, got, |x| exp(simd, x));
    }
    fn error(input: u32, got: f32, exact: f64) -> f64 {
        // Beyond both ends, or so near to one that the product with log2(e) may lie beyond: 2^-16 is 2 |x| u there.
        let near = 1.0 + power_of_two(-16);
        let is_small = exact < f64::from(f32::MIN_POSITIVE) * near;
        let is_large = exact > f64::from(f32::MAX) / near;
        if is_small && got == 0.0 || is_large && got == f32::INFINITY {
            return 0.0;
        }
        let of_product = 2.0 * f64::from(f32::from_bits(input)).abs();
        let error = relative(got, exact);
        // Not where both are infinite.
        if error.is_finite() && error > 0.0 { (error - of_product).max(0.0) } else { error }
    }
    fn limit(fused: bool) -> f64 {
        exp2_error(fused)
    }
}

/// The soft cap's tanh, of a number and of its negative.
pub(crate) struct Tanh;

impl Part for Tanh {
    const NAME: &'static str = "tanh";
    const UNIT: &'static str = "ulp";
    const DOMAIN: &'static [RangeInclusive<u32>] = POSITIVE;
    const EACH: u64 = 2;
    type Exact = f64;
    type Got = [f32; 2];

    fn exact(input: u32) -> f64 {
        f64::from(f32::from_bits(input)).tanh()
    }
    #[inline(always)]
    fn compute<S: Simd>(simd: S, inputs: &[u32], got: &mut [[f32; 2]]) {
        let (mut y, zero) = ([0.0; 16], simd.splat(0.0));
        for (x, got) in inputs.chunks_exact(S::LANES).zip(got.chunks_exact_mut(S::LANES)) {
            for side in [0, 1] {
                lanes(simd, x, &mut y, |x| {
                    tanh(simd, if side == 0 { x } else { simd.sub(zero, x) })
                });
                got.iter_mut().zip(y).for_each(|(got, y)| got[side] = y);
            }
        }
    }
    fn error(_: u32, [right, left]: [f32; 2], exact: f64) -> f64 {
        let is_odd = left == -right || right.is_nan() && left.is_nan();
        let is_large = right.abs() > 1.0;
        if is_odd && !is_large { ulps(right, exact) } else { f64::INFINITY }
    }
    fn limit(_: bool) -> f64 {
        TANH_ULPS
    }
}

/// The logarithm of a log-sum-exp.
pub(crate) struct Ln;

impl Part for Ln {
    const NAME: &'static str = "ln";
    const UNIT: &'static str = "u";
    const DOMAIN: &'static [RangeInclusive<u32>] = POSITIVE;
    const BY_LEVEL: bool = false;
    type Exact = f64;
    type Got = f32;

    fn exact(input: u32) -> f64 {
        f64::from(f32::from_bits(input)).ln()
    }
    fn compute<S: Simd>(_: S, inputs: &[u32], got: &mut [f32]) {
        for (x, got) in inputs.iter().zip(got) {
            *got = libm::logf(f32::from_bits(*x));
        }
    }
    fn error(_: u32, got: f32, exact: f64) -> f64 {
        relative(got, exact)
    }
    fn limit(_: bool) -> f64 {
        LN_ERROR
    }
}

/// The reciprocal of a sum of weights: a division, which the bound takes to be rounded once.
pub(crate) struct Reciprocal;

impl Part for Reciprocal {
    const NAME: &'static str = "1 / x";
    const UNIT: &'static str = "ulp";
    const DOMAIN: &'static [RangeInclusive<u32>] = ALL;
    type Exact = f64;
    type Got = f32;

    fn exact(input: u32) -> f64 {
        1.0 / f64::from(f32::from_bits(input))
    }
    #[inline(always)]
    fn compute<S: Simd>(simd: S, inputs: &[u32], got: &mut [f32]) {
        lanes(simd, inputs, got, |x| simd.div(simd.splat(1.0), x));
    }
    fn error(_: u32, got: f32, exact: f64) -> f64 {
        // No quotient of two f32 lies within 2^-49 of the middle between two others: rounding it to f64 first is harmless.
        let nearest = exact as f32;
        match got.to_bits() == nearest.to_bits() || got.is_nan() && nearest.is_nan() {
            true if nearest.is_finite() => ulps(got, exact),
            true => 0.0,
            false => f64::INFINITY,
        }
    }
    fn limit(_: bool) -> f64 {
        0.5
    }
}
