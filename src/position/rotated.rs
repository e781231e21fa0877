//! What a rope turns: tensors in place, or one onto another.

use super::turn::{Other, Own, Pairing, Turning};
use crate::dispatch::{Available, OntoTable};
use crate::elem::Elem;
use crate::error::{Error, List, Tensor};
use crate::view::{View, ViewMut};
pub(crate) use sealed::Sealed;

/// A tensor that [`Rope::rotate`](crate::Rope::rotate) turns: a [`ViewMut`] of any element in place, or an [`Onto`].
pub trait Rotated: Sealed {}

impl<T: Elem> Rotated for ViewMut<'_, T> {}
impl<T: Elem, U: Elem> Rotated for Onto<'_, T, U> {}

/// One token's turn.
#[derive(Clone, Copy, Debug)]
pub struct Token<'r> {
    /// Sequence and token.
    pub(crate) at: [usize; 2],
    pub(crate) level: Available,
    /// The line of the manifest that the turning has, if it has one.
    pub(crate) line: Option<usize>,
    pub(crate) pairing: Pairing,
    pub(crate) first: usize,
    pub(crate) cos: &'r [f32],
    pub(crate) sin: &'r [f32],
}

impl<'r> Token<'r> {
    /// One head, turned where it lies.
    pub(crate) fn one<'a, T>(&self, to: &'a mut [T]) -> Turning<'a, T>
    where
        'r: 'a,
    {
        let (Token { first, cos, sin, .. }, width) = (*self, to.len());
        Turning { to, stride: 0, heads: 1, width, from: Own, first, cos, sin }
    }
}

mod sealed {
    use super::Token;

    /// What only this crate may ask of a tensor.
    pub trait Sealed {
        /// `[batch, len, heads, head_dim]` of the tokens that turn.
        fn dims(&self) -> [usize; 4];
        /// Turns the heads of a token.
        fn turn(&mut self, token: &Token<'_>);
    }
}

impl<T: Elem> Sealed for ViewMut<'_, T> {
    fn dims(&self) -> [usize; 4] {
        self.dims
    }
    fn turn(&mut self, token: &Token<'_>) {
        T::ROPES.turn(token, turning(self, token.at, Own, token));
    }
}

/// A tensor turned onto another, whose elements may be stored differently: rounded once. Channels that do not turn are
/// copied. With a place in a cache for the first token, this is how keys are appended to it.
///
/// ```
/// use flashlet::{Onto, Pairing, Positions, Rope, Theta, Turns, View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// let turns: Turns<32> = Theta::new(10_000.0).turns()?;
/// let rope = Rope::exact(&turns, Pairing::Halves)?;
/// // One new key in f32 of each of two sequences, into a cache in f16 of 100 tokens that hold 17 and 40.
/// let (k, mut cache) = ([1.0_f32; 2 * 64], vec![half::f16::ZERO; 2 * 100 * 64]);
/// let (k, cache) = (View::packed(&k, [2, 1, 1, 64])?, ViewMut::packed(&mut cache, [2, 100, 1, 64])?);
/// let held = [17, 40];
/// rope.rotate(Positions::starts(&held), &mut [&mut Onto::append(k, cache, &held)?])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Onto<'a, T, U> {
    from: View<'a, T>,
    to: ViewMut<'a, U>,
    /// Where the first token of each sequence goes.
    slots: Slots<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Slots<'a> {
    First,
    Of(&'a [u32]),
}

impl<'a, T: Elem, U: Elem> Onto<'a, T, U> {
    /// Token `i` onto token `i`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the two have other shapes.
    pub fn new(from: View<'a, T>, to: ViewMut<'a, U>) -> Result<Self, Error> {
        let (expected, given) = (from.dims(), to.dims);
        if expected != given {
            return Err(Error::Shape { tensor: Tensor::Turned, expected, given });
        }
        Ok(Onto { from, to, slots: Slots::First })
    }

    /// Token `i` of sequence `b` onto token `slots[b] + i` of a cache.
    ///
    /// # Errors
    /// [`Error::Shape`] if the cache has other sequences, heads or channels; [`Error::ListLength`] for a slot too few or too
    /// many; [`Error::Entry`] for one behind which the cache has no room.
    pub fn append(
        from: View<'a, T>,
        cache: ViewMut<'a, U>,
        slots: &'a [u32],
    ) -> Result<Self, Error> {
        let ([batch, len, heads, dim], list) = (from.dims(), List::Slots);
        let expected = [batch, cache.dims[1], heads, dim];
        if expected != cache.dims {
            return Err(Error::Shape { tensor: Tensor::Turned, expected, given: cache.dims });
        }
        if slots.len() != batch {
            return Err(Error::ListLength { list, needed: batch, given: slots.len() });
        }
        // One more than the last slot with room behind it.
        let limit = cache.dims[1].checked_sub(len).map_or(0, |last| last.saturating_add(1));
        for (index, &value) in slots.iter().enumerate() {
            if value as usize >= limit {
                return Err(Error::Entry { list, index, value, limit });
            }
        }
        Ok(Onto { from, to: cache, slots: Slots::Of(slots) })
    }
}

impl<T: Elem, U: Elem> Sealed for Onto<'_, T, U> {
    fn dims(&self) -> [usize; 4] {
        self.from.dims()
    }
    fn turn(&mut self, token: &Token<'_>) {
        let [b, i] = token.at;
        let slot = match self.slots {
            Slots::First => 0,
            Slots::Of(slots) => slots.get(b).map_or(0, |slot| *slot as usize),
        };
        let from = Other { data: self.from.from(b, i), stride: self.from.strides().head };
        OntoTable::turn(token, turning(&mut self.to, [b, slot + i], from, token));
    }
}

/// The heads of a token of `to`.
fn turning<'a, U: Copy, F>(
    to: &'a mut ViewMut<'_, U>,
    [b, i]: [usize; 2],
    from: F,
    token: &'a Token<'_>,
) -> Turning<'a, U, F> {
    let ([_, _, heads, width], stride) = (to.dims, to.strides.head);
    let to = to.data.get_mut(to.strides.offset(b, i, 0)..).unwrap_or(&mut []);
    let Token { first, cos, sin, .. } = *token;
    Turning { to, stride, heads, width, from, first, cos, sin }
}
