//! What one f32 operation may do to a number, and what a chain of them may do to a sum.

/// u: `fl(x) = x (1 + d)`, `|d| <= u`, for f32 rounded to nearest (24 bits).
pub(crate) const U: f64 = 1.0 / 16_777_216.0;

/// The same for the f64 in which the oracle computes (53 bits).
pub(crate) const U64: f64 = f64::EPSILON / 2.0;

/// Absolute error of a product or fma whose result is subnormal: half of 2^-149, the smallest f32.
/// (Sums have none: a subnormal sum of two f32 is exact.)
pub(crate) const UNDERFLOW: f64 = 1.0 / ((1_u128 << 75) as f64 * (1_u128 << 75) as f64);

/// 2^-126, the smallest normal f32: the kernel's `exp2` flushes smaller results to 0.
pub(crate) const FLUSH: f64 = f32::MIN_POSITIVE as f64;

/// 2^127. Below it an f32 sum with a relative error under 1 is safe from overflow.
pub(crate) const OVERFLOW: f64 = (1_u128 << 127) as f64;

/// Error of the kernel's `ln`, relative, in units of [`U`]: 1 ulp (libm's `logf` promises it).
pub(crate) const LN_ERROR: f64 = 2.0;

/// `gamma_n = n u / (1 - n u)`: n factors `(1 + d)`, `|d| <= u`, differ from 1 by at most this.
/// (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1.) Infinite when n u >= 1.
pub(crate) fn gamma(n: usize) -> f64 {
    let nu = n as f64 * U;
    if nu < 1.0 { nu / (1.0 - nu) } else { f64::INFINITY }
}

/// A running error analysis of one accumulator (Higham, chapter 3).
///
/// The kernel holds `x_hat`; in exact arithmetic it would hold `exact`. The terms that were summed are
/// themselves known only to some `slack`, so that, always,
/// `|x_hat - exact| <= slack + error`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    /// The partial sum in exact arithmetic.
    pub(crate) exact: f64,
    /// Sum of the errors that the terms had before they were added.
    pub(crate) slack: f64,
    /// Sum of the rounding errors made here.
    pub(crate) error: f64,
}

impl Sum {
    /// Adds the product of two f32. It is `term` in exact arithmetic and the kernel's is within `slack` of it
    /// before it is rounded.
    ///
    /// fused: `x = fl(x + product)`. Unfused: `x = fl(x + fl(product))`, and `0 + y` is exact.
    #[inline(always)]
    pub(crate) fn add_product(&mut self, fused: bool, first: bool, term: f64, slack: f64) {
        if !fused {
            self.error += U * (term.abs() + slack);
        }
        self.exact += term;
        self.slack += slack;
        if fused || !first {
            self.round();
        }
    }

    /// Adds a number, `x = fl(x + term)`; `0 + y` is exact.
    pub(crate) fn add(&mut self, first: bool, term: f64, slack: f64) {
        self.exact += term;
        self.slack += slack;
        if !first {
            self.round();
        }
    }

    /// Adds another accumulator.
    pub(crate) fn join(&mut self, first: bool, other: &Sum) {
        self.error += other.error;
        self.add(first, other.exact, other.slack);
    }

    /// One rounding. It costs at most `u |x_hat|`, with the *rounded* `x_hat`, and
    /// `|x_hat| <= |exact| + slack + error` where `error` includes this rounding: solve for it.
    #[inline(always)]
    pub(crate) fn round(&mut self) {
        self.error = (self.error + U * (self.exact.abs() + self.slack)) * (1.0 / (1.0 - U));
    }
}
