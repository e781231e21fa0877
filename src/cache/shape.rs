//! How many tokens a cache holds, and how they lie in memory.

use super::read::Side;
use super::tokens::Tokens;
use crate::elem::Format;
use crate::error::{Error, List, Tensor};
use crate::shape::{Heads, len_of};

/// What lies side by side in a block of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// The heads of a token: `[blocks, block_len, heads, dim]`. (NHD of FlashInfer.)
    #[default]
    ByToken,
    /// The tokens of a head: `[blocks, heads, block_len, dim]`. (HND.)
    ByHead,
}

/// The memory of a cache: blocks of tokens, one only unless it is paged.
///
/// ```
/// use flashlet::{CacheShape, Heads, Q8_0};
/// // Llama-3.2-1B, 2048 tokens, a layer: known when compiling.
/// const SHAPE: CacheShape = CacheShape::new(Heads::new(32, 8, 64), 2048).by_head();
/// const BYTES: usize = SHAPE.bytes::<Q8_0, Q8_0>();
/// assert_eq!(BYTES, 2 * 2048 * 8 * 64 / 32 * 34);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Blocks.
    pub blocks: usize,
    /// Tokens of a block: any number.
    pub block_len: usize,
    /// Key/value heads.
    pub heads: usize,
    /// Width of a key, 1 ..= [`Heads::MAX_DIM`].
    pub dim: usize,
    /// Width of a value, 1 ..= [`Heads::MAX_DIM`].
    pub v_dim: usize,
    /// What lies side by side.
    pub order: Order,
}

impl CacheShape {
    /// One block of `capacity` tokens.
    #[must_use]
    pub const fn new(heads: Heads, capacity: usize) -> Self {
        Self::paged(heads, 1, capacity)
    }

    /// Blocks that sequences share out among themselves.
    #[must_use]
    pub const fn paged(heads: Heads, blocks: usize, block_len: usize) -> Self {
        let Heads { kv, dim, v_dim, .. } = heads;
        CacheShape { blocks, block_len, heads: kv, dim, v_dim, order: Order::ByToken }
    }

    /// The same with the tokens of a head side by side.
    #[must_use]
    pub const fn by_head(self) -> Self {
        CacheShape { order: Order::ByHead, ..self }
    }

    /// Keys, and as many values: tokens times heads. Saturates.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.blocks.saturating_mul(self.block_len).saturating_mul(self.heads)
    }

    /// Elements or blocks of numbers in the memory of all keys. Saturates.
    #[must_use]
    pub const fn key_len<K: Format>(&self) -> usize {
        self.rows().saturating_mul(self.dim.div_ceil(K::CHANNELS))
    }

    /// The same of all values.
    #[must_use]
    pub const fn value_len<V: Format>(&self) -> usize {
        self.rows().saturating_mul(self.v_dim.div_ceil(V::CHANNELS))
    }

    /// Bytes of both, without scales that lie apart.
    #[must_use]
    pub const fn bytes<K: Format, V: Format>(&self) -> usize {
        let keys = self.key_len::<K>().saturating_mul(size_of::<K>());
        keys.saturating_add(self.value_len::<V>().saturating_mul(size_of::<V>()))
    }

    #[inline]
    pub(super) fn check(&self) -> Result<(), Error> {
        let CacheShape { blocks, block_len, heads, dim, v_dim, .. } = *self;
        if blocks == 0 || block_len == 0 {
            return Err(Error::ZeroBlock { list: List::Blocks });
        }
        if heads == 0 {
            return Err(Error::ZeroHeads { q_heads: heads, kv_heads: heads });
        }
        if dim == 0 || dim > Heads::MAX_DIM {
            return Err(Error::HeadDim { head_dim: dim, max: Heads::MAX_DIM });
        }
        if v_dim == 0 || v_dim > Heads::MAX_DIM {
            return Err(Error::ValueDim { v_dim, max: Heads::MAX_DIM });
        }
        let tokens = blocks.saturating_mul(block_len);
        len_of([1, tokens, heads, dim]).and(len_of([1, tokens, heads, v_dim])).map(|_| ())
    }
}

impl CacheShape {
    /// That of so many tokens of so many sequences.
    pub(super) const fn dims(&self, batch: usize, len: usize, side: Side) -> [usize; 4] {
        match side {
            Side::Keys => [batch, len, self.heads, self.dim],
            Side::Values => [batch, len, self.heads, self.v_dim],
        }
    }

    /// Whether tensors hold so many tokens of one sequence.
    #[inline]
    pub(super) fn check_tokens(
        &self,
        keys: &Tokens<'_>,
        values: &Tokens<'_>,
        len: usize,
    ) -> Result<(), Error> {
        for (tensor, side, tokens) in
            [(Tensor::K, Side::Keys, keys), (Tensor::V, Side::Values, values)]
        {
            let (expected, given) = (self.dims(1, len, side), tokens.dims());
            if expected != given {
                return Err(Error::Shape { tensor, expected, given });
            }
        }
        Ok(())
    }
}
