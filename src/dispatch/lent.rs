//! Output and states of linear attention, lent in shares: the right to change those of some heads, from any thread.

use super::claim::{Out, check_len, of_out, row_at};
use super::per_level::Available;
use crate::error::{Error, Tensor};
use crate::linear::{LinearShape, Memory};
use crate::moves::in_lanes;
use crate::simd::Rows;
use crate::view::{AnyViewMut, Strides};
use core::marker::PhantomData;
use core::num::NonZero;

/// The right to change every `count`-th state, from `index` on, and the output heads that read it.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    out: Option<(Out, Strides)>,
    state: (Out, Strides),
    is_transposed: bool,
    lanes: usize,
    /// So many floats a state, if any.
    normaliser: Option<(*mut f32, usize)>,
    /// `[batch, len, outputs]`.
    condition: Option<*mut f32>,
    shape: LinearShape,
    index: usize,
    count: NonZero<usize>,
    lender: PhantomData<&'a mut [f32]>,
}

// SAFETY: shares made from one `Lent` reach disjoint elements (see `Lent::head`), and nothing else reaches them
// while the borrow of `'a` lasts.
unsafe impl Send for Lent<'_> {}

impl<'a> Lent<'a> {
    /// All heads. The memory was checked to be that of the shape.
    pub(crate) fn new(
        shape: LinearShape,
        level: Available,
        out: Option<AnyViewMut<'a>>,
        condition: Option<&'a mut [f32]>,
        memory: Memory<'a>,
    ) -> Result<Self, Error> {
        if let Some(given) = out.as_ref().map(AnyViewMut::dims)
            && given != shape.o()
        {
            return Err(Error::Shape { tensor: Tensor::O, expected: shape.o(), given });
        }
        if let Some(condition) = &condition {
            let [batch, len, outputs, _] = shape.o();
            check_len(Tensor::Condition, batch * len * outputs, condition.len())?;
        }
        let (of_state, level) = (2 * shape.heads.dim + 1, level.level());
        Ok(Lent {
            out: out.map(|out| Out::new(out, level)),
            state: Out::new(memory.state, level),
            is_transposed: memory.is_transposed,
            lanes: level.lanes(),
            normaliser: memory.normaliser.map(|floats| (floats.as_mut_ptr(), of_state)),
            condition: condition.map(<[f32]>::as_mut_ptr),
            shape,
            index: 0,
            count: NonZero::<usize>::MIN,
            lender: PhantomData,
        })
    }

    /// Cut into `parts` shares, each made once; a share of a share has some of its states.
    pub(crate) fn shares(
        self,
        parts: NonZero<usize>,
    ) -> impl ExactSizeIterator<Item = Lent<'a>> + Send {
        let (first, step) = (self.index, self.count);
        // No state is beyond what saturates.
        let count = step.saturating_mul(parts);
        (0..parts.get()).map(move |part| {
            let index = first.saturating_add(step.get().saturating_mul(part));
            // SAFETY: `self` is consumed, and each of these copies owns other heads.
            Lent { index, count, ..unsafe { self.copy() } }
        })
    }

    /// The same again.
    ///
    /// # Safety
    /// No head may be reached through two copies while both live.
    unsafe fn copy(&self) -> Self {
        Lent { lender: PhantomData, ..*self }
    }

    /// Whether states lie as kernels want them: `[head_dim, v_dim]` in f32 without gaps.
    pub(crate) fn is_in_place(&self) -> bool {
        let is_f32 = matches!(self.state.0, Out::F32(..));
        is_f32 && !self.is_transposed && self.state.1.token == self.shape.heads.v_dim
    }

    /// The states of this share: sequence and state.
    pub(crate) fn states(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        // Never 0; saying so here removes the division checks.
        let states = self.shape.heads.states().max(1);
        let all = if self.shape.len == 0 { 0 } else { self.shape.batch * states };
        (self.index..all).step_by(self.count.get()).map(move |item| [item / states, item % states])
    }

    /// A state of this share and the outputs that read it.
    pub(crate) fn head(&mut self, [b, s]: [usize; 2]) -> Option<Head<'_>> {
        let states = self.shape.heads.states();
        let item = b * states + s;
        let is_own = b < self.shape.batch && s < states && item % self.count == self.index;
        is_own.then_some(Head { lent: self, b, s, taken: [false; 2] })
    }
}

/// A state, and the outputs that read it. Only a share that owns them makes one, and one at a time: so all that its methods
/// reach is reached by nobody else, and lies inside what the views of `Lent::new` checked.
#[derive(Debug)]
pub(crate) struct Head<'l> {
    lent: &'l Lent<'l>,
    b: usize,
    s: usize,
    /// Whether the state, and what normalises, were taken.
    taken: [bool; 2],
}

impl<'l> Head<'l> {
    /// The state `[head_dim, v_dim]`, if it lies as kernels want it: once.
    pub(crate) fn in_place(&mut self) -> Option<&'l mut [f32]> {
        let [_, _, dim, v_dim] = self.lent.shape.state();
        match self.lent.state {
            (Out::F32(state, _), strides) if self.lent.is_in_place() && !self.taken[0] => {
                self.taken[0] = true;
                let at = strides.offset(self.b, 0, self.s);
                // SAFETY: rows without gaps, all of this head's (see `Head`), not taken before; `load` and `store`
                // leave it alone.
                Some(unsafe { row_at(state, at, dim * v_dim) })
            }
            _ => None,
        }
    }

    /// Copies a state that is not in place to rows of so many floats each, as f32.
    #[inline(never)]
    pub(crate) fn load(&self, to: &mut [f32], width: usize) {
        if self.lent.is_in_place() {
            return;
        }
        let [_, _, dim, v_dim] = self.lent.shape.state();
        let (state, strides) = self.lent.state;
        let of_rows = if self.lent.is_transposed { [v_dim, dim] } else { [dim, v_dim] };
        of_out!(state, (state, mover) => {
            // SAFETY: a row of this head's state (see `Head`), which is only read meanwhile.
            let row = |c| unsafe { &*row_at(state, strides.offset(self.b, c, self.s), of_rows[1]) };
            if !self.lent.is_transposed {
                for (c, to) in to.chunks_mut(width.max(1)).take(dim).enumerate() {
                    mover.flat(Rows::one(row(c)), 0, 1.0, to, width);
                }
                return;
            }
            // From the last rows backwards: whole vectors are written, beyond the end of a column.
            for first in (0..v_dim).step_by(self.lent.lanes.max(1)).rev() {
                let rows = (first..v_dim.min(first + self.lent.lanes)).map(row);
                mover.pack(&in_lanes(0, rows), 1.0, to.get_mut(first..).unwrap_or(&mut []), width);
            }
        });
    }

    /// The way back, rounded to how the state is stored.
    #[inline(never)]
    pub(crate) fn store(&mut self, from: &[f32], width: usize) {
        if self.lent.is_in_place() {
            return;
        }
        let [_, _, dim, v_dim] = self.lent.shape.state();
        let (state, strides) = self.lent.state;
        let of_rows = if self.lent.is_transposed { [v_dim, dim] } else { [dim, v_dim] };
        of_out!(state, (state, mover) => {
            // SAFETY: a row of this head's state (see `Head`), each taken once.
            let row = |c| unsafe { row_at(state, strides.offset(self.b, c, self.s), of_rows[1]) };
            if !self.lent.is_transposed {
                for (c, from) in from.chunks(width.max(1)).take(dim).enumerate() {
                    mover.round(from.get(..v_dim).unwrap_or(&[]), row(c));
                }
                return;
            }
            for first in (0..v_dim).step_by(self.lent.lanes.max(1)) {
                let mut rows = core::array::from_fn(|_| &mut [][..]);
                for (to, c) in rows.iter_mut().zip(first..v_dim.min(first + self.lent.lanes)) {
                    *to = row(c);
                }
                mover.lift(from.get(first..).unwrap_or(&[]), width, &mut rows);
            }
        });
    }

    /// What normalises, if anything does: once.
    pub(crate) fn normaliser(&mut self) -> Option<&'l mut [f32]> {
        let (floats, each) = self.lent.normaliser.filter(|_| !self.taken[1])?;
        self.taken[1] = true;
        let item = self.b * self.lent.shape.heads.states() + self.s;
        // SAFETY: `Memory::normaliser` checked that there are so many floats for each state; this is the
        // head's own (see `Head`), not taken before.
        Some(unsafe { row_at(floats, item * each, each) })
    }

    /// Writes a token's output in the `n`-th head that reads this state.
    #[inline(never)]
    pub(crate) fn write(&mut self, token: usize, n: usize, channels: &[f32]) {
        let Some((out, strides)) = self.lent.out else { return };
        let (h, [_, len, outputs, v_dim]) =
            (self.lent.shape.heads.output_of(self.s, n), self.lent.shape.o());
        let channels = channels.get(..v_dim).unwrap_or(channels);
        if token >= len || h >= outputs {
            return;
        }
        let at = strides.offset(self.b, token, h);
        // SAFETY: a row of the output, which only this state's readers write (see `Head`).
        of_out!(out, (out, mover) => mover.round(channels, unsafe { row_at(out, at, channels.len()) }));
    }

    /// Writes a token's condition number in the `n`-th head that reads this state.
    pub(crate) fn write_condition(&mut self, token: usize, n: usize, condition: f32) {
        let Some(conditions) = self.lent.condition else { return };
        let (h, [_, len, outputs, _]) =
            (self.lent.shape.heads.output_of(self.s, n), self.lent.shape.o());
        if token < len && h < outputs {
            // SAFETY: below `batch * len * outputs`, which `Lent::new` checked; of this head alone.
            unsafe { *conditions.add((self.b * len + token) * outputs + h) = condition };
        }
    }
}
