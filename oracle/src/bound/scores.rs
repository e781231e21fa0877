//! Section 1: how wrong a score can be.

use super::{Form, TWO_ROUNDINGS};
use crate::rounding::{OVERFLOW, Sum, U64, UNDERFLOW, gamma};

/// `D_j` of every visible key, in units of base-2 exponents. `None` if a score may overflow.
///
/// `c = |scale| log2(e)`; `q [head_dim]`; `k` one row `[head_dim]` for each key.
pub(super) fn score_errors(
    c: f64,
    q: &[f32],
    k: &[&[f32]],
    fused: bool,
    form: Form,
) -> Option<Vec<f64>> {
    let largest = q.iter().map(|&q| c * f64::from(q).abs()).fold(c, f64::max);
    if largest.is_nan() || largest >= OVERFLOW {
        return None;
    }
    k.iter().map(|k| score_error(c, q, k, fused, form)).collect()
}

fn score_error(c: f64, q: &[f32], k: &[f32], fused: bool, form: Form) -> Option<f64> {
    let d = q.len();
    let k_size: f64 = k.iter().map(|&k| f64::from(k).abs()).sum();
    let products = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k));
    let size: f64 = products.map(f64::abs).sum();
    let rounding = match form {
        Form::Gamma => gamma(d + 2) * c * size,
        Form::Running => running_error(c, q, k, fused),
    };
    // 2^-150 once for c_hat, once a channel for q' and once for the chain; doubled for what follows.
    let underflow = 2.0 * UNDERFLOW * (size + k_size + d as f64);
    let own = U64 * (2 * d + 8) as f64 * c * size;
    let error = rounding + underflow + own;
    (c * size + error < OVERFLOW).then_some(error)
}

/// The rounding errors of `c <q, k>`, from its partial sums.
fn running_error(c: f64, q: &[f32], k: &[f32], fused: bool) -> f64 {
    let mut s = Sum::default();
    for (channel, (&q, &k)) in q.iter().zip(k).enumerate() {
        let term = c * f64::from(q) * f64::from(k);
        // c_hat and q' have been rounded before.
        s.add_product(fused, channel == 0, term, TWO_ROUNDINGS * term.abs());
    }
    s.slack + s.error
}
