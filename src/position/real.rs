//! Numbers that are not negative, to a hundred bits, by integers alone: what frequencies are computed in.
//!
//! An angle is `position * frequency`, and a position has up to 32 bits: of a frequency in f64 the last bit
//! would be 5e-7 of a turn there. These functions are `const` and use no floating point, so that the same
//! frequencies come out on every host, in firmware already when it is compiled.

/// `mantissa * 2^(exponent - 127)`; the top bit of the mantissa is set, or the number is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    mantissa: u128,
    exponent: i32,
}

/// Bits behind the point of a logarithm.
const FRACTION: u32 = 100;

/// A logarithm, in units of 2^-100.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log(i128);

impl Real {
    pub(super) const ZERO: Real = Real { mantissa: 0, exponent: 0 };
    pub(super) const ONE: Real = Real::integer(1);
    /// `1 / (2 pi)`, as in the expansion of `2 / pi` that argument reductions use.
    pub(super) const TURN_OF_RADIAN: Real =
        Real { mantissa: 0xa2f9_836e_4e44_1529_fc27_57d1_f534_ddc1, exponent: -3 };
    /// `ln 2`.
    const LN_2: Real = Real { mantissa: 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af, exponent: -1 };

    /// An integer.
    pub(super) const fn integer(x: u64) -> Real {
        Real { mantissa: x as u128, exponent: 127 }.normal()
    }

    /// A finite number that is not negative, exactly.
    pub(super) const fn new(x: f64) -> Option<Real> {
        let bits = x.to_bits();
        let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, (bits & ((1 << 52) - 1)) as u128);
        let is_negative = bits >> 63 == 1 && bits << 1 != 0;
        if is_negative || exponent == 0x7ff {
            return None;
        }
        let (mantissa, exponent) =
            if exponent == 0 { (fraction, 1) } else { (fraction | 1 << 52, exponent) };
        Some(Real { mantissa, exponent: exponent - 1023 - 52 + 127 }.normal())
    }

    /// A finite number that is not negative, exactly.
    pub(super) const fn of_f32(x: f32) -> Real {
        match Real::new(x as f64) {
            Some(real) => real,
            None => Real::ZERO,
        }
    }

    const fn normal(self) -> Real {
        if self.mantissa == 0 {
            return Real::ZERO;
        }
        let shift = self.mantissa.leading_zeros();
        Real { mantissa: self.mantissa << shift, exponent: self.exponent - shift as i32 }
    }

    pub(super) const fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    pub(super) const fn is_below(self, other: Real) -> bool {
        if self.is_zero() || other.is_zero() {
            return self.is_zero() && !other.is_zero();
        }
        self.exponent < other.exponent
            || self.exponent == other.exponent && self.mantissa < other.mantissa
    }

    pub(super) const fn mul(self, other: Real) -> Real {
        if self.is_zero() || other.is_zero() {
            return Real::ZERO;
        }
        let (high, low) = product(self.mantissa, other.mantissa);
        let exponent = self.exponent + other.exponent;
        if high >> 127 == 1 {
            Real { mantissa: high, exponent: exponent + 1 }
        } else {
            Real { mantissa: high << 1 | low >> 127, exponent }
        }
    }

    /// The quotient; 0 if the divisor is 0.
    pub(super) const fn div(self, other: Real) -> Real {
        if self.is_zero() || other.is_zero() {
            return Real::ZERO;
        }
        let (mut rest, divisor) = (self.mantissa, other.mantissa);
        let (mut quotient, mut carry, mut digit) = (0_u128, false, 0);
        // One digit more than a mantissa has: the first may be 0.
        while digit <= 128 {
            let fits = carry || rest >= divisor;
            if fits {
                rest = rest.wrapping_sub(divisor);
            }
            if digit == 128 && quotient >> 127 == 1 {
                break;
            }
            quotient = quotient << 1 | fits as u128;
            carry = rest >> 127 == 1;
            rest <<= 1;
            digit += 1;
        }
        let exponent = self.exponent - other.exponent;
        Real { mantissa: quotient, exponent: if digit == 128 { exponent } else { exponent - 1 } }
    }

    pub(super) const fn add(self, other: Real) -> Real {
        let (a, b) = if self.is_below(other) { (other, self) } else { (self, other) };
        let shift = (a.exponent - b.exponent) as u32;
        if b.is_zero() || shift > 127 {
            return a;
        }
        let (sum, carries) = a.mantissa.overflowing_add(b.mantissa >> shift);
        if carries {
            Real { mantissa: sum >> 1 | 1 << 127, exponent: a.exponent + 1 }
        } else {
            Real { mantissa: sum, exponent: a.exponent }
        }
    }

    /// The difference; 0 if it is negative.
    pub(super) const fn sub(self, other: Real) -> Real {
        if !other.is_below(self) {
            return Real::ZERO;
        }
        let shift = (self.exponent - other.exponent) as u32;
        if other.is_zero() || shift > 127 {
            return self;
        }
        let mantissa = self.mantissa - (other.mantissa >> shift);
        Real { mantissa, exponent: self.exponent }.normal()
    }

    /// The binary logarithm of a number above 0: a digit for each squaring.
    pub(super) const fn log2(self) -> Log {
        let (mut m, mut fraction, mut digit) = (self.mantissa, 0_i128, 0);
        while digit < FRACTION {
            let (high, low) = product(m, m);
            let is_two = high >> 127 == 1;
            m = if is_two { high } else { high << 1 | low >> 127 };
            fraction = fraction << 1 | is_two as i128;
            digit += 1;
        }
        Log(((self.exponent as i128) << FRACTION) + fraction)
    }

    /// The natural logarithm of a number of at least 1.
    pub(super) const fn ln(self) -> Real {
        self.log2().positive().mul(Real::LN_2)
    }

    /// The square root of a number above 0.
    pub(super) const fn sqrt(self) -> Real {
        self.log2().times(1, 2).exp2()
    }

    /// `round(2^64 * self)`, without whole turns.
    pub(super) const fn turns(self) -> u64 {
        match self.exponent - 63 {
            shift if shift >= 64 => 0,
            shift if shift >= 0 => (self.mantissa as u64) << shift,
            -128 => (self.mantissa >> 127) as u64,
            shift if shift < -128 => 0,
            shift => {
                let half = self.mantissa >> (-shift - 1);
                ((half >> 1) as u64).wrapping_add(half as u64 & 1)
            }
        }
    }

    /// The nearest f64, ties to even; infinity beyond the largest, 0 below the smallest normal one.
    pub(super) const fn to_f64(self) -> f64 {
        let mantissa = self.rounded(53);
        match self.exponent {
            _ if mantissa == 0 => 0.0,
            ..-1022 => 0.0,
            1024.. => f64::INFINITY,
            // The mantissa's top bit adds one to the exponent, and a carry another.
            exponent => f64::from_bits((((exponent + 1022) as u64) << 52) + mantissa),
        }
    }

    /// The nearest f32, as [`Real::to_f64`].
    pub(super) const fn to_f32(self) -> f32 {
        let mantissa = self.rounded(24);
        match self.exponent {
            _ if mantissa == 0 => 0.0,
            ..-126 => 0.0,
            128.. => f32::INFINITY,
            exponent => f32::from_bits((((exponent + 126) as u32) << 23) + mantissa as u32),
        }
    }

    /// The first so many bits of the mantissa, rounded; one more if they overflow.
    const fn rounded(self, bits: u32) -> u64 {
        let shift = 128 - bits;
        let (kept, rest) = ((self.mantissa >> shift) as u64, self.mantissa << bits);
        let half = 1 << 127;
        kept + (rest > half || rest == half && kept & 1 == 1) as u64
    }
}

impl Log {
    /// A whole number.
    pub(super) const fn integer(x: i32) -> Log {
        Log((x as i128) << FRACTION)
    }

    /// Itself as a number; 0 if it is negative.
    pub(super) const fn positive(self) -> Real {
        match self.0 {
            ..=0 => Real::ZERO,
            x => Real { mantissa: x as u128, exponent: 127 - FRACTION as i32 }.normal(),
        }
    }

    pub(super) const fn add(self, other: Log) -> Log {
        Log(self.0 + other.0)
    }

    pub(super) const fn sub(self, other: Log) -> Log {
        Log(self.0 - other.0)
    }

    pub(super) const fn is_below(self, other: Log) -> bool {
        self.0 < other.0
    }

    /// `self * p / q`, for `p` and `q` of at most 15 bits: a logarithm of an f64 has 11 before the point.
    pub(super) const fn times(self, p: i32, q: i32) -> Log {
        match (self.0 * p as i128).checked_div(q as i128) {
            Some(quotient) => Log(quotient),
            None => Log(0),
        }
    }

    /// The quotient, as far as 2^11 on both sides; 0 if the divisor is 0.
    pub(super) const fn ratio(self, other: Log) -> Log {
        let size = Log(self.0.abs()).positive().div(Log(other.0.abs()).positive());
        let size = Log::number(size).0;
        Log(if (self.0 < 0) == (other.0 < 0) { size } else { -size })
    }

    /// `self * x`, for a logarithm that is not negative.
    pub(super) const fn of(self, x: Real) -> Log {
        Log::number(self.positive().mul(x))
    }

    /// A number of up to 11 bits before the point; 2^11 for one of more.
    const fn number(x: Real) -> Log {
        match x.exponent {
            11.. => Log::integer(1 << 11),
            exponent if exponent < -(FRACTION as i32) => Log(0),
            exponent => Log((x.mantissa >> (27 - exponent)) as i128),
        }
    }

    /// The nearest f32.
    pub(super) const fn to_f32(self) -> f32 {
        let size = Log(self.0.abs()).positive().to_f32();
        if self.0 < 0 { -size } else { size }
    }

    pub(super) const fn floor(self) -> Log {
        Log(self.0 >> FRACTION << FRACTION)
    }

    pub(super) const fn ceil(self) -> Log {
        Log(-(-self.0 >> FRACTION << FRACTION))
    }

    /// `2^self`: a Taylor series of a 256th of what is behind the point, squared eight times.
    pub(super) const fn exp2(self) -> Real {
        const ONE: u128 = 1 << 127;
        let fraction = (self.0 as u128) << (128 - FRACTION);
        let x = product(fraction, Real::LN_2.mantissa).0 >> 8;
        let (mut power, mut n) = (ONE, 12);
        while n > 0 {
            power = ONE + product(power, x).0 / n;
            n -= 1;
        }
        let mut squaring = 0;
        while squaring < 8 {
            let (high, low) = product(power, power);
            power = high << 1 | low >> 127;
            squaring += 1;
        }
        Real { mantissa: power, exponent: (self.0 >> FRACTION) as i32 }
    }
}

/// The 256 bits of a product: high and low.
const fn product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let cross = a0 * b1 + (middle & LOW);
    (a1 * b1 + (middle >> 64) + (cross >> 64), cross << 64 | low & LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(x: Real, exact: f64) {
        let x = x.to_f64();
        assert!((x - exact).abs() <= 2e-16 * exact.abs(), "{x:e} {exact:e}");
    }

    #[test]
    fn arithmetic_agrees_with_f64_to_its_last_bit() {
        let numbers = [1.0, 1.5, 0.1, 3.0, 1e-3, 10_000.0, 131_072.0, 1.0 - f64::EPSILON, 1e30];
        for a in numbers {
            for b in numbers {
                let (x, y) = (Real::new(a).unwrap(), Real::new(b).unwrap());
                close(x.mul(y), a * b);
                close(x.div(y), a / b);
                close(x.add(y), a + b);
                assert_eq!(x.is_below(y), a < b);
                assert_eq!(x.sub(y).to_f64(), if a > b { a - b } else { 0.0 }, "{a} - {b}");
            }
            let x = Real::new(a).unwrap();
            assert_eq!(x.to_f64(), a);
            assert_eq!(x.to_f32(), a as f32);
            assert!((x.log2().exp2().to_f64() / a - 1.0).abs() < 3e-16, "{a}");
            close(x.sqrt(), a.sqrt());
        }
    }

    #[test]
    fn logarithms_and_powers_have_a_hundred_bits() {
        // 2^(1/2) squared, and ln 2 from its own logarithm.
        let root = Log::integer(1).times(1, 2).exp2();
        let two = root.mul(root);
        let error = if two.is_below(Real::integer(2)) {
            Real::integer(2).sub(two)
        } else {
            two.sub(Real::integer(2))
        };
        assert!(error.exponent < -99 || error.is_zero(), "{error:?}");
        for x in [3, 10, 10_000, 500_000] {
            let back = Real::integer(x).log2().exp2().div(Real::integer(x));
            let error =
                if back.is_below(Real::ONE) { Real::ONE.sub(back) } else { back.sub(Real::ONE) };
            assert!(error.exponent < -95 || error.is_zero(), "{x}: {error:?}");
        }
        close(Real::integer(10).ln(), 10.0_f64.ln());
    }

    #[test]
    fn fractions_of_a_turn_are_rounded_and_whole_turns_dropped() {
        let of = |x: f64| Real::new(x).unwrap().turns();
        assert_eq!(of(0.0), 0);
        assert_eq!(of(0.5), 1 << 63);
        assert_eq!(of(1.0), 0);
        assert_eq!(of(2.75), 3 << 62);
        assert_eq!(of(2.0_f64.powi(-64)), 1);
        assert_eq!(of(2.0_f64.powi(-65)), 1);
        assert_eq!(of(2.0_f64.powi(-66)), 0);
        assert_eq!(of(2.0_f64.powi(-200)), 0);
        assert_eq!(of(2.0_f64.powi(100)), 0);
        assert_eq!(Real::ONE.mul(Real::TURN_OF_RADIAN).turns(), 0x28be_60db_9391_054a);
    }

    #[test]
    fn zero_and_what_is_too_small_are_zero() {
        let one = Real::ONE;
        for product in [one.mul(Real::ZERO), Real::ZERO.mul(one), one.div(Real::ZERO)] {
            assert!(product.is_zero());
        }
        assert!(Real::ZERO.div(one).is_zero() && Real::ZERO.is_below(one));
        assert!(!one.is_below(Real::ZERO) && !Real::ZERO.is_below(Real::ZERO));
        let of = |x: f64| Log::integer(1).of(Real::new(x).unwrap()).0;
        assert!(of(2.0_f64.powi(-99)) > 0);
        assert_eq!(of(2.0_f64.powi(-(FRACTION as i32) - 1)), 0);
        assert_eq!(of(2.0_f64.powi(11)), Log::integer(1 << 11).0);
    }
}
