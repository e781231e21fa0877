//! The sum of keys, and outputs divided by what a query finds in it.

use super::entries::Row;
use super::walk::{Decay, LOST};
use crate::rounding::{FLUSH, OVERFLOW, U, gamma};

/// The sum of keys.
pub(super) struct Sums {
    pub(super) z: Vec<f64>,
    pub(super) magnitudes: Vec<f64>,
    pub(super) error: Vec<f64>,
}

impl Sums {
    /// Two roundings a number, or fewer.
    pub(super) fn learn(&mut self, decay: &Decay, k: &Row) {
        for (c, (a, eps)) in decay.a.iter().zip(&decay.eps).enumerate() {
            let before = self.z[c].abs() + self.error[c];
            self.z[c] = a * self.z[c] + k.x[c];
            self.magnitudes[c] = a * self.magnitudes[c] + k.x[c].abs();
            let decayed = a * (self.error[c] + (eps + U) * before) + 2.0 * FLUSH * before;
            let error = (decayed + k.error[c] + LOST + U * self.z[c].abs()) * (1.0 + 4.0 * U);
            // Once beyond the range, what comes back is not known; nor is what an infinite factor makes of nothing.
            let reached = a * before + k.x[c].abs() + error;
            let is_within = *a <= OVERFLOW && reached <= OVERFLOW;
            self.error[c] = if is_within { error } else { f64::INFINITY };
        }
    }

    /// Divides what was read, and its bounds. The condition number.
    pub(super) fn divide(&self, q: &Row, eps: f64, read: &mut [(f64, f64)]) -> f64 {
        let (mut divisor, mut magnitude, mut error, mut most) = (0.0, 0.0, 0.0, eps.abs());
        for (c, (x, e)) in q.x.iter().zip(&q.error).enumerate() {
            divisor += x * self.z[c];
            magnitude += x.abs() * self.magnitudes[c];
            let z = self.z[c].abs() + self.error[c];
            error += (x.abs() + e) * self.error[c] + e * z;
            error += gamma(q.x.len() / 16 + 8) * (x.abs() + e) * z;
            most += (1.0 + x.abs() + e) * z;
        }
        divisor += eps;
        error += U * (divisor.abs() + error) * 1.01 + LOST * q.x.len() as f64;
        error = if most <= OVERFLOW { error } else { f64::INFINITY };
        let is_nothing = divisor.abs() < f64::from(f32::MIN_POSITIVE);
        for (o, bound) in read {
            // Keys beyond the range are infinite, and not nothing to a query of zeros.
            if magnitude == 0.0 && divisor == 0.0 && error.is_finite() {
                (*o, *bound) = (0.0, 0.0);
                continue;
            }
            let quotient = if is_nothing { 0.0 } else { *o / divisor };
            let apart = divisor.abs() - error;
            *bound = if apart > 2.0 * f64::from(f32::MIN_POSITIVE) {
                (*bound + quotient.abs() * error) / apart * (1.0 + 4.0 * U)
                    + U * quotient.abs() * 1.01
            } else {
                f64::INFINITY
            };
            *o = quotient;
        }
        if magnitude + eps == 0.0 { 1.0 } else { (magnitude + eps) / divisor.abs() }
    }
}
