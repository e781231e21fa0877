//! Linear attention: a state that forgets, learns and is read, and a certified bound for each of its forms.
//!
//! ```text
//! S~ = diag(a) S                                       a = exp(g)
//! S' = S~ + k v^T                                      Add;  Bonus reads before it learns: o = q^T (S + diag(u) k v^T)
//! S' = S~ + k w^T,    w = beta (v - S~^T k)            Delta
//! S' = S~ + b (S^T a')^T + k v^T                       LowRank
//! o  = q^T S'
//! ```
//! # What a kernel may do
//! From the state S at the start of a chunk of C tokens (1: one after the other) it computes, in f32,
//! ```text
//! o_i = sum_c (q_i P_i)_c S_c + sum_j M_ij w_j,   M_ij = sum_c q_ic k_jc D_ijc,   S' = P S + sum_j (k_j D_j) w_j^T
//! ```
//! where P and D are products of the tokens' factors a, each an exp2 of a rounded product, and w solves the triangular
//! system of the rule. With C = 1 the recurrence does the same in fewer operations.
//!
//! # The bound
//! Let `S^` follow from the *computed* w (or p = S^T a') and the computed state at the chunk's start in exact arithmetic. Its
//! error `delta = S^ - S` obeys the recurrence itself,
//! ```text
//! delta_i = A_i delta_(i-1) + d_i eta_i + (k^ - k) w^T
//! A = diag(a)  |  (I - beta k k^T) diag(a), d = k  |  diag(a) + b a'^T, d = b
//! ```
//! where eta is what rounding did to w, seen from `S^`. Everything else is local: magnitudes since the chunk's start,
//! ```text
//! B_i = a_i B_(i-1) + |k_i| |w_i|^T + ...,         B_0 = |S| + E         what sums of magnitudes reach
//! T_i = a_i (T_(i-1) + eps_i B_(i-1)),             T_0 = 0               what decays have erred by, eps_i each
//! Z_i = max(a_i, 1) Z_(i-1) + |k_i| |w_i|^T + ..., Z_0 = B_0             the same without decay: what flushing may lose
//! ```
//! A sum of n terms, each a product, costs `gamma_n` of its magnitudes (Higham, lemma 3.1). So `w` errs by
//! `|beta| (gamma |k|^T a B + |k|^T T + ..)` and two roundings, an output by `gamma |q|^T B + |q|^T T + ..` beside
//! `|q^T delta|`, and the state, when a chunk ends, by `gamma B + T`.
//!
//! Where A is diagonal, E propagates element by element. Otherwise magnitudes would grow where A itself does not: there the
//! 2-norm `e_j` of each column propagates, `e_j <- |A| e_j + ...`, with the norm of A from its singular values (`norm.rs`).
//! With unit keys and beta within 0..=2 it is at most that of the decay, so an endless stream stays certified.
//!
//! Scores multiply rows before values do: what is lost of them below the range of f32 counts `sum_j |w_j|` times
//! (`extremes.rs`).
//!
//! Nothing is certified where a magnitude reaches 2^127, that of a score and of a product of factors too, or a divisor
//! does not exceed its error.

mod definition;
mod entries;
mod extremes;
mod norm;
mod sums;
mod walk;

use crate::arithmetic::Format;

pub use definition::definition;
pub use walk::certify;

/// How the state forgets: natural logarithms, as the kernel is given them.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'a> {
    /// It does not.
    None,
    /// The same gate at every token.
    Head(f32),
    /// One a token.
    Token(&'a [f32]),
    /// `[n, d_k]`.
    Channel(&'a [f32]),
}

/// How the state learns.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'a> {
    /// `S += k v^T`.
    Add,
    /// Read before; `u`, `[d_k]`.
    Bonus(&'a [f32]),
    /// `beta`, one a token.
    Delta(&'a [f32]),
    /// `[n, d_k]` each.
    LowRank {
        /// What is looked for in the state before it forgets.
        a: &'a [f32],
        /// Where it is added.
        b: &'a [f32],
    },
}

/// What queries and keys become first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// Nothing else.
    Identity,
    /// `x + 1` above 0, `e^x` below.
    EluPlusOne,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`.
    SquaredRelu,
    /// `e^x`.
    Exp,
}

/// What outputs are divided by: `q^T z + eps`.
#[derive(Clone, Copy, Debug)]
pub struct Normaliser<'a> {
    /// What is added to it.
    pub eps: f32,
    /// The sum of keys at the start.
    pub z: &'a [f32],
    /// The sum of their magnitudes.
    pub z_abs: &'a [f32],
}

/// One head of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// Width of a query and of a key.
    pub d_k: usize,
    /// Width of a value.
    pub d_v: usize,
    /// `[n, d_k]`.
    pub q: &'a [f32],
    /// `[n, d_k]`.
    pub k: &'a [f32],
    /// `[n, d_v]`.
    pub v: &'a [f32],
    /// How it forgets.
    pub gate: Gate<'a>,
    /// How it learns.
    pub rule: Rule<'a>,
    /// Of queries and keys.
    pub features: Features,
    /// After features: `x / sqrt(sum x^2 + eps)`.
    pub l2: Option<f32>,
    /// Of queries, after that; a kernel rounds it once.
    pub scale: f64,
    /// `[d_k, d_v]` at the start.
    pub state: &'a [f32],
    /// With [`Rule::Add`] only.
    pub normaliser: Option<Normaliser<'a>>,
}

impl Problem<'_> {
    /// Tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.k.len() / self.d_k
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.k.is_empty()
    }

    /// The gates of a token, for each channel.
    fn gates(&self, i: usize) -> Vec<f64> {
        let d = self.d_k;
        match self.gate {
            Gate::None => vec![0.0; d],
            Gate::Head(g) => vec![f64::from(g); d],
            Gate::Token(g) => vec![f64::from(g[i]); d],
            Gate::Channel(g) => g[i * d..(i + 1) * d].iter().map(|g| f64::from(*g)).collect(),
        }
    }
}

/// The freedom that a kernel has.
#[derive(Clone, Copy, Debug)]
pub struct Arithmetic {
    /// Products and sums are one operation.
    pub fused: bool,
    /// Tokens at once; 1: one after the other.
    pub chunk: usize,
    /// What outputs are rounded to.
    pub output: Format,
    /// What the state is rounded to, at the end.
    pub state: Format,
}

/// Exact values, and how far a kernel's may be from them.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// `[n, d_v]`.
    pub o: Vec<f64>,
    /// Its bound; infinite where nothing is certified.
    pub o_bound: Vec<f64>,
    /// `[d_k, d_v]`, after the last token.
    pub state: Vec<f64>,
    /// Its bound.
    pub state_bound: Vec<f64>,
    /// `[d_k]`: the sum of keys.
    pub z: Vec<f64>,
    /// Its bound.
    pub z_bound: Vec<f64>,
    /// Of each token's divisor; 1 where there is none.
    pub condition: Vec<f64>,
}

fn widened(row: &[f32]) -> Vec<f64> {
    row.iter().map(|x| f64::from(*x)).collect()
}
