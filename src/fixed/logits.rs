//! From sums of products of codes to weights: what a plan knows about its factor.

use super::exp2::{FRACTION_BITS, weight};
use super::factor::Factor;
use super::sums::by_16_bits;
use crate::error::Error;

/// A logit `t = s mantissa / 2^shift`, in units of log2, of a score `s` of at most `2^30`, and the weights `2^(t - m)`.
///
/// Only differences of scores within a tile are multiplied for each key: `m - t_j = (m - t_top) + (s_top - s_j) mantissa / 2^shift`.
/// Those that count are small, whatever the factor is, and the whole of 32 bits is used for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logits {
    mantissa: u32,
    /// Bits of `s mantissa` below 1.
    shift: u32,
    /// Bits that a sum of products has dropped.
    pub(super) dropped: u32,
    /// Beyond this difference of scores a weight is less than half a unit.
    reach: u32,
    /// Differences are shifted up by so much before they are multiplied, as far as `reach` allows,
    up: u32,
    /// and products down by so much, to `FRACTION_BITS`.
    down: u32,
    weight_bits: u32,
}

impl Logits {
    /// For codes of so many magnitude bits, and heads of `head_dim` channels.
    pub(super) const fn new(
        factor: Factor,
        head_dim: usize,
        magnitude_bits: u32,
        weight_bits: u32,
    ) -> Result<Self, Error> {
        let Factor { mantissa, shift, .. } = factor;
        // |dot| <= head_dim 2^(2 V); what is beyond 30 bits is dropped.
        let dim_bits = usize::BITS - (head_dim.saturating_sub(1)).leading_zeros();
        let dropped = (2 * magnitude_bits + dim_bits).saturating_sub(30);
        let most = ((head_dim as u64) << (2 * magnitude_bits)).div_ceil(1 << dropped);
        // A logit must stay below 2^30.
        let fits = shift > dropped && (most * mantissa as u64) >> (shift - dropped) < 1 << 30;
        if !fits {
            let scale_bits = factor.scale_bits();
            return Err(Error::Logits { head_dim, scale_bits });
        }
        let shift = shift - dropped;
        // (weight_bits + 1) 2^shift / mantissa, below 2^45: differences reach 2^31 at most.
        let reach = ((weight_bits as u64 + 1) << shift) / mantissa as u64;
        let reach = if reach > u32::MAX as u64 { u32::MAX } else { reach as u32 };
        // Then reach * 2^up < 2^32, and a product of it is (weight_bits + 1) 2^(shift + up - 16).
        let up = (reach | 1).leading_zeros();
        let down = (shift + up).saturating_sub(16 + FRACTION_BITS);
        Ok(Logits { mantissa, shift, dropped, reach, up, down, weight_bits })
    }

    /// The smallest whole number that is not less than the logit of a score, and how much less that is, in units of
    /// `2^-FRACTION_BITS`.
    #[inline]
    pub(super) fn ceil(&self, s: i32) -> (i32, u32) {
        let t = i64::from(s) * i64::from(self.mantissa);
        let m = -((-t) >> self.shift);
        let rest = (m << self.shift) - t;
        let rest = (rest << FRACTION_BITS.saturating_sub(self.shift))
            >> self.shift.saturating_sub(FRACTION_BITS);
        (m as i32, rest as u32)
    }

    /// Turns scores into weights. `rest` is what [`Logits::ceil`] gave for the largest one, `top`. Returns their sum.
    #[inline(never)]
    pub(super) fn weigh(&self, scores: &mut [i32], top: i32, rest: u32) -> i32 {
        let mut sum = 0;
        for s in scores {
            let less = top.abs_diff(*s);
            *s = if less > self.reach {
                0
            } else {
                let less = by_16_bits(less << self.up, self.mantissa) >> self.down;
                weight(rest + less, self.weight_bits)
            };
            sum += *s;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of scores over the whole range, near the top and far below it, beside 2^(t - m).
    fn assert_weights(factor: Factor, head_dim: usize, [magnitude, weight]: [u32; 2]) {
        let Ok(logits) = Logits::new(factor, head_dim, magnitude, weight) else { return };
        let worth = f64::from(logits.mantissa) * (-f64::from(logits.shift)).exp2();
        let most = ((head_dim as u64) << (2 * magnitude)) >> logits.dropped;
        let most = i32::try_from(most).unwrap();
        let mut random = fastrand::Rng::with_seed(u64::from(logits.mantissa));
        for top in [most, -most, 0, 1, -1, random.i32(-most..=most), random.i32(-most..=most)] {
            let (m, rest) = logits.ceil(top);
            let below = f64::from(m) - f64::from(top) * worth;
            assert!((0.0..1.0).contains(&below), "{logits:?} {top}: {m}");
            assert!((f64::from(rest) * (-24_f64).exp2() - below).abs() < 2e-7, "{logits:?} {top}");
            let near = |part: f64| top.saturating_sub((part * f64::from(logits.reach)) as i32);
            let mut scores = [top, near(0.01), near(0.1), near(0.5), near(1.0), -most];
            let exact =
                scores.map(|s| (f64::from(s) * worth - f64::from(m) + f64::from(weight)).exp2());
            let sum = logits.weigh(&mut scores, top, rest);
            assert_eq!(sum, scores.iter().sum::<i32>());
            for (got, exact) in scores.into_iter().zip(exact) {
                let error = (f64::from(got) - exact).abs();
                assert!(error <= 0.5 + 1.32e-5 * exact, "{logits:?} {top}: {got} {exact}");
            }
        }
    }

    #[test]
    fn weights_are_powers_of_2_whatever_the_factor_is() {
        let mut scale = 6.4e-13_f32;
        while scale < 177.0 {
            let factor = Factor::new(scale).unwrap();
            for head_dim in [1, 2, 3, 32, 33, 64, 80, 576] {
                assert_weights(factor, head_dim, [7, 19]);
                assert_weights(factor, head_dim, [15, 16]);
            }
            scale *= 1.371;
        }
    }
}
