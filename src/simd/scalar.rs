//! One lane: the definition of every operation, and the backend of cores without vectors.

use super::{Level, ROUND, Simd};
use half::{bf16, f16};

/// One lane, two roundings a multiply-add on every host: its bits are those of [`super::Portable`]
/// wherever that does not fuse.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

impl Simd for Scalar {
    const LEVEL: Level = Level::Scalar;
    const LANES: usize = 1;
    const FUSED: bool = false;
    type F32 = f32;
    type Mask = bool;
    type Square = [f32; 1];

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn lt(self, a: f32, b: f32) -> bool {
        a < b
    }
    #[inline(always)]
    fn eq(self, a: f32, b: f32) -> bool {
        a == b
    }
    #[inline(always)]
    fn select(self, mask: bool, a: f32, b: f32) -> f32 {
        if mask { a } else { b }
    }
    #[inline(always)]
    fn mask(self, bits: u64) -> bool {
        bits & 1 != 0
    }
    #[inline(always)]
    fn scale_by_exponent(self, x: f32, t: f32) -> f32 {
        // The integer in `t` moves to the exponent field; the exponent of ROUND is shifted out.
        const _: () = assert!(ROUND.to_bits() << 23 == 0);
        x * f32::from_bits((t.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
    }
    #[inline(always)]
    fn zip(self, a: f32, b: f32) -> [f32; 2] {
        [a, b]
    }
    #[inline(always)]
    fn swap_neighbours(self, [a, b]: [f32; 2]) -> [f32; 2] {
        [b, a]
    }
    #[inline(always)]
    fn square(self) -> [f32; 1] {
        [0.0]
    }
    #[inline(always)]
    fn transpose(self, x: [f32; 1]) -> [f32; 1] {
        x
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> f32 {
        from.first().copied().unwrap_or(0.0)
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16]) -> f32 {
        from.first().map_or(0.0, |x| crate::elem::widen(*x))
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16]) -> f32 {
        from.first().map_or(0.0, |x| f32::from_bits(u32::from(x.to_bits()) << 16))
    }
    #[inline(always)]
    fn store(self, x: f32, to: &mut [f32]) {
        if let Some(to) = to.first_mut() {
            *to = x;
        }
    }
    #[inline(always)]
    fn store_f16(self, x: f32, to: &mut [f16]) {
        if let Some(to) = to.first_mut() {
            *to = crate::elem::narrow(x);
        }
    }
    #[inline(always)]
    fn store_bf16(self, x: f32, to: &mut [bf16]) {
        if let Some(to) = to.first_mut() {
            *to = crate::elem::narrow_bf16(x);
        }
    }
    #[inline(always)]
    fn vectors_of(self, scratch: &mut [f32]) -> &mut [f32] {
        scratch
    }
    #[inline(always)]
    fn floats_of(self, vectors: &mut [f32]) -> &mut [f32] {
        vectors
    }
}
