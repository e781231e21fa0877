//! Log-sum-exps with their base in the type: engines disagree about it, and a mistake shows only in the third digit.

use core::f32::consts::LOG2_E;
use core::marker::PhantomData;

mod sealed {
    pub trait Sealed {}
}

/// The base of a logarithm: [`Nats`] or [`Bits`].
pub trait Base: sealed::Sealed + Copy {
    /// How many of base 2 its unit is.
    const IN_BITS: f32;
}

/// Natural logarithms: flashlet, FlashAttention, PyTorch, ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nats;

/// Logarithms of base 2: FlashInfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits;

impl sealed::Sealed for Nats {}
impl sealed::Sealed for Bits {}

impl Base for Nats {
    const IN_BITS: f32 = LOG2_E;
}

impl Base for Bits {
    const IN_BITS: f32 = 1.0;
}

/// The log-sum-exp of each row's scores, `[batch, q_heads, q_len]`; -inf for a row that has seen no key. (FlashAttention
/// 2 writes +inf there where it did not split: such rows become NaN.)
#[derive(Clone, Copy, Debug)]
pub struct Lse<'a, B> {
    values: &'a [f32],
    base: PhantomData<B>,
}

impl<'a> Lse<'a, Nats> {
    /// Natural ones, as [`Outputs::lse`](crate::Outputs::lse) writes them.
    #[must_use]
    pub const fn nats(values: &'a [f32]) -> Self {
        Lse { values, base: PhantomData }
    }
}

impl<'a> Lse<'a, Bits> {
    /// Those of base 2.
    #[must_use]
    pub const fn bits(values: &'a [f32]) -> Self {
        Lse { values, base: PhantomData }
    }
}

impl<B: Base> Lse<'_, B> {
    pub(crate) const fn len(&self) -> usize {
        self.values.len()
    }

    /// One of them, in base 2.
    pub(crate) fn in_bits(&self, at: usize) -> Option<f32> {
        self.values.get(at).map(|lse| lse * B::IN_BITS)
    }
}
