//! What one operation may do to a number, and what a chain of them may do to a sum.

/// u: `fl(x) = x (1 + d)`, `|d| <= u`, for f32 rounded to nearest (24 bits).
pub(crate) const U: f64 = 1.0 / 16_777_216.0;

/// The same for the f64 in which the oracle computes (53 bits).
pub(crate) const U64: f64 = f64::EPSILON / 2.0;

/// Absolute error of a product or fma whose result is subnormal: half of 2^-149, the smallest f32.
/// (Sums have none: a subnormal sum of two f32 is exact.)
pub(crate) const UNDERFLOW: f64 = 1.0 / ((1_u128 << 75) as f64 * (1_u128 << 75) as f64);

/// 2^-126, the smallest normal f32: the kernel's `exp2` flushes smaller results to 0, and so do products of bf16 pairs.
pub(crate) const FLUSH: f64 = f32::MIN_POSITIVE as f64;

/// 2^127. Below it an f32 sum with a relative error under 1 is safe from overflow.
pub(crate) const OVERFLOW: f64 = (1_u128 << 127) as f64;

/// Error of the kernel's `ln`, relative, in units of u = 2^-24: 1 ulp. libm's `logf` promises it, and `certify` measures
/// it over every positive f32.
pub const LN_ERROR: f64 = 2.0;

/// `gamma_n = n u / (1 - n u)`: n factors `(1 + d)`, `|d| <= u`, differ from 1 by at most this.
/// (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1.) Infinite when n u >= 1.
pub(crate) fn gamma(n: usize) -> f64 {
    let nu = n as f64 * U;
    if nu < 1.0 { nu / (1.0 - nu) } else { f64::INFINITY }
}

/// One summand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    /// What it is in exact arithmetic.
    pub(crate) exact: f64,
    /// How far the kernel's may be from that.
    pub(crate) slack: f64,
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
    /// Adds the product of two f32; its slack is what it has before it is rounded.
    ///
    /// fused: `x = fl(x + product)`. Unfused: `x = fl(x + fl(product))`, and `0 + y` is exact.
    #[inline(always)]
    pub(crate) fn add_product(&mut self, fused: bool, first: bool, term: Term) {
        if !fused {
            self.error += U * (term.exact.abs() + term.slack);
        }
        self.exact += term.exact;
        self.slack += term.slack;
        if fused || !first {
            self.round();
        }
    }

    /// Adds a number, `x = fl(x + term)`; `0 + y` is exact.
    pub(crate) fn add(&mut self, first: bool, term: Term) {
        self.exact += term.exact;
        self.slack += term.slack;
        if !first {
            self.round();
        }
    }

    /// Adds a product that may share an instruction with the `next` one.
    ///
    /// What such an instruction holds between its two roundings is not promised: the sum with the one, the sum with
    /// the other, or the two products without the sum. The largest is charged to this rounding, and the next
    /// addition charges the sum of all. If the products do not share an instruction, that is enough as well. Before
    /// the first there is nothing to be rounded: either a product alone is exact, or the sum of both, already
    /// rounded, is added to 0.
    #[inline(always)]
    pub(crate) fn add_before(&mut self, first: bool, term: Term, next: Term) {
        let next_first = (self.exact + next.exact).abs() + self.slack + next.slack;
        let both_first = (term.exact + next.exact).abs() + term.slack + next.slack;
        self.exact += term.exact;
        self.slack += term.slack;
        if !first {
            let this_first = self.exact.abs() + self.slack;
            self.round_at(this_first.max(next_first).max(both_first));
        }
    }

    /// Adds another accumulator.
    pub(crate) fn join(&mut self, first: bool, other: &Sum) {
        self.error += other.error;
        self.add(first, Term { exact: other.exact, slack: other.slack });
    }

    /// One rounding of the sum.
    #[inline(always)]
    pub(crate) fn round(&mut self) {
        self.round_at(self.exact.abs() + self.slack);
    }

    /// One rounding of a number that is at most `magnitude` but for the rounding errors so far. It costs at most
    /// `u |x_hat|`, with the *rounded* `x_hat`, and `|x_hat| <= magnitude + error` where `error` includes this
    /// rounding: solve for it.
    #[inline(always)]
    fn round_at(&mut self, magnitude: f64) {
        self.error = (self.error + U * magnitude) * (1.0 / (1.0 - U));
    }
}
