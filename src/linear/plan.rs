//! The plan: everything about a linear attention that can be checked before there are any data.

use super::call::LinearCall;
use super::family::{Family, Rule};
use super::features::{FeatureMap, Features};
use super::inputs::LinearInputs;
use super::memory::Memory;
use super::room::Room;
use super::shape::LinearShape;
use crate::dispatch::{Available, Lent, LinearEntry};
use crate::error::{Error, Tensor};
use crate::simd::Level;
use crate::view::AnyViewMut;

/// How tokens are worked through. The results are the same within their error bounds, not to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One after the other: the state goes by for each. Little scratch.
    Recurrent,
    /// [`CHUNK`](crate::CHUNK) at once.
    Chunked,
}

/// Linear attention of one shape and family: a state of fixed size, whatever the number of tokens.
///
/// ```text
/// S := diag(a) S, and learns k v^T in the way of its rule           o = scale q^T S
/// ```
/// ```
/// use flashlet::{Family, LinearAttention, LinearHeads, LinearInputs, LinearOutputs, LinearShape, Memory};
/// use flashlet::{View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// // Gated DeltaNet, one token of one sequence.
/// let shape = LinearShape { batch: 1, len: 1, heads: LinearHeads::new(2, 16) };
/// let plan = LinearAttention::new(shape, Family::GATED_DELTA_NET)?.l2_normalised(1e-6)?;
///
/// let (q, k, v) = ([0.5; 32], [0.25; 32], [1.0; 32]);
/// let (g, beta) = ([-0.1, -0.2], [0.9, 1.0]);
/// let inputs = LinearInputs::new(
///     View::packed(&q, shape.q())?, // [batch, len, heads, dim]
///     View::packed(&k, shape.k())?,
///     View::packed(&v, shape.v())?,
/// )
/// .gates(View::packed(&g, shape.per_state(1))?)
/// .beta(View::packed(&beta, shape.per_state(1))?);
///
/// let (mut state, mut o) = ([0.0_f32; 2 * 16 * 16], [0.0; 32]);
/// let mut scratch = vec![0.0; plan.scratch_len()];
/// let outputs = LinearOutputs::new(ViewMut::packed(&mut o, shape.o())?);
/// plan.bind(inputs, outputs, Memory::new(&mut state, &shape)?, &mut scratch)?.run();
/// assert!((o[0] - 0.9 / 4.0).abs() < 1e-5); // <q, k> = 1 once normalised, times 1 / sqrt(16)
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LinearAttention<'m> {
    pub(crate) shape: LinearShape,
    pub(crate) family: Family,
    pub(crate) features: Features<'m>,
    pub(crate) scale: f32,
    /// What is added to a divisor, where outputs are normalised.
    pub(crate) eps: Option<f32>,
    pub(crate) entry: LinearEntry,
    /// That of the entry.
    pub(crate) level: Available,
}

impl<'m> LinearAttention<'m> {
    /// Fewer tokens are worked through one after the other unless [`LinearAttention::form`] says otherwise.
    const FEW: usize = 4;

    /// A plan for the best level of this processor, with `scale = 1 / sqrt(head_dim)`.
    ///
    /// # Errors
    /// [`Error::LinearHeads`], [`Error::HeadDim`], [`Error::ValueDim`], [`Error::Overflow`].
    pub fn new(shape: LinearShape, family: Family) -> Result<Self, Error> {
        shape.check()?;
        let form = if shape.len < Self::FEW { Form::Recurrent } else { Form::Chunked };
        let entry = LinearEntry::choose(Available::detect(), form, family, shape.heads.widths());
        Self::with_entry(shape, family, entry)
    }

    /// A plan that runs a given entry: what a module made for one model calls.
    ///
    /// # Errors
    /// As [`LinearAttention::new`]; [`Error::Level`] where the entry's level is not available; [`Error::EntryFamily`] and
    /// [`Error::EntryDims`] if it was made for others.
    pub fn with_entry(
        shape: LinearShape,
        family: Family,
        entry: LinearEntry,
    ) -> Result<Self, Error> {
        shape.check()?;
        let level = entry.check(family, shape.heads.widths())?;
        let features = Features { map: None, l2: None };
        let plan = LinearAttention { shape, family, features, scale: 1.0, eps: None, entry, level };
        Ok(plan.scale(1.0 / libm::sqrt(shape.heads.dim as f64)))
    }

    /// The same plan with another factor for the queries: 1 for Mamba-2 and RWKV.
    #[must_use]
    pub const fn scale(self, scale: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
        let scale = scale as f32;
        LinearAttention { scale, ..self }
    }

    /// The same plan with features of queries and keys.
    #[must_use]
    pub fn features<M: FeatureMap>(self, map: &'m M) -> Self {
        LinearAttention { features: Features { map: Some(map), ..self.features }, ..self }
    }

    /// The same plan with queries and keys, after their features, divided by their length: `x / sqrt(sum x^2 + eps)`. Delta rules
    /// need keys no longer than that, or the state grows.
    ///
    /// # Errors
    /// [`Error::Epsilon`].
    pub fn l2_normalised(self, eps: f32) -> Result<Self, Error> {
        let l2 = Some(check_eps(eps)?);
        Ok(LinearAttention { features: Features { l2, ..self.features }, ..self })
    }

    /// The same plan with outputs divided by `q^T z + eps`, where `z` sums what the state sums of the keys alone. Features should not be
    /// negative: what [`LinearCall::run`] returns tells where those that are make the quotient worthless. `eps` is for the sake of models
    /// that were trained with one (FLA: 1e-10); none is needed, as a divisor of 0 gives 0.
    ///
    /// # Errors
    /// [`Error::Normalised`] unless the rule is [`Rule::Add`]; [`Error::Epsilon`].
    pub fn normalised(self, eps: f32) -> Result<Self, Error> {
        match self.family.rule {
            Rule::Add => Ok(LinearAttention { eps: Some(check_eps(eps)?), ..self }),
            rule => Err(Error::Normalised { rule }),
        }
    }

    /// The same plan in one form or the other.
    #[must_use]
    pub fn form(self, form: Form) -> Self {
        LinearAttention { entry: self.choose(self.level, form), ..self }
    }

    /// The same plan on one level, for tests and measurements.
    ///
    /// # Errors
    /// [`Error::Level`] where this processor lacks it.
    pub fn level(self, level: Level) -> Result<Self, Error> {
        let level = Available::new(level).ok_or(Error::Level { level })?;
        Ok(LinearAttention { entry: self.choose(level, self.entry.form()), level, ..self })
    }

    fn choose(&self, level: Available, form: Form) -> LinearEntry {
        LinearEntry::choose(level, form, self.family, self.shape.heads.widths())
    }

    /// The entry that it runs.
    #[must_use]
    pub const fn entry(&self) -> LinearEntry {
        self.entry
    }

    /// Floats of scratch.
    #[must_use]
    pub const fn scratch_len(&self) -> usize {
        Room::new(&self.shape.heads, self.family, self.entry.form()).floats()
    }

    /// Floats of scratch beyond that for a memory that is not f32, is transposed or has gaps: room for a state.
    #[must_use]
    pub const fn staging_len(&self) -> usize {
        Room::staging(&self.shape.heads)
    }

    /// Checks tensors against the plan. Running what it returns cannot fail.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Unwanted`] for what the family needs or does not; [`Error::Shape`] and
    /// [`Error::Length`] for tensors of other shapes; [`Error::Scratch`].
    pub fn bind<'a>(
        &self,
        inputs: LinearInputs<'a>,
        outputs: LinearOutputs<'a>,
        memory: Memory<'a>,
        scratch: &'a mut [f32],
    ) -> Result<LinearCall<'a>, Error>
    where
        'm: 'a,
    {
        inputs.check(&self.shape, self.family)?;
        memory.check(&self.shape, self.eps.is_some())?;
        let LinearOutputs { o, condition } = outputs;
        if condition.is_some() && self.eps.is_none() {
            return Err(Error::Unwanted { tensor: Tensor::Condition });
        }
        let lent = Lent::new(self.shape, self.level, o, condition, memory)?;
        let call = LinearCall { plan: *self, inputs, lent, scratch };
        match (call.scratch_len(), call.scratch.len()) {
            (needed, given) if given < needed => Err(Error::Scratch { needed, given }),
            _ => Ok(call),
        }
    }
}

const fn check_eps(eps: f32) -> Result<f32, Error> {
    if eps >= 0.0 && eps.is_finite() {
        Ok(eps)
    } else {
        Err(Error::Epsilon { bits: eps.to_bits() })
    }
}

/// What linear attention writes, beside its state.
#[derive(Debug, Default)]
pub struct LinearOutputs<'a> {
    pub(crate) o: Option<AnyViewMut<'a>>,
    pub(crate) condition: Option<&'a mut [f32]>,
}

impl<'a> LinearOutputs<'a> {
    /// Output `[batch, len, outputs, v_dim]`, rounded once to how it is stored.
    #[must_use]
    pub fn new(o: impl Into<AnyViewMut<'a>>) -> Self {
        LinearOutputs { o: Some(o.into()), condition: None }
    }

    /// Nothing: only the state is wanted.
    #[must_use]
    pub const fn none() -> Self {
        LinearOutputs { o: None, condition: None }
    }

    /// Also the condition number of each row, `[batch, len, outputs]`: only where outputs are normalised.
    #[must_use]
    pub fn condition(self, condition: &'a mut [f32]) -> Self {
        LinearOutputs { condition: Some(condition), ..self }
    }
}
