//! What is known before any key is: heads, and what scores are worth.

use super::code::Code;
use super::factor::Factor;
use super::logits::Logits;
use super::state::State;
use super::tile::{TILE, absorb};
use crate::error::{Error, Tensor};
use crate::shape::Heads;
use crate::view::View;
use core::marker::PhantomData;

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

    /// Words of scratch for [`Plan::absorb`]: `dim + v_dim`, of one head.
    #[must_use]
    pub const fn scratch_len(heads: Heads) -> usize {
        heads.dim.saturating_add(heads.v_dim)
    }

    /// Words of a [`State`].
    #[must_use]
    pub const fn state_len(heads: Heads) -> usize {
        State::storage_len(heads)
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
        let (needed, given) = (Self::scratch_len(self.heads), scratch.len());
        let parts = scratch.get_mut(..needed).and_then(|scratch| scratch.split_at_mut_checked(dim));
        let (wide, o) = parts.ok_or(Error::Scratch { needed, given })?;
        let group = self.heads.group();
        for (h, mut row) in state.rows().enumerate() {
            for (to, code) in wide.iter_mut().zip(q.row(0, 0, h)) {
                *to = (*code).into();
            }
            let g = h / group;
            for first in (0..len).step_by(TILE) {
                let tokens = first..len.min(first + TILE);
                let tokens = tokens.map(|j| (k.row(0, j, g), v.row(0, j, g)));
                absorb(&self.logits, wide, tokens, o, &mut row);
            }
        }
        Ok(())
    }
}

fn check_dims(tensor: Tensor, expected: [usize; 4], given: [usize; 4]) -> Result<(), Error> {
    if expected == given { Ok(()) } else { Err(Error::Shape { tensor, expected, given }) }
}

pub(super) fn check_len(tensor: Tensor, needed: usize, given: usize) -> Result<(), Error> {
    if needed == given { Ok(()) } else { Err(Error::Length { tensor, needed, given }) }
}
