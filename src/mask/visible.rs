//! What the queries of one key/value head may see: a band around the diagonal, and a pattern if there is one.

use super::band::Band;
use super::pattern::{Coverage, Only, Pattern, Place, chunks};
use super::{Tile, pattern};
use crate::change::Pairs;
use crate::dispatch::AnyLookup;
use core::fmt;
use core::ops::Range;

/// The mask of one key/value head of one sequence.
#[derive(Clone, Copy)]
pub(crate) struct Visible<'m> {
    pub(super) band: Band,
    pub(super) only: Only<'m>,
    /// A bias that hides some keys.
    pub(super) hides: Option<&'m dyn AnyLookup>,
    /// Its first query head.
    pub(super) place: Place,
    /// Query heads, and those of them whose patterns may differ.
    pub(super) group: usize,
}

impl<'m> Visible<'m> {
    /// The position of a query.
    pub(crate) const fn position(&self, query: usize) -> i64 {
        self.place.position(query)
    }

    /// Its sequence.
    pub(crate) const fn sequence(&self) -> usize {
        self.place.sequence
    }

    /// The places whose patterns may differ.
    fn places(&self, pattern: &dyn Pattern) -> impl Iterator<Item = Place> + use<> {
        let (place, count) = (self.place, if pattern.differs_by_head() { self.group } else { 1 });
        (0..count).map(move |head| Place { head: place.head + head, ..place })
    }

    /// Key tiles that some query of `first ..= last` may see into, in order, each once.
    pub(crate) fn key_tiles(&self, first: usize, last: usize, tile_k: usize) -> KeyTiles<'m> {
        let runs = self.band.runs(first, last);
        KeyTiles { visible: *self, queries: first..last + 1, runs, from: 0, tile_k }
    }

    /// Whether the band, without patterns, lets any of so many queries see some of these keys.
    pub(crate) fn may_see(&self, queries: usize, keys: &Range<usize>) -> bool {
        let runs = self.band.runs(0, queries.saturating_sub(1));
        queries > 0 && runs.iter().any(|run| run.start < keys.end && keys.start < run.end)
    }

    /// What the keys of `tile` are to the queries `first ..= last`.
    #[inline(never)]
    pub(crate) fn classify(&self, first: usize, last: usize, tile: &Range<usize>) -> Tile {
        let mut banded = self.band.classify(first, last, tile);
        if let (Tile::Full(range), Some(_)) = (&banded, self.hides) {
            banded = Tile::Partial(range.clone());
        }
        let Some(pattern) = self.only.0 else { return banded };
        let (range, is_full) = match banded {
            Tile::Skip => return Tile::Skip,
            Tile::Full(range) => (range, true),
            Tile::Partial(range) => (range, false),
        };
        let queries = first..last + 1;
        let (mut all, mut none) = (true, true);
        for place in self.places(pattern) {
            let coverage = pattern.coverage(&place, &queries, &range);
            all &= coverage == Coverage::All;
            none &= coverage == Coverage::None;
        }
        match (all, none) {
            (_, true) => Tile::Skip,
            (true, _) if is_full => Tile::Full(range),
            (true, _) => Tile::Partial(range),
            _ => match self.next(pattern, &queries, range.start) {
                Some(start) if start < range.end => Tile::Partial(start..range.end),
                _ => Tile::Skip,
            },
        }
    }

    /// The first key from `key` on that a pattern may let some query see.
    fn next(&self, pattern: &dyn Pattern, queries: &Range<usize>, key: usize) -> Option<usize> {
        let next = |place: Place| pattern.next(&place, queries, key);
        self.places(pattern).filter_map(next).min().map(|next| next.max(key))
    }

    /// As [`Visible::see_patterns`], without what a bias hides.
    pub(crate) fn see(&self, keys: &Range<usize>, rows: &Range<usize>, bits: &mut [u64]) {
        self.see_patterns(keys, rows, bits);
        if let Some(lookup) = self.hides {
            let (rows, keys, group) = (rows.clone(), keys.clone(), self.group);
            lookup.hide(&Pairs { visible: self, head: self.place.head, group, rows, keys }, bits);
        }
    }

    /// For each key of `keys`, all of them in the range of a tile, which of at most 64 rows may see it: bit `r` is
    /// row `rows.start + r`, and `group` rows in turn belong to one query.
    #[inline(never)]
    fn see_patterns(&self, keys: &Range<usize>, rows: &Range<usize>, bits: &mut [u64]) {
        let group = self.group.max(1);
        let banded = self.band.rows_that_see(keys.clone(), rows, group);
        bits.iter_mut().zip(banded).for_each(|(bits, seen)| *bits = seen);
        let Some(pattern) = self.only.0 else { return };
        let queries = rows.start / group..rows.end.div_ceil(group);
        if group == 1 {
            return pattern.restrict(&self.place, &queries, keys, bits);
        }
        let differs = pattern.differs_by_head();
        for (keys, bits) in chunks(keys, bits) {
            for (head, place) in self.places(pattern).enumerate() {
                let mut room = [u64::MAX; pattern::CHUNK];
                let seen = room.get_mut(..bits.len()).unwrap_or(&mut []);
                pattern.restrict(&place, &queries, &keys, seen);
                for (bits, seen) in bits.iter_mut().zip(seen) {
                    *bits &= rows_of(*seen, rows, group, differs.then_some(head));
                }
            }
        }
    }
}

impl fmt::Debug for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Visible { band, only, place, .. } = self;
        f.debug_struct("Visible")
            .field("band", band)
            .field("only", only)
            .field("place", place)
            .finish()
    }
}

/// The rows of the queries whose bit is set, of all heads of a group or of one; those of other heads are set.
fn rows_of(seen: u64, rows: &Range<usize>, group: usize, head: Option<usize>) -> u64 {
    // Never 0; saying so here removes the division checks.
    let group = group.max(1);
    let (first, mut bits) = (rows.start / group, u64::MAX);
    for query in first..rows.end.div_ceil(group) {
        if seen >> ((query - first) & 63) & 1 == 1 {
            continue;
        }
        let heads = head.map_or(0..group, |head| head..head + 1);
        for row in heads.map(|head| query * group + head) {
            if let Some(bit) = row.checked_sub(rows.start).filter(|bit| *bit < 64) {
                bits &= !(1 << bit);
            }
        }
    }
    bits
}

/// See [`Visible::key_tiles`].
#[derive(Debug)]
pub(crate) struct KeyTiles<'m> {
    visible: Visible<'m>,
    queries: Range<usize>,
    runs: [Range<usize>; 2],
    /// Keys before it are done.
    from: usize,
    tile_k: usize,
}

impl Iterator for KeyTiles<'_> {
    type Item = Range<usize>;

    // One copy for all entries: once a tile.
    #[inline(never)]
    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let ahead = self.runs.iter().filter(|run| self.from < run.end);
            let key = ahead.map(|run| run.start.max(self.from)).min()?;
            let next = match self.visible.only.0 {
                None => key,
                Some(pattern) => self.visible.next(pattern, &self.queries, key)?,
            };
            self.from = next;
            if next == key || self.runs.iter().any(|run| run.contains(&next)) {
                // Never 0; saying so here removes the division check.
                let tile_k = self.tile_k.max(1);
                let tile = next / tile_k;
                self.from = (tile + 1) * tile_k;
                return Some(tile * tile_k..self.from);
            }
        }
    }
}
