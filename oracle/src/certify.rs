//! Compares a kernel's output with the oracle.

use std::fmt;

use crate::arithmetic::Arithmetic;
use crate::attend::Row;
use crate::bound::{Bound, Form, bound};
use crate::problem::{Problem, Shape};
use crate::rounding::U;

/// What [`certify`] found. Its `Display` names the worst element and what is needed to find it again.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Largest `error / bound` of the certified elements; infinite when a special value is wrong: NaN or Inf where
    /// a finite value was certified, a number where NaN was due, a masked row that is not exactly zero.
    pub worst_ratio: f64,
    /// The error of the element with that ratio,
    pub worst_error: f64,
    /// its bound,
    pub worst_bound: f64,
    /// what the kernel returned for it,
    pub got: f32,
    /// what the definition says,
    pub exact: f64,
    /// and where it stands.
    pub at: Place,
    /// Rows looked at.
    pub rows: usize,
    /// Elements of `o` and `lse` looked at, uncertified ones included.
    pub elements: usize,
    /// Elements that have no bound (section 8 of `src/bound.rs`). They were **not judged**.
    pub uncertified: usize,
    /// Elements whose error exceeds their bound.
    pub violations: usize,
    /// How ill conditioned the worst certified element was: its bound in roundings of the exact value, `bound / (u |exact|)`; 1 is an element
    /// that is rounded once.
    pub worst_condition: f64,
    shape: Shape,
    scale: f64,
    arithmetic: Arithmetic,
    form: Form,
}

/// An element of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Batch entry.
    pub b: usize,
    /// Query index.
    pub i: usize,
    /// Query head.
    pub h: usize,
    /// Channel of `o`; `None` is the row's `lse`.
    pub c: Option<usize>,
}

/// Judges every row of a kernel's output: `o [batch, q_len, q_heads, v_dim]`, `lse [batch, q_heads, q_len]`.
/// An `o` that was stored in 16 bits is handed over as the f32 numbers that it holds.
///
/// A row that sees no key must be exactly +0 with `lse = -inf`; an element whose exact value is NaN must be NaN.
/// Panics if an array does not have the length that the shape says, or if products of bf16 are to be judged and a
/// visible number is no bf16. The crate's head has an example.
pub fn certify(
    problem: &Problem,
    arithmetic: &Arithmetic,
    form: Form,
    o: &[f32],
    lse: Option<&[f32]>,
) -> Verdict {
    let Shape { batch, q_len, q_heads, .. } = problem.shape;
    let rows =
        (0..batch).flat_map(|b| (0..q_len).flat_map(move |i| (0..q_heads).map(move |h| (b, i, h))));
    certify_rows(problem, arithmetic, form, rows, o, lse)
}

/// Judges some rows `(b, i, h)` of the same output as [`certify`]: what a large problem can afford.
///
/// # Example
/// ```
/// # use oracle::{Arithmetic, Form, Problem, Shape, certify_rows};
/// # let shape = Shape { batch: 1, q_len: 8, kv_len: 1, q_heads: 1, kv_heads: 1, head_dim: 1, v_dim: 1 };
/// # let problem = Problem { shape, scale: 1.0, q: &[1.0; 8], k: &[1.0], v: &[2.0], visible: &|_| true, sinks: &[], modify: None, beside: None };
/// # let o = [2.0_f32; 8];
/// let every_third = (0..8).step_by(3).map(|i| (0, i, 0));
/// let verdict = certify_rows(&problem, &Arithmetic::fused(96), Form::Gamma, every_third, &o, None);
/// assert!(verdict.holds() && verdict.rows == 3, "{verdict}");
/// ```
pub fn certify_rows(
    problem: &Problem,
    arithmetic: &Arithmetic,
    form: Form,
    rows: impl IntoIterator<Item = (usize, usize, usize)>,
    o: &[f32],
    lse: Option<&[f32]>,
) -> Verdict {
    let Shape { batch, q_len, q_heads, .. } = problem.shape;
    if let Some(lse) = lse {
        assert_eq!(lse.len(), batch * q_heads * q_len, "lse: [batch, q_heads, q_len]");
    }
    let of_row = |place| bound(problem, arithmetic, form, place);
    let mut verdict = Verdict::new(problem, arithmetic, form);
    verdict.judge_rows(problem, rows, &of_row, o, lse);
    verdict
}

impl Verdict {
    /// No certified element exceeds its bound. It says nothing about the `uncertified` ones.
    pub fn holds(&self) -> bool {
        self.violations == 0
    }

    fn new(problem: &Problem, arithmetic: &Arithmetic, form: Form) -> Self {
        Self {
            worst_ratio: 0.0,
            worst_error: 0.0,
            worst_bound: 0.0,
            got: 0.0,
            exact: 0.0,
            at: Place::default(),
            rows: 0,
            elements: 0,
            uncertified: 0,
            violations: 0,
            worst_condition: 0.0,
            shape: problem.shape,
            scale: problem.scale,
            arithmetic: *arithmetic,
            form,
        }
    }

    /// Judges some rows by a bound of another kind.
    pub(crate) fn of_rows(
        problem: &Problem,
        arithmetic: &Arithmetic,
        form: Form,
        rows: impl IntoIterator<Item = (usize, usize, usize)>,
        of_row: &dyn Fn((usize, usize, usize)) -> (Row, Bound),
        o: &[f32],
    ) -> Self {
        let mut verdict = Self::new(problem, arithmetic, form);
        verdict.judge_rows(problem, rows, of_row, o, None);
        verdict
    }

    fn judge_rows(
        &mut self,
        problem: &Problem,
        rows: impl IntoIterator<Item = (usize, usize, usize)>,
        of_row: &dyn Fn((usize, usize, usize)) -> (Row, Bound),
        o: &[f32],
        lse: Option<&[f32]>,
    ) {
        problem.check();
        let Shape { batch, q_len, q_heads, v_dim, .. } = problem.shape;
        assert_eq!(o.len(), batch * q_len * q_heads * v_dim, "o: [batch, q_len, q_heads, v_dim]");
        for (b, i, h) in rows {
            let o = &o[((b * q_len + i) * q_heads + h) * v_dim..][..v_dim];
            let lse = lse.map(|lse| lse[(b * q_heads + h) * q_len + i]);
            self.judge_row(Place { b, i, h, c: None }, of_row((b, i, h)), o, lse);
        }
    }

    fn judge_row(&mut self, at: Place, (row, bound): (Row, Bound), o: &[f32], lse: Option<f32>) {
        self.rows += 1;
        for (c, &got) in o.iter().enumerate() {
            self.judge(Place { c: Some(c), ..at }, got, row.o[c], bound.o[c]);
        }
        if let Some(got) = lse {
            self.judge(at, got, row.lse, bound.lse);
        }
    }

    fn judge(&mut self, at: Place, got: f32, exact: f64, bound: f64) {
        self.elements += 1;
        if bound == f64::INFINITY {
            self.uncertified += 1;
            return;
        }
        if exact != 0.0 && bound / exact.abs() > self.worst_condition * U {
            self.worst_condition = bound / exact.abs() / U;
        }
        let error = (f64::from(got) - exact).abs();
        let ratio = if bound > 0.0 {
            if error.is_finite() { error / bound } else { f64::INFINITY }
        } else if is_special(at, got, exact) {
            0.0
        } else {
            f64::INFINITY
        };
        self.violations += usize::from(ratio > 1.0);
        if ratio > self.worst_ratio {
            (self.worst_ratio, self.worst_error, self.worst_bound) = (ratio, error, bound);
            (self.got, self.exact, self.at) = (got, exact, at);
        }
    }
}

/// Whether `got` is what must stand where the result is not a matter of rounding (bound 0): in a row without keys,
/// in a row with a NaN score, in a channel whose values hold NaN or Inf.
fn is_special(at: Place, got: f32, exact: f64) -> bool {
    if exact.is_nan() {
        got.is_nan()
    } else if exact == 0.0 {
        got.to_bits() == 0
    } else {
        // An infinite value may become NaN, because its weight was flushed (0 * inf), but never a number.
        // An infinite lse is that of a row without keys, and no accident.
        f64::from(got) == exact || (got.is_nan() && at.c.is_some())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worst_ratio, worst_error, worst_bound, got, exact, at, .. } = self;
        writeln!(
            f,
            "{} of {} elements exceed their bound ({:?} form), {} uncertified, {} rows",
            self.violations, self.elements, self.form, self.uncertified, self.rows
        )?;
        writeln!(
            f,
            "worst: error {worst_error:e} / bound {worst_bound:e} = {worst_ratio:.4} at {at}"
        )?;
        writeln!(f, "       got {got:e} (bits {:08x}), exact {exact:e}", got.to_bits())?;
        write!(f, "{:?}, scale {:e}, {:?}", self.shape, self.scale, self.arithmetic)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { b, i, h, c } = self;
        match c {
            Some(c) => write!(f, "o[b = {b}, i = {i}, h = {h}, c = {c}]"),
            None => write!(f, "lse[b = {b}, h = {h}, i = {i}]"),
        }
    }
}
