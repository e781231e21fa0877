//! Section 1: how wrong a score can be.

use super::{Form, TWO_ROUNDINGS};
use crate::arithmetic::{Arithmetic, Products};
use crate::rounding::{FLUSH, OVERFLOW, Sum, Term, U64, UNDERFLOW, gamma};

/// The scores of one query.
pub(super) struct Scores<'a> {
    pub(super) arithmetic: &'a Arithmetic,
    pub(super) form: Form,
    /// `|scale| log2(e)`.
    pub(super) c: f64,
    /// `[head_dim]`.
    pub(super) q: &'a [f32],
}

impl Scores<'_> {
    /// `D_j` of every visible key, `k` one row `[head_dim]` for each, in units of base-2 exponents. `None` if a
    /// score may overflow.
    pub(super) fn errors(&self, k: &[&[f32]]) -> Option<Vec<f64>> {
        let Self { c, q, .. } = *self;
        let error = match self.arithmetic.products {
            Products::F32 => {
                let scaled = q.iter().map(|&q| c * f64::from(q).abs());
                below_overflow(scaled.fold(c, f64::max))?;
                Self::of_scaled_query
            }
            Products::Bf16 => {
                below_overflow(c)?;
                Self::of_pairs
            }
        };
        k.iter().map(|k| error(self, k)).collect()
    }

    /// c is in the query: `dot(q', k)`.
    fn of_scaled_query(&self, k: &[f32]) -> Option<f64> {
        let Self { c, q, .. } = *self;
        let d = q.len();
        let k_size: f64 = k.iter().map(|&k| f64::from(k).abs()).sum();
        let size = size(q, k);
        let rounding = match self.form {
            Form::Gamma => gamma(d + 2) * c * size,
            Form::Running => self.running_error_of_scaled_query(k),
        };
        // 2^-150 once for c_hat, once a channel for q' and once for the chain; doubled for what follows.
        let underflow = 2.0 * UNDERFLOW * (size + k_size + d as f64);
        let error = rounding + underflow + own(d) * c * size;
        below_overflow(c * size + error)?;
        Some(error)
    }

    fn running_error_of_scaled_query(&self, k: &[f32]) -> f64 {
        let mut s = Sum::default();
        for (channel, (&q, &k)) in self.q.iter().zip(k).enumerate() {
            let exact = self.c * f64::from(q) * f64::from(k);
            // c_hat and q' have been rounded before.
            let slack = TWO_ROUNDINGS * exact.abs();
            s.add_product(self.arithmetic.fused, channel == 0, Term { exact, slack });
        }
        s.slack + s.error
    }

    /// c comes last: `fl(dot(q, k) * c_hat)`, the dot product in pairs of channels (section 9).
    fn of_pairs(&self, k: &[f32]) -> Option<f64> {
        let Self { c, q, .. } = *self;
        let d = q.len();
        let pairs = || q.iter().zip(k).map(|(&q, &k)| (q, k));
        let exact = pairs().map(|(q, k)| f64::from(q) * f64::from(k));
        let read: Vec<f64> = pairs().map(|(q, k)| self.read(q) * self.read(k)).collect();
        let lost: f64 = exact.clone().zip(&read).map(|(exact, read)| (exact - read).abs()).sum();
        let (size, exact) = (size(q, k), exact.sum::<f64>().abs());
        let rounding = match self.form {
            Form::Gamma => gamma(d.saturating_sub(1)) * size,
            Form::Running => running_error_of_pairs(&read),
        };
        let flushed = FLUSH * d as f64 * (1.0 + gamma(d));
        let dot = rounding + flushed + lost;
        // c_hat and the product with it.
        let last = TWO_ROUNDINGS * (exact + dot);
        let underflow = 2.0 * UNDERFLOW * (size + dot + 1.0);
        let error = c * (dot + last) + underflow + own(d) * c * size;
        below_overflow(size + dot)?;
        below_overflow(c * size + error)?;
        Some(error)
    }

    fn read(&self, x: f32) -> f64 {
        self.arithmetic.products.read(x)
    }
}

/// `sum_c |q_c k_c|`.
fn size(q: &[f32], k: &[f32]) -> f64 {
    q.iter().zip(k).map(|(&q, &k)| (f64::from(q) * f64::from(k)).abs()).sum()
}

/// The rounding errors of a sum of products in pairs (0, 1), (2, 3), ...; an odd last one has 0 for a partner.
fn running_error_of_pairs(products: &[f64]) -> f64 {
    let mut s = Sum::default();
    let exactly = |exact| Term { exact, slack: 0.0 };
    for (pair, products) in products.chunks(2).enumerate() {
        match *products {
            [one, other] => {
                s.add_before(pair == 0, exactly(one), exactly(other));
                s.add(false, exactly(other));
            }
            [one] => s.add(pair == 0, exactly(one)),
            _ => unreachable!("chunks of 1 or 2"),
        }
    }
    s.error
}

/// Section 7, relative to `sum |c q_c k_c|`.
fn own(d: usize) -> f64 {
    U64 * (2 * d + 8) as f64
}

/// Section 8. NaN is not below.
fn below_overflow(x: f64) -> Option<()> {
    (x < OVERFLOW).then_some(())
}
