//! Section 3: what the additions do.

use super::weights::{Passage, Weights};
use crate::arithmetic::Arithmetic;
use crate::rounding::{Sum, U64, UNDERFLOW, gamma};

/// `F_l` and `F_o`.
pub(super) struct Sums {
    pub(super) l: f64,
    pub(super) o: Vec<f64>,
}

impl Sums {
    /// Counts the roundings that each product takes part in.
    pub(super) fn gamma(
        arithmetic: &Arithmetic,
        weights: &Weights,
        passage: &Passage,
        values: &[&[f32]],
    ) -> Self {
        let merges = arithmetic.splits - 1;
        let mut l = 0.0;
        let mut o = vec![0.0; values[0].len()];
        for (t, tile) in passage.tiles.iter().enumerate() {
            let joins = passage.tiles.len() - t.max(1);
            for n in tile.clone() {
                let additions = (tile.end - n).min(tile.len() - 1); // 0 + x is exact
                let products = if arithmetic.fused { merges } else { passage.rescales[n] };
                let later = joins + merges + products;
                let of_product = if arithmetic.fused { tile.end - n } else { additions + 1 };
                let w = weights.w[n] + weights.error[n];
                l += w * gamma(additions + later);
                let error = w * gamma(of_product + later);
                for (o, &v) in o.iter_mut().zip(values[n]) {
                    *o += error * f64::from(v).abs();
                }
            }
        }
        Self { l, o }.with_underflow_and_own(arithmetic, weights, passage, values)
    }

    /// Follows the partial sums.
    pub(super) fn running(
        arithmetic: &Arithmetic,
        weights: &Weights,
        passage: &Passage,
        values: &[&[f32]],
    ) -> Self {
        let fused = arithmetic.fused;
        let v_dim = values[0].len();
        let mut l = Sum::default();
        let mut o = vec![Sum::default(); v_dim];
        for (t, tile) in passage.tiles.iter().enumerate() {
            let mut l_part = Sum::default();
            let mut part = vec![Sum::default(); v_dim];
            for n in tile.clone() {
                let first = n == tile.start;
                let (w, error) = (weights.w[n], weights.error[n]);
                l_part.add(first, w, error);
                for (part, &v) in part.iter_mut().zip(values[n]) {
                    let v = f64::from(v);
                    part.add_product(fused, first, w * v, error * v.abs());
                }
            }
            let sums = std::iter::once((&mut l, &l_part)).chain(o.iter_mut().zip(&part));
            for (sum, part) in sums {
                if !fused && passage.raises[t] {
                    sum.round(); // sum * corr
                }
                sum.join(t == 0, part);
            }
        }
        let o = o.iter().map(|o| o.error).collect();
        Self { l: l.error, o }.with_underflow_and_own(arithmetic, weights, passage, values)
    }

    /// Adds 2^-150 for each product, and the sums of the oracle itself (section 7).
    fn with_underflow_and_own(
        mut self,
        arithmetic: &Arithmetic,
        weights: &Weights,
        passage: &Passage,
        values: &[&[f32]],
    ) -> Self {
        let products = values.len() + passage.tiles.len() + 2 * (arithmetic.splits - 1);
        let underflow = UNDERFLOW * products as f64 * weights.unit;
        let own = U64 * (values.len() + 2) as f64;
        self.l += underflow + own;
        for (w, v) in weights.w.iter().zip(values) {
            for (o, &v) in self.o.iter_mut().zip(*v) {
                *o += own * w * f64::from(v).abs();
            }
        }
        self.o.iter_mut().for_each(|o| *o += underflow);
        self
    }
}
