//! What is known before any key is: heads, and what scores are worth.

use super::code::Code;
use super::factor::Factor;
use super::logits::Logits;
use super::state::State;
use super::sums::Sums;
use super::tile::{Rows, TILE, absorb};
use crate::error::{Error, Tensor};
use crate::shape::Heads;
use crate::view::View;
use core::marker::PhantomData;

/// Heads of a group that read a key together: four sums, a key, a query and where both lie fill eight registers.
const SHARED: usize = 4;

/// Attention of one token over codes of type `C`, checked once. See the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Plan<C> {
    heads: Heads,
    logits: Logits,
    codes: PhantomData<C>,
}

impl<C: Code> Plan<C> {
    /// Query heads on key/value heads, and the worth of a product of codes.
    ///
    /// # Errors
    /// [`Error::ZeroHeads`], [`Error::HeadGroups`], [`Error::HeadDim`], [`Error::ValueDim`]; [`Error::Logits`] if codes as large as
    /// they can be would have a logit of 2^30 or more.
    pub const fn new(heads: Heads, factor: Factor) -> Result<Self, Error> {
        if let Err(error) = heads.check() {
            return Err(error);
        }
        match Logits::new(factor, heads.dim, C::MAGNITUDE_BITS, C::WEIGHT_BITS) {
            Ok(logits) => Ok(Plan { heads, logits, codes: PhantomData }),
            Err(error) => Err(error),
        }
    }

    /// Words of scratch for [`Plan::absorb`]: the queries of four heads, and a value.
    #[must_use]
    pub const fn scratch_len(&self) -> usize {
        SHARED * self.heads.dim + self.heads.v_dim
    }

    /// Lets the query heads of a token see a run of tokens: queries `[1, 1, q_heads, dim]`, keys `[1, len, kv_heads, dim]`, values
    /// `[1, len, kv_heads, v_dim]`, of any strides and any length.
    ///
    /// # Errors
    /// [`Error::Shape`] if a view or the state has other dimensions, [`Error::Scratch`] if `scratch` is shorter than
    /// [`Plan::scratch_len`]. Nothing is changed then.
    pub fn absorb(
        &self,
        state: &mut State<'_>,
        q: View<'_, C>,
        [k, v]: [View<'_, C>; 2],
        scratch: &mut [i32],
    ) -> Result<(), Error> {
        let Heads { q: q_heads, kv, dim, v_dim } = self.heads;
        let len = k.dims()[1];
        check_dims(Tensor::Q, [1, 1, q_heads, dim], q.dims())?;
        check_dims(Tensor::K, [1, len, kv, dim], k.dims())?;
        check_dims(Tensor::V, [1, len, kv, v_dim], v.dims())?;
        check_dims(Tensor::State, [1, 1, q_heads, v_dim], state.dims)?;
        let (needed, given) = (self.scratch_len(), scratch.len());
        let scratch = scratch.get_mut(..needed).ok_or(Error::Scratch { needed, given })?;
        if len == 0 {
            return Ok(());
        }
        let mut rows = state.rows().enumerate();
        for g in 0..kv {
            let tokens = (len, [Rows::new(&k, g), Rows::new(&v, g)]);
            let mut left = self.heads.group();
            while left >= SHARED {
                self.heads::<SHARED>(&mut rows, &q, tokens, scratch);
                left -= SHARED;
            }
            for _ in 0..left {
                self.heads::<1>(&mut rows, &q, tokens, scratch);
            }
        }
        Ok(())
    }

    /// The next `R` heads.
    fn heads<'s, const R: usize>(
        &self,
        rows: &mut impl Iterator<Item = (usize, Sums<'s>)>,
        q: &View<'_, C>,
        (len, [k, v]): (usize, [Rows<'_, C>; 2]),
        scratch: &mut [i32],
    ) {
        let mut heads: [_; R] = core::array::from_fn(|_| rows.next());
        let Some((wide, o)) = scratch.split_at_mut_checked(R * self.heads.dim) else { return };
        let Some(o) = o.get_mut(..self.heads.v_dim) else { return };
        let wide = wide.as_chunks_mut::<R>().0;
        for (r, (h, _)) in heads.iter().flatten().enumerate() {
            for (to, code) in wide.iter_mut().zip(q.row(0, 0, *h)) {
                if let Some(to) = to.get_mut(r) {
                    *to = (*code).into();
                }
            }
        }
        for first in (0..len).step_by(TILE) {
            let tokens = [k.skip(first), v.skip(first)];
            let rows = heads.iter_mut().flatten().map(|(_, row)| row);
            absorb(&self.logits, wide, tokens, TILE.min(len - first), o, rows);
        }
    }
}

fn check_dims(tensor: Tensor, expected: [usize; 4], given: [usize; 4]) -> Result<(), Error> {
    if expected == given { Ok(()) } else { Err(Error::Shape { tensor, expected, given }) }
}

pub(super) fn check_len(tensor: Tensor, needed: usize, given: usize) -> Result<(), Error> {
    if needed == given { Ok(()) } else { Err(Error::Length { tensor, needed, given }) }
}
