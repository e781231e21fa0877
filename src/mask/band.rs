//! A band around the diagonal, with sinks: all that a [`Mask`] says, for one sequence.

use super::pattern::{Coverage, Pattern, Place, bits_of};
use super::{Mask, Offset, Tile, UNBOUNDED};
use crate::shape::index_of;
use core::ops::Range;

/// The mask of one sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
    pub(super) offset: i64,
    pub(super) left: i64,
    pub(super) right: i64,
    pub(super) sinks: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Band {
    /// Query `i` sees `sinks_of(i)` and `window_of(i)`, both within `start..end`.
    pub(super) fn window_of(&self, i: usize) -> Range<usize> {
        let p = i as i64 + self.offset;
        let low = if self.left == UNBOUNDED { 0 } else { p - self.left };
        let high = if self.right == UNBOUNDED { UNBOUNDED } else { p + self.right + 1 };
        let low = to_key(low, self.start, self.end);
        let high = to_key(high, self.start, self.end);
        low.min(high)..high
    }

    pub(super) fn sinks_of(&self, i: usize) -> Range<usize> {
        let high = self.window_of(i).end;
        self.start..self.sinks.clamp(self.start, high.max(self.start))
    }

    /// Keys that some query of `first ..= last` may see: at most two runs, in order.
    #[inline(never)]
    pub(super) fn runs(&self, first: usize, last: usize) -> [Range<usize>; 2] {
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
    pub(super) fn classify(&self, first: usize, last: usize, tile: &Range<usize>) -> Tile {
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
    pub(super) fn rows_that_see(
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
    pub(super) fn queries_of(&self, j: usize) -> Range<i64> {
        let j_row = j as i64 - self.offset;
        let first = if self.right == UNBOUNDED { i64::MIN } else { j_row - self.right };
        let always = self.left == UNBOUNDED || j < self.sinks;
        let past = if always { i64::MAX } else { j_row + self.left + 1 };
        first..past
    }
}

impl Mask {
    /// What it is where a pattern is asked; positions that it does not say are those of the place.
    fn at_place(&self, place: &Place) -> Band {
        let offset = self.offset.unwrap_or(Offset::at(place.offset));
        let mask = Mask { offset: Some(offset), ..*self };
        mask.of_sequence(place.q_len, place.kv_len, &(0..place.kv_len))
    }
}

/// Where it says no offset, positions are those that the plan's own mask says.
impl Pattern for Mask {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        let runs = self.at_place(place).runs(queries.start, queries.end.saturating_sub(1));
        let ahead = runs.iter().filter(|run| key < run.end);
        ahead.map(|run| run.start.max(key)).min()
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        let last = queries.end.saturating_sub(1);
        match self.at_place(place).classify(queries.start, last, keys) {
            Tile::Skip => Coverage::None,
            Tile::Full(range) if range == *keys => Coverage::All,
            Tile::Full(_) | Tile::Partial(_) => Coverage::Some,
        }
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        let band = self.at_place(place);
        for (key, seen) in keys.clone().zip(seen) {
            let Range { start, end } = band.queries_of(key);
            *seen &= if key < band.end { bits_of(queries, start, end) } else { 0 };
        }
    }
    fn needs_positions(&self) -> bool {
        self.check().is_err()
    }
}

fn to_key(position: i64, start: usize, end: usize) -> usize {
    index_of(position).clamp(start, end.max(start))
}

fn intersect(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}
