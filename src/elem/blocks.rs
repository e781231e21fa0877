//! Rows in blocks of 32 numbers that share a scale, bit for bit as ggml keeps them (`ggml-common.h`, `ggml-quants.c`).
//!
//! ```text
//! q8_0    d = max |x| / 127           code = x / d, to nearest, halves away from 0       number = d code
//! q4_0    d = (x of max |x|) / -8     code = min(15, trunc(x / d + 8.5))                 number = d (code - 8)
//! ```
//! Codes come of a multiplication by the f32 `1 / d`, and `d` is rounded to f16 only when it is stored. A code and a scale have
//! 8 and 11 bits, so a number is exact in f32. Beyond 127 times the largest f16 the scale is infinite, and so are the numbers or NaN;
//! a block that holds NaN or an infinity has the scale NaN: it is not lost.

use crate::simd::StoredCodes;
use half::f16;

/// Numbers in a block.
pub const BLOCK: usize = 32;

/// A block of 8-bit numbers, 34 bytes: the largest is within `d / 2` of `x`, where `d` is 1/127 of the largest, plus the rounding of
/// `d` to f16.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Q8_0 {
    /// What a code is multiplied by.
    pub scale: f16,
    /// From -127 to 127.
    pub codes: [i8; BLOCK],
}

/// A block of 4-bit numbers, 18 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Q4_0 {
    /// What a code, less 8, is multiplied by.
    pub scale: f16,
    /// Numbers 0 to 15 in the low halves, 16 to 31 in the high ones.
    pub codes: [u8; BLOCK / 2],
}

impl Q8_0 {
    /// The block of 32 numbers; those that are not there are 0.
    #[must_use]
    #[inline]
    pub fn encode(x: &[f32]) -> Self {
        let x = padded(x);
        let d = largest(&x) / 127.0;
        let inverse = inverse(d);
        let mut codes = [0; BLOCK];
        for (code, x) in codes.iter_mut().zip(x) {
            *code = away(x * inverse) as i8;
        }
        Q8_0 { scale: f16::from_f32(d), codes }
    }

    /// Its numbers.
    #[must_use]
    #[inline(always)]
    pub fn decode(&self) -> [f32; BLOCK] {
        let d = super::widen(self.scale);
        self.codes.map(|code| d * f32::from(code))
    }
}

impl Q4_0 {
    /// The block of 32 numbers; those that are not there are 0.
    #[must_use]
    #[inline]
    pub fn encode(x: &[f32]) -> Self {
        let x = padded(x);
        let most = |most: f32, x: &f32| if x.abs() > most.abs() { *x } else { most };
        let d = x.iter().fold(0.0, most) / -8.0;
        let inverse = inverse(d);
        let (low, high) = x.split_at(BLOCK / 2);
        let mut codes = [0; BLOCK / 2];
        for (code, (low, high)) in codes.iter_mut().zip(low.iter().zip(high)) {
            let [low, high] = [low, high].map(|x| ((x * inverse + 8.5) as u8).min(15));
            *code = low | high << 4;
        }
        let is_finite = x.iter().all(|x| x.is_finite());
        Q4_0 { scale: if is_finite { f16::from_f32(d) } else { f16::NAN }, codes }
    }

    /// Its numbers.
    #[must_use]
    #[inline(always)]
    pub fn decode(&self) -> [f32; BLOCK] {
        let (d, codes) = (super::widen(self.scale), self.codes.signed());
        codes.map(|code| d * f32::from(code))
    }
}

/// 32 numbers, with zeros behind the last.
#[inline]
fn padded(x: &[f32]) -> [f32; BLOCK] {
    let mut block = [0.0; BLOCK];
    block.iter_mut().zip(x).for_each(|(to, x)| *to = *x);
    block
}

/// The largest magnitude; NaN if a number is not finite, so that it is not lost.
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    /// Magnitudes are in the order of their bits.
    const INFINITY: u32 = f32::INFINITY.to_bits();
    let most = x.iter().fold(0, |most: u32, x| most.max(x.abs().to_bits()));
    if most < INFINITY { f32::from_bits(most) } else { f32::NAN }
}

/// The scale with which the largest magnitude becomes `code`. A subnormal one may be rounded by half of itself: upwards, or that
/// magnitude would be beyond the code.
#[inline(always)]
pub(crate) fn scale_of(most: f32, code: f32) -> f32 {
    let scale = most / code;
    let is_short = scale < f32::MIN_POSITIVE && scale * code < most;
    if is_short { scale.next_up() } else { scale }
}

/// Where the scale is so small that this is infinite, numbers become 0, as the scale does.
#[inline]
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The nearest integer, halves away from 0, of a number below 2^22. Without branches, so that a loop over it becomes vectors.
#[inline(always)]
pub(crate) fn away(x: f32) -> f32 {
    use crate::simd::ROUND;
    let near = (x + ROUND) - ROUND;
    let left = x - near;
    let up = if (left == 0.5) & (x > 0.0) { 1.0 } else { 0.0 };
    let down = if (left == -0.5) & (x < 0.0) { 1.0 } else { 0.0 };
    near + (up - down)
}
