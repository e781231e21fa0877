//! Products of the codes of one side of a cache, in integers.

use super::scales::{Scales, of_head};
use super::store::Store;
use crate::decode::integers::{Codes, ROWS, Rounding};
use crate::decode::products::Weights;
use crate::dispatch::Queries;
use crate::elem::{BLOCK, Format};
use crate::simd::Level;
use crate::staged::Ahead;
use crate::tiling::TILE_K;
use core::ops::Range;

impl<F: Format> Store<'_, F> {
    /// How products with these rows are made in integers, if they can be.
    pub(super) fn rounding(&self) -> Option<Rounding> {
        let integers = F::INTEGERS.as_ref()?;
        let (dim, is_whole) = (self.dim, self.dim.is_multiple_of(BLOCK));
        let is_by_row = match &self.scales {
            Scales::None | Scales::ByToken(_) => true,
            Scales::Affine(..) | Scales::Groups(_) => false,
            Scales::Given(given) => {
                let own = of_head(given.scales.len(), 0, self.shape.heads, dim);
                given.zeros.is_empty() && own.len() == 1
            }
        };
        let channels = if F::CHANNELS == BLOCK { BLOCK } else { dim };
        let (scales, offset) = (dim / channels.max(1), integers.offset);
        (is_whole && is_by_row).then_some(Rounding { dim, channels, scales, offset })
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
            self.scales_of(slot, (h, 0), scales);
        }
        if let (Some(integers), Some(rows)) = (F::INTEGERS, self.rows(row, step, count)) {
            let walk = &mut rows.walk(self.ahead(step, ahead));
            (integers.scores)(level, queries, (rows, scales), walk, s, width);
        }
    }

    /// The scales of head `h` in as many slots as there are places for them: of block `b` of 32 channels where those have their own.
    pub(super) fn scales_of(&self, slot: usize, (h, b): (usize, usize), to: &mut [f32]) {
        let (row, step) = self.row(slot, h);
        match &self.scales {
            Scales::None => {
                to.fill(1.0);
                if let (Some(integers), Some(rows)) = (F::INTEGERS, self.rows(row, step, to.len()))
                {
                    (integers.scales)(rows, b, to);
                }
            }
            Scales::Given(given) => {
                let own = of_head(given.scales.len(), h, self.shape.heads, self.dim);
                to.fill(given.scales.get(own.start).copied().unwrap_or(1.0));
            }
            // Without products of integers nobody asks.
            Scales::Groups(_) => {}
            Scales::ByToken(scales) | Scales::Affine(scales, _) => {
                let own = scales.get(row..).unwrap_or(&[]).iter().step_by(step.max(1));
                to.iter_mut().zip(own).for_each(|(to, scale)| *to = *scale);
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
        if let (Some(integers), Some(rows)) = (F::INTEGERS, self.rows(row, step, count)) {
            // Of several calls for a tile each asks for its share of rows.
            let share = count * blocks.start / (self.dim / BLOCK).max(1) * step * self.units();
            let ahead = self.ahead(step, ahead);
            let walk = &mut rows.walk(if ahead == 0 { 0 } else { ahead + share as isize });
            (integers.weigh)(level, codes, (rows, blocks), walk, to);
        }
    }
}
