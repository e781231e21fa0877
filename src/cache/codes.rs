//! Products of the codes of one side of a cache where they lie: in lanes of f32, or in integers.

use super::read::Read;
use super::runs::Run;
use super::scales::{Scales, of_head, set};
use super::store::Store;
use crate::decode::integers::{Codes, ROWS};
use crate::decode::products::Weights;
use crate::decode::rounding::{Parts, Rounding};
use crate::dispatch::{Entry, Queries};
use crate::elem::{BLOCK, Format};
use crate::simd::{DEEP, Level, Rows};
use crate::staged::Ahead;
use crate::tiling::TILE_K;
use core::ops::Range;

impl<F: Format> Store<'_, F> {
    /// How products with these rows are made in integers, if they can be.
    pub(super) fn rounding(&self) -> Option<Rounding> {
        let integers = F::INTEGERS.as_ref()?;
        let (dim, is_whole) = (self.dim, self.dim.is_multiple_of(BLOCK));
        let is_by_row = self.groups().is_none() && self.scales_rows();
        let channels = if F::CHANNELS == BLOCK { BLOCK } else { dim };
        let (scales, offset) = (dim / channels.max(1), integers.offset);
        (is_whole && is_by_row).then_some(Rounding { dim, channels, scales, offset })
    }

    /// Whether a row is its codes times one number.
    fn scales_rows(&self) -> bool {
        match &self.scales {
            Scales::None | Scales::ByToken(_) => true,
            Scales::Affine(..) => false,
            Scales::Groups(groups) => groups.scales_rows(self.sizes()),
            Scales::Given(given) => {
                let own = of_head(given.scales.len(), 0, self.shape.heads, self.dim);
                given.zeros.is_empty() && own.len() == 1
            }
        }
    }

    /// As [`Sealed::lane_scores`](super::read::Sealed).
    pub(super) fn lane_scores(
        &self,
        level: Level,
        (read, run): (&Read, Run),
        queries: Rows<'_>,
        s: &mut [f32],
        width: usize,
    ) -> usize {
        let lanes = level.lanes().max(1);
        let (Some(table), Some((slot, count))) = (F::LANES, self.codes_of_run(read, run)) else {
            return 0;
        };
        let (count, mut room) = (count / lanes * lanes, [0.0; TILE_K]);
        let scales = self.lane_scales(level, (slot, count), read.g, table.unit, &mut room);
        let (row, step) = self.row(slot, read.g);
        match scales {
            Some(scales) if queries.width() == self.dim => {
                let rows = self.rows(row, step, count);
                let walk = &mut read.ahead.walk(&rows, 0, |way| self.way(step, way));
                (table.scores)(level, queries, (rows, scales), walk, s, width);
                count
            }
            _ => 0,
        }
    }

    /// As [`Sealed::lane_sums`](super::read::Sealed).
    pub(super) fn lane_sums(
        &self,
        level: Level,
        (read, run): (&Read, Run),
        weights: Weights<'_>,
        to: &mut [f32],
        width: usize,
    ) -> usize {
        let is_whole = self.dim.is_multiple_of(level.lanes().max(1));
        let (Some(table), Some((slot, count))) = (F::LANES, self.codes_of_run(read, run)) else {
            return 0;
        };
        let mut room = [0.0; TILE_K];
        let scales = self.lane_scales(level, (slot, count), read.g, table.unit, &mut room);
        let (row, step) = self.row(slot, read.g);
        match scales {
            Some(scales) if is_whole => {
                let rows = self.rows(row, step, count);
                let walk = &mut read.ahead.walk(&rows, 0, |way| self.way(step, way));
                (table.sums)(level, weights, (rows, scales), walk, to, width);
                count
            }
            _ => 0,
        }
    }

    /// The slot of the first token that is asked for, if codes are there that lanes can be loaded with, and how many lie behind each other from it on.
    fn codes_of_run(&self, read: &Read, (slot, run): Run) -> Option<(usize, usize)> {
        let (slot, count) = (slot.filter(|_| self.loads)?, run.min(read.keys.len()).min(TILE_K));
        let rounded = self.groups().map_or(usize::MAX, |groups| groups.rounded());
        Some((slot, count.min(rounded.checked_sub(slot)?)))
    }

    /// The scales of so many rows, in units that lanes are loaded in; `None` if they have others, or some that must not be multiplied twice.
    fn lane_scales<'s>(
        &self,
        level: Level,
        (slot, count): (usize, usize),
        h: usize,
        unit: f32,
        room: &'s mut [f32; TILE_K],
    ) -> Option<&'s [f32]> {
        /// Times a unit they are finite, and exact.
        const MOST: f32 = 1e30;
        let scales = room.get_mut(..count).filter(|_| count > 0 && self.scales_rows())?;
        self.scales_of(level, slot, (h, 0), scales);
        let is_usual = scales.iter().fold(true, |all, scale| all & (scale.abs() < MOST));
        scales.iter_mut().for_each(|scale| *scale *= unit);
        is_usual.then_some(scales)
    }

    /// An entry for many queries that scores these codes, in place of another one, if it can be.
    pub(super) fn integers(&self, entry: Entry) -> Option<Entry> {
        F::INTEGERS
            .filter(|_| self.rounding().is_some())
            .and_then(|integers| (integers.many)(entry))
    }

    /// Codes of the keys in `count` slots of head `h` as words, and their scales behind them: rows of `width` floats.
    pub(super) fn words(
        &self,
        level: Level,
        (slot, count): (usize, usize),
        h: usize,
        to: &mut [f32],
        width: usize,
    ) {
        let (row, step) = self.row(slot, h);
        let (Some(integers), Some(rounding)) = (F::INTEGERS, self.rounding()) else { return };
        (integers.words)(level, self.rows(row, step, count), to, width);
        let Parts { words, parts, each } = rounding.parts();
        let mut room = [0.0; TILE_K];
        for n in 0..parts {
            let scales = room.get_mut(..count).unwrap_or(&mut []);
            self.scales_of(level, slot, (h, n * each / DEEP), scales);
            for (to, scale) in to.chunks_mut(width.max(1)).zip(scales) {
                set(to, words + n, *scale);
            }
        }
    }

    /// Rounds weights of its rows.
    pub(super) fn round(
        &self,
        level: Level,
        weights: Weights<'_>,
        scales: &[f32; TILE_K],
        first: usize,
    ) -> Codes {
        match F::INTEGERS {
            Some(integers) => (integers.round)(level, weights, scales, first),
            None => Codes::NONE,
        }
    }

    /// Scores of the keys in `count` slots of head `h`: `s[r * width + j]`.
    pub(super) fn scores(
        &self,
        level: Level,
        (slot, count, ahead): (usize, usize, Ahead),
        h: usize,
        queries: Queries<'_>,
        (s, width): (&mut [f32], usize),
    ) {
        let (row, step) = self.row(slot, h);
        let mut room = [1.0; TILE_K];
        let scales = room.get_mut(..count).unwrap_or(&mut []);
        // Blocks hold their own.
        if F::CHANNELS < BLOCK {
            self.scales_of(level, slot, (h, 0), scales);
        }
        if let Some(integers) = F::INTEGERS {
            let rows = self.rows(row, step, count);
            let walk = &mut ahead.walk(&rows, 0, |way| self.way(step, way));
            (integers.scores)(level, queries, (rows, scales), walk, s, width);
        }
    }

    /// The scales of head `h` in as many slots as there are places for them: of block `b` of 32 channels where those have their own.
    pub(super) fn scales_of(
        &self,
        level: Level,
        slot: usize,
        (h, b): (usize, usize),
        to: &mut [f32],
    ) {
        let (row, step) = self.row(slot, h);
        match &self.scales {
            Scales::None => {
                to.fill(1.0);
                if let Some(integers) = F::INTEGERS {
                    (integers.scales)(level, self.rows(row, step, to.len()), b, to);
                }
            }
            Scales::Given(given) => {
                let own = of_head(given.scales.len(), h, self.shape.heads, self.dim);
                to.fill(given.scales.get(own.start).copied().unwrap_or(1.0));
            }
            Scales::Groups(groups) => {
                for (token, to) in (slot..).zip(to) {
                    *to = groups.of(token, h, self.sizes()).0.first().copied().unwrap_or(1.0);
                }
            }
            Scales::ByToken(scales) | Scales::Affine(scales, _) => {
                let own = scales.get(row..).unwrap_or(&[]);
                if step == 1 {
                    to.iter_mut().zip(own).for_each(|(to, scale)| *to = *scale);
                } else {
                    let own = own.iter().step_by(step.max(1));
                    to.iter_mut().zip(own).for_each(|(to, scale)| *to = *scale);
                }
            }
        }
    }

    /// Adds codes of weights times those of the values in `count` slots of head `h`: of some blocks of 32 channels.
    pub(super) fn weigh(
        &self,
        level: Level,
        (slot, count, ahead): (usize, usize, Ahead),
        h: usize,
        codes: [&[u8]; ROWS],
        (blocks, to): (Range<usize>, [&mut [f32]; ROWS]),
    ) {
        let (row, step) = self.row(slot, h);
        if let Some(integers) = F::INTEGERS {
            let rows = self.rows(row, step, count);
            // Of several calls for a tile each asks for its share of rows.
            let share = count * blocks.start / (self.dim / BLOCK).max(1);
            let walk = &mut ahead.walk(&rows, share, |way| self.way(step, way));
            (integers.weigh)(level, codes, (rows, blocks), walk, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cache::read::{Read, Sealed};
    use crate::decode::products::Weights;
    use crate::decode::rounding::Rounding;
    use crate::elem::{BLOCK, Format, Q8_0};
    use crate::simd::{Level, Rows};
    use crate::staged::Ahead;
    use crate::{CacheShape, Heads, KvCache, Side, View};
    use std::vec::Vec;

    #[test]
    fn what_has_no_codes_gives_nothing_in_integers() {
        let (mut k, mut v) = ([1.0_f32; 64], [1.0_f32; 64]);
        let shape = CacheShape::new(Heads::new(1, 1, 32), 2);
        let cache = KvCache::new(shape, &mut k, &mut v).unwrap();
        assert!([Side::Keys, Side::Values].into_iter().all(|side| cache.rounding(side).is_none()));
        let rounding = Rounding { dim: 32, channels: 32, scales: 1, offset: 0 };
        let (level, x, mut to) = (Level::Scalar, [1.0; 32], [7.0; 64]);
        cache.words(level, &read(2), &mut to, 32);
        cache.scores(level, read(2), (Rows::one(&x), rounding), &mut to, 2);
        assert_eq!(to, [7.0; 64]);
        let weights = Weights { p: Rows::one(&x[..2]), bits: None };
        cache.sums(level, read(2), weights, rounding, &mut to, 32);
        assert_eq!((&to[..32], &to[32..]), (&[0.0; 32][..], &[7.0; 32][..]));
    }

    const DIM: usize = 2 * BLOCK;
    const LEN: usize = 12;
    /// Codes of weights in units of 1 / 255.
    const WEIGHTS: [f32; LEN] = [255., 51., 0., 153., 2., 7., 255., 0., 1., 99., 204., 33.];

    /// Numbers that are codes in units of 1, the largest of which is in every block.
    fn number(token: usize, c: usize) -> f32 {
        if c.is_multiple_of(BLOCK) { 127.0 } else { ((7 * token + 3 * c) % 100) as f32 - 50.0 }
    }

    fn numbers(tokens: usize) -> Vec<f32> {
        (0..tokens * DIM).map(|at| number(at / DIM, at % DIM)).collect()
    }

    /// Calls `see` with a cache of such tokens; values are those of the next token.
    fn with_tokens<F: Format + Default>(see: impl Fn(&dyn Sealed)) {
        let shape = CacheShape::new(Heads::new(1, 1, DIM), LEN);
        let room = |len| (0..len).map(|_| F::default()).collect::<Vec<F>>();
        let (mut keys, mut values) = (room(shape.key_len::<F>()), room(shape.value_len::<F>()));
        let mut cache = KvCache::new(shape, &mut keys, &mut values).unwrap();
        let all = numbers(LEN + 1);
        let rows = |first: usize| View::packed(&all[first * DIM..][..LEN * DIM], [1, LEN, 1, DIM]);
        cache.append(rows(0).unwrap(), rows(1).unwrap()).unwrap();
        see(&cache);
    }

    #[test]
    fn words_of_a_row_are_followed_by_the_scale_of_each_block() {
        let shape = CacheShape::new(Heads::new(1, 1, DIM), 1);
        let (mut keys, mut values) = ([Q8_0::default(); 2], [Q8_0::default(); 2]);
        let mut cache = KvCache::new(shape, &mut keys, &mut values).unwrap();
        let row: Vec<f32> = (0..DIM).map(|c| number(0, c) * (1 + c / BLOCK) as f32).collect();
        let row = View::packed(&row, [1, 1, 1, DIM]).unwrap();
        cache.append(row, row).unwrap();
        let mut to = [0.0; DIM / 4 + 2];
        cache.words(Level::Portable, &read(1), &mut to, DIM / 4 + 2);
        assert_eq!(&to[DIM / 4..], &[1.0, 2.0]);
    }

    fn read(keys: usize) -> Read {
        Read { b: 0, g: 0, keys: 0..keys, ahead: Ahead::default() }
    }

    fn score(query: usize, key: usize) -> f32 {
        (0..DIM).map(|c| number(query, c) * number(key, c)).sum()
    }

    fn sum(row: usize, c: usize) -> f32 {
        let weight = |j: usize| WEIGHTS[(j + row) % LEN];
        (0..LEN).map(|j| weight(j) * number(j + 1, c)).sum::<f32>()
    }

    fn weights() -> Vec<f32> {
        (0..2 * LEN).map(|at| WEIGHTS[(at % LEN + at / LEN) % LEN] / 255.0).collect()
    }

    #[test]
    fn codes_are_scored_and_weighed_in_lanes_where_they_lie() {
        let see = |cache: &dyn Sealed| {
            let (queries, p) = (numbers(2), weights());
            for level in Level::available().filter(|level| level.lanes() > 1) {
                let count = LEN / level.lanes() * level.lanes();
                let mut s = [0.0; 2 * LEN];
                let rows = Rows::new(&queries, DIM, 2, DIM).unwrap();
                let scored = cache.lane_scores(level, &read(LEN), rows, &mut s, LEN);
                assert_eq!(scored, count, "{level}");
                for (i, j) in [0, 1].into_iter().flat_map(|i| (0..count).map(move |j| (i, j))) {
                    assert_eq!(s[i * LEN + j], score(i, j), "{level} {i} {j}");
                }
                let mut to = [1.0; 2 * DIM];
                let p = Weights { p: Rows::new(&p, LEN, 2, LEN).unwrap(), bits: None };
                assert_eq!(cache.lane_sums(level, &read(LEN), p, &mut to, DIM), LEN, "{level}");
                for (at, to) in to.iter().enumerate() {
                    let exact = 1.0 + sum(at / DIM, at % DIM) / 255.0;
                    assert!((to - exact).abs() < 1e-3, "{level} {at}: {to} for {exact}");
                }
            }
        };
        with_tokens::<i8>(see);
    }

    #[test]
    fn codes_are_scored_and_weighed_in_integers_for_rounded_queries() {
        let see = |cache: &dyn Sealed| {
            let p = weights();
            for level in Level::available().filter(|level| level.lanes() > 1) {
                let [keys, values] =
                    [Side::Keys, Side::Values].map(|side| cache.rounding(side).unwrap());
                let (mut queries, mut s) = (numbers(2), [0.0; 2 * LEN]);
                cache.round_queries(level, keys, &mut queries, DIM);
                let rows = Rows::new(&queries, DIM, 2, DIM).unwrap();
                cache.scores(level, read(LEN), (rows, keys), &mut s, LEN);
                for (at, s) in s.iter().enumerate() {
                    assert_eq!(*s, score(at / LEN, at % LEN), "{level} {at}");
                }
                let mut to = [1.0; 2 * DIM];
                let p = Weights { p: Rows::new(&p, LEN, 2, LEN).unwrap(), bits: None };
                cache.sums(level, read(LEN), p, values, &mut to, DIM);
                for (at, to) in to.iter().enumerate() {
                    let exact = sum(at / DIM, at % DIM) / 255.0;
                    assert!((to - exact).abs() < 1e-3, "{level} {at}: {to} for {exact}");
                }
            }
        };
        with_tokens::<i8>(see);
        with_tokens::<Q8_0>(see);
    }
}
