//! Which keys a query may see, and what that says of a whole tile of keys.

use crate::error::Error;
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
/// Combine parts by `&`: `Mask::causal(Offset::at(72)) & Window::keys(512)`.
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

    /// A limit on one side means nothing without the queries' positions.
    pub(crate) const fn check(&self) -> Result<(), Error> {
        match self.offset {
            None if self.left != UNBOUNDED || self.right != UNBOUNDED => Err(Error::Offset),
            _ => Ok(()),
        }
    }

    /// The mask of one sequence: alignment resolved, only keys of `keys` visible.
    #[inline(never)]
    pub(crate) fn of_sequence(
        self,
        q_len: usize,
        visible_len: usize,
        keys: &Range<usize>,
    ) -> Visible {
        // Beyond twice FAR nothing changes any more, and sums of three such numbers do not wrap.
        let offset = self
            .offset
            .unwrap_or(Offset::TOP_LEFT)
            .resolve(q_len, visible_len)
            .clamp(-2 * FAR, 2 * FAR);
        Visible {
            offset,
            left: self.left,
            right: self.right,
            sinks: self.sinks.min(visible_len),
            start: keys.start,
            end: keys.end.min(visible_len),
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

/// The mask of one sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visible {
    offset: i64,
    left: i64,
    right: i64,
    sinks: usize,
    start: usize,
    end: usize,
}

impl Visible {
    /// Query `i` sees `sinks_of(i)` and `window_of(i)`, both within `start..end`.
    fn window_of(&self, i: usize) -> Range<usize> {
        let p = i as i64 + self.offset;
        let low = if self.left == UNBOUNDED { 0 } else { p - self.left };
        let high = if self.right == UNBOUNDED { UNBOUNDED } else { p + self.right + 1 };
        let low = to_key(low, self.start, self.end);
        let high = to_key(high, self.start, self.end);
        low.min(high)..high
    }

    fn sinks_of(&self, i: usize) -> Range<usize> {
        let high = self.window_of(i).end;
        self.start..self.sinks.clamp(self.start, high.max(self.start))
    }

    /// Keys that some query of `first ..= last` may see: at most two runs, in order.
    #[inline(never)]
    pub(crate) fn runs(&self, first: usize, last: usize) -> [Range<usize>; 2] {
        // Both ends of a window move right with the query, and the sinks a query sees only grow.
        let sinks = self.sinks_of(last);
        let window = self.window_of(first).start..self.window_of(last).end;
        // Windows of neighbouring queries overlap, so their union has no gap, unless each is empty.
        if self.left.saturating_add(self.right) < 0 || window.is_empty() {
            [sinks, 0..0]
        } else if window.start > sinks.end {
            [sinks, window]
        } else {
            [sinks.start.min(window.start)..window.end.max(sinks.end), 0..0]
        }
    }

    /// What the keys of `tile` are to the queries `first ..= last`.
    #[inline(never)]
    pub(crate) fn classify(&self, first: usize, last: usize, tile: &Range<usize>) -> Tile {
        let [a, b] = self.runs(first, last).map(|run| intersect(&run, tile));
        let range = match (a.is_empty(), b.is_empty()) {
            (true, true) => return Tile::Skip,
            (true, false) => b.clone(),
            (false, true) => a.clone(),
            (false, false) => a.start..b.end,
        };
        // Seen by all: keys below `sinks`, and keys in `low..high`.
        let sinks = self.sinks_of(first).end;
        let (low, high) = (self.window_of(last).start, self.window_of(first).end);
        let full = range.end <= sinks || range.end <= high && (range.start >= low || low <= sinks);
        if full { Tile::Full(range) } else { Tile::Partial(range) }
    }

    /// For each key of `keys`, all within `start..end`, which of at most 64 rows may see it: bit `r` is
    /// row `rows.start + r`, and `group` rows in turn belong to one query.
    pub(crate) fn rows_that_see(
        &self,
        keys: Range<usize>,
        rows: &Range<usize>,
        group: usize,
    ) -> impl Iterator<Item = u64> {
        let group = group.max(1);
        let (first, within) = ((rows.start / group) as i64, (rows.start % group) as i64);
        let group = group as i64;
        // Rows before query `i` is reached; a query far away stands for all beyond it.
        let row_of = move |i: i64| {
            let queries = i.saturating_sub(first).clamp(-1, 65);
            (queries * group - within).clamp(0, 64) as u32
        };
        let below = |row: u32| 1_u64.checked_shl(row).map_or(u64::MAX, |bit| bit - 1);
        let visible = *self;
        keys.map(move |j| {
            let queries = visible.queries_of(j);
            below(row_of(queries.end)) & !below(row_of(queries.start))
        })
    }

    /// Queries `i` that see key `j`, for a `j` within `start..end`, as a range.
    fn queries_of(&self, j: usize) -> Range<i64> {
        let j_row = j as i64 - self.offset;
        let first = if self.right == UNBOUNDED { i64::MIN } else { j_row - self.right };
        let always = self.left == UNBOUNDED || j < self.sinks;
        let past = if always { i64::MAX } else { j_row + self.left + 1 };
        first..past
    }
}

fn to_key(position: i64, start: usize, end: usize) -> usize {
    usize::try_from(position.max(0)).unwrap_or(usize::MAX).clamp(start, end.max(start))
}

fn intersect(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

#[cfg(test)]
mod tests;
