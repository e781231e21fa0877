//! What changes the scores of a tile before the softmax, and in what order.
//!
//! ```text
//! s = scale * <q, k>        + relative keys        a modifier: a cap, ...        + a bias that is looked up
//! ```
//! A plan holds each behind a pointer, so that what it does not use is not linked.

use crate::attend::QueryTile;
use crate::dispatch::{AnyLookup, AnyModifier};
use crate::job::Bound;
use crate::mask::Visible;
use crate::tiling::Lanes;
use core::fmt;
use core::ops::Range;

/// What a plan does to scores.
#[derive(Clone, Copy, Default)]
pub(crate) struct Changes<'m> {
    pub(crate) modifier: Option<&'m dyn AnyModifier>,
    pub(crate) lookup: Option<&'m dyn AnyLookup>,
}

impl fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (modifier, lookup) = (self.modifier.is_some(), self.lookup.is_some());
        f.debug_struct("Changes").field("modifier", &modifier).field("lookup", &lookup).finish()
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
    /// What a row is.
    pub(crate) fn row(&self, row: usize) -> Row {
        // Never 0; saying so here removes the division checks.
        let group = self.group.max(1);
        let (query, head) = (row / group, self.head + row % group);
        let (sequence, position) = (self.visible.sequence(), self.visible.position(query));
        Row { sequence, head, query, position }
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
}

impl Bound<'_> {
    /// Whether scores are changed at all.
    pub(crate) fn changes_scores(&self) -> bool {
        self.changes.modifier.is_some() || self.changes.lookup.is_some()
    }

    /// Pairs of some rows of a query tile and some keys.
    pub(crate) fn pairs<'v>(
        &self,
        visible: &'v Visible<'v>,
        tile: &QueryTile,
        rows: Range<usize>,
        keys: Range<usize>,
    ) -> Pairs<'v> {
        let group = self.shape.heads.group();
        Pairs { visible, head: tile.g * group, group, rows, keys }
    }

    /// Changes the scores of some pairs as the plan says.
    // One copy for all entries: once a block and key tile.
    #[inline(never)]
    pub(crate) fn change_scores(&self, pairs: &Pairs<'_>, mut lines: Lines<'_>) {
        if let Some(modifier) = self.changes.modifier {
            modifier.change(self.level(), pairs, lines.reborrow());
        }
        if let Some(lookup) = self.changes.lookup {
            lookup.add(self.level(), pairs, lines);
        }
    }
}
