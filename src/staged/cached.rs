//! Keys and values of a cache: a tile, or what a vector needs of it, is widened to scratch. The products are those of f32 tensors.

use super::{Ahead, Copied, Staged};
use crate::attend::QueryTile;
use crate::cache::{Cached, Read, Side};
use crate::decode::products::Weights;
use crate::elem::Sealed;
use crate::shape::Heads;
use crate::simd::Rows;
use core::ops::Range;

/// A cache, and what is read of it.
type Half<'a> = (&'a dyn Cached, Side);

impl Staged<'_> {
    /// As [`Staged::stage`].
    #[inline(never)]
    pub(super) fn stage_cached(
        &self,
        (cache, side): Half<'_>,
        tile: &QueryTile,
        range: &Range<usize>,
        stage: &mut [f32],
    ) {
        let (b, g) = (tile.b, tile.g);
        let widen = |keys: Range<usize>, to: &mut [f32], width| {
            let ahead = Ahead::default();
            cache.widen(side, self.level, Read { b, g, keys, ahead }, to, width);
        };
        match (self.copy, f32::MOVES.at(self.level).pairs()) {
            (Copied::No | Copied::OfKeys(_), _) => {}
            (Copied::Codes(width), _) => {
                let read = Read { b, g, keys: range.clone(), ahead: Ahead::default() };
                cache.words(self.level, &read, stage, width);
            }
            // A key or two at a time go by way of the stack.
            (Copied::Pairs(width), Some(pairs)) => {
                let (mut row, dim) = ([0.0; Heads::MAX_DIM], self.source.dims()[3]);
                for (key, to) in range.clone().zip(stage.chunks_mut(width.max(1))) {
                    widen(key..key + 1, &mut row, dim);
                    pairs.flat(Rows::one(row.get(..dim).unwrap_or(&[])), to, width);
                }
            }
            (Copied::Woven(width), Some(pairs)) => {
                let mut rows = [0.0; 2 * Heads::MAX_DIM];
                for (key, to) in range.clone().step_by(2).zip(stage.chunks_mut(width.max(1))) {
                    let count = (range.end - key).min(2);
                    widen(key..key + count, &mut rows, width);
                    pairs.weave(Rows::inside(&rows, width, count, width), to, width);
                }
            }
            (Copied::Rows(width) | Copied::Pairs(width) | Copied::Woven(width), _) => {
                widen(range.clone(), stage, width);
            }
        }
    }

    /// As [`Staged::scores`]: a vector of keys at a time.
    #[inline(never)]
    pub(super) fn cached_scores(
        &self,
        (cache, side): Half<'_>,
        tile: &QueryTile,
        (range, ahead): (&Range<usize>, Ahead),
        queries: Rows<'_>,
        (s, width): (&mut [f32], usize),
        stage: &mut [f32],
    ) {
        let (lanes, deep, (b, g)) = (self.level.lanes().max(1), queries.width(), (tile.b, tile.g));
        if let Some(rounding) = self.rounding {
            let read = Read { b, g, keys: range.clone(), ahead };
            return cache.scores(self.level, read, (queries, rounding), s, width);
        }
        let mover = f32::MOVES.at(self.level);
        let mut first = 0;
        while first < range.len() {
            let ahead = ahead.after(first);
            let mut read = Read { b, g, keys: range.start + first..range.end, ahead };
            let s = s.get_mut(first..).unwrap_or(&mut []);
            let loaded = cache.lane_scores(self.level, &read, queries, s, width);
            first += loaded;
            if loaded > 0 {
                continue;
            }
            read.keys.end = read.keys.end.min(read.keys.start + lanes);
            cache.widen(side, self.level, read, stage, deep);
            // Lanes behind the last key give scores that nothing reads.
            let keys = Rows::inside(&*stage, deep, lanes, deep);
            mover.scores(queries, keys, &mut keys.walk(0), s, width);
            first += lanes;
        }
    }

    /// As [`Staged::sums`]: as many keys at a time.
    #[inline(never)]
    pub(super) fn cached_sums(
        &self,
        (cache, side): Half<'_>,
        tile: &QueryTile,
        (range, ahead): (&Range<usize>, Ahead),
        weights: Weights<'_>,
        (to, width): (&mut [f32], usize),
        stage: &mut [f32],
    ) {
        let (lanes, b, g) = (self.level.lanes().max(1), tile.b, tile.g);
        if let Some(rounding) = self.rounding {
            let read = Read { b, g, keys: range.clone(), ahead };
            return cache.sums(self.level, read, weights, rounding, to, width);
        }
        let mover = f32::MOVES.at(self.level);
        let mut first = 0;
        while first < range.len() {
            let ahead = ahead.after(first);
            let mut read = Read { b, g, keys: range.start + first..range.end, ahead };
            let rest = weights.of(&(first..range.len()));
            let loaded = cache.lane_sums(self.level, &read, rest, to, width);
            first += loaded;
            if loaded > 0 {
                continue;
            }
            let within = first..range.len().min(first + lanes);
            read.keys.end = read.keys.start + within.len();
            cache.widen(side, self.level, read, stage, width);
            let values = Rows::inside(&*stage, width, within.len(), width);
            mover.sums(weights.of(&within), values, &mut values.walk(0), to, width);
            first = within.end;
        }
    }
}
