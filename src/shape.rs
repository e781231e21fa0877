//! How many and how wide: the integers of one attention.

use crate::error::Error;
use core::ops::Range;

/// Heads and their widths. Query head `h` reads key/value head `h / group()`.
///
/// Multi-head attention has `q == kv`, grouped-query attention `q = group * kv`, multi-query
/// attention `kv == 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub q: usize,
    /// Key/value heads; divides `q`.
    pub kv: usize,
    /// Width of a query and of a key, 1 ..= [`Heads::MAX_DIM`].
    pub dim: usize,
    /// Width of a value and of an output, 1 ..= [`Heads::MAX_DIM`].
    pub v_dim: usize,
}

impl Heads {
    /// The widest head: latent attention in its absorbed form has keys of 576 channels.
    pub const MAX_DIM: usize = 576;

    /// `q` query heads on `kv` key/value heads, all `dim` wide.
    #[must_use]
    pub const fn new(q: usize, kv: usize, dim: usize) -> Self {
        Heads { q, kv, dim, v_dim: dim }
    }

    /// Query heads that share a key/value head; 1 where the counts make no sense and a plan would
    /// refuse them.
    #[must_use]
    pub const fn group(self) -> usize {
        match self.q.checked_div(self.kv) {
            Some(group) if group > 0 => group,
            _ => 1,
        }
    }

    /// Query and head of some rows of key/value head `g`, where row `r` is query `r / group` of head
    /// `g * group + r % group`: the heads of a group side by side.
    pub(crate) fn rows_of(
        self,
        g: usize,
        rows: Range<usize>,
    ) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
        // Never 0; saying so here removes the division checks.
        let group = self.group().max(1);
        let (mut i, mut h) = (rows.start / group, g * group + rows.start % group);
        rows.map(move |_| {
            let place = (i, h);
            h += 1;
            if h == (g + 1) * group {
                (i, h) = (i + 1, g * group);
            }
            place
        })
    }

    /// Checks counts and widths.
    pub(crate) const fn check(self) -> Result<(), Error> {
        let Heads { q, kv, dim, v_dim } = self;
        if q == 0 || kv == 0 {
            return Err(Error::ZeroHeads { q_heads: q, kv_heads: kv });
        }
        if !q.is_multiple_of(kv) {
            return Err(Error::HeadGroups { q_heads: q, kv_heads: kv });
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

/// The shape of one attention. Self-attention has `q_len == kv_len`; a decoder's step has
/// `q_len == 1`; cross-attention has any two lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sequences.
    pub batch: usize,
    /// Queries a sequence.
    pub q_len: usize,
    /// Keys a sequence.
    pub kv_len: usize,
    /// Heads and widths.
    pub heads: Heads,
}

impl Shape {
    /// `[batch, q_len, q_heads, head_dim]`.
    #[must_use]
    pub const fn q(&self) -> [usize; 4] {
        [self.batch, self.q_len, self.heads.q, self.heads.dim]
    }

    /// `[batch, kv_len, kv_heads, head_dim]`.
    #[must_use]
    pub const fn k(&self) -> [usize; 4] {
        [self.batch, self.kv_len, self.heads.kv, self.heads.dim]
    }

    /// `[batch, kv_len, kv_heads, v_dim]`.
    #[must_use]
    pub const fn v(&self) -> [usize; 4] {
        [self.batch, self.kv_len, self.heads.kv, self.heads.v_dim]
    }

    /// `[batch, q_len, q_heads, v_dim]`.
    #[must_use]
    pub const fn o(&self) -> [usize; 4] {
        [self.batch, self.q_len, self.heads.q, self.heads.v_dim]
    }

    /// Rows of output: `batch * q_len * q_heads`. Cannot overflow once checked.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.batch.wrapping_mul(self.q_len).wrapping_mul(self.heads.q)
    }

    /// Checks heads, and that the bytes of every packed tensor fit an `isize`.
    pub(crate) const fn check(&self) -> Result<(), Error> {
        if let Err(error) = self.heads.check() {
            return Err(error);
        }
        let tensors = [self.q(), self.k(), self.v(), self.o()];
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

/// Elements of a packed f32 tensor, if its bytes fit an `isize`.
pub(crate) const fn len_of(dims: [usize; 4]) -> Result<usize, Error> {
    let overflow = Err(Error::Overflow { dims });
    let mut len = 1_usize;
    let mut i = 0;
    while i < dims.len() {
        // A zero anywhere makes the tensor empty, but the other factors must still fit: strides
        // are computed from them.
        len = match len.checked_mul(if dims[i] == 0 { 1 } else { dims[i] }) {
            Some(len) if len <= isize::MAX as usize / size_of::<f32>() => len,
            _ => return overflow,
        };
        i += 1;
    }
    let empty = dims[0] == 0 || dims[1] == 0 || dims[2] == 0 || dims[3] == 0;
    Ok(if empty { 0 } else { len })
}

/// The index nearest to a number.
pub(crate) fn index_of(n: i64) -> usize {
    usize::try_from(n.max(0)).unwrap_or(usize::MAX)
}
