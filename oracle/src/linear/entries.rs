//! Queries and keys as the recurrence sees them, and how far the kernel's are from that.

use super::{Arithmetic, Features, Problem};
use crate::rounding::{FLUSH, OVERFLOW, U, UNDERFLOW, gamma};

/// A row: its numbers, and the error of each.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) x: Vec<f64>,
    pub(super) error: Vec<f64>,
}

/// Largest relative error of the kernel's `e^x`, and the absolute one where it flushes to 0.
pub(super) fn exp_error(x: f64, fused: bool) -> f64 {
    let exp2 = if fused { 2.0 * 0.7765 } else { 2.0 * 1.0606 };
    // The product with log2(e), and above 0 a subtraction: as many roundings of an exponent of that size.
    let product = if x > 0.0 { 4.0 } else { 2.0 } * x.abs().min(1e6);
    (exp2 + product) * U * (1.0 + 1e-4)
}

impl Row {
    /// Nothing is known of what leaves the range of f32.
    fn certify_range(&mut self) {
        for (x, error) in self.x.iter().zip(&mut self.error) {
            if x.abs() + *error >= OVERFLOW {
                *error = f64::INFINITY;
            }
        }
    }
}

impl Problem<'_> {
    /// The query of a token, scaled.
    pub(super) fn query(&self, i: usize, arithmetic: &Arithmetic) -> Row {
        let mut row = self.mapped(&self.q[i * self.d_k..(i + 1) * self.d_k], arithmetic);
        // Beyond the range before the scale brings it back.
        row.certify_range();
        for (x, error) in row.x.iter_mut().zip(&mut row.error) {
            *error = *error * self.scale.abs() * (1.0 + 4.0 * U)
                + gamma(2) * (*x * self.scale).abs()
                + UNDERFLOW;
            *x *= self.scale;
        }
        row.certify_range();
        row
    }

    /// The key of a token.
    pub(super) fn key(&self, i: usize, arithmetic: &Arithmetic) -> Row {
        let mut row = self.mapped(&self.k[i * self.d_k..(i + 1) * self.d_k], arithmetic);
        row.certify_range();
        row
    }

    fn mapped(&self, row: &[f32], arithmetic: &Arithmetic) -> Row {
        let (x, error): (Vec<f64>, Vec<f64>) =
            row.iter().map(|x| self.features.of(f64::from(*x), arithmetic.fused)).unzip();
        let Some(eps) = self.l2 else { return Row { x, error } };
        let squares = x.iter().map(|x| x * x).sum::<f64>() + f64::from(eps);
        let length = squares.sqrt();
        let spoilt = squares * 2.0 > OVERFLOW || (squares > 0.0 && squares < 1e-30);
        // |sum^ - sum| <= 2 |x| |error| + gamma sum: half of it, relative, is in the length.
        let inner = x.iter().zip(&error).map(|(x, e)| (2.0 * x.abs() + e) * e).sum::<f64>();
        let relative = 0.5 * (inner / squares + gamma(x.len() / 16 + 8)) * 1.01 + gamma(3);
        let error = x
            .iter()
            .zip(&error)
            .map(|(x, error)| {
                let error = (error + x.abs() * relative) / length * 1.01 + UNDERFLOW;
                if spoilt { f64::INFINITY } else { error }
            })
            .collect();
        Row { x: x.iter().map(|x| x / length).collect(), error }
    }
}

impl Features {
    /// A feature, and how far the kernel's may be from it.
    pub(super) fn of(self, x: f64, fused: bool) -> (f64, f64) {
        let exp = |x: f64| (x.exp(), x.exp() * exp_error(x, fused) + FLUSH);
        // Not `max`, which would turn NaN into 0.
        let rectified = if x < 0.0 { 0.0 } else { x };
        match self {
            Features::Identity => (x, 0.0),
            Features::EluPlusOne if x > 0.0 => (x + 1.0, U * (x + 1.0)),
            Features::EluPlusOne | Features::Exp => exp(x),
            Features::Relu => (rectified, 0.0),
            Features::SquaredRelu => (rectified * rectified, U * rectified * rectified + UNDERFLOW),
        }
    }
}
