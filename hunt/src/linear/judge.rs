//! A call by the oracle, head by head: outputs, states and sums of keys within their certified bounds, and NaN where the
//! definition says NaN.

use super::call::{Kept, Tokens, turned};
use crate::feedback;
use flashlet::{CHUNK, Form, Gate, HeadMap, Level, LinearHeads, Rule};
use oracle::linear as exact;

/// What a head reads and learns from, as if there were no others.
struct Head {
    /// As in [`super::Case`].
    tensors: [Vec<f32>; 7],
    decay: f32,
    bonus: Vec<f32>,
    state: Vec<f32>,
    /// Of keys and of their magnitudes.
    sums: [Vec<f32>; 2],
}

/// Where one is with errors.
#[derive(Default)]
struct Judgement {
    worst: f64,
    at: String,
    checks: usize,
    /// NaN by the definition is no finite number; but a divisor of nothing gives zeros, whatever is divided.
    keeps_nan: bool,
}

impl Judgement {
    fn compare(&mut self, name: &str, found: &[f32], exact: &[f64], bound: &[f64]) {
        assert!(found.len() == exact.len() && found.len() == bound.len(), "{name}");
        for (i, ((found, exact), bound)) in found.iter().zip(exact).zip(bound).enumerate() {
            if bound.is_infinite() && !(exact.is_nan() && self.keeps_nan) {
                continue;
            }
            self.checks += 1;
            let error = (f64::from(*found) - exact).abs();
            let ratio = match error {
                _ if bound.is_infinite() && !found.is_finite() => 0.0,
                0.0 => 0.0,
                error if error.is_nan() => f64::INFINITY,
                error => error / bound,
            };
            if ratio > self.worst {
                let at = || format!("{name}[{i}] = {found:e}, {exact:e} +- {bound:e}");
                (self.worst, self.at) = (ratio, at());
            }
        }
    }
}

/// Which of few heads serves one of many.
fn serves(heads: &LinearHeads, h: usize, many: usize, few: usize) -> usize {
    match heads.map {
        HeadMap::Grouped => h / (many / few),
        HeadMap::Modulo => h % few,
    }
}

/// The rows of one head of one sequence.
fn rows_of(x: &[f32], [_, len, heads, width]: [usize; 4], b: usize, h: usize) -> Vec<f32> {
    let rows = (0..len).map(|t| ((b * len + t) * heads + h) * width);
    rows.flat_map(|at| x[at..at + width].iter().copied()).collect()
}

impl Tokens<'_> {
    /// Panics unless a call's outputs and what it leaves are within their bounds, from what there was before.
    pub(super) fn judge(&self, level: Level, before: &Kept, o: &[f32], after: &Kept) {
        let heads = self.shape.heads;
        let keeps_nan = self.case.eps.is_none();
        let (mut judgement, outputs) =
            (Judgement { keeps_nan, ..Judgement::default() }, heads.outputs());
        for (b, h) in (0..self.shape.batch).flat_map(|b| (0..outputs).map(move |h| (b, h))) {
            let s = serves(&heads, h, outputs, heads.states());
            let (head, end) = (self.head(before, b, h), self.left(after, b, s));
            let exact = exact::certify(&self.problem(&head), self.arithmetic(level));
            let found = rows_of(o, self.shape.o(), b, h);
            let name = |what| format!("sequence {b}, output head {h}: {what}");
            judgement.compare(&name("o"), &found, &exact.o, &exact.o_bound);
            judgement.compare(&name("state"), &end.0, &exact.state, &exact.state_bound);
            if self.case.eps.is_some() {
                judgement.compare(&name("z"), &end.1[0], &exact.z, &exact.z_bound);
            }
        }
        let Judgement { worst, at, checks, .. } = judgement;
        feedback::judged_ratio(worst, checks, || {
            format!("{level} {:?} {:?}: {at}\n{:?}", self.form, self.shape, self.case)
        });
    }

    fn arithmetic(&self, level: Level) -> exact::Arithmetic {
        exact::Arithmetic {
            fused: level.is_fused(),
            chunk: if self.form == Form::Chunked { CHUNK } else { 1 },
            output: self.case.output,
            state: self.case.state.format(),
        }
    }

    /// The state of a head, `[dim, v_dim]`, and its sums.
    fn left(&self, kept: &Kept, b: usize, s: usize) -> (Vec<f32>, [Vec<f32>; 2]) {
        let LinearHeads { dim, v_dim, .. } = self.shape.heads;
        let s = b * self.shape.heads.states() + s;
        let state = kept.state.widened()[s * dim * v_dim..][..dim * v_dim].to_vec();
        let state = if self.case.is_transposed { turned(&state, [v_dim, dim]) } else { state };
        let sums = &kept.sums[s * (2 * dim + 1)..];
        (state, [sums[..dim].to_vec(), sums[dim..2 * dim].to_vec()])
    }

    fn head(&self, before: &Kept, b: usize, h: usize) -> Head {
        let (heads, dims) = (self.shape.heads, self.dims());
        let [states, outputs] = [heads.states(), heads.outputs()];
        let s = serves(&heads, h, outputs, states);
        let q = serves(&heads, h, outputs, heads.q);
        let (k, v) = (serves(&heads, s, states, heads.k), serves(&heads, s, states, heads.v));
        let own = [q, k, v, s, s, s, s];
        let rows = |t: usize| rows_of(&self.tensors[t].widened(), dims[t], b, own[t]);
        let (state, sums) = self.left(before, b, s);
        let bonus = self.case.bonus[s * heads.dim..][..heads.dim].to_vec();
        Head { tensors: std::array::from_fn(rows), decay: self.case.decay[s], bonus, state, sums }
    }

    fn problem<'a>(&self, head: &'a Head) -> exact::Problem<'a> {
        let [q, k, v, gates, beta, a, b] = &head.tensors;
        let case = self.case;
        exact::Problem {
            d_k: self.shape.heads.dim,
            d_v: self.shape.heads.v_dim,
            q,
            k,
            v,
            gate: match case.family.gate {
                Gate::Never => exact::Gate::None,
                Gate::Head => exact::Gate::Head(head.decay),
                Gate::Token => exact::Gate::Token(gates),
                Gate::Channel => exact::Gate::Channel(gates),
            },
            rule: match case.family.rule {
                Rule::Add => exact::Rule::Add,
                Rule::Bonus => exact::Rule::Bonus(&head.bonus),
                Rule::Delta => exact::Rule::Delta(beta),
                Rule::LowRank => exact::Rule::LowRank { a, b },
            },
            features: case.features,
            l2: case.l2,
            scale: case.scale,
            state: &head.state,
            normaliser: case.eps.map(|eps| {
                let [z, z_abs] = &head.sums;
                exact::Normaliser { eps, z, z_abs }
            }),
        }
    }
}
