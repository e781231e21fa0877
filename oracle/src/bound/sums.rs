//! Section 3: what the additions do.

use super::Values;
use super::weights::{Passage, Weights};
use crate::arithmetic::{Arithmetic, Products};
use crate::rounding::{FLUSH, Sum, U64, UNDERFLOW, gamma};

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
        values: &Values,
    ) -> Self {
        let merges = arithmetic.splits - 1;
        let mut l = 0.0;
        let mut o = vec![0.0; values.rows[0].len()];
        for (t, tile) in passage.tiles.iter().enumerate() {
            let joins = passage.tiles.len() - t.max(1);
            for n in tile.clone() {
                let additions = (tile.end - n).min(tile.len() - 1); // 0 + x is exact
                let products = if arithmetic.fused { merges } else { passage.rescales[n] };
                let later = joins + merges + products;
                let of_product = match arithmetic.products {
                    // It may share an instruction with the key before it, and both roundings with that.
                    Products::Bf16 => (tile.end - n + 1).min(tile.len() - 1),
                    Products::F32 if arithmetic.fused => tile.end - n,
                    Products::F32 => additions + 1,
                };
                let w = weights.w[n] + weights.error[n];
                l += w * gamma(additions + later);
                // Section 12: each tile from its own on adds once more.
                let beside = if values.beside.is_some() { passage.tiles.len() - t } else { 0 };
                let error = w * gamma(of_product + later + beside);
                let error_beside = w * gamma(2 * tile.len() + later + beside);
                for (c, (o, &v)) in o.iter_mut().zip(values.rows[n]).enumerate() {
                    *o += error * f64::from(v).abs() + error_beside * values.beside(n, c).abs();
                }
            }
        }
        let mut sums =
            Self { l, o }.with_underflow_and_own(arithmetic, weights, passage, values.rows);
        if values.beside.is_some() {
            // As many products again, and as many terms of the oracle's own sum.
            let (keys, joins) = (values.rows.len(), passage.tiles.len() + 2 * merges);
            let unit = weights.unit * (1.0 + gamma(2 * keys + 2 * joins));
            for (c, o) in sums.o.iter_mut().enumerate() {
                let size =
                    |n: usize| f64::from(values.rows[n][c]).abs() + values.beside(n, c).abs();
                let size = (0..keys).map(|n| weights.w[n] * size(n)).sum::<f64>();
                *o += UNDERFLOW * keys as f64 * unit + U64 * (2 * keys + 2) as f64 * size;
            }
        }
        sums
    }

    /// Follows the partial sums.
    pub(super) fn running(
        arithmetic: &Arithmetic,
        weights: &Weights,
        passage: &Passage,
        values: &[&[f32]],
    ) -> Self {
        let products = arithmetic.products;
        let terms = |n: usize| values[n].iter().map(move |&v| weights.times(n, f64::from(v)));
        let v_dim = values[0].len();
        let mut l = Sum::default();
        let mut o = vec![Sum::default(); v_dim];
        for (t, tile) in passage.tiles.iter().enumerate() {
            let mut l_part = Sum::default();
            let mut part = vec![Sum::default(); v_dim];
            for n in tile.clone() {
                let first = n == tile.start;
                l_part.add(first, weights.times(n, 1.0));
                let part = part.iter_mut().zip(terms(n));
                match products {
                    Products::F32 => {
                        part.for_each(|(sum, term)| sum.add_product(arithmetic.fused, first, term));
                    }
                    Products::Bf16 if n + 1 < tile.end => part
                        .zip(terms(n + 1))
                        .for_each(|((sum, term), next)| sum.add_before(first, term, next)),
                    Products::Bf16 => part.for_each(|(sum, term)| sum.add(first, term)),
                }
            }
            let sums = std::iter::once((&mut l, &l_part)).chain(o.iter_mut().zip(&part));
            for (sum, part) in sums {
                if !arithmetic.fused && passage.raises[t] {
                    sum.round(); // sum * corr
                }
                sum.join(t == 0, part);
            }
        }
        let o = o.iter().map(|o| o.error).collect();
        Self { l: l.error, o }.with_underflow_and_own(arithmetic, weights, passage, values)
    }

    /// Adds what no rounding factor covers: for each operation an absolute error, 2^-150 for an f32 product and 2^-126
    /// where a bf16 product is added; and the sums of the oracle itself (section 7).
    fn with_underflow_and_own(
        mut self,
        arithmetic: &Arithmetic,
        weights: &Weights,
        passage: &Passage,
        values: &[&[f32]],
    ) -> Self {
        let keys = values.len();
        let joins = passage.tiles.len() + 2 * (arithmetic.splits - 1);
        let of_key = match arithmetic.products {
            Products::F32 => UNDERFLOW,
            Products::Bf16 => FLUSH,
        };
        let unit = weights.unit * (1.0 + gamma(keys + 2 * joins)); // the roundings that come after
        let own = U64 * (keys + 2) as f64;
        for (w, v) in weights.w.iter().zip(values) {
            let own = own * w;
            for (o, &v) in self.o.iter_mut().zip(*v) {
                *o += own * f64::from(v).abs();
            }
        }
        let of_joins = UNDERFLOW * joins as f64;
        self.o.iter_mut().for_each(|o| *o += (of_key * keys as f64 + of_joins) * unit);
        self.l += of_joins * unit + own;
        self
    }
}
