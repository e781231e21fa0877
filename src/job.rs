//! A checked piece of work: a plan bound to tensors, and the right to write some rows of the output.

use crate::attend::QueryTile;
use crate::call::{Lens, RowTurn};
use crate::change::{Changes, Changing};
use crate::dispatch::{Claim, Entry};
use crate::elem::Sealed;
use crate::error::Error;
use crate::mask::{Mask, Only, Visible};
use crate::moves::in_lanes;
use crate::products::Precision;
use crate::shape::{Heads, Shape};
use crate::simd::{Level, Rows, prefetch_row};
use crate::sinks::Sinks;
use crate::staged::Staged;
use crate::view::{AnyView, Stored, of_any};
use core::ops::{Deref, Range};

/// A plan and the tensors that it was checked against: all that the shares of a call have in common.
#[derive(Clone, Debug)]
pub struct Bound<'a> {
    pub(crate) entry: Entry,
    pub(crate) shape: Shape,
    pub(crate) mask: Mask,
    pub(crate) only: Only<'a>,
    pub(crate) changes: Changes<'a>,
    /// Keys that may be seen at all.
    pub(crate) keys: Range<usize>,
    /// `scale * log2(e)`.
    pub(crate) scale: f32,
    pub(crate) q: AnyView<'a>,
    /// Queries of the longest sequence, where there are several of different lengths.
    pub(crate) longest: usize,
    /// What a cache has turned its keys by, and turns queries by.
    pub(crate) turn: Option<RowTurn>,
    pub(crate) k: Staged<'a>,
    pub(crate) v: Staged<'a>,
    pub(crate) lens: Lens<'a>,
    pub(crate) sinks: Option<Sinks<'a>>,
}

/// What an entry is called with. Only a plan makes one.
#[derive(Debug)]
pub struct Job<'a> {
    pub(crate) bound: Bound<'a>,
    pub(crate) out: Claim<'a>,
    pub(crate) scratch: &'a mut [f32],
}

impl<'a> Deref for Job<'a> {
    type Target = Bound<'a>;

    #[inline(always)]
    fn deref(&self) -> &Bound<'a> {
        &self.bound
    }
}

impl Bound<'_> {
    /// [`Attention::scratch_len`](crate::Attention::scratch_len).
    pub(crate) const fn scratch_len(&self) -> usize {
        let (entry, heads) = (&self.entry, self.shape.heads);
        entry.scratch_len(heads).saturating_add(self.changes.room_len(entry, heads))
    }

    /// The scratch of the entry, and the room of what changes scores: the end of it.
    #[inline(never)]
    pub(crate) fn split_scratch<'s>(
        &self,
        scratch: &'s mut [f32],
    ) -> (&'s mut [f32], &'s mut [f32]) {
        let room = self.changes.room_len(&self.entry, self.shape.heads);
        scratch.split_at_mut(scratch.len().saturating_sub(room))
    }

    /// The level that its entry needs.
    pub(crate) const fn level(&self) -> Level {
        self.entry.level()
    }

    /// The mask of key/value head `g` of sequence `b`.
    #[inline(never)]
    pub(crate) fn visible(&self, b: usize, g: usize) -> Visible<'_> {
        let Shape { q_len, kv_len, heads, .. } = self.shape;
        let visible = self.lens.of(b, kv_len);
        let group = heads.group();
        let hides = self.changes.lookup.filter(|lookup| lookup.hides_keys());
        let place = (b, g * group, group);
        self.mask.visible((self.only, hides), place, (q_len, visible), &self.keys)
    }

    /// Whether the mask, without patterns, keeps every query of some sequences from what a cache keeps no more.
    pub(crate) fn check_evicted(&self, sequences: Range<usize>) -> Result<(), Error> {
        let Some(cache) = self.lens.cache else { return Ok(()) };
        for b in sequences {
            let Range { start, end } = cache.evicted(b);
            if start < end && self.visible(b, 0).may_see(self.shape.q_len, &(start..end)) {
                return Err(Error::Evicted { start, end });
            }
        }
        Ok(())
    }

    /// Whether other key/value heads may see other keys.
    pub(crate) fn differs_by_head(&self) -> bool {
        self.only.0.is_some_and(|pattern| pattern.differs_by_head())
            || self.changes.lookup.is_some_and(|lookup| lookup.hides_keys())
    }

    /// Lays at most a vector of query rows down lanes, behind `idle` lanes of zeros:
    /// `columns[c * width + idle + r]`, scaled, or as bf16 pairs if that is what the entry multiplies. Pairs
    /// are made in `room`.
    pub(crate) fn pack_queries(
        &self,
        tile: &QueryTile,
        (idle, rows): (usize, Range<usize>),
        room: &mut [f32],
        columns: &mut [f32],
        width: usize,
    ) {
        if self.k.rounding().is_some() {
            return self.pack_rounded(tile, (idle, rows), room, columns, width);
        }
        if self.turns_queries() {
            return self.pack_turned(tile, (idle, rows), room, columns, width);
        }
        of_any!(Stored, self.q.0, (view, moves) => {
            let mover = moves.at(self.level());
            if let (Precision::Bf16Products, Some(pairs)) = (self.entry.precision(), mover.pairs()) {
                let (steps, count) = (self.shape.heads.dim.div_ceil(2), rows.len());
                self.flat_queries(tile, rows, room, steps);
                let rows = room.chunks_exact(steps.max(1)).take(count);
                return pairs.pack(&in_lanes(idle, rows), columns, width);
            }
            let places = self.shape.heads.rows_of(tile.g, rows);
            let rows = places.map(|(i, h)| view.row(tile.b, i, h));
            mover.pack(&in_lanes(idle, rows), self.scale, columns, width);
        });
    }

    /// As [`Bound::pack_queries`], of queries that are rounded to codes in `room`.
    #[inline(never)]
    fn pack_rounded(
        &self,
        tile: &QueryTile,
        (idle, rows): (usize, Range<usize>),
        room: &mut [f32],
        columns: &mut [f32],
        width: usize,
    ) {
        let (dim, count) = (self.shape.heads.dim.max(1), rows.len());
        let room = room.get_mut(..count * dim).unwrap_or(&mut []);
        self.flat_queries(tile, rows, room, dim);
        self.k.round_queries(room, dim);
        self.k.pack_rounded(&in_lanes(idle, room.chunks_exact(dim)), columns, width);
    }

    const fn turns_queries(&self) -> bool {
        self.changes.queries.is_some() || self.turn.is_some()
    }

    /// Queries in f32, turned by a rope, if there is one, and then by `turn`: rows of `width` floats.
    fn turn_queries(
        &self,
        turn: Option<RowTurn>,
        tile: &QueryTile,
        rows: Range<usize>,
        (to, width): (&mut [f32], usize),
    ) {
        let (places, dim) = (&mut self.shape.heads.rows_of(tile.g, rows), self.shape.heads.dim);
        if let Some(rope) = self.changes.queries {
            let tokens = [self.shape.batch, self.longest];
            rope.turn((self.q, tokens), tile.b, places, to, width);
        } else {
            of_any!(Stored, self.q.0, (view, moves) => {
                for ((i, h), to) in places.zip(to.chunks_exact_mut(width.max(1))) {
                    let row = Rows::one(view.row(tile.b, i, h));
                    moves.at(self.level()).flat(row, 0, 1.0, to, width);
                }
            });
        }
        if let Some(turn) = turn {
            let rows = to.chunks_exact_mut(width.max(1));
            rows.for_each(|row| turn(row.get_mut(..dim).unwrap_or(&mut [])));
        }
    }

    /// As [`Bound::pack_queries`], of turned queries: they are f32 in `room`, or pairs.
    #[inline(never)]
    fn pack_turned(
        &self,
        tile: &QueryTile,
        (idle, rows): (usize, Range<usize>),
        room: &mut [f32],
        columns: &mut [f32],
        width: usize,
    ) {
        let (dim, mover) = (self.shape.heads.dim.max(1), f32::MOVES.at(self.level()));
        if let (Precision::Bf16Products, Some(pairs)) = (self.entry.precision(), mover.pairs()) {
            let (steps, count) = (dim.div_ceil(2), rows.len());
            let mut row = [0.0; Heads::MAX_DIM];
            for (r, to) in rows.zip(room.chunks_exact_mut(steps)) {
                let row = row.get_mut(..dim).unwrap_or(&mut []);
                self.turn_queries(self.turn, tile, r..r + 1, (row, dim));
                pairs.flat(Rows::one(row), to, steps);
            }
            let rows = room.chunks_exact(steps).take(count);
            return pairs.pack(&in_lanes(idle, rows), columns, width);
        }
        let (count, room) = (rows.len(), room.get_mut(..rows.len() * dim).unwrap_or(&mut []));
        self.turn_queries(self.turn, tile, rows, (room, dim));
        let rows = room.chunks_exact(dim).take(count);
        mover.pack(&in_lanes(idle, rows), self.scale, columns, width);
    }

    /// Asks for the queries of a tile to come nearer: many rows at once, so that no wait follows another.
    pub(crate) fn expect_queries(&self, tile: &QueryTile) {
        of_any!(Stored, self.q.0, (view, _) => {
            for (i, h) in self.shape.heads.rows_of(tile.g, tile.rows.clone()) {
                let row = view.row(tile.b, i, h);
                prefetch_row(row.as_ptr(), row.len());
            }
        });
    }

    /// Copies query rows one behind the other, `width` floats each: scaled, or as bf16 pairs if that is
    /// what the entry multiplies.
    pub(crate) fn flat_queries(
        &self,
        tile: &QueryTile,
        rows: Range<usize>,
        to: &mut [f32],
        width: usize,
    ) {
        self.flat_turned(self.turn, tile, rows, (to, width));
    }

    /// The same before they are turned as the keys of a cache are: for what is multiplied with other keys.
    pub(crate) fn flat_own(
        &self,
        tile: &QueryTile,
        rows: Range<usize>,
        to: &mut [f32],
        width: usize,
    ) {
        self.flat_turned(None, tile, rows, (to, width));
    }

    /// As [`Bound::flat_queries`]. Whoever multiplies pairs packs those that are turned.
    #[inline(never)]
    fn flat_turned(
        &self,
        turn: Option<RowTurn>,
        tile: &QueryTile,
        rows: Range<usize>,
        (to, width): (&mut [f32], usize),
    ) {
        if turn.is_none() && self.changes.queries.is_none() {
            return self.flat_rows(self.q, tile, rows, to, width);
        }
        let to = to.get_mut(..rows.len() * width).unwrap_or(&mut []);
        to.fill(0.0);
        self.turn_queries(turn, tile, rows, (to, width));
        for x in to {
            *x *= self.scale;
        }
    }

    /// The same of other queries.
    pub(crate) fn flat_rows(
        &self,
        queries: AnyView<'_>,
        tile: &QueryTile,
        rows: Range<usize>,
        to: &mut [f32],
        width: usize,
    ) {
        of_any!(Stored, queries.0, (view, moves) => {
            let mover = moves.at(self.level());
            let places = self.shape.heads.rows_of(tile.g, rows);
            for ((i, h), to) in places.zip(to.chunks_exact_mut(width.max(1))) {
                let row = Rows::one(view.row(tile.b, i, h));
                match (self.entry.precision(), mover.pairs()) {
                    (Precision::Bf16Products, Some(pairs)) => pairs.flat(row, to, width),
                    _ => mover.flat(row, 0, self.scale, to, width),
                }
            }
        });
    }

    /// Joins the sinks of some rows of a tile, if there are any: [`Sinks::join_rows`].
    // One copy for all entries: once a block.
    #[inline(never)]
    pub(crate) fn join_sinks(
        &self,
        g: usize,
        rows: Range<usize>,
        lanes: (usize, usize),
        state: (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        if let Some(sinks) = self.sinks {
            sinks.join_rows(self.level(), self.shape.heads, (g, rows), lanes, state);
        }
    }
}

impl<'a> Job<'a> {
    /// The scratch of the entry, and the room of what changes scores.
    #[inline(always)]
    pub(crate) fn take_scratch<C: Changing>(&mut self) -> (&'a mut [f32], &'a mut [f32]) {
        let scratch = core::mem::take(&mut self.scratch);
        if C::MAY { self.split_scratch(scratch) } else { (scratch, &mut []) }
    }
}

impl Job<'_> {
    /// Asks for the rows of output that a tile writes to come nearer.
    pub(crate) fn expect_outputs(&self, tile: &QueryTile) {
        self.out.expect([tile.b, tile.g], tile.rows.clone());
    }

    /// Writes one row of output: its channels, and its sums.
    pub(crate) fn write_row(
        &mut self,
        tile: &QueryTile,
        row: usize,
        sums: (f32, f32),
        channels: &[f32],
    ) {
        self.out.write([tile.b, tile.g], row, sums, channels);
    }

    /// Writes a few rows of output, a lane each: channel `c` of the first is `columns[c * width]`.
    pub(crate) fn write_lanes(
        &mut self,
        tile: &QueryTile,
        rows: Range<usize>,
        sums: (&[f32], &[f32]),
        columns: &[f32],
        width: usize,
    ) {
        self.out.write_lanes([tile.b, tile.g], rows, sums, columns, width);
    }
}
