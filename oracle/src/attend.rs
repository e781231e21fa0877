//! The definition of attention, in f64.

use crate::problem::Problem;

/// The exact result of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Output `[v_dim]`. All zero when the row sees no key.
    pub o: Vec<f64>,
    /// Log-sum-exp of the visible scores, natural logarithm; -inf when the row sees no key.
    pub lse: f64,
}

/// Attention of query `i`, head `h`, batch entry `b`: `o = sum_j exp(s_j - lse) v_j`, `s_j = scale * <q, k_j>`.
///
/// Exact but for rounding in f64: on `data/real-heads` it differs from another f64 computation by 4e-15 in `o`
/// and 2e-14 in `lse` (`tests/certified/real_heads.rs`), and [`bound_row`](crate::bound_row) charges that rounding to the bound.
///
/// Special values follow IEEE arithmetic through the definition, once `lse` is written as `m + ln sum exp(s - m)`:
/// - no visible key: `o = 0`, `lse = -inf`, or the logit of the sink if there is one;
/// - a NaN score (NaN in `q` or in a visible key) or a score of +inf: the whole row and `lse` are NaN;
/// - NaN in a visible `v_jc`: channel `c` is NaN, however small the weight;
/// - Inf in a visible `v_jc`: channel `c` is that Inf, or NaN if it meets the opposite one;
/// - a score of -inf: weight 0; a row with no other score is 0/0 = NaN.
///
/// # Example
/// ```
/// use oracle::{Problem, Shape, attend_row};
/// let shape = Shape { batch: 1, q_len: 1, kv_len: 3, q_heads: 1, kv_heads: 1, head_dim: 2, v_dim: 1 };
/// let k = [0.0, 0.0, 0.0, 0.0, f32::NAN, f32::NAN];
/// let problem = Problem {
///     shape, scale: 0.5, q: &[1.0, 2.0], k: &k, v: &[3.0, 5.0, f32::NAN],
///     visible: &|pair| pair.j < 2, // the third key is hidden, so its NaN is harmless
///     sinks: &[],
///     modify: None,
///     beside: None,
/// };
/// let row = attend_row(&problem, 0, 0, 0);
/// assert_eq!(row.o, [4.0]);
/// assert_eq!(row.lse, 2.0_f64.ln());
/// ```
pub fn attend_row(problem: &Problem, b: usize, i: usize, h: usize) -> Row {
    Softmax::of_row(problem, b, i, h).weigh(problem, b, i, h)
}

/// What stands for a key where a row has a sink: behind every key, in a tile of its own.
pub(crate) const SINK: usize = usize::MAX / 2;

/// The scores of a row and their softmax; entry `n` belongs to key `keys[n]`, the last one perhaps to a sink.
pub(crate) struct Softmax {
    /// Visible keys, ascending.
    pub(crate) keys: Vec<usize>,
    /// `scale * <q, k_j>`, modified.
    pub(crate) s: Vec<f64>,
    /// The largest score; -inf if there is none.
    pub(crate) m: f64,
    /// `sum_j exp(s_j - m)`: between 1 and the number of keys.
    pub(crate) l: f64,
    /// The weights `exp(s_j - m) / l`, which sum to 1.
    pub(crate) w: Vec<f64>,
}

impl Softmax {
    /// Scores query `i` of head `h` against every key it sees.
    pub(crate) fn of_row(problem: &Problem, b: usize, i: usize, h: usize) -> Self {
        let mut keys = problem.visible_keys(b, i);
        let mut s: Vec<f64> = keys.iter().map(|&j| problem.score(b, i, h, j).s).collect();
        if let Some(logit) = problem.sink(h) {
            keys.push(SINK);
            s.push(logit);
        }
        let m = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut w: Vec<f64> = s.iter().map(|s| exp(s - m)).collect();
        let l = w.iter().sum();
        w.iter_mut().for_each(|w| *w /= l);
        Self { keys, s, m, l, w }
    }

    /// `o = sum_j w_j v_j`, `lse = m + ln l`.
    pub(crate) fn weigh(&self, problem: &Problem, b: usize, i: usize, h: usize) -> Row {
        let mut o = vec![0.0; problem.shape.v_dim];
        for (&j, &w) in self.keys.iter().zip(&self.w).filter(|(j, _)| **j != SINK) {
            for (o, &v) in o.iter_mut().zip(problem.v_row(b, j, h)) {
                *o += w * f64::from(v);
            }
            for (o, beside) in o.iter_mut().zip(problem.beside(b, i, h, j)) {
                *o += w * f64::from(beside);
            }
        }
        let lse = if self.keys.is_empty() { f64::NEG_INFINITY } else { self.m + self.l.ln() };
        Row { o, lse }
    }
}

/// `exp` which, like the real one, is positive for every finite argument. Otherwise 0 * Inf would turn an
/// infinite value with a very small weight into NaN.
fn exp(x: f64) -> f64 {
    let p = x.exp();
    if p == 0.0 && x > f64::NEG_INFINITY { f64::MIN_POSITIVE } else { p }
}
