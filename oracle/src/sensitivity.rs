//! How much of an error is the problem's own.

use crate::attend::{SINK, Softmax};
use crate::problem::Problem;

/// How far a row of `o` follows its inputs, `[v_dim]`: if every number of q, k and v changes by `e` of itself, for a small
/// `e`, an element changes by `e` times this at most. Over the size of `o` it is the condition number of the row. Whoever
/// computes it, it is known no better than rounded inputs leave it: what exceeds some `u` times this is an implementation's own.
///
/// A score moves by `2 e A_j`, `A_j = |scale| sum_c |q_c k_jc|` times the slope of a modifier, which moves `o` by
/// `w_j (v_j - o)` of that; a value moves it by `w_j v_j`:
/// ```text
/// sensitivity = sum_j w_j (|v_j| + 2 A_j |v_j - o|)
/// ```
///
/// # Example
/// ```
/// use oracle::{Problem, Shape, sensitivity_row};
/// let shape = Shape { batch: 1, q_len: 1, kv_len: 2, q_heads: 1, kv_heads: 1, head_dim: 1, v_dim: 2 };
/// // Equal weights. Of 1 and 3 the mean is 2 and as sensitive; of 1 and -0.5 it is 0.25, which is a third of that.
/// let v = [1.0, 1.0, 3.0, -0.5];
/// let problem = Problem { shape, scale: 1.0, q: &[0.0], k: &[1.0, 1.0], v: &v, visible: &|_| true, sinks: &[], modify: None, beside: None };
/// assert_eq!(sensitivity_row(&problem, 0, 0, 0), [2.0, 0.75]);
/// ```
pub fn sensitivity_row(problem: &Problem, b: usize, i: usize, h: usize) -> Vec<f64> {
    let softmax = Softmax::of_row(problem, b, i, h);
    let exact = softmax.weigh(problem, b, i, h).o;
    let q = problem.q_row(b, i, h);
    let mut moved = vec![0.0; exact.len()];
    for (&j, w) in softmax.keys.iter().zip(&softmax.w).filter(|(j, _)| **j != SINK) {
        let products = q.iter().zip(problem.k_row(b, j, h));
        let size: f64 = products.map(|(q, k)| (f64::from(*q) * f64::from(*k)).abs()).sum();
        let a = problem.scale.abs() * size * problem.score(b, i, h, j).slope;
        let beside = problem.beside(b, i, h, j);
        for (c, (moved, v)) in moved.iter_mut().zip(problem.v_row(b, j, h)).enumerate() {
            let (v, beside) = (f64::from(*v), beside.get(c).copied().map_or(0.0, f64::from));
            *moved += w * (v.abs() + beside.abs() + 2.0 * a * (v + beside - exact[c]).abs());
        }
    }
    moved
}
