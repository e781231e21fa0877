//! Which keys a query may see, and what that says of a whole tile of keys.

mod band;
mod bigbird;
mod blocks;
mod documents;
mod pattern;
mod tables;
mod tokens;
mod visible;

pub use bigbird::BigBird;
pub use blocks::BlockSparse;
pub use documents::Documents;
pub(crate) use pattern::Only;
pub use pattern::{And, Coverage, Or, Pattern, Place};
pub use tables::{Cell, Classify, Predicate, Table, Unknown};
pub(crate) use tokens::ascending;
pub use tokens::{Chunks, Dilation, Globals, Prefix};
pub(crate) use visible::Visible;

use crate::defect::planted;
use crate::dispatch::AnyLookup;
use crate::error::Error;
use band::Band;
use core::ops::{BitAnd, Range};

/// The absolute position of query 0, where key `j` has position `j`. Alignment is always said, never
/// guessed from a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(Alignment);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alignment {
    At(i64),
    BottomRight,
}

impl Offset {
    /// Query `i` has position `i`: queries and keys start together.
    pub const TOP_LEFT: Offset = Offset::at(0);
    /// The last query stands at the last visible key of its sequence, as in FlashAttention and in a
    /// decoder's step: query `i` has position `i + visible_len - q_len`.
    pub const BOTTOM_RIGHT: Offset = Offset(Alignment::BottomRight);

    /// Query `i` has position `i + offset`: `offset` tokens came before.
    #[must_use]
    pub const fn at(offset: i64) -> Offset {
        Offset(Alignment::At(offset))
    }

    const fn resolve(self, q_len: usize, visible_len: usize) -> i64 {
        match self.0 {
            Alignment::At(offset) => offset,
            Alignment::BottomRight => visible_len as i64 - q_len as i64,
        }
    }
}

/// A sliding window around a query's position. Never a bare number: conventions differ by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    left: i64,
    right: i64,
}

impl Window {
    /// A distance without limit, for one side of [`Window::span`].
    pub const UNBOUNDED: usize = usize::MAX;

    /// The query's own position and the keys before it, `keys` in all; nothing after it. This is the
    /// `sliding_window` of Mistral, Gemma, gpt-oss and Hugging Face. `keys(0)` sees nothing.
    #[must_use]
    pub const fn keys(keys: usize) -> Window {
        let left = reach(keys);
        Window { left: if left == UNBOUNDED { left } else { left - 1 }, right: 0 }
    }

    /// Keys at most `left` before and `right` after the query's position, both inclusive. This is
    /// the `window_size = (left, right)` of FlashAttention and ONNX. [`Window::UNBOUNDED`], and any
    /// distance of 2^61 or more, is no limit.
    #[must_use]
    pub const fn span(left: usize, right: usize) -> Window {
        Window { left: reach(left), right: reach(right) }
    }
}

/// No limit on this side.
const UNBOUNDED: i64 = i64::MAX;

/// No key has a position this high, and no window reaches this far.
const FAR: i64 = 1 << 61;

const fn reach(distance: usize) -> i64 {
    if distance == usize::MAX || distance as u64 >= FAR as u64 {
        UNBOUNDED
    } else {
        distance as i64
    }
}

/// The keys that each query may see.
///
/// With `p = i + offset`, the position of query `i`, key `j` is visible if
/// ```text
/// j < visible length  and  j <= p + right  and  (j >= p - left  or  j < sinks)
/// ```
/// Combine parts by `&`: `Mask::causal(Offset::at(72)) & Window::keys(512)`. What such a band cannot say, a
/// [`Pattern`] can: [`Attention::only`](crate::Attention::only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// `None`: nothing has been said that would need one.
    offset: Option<Offset>,
    left: i64,
    right: i64,
    sinks: usize,
}

impl Mask {
    /// Every key, for every query. Needs no positions; to add a window, start from [`Mask::window`],
    /// which says them: a plan refuses `Mask::full() & window`.
    #[must_use]
    pub const fn full() -> Mask {
        Mask { offset: None, left: UNBOUNDED, right: UNBOUNDED, sinks: 0 }
    }

    /// Every key, for queries at some positions: what a [`Pattern`] may need to know.
    #[must_use]
    pub const fn at(offset: Offset) -> Mask {
        Mask { offset: Some(offset), ..Mask::full() }
    }

    /// Keys at or before the query's position.
    #[must_use]
    pub const fn causal(offset: Offset) -> Mask {
        Mask { offset: Some(offset), right: 0, ..Mask::full() }
    }

    /// Keys in a window around the query's position.
    #[must_use]
    pub const fn window(offset: Offset, window: Window) -> Mask {
        Mask { offset: Some(offset), left: window.left, right: window.right, sinks: 0 }
    }

    /// The first `sinks` keys stay visible when the window has moved past them (attention sinks, as
    /// in StreamingLLM). They lift the left limit only: a causal query still sees nothing after it, and without a
    /// window there is nothing to lift.
    #[must_use]
    pub const fn sinks(self, sinks: usize) -> Mask {
        Mask { sinks, ..self }
    }

    /// Whether it says where the queries stand.
    pub(crate) const fn has_positions(&self) -> bool {
        self.offset.is_some()
    }

    /// The position of the first query of a sequence.
    pub(crate) fn first_position(&self, q_len: usize, visible_len: usize) -> i64 {
        self.offset.unwrap_or(Offset::TOP_LEFT).resolve(q_len, visible_len)
    }

    /// A limit on one side means nothing without the queries' positions.
    pub(crate) const fn check(&self) -> Result<(), Error> {
        match self.offset {
            None if self.left != UNBOUNDED || self.right != UNBOUNDED => Err(Error::Offset),
            _ => Ok(()),
        }
    }

    /// The mask of one key/value head: alignment resolved, only keys of `keys` visible.
    #[inline(never)]
    pub(crate) fn visible<'m>(
        self,
        (only, hides): (Only<'m>, Option<&'m dyn AnyLookup>),
        (sequence, head, group): (usize, usize, usize),
        (q_len, visible_len): (usize, usize),
        keys: &Range<usize>,
    ) -> Visible<'m> {
        let band = self.of_sequence(q_len, visible_len, keys);
        let place = Place { sequence, head, offset: band.offset, q_len, kv_len: visible_len };
        Visible { band, only, hides, place, group }
    }

    /// The band of one sequence.
    fn of_sequence(self, q_len: usize, visible_len: usize, keys: &Range<usize>) -> Band {
        // Beyond twice FAR nothing changes any more, and sums of three such numbers do not wrap.
        let offset = self
            .offset
            .unwrap_or(Offset::TOP_LEFT)
            .resolve(q_len, visible_len)
            .clamp(-2 * FAR, 2 * FAR);
        Band {
            offset,
            left: match self.left {
                UNBOUNDED => UNBOUNDED,
                left => left + i64::from(planted!("window_off_by_one")),
            },
            right: self.right,
            sinks: self.sinks.min(visible_len),
            start: keys.start,
            end: keys.end.min(visible_len).saturating_sub(planted!("dropped_last_key").into()),
        }
    }
}

impl BitAnd<Window> for Mask {
    type Output = Mask;

    fn bitand(self, window: Window) -> Mask {
        Mask { left: self.left.min(window.left), right: self.right.min(window.right), ..self }
    }
}

/// What a tile of keys is to a tile of queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    /// No query sees any key: never read.
    Skip,
    /// Every query sees every key of the range, and no key outside it: no test inside.
    Full(Range<usize>),
    /// Keys outside the range are seen by nobody and never read; inside, each pair is tested.
    Partial(Range<usize>),
}

#[cfg(test)]
mod pattern_tests;
#[cfg(test)]
mod tests;
