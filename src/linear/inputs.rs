//! What linear attention reads, beside its state.

use super::family::{Family, Gate, Rule};
use super::shape::LinearShape;
use crate::dispatch::check_len;
use crate::error::{Error, Tensor};
use crate::view::AnyView;

/// What linear attention reads. Tensors are stored as f32, `half::f16` or `half::bf16`, in any mix.
///
/// Queries and keys are neither scaled nor mapped to features yet. What a family does not need must not be given.
#[derive(Clone, Copy, Debug)]
pub struct LinearInputs<'a> {
    pub(crate) q: Option<AnyView<'a>>,
    pub(crate) kv: Option<[AnyView<'a>; 2]>,
    pub(crate) decay: Option<&'a [f32]>,
    pub(crate) gates: Option<AnyView<'a>>,
    pub(crate) beta: Option<AnyView<'a>>,
    pub(crate) bonus: Option<&'a [f32]>,
    pub(crate) low_rank: Option<[AnyView<'a>; 2]>,
}

impl<'a> LinearInputs<'a> {
    const NONE: Self = LinearInputs {
        q: None,
        kv: None,
        decay: None,
        gates: None,
        beta: None,
        bonus: None,
        low_rank: None,
    };

    /// Queries `[batch, len, q_heads, head_dim]`, keys `[batch, len, k_heads, head_dim]` and values
    /// `[batch, len, v_heads, v_dim]`.
    #[must_use]
    pub fn new(
        q: impl Into<AnyView<'a>>,
        k: impl Into<AnyView<'a>>,
        v: impl Into<AnyView<'a>>,
    ) -> Self {
        LinearInputs { q: Some(q.into()), kv: Some([k.into(), v.into()]), ..Self::NONE }
    }

    /// Only what is learnt: nothing is read, and the output is left alone.
    #[must_use]
    pub fn learn(k: impl Into<AnyView<'a>>, v: impl Into<AnyView<'a>>) -> Self {
        LinearInputs { kv: Some([k.into(), v.into()]), ..Self::NONE }
    }

    /// Only queries: each reads the state as it is, which learns nothing. After [`LinearInputs::learn`] of all
    /// tokens this is attention that sees them all, or cross-attention.
    #[must_use]
    pub fn read(q: impl Into<AnyView<'a>>) -> Self {
        LinearInputs { q: Some(q.into()), ..Self::NONE }
    }

    /// One gate a state head, for [`Gate::Head`].
    #[must_use]
    pub fn decay(self, decay: &'a [f32]) -> Self {
        LinearInputs { decay: Some(decay), ..self }
    }

    /// Gates `[batch, len, states, 1]` for [`Gate::Token`], `[batch, len, states, head_dim]` for [`Gate::Channel`].
    #[must_use]
    pub fn gates(self, gates: impl Into<AnyView<'a>>) -> Self {
        LinearInputs { gates: Some(gates.into()), ..self }
    }

    /// How much of a correction is learnt, `[batch, len, states, 1]`, for [`Rule::Delta`].
    #[must_use]
    pub fn beta(self, beta: impl Into<AnyView<'a>>) -> Self {
        LinearInputs { beta: Some(beta.into()), ..self }
    }

    /// `u`, `[states, head_dim]`, for [`Rule::Bonus`].
    #[must_use]
    pub fn bonus(self, u: &'a [f32]) -> Self {
        LinearInputs { bonus: Some(u), ..self }
    }

    /// `a` and `b`, `[batch, len, states, head_dim]` each, for [`Rule::LowRank`].
    #[must_use]
    pub fn low_rank(self, a: impl Into<AnyView<'a>>, b: impl Into<AnyView<'a>>) -> Self {
        LinearInputs { low_rank: Some([a.into(), b.into()]), ..self }
    }

    /// Whether there is all that the family needs, and no more, in the shape that the plan says.
    pub(crate) fn check(&self, shape: &LinearShape, family: Family) -> Result<(), Error> {
        let learns = self.kv.is_some();
        let [k, v] = pair(self.kv);
        let [a, b] = pair(self.low_rank);
        let Family { gate, rule } = family;
        let (by_head, is_low) = (gate == Gate::Head, rule == Rule::LowRank);
        let is_gated = matches!(gate, Gate::Token | Gate::Channel);
        let (one, wide) = (shape.per_state(1), shape.per_state(shape.heads.dim));
        view(Tensor::Q, self.q, shape.q(), self.q.is_some())?;
        view(Tensor::K, k, shape.k(), learns)?;
        view(Tensor::V, v, shape.v(), learns)?;
        view(Tensor::Gates, self.gates, shape.gates(family), learns && is_gated)?;
        view(Tensor::Beta, self.beta, one, learns && rule == Rule::Delta)?;
        view(Tensor::LowRankA, a, wide, learns && is_low)?;
        view(Tensor::LowRankB, b, wide, learns && is_low)?;
        let states = shape.heads.states();
        list(Tensor::Decay, self.decay, states, learns && by_head)?;
        let channels = states.saturating_mul(shape.heads.dim);
        list(Tensor::Bonus, self.bonus, channels, learns && rule == Rule::Bonus)
    }
}

fn pair<T>(pair: Option<[T; 2]>) -> [Option<T>; 2] {
    match pair {
        Some([a, b]) => [Some(a), Some(b)],
        None => [None, None],
    }
}

/// Whether a tensor is there if and only if it is needed.
fn is_there<T>(tensor: Tensor, given: Option<T>, is_needed: bool) -> Result<Option<T>, Error> {
    match given {
        None if is_needed => Err(Error::Missing { tensor }),
        Some(_) if !is_needed => Err(Error::Unwanted { tensor }),
        given => Ok(given),
    }
}

fn view(
    tensor: Tensor,
    view: Option<AnyView<'_>>,
    expected: [usize; 4],
    is_needed: bool,
) -> Result<(), Error> {
    match is_there(tensor, view, is_needed)?.map(|view| view.dims()) {
        Some(given) if given != expected => Err(Error::Shape { tensor, expected, given }),
        _ => Ok(()),
    }
}

fn list(tensor: Tensor, list: Option<&[f32]>, needed: usize, is_needed: bool) -> Result<(), Error> {
    match is_there(tensor, list, is_needed)? {
        Some(list) => check_len(tensor, needed, list.len()),
        None => Ok(()),
    }
}
