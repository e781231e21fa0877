//! Tokens of a real text, what attention over them must give, and how long a naive one takes.

use crate::heads::{Captured, Filled, HeadsError, fill};
use crate::naive;
use crate::problem::{Model, Tokens};
use crate::time::time;
use flashlet::entry::Entry;
use flashlet::{Heads, Precision};
use oracle::{
    Arithmetic, Form, Format, Modified, Pair, Problem, Verdict, attend_row, certify_rows,
};
use std::time::Duration;

/// Tokens of the case for times, if the model takes as many.
pub const LONG: usize = 1024;

/// Cases up to this length have every query judged.
const SHORT: usize = 128;

/// Of longer ones every query of this distance is: a prime, so that all places in a tile come up.
const STRIDE: usize = 61;

/// A text on all heads of a model.
pub struct Case {
    /// `real 73`, or `real x14 1024`: 73 tokens, repeated; `real 1 on 73`: the last query alone.
    pub name: String,
    /// Median seconds of the naive attention: all queries, and the last one alone.
    pub naive: [f64; 2],
    /// Queries that are judged, the last one among them.
    pub judged: Vec<usize>,
    filled: Filled,
    /// Tokens before the first query.
    position: usize,
    /// The exact outputs of the judged queries, `[judged, q_heads, v_dim]`: of a prompt, and of steps.
    exact: [Vec<f64>; 2],
}

/// How outputs came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// One call with all keys.
    Prompt,
    /// A call for each query, with the keys that a decoder has by then: what stands in a prefix or is global does not see
    /// what comes later.
    Steps,
}

/// How far outputs are from the exact ones.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    /// Largest difference.
    pub max_error: f64,
    /// Largest share of its certified bound that a difference takes; `f64::MAX` if one has no bound.
    pub err_over_bound: f64,
}

/// The text as it was captured, for accuracy, and repeated, for times.
///
/// # Errors
/// No captured heads, or heads of another width than the model's.
pub fn cases(
    model: &Model,
    captured: &[Captured],
    budget: Duration,
) -> Result<Vec<Case>, HeadsError> {
    let text = captured.iter().map(|file| file.len).min().ok_or(HeadsError::None)?;
    let most = model.max_q.max(model.max_kv);
    let (short, long) = (text.min(most), LONG.min(most));
    let mut cases = vec![Case::new(model, captured, "real", short, budget)?];
    if long > short {
        let name = format!("real x{}", long.div_ceil(text));
        cases.push(Case::new(model, captured, &name, long, budget)?);
    }
    Ok(cases)
}

impl Case {
    /// As many of `len` tokens' keys as the model takes, and of its last queries.
    fn new(
        model: &Model,
        captured: &[Captured],
        name: &str,
        len: usize,
        budget: Duration,
    ) -> Result<Self, HeadsError> {
        let (q_len, kv_len) = (len.min(model.max_q), len.min(model.max_kv));
        let (filled, position) = cut(model, fill(captured, model.heads, len)?, q_len, kv_len);
        let stride = if q_len <= SHORT { 1 } else { STRIDE };
        let mut judged: Vec<usize> =
            (0..q_len).step_by(stride).chain(q_len.checked_sub(1)).collect();
        judged.dedup();
        let lengths =
            if q_len == kv_len { len.to_string() } else { format!("{q_len} on {kv_len}") };
        let name = format!("{name} {lengths}");
        let mut case =
            Case { name, naive: [0.0; 2], judged, filled, position, exact: Default::default() };
        case.exact = [Calls::Prompt, Calls::Steps].map(|calls| case.exact(model, calls));
        let tokens = case.tokens();
        let mut o = vec![0.0; q_len * model.heads.q * model.heads.v_dim];
        case.naive = [tokens, case.last(model)]
            .map(|tokens| time(budget, || naive::attend(model, &tokens, &mut o)).median);
        Ok(case)
    }

    /// All queries at once.
    #[must_use]
    pub fn tokens(&self) -> Tokens<'_> {
        let Filled { q, k, v } = &self.filled;
        Tokens { position: self.position, q, k, v }
    }

    /// The last query alone.
    #[must_use]
    pub fn last(&self, model: &Model) -> Tokens<'_> {
        let tokens = self.tokens();
        model.step(&tokens, model.q_len(&tokens).saturating_sub(1))
    }

    /// Judges the output of `entry`, `[len, q_heads, v_dim]`, where [`Case::judged`] says.
    #[must_use]
    pub fn judge(&self, model: &Model, entry: &Entry, calls: Calls, o: &[f32]) -> Judgement {
        let width = model.heads.q * model.heads.v_dim;
        let outputs = self.judged.iter().flat_map(|i| &o[i * width..][..width]);
        let error = |(o, exact): (&f32, &f64)| (f64::from(*o) - exact).abs();
        let exact = &self.exact[usize::from(calls == Calls::Steps)];
        let max_error = outputs.zip(exact).map(error).fold(0.0, worse);
        let sees = |i, j| self.sees(model, calls, i, j);
        let (rule, rows) = (Rule { sees: &sees, modify: None }, self.rows(model));
        let verdict = certify_where(model, &self.tokens(), rule, entry, Format::F32, rows, o);
        // An element without a bound was not judged: that is no pass.
        let ratio = if verdict.uncertified > 0 { f64::MAX } else { verdict.worst_ratio };
        Judgement { max_error, err_over_bound: ratio.min(f64::MAX) }
    }

    fn sees(&self, model: &Model, calls: Calls, i: usize, j: usize) -> bool {
        let p = self.position + i;
        let is_there = calls == Calls::Prompt || !model.sight.is_causal() || j <= p;
        is_there && model.sight.sees(p, j)
    }

    fn exact(&self, model: &Model, calls: Calls) -> Vec<f64> {
        let visible = |Pair { i, j, .. }: Pair| self.sees(model, calls, i, j);
        let problem = model.oracle(&self.tokens(), &visible);
        self.rows(model).flat_map(|(b, i, h)| attend_row(&problem, b, i, h).o).collect()
    }

    /// The judged rows as the oracle counts them: sequence, query, head.
    fn rows(&self, model: &Model) -> impl Iterator<Item = (usize, usize, usize)> {
        let heads = model.heads.q;
        self.judged.iter().flat_map(move |&i| (0..heads).map(move |h| (0, i, h)))
    }
}

/// The first keys and values, and the last queries that still stand among them; how many tokens are
/// before those.
fn cut(model: &Model, mut filled: Filled, q_len: usize, kv_len: usize) -> (Filled, usize) {
    let Heads { q, kv, dim, v_dim } = model.heads;
    let position = kv_len.saturating_sub(q_len);
    filled.q = filled.q[position * q * dim..][..q_len * q * dim].to_vec();
    filled.k.truncate(kv_len * kv * dim);
    filled.v.truncate(kv_len * kv * v_dim);
    (filled, position)
}

/// The arithmetic that `entry` promises, its output being stored in a format.
#[must_use]
pub fn arithmetic(entry: &Entry, output: Format) -> Arithmetic {
    let of_tile = match (entry.precision(), entry.level().is_fused()) {
        (Precision::Bf16Products, _) => Arithmetic::bf16_products,
        (_, true) => Arithmetic::fused,
        (_, false) => Arithmetic::unfused,
    };
    of_tile(entry.tile_k()).stored_as(output)
}

/// Judges rows (sequence, query, head) of an output of `entry`, `[q_len, q_heads, v_dim]`, against the
/// certified bound. It was stored in the format `output`; `o` has its numbers as f32.
#[must_use]
pub fn certify(
    model: &Model,
    tokens: &Tokens<'_>,
    entry: &Entry,
    output: Format,
    rows: impl IntoIterator<Item = (usize, usize, usize)>,
    o: &[f32],
) -> Verdict {
    let sees = |i, j| model.sight.sees(tokens.position + i, j);
    certify_where(model, tokens, Rule { sees: &sees, modify: None }, entry, output, rows, o)
}

/// What a [`Model`] does not say of a call.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    /// Whether query `i` sees key `j`, whatever the model says.
    pub sees: &'a dyn Fn(usize, usize) -> bool,
    /// What becomes of a score.
    pub modify: Option<&'a dyn Fn(Pair, usize, f64) -> Modified>,
}

/// As [`certify`], by a rule.
#[must_use]
pub fn certify_where(
    model: &Model,
    tokens: &Tokens<'_>,
    rule: Rule<'_>,
    entry: &Entry,
    output: Format,
    rows: impl IntoIterator<Item = (usize, usize, usize)>,
    o: &[f32],
) -> Verdict {
    let visible = |Pair { i, j, .. }: Pair| (rule.sees)(i, j);
    let problem = Problem { modify: rule.modify, ..model.oracle(tokens, &visible) };
    certify_rows(&problem, &arithmetic(entry, output), Form::Running, rows, o, None)
}

/// The larger error; a NaN is the worst.
fn worse(a: f64, b: f64) -> f64 {
    if a >= b { a } else { b.min(f64::MAX) }
}
