//! How many tokens and heads, and how wide: the integers of one linear attention.

use super::family::{Family, Gate};
use crate::error::Error;
use crate::shape::{Heads, len_of};

/// Which of fewer heads serves one of more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeadMap {
    /// Neighbours share: head `h` of `n` has head `h / (n / few)`. (FLA, ONNX, Qwen3-Next in transformers.)
    #[default]
    Grouped,
    /// In turns: head `h` has head `h % few`. (`GATED_DELTA_NET` of ggml.)
    Modulo,
}

/// Heads and their widths. A state belongs to a key and a value: there are as many as the more of both. Outputs are
/// as many as states or queries, whichever are more.
///
/// ```
/// use flashlet::{HeadMap, LinearHeads};
///
/// let plain = LinearHeads::new(8, 128);
/// let qwen3_next = LinearHeads { v: 32, ..LinearHeads::new(16, 128) }; // 32 states, two for each key
/// let gguf = LinearHeads { map: HeadMap::Modulo, ..qwen3_next };
/// assert_eq!((plain.states(), qwen3_next.states(), gguf.outputs()), (8, 32, 32));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearHeads {
    /// Query heads.
    pub q: usize,
    /// Key heads.
    pub k: usize,
    /// Value heads.
    pub v: usize,
    /// Width of a query and of a key, 1 ..= [`Heads::MAX_DIM`].
    pub dim: usize,
    /// Width of a value and of an output, 1 ..= [`Heads::MAX_DIM`].
    pub v_dim: usize,
    /// Which of the fewer heads serves one of the more.
    pub map: HeadMap,
}

impl LinearHeads {
    /// As many queries as keys and values, all `dim` wide.
    #[must_use]
    pub const fn new(heads: usize, dim: usize) -> Self {
        LinearHeads { q: heads, k: heads, v: heads, dim, v_dim: dim, map: HeadMap::Grouped }
    }

    /// States a sequence.
    #[must_use]
    pub const fn states(&self) -> usize {
        if self.k > self.v { self.k } else { self.v }
    }

    /// Output heads.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        if self.q > self.states() { self.q } else { self.states() }
    }

    /// Widths of a key and of a value.
    pub(crate) const fn widths(&self) -> [usize; 2] {
        [self.dim, self.v_dim]
    }

    /// Output heads that read one state.
    pub(crate) const fn readers(&self) -> usize {
        ratio(self.outputs(), self.states())
    }

    /// The `n`-th output head of a state.
    pub(crate) fn output_of(&self, state: usize, n: usize) -> usize {
        match self.map {
            HeadMap::Grouped => state * self.readers() + n,
            HeadMap::Modulo => n * self.states() + state,
        }
    }

    /// Which of `few` heads serves head `h` of `many`.
    pub(crate) fn serves(&self, h: usize, many: usize, few: usize) -> usize {
        match self.map {
            HeadMap::Grouped => h / ratio(many, few),
            HeadMap::Modulo => h % few.max(1),
        }
    }

    const fn check(&self) -> Result<(), Error> {
        let LinearHeads { q, k, v, dim, v_dim, .. } = *self;
        if q == 0 || k == 0 || v == 0 {
            return Err(Error::LinearHeads { q, k, v });
        }
        let (states, outputs) = (self.states(), self.outputs());
        let is_even = states.is_multiple_of(k)
            && states.is_multiple_of(v)
            && outputs.is_multiple_of(q)
            && outputs.is_multiple_of(states);
        if !is_even {
            return Err(Error::LinearHeads { q, k, v });
        }
        if dim == 0 || dim > Heads::MAX_DIM {
            return Err(Error::HeadDim { head_dim: dim, max: Heads::MAX_DIM });
        }
        if v_dim == 0 || v_dim > Heads::MAX_DIM {
            return Err(Error::ValueDim { v_dim, max: Heads::MAX_DIM });
        }
        Ok(())
    }
}

/// `many / few`, at least 1.
const fn ratio(many: usize, few: usize) -> usize {
    match many.checked_div(few) {
        Some(0) | None => 1,
        Some(ratio) => ratio,
    }
}

/// The shape of one linear attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Sequences.
    pub batch: usize,
    /// Tokens a sequence; 1 for a step of decoding.
    pub len: usize,
    /// Heads and widths.
    pub heads: LinearHeads,
}

impl LinearShape {
    /// `[batch, len, q_heads, head_dim]`.
    #[must_use]
    pub const fn q(&self) -> [usize; 4] {
        [self.batch, self.len, self.heads.q, self.heads.dim]
    }

    /// `[batch, len, k_heads, head_dim]`.
    #[must_use]
    pub const fn k(&self) -> [usize; 4] {
        [self.batch, self.len, self.heads.k, self.heads.dim]
    }

    /// `[batch, len, v_heads, v_dim]`.
    #[must_use]
    pub const fn v(&self) -> [usize; 4] {
        [self.batch, self.len, self.heads.v, self.heads.v_dim]
    }

    /// `[batch, len, outputs, v_dim]`.
    #[must_use]
    pub const fn o(&self) -> [usize; 4] {
        [self.batch, self.len, self.heads.outputs(), self.heads.v_dim]
    }

    /// Gates and all that comes with each state: `[batch, len, states, width]`.
    #[must_use]
    pub const fn per_state(&self, width: usize) -> [usize; 4] {
        [self.batch, self.len, self.heads.states(), width]
    }

    /// Gates of a family, `[batch, len, states, 1 or head_dim]`.
    #[must_use]
    pub const fn gates(&self, family: Family) -> [usize; 4] {
        self.per_state(if matches!(family.gate, Gate::Channel) { self.heads.dim } else { 1 })
    }

    /// The states: `[batch, states, head_dim, v_dim]` in memory.
    #[must_use]
    pub const fn state(&self) -> [usize; 4] {
        [self.batch, self.heads.states(), self.heads.dim, self.heads.v_dim]
    }

    pub(crate) const fn check(&self) -> Result<(), Error> {
        if let Err(error) = self.heads.check() {
            return Err(error);
        }
        let dim = self.heads.dim;
        let tensors = [self.q(), self.k(), self.v(), self.o(), self.per_state(dim), self.state()];
        let mut i = 0;
        while i < tensors.len() {
            if let Err(error) = len_of(tensors[i]) {
                return Err(error);
            }
            i += 1;
        }
        Ok(())
    }
}
