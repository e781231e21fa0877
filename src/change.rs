//! What changes the scores of a tile before the softmax, and in what order.
//!
//! ```text
//! s = scale * <q, k>        + relative keys        a modifier: a cap, ...        + a bias that is looked up
//! ```
//! A plan holds each behind a pointer, so that what it does not use is not linked.

use crate::attend::QueryTile;
use crate::dispatch::{Adder, AnyLookup, AnyModifier, Entry};
use crate::elem::Sealed;
use crate::job::Bound;
use crate::mask::Visible;
use crate::moves::in_lanes;
use crate::position::QueryTurn;
use crate::relative;
use crate::shape::Heads;
use crate::simd::{Level, MAX_LANES};
use crate::tiling::Lanes;
use core::fmt;
use core::ops::Range;

/// Whether an entry may change scores: what it may not, it holds no code for.
pub(crate) trait Changing: Copy {
    const MAY: bool;
}

/// It may.
#[derive(Clone, Copy)]
pub(crate) struct Any;

/// Its scores are the products, scaled, and its values those of the keys.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl Changing for Any {
    const MAY: bool = true;
}

impl Changing for Plain {
    const MAY: bool = false;
}

/// What a plan does to scores.
#[derive(Clone, Copy, Default)]
pub(crate) struct Changes<'m> {
    pub(crate) queries: Option<&'m dyn QueryTurn>,
    pub(crate) keys: Option<&'m dyn KeyTerm>,
    pub(crate) values: Option<&'m dyn ValueTerm>,
    pub(crate) modifier: Option<&'m dyn AnyModifier>,
    pub(crate) lookup: Option<&'m dyn AnyLookup>,
}

/// What joins a score beside the product.
pub(crate) trait KeyTerm: Sync {
    fn add(&self, bound: &Bound<'_>, pairs: &Pairs<'_>, lines: &mut Lines<'_>, room: &mut [f32]);
}

/// What joins an output beside the values, by the weights `p`.
pub(crate) trait ValueTerm: Sync {
    fn add(
        &self,
        bound: &Bound<'_>,
        pairs: &Pairs<'_>,
        p: &Lines<'_>,
        o: &mut Lines<'_>,
        room: &mut [f32],
    );
}

impl Changes<'_> {
    /// Floats of scratch beside those of an entry.
    pub(crate) const fn room_len(&self, entry: &Entry, heads: Heads) -> usize {
        match (self.keys, self.values) {
            (None, None) => 0,
            _ => relative::room_len(entry.level(), entry.tile_k(), heads),
        }
    }
}

impl fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Changes { queries, keys, values, modifier, lookup } = self;
        f.debug_struct("Changes")
            .field("turned_queries", &queries.is_some())
            .field("relative_keys", &keys.is_some())
            .field("relative_values", &values.is_some())
            .field("modifier", &modifier.is_some())
            .field("lookup", &lookup.is_some())
            .finish()
    }
}

/// A row of scores: which query of which head a [`Modifier`](crate::Modifier) or a [`Lookup`](crate::Lookup) is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The sequence of a batch.
    pub sequence: usize,
    /// The query head.
    pub head: usize,
    /// The query, and its position.
    pub query: usize,
    /// Where key `j` has position `j`.
    pub position: i64,
}

/// Pairs of some rows of a key/value head and some keys.
#[derive(Clone, Debug)]
pub(crate) struct Pairs<'a> {
    pub(crate) visible: &'a Visible<'a>,
    /// Row `r` is query `r / group` of query head `head + r % group`.
    pub(crate) head: usize,
    pub(crate) group: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) keys: Range<usize>,
}

impl Pairs<'_> {
    /// Its rows, as many at once as a vector has lanes, behind `idle` lanes: none of them shares a vector with others.
    pub(crate) fn chunks(
        &self,
        idle: usize,
        lanes: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        // Never 0; saying so here removes the division checks.
        let (Range { mut start, end }, lanes) = (self.rows.clone(), lanes.max(1));
        let mut count = lanes - idle % lanes;
        core::iter::from_fn(move || {
            let rows = start..end.min(start + count);
            (start, count) = (rows.end, lanes);
            (!rows.is_empty()).then_some(rows)
        })
    }

    /// What a row is.
    pub(crate) fn row(&self, row: usize) -> Row {
        // Never 0; saying so here removes the division checks.
        let group = self.group.max(1);
        let (query, head) = (row / group, self.head + row % group);
        let (sequence, position) = (self.visible.sequence(), self.visible.position(query));
        Row { sequence, head, query, position }
    }
}

/// Rows of a query tile and keys, and where their numbers lie.
#[derive(Clone, Debug)]
pub(crate) struct At<'k> {
    pub(crate) rows: Range<usize>,
    pub(crate) keys: &'k Range<usize>,
    /// Floats of a line of scores, and of one of outputs.
    pub(crate) widths: [usize; 2],
    /// As in [`Lines`].
    pub(crate) along: Lanes,
    pub(crate) idle: usize,
}

impl At<'_> {
    fn lines<'s>(&self, s: &'s mut [f32], width: usize) -> Lines<'s> {
        Lines { s, width, along: self.along, idle: self.idle }
    }
}

/// Scores of pairs, in lines of `width` floats.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    pub(crate) s: &'a mut [f32],
    pub(crate) width: usize,
    /// What lies along a line: rows of queries, a line a key, or keys, a line a row.
    pub(crate) along: Lanes,
    /// Where rows lie along a line, lanes before the first of them.
    pub(crate) idle: usize,
}

impl Lines<'_> {
    pub(crate) fn reborrow(&mut self) -> Lines<'_> {
        Lines { s: &mut *self.s, ..*self }
    }

    /// Adds numbers of some rows from row `row` on, which share a vector with no others, from key `key` on.
    pub(crate) fn add_rows<'r>(
        &mut self,
        adder: Adder,
        (row, key): (usize, usize),
        scale: f32,
        rows: impl Iterator<Item = &'r [f32]>,
    ) {
        // Never 0; saying so here removes the division checks.
        let (lanes, width) = (adder.level().lanes().max(1), self.width);
        match self.along {
            Lanes::Queries => {
                // Whole vectors: lanes that are idle, or have no row yet, get zeros.
                let (vector, idle) = ((self.idle + row) / lanes, (self.idle + row) % lanes);
                let columns = self.s.get_mut(key * width + vector * lanes..).unwrap_or(&mut []);
                adder.columns(&in_lanes(idle, rows), scale, columns, width);
            }
            Lanes::Keys => {
                let lines = self.s.chunks_exact_mut(width.max(1)).skip(row);
                for (line, numbers) in lines.zip(rows) {
                    let scores = line.get_mut(key..).unwrap_or(&mut []);
                    scores.iter_mut().zip(numbers).for_each(|(s, x)| *s += x * scale);
                }
            }
        }
    }

    /// Copies some rows from row `row` on, which share a vector with no others: to their lanes where they lie in lanes.
    pub(crate) fn take_rows(&self, level: Level, row: usize, rows: &mut [&mut [f32]; MAX_LANES]) {
        match self.along {
            Lanes::Queries => {
                let vector = (self.idle + row) / level.lanes().max(1) * level.lanes();
                let columns = self.s.get(vector..).unwrap_or(&[]);
                f32::MOVES.at(level).lift(columns, self.width, rows);
            }
            Lanes::Keys => {
                let lines = self.s.chunks_exact(self.width.max(1)).skip(row);
                for (line, to) in lines.zip(rows) {
                    to.iter_mut().zip(line).for_each(|(to, x)| *to = *x);
                }
            }
        }
    }
}

impl Bound<'_> {
    /// Whether scores are changed at all.
    pub(crate) fn changes_scores(&self) -> bool {
        let Changes { keys, modifier, lookup, .. } = self.changes;
        keys.is_some() || modifier.is_some() || lookup.is_some()
    }

    /// Whether values beside those of the keys are added.
    pub(crate) fn adds_values(&self) -> bool {
        self.changes.values.is_some()
    }

    /// Changes the scores of some pairs as the plan says.
    // One copy for all entries: once a block and key tile.
    #[inline(never)]
    pub(crate) fn change_scores(
        &self,
        visible: &Visible<'_>,
        tile: &QueryTile,
        at: At<'_>,
        s: &mut [f32],
        room: &mut [f32],
    ) {
        let (pairs, mut lines) = (self.pairs(visible, tile, &at), at.lines(s, at.widths[0]));
        if let Some(keys) = self.changes.keys {
            keys.add(self, &pairs, &mut lines, room);
        }
        if let Some(modifier) = self.changes.modifier {
            modifier.change(self.level(), &pairs, lines.reborrow());
        }
        if let Some(lookup) = self.changes.lookup {
            lookup.add(self.level(), &pairs, lines);
        }
    }

    /// Adds the values beside those of the keys by the weights `p` of some pairs.
    #[inline(never)]
    pub(crate) fn add_values(
        &self,
        visible: &Visible<'_>,
        tile: &QueryTile,
        at: At<'_>,
        p: &mut [f32],
        o: &mut [f32],
        room: &mut [f32],
    ) {
        if let Some(values) = self.changes.values {
            let pairs = self.pairs(visible, tile, &at);
            values.add(
                self,
                &pairs,
                &at.lines(p, at.widths[0]),
                &mut at.lines(o, at.widths[1]),
                room,
            );
        }
    }

    fn pairs<'v>(&self, visible: &'v Visible<'v>, tile: &QueryTile, at: &At<'_>) -> Pairs<'v> {
        let group = self.shape.heads.group();
        let (rows, keys) = (at.rows.clone(), at.keys.clone());
        Pairs { visible, head: tile.g * group, group, rows, keys }
    }
}
