//! The state of linear attention: all that is kept of any number of tokens.

use super::chunk::copy;
use super::shape::LinearShape;
use crate::dispatch::check_len;
use crate::elem::Elem;
use crate::error::{Error, Tensor};
use crate::shape::len_of;
use crate::view::{AnyViewMut, Strides, ViewMut};

/// States of all heads of all sequences, `[batch, states, head_dim, v_dim]`, in the caller's memory.
///
/// It is a view: saving a state is copying its numbers, restoring it is copying them back, and a state of zeros has
/// learnt nothing. A part of a longer slice, or heads of any strides, will do.
///
/// ```
/// use flashlet::{LinearHeads, LinearShape, Memory};
/// # fn main() -> Result<(), flashlet::Error> {
/// const SHAPE: LinearShape = LinearShape { batch: 1, len: 1, heads: LinearHeads::new(4, 64) };
/// const LEN: usize = match Memory::len(&SHAPE) { Ok(len) => len, Err(_) => 0 };
/// let mut state = [0.0_f32; LEN]; // 64 KiB, whatever is streamed through it
/// let memory = Memory::new(&mut state, &SHAPE)?;
/// # let _ = memory;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Memory<'a> {
    pub(crate) state: AnyViewMut<'a>,
    pub(crate) normaliser: Option<&'a mut [f32]>,
    pub(crate) is_transposed: bool,
}

impl<'a> Memory<'a> {
    /// Elements of the states.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub const fn len(shape: &LinearShape) -> Result<usize, Error> {
        len_of(shape.state())
    }

    /// Floats of what normalised attention keeps beside them: for each state the sum of its keys, the sum of their
    /// magnitudes, and how many they are.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub const fn normaliser_len(shape: &LinearShape) -> Result<usize, Error> {
        let [batch, states, dim, _] = shape.state();
        len_of([batch, states, 1, 2 * dim + 1])
    }

    /// States as they lie, in f32, f16 or bf16. Those that are not f32 are rounded once at the end of a call.
    ///
    /// # Errors
    /// [`Error::Overflow`]; [`Error::Length`] unless there are [`Memory::len`] elements.
    pub fn new<T: Elem>(state: &'a mut [T], shape: &LinearShape) -> Result<Self, Error> {
        check_len(Tensor::State, Self::len(shape)?, state.len())?;
        let [batch, states, dim, v_dim] = shape.state();
        let dims = [batch, dim, states, v_dim];
        Self::view(ViewMut::strided(state, dims, Strides::by_head(dims)?)?, shape)
    }

    /// The same where each state lies transposed, `[v_dim, head_dim]`: as ggml and some GPU kernels keep it.
    ///
    /// # Errors
    /// As [`Memory::new`].
    pub fn transposed<T: Elem>(state: &'a mut [T], shape: &LinearShape) -> Result<Self, Error> {
        check_len(Tensor::State, Self::len(shape)?, state.len())?;
        let [batch, states, dim, v_dim] = shape.state();
        let dims = [batch, v_dim, states, dim];
        let state = ViewMut::strided(state, dims, Strides::by_head(dims)?)?.into();
        Ok(Memory { state, normaliser: None, is_transposed: true })
    }

    /// States with any strides: a view `[batch, head_dim, states, v_dim]`.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn view(state: impl Into<AnyViewMut<'a>>, shape: &LinearShape) -> Result<Self, Error> {
        let state = state.into();
        let [batch, states, dim, v_dim] = shape.state();
        let (expected, given) = ([batch, dim, states, v_dim], state.dims());
        if expected != given {
            return Err(Error::Shape { tensor: Tensor::State, expected, given });
        }
        Ok(Memory { state, normaliser: None, is_transposed: false })
    }

    /// The same with what normalised attention keeps: zeros to begin with.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are [`Memory::normaliser_len`] floats.
    pub fn normaliser(self, normaliser: &'a mut [f32], shape: &LinearShape) -> Result<Self, Error> {
        check_len(Tensor::Normaliser, Self::normaliser_len(shape)?, normaliser.len())?;
        Ok(Memory { normaliser: Some(normaliser), ..self })
    }

    pub(crate) fn check(&self, shape: &LinearShape, is_normalised: bool) -> Result<(), Error> {
        let [batch, states, dim, v_dim] = shape.state();
        let rows = if self.is_transposed { [v_dim, dim] } else { [dim, v_dim] };
        let (expected, given) = ([batch, rows[0], states, rows[1]], self.state.dims());
        if expected != given {
            return Err(Error::Shape { tensor: Tensor::State, expected, given });
        }
        match &self.normaliser {
            Some(normaliser) if is_normalised => {
                check_len(Tensor::Normaliser, Self::normaliser_len(shape)?, normaliser.len())
            }
            None if is_normalised => Err(Error::Missing { tensor: Tensor::Normaliser }),
            Some(_) => Err(Error::Unwanted { tensor: Tensor::Normaliser }),
            None => Ok(()),
        }
    }
}

/// The last few states of a stream, to go back to when tokens turn out to be wrong (speculative decoding).
///
/// ```
/// use flashlet::Snapshots;
/// # fn main() -> Result<(), flashlet::Error> {
/// let (mut state, mut storage) = ([1.0_f32, 2.0], [0.0_f32; 3 * 2]);
/// let mut snapshots = Snapshots::new(&mut storage, state.len())?;
/// for _ in 0..5 {
///     snapshots.push(&state)?; // before each token
///     state[0] += 1.0;
/// }
/// snapshots.restore(2, &mut state)?; // the last two tokens were wrong
/// assert_eq!(state, [4.0, 2.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Snapshots<'a, T = f32> {
    storage: &'a mut [T],
    len: usize,
    /// The slot that is written next, and how many there are to go back to.
    next: usize,
    held: usize,
}

impl<'a, T: Copy> Snapshots<'a, T> {
    /// As many snapshots of `len` elements as `storage` holds; none yet.
    ///
    /// # Errors
    /// [`Error::TooShort`] if it does not hold one.
    pub fn new(storage: &'a mut [T], len: usize) -> Result<Self, Error> {
        if len == 0 || storage.len() < len {
            return Err(Error::TooShort { needed: len.max(1), given: storage.len() });
        }
        Ok(Snapshots { storage, len, next: 0, held: 0 })
    }

    /// How many it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.storage.len() / self.len.max(1)
    }

    /// How many it holds: tokens that can be taken back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Keeps a state, the oldest making room if need be.
    ///
    /// # Errors
    /// [`Error::Length`]; nothing is kept then.
    pub fn push(&mut self, state: &[T]) -> Result<(), Error> {
        check_len(Tensor::State, self.len, state.len())?;
        let (capacity, slot) = (self.capacity(), self.next);
        let to = self.storage.chunks_exact_mut(self.len.max(1)).nth(slot);
        copy(state, to.unwrap_or(&mut []));
        self.next = if slot + 1 < capacity { slot + 1 } else { 0 };
        self.held = capacity.min(self.held + 1);
        Ok(())
    }

    /// Goes back by so many [`Snapshots::push`]es: `state` becomes what it was then, and later ones are forgotten.
    ///
    /// # Errors
    /// [`Error::Rollback`] beyond the oldest, and for 0; [`Error::Length`]. Nothing is changed then.
    pub fn restore(&mut self, back: usize, state: &mut [T]) -> Result<(), Error> {
        check_len(Tensor::State, self.len, state.len())?;
        if back == 0 || back > self.held {
            return Err(Error::Rollback { back, held: self.held });
        }
        let capacity = self.capacity();
        let slot = if self.next >= back { self.next - back } else { self.next + capacity - back };
        copy(self.storage.chunks_exact(self.len.max(1)).nth(slot).unwrap_or(&[]), state);
        (self.next, self.held) = (slot, self.held - back);
        Ok(())
    }
}
