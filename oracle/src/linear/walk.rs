//! The recurrence in f64, and beside it what a kernel's may differ by.

use super::entries::{Row, exp_error};
use super::extremes::Extremes;
use super::norm::norm;
use super::sums::Sums;
use super::{Arithmetic, Certificate, Gate, Normaliser, Problem, Rule, widened};
use crate::rounding::{FLUSH, OVERFLOW, U, gamma};

/// Twice [`crate::rounding::UNDERFLOW`]: what a product and a sum may lose to underflow.
pub(super) const LOST: f64 = 2.0 * crate::rounding::UNDERFLOW;

/// Exact outputs and states, and bounds for a kernel's.
///
/// # Panics
/// If lengths disagree.
#[must_use]
pub fn certify(problem: &Problem<'_>, arithmetic: Arithmetic) -> Certificate {
    assert_eq!(problem.state.len(), problem.d_k * problem.d_v, "[d_k, d_v]");
    let mut walk = Walk::new(problem, arithmetic);
    let mut certificate = Certificate {
        o: Vec::new(),
        o_bound: Vec::new(),
        state: Vec::new(),
        state_bound: Vec::new(),
        z: Vec::new(),
        z_bound: Vec::new(),
        condition: Vec::new(),
    };
    let n = problem.len();
    for i in 0..n {
        walk.token(i, &mut certificate);
        if (i + 1) % arithmetic.chunk == 0 || i + 1 == n {
            walk.end_chunk();
        }
    }
    let Walk { s, error, sums, .. } = walk;
    let bound = |(s, error): (&f64, &f64)| {
        let error = error * (1.0 + 1e-6);
        certain(error + arithmetic.state.storage_error(s.abs() + error), *s)
    };
    certificate.state_bound = s.iter().zip(&error).map(bound).collect();
    certificate.state = s;
    certificate.z_bound = sums.z.iter().zip(&sums.error).map(|(z, e)| certain(*e, *z)).collect();
    certificate.z = sums.z;
    certificate
}

struct Walk<'p> {
    problem: &'p Problem<'p>,
    arithmetic: Arithmetic,
    /// Exactly, `[d_k, d_v]`.
    s: Vec<f64>,
    /// What the kernel's state may differ by: of the last chunk's end, and since then by what was learnt wrongly.
    error: Vec<f64>,
    /// The 2-norms of its columns, where they are what propagates.
    norms: Option<Vec<f64>>,
    /// As the module says.
    b: Vec<f64>,
    t: Vec<f64>,
    z: Vec<f64>,
    /// Roundings of a chain of products that reads the state and the chunk, and of one that ends a chunk.
    reads: f64,
    ends: f64,
    extremes: Extremes,
    sums: Sums,
}

/// A token's gates: factors, and the relative error of each.
pub(super) struct Decay {
    pub(super) a: Vec<f64>,
    pub(super) eps: Vec<f64>,
}

impl<'p> Walk<'p> {
    fn new(problem: &'p Problem<'p>, arithmetic: Arithmetic) -> Self {
        let (s, d_v) = (widened(problem.state), problem.d_v);
        let b: Vec<f64> = s.iter().map(|s| s.abs()).collect();
        let writes = if matches!(problem.rule, Rule::LowRank { .. }) { 2 } else { 1 };
        let learnt = writes * arithmetic.chunk;
        let is_dense = matches!(problem.rule, Rule::Delta(_) | Rule::LowRank { .. });
        let (z, z_abs) = match problem.normaliser {
            Some(Normaliser { z, z_abs, .. }) => (widened(z), widened(z_abs)),
            None => (vec![0.0; problem.d_k], vec![0.0; problem.d_k]),
        };
        Walk {
            problem,
            arithmetic,
            error: vec![0.0; s.len()],
            norms: is_dense.then(|| vec![0.0; d_v]),
            t: vec![0.0; s.len()],
            z: b.clone(),
            b,
            s,
            // The products of queries, keys and decays are rounded, and every product if none is fused.
            reads: gamma(problem.d_k + learnt + 8),
            ends: gamma(learnt + 5),
            extremes: Extremes::new([problem.d_k, d_v]),
            sums: Sums { error: vec![0.0; z.len()], z, magnitudes: z_abs },
        }
    }

    fn decay(&self, i: usize) -> Decay {
        let gates = self.problem.gates(i);
        let is_kept = matches!(self.problem.gate, Gate::None);
        let eps = |g: &f64| match *g {
            _ if is_kept => 0.0,
            g if g == f64::NEG_INFINITY => 0.0,
            g => exp_error(g, self.arithmetic.fused) + 2.0 * U,
        };
        Decay { a: gates.iter().map(|g| g.exp()).collect(), eps: gates.iter().map(eps).collect() }
    }

    /// Magnitudes that a row meets in column j (infinite beyond the range of f32), what decays have erred by there, and what is lost below the normal range.
    fn met(&self, x: &[f64], j: usize) -> [f64; 3] {
        let d_v = self.problem.d_v;
        let mut met = [0.0; 3];
        for (c, x) in x.iter().enumerate() {
            let at = c * d_v + j;
            met[0] += if self.b[at] <= OVERFLOW { x.abs() * self.b[at] } else { f64::INFINITY };
            met[1] += x.abs() * self.t[at];
            met[2] += x.abs() * self.z[at];
        }
        // A factor may be flushed for each token of the chunk, and products lose as much again.
        met[2] *= 2.0 * FLUSH * (self.arithmetic.chunk + 2) as f64;
        met
    }

    /// What an evaluation of `x^T S` from the state and the chunk may differ by, and that of its sum with a given number.
    fn evaluation(&self, row: &Row, j: usize, given: f64) -> f64 {
        let [magnitude, decays, lost] = self.met(&row.x, j);
        let [of_error, ..] = self.met(&row.error, j);
        let learnt = self.z.iter().skip(j).step_by(self.problem.d_v).sum::<f64>();
        let chain = (self.problem.d_k + 2 * self.arithmetic.chunk) as f64;
        let underflow = chain * LOST * (1.0 + learnt);
        let scores = self.extremes.met(row, j, self.arithmetic.chunk);
        let reached = magnitude + of_error + given.abs();
        if reached.is_nan() || reached > OVERFLOW {
            return f64::INFINITY;
        }
        (self.reads * (magnitude + of_error) + decays * 1.01 + of_error + lost + underflow + scores)
            * 1.0001
    }

    /// `|x^T delta|`.
    fn propagated(&self, x: &[f64], j: usize) -> f64 {
        match &self.norms {
            Some(norms) => length(x) * norms[j],
            None => {
                let errors = self.error.iter().skip(j).step_by(self.problem.d_v);
                x.iter().zip(errors).map(|(x, error)| x.abs() * error).sum()
            }
        }
    }

    fn exactly(&self, x: &[f64], j: usize) -> f64 {
        x.iter().zip(self.s.iter().skip(j).step_by(self.problem.d_v)).map(|(x, s)| x * s).sum()
    }

    fn token(&mut self, i: usize, to: &mut Certificate) {
        let problem = self.problem;
        let (q, k) = (problem.query(i, &self.arithmetic), problem.key(i, &self.arithmetic));
        let (decay, d_v) = (self.decay(i), problem.d_v);
        let v = widened(&problem.v[i * d_v..(i + 1) * d_v]);
        let mut read = Vec::new();
        if let Rule::Bonus(u) = problem.rule {
            read = (0..d_v).map(|j| self.read(&q, j)).collect();
            let u = widened(u);
            let own = own_score(&q, &k, &u);
            for ((o, bound), v) in read.iter_mut().zip(&v) {
                *o += own.0 * v;
                *bound += own.1 * v.abs() + gamma(2) * (*bound + o.abs() + (own.0 * v).abs());
            }
        }
        match problem.rule {
            Rule::Add | Rule::Bonus(_) => {
                self.forget(&decay);
                self.learn(&k, &v, &vec![0.0; d_v]);
            }
            Rule::Delta(beta) => self.correct(&decay, &k, &v, f64::from(beta[i])),
            Rule::LowRank { a, b } => {
                let row = |x: &[f32]| Row {
                    x: widened(&x[i * problem.d_k..(i + 1) * problem.d_k]),
                    error: vec![0.0; problem.d_k],
                };
                self.transform(&decay, &row(a), &row(b), &k, &v);
            }
        }
        if read.is_empty() {
            read = (0..d_v).map(|j| self.read(&q, j)).collect();
        }
        let condition = match problem.normaliser {
            Some(Normaliser { eps, .. }) => {
                self.sums.learn(&decay, &k);
                self.sums.divide(&q, f64::from(eps), &mut read)
            }
            None => 1.0,
        };
        to.condition.push(condition);
        for (o, bound) in read {
            let bound = bound * (1.0 + 1e-6) + LOST;
            to.o.push(o);
            let bound = bound + self.arithmetic.output.storage_error(o.abs() + bound);
            to.o_bound.push(certain(bound, o));
        }
    }

    fn read(&self, q: &Row, j: usize) -> (f64, f64) {
        let x: Vec<f64> = q.x.iter().zip(&q.error).map(|(x, e)| x.abs() + e).collect();
        (self.exactly(&q.x, j), self.evaluation(q, j, 0.0) + self.propagated(&x, j))
    }

    fn forget(&mut self, decay: &Decay) {
        let d_v = self.problem.d_v;
        self.extremes.forget(&decay.a);
        for (c, (a, eps)) in decay.a.iter().zip(&decay.eps).enumerate() {
            for at in c * d_v..(c + 1) * d_v {
                self.s[at] *= a;
                self.t[at] = a * (self.t[at] + eps * self.b[at]);
                self.b[at] *= a;
                self.z[at] *= a.max(1.0);
                self.error[at] *= a;
            }
        }
    }

    /// Adds `k w^T`, where each w is known to `slack`.
    fn learn(&mut self, k: &Row, w: &[f64], slack: &[f64]) {
        let d_v = self.problem.d_v;
        self.extremes.learn(k, w, slack);
        for (c, (x, error)) in k.x.iter().zip(&k.error).enumerate() {
            for j in 0..d_v {
                let (at, most) = (c * d_v + j, (x.abs() + error) * (w[j].abs() + slack[j]));
                self.s[at] += x * w[j];
                self.b[at] += most;
                self.z[at] += most;
                self.error[at] += error * (w[j].abs() + slack[j]);
            }
        }
    }

    /// Delta: forget, look, learn what is not there yet.
    fn correct(&mut self, decay: &Decay, k: &Row, v: &[f64], beta: f64) {
        self.forget(decay);
        let norms = self.norms.take().unwrap_or_default();
        let top = decay.a.iter().fold(0.0, |top: f64, a| top.max(*a));
        let a: Vec<f64> = k.x.iter().zip(&decay.a).map(|(k, a)| k * a).collect();
        let b: Vec<f64> = k.x.iter().map(|k| -beta * k).collect();
        let grows = norm(&decay.a, &a, &b);
        let (size, of_error) = (length(&k.x), length(&k.error));
        let (mut w, mut slack, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for (j, (v, norm)) in v.iter().zip(&norms).enumerate() {
            let exact = beta * (v - self.exactly(&k.x, j));
            let differs = beta.abs() * (size + of_error) * top * norm;
            let found = beta.abs() * self.evaluation(k, j, *v);
            let rounded = gamma(2) * (exact.abs() + differs + found) + LOST;
            let eta = found + rounded;
            w.push(exact);
            slack.push(differs + eta);
            new.push(grows * norm + size * eta + of_error * (exact.abs() + differs + eta));
        }
        self.norms = Some(new);
        self.learn(k, &w, &slack);
    }

    /// LowRank: look, forget, learn both.
    fn transform(&mut self, decay: &Decay, a: &Row, b: &Row, k: &Row, v: &[f64]) {
        let norms = self.norms.take().unwrap_or_default();
        let grows = norm(&decay.a, &a.x, &b.x);
        let (size, of_a, of_error) = (length(&b.x), length(&a.x), length(&k.error));
        let (mut p, mut slack, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for (j, (v, norm)) in v.iter().zip(&norms).enumerate() {
            let eta = self.evaluation(a, j, 0.0) + LOST;
            p.push(self.exactly(&a.x, j));
            slack.push(of_a * norm + eta);
            new.push(grows * norm + size * eta + of_error * v.abs());
        }
        self.norms = Some(new);
        self.forget(decay);
        self.learn(b, &p, &slack);
        self.learn(k, v, &vec![0.0; v.len()]);
    }

    /// The state is rounded, and magnitudes begin anew from it.
    fn end_chunk(&mut self) {
        let (d_v, chain) = (self.problem.d_v, (2 * self.arithmetic.chunk + 2) as f64);
        let flushed = 2.0 * FLUSH * (self.arithmetic.chunk + 2) as f64;
        let local = |at: usize| {
            let of_products = self.extremes.ended(at / d_v, at % d_v, self.arithmetic.chunk);
            let lost = flushed * self.z[at] + chain * LOST * (1.0 + self.z[at]) + of_products;
            let rounded = self.ends * self.b[at] + self.t[at] * 1.01 + lost;
            if self.b[at] <= OVERFLOW { rounded * 1.0001 } else { f64::INFINITY }
        };
        let local: Vec<f64> = (0..self.s.len()).map(local).collect();
        if let Some(norms) = &mut self.norms {
            for (j, norm) in norms.iter_mut().enumerate() {
                let column: Vec<f64> = local.iter().skip(j).step_by(d_v).copied().collect();
                *norm += length(&column);
                self.error.iter_mut().skip(j).step_by(d_v).for_each(|error| *error = *norm);
            }
        } else {
            self.error.iter_mut().zip(&local).for_each(|(error, local)| *error += local);
        }
        self.b = self.s.iter().zip(&self.error).map(|(s, error)| s.abs() + error).collect();
        self.z.clone_from(&self.b);
        self.extremes = Extremes::new([self.problem.d_k, d_v]);
        self.t.fill(0.0);
    }
}

/// A bound of a number that is as large as said, if that is within the range of f32.
fn certain(bound: f64, number: f64) -> f64 {
    if bound + number.abs() <= OVERFLOW { bound } else { f64::INFINITY }
}

/// `q^T diag(u) k`, and its error: partial sums, two products each.
fn own_score(q: &Row, k: &Row, u: &[f64]) -> (f64, f64) {
    let (mut own, mut error, mut most, q_len) = (0.0, 0.0, 0.0, q.x.len());
    for (((q, k), u), (eq, ek)) in q.x.iter().zip(&k.x).zip(u).zip(q.error.iter().zip(&k.error)) {
        own += q * u * k;
        error += u.abs() * ((q.abs() + eq) * ek + eq * k.abs());
        error += gamma(q_len / 16 + 10) * (q.abs() + eq) * u.abs() * (k.abs() + ek);
        most += (1.0 + q.abs() + eq) * u.abs() * (k.abs() + ek);
    }
    error = if most <= OVERFLOW { error } else { f64::INFINITY };
    // Both products may be subnormal.
    (own, error + LOST * q.x.iter().map(|q| 1.0 + q.abs()).sum::<f64>())
}

fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
