//! The certified error bound, derived.
//!
//! # 0. What is computed
//! Base 2 throughout: `c = scale * log2(e)`, `s_j = c <q, k_j>`, `m = max s_j`, `a_j = 2^(s_j - m)`,
//! `L = sum a_j`, `w_j = a_j / L`, `o = sum w_j v_j`. A hat marks what the kernel holds. It computes
//! ```text
//! q'     = fl(q * c_hat),  c_hat = fl(c)
//! s_j    = dot(q', k_j)                           one chain over the channels, in their order
//! per tile of keys, in order, if it holds a visible key:
//!     m_new  = max(m, s_j of the tile)
//!     corr   = E(m - m_new)                       E = exp2; E(0) = 1 and E(-inf) = 0, both exactly
//!     p_j    = E(s_j - m_new)
//!     l      = l * corr + sum_j p_j               the tile's sum starts at 0 and is a chain in key order,
//!     o      = o * corr + sum_j p_j v_j           the multiply-add that joins it to the running sum comes after
//! o      = o * fl(1 / l),  lse = m * ln 2 + ln l
//! ```
//! `u = 2^-24`: every operation returns its exact result times `1 + d`, `|d| <= u`, plus at most 2^-150 when a
//! product is subnormal. `gamma_n = n u / (1 - n u)` bounds n such factors. `e u` bounds E's relative error.
//!
//! # 1. Scores
//! `|s_hat_j - s_j| <= D_j`. A term `q_c k_c` is rounded with c_hat, with q'_c, and at most d times in the
//! chain: term c meets `d - c` fused operations, or its own product and the additions after it, of which
//! the first, `0 + x`, is exact. `D_j = gamma_(d+2) |c| sum_c |q_c k_jc|`, plus the underflow of c_hat, q' and
//! the products.
//!
//! # 2. Weights
//! Follow key j to the end: its weight is p_j times every later corr. The exponents add up, and so do the
//! errors of the subtractions, u times each result. The results have one sign, so their sum **telescopes**:
//! however many tiles, the exponent is `s_hat_j - m_hat` with an error of at most
//! `X_j = u (m_hat - s_hat_j) <= u (max_r (s_r + D_r) - (s_j - D_j))`.
//! E was rounded once for p_j and once for each of the `R_j` later tiles that raised the maximum (a tile that
//! does not has corr = E(0) = 1). So with `kappa = 2^(m - m_hat)`, which is common to all keys,
//! ```text
//! a_hat_j = kappa a_j (1 + theta_j),   |theta_j| <= Theta_j = 2^(D_j + X_j) (1 + e u)^(1 + R_j) - 1
//! ```
//! (the lower side, `1 - 2^-(D_j + X_j) (1 - e u)^(1 + R_j)`, is smaller). R_j counts the tiles whose
//! `max (s + D)` exceeds every earlier `s - D`. A key whose `s - D` reaches every other `s + D` up to the end of its
//! tile is the maximum there: p_j = E(0) = 1 was not rounded, and R_j takes the place of `1 + R_j`. E flushes results
//! under 2^-126 to 0, whether p_j or a corr: a key that can suffer that, and then once, loses another 2^-126 of
//! weight. The same theta_j stands in the numerator and in the denominator: that is why `|v - o|` and not `|v|`
//! appears below.
//!
//! # 3. Sums
//! The additions that follow leave, in units of `kappa L`,
//! ```text
//! numerator    N = sum_j w_j (1 + theta_j) v_j + f_o,   |f_o| <= F_o
//! denominator  M = sum_j w_j (1 + theta_j)     + f_l,   |f_l| <= F_l
//! ```
//! *Gamma form.* p_j v_j takes part in `n_j` roundings, and `F_o = sum_j w_j (1 + Theta_j) gamma_(n_j) |v_j|`.
//! Fused, n_j = the keys of its tile from j on, and one for each tile from its own on that is joined to an earlier
//! one (the row's first tile joins zeros, exactly). Unfused, the product is rounded too, although the tile's first
//! addition is then exact, and so is each `o * corr` with corr != 1: there are R_j. `F_l` is the same without v
//! and without the product.
//!
//! *Running form.* A rounding costs at most u times the result, so F is u times the sum of all partial sums, in
//! magnitude. They are exact ones (computed here, in the kernel's order) plus what their terms, `w_j Theta_j |v_j|`,
//! and the roundings so far can have added: `Sum` in `rounding.rs` solves that recursion, so no second-order term
//! is neglected. Seen in units of `kappa L` a partial sum is a plain prefix of `sum w_j v_j`, and no rescaling is
//! emulated. The scores' D_j come from the same recursion. With V of both signs partial sums are much smaller than
//! sums of magnitudes.
//!
//! # 4. The quotient
//! `sum w_j = 1` and `sum w_j v_j = o`, hence, exactly,
//! ```text
//! N - o M = sum_j w_j theta_j (v_j - o) + f_o - o f_l
//! M      >= 1 - S - F_l,                                 S = sum_j w_j Theta_j
//! |N/M - o| <= E = (sum_j w_j Theta_j |v_j - o| + F_o + |o| F_l) / (1 - S - F_l)
//! |o_hat - o| <= E + (2u + u^2) (|o| + E) + 2^-150 = E'  reciprocal, then product: two roundings
//! ```
//! Stored in a format with p significant bits and the smallest subnormal t, o_hat is rounded once more, by half an
//! ulp: `E' + max(2^-p (|o| + E'), t / 2)`.
//!
//! # 5. The log-sum-exp
//! `l_hat = kappa L M`, so `m_hat ln 2 + ln l_hat = lse + ln M`: kappa drops out again, and
//! `|ln M| <= Y / (1 - Y)` with `Y = S + F_l`. Then come the rounding of ln 2, of its product with m_hat, of `ln`
//! (1 ulp) and of the sum.
//!
//! # 6. Splits
//! Cut the keys into ranges, reduce each, merge the states: a merge multiplies one of the two sides by an E != 1
//! and adds. In whatever tree, a key meets at most `splits - 1` of each. The cuts are not known here, so R_j counts
//! from j's own score upward, and F comes from the gamma form, whose n_j a cut can only lessen.
//!
//! # 7. The oracle's own rounding
//! What is compared is not o but its f64 value, so the same formulas at `u = 2^-53` are added (`U64`). The
//! evaluation of the bound itself is paid for by a factor `1 + 2^-20`.
//!
//! # 8. Where nothing is certified
//! There the bound is infinite:
//! - `S + F_l >= 1`;
//! - `|c| sum_c |q_c k_c|` of a visible key, or a q', reaches 2^127: a score may overflow (a score of -inf is such
//!   a case);
//! - `sum_j |v_jc|` reaches 2^127: channel c may overflow on its way. It is not enough that the *final* weights keep
//!   the sum small: while the maximum is still low, p is 1;
//! - `|o| + E'` reaches what the format that o is stored in rounds to infinity.
//!
//! Subnormals are assumed to be kept, not flushed, except by E and by products of bf16 (section 9).
//!
//! # 9. Products of bf16
//! `dp(x, (a, b), (y, z))`, one step of x86's `vdpbf16ps`, adds `a y` and `b z` to x. Assumed of it: the products are
//! exact; at most two sums are rounded, to nearest even, in an order unknown, so that between them it holds `x + a y`,
//! `x + b z` or `a y + b z`; an operand under 2^-126 counts as 0; a sum under 2^-126 becomes 0.
//! (`tests/certified/instruction.rs` asks the processor.) With q, k, v in bf16 the kernel computes, instead,
//! ```text
//! s_j    = fl(dot(q, k_j) * c_hat)                the chain: steps over the channels (0, 1), (2, 3), ...
//! p_j    = bf16(E(s_j - m_new))                   8 significant bits; l and o both sum the rounded weight
//! o      = o * corr + sum_j p_j v_j               the tile's sum: steps over two neighbours, or over one key and 0
//! ```
//! and everything else as before, fused. Which keys share a step is not known.
//!
//! *Scores.* A sum meets one rounding for each channel; the first is exact, for a product of 8 by 8 bits fits into 24
//! (or is the sum of both products that is then added to 0 exactly), and so is adding the 0 beside an odd last
//! channel. Let `A_j = gamma_(d-1) sum_c |q_c k_jc|`, or its running form, plus 2^-126 for each channel, plus the
//! `|q_c k_jc|` with a subnormal factor. c_hat and its product come after:
//! `D_j = |c| (A_j + (2u + u^2) (|<q, k_j>| + A_j))`, plus their underflow.
//!
//! *Weights.* The rounded p_j is the weight that numerator *and* denominator sum, so its error is common to both and
//! belongs to theta: Theta_j gains a factor `1 + 2^-8` (not where p_j = 1, which bf16 holds). The corr factors
//! are not rounded to bf16, so it enters once, whatever R_j is; and p_j is 0 or at least 2^-126, so no step reads a
//! weight as 0. Had l summed the unrounded p_j, 2^-8 would stand in F_o, before `|v|` instead of `|v - o|`.
//!
//! *Sums.* n_j counts, in its tile, the roundings from j's own on, one a key, and one more because j may be the second
//! of its step and meet the first one's rounding; but not the tile's first, which is exact as above. The running form
//! charges the rounding at a key with the largest of the three sums that a step which begins there may hold. F_o gains
//! 2^-126 / (kappa L) for each key: what a flushed sum loses, or a v_jc that counts as 0. Not both, for adding 0 is
//! not flushed. F_l is the fused one.
//!
//! *Overflow.* q is not scaled first, so `sum_c |q_c k_c|` as well must stay under 2^127.
//!
//! # 10. Sinks
//! A learned sink is one more key, of score `z` and value 0, in a tile of its own that comes last. Its score is
//! `fl(z * fl(log2 e))`: two roundings. It joins by `l * corr + E(z - m_new)` and `o * corr`, which is what a tile does
//! (a product that is rounded where the multiply-add of a tile is, and no sum).
//!
//! # 11. Modified scores
//! A modifier takes `s_j` to `f_j(s_j)`: what D_j was before becomes `slope D_j`, the slope being the most that f_j can
//! multiply a difference by, plus what its own arithmetic may miss of `f_j(s_hat_j)`. Who states the problem says both.

//!
//! # 12. Values beside those of the keys
//! `o = sum_j w_j (v_j + b_j)`, where keys at one distance from the query share b. After each tile
//! ```text
//! r_t = sum_(j at distance t) p_j                 one chain in key order
//! o   = o + dot(r, b)                             one chain over the distances
//! ```
//! With n visible keys in its tile p_j b_j meets at most n - 1 roundings in r_t, n in the chain (of which at most n terms
//! are not 0, and adding 0 is exact) and one of the sum with o; and two, not one, in each later tile. p_j v_j meets one
//! more in its own and in each later tile. `|v_j + b_j - o|` takes the place of `|v_j - o|`, and `|v_j| + |b_j|` that of
//! `|v_j|` where overflow is looked at. F_o comes from the gamma form.

mod scores;
mod sums;
mod weights;

use std::f64::consts::LOG2_E;

use crate::arithmetic::{Arithmetic, Format};
use crate::attend::{Row, SINK, Softmax};
use crate::problem::{Modified, Problem};
use crate::rounding::{LN_ERROR, OVERFLOW, U, U64, UNDERFLOW};
use scores::Scores;
use sums::Sums;
use weights::{Passage, Weights};

/// How far a correct kernel's row may be from the exact [`Row`].
///
/// Infinite where nothing is certified. 0 where the exact result is not finite: there the kernel's must not be
/// finite either.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// `|o_hat - o|`, `[v_dim]`.
    pub o: Vec<f64>,
    /// `|lse_hat - lse|`.
    pub lse: f64,
}

/// Which of the two bounds. Both are certificates; neither is always the smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Counts roundings: `gamma_n * sum |terms|`. The textbook bound.
    Gamma,
    /// Follows the partial sums: `u * sum |partial sums|`. Tighter where signs cancel.
    Running,
}

/// The exact row, and the bound in its [gamma form](Form::Gamma).
///
/// # Example
/// ```
/// use oracle::{Arithmetic, Problem, Shape, bound_row};
/// let shape = Shape { batch: 1, q_len: 1, kv_len: 2, q_heads: 1, kv_heads: 1, head_dim: 1, v_dim: 1 };
/// let problem = Problem { shape, scale: 1.0, q: &[1.0], k: &[0.0, 0.0], v: &[1.0, 3.0], visible: &|_| true, sinks: &[], modify: None, beside: None };
/// let (row, bound) = bound_row(&problem, &Arithmetic::fused(96), 0, 0, 0);
/// assert_eq!(row.o, [2.0]);
/// assert!(bound.o[0] > 0.0 && bound.o[0] < 1e-6);
/// ```
pub fn bound_row(
    problem: &Problem,
    arithmetic: &Arithmetic,
    b: usize,
    i: usize,
    h: usize,
) -> (Row, Bound) {
    bound(problem, arithmetic, Form::Gamma, (b, i, h))
}

/// The exact row, and the bound in its [running form](Form::Running). Use as [`bound_row`].
pub fn running_bound_row(
    problem: &Problem,
    arithmetic: &Arithmetic,
    b: usize,
    i: usize,
    h: usize,
) -> (Row, Bound) {
    bound(problem, arithmetic, Form::Running, (b, i, h))
}

/// Both forms, for row `(b, i, h)`.
pub(crate) fn bound(
    problem: &Problem,
    arithmetic: &Arithmetic,
    form: Form,
    (b, i, h): (usize, usize, usize),
) -> (Row, Bound) {
    arithmetic.check();
    let softmax = Softmax::of_row(problem, b, i, h);
    let row = softmax.weigh(problem, b, i, h);
    let everywhere = |bound| Bound { o: vec![bound; row.o.len()], lse: bound };

    let c = (problem.scale * LOG2_E).abs();
    if softmax.keys.is_empty() {
        return (row.clone(), everywhere(0.0));
    }
    if c.is_finite() && softmax.s.iter().any(|s| s.is_nan() || *s == f64::INFINITY) {
        return (row.clone(), everywhere(0.0));
    }
    let no_value = vec![0.0; row.o.len()];
    let keys = || softmax.keys.iter().filter(|j| **j != SINK);
    let q = problem.q_row(b, i, h);
    let k: Vec<&[f32]> = keys().map(|&j| problem.k_row(b, j, h)).collect();
    let mut v: Vec<&[f32]> = keys().map(|&j| problem.v_row(b, j, h)).collect();
    assert!(
        k.iter().chain(&v).chain([&q]).all(|row| arithmetic.products.take(row)),
        "q, k and v must be bf16 numbers"
    );
    let Some(mut d) = (Scores { arithmetic, form, c, q }).errors(&k) else {
        return (row.clone(), everywhere(f64::INFINITY));
    };
    if problem.modify.is_some() {
        for (d, &j) in d.iter_mut().zip(keys()) {
            let Modified { s, slope, error } = problem.score(b, i, h, j);
            *d = slope * *d + error * LOG2_E + 8.0 * U64 * s.abs();
        }
    }
    if let Some(logit) = problem.sink(h) {
        v.push(&no_value);
        d.push(sink_error(logit));
    }
    let mut beside: Vec<Vec<f32>> = keys().map(|&j| problem.beside(b, i, h, j)).collect();
    beside.resize(v.len(), Vec::new());
    let v = Values { rows: &v, beside: problem.beside.is_some().then_some(&beside[..]) };
    let passage = Passage::new(arithmetic, &softmax, &d);
    let weights = Weights::new(arithmetic, &softmax, &d, &passage);
    let sums = match form {
        Form::Running if arithmetic.splits == 1 && v.beside.is_none() => {
            Sums::running(arithmetic, &weights, &passage, v.rows)
        }
        _ => Sums::gamma(arithmetic, &weights, &passage, &v),
    };
    let computed = o_bound(&row, &weights, &sums, &v);
    let o = row.o.iter().zip(computed).map(|(&o, b)| stored(arithmetic.output, o, b)).collect();
    let lse = lse_bound(&row, &softmax, &weights, &sums);
    (row, Bound { o, lse })
}

/// The values of the keys of a row, and those beside them.
pub(crate) struct Values<'a> {
    pub(crate) rows: &'a [&'a [f32]],
    /// A row for each, empty for a sink.
    pub(crate) beside: Option<&'a [Vec<f32>]>,
}

impl Values<'_> {
    /// Channel `c` of what is beside the value of key `n`.
    pub(crate) fn beside(&self, n: usize, c: usize) -> f64 {
        let row = self.beside.and_then(|rows| rows[n].get(c));
        row.map_or(0.0, |x| f64::from(*x))
    }
}

/// Section 10.
fn sink_error(logit: f64) -> f64 {
    let z = logit.abs() * LOG2_E;
    if z.is_finite() { (TWO_ROUNDINGS + 8.0 * U64) * z + 2.0 * UNDERFLOW } else { 0.0 }
}

/// `(1 + u)^2 - 1`.
const TWO_ROUNDINGS: f64 = (2.0 + U) * U;

/// Pays for the rounding of the bound's own evaluation.
const EVALUATION: f64 = 1.0 + 1.0 / 1_048_576.0;

/// Section 4.
fn o_bound(row: &Row, weights: &Weights, sums: &Sums, values: &Values) -> Vec<f64> {
    let denominator = 1.0 - weights.total_error - sums.l;
    let mut drift = vec![0.0; row.o.len()]; // sum_j w_j Theta_j |v_j - o|
    let mut size = vec![0.0; row.o.len()]; // sum_j |v_j|
    for (n, error) in weights.error.iter().enumerate() {
        for (c, &v) in values.rows[n].iter().enumerate() {
            let (v, beside) = (f64::from(v), values.beside(n, c));
            drift[c] += error * (v + beside - row.o[c]).abs();
            size[c] += v.abs() + beside.abs();
        }
    }
    let of_channel = |c: usize| {
        let o = row.o[c].abs();
        if !o.is_finite() {
            return 0.0;
        }
        if !(denominator > 0.0 && size[c] < OVERFLOW) {
            return f64::INFINITY;
        }
        let quotient = (drift[c] + sums.o[c] + o * sums.l) / denominator;
        (quotient + TWO_ROUNDINGS * (o + quotient) + UNDERFLOW) * EVALUATION
    };
    (0..row.o.len()).map(of_channel).collect()
}

/// Section 4, its last line: what the bound `computed` becomes when o is stored. 0 stays: nothing was to be rounded.
fn stored(output: Format, o: f64, computed: f64) -> f64 {
    if computed == 0.0 {
        return 0.0;
    }
    computed + output.storage_error(o.abs() + computed) * EVALUATION
}

/// Section 5.
fn lse_bound(row: &Row, softmax: &Softmax, weights: &Weights, sums: &Sums) -> f64 {
    let y = weights.total_error + sums.l;
    if y >= 1.0 || y.is_nan() {
        return f64::INFINITY;
    }
    let of_m_and_l = y / (1.0 - y);
    // m_hat and l_hat differ from m and L, which changes what their roundings cost.
    let m_shift = (weights.unit * softmax.l).ln();
    let m_ln2 = softmax.m.abs() + m_shift;
    let ln_l = softmax.l.ln() + m_shift + of_m_and_l;
    let before_sum = of_m_and_l + TWO_ROUNDINGS * m_ln2 + LN_ERROR * U * ln_l + 2.0 * UNDERFLOW;
    let own = 4.0 * U64 * (softmax.m.abs() + softmax.l.ln() + 1.0);
    (before_sum + U * (row.lse.abs() + before_sum) + own) * EVALUATION
}
