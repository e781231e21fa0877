//! The quadratic definition: every token's output as a sum over all tokens before it.

use super::{Arithmetic, Problem, Rule};
use crate::arithmetic::Format;

/// Outputs `[n, d_v]` in f64, from the definition: no state is carried from token to token. What tokens learn solves one
/// triangular system over all of them, where it depends on what there is.
#[must_use]
pub fn definition(problem: &Problem<'_>) -> Vec<f64> {
    let (n, d_k, d_v) = (problem.len(), problem.d_k, problem.d_v);
    let (output, state) = (Format::F32, Format::F32);
    let exact = Arithmetic { fused: true, chunk: 1, output, state };
    let q: Vec<_> = (0..n).map(|i| problem.query(i, &exact).x).collect();
    let k: Vec<_> = (0..n).map(|i| problem.key(i, &exact).x).collect();
    let gates: Vec<_> = (0..n).map(|i| problem.gates(i)).collect();
    // What is left of token j, or of the state before all (none), once so many tokens are over.
    let left = |from: Option<usize>, over: usize, c: usize| {
        let first = from.map_or(0, |j| j + 1);
        gates[first.min(over)..over].iter().map(|g| g[c]).sum::<f64>().exp()
    };
    let of_state = |x: &[f64], over: usize, j: usize| -> f64 {
        (0..d_k).map(|c| x[c] * left(None, over, c) * f64::from(problem.state[c * d_v + j])).sum()
    };
    let score = |x: &[f64], y: &[f64], from: usize, over: usize| -> f64 {
        (0..d_k).map(|c| x[c] * y[c] * left(Some(from), over, c)).sum()
    };
    let given = |i: usize, j: usize| f64::from(problem.v[i * d_v + j]);
    let row = |x: &[f32], i: usize| super::widened(&x[i * d_k..(i + 1) * d_k]);

    // What each token writes: pairs of a key and a row of values.
    let mut writes: Vec<Vec<(Vec<f64>, Vec<f64>)>> = Vec::new();
    let mut o = Vec::new();
    for i in 0..n {
        let found = |x: &[f64], over: usize, j: usize| -> f64 {
            let earlier =
                writes.iter().enumerate().flat_map(|(t, all)| all.iter().map(move |w| (t, w)));
            let learnt: f64 = earlier.map(|(t, (key, w))| score(x, key, t, over) * w[j]).sum();
            of_state(x, over, j) + learnt
        };
        let values: Vec<f64> = (0..d_v).map(|j| given(i, j)).collect();
        let new = match problem.rule {
            Rule::Add | Rule::Bonus(_) => vec![(k[i].clone(), values)],
            Rule::Delta(beta) => {
                let w = |j| f64::from(beta[i]) * (values[j] - found(&k[i], i + 1, j));
                vec![(k[i].clone(), (0..d_v).map(w).collect())]
            }
            Rule::LowRank { a, b } => {
                let p = (0..d_v).map(|j| found(&row(a, i), i, j)).collect();
                vec![(row(b, i), p), (k[i].clone(), values)]
            }
        };
        let mut out: Vec<f64> = match problem.rule {
            Rule::Bonus(u) => {
                let own: f64 = (0..d_k).map(|c| q[i][c] * f64::from(u[c]) * k[i][c]).sum();
                (0..d_v).map(|j| found(&q[i], i, j) + own * given(i, j)).collect()
            }
            _ => Vec::new(),
        };
        writes.push(new);
        if out.is_empty() {
            let found = |x: &[f64], over: usize, j: usize| -> f64 {
                let all = writes.iter().enumerate();
                let all = all.flat_map(|(t, all)| all.iter().map(move |w| (t, w)));
                let learnt: f64 = all.map(|(t, (key, w))| score(x, key, t, over) * w[j]).sum();
                of_state(x, over, j) + learnt
            };
            out = (0..d_v).map(|j| found(&q[i], i + 1, j)).collect();
        }
        if let Some(normaliser) = problem.normaliser {
            let start: f64 =
                (0..d_k).map(|c| q[i][c] * left(None, i + 1, c) * f64::from(normaliser.z[c])).sum();
            let learnt: f64 = (0..=i).map(|j| score(&q[i], &k[j], j, i + 1)).sum();
            let divisor = start + learnt + f64::from(normaliser.eps);
            let is_nothing = divisor.abs() < f64::from(f32::MIN_POSITIVE);
            out.iter_mut().for_each(|o| *o = if is_nothing { 0.0 } else { *o / divisor });
        }
        o.extend(out);
    }
    o
}
