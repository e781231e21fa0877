//! Formats of 8 and 16 bits by their definition, in f64, which holds all of their numbers and all middles between them.

use crate::part::{exponent, power_of_two};

/// A format: a sign bit, so many bits of exponent and of fraction.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    exponent: u32,
    fraction: u32,
    /// Subtracted from the exponent that is stored.
    bias: i32,
    has_infinities: bool,
}

impl Format {
    /// IEEE 754's binary16.
    pub(crate) const F16: Format = Format::ieee(5, 10);
    /// The upper half of an f32.
    pub(crate) const BF16: Format = Format::ieee(8, 7);
    /// OCP's e5m2.
    pub(crate) const E5M2: Format = Format::ieee(5, 2);
    /// OCP's e4m3fn: the largest exponent is one as any other, only its largest fraction is NaN.
    pub(crate) const E4M3: Format = Format { has_infinities: false, ..Format::ieee(4, 3) };

    const fn ieee(exponent: u32, fraction: u32) -> Format {
        Format { exponent, fraction, bias: (1 << (exponent - 1)) - 1, has_infinities: true }
    }

    /// The number of some bits.
    #[inline(always)]
    pub(crate) fn value(self, bits: u32) -> f64 {
        let fraction = bits & ((1 << self.fraction) - 1);
        let stored = bits >> self.fraction & ((1 << self.exponent) - 1);
        let is_last = stored == (1 << self.exponent) - 1;
        let magnitude = if is_last && self.has_infinities {
            if fraction == 0 { f64::INFINITY } else { f64::NAN }
        } else if is_last && fraction == (1 << self.fraction) - 1 {
            f64::NAN
        } else {
            // A stored exponent of 0 means that of 1, without the leading digit.
            let leading = if stored == 0 { 0 } else { 1 << self.fraction };
            let power = stored.max(1) as i32 - self.bias - self.fraction as i32;
            f64::from(leading + fraction) * power_of_two(power)
        };
        if bits >> (self.exponent + self.fraction) & 1 == 1 { -magnitude } else { magnitude }
    }

    /// The largest finite number.
    #[inline(always)]
    pub(crate) fn largest(self) -> f64 {
        let infinity = ((1 << self.exponent) - 1) << self.fraction;
        let beyond =
            if self.has_infinities { infinity } else { infinity + (1 << self.fraction) - 1 };
        self.value(beyond - 1)
    }

    /// The distance of the numbers about `x`, as if exponents had no end.
    #[inline(always)]
    pub(crate) fn distance(self, x: f64) -> f64 {
        power_of_two(self.power(x))
    }

    /// Its logarithm.
    #[inline(always)]
    fn power(self, x: f64) -> i32 {
        exponent(x).max(1 - self.bias) - self.fraction as i32
    }

    /// The nearest number, ties to even. Beyond the largest, what `beyond` makes of that.
    #[inline(always)]
    pub(crate) fn nearest(self, x: f32, beyond: impl Fn(f64) -> f64) -> f64 {
        /// 1.5 * 2^52: adding it rounds to an integer, ties to even.
        const ROUND: f64 = 6_755_399_441_055_744.0;
        let x = f64::from(x);
        let power = self.power(x);
        let near = ((x.abs() * power_of_two(-power) + ROUND) - ROUND) * power_of_two(power);
        // An infinity has no distance: it and NaN come out as they are.
        let near = if x.is_finite() { near } else { x.abs() };
        let largest = self.largest();
        let magnitude = if near > largest { beyond(largest) } else { near };
        magnitude.copysign(x)
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn the_published_numbers_hold() {
        let cases = [
            (Format::F16, 65_504.0, 2.0_f64.powi(-24)),
            (Format::BF16, 3.389_531_389_251_535_5e38, 2.0_f64.powi(-133)),
            (Format::E5M2, 57_344.0, 2.0_f64.powi(-16)),
            (Format::E4M3, 448.0, 2.0_f64.powi(-9)),
        ];
        for (format, largest, least) in cases {
            assert_eq!((format.largest(), format.value(1)), (largest, least));
        }
        assert_eq!([Format::F16.value(0x3c00), Format::BF16.value(0xbf80)], [1.0, -1.0]);
        assert_eq!([Format::E5M2.value(0x3c), Format::E4M3.value(0xb8)], [1.0, -1.0]);
        assert!(
            Format::F16.value(0xfc00) == f64::NEG_INFINITY && Format::E4M3.value(0x7f).is_nan()
        );
    }

    #[test]
    fn every_number_is_its_own_nearest_and_middles_go_to_even() {
        for (format, codes) in [
            (Format::F16, 0x7c00),
            (Format::BF16, 0x7f80),
            (Format::E5M2, 0x7c),
            (Format::E4M3, 0x7f),
        ] {
            let nearest = |x: f64| format.nearest(x as f32, |largest| largest);
            for code in 0..codes - 1 {
                let (x, next) = (format.value(code), format.value(code + 1));
                assert_eq!(nearest(x), x);
                assert_eq!(nearest(-x), -x);
                let even = if code % 2 == 0 { x } else { next };
                assert_eq!(nearest((x + next) / 2.0), even, "{code:x}");
            }
        }
    }
}
