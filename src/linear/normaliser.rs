//! What normalises: the sum of all weights of a query, and how well it is known.
//!
//! ```text
//! z = a z + k        o = q^T S / (q^T z + eps)        kappa = (|q|^T z_abs + |eps|) / |q^T z + eps|
//! ```
//! Features that are never negative have a kappa of 1, and an error of some ulps whatever they are. Signed ones may cancel: the
//! error of the quotient grows by kappa, and where `kappa gamma_(n + d + 2)` reaches 1 nothing is known of it
//! (`gamma_n = n u / (1 - n u)`, u = 2^-24, after n tokens; Higham, Accuracy and Stability of Numerical Algorithms).

use super::dot::{dot, dot_of_magnitudes};

/// How well the divisors of normalised attention are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditioning {
    worst: f32,
    uncertified: Option<([usize; 3], f32)>,
}

impl Conditioning {
    pub(crate) const BEST: Conditioning = Conditioning { worst: 1.0, uncertified: None };

    /// The largest condition number of all rows; 1 where nothing is normalised.
    #[must_use]
    pub const fn worst(&self) -> f32 {
        self.worst
    }

    /// The first row (sequence, token, output head) whose output is not known to have a correct digit, and its condition
    /// number: its divisor is small against the rounding errors of what was summed.
    #[must_use]
    pub const fn uncertified(&self) -> Option<([usize; 3], f32)> {
        self.uncertified
    }

    /// That of two shares of the work.
    #[must_use]
    pub fn and(self, other: Conditioning) -> Conditioning {
        let worst = worse(self.worst, other.worst);
        let uncertified = match (self.uncertified, other.uncertified) {
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        };
        Conditioning { worst, uncertified }
    }

    /// Rows come state after state, and so not in their order.
    pub(crate) fn note(&mut self, row: [usize; 3], divisor: &Divisor) {
        let uncertified = (!divisor.is_certified).then_some((row, divisor.condition));
        *self = self.and(Conditioning { worst: divisor.condition, uncertified });
    }
}

/// NaN is the worst of all, and stays.
fn worse(a: f32, b: f32) -> f32 {
    if a.is_nan() || a >= b { a } else { b }
}

/// What normalises the outputs of a state.
pub(crate) struct Normaliser<'a> {
    z: &'a mut [f32],
    magnitudes: &'a mut [f32],
    tokens: &'a mut [f32],
    pub(crate) eps: f32,
}

/// What an output is divided by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Divisor {
    pub(crate) value: f32,
    pub(crate) condition: f32,
    is_certified: bool,
}

impl<'a> Normaliser<'a> {
    /// From `[z, magnitudes, tokens]` of `d_k`, `d_k` and 1 floats.
    pub(crate) fn new(floats: &'a mut [f32], d_k: usize, eps: f32) -> Option<Self> {
        let (z, rest) = floats.split_at_mut_checked(d_k)?;
        let (magnitudes, tokens) = rest.split_at_mut_checked(d_k)?;
        Some(Normaliser { z, magnitudes, tokens, eps })
    }

    pub(crate) fn learn(&mut self, decay: &[f32], key: &[f32]) {
        let sums = self.z.iter_mut().zip(self.magnitudes.iter_mut());
        for ((z, magnitude), (a, k)) in sums.zip(decay.iter().zip(key)) {
            *z = *z * a + k;
            *magnitude = *magnitude * a + k.abs();
        }
        // Stays at 2^24, where nothing is certified any more.
        self.tokens.iter_mut().for_each(|tokens| *tokens += 1.0);
    }

    pub(crate) fn divisor(&self, query: &[f32]) -> Divisor {
        let value = dot(query, self.z) + self.eps;
        let magnitude = dot_of_magnitudes(query, self.magnitudes) + self.eps.abs();
        if magnitude == 0.0 {
            return Divisor { value, condition: 1.0, is_certified: true };
        }
        let condition = magnitude / value.abs();
        let tokens = self.tokens.first().copied().unwrap_or(0.0);
        #[expect(clippy::cast_precision_loss, reason = "a bound on an error")]
        let errors = (tokens + (query.len() + 2) as f32) * f32::EPSILON / 2.0;
        // kappa gamma < 1, with NaN on the side of doubt.
        let is_certified = errors < 1.0 && condition * errors < 1.0 - errors;
        Divisor { value, condition, is_certified }
    }
}

/// Divides a row; a divisor of nothing gives zeros.
pub(crate) fn divide(row: &mut [f32], divisor: f32) {
    if divisor.abs() < f32::MIN_POSITIVE {
        return row.fill(0.0);
    }
    row.iter_mut().for_each(|x| *x /= divisor);
}

#[cfg(test)]
mod tests {
    use super::Normaliser;

    #[test]
    fn nothing_is_known_of_a_sum_of_as_many_tokens_as_there_are_significands() {
        for (tokens, is_certified) in [(0.0, true), (1e6, true), (16_777_300.0, false)] {
            let mut floats = [1.0, 2.0, 1.0, 2.0, tokens];
            let normaliser = Normaliser::new(&mut floats, 2, 0.0).unwrap();
            let divisor = normaliser.divisor(&[3.0, 1.0]);
            assert_eq!((divisor.value, divisor.condition), (5.0, 1.0));
            assert_eq!(divisor.is_certified, is_certified, "{tokens}");
        }
        // Sums that cancel: of those less is known.
        let mut floats = [1.0, -1.0, 1e6, 1e6, 9.0];
        let divisor = Normaliser::new(&mut floats, 2, 0.0).unwrap().divisor(&[1.0, 0.5]);
        assert_eq!((divisor.condition, divisor.is_certified), (3e6, false));
    }
}
