//! Numbers of 8 bits with an exponent: e4m3fn and e5m2 of the Open Compute Project ("OCP 8-bit Floating Point Specification",
//! revision 1.0).
//!
//! | | e4m3fn | e5m2 |
//! |---|---|---|
//! | exponent bias, largest finite number | 7, 448 | 15, 57344 |
//! | least normal number, least number | 2^-6, 2^-9 | 2^-14, 2^-16 |
//! | infinities, NaN | none, `7f ff` | `7c fc`, `7d 7e 7f fd fe ff` |
//!
//! Both ways are free of branches, so that a loop becomes vectors, and make no subnormal f32: hosts that flush those agree.

use super::widen;
use half::f16;

/// What becomes of a number beyond the largest finite one, after rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The largest finite number, of infinities too: what processors do for caches, and ONNX's `saturate = 1`.
    #[default]
    Saturate,
    /// NaN in e4m3fn, which has no infinities, as PyTorch does; an infinity in e5m2.
    Special,
}

/// A number of 1 sign bit, 4 exponent bits and 3 fraction bits, without infinities.
///
/// ```
/// use flashlet::{E4m3, Overflow};
/// assert_eq!(E4m3::nearest(0.3, Overflow::Saturate).to_f32(), 0.3125);
/// assert_eq!(E4m3::nearest(1e9, Overflow::Saturate).to_f32(), 448.0);
/// assert!(E4m3::nearest(1e9, Overflow::Special).to_f32().is_nan());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct E4m3(u8);

/// A number of 1 sign bit, 5 exponent bits and 2 fraction bits: the upper half of an f16.
///
/// ```
/// use flashlet::{E5m2, Overflow};
/// assert_eq!(E5m2::nearest(0.3, Overflow::Saturate).to_f32(), 0.3125);
/// assert_eq!(E5m2::nearest(1e9, Overflow::Special).to_f32(), f32::INFINITY);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct E5m2(u8);

/// What the two have in common. Fraction bits and exponent bias; the bits of the largest finite number, of what comes
/// beyond it, and of a NaN.
struct Fp8 {
    fraction: u32,
    bias: u32,
    most: u32,
    beyond: u32,
    nan: u32,
}

impl E4m3 {
    /// The largest finite number.
    pub const MAX: f32 = 448.0;
    /// Read as an f16 by its place, a number is as many times too small: exponents are biased by 7 and by 15.
    pub(crate) const UNIT_OF_LANES: f32 = 256.0;
    const FORM: Fp8 = Fp8 { fraction: 3, bias: 7, most: 0x7e, beyond: 0x7f, nan: 0x7f };

    /// The number of some bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        E4m3(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// The nearest one, ties to even. NaN stays NaN.
    #[must_use]
    #[inline(always)]
    pub fn nearest(x: f32, overflow: Overflow) -> Self {
        E4m3(Self::FORM.narrow(x, overflow))
    }

    /// The same number in f32.
    #[must_use]
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        /// Exponents are moved by 127 - 7.
        const REBIAS: u32 = 120 << 23;
        const TWO_23: u32 = 0x4b00_0000;
        let magnitude = u32::from(self.0 & 0x7f);
        let sign = u32::from(self.0 & 0x80) << 24;
        let normal = (magnitude << 20) + REBIAS;
        let fraction = f32::from_bits(TWO_23 | magnitude) - f32::from_bits(TWO_23);
        let subnormal = (fraction * f32::from_bits((127 - 9) << 23)).to_bits();
        let finite = if magnitude < 8 { subnormal } else { normal };
        f32::from_bits(sign | if magnitude == 0x7f { f32::NAN.to_bits() } else { finite })
    }
}

impl E5m2 {
    /// The largest finite number.
    pub const MAX: f32 = 57_344.0;
    const FORM: Fp8 = Fp8 { fraction: 2, bias: 15, most: 0x7b, beyond: 0x7c, nan: 0x7e };

    /// The number of some bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        E5m2(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// The nearest one, ties to even. NaN stays NaN.
    #[must_use]
    #[inline(always)]
    pub fn nearest(x: f32, overflow: Overflow) -> Self {
        E5m2(Self::FORM.narrow(x, overflow))
    }

    /// The same number in f32.
    #[must_use]
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        widen(f16::from_bits(u16::from(self.0) << 8))
    }
}

impl Fp8 {
    /// The bits of the nearest number. Results below the least normal one are multiples of the least number: adding 2^23 of
    /// those rounds to it. Other magnitudes are rounded at the bits that are dropped, and may carry over.
    #[inline(always)]
    fn narrow(&self, x: f32, overflow: Overflow) -> u8 {
        let Fp8 { fraction, bias, most, beyond, nan } = *self;
        let (sign, magnitude) = (x.to_bits() >> 24 & 0x80, x.to_bits() & 0x7fff_ffff);
        let dropped = 23 - fraction;
        let whole = f32::from_bits((127 + 23 + 1 - bias - fraction) << 23);
        let subnormal = (f32::from_bits(magnitude) + whole).to_bits().wrapping_sub(whole.to_bits());
        let half = (1 << (dropped - 1)) - 1;
        let rebiased = magnitude.wrapping_sub((127 - bias) << 23);
        let normal = rebiased.wrapping_add(half + (magnitude >> dropped & 1)) >> dropped;
        let near = if magnitude < (128 - bias) << 23 { subnormal } else { normal };
        let beyond = match overflow {
            Overflow::Saturate => most,
            Overflow::Special => beyond,
        };
        let finite = if near > most { beyond } else { near };
        (sign | if magnitude > 0x7f80_0000 { nan } else { finite }) as u8
    }
}
