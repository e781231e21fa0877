//! What attention asks of a cache.

use super::runs::Run;
use super::shape::Order;
use super::store::Store;
use crate::decode::integers::{Codes, ROWS};
use crate::decode::products::Weights;
use crate::decode::rounding::Rounding;
use crate::dispatch::{Entry, Queries, check_len, pack_rounded, round_rows};
use crate::elem::{BLOCK, Format};
use crate::error::{Error, Tensor};
use crate::moves::RowsOfLanes;
use crate::simd::{Level, Rows};
use crate::staged::Ahead;
use crate::tiling::TILE_K;
use crate::view::AnyView;
use core::fmt;
use core::ops::Range;

/// Keys and values that attention can read: [`KvCache`](crate::KvCache), or some sequences of a
/// [`PagedCache`](crate::PagedCache).
pub trait Cached: Sync + Sealed {
    /// Sequences.
    fn batch(&self) -> usize;
    /// Tokens of the longest sequence, those that are gone among them.
    fn kv_len(&self) -> usize;

    /// What it keeps of some tokens in one head of one sequence, as attention reads it: `[tokens, dim]`. Keys stay turned in a rotated cache. Zeros for blocks that are gone; what a
    /// ring has written over is what it was written over with.
    ///
    /// # Errors
    /// [`Error::KeyRange`] and [`Error::Row`] for what there is not; [`Error::Length`]. Nothing is written then.
    fn load(
        &self,
        side: Side,
        [b, g]: [usize; 2],
        tokens: Range<usize>,
        to: &mut [f32],
    ) -> Result<(), Error> {
        let [batch, _, heads, dim] = self.dims(side);
        if b >= batch || g >= heads {
            return Err(Error::Row {
                row: [b, tokens.start, g],
                limits: [batch, self.kv_len(), heads],
            });
        }
        let (Range { start, end }, kv_len) = (tokens.clone(), self.len(b));
        if start > end || end > kv_len {
            return Err(Error::KeyRange { start, end, kv_len });
        }
        let tensor = if side == Side::Keys { Tensor::K } else { Tensor::V };
        check_len(tensor, tokens.len() * dim, to.len())?;
        self.widen(
            side,
            Level::detect(),
            Read { b, g, keys: tokens, ahead: Ahead::default() },
            to,
            dim,
        );
        Ok(())
    }
}

/// No more: what it holds would bring the formatting of floats into every binary.
impl fmt::Debug for dyn Cached + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cached")
    }
}

/// Keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As wide as queries.
    Keys,
    /// As wide as outputs.
    Values,
}

/// What only this crate may ask.
pub trait Sealed {
    /// `[batch, kv_len, heads, dim]`.
    fn dims(&self, side: Side) -> [usize; 4];
    /// Tokens of a sequence.
    fn len(&self, b: usize) -> usize;
    /// Those of them that are gone.
    fn evicted(&self, b: usize) -> Range<usize>;
    /// Whether the heads of a token lie side by side.
    fn heads_lie_together(&self) -> bool;
    /// Both as tensors, if that is what they are.
    fn views(&self) -> Option<[AnyView<'_>; 2]>;
    /// Tokens of one head of one sequence: rows of `width` floats.
    fn widen(&self, side: Side, level: Level, read: Read, to: &mut [f32], width: usize);
    /// What turns a row of queries, if keys are turned.
    fn turn(&self) -> Option<fn(&mut [f32])>;
    /// Scores of the first keys, loaded to lanes where they lie: `s[r * width + j]`. Returns how many they are, whole vectors; 0 if these cannot
    /// be loaded so.
    fn lane_scores(
        &self,
        level: Level,
        read: &Read,
        queries: Rows<'_>,
        s: &mut [f32],
        width: usize,
    ) -> usize;
    /// Adds sums of the first values, loaded so: `to[r * width + c] += sum_j p[r][j] v[j][c]`. Returns how many they are.
    fn lane_sums(
        &self,
        level: Level,
        read: &Read,
        weights: Weights<'_>,
        to: &mut [f32],
        width: usize,
    ) -> usize;
    /// How their products are made in integers, if they can be.
    fn rounding(&self, side: Side) -> Option<Rounding>;
    /// An entry for many queries that scores codes of keys in integers, in place of another one, if they have any.
    fn integers(&self, entry: Entry) -> Option<Entry>;
    /// Codes of keys as words, and their scales behind them: rows of `width` floats.
    fn words(&self, level: Level, read: &Read, to: &mut [f32], width: usize);
    /// Lays rounded rows down lanes.
    fn pack_rounded(
        &self,
        level: Level,
        rows: &RowsOfLanes<'_, f32>,
        columns: &mut [f32],
        width: usize,
    );
    /// Rounds rows of queries in place: [`Rounding::round`], linked only with a cache.
    fn round_queries(&self, level: Level, rounding: Rounding, rows: &mut [f32], width: usize);
    /// Scores of keys by integers: `s[r * width + j]`.
    fn scores(&self, level: Level, read: Read, queries: Queries<'_>, s: &mut [f32], width: usize);
    /// Sums of values by integers: `to[r * width + c] = sum_j p[r][j] v[j][c]`.
    fn sums(
        &self,
        level: Level,
        read: Read,
        weights: Weights<'_>,
        rounding: Rounding,
        to: &mut [f32],
        width: usize,
    );
}

/// A cache of some formats: where its tokens lie, and the memory that they lie in. All that attention asks follows from that.
pub trait Kept {
    /// How keys are kept.
    type K: Format;
    /// How values are kept.
    type V: Format;
    /// The memory of each.
    fn stores(&self) -> (&Store<'_, Self::K>, &Store<'_, Self::V>);
    /// [`Sealed::len`].
    fn len_of(&self, b: usize) -> usize;
    /// [`Sealed::evicted`].
    fn evicted_of(&self, b: usize) -> Range<usize>;
    /// Where a token of a sequence lies, and how many lie behind each other from it on.
    fn run_at(&self, b: usize, token: usize) -> Run;
    /// Whether tokens lie behind each other from the first to the last.
    fn is_straight(&self) -> bool;
}

impl<T: Kept + Cached> Sealed for T {
    fn dims(&self, side: Side) -> [usize; 4] {
        self.stores().0.shape().dims(self.batch(), self.kv_len(), side)
    }
    fn len(&self, b: usize) -> usize {
        self.len_of(b)
    }
    fn evicted(&self, b: usize) -> Range<usize> {
        self.evicted_of(b)
    }
    fn heads_lie_together(&self) -> bool {
        self.stores().0.shape().order == Order::ByToken
    }
    fn views(&self) -> Option<[AnyView<'_>; 2]> {
        let ((k, v), len) = (self.stores(), self.kv_len());
        if self.is_straight() { Some([k.view(len)?, v.view(len)?]) } else { None }
    }
    fn widen(&self, side: Side, level: Level, read: Read, to: &mut [f32], width: usize) {
        let ((k, v), run_at) = (self.stores(), |token| self.run_at(read.b, token));
        match side {
            Side::Keys => k.widen_runs(level, &read, run_at, to, width),
            Side::Values => v.widen_runs(level, &read, run_at, to, width),
        }
    }
    fn turn(&self) -> Option<fn(&mut [f32])> {
        self.stores().0.turn()
    }
    fn lane_scores(
        &self,
        level: Level,
        read: &Read,
        queries: Rows<'_>,
        s: &mut [f32],
        width: usize,
    ) -> usize {
        let run = self.run_at(read.b, read.keys.start);
        self.stores().0.lane_scores(level, (read, run), queries, s, width)
    }
    fn lane_sums(
        &self,
        level: Level,
        read: &Read,
        weights: Weights<'_>,
        to: &mut [f32],
        width: usize,
    ) -> usize {
        let run = self.run_at(read.b, read.keys.start);
        self.stores().1.lane_sums(level, (read, run), weights, to, width)
    }
    fn rounding(&self, side: Side) -> Option<Rounding> {
        match side {
            Side::Keys => self.stores().0.rounding(),
            Side::Values => self.stores().1.rounding(),
        }
    }
    fn integers(&self, entry: Entry) -> Option<Entry> {
        self.stores().0.integers(entry)
    }
    fn words(&self, level: Level, read: &Read, to: &mut [f32], width: usize) {
        if !Level::HAS_LANES {
            return;
        }
        let run_at = |token| self.run_at(read.b, token);
        self.stores().0.words_of_runs(level, read, run_at, to, width);
    }
    fn pack_rounded(
        &self,
        level: Level,
        rows: &RowsOfLanes<'_, f32>,
        columns: &mut [f32],
        width: usize,
    ) {
        if Level::HAS_LANES {
            pack_rounded(level, rows, columns, width);
        }
    }
    fn round_queries(&self, level: Level, rounding: Rounding, rows: &mut [f32], width: usize) {
        if Level::HAS_LANES {
            round_rows(level, rounding, rows, width);
        }
    }
    fn scores(&self, level: Level, read: Read, queries: Queries<'_>, s: &mut [f32], width: usize) {
        if !Level::HAS_LANES {
            return;
        }
        let run_at = |token| self.run_at(read.b, token);
        self.stores().0.scores_of_runs(level, &read, run_at, queries, (s, width));
    }
    /// A few rows at a time, and as many blocks of channels as share their scales: weights are rounded for each.
    fn sums(
        &self,
        level: Level,
        read: Read,
        weights: Weights<'_>,
        Rounding { channels, scales: parts, .. }: Rounding,
        to: &mut [f32],
        width: usize,
    ) {
        if !Level::HAS_LANES {
            return;
        }
        let (v, run_at) = (self.stores().1, |token| self.run_at(read.b, token));
        let (count, blocks) = (read.keys.len(), channels / BLOCK);
        let mut scales = [0.0; TILE_K];
        for n in 0..parts {
            let (first, channels) = (n * blocks, n * channels..(n + 1) * channels);
            let of_keys = scales.get_mut(..count).unwrap_or(&mut []);
            v.scales_of_runs(level, &read, run_at, first, of_keys);
            let mut rows = to.chunks_exact_mut(width.max(1)).take(weights.p.len());
            for row in (0..weights.p.len()).step_by(ROWS) {
                let Codes { codes, factors } = v.round(level, weights, &scales, row);
                let mut to: [&mut [f32]; ROWS] = core::array::from_fn(|_| &mut [][..]);
                for (to, row) in to.iter_mut().zip(rows.by_ref()) {
                    *to = row.get_mut(channels.clone()).unwrap_or(&mut []);
                    to.fill(0.0);
                }
                let codes = codes.each_ref().map(|codes| codes.get(..count).unwrap_or(&[]));
                let places = to.each_mut().map(|to| &mut **to);
                v.weigh_runs(level, &read, run_at, codes, (first..first + blocks, places));
                for (to, factor) in to.into_iter().zip(factors) {
                    to.iter_mut().for_each(|x| *x *= factor);
                }
            }
        }
    }
}

/// Tokens of one head of one sequence.
#[derive(Clone, Debug)]
pub struct Read {
    pub(crate) b: usize,
    pub(crate) g: usize,
    pub(crate) keys: Range<usize>,
    /// The way to what will be read next.
    pub(crate) ahead: Ahead,
}

/// Blocks of 32 channels, and where they go.
pub(super) type Blocks<'a> = (Range<usize>, [&'a mut [f32]; ROWS]);
