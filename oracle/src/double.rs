//! Numbers of twice the precision of f64.
//!
//! A [`Double`] is the unevaluated sum of two f64, `|lo| <= ulp(hi) / 2`: about 106 significant bits, the exponents of
//! an f64. Its arithmetic is made of *error-free transforms*: the rounded result of one f64 operation together with
//! what the rounding lost, both f64, exactly (Dekker, Numer. Math. 18, 1971; Knuth, volume 2, section 4.2.2). Only
//! additions and multiplications are used, no fused operation, so the bits are the same everywhere.
//!
//! With `v = 2^-53`, a sum has a relative error of at most `3 v^2`, a product of `7 v^2`, a quotient of `15 v^2` (all
//! near 1e-31; Joldes, Muller and Popescu, ACM TOMS 44(2), 2017). Operands and results must lie well inside the range
//! of f64, say between 2^-400 and 2^400, or be 0: there is no care for overflow, underflow, infinities or NaN.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// `hi + lo`: a number with about 106 significant bits.
///
/// # Example
/// ```
/// use oracle::rope::Double;
/// let third = Double::from(1.0) / Double::from(3.0);
/// assert_eq!(third.to_f64(), 1.0 / 3.0);
/// assert_eq!(third * Double::from(3.0), Double::from(1.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Double {
    /// The number, rounded to f64.
    hi: f64,
    /// What that rounding lost.
    lo: f64,
}

/// `a + b`, rounded, and what was lost. Six operations, whatever the magnitudes (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

/// The same, where `a` is 0 or `|a| >= |b|` (Dekker).
fn fast_two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// Two numbers of at most 26 bits each whose sum is `a` (Veltkamp).
fn split(a: f64) -> (f64, f64) {
    let scaled = 134_217_729.0 * a; // 2^27 + 1
    let high = scaled - (scaled - a);
    (high, a - high)
}

/// `a * b`, rounded, and what was lost: the partial products of the halves are exact (Dekker).
fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let ((a1, a2), (b1, b2)) = (split(a), split(b));
    (product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2)
}

/// 2^k, for the exponents of normal numbers.
fn power_of_two(k: i32) -> f64 {
    assert!((-1022..=1023).contains(&k), "2^{k}");
    f64::from_bits(((1023 + k) as u64) << 52)
}

impl Double {
    /// 1.
    pub const ONE: Self = Self { hi: 1.0, lo: 0.0 };
    /// 2 pi, one turn in radians.
    pub const TAU: Self = Self { hi: std::f64::consts::TAU, lo: 2.449_293_598_294_706_4e-16 };
    /// ln 2.
    pub const LN_2: Self = Self { hi: std::f64::consts::LN_2, lo: 2.319_046_813_846_299_6e-17 };

    /// The sum of two f64, exactly.
    pub fn sum(a: f64, b: f64) -> Self {
        let (hi, lo) = two_sum(a, b);
        Self { hi, lo }
    }

    /// The nearest f64.
    pub fn to_f64(self) -> f64 {
        self.hi
    }

    /// The number as two f64, `hi + lo`.
    pub fn parts(self) -> (f64, f64) {
        (self.hi, self.lo)
    }

    /// The largest integer that is not greater.
    pub fn floor(self) -> Self {
        let floor = self.hi.floor();
        if floor == self.hi { Self::sum(floor, self.lo.floor()) } else { Self::from(floor) }
    }

    /// The smallest integer that is not less.
    pub fn ceil(self) -> Self {
        -(-self).floor()
    }

    /// The nearest integer; upwards from the middle between two.
    pub fn round(self) -> Self {
        (self + Self::from(0.5)).floor()
    }

    /// `self * 2^k`, exactly.
    pub fn scale(self, k: i32) -> Self {
        let power = power_of_two(k);
        Self { hi: self.hi * power, lo: self.lo * power }
    }

    /// `e^self`, with a relative error under `1e-31 (2 + |self|)`.
    ///
    /// `self = k ln 2 + r`, `|r| <= ln(2) / 2`, and 28 terms of the power series: `r^29 / 29!` is less than 1e-44.
    pub fn exp(self) -> Self {
        let k = (self.hi / Self::LN_2.hi).round();
        let r = self - Self::LN_2 * Self::from(k);
        let mut sum = Self::ONE;
        for n in (1..=28).rev() {
            sum = Self::ONE + r * sum / Self::from(f64::from(n));
        }
        sum.scale(k as i32)
    }

    /// The natural logarithm of a positive number, with a relative error under 1e-30.
    ///
    /// `self = 2^k m`, m within a factor of sqrt 2 around 1; `ln m = 2 artanh z`, `z = (m - 1) / (m + 1)`, and
    /// `|z| <= 0.172`, so the first neglected term of the odd series, `z^51 / 51`, is less than 1e-40.
    pub fn ln(self) -> Self {
        assert!(self.hi > 0.0, "the logarithm of {self:?}");
        let k = self.hi.log2().round();
        let m = self.scale(-(k as i32));
        let z = (m - Self::ONE) / (m + Self::ONE);
        let mut sum = Self::from(0.0);
        for n in (0..25).rev() {
            sum = sum * z * z + Self::ONE / Self::from(f64::from(2 * n + 1));
        }
        Self::LN_2 * Self::from(k) + (z * sum).scale(1)
    }

    /// `self^exponent` of a positive number, with a relative error under `2e-30 (1 + |exponent ln self|)`.
    pub fn pow(self, exponent: Self) -> Self {
        (exponent * self.ln()).exp()
    }
}

impl From<f64> for Double {
    fn from(hi: f64) -> Self {
        Self { hi, lo: 0.0 }
    }
}

impl Neg for Double {
    type Output = Self;

    fn neg(self) -> Self {
        Self { hi: -self.hi, lo: -self.lo }
    }
}

impl Add for Double {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (high, high_lost) = two_sum(self.hi, other.hi);
        let (low, low_lost) = two_sum(self.lo, other.lo);
        let (high, low) = fast_two_sum(high, high_lost + low);
        let (hi, lo) = fast_two_sum(high, low + low_lost);
        Self { hi, lo }
    }
}

impl Sub for Double {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Double {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let (product, lost) = two_product(self.hi, other.hi);
        let (hi, lo) = fast_two_sum(product, lost + (self.hi * other.lo + self.lo * other.hi));
        Self { hi, lo }
    }
}

impl Div for Double {
    type Output = Self;

    /// Long division: each digit is an f64, the quotient of what is left.
    fn div(self, other: Self) -> Self {
        let mut left = self;
        let mut quotient = Self::from(0.0);
        for _ in 0..3 {
            let digit = Self::from(left.hi / other.hi);
            left = left - digit * other;
            quotient = quotient + digit;
        }
        quotient
    }
}

#[cfg(test)]
mod tests {
    use super::Double;

    /// Literals as two f64 from 60-digit arithmetic; the error is relative.
    fn assert_near(x: Double, hi: f64, lo: f64, error: f64) {
        let exact = Double::sum(hi, lo);
        let off = ((x - exact) / exact).to_f64().abs();
        assert!(off <= error, "{x:?} is off {exact:?} by {off:e}");
    }

    #[test]
    fn exp_and_ln_know_thirty_digits() {
        assert_near(Double::ONE.exp(), std::f64::consts::E, 1.445_646_891_729_250_2e-16, 1e-30);
        assert_near(
            Double::from(10.0).ln(),
            std::f64::consts::LN_10,
            -2.170_756_223_382_249_4e-16,
            1e-30,
        );
        assert_near(Double::sum(1.0, 1e-20).ln(), 1e-20, -5e-41, 1e-30);
    }

    #[test]
    fn exp_undoes_ln() {
        for k in -40..40 {
            let x = Double::from(3.0).scale(k) / Double::from(7.0);
            assert!(((x.ln().exp() - x) / x).to_f64().abs() < 1e-29, "3/7 * 2^{k}");
        }
    }

    #[test]
    fn integers_around_an_integer() {
        let (below, above) = (Double::sum(3.0, -1e-20), Double::sum(3.0, 1e-20));
        assert_eq!((below.floor().to_f64(), below.ceil().to_f64()), (2.0, 3.0));
        assert_eq!((above.floor().to_f64(), above.ceil().to_f64()), (3.0, 4.0));
        assert_eq!((below.round().to_f64(), above.round().to_f64()), (3.0, 3.0));
    }
}
