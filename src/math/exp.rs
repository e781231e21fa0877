//! e^x of any x.

use super::exp2::exp2;
use crate::simd::Simd;
use core::f32::consts::LOG2_E;

/// `e^x`: 0 below about -87.3, where it would be subnormal, infinite above 88.7; NaN of NaN; exactly 1 of 0.
///
/// Within that of [`exp2`] and `2 |x| u`, u = 2^-24, of it: the product `x log2(e)` is rounded.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let t = simd.mul(x, simd.splat(LOG2_E));
    // From 2^127 on by way of half of it.
    let is_large = simd.lt(simd.splat(1.0), t);
    let t = simd.select(is_large, simd.sub(t, simd.splat(1.0)), t);
    let is_infinite = simd.lt(simd.splat(127.0), t);
    let y = exp2(simd, simd.select(is_infinite, simd.splat(0.0), t));
    let y = simd.mul(y, simd.select(is_large, simd.splat(2.0), simd.splat(1.0)));
    simd.select(is_infinite, simd.splat(f32::INFINITY), y)
}
