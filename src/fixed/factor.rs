//! What a product of codes is worth as a logarithm of base 2.

use crate::error::Error;

/// `scale * log2(e)` with 16 significant bits: `mantissa * 2^-shift`.
///
/// `scale` is what a product of a query's and a key's code is multiplied by: the worth of one step of a query,
/// that of a step of a key, and the softmax scale, multiplied. A constant, if it is known when compiling:
/// ```
/// use flashlet::fixed::Factor;
/// const FACTOR: Factor = match Factor::new(0.05 * 0.04 * 0.125) {
///     Ok(factor) => factor,
///     Err(_) => panic!("no scale"),
/// };
/// assert!(Factor::new(0.0).is_err() && Factor::new(f32::NAN).is_err());
/// # let _ = FACTOR;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// 2^15 ..= 2^16 - 1.
    pub(super) mantissa: u32,
    /// 8 ..= 55.
    pub(super) shift: u32,
    /// As it was given.
    scale_bits: u32,
}

/// `log2(e) * 2^39`, which is 793129986396.09, rounded.
const LOG2_E: u64 = 793_129_986_396;

impl Factor {
    /// The nearest number of 16 bits: within 2^-16 of `scale * log2(e)`, relatively. No float arithmetic: only the bits of `scale` are
    /// looked at.
    ///
    /// # Errors
    /// [`Error::Factor`] unless `2^-40 <= scale * log2(e) < 2^8`. Less would be no attention but a mean; more, and a step of one
    /// code decides alone.
    pub const fn new(scale: f32) -> Result<Self, Error> {
        let scale_bits = scale.to_bits();
        let exponent = scale_bits >> 23;
        // Negative numbers, infinities and NaN have larger exponents, zero and subnormals smaller ones, than any in range.
        if exponent < 80 || exponent > 140 {
            return Err(Error::Factor { scale_bits });
        }
        // scale = significand * 2^(exponent - 150).
        let significand = (scale_bits & 0x7f_ffff) | 0x80_0000;
        let product = significand as u64 * LOG2_E; // below 2^64, in units of 2^(exponent - 189)
        let mut dropped = 48 - product.leading_zeros(); // 15 bits stay below the highest
        let mut mantissa = (product + (1 << (dropped - 1))) >> dropped;
        if mantissa == 1 << 16 {
            (mantissa, dropped) = (1 << 15, dropped + 1);
        }
        let shift = 189 - exponent as i32 - dropped as i32;
        if shift < 8 || shift > 55 {
            return Err(Error::Factor { scale_bits });
        }
        Ok(Factor { mantissa: mantissa as u32, shift: shift as u32, scale_bits })
    }

    /// `f32::to_bits` of the scale.
    pub(super) const fn scale_bits(self) -> u32 {
        self.scale_bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(scale: f32) -> f64 {
        let Factor { mantissa, shift, .. } = Factor::new(scale).unwrap();
        assert!((1 << 15..1 << 16).contains(&mantissa) && (8..=55).contains(&shift), "{scale:e}");
        f64::from(mantissa) * (-f64::from(shift)).exp2()
    }

    #[test]
    fn a_factor_is_the_scale_times_log2_e_within_16_bits() {
        let mut scale = 6.4e-13_f32;
        while scale < 177.0 {
            let exact = f64::from(scale) * core::f64::consts::LOG2_E;
            let ulp = exact.log2().floor().exp2() / 32768.0;
            assert!((value(scale) - exact).abs() <= 0.500_001 * ulp, "{scale:e}");
            scale *= 1.000_37;
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let least = (-40_f64).exp2() / core::f64::consts::LOG2_E;
        let most = 256.0 / core::f64::consts::LOG2_E;
        assert!(value(least as f32 * 1.0001) > 0.0 && value(most as f32 * 0.9999) < 256.0);
        for scale in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45]
            .into_iter()
            .chain([least as f32 * 0.9999, most as f32 * 1.0001, f32::MAX, f32::MIN_POSITIVE])
        {
            let scale_bits = scale.to_bits();
            assert_eq!(Factor::new(scale), Err(Error::Factor { scale_bits }), "{scale:e}");
        }
    }
}
