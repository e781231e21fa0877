//! The memory of all keys, or of all values.

use super::scales::{Given, Scales, of_head, set};
use super::shape::{CacheShape, Order};
use crate::decode::integers::{Codes, ROWS, Rounding};
use crate::decode::products::Weights;
use crate::dispatch::{Queries, check_len, widen};
use crate::elem::{Affine, BLOCK, Elem, Format, Overflow};
use crate::error::{Error, Tensor};
use crate::shape::Heads;
use crate::simd::{Level, Rows, Scalar};
use crate::staged::Ahead;
use crate::tiling::TILE_K;
use crate::view::{AnyView, Stored, Strides, of_any};
use core::ops::Range;

/// One side of a cache.
#[derive(Debug)]
pub struct Store<'a, F> {
    memory: &'a mut [F],
    scales: Scales<'a>,
    overflow: Overflow,
    shape: CacheShape,
    /// That of the rows: of keys or of values.
    dim: usize,
}

impl<'a, F: Format> Store<'a, F> {
    /// The memory of keys or of values. The shape was checked.
    pub(super) fn new(
        memory: &'a mut [F],
        shape: CacheShape,
        tensor: Tensor,
    ) -> Result<Self, Error> {
        let (dim, needed) = match tensor {
            Tensor::K => (shape.dim, shape.key_len::<F>()),
            _ => (shape.v_dim, shape.value_len::<F>()),
        };
        if !dim.is_multiple_of(F::CHANNELS) {
            return Err(Error::Channels { dim, block: F::CHANNELS });
        }
        check_len(tensor, needed, memory.len())?;
        Ok(Store { memory, scales: Scales::None, overflow: Overflow::default(), shape, dim })
    }

    /// The same with scales.
    pub(super) fn scaled(self, scales: Scales<'a>) -> Result<Self, Error> {
        let (rows, has_scales, has_zeros) = (self.shape.rows(), F::MOST.is_some(), !F::HAS_NAN);
        match &scales {
            Scales::None => {}
            _ if !has_scales => return Err(Error::Unwanted { tensor: Tensor::Scales }),
            Scales::Affine(..) if !has_zeros => {
                return Err(Error::Unwanted { tensor: Tensor::Zeros });
            }
            Scales::Given(Given { zeros, .. }) if !has_zeros && !zeros.is_empty() => {
                return Err(Error::Unwanted { tensor: Tensor::Zeros });
            }
            Scales::Given(given) => given.check(self.shape.heads, self.dim)?,
            Scales::ByToken(scales) => check_len(Tensor::Scales, rows, scales.len())?,
            Scales::Affine(scales, zeros) => {
                check_len(Tensor::Scales, rows, scales.len())?;
                check_len(Tensor::Zeros, rows, zeros.len())?;
            }
        }
        Ok(Store { scales, ..self })
    }

    pub(super) fn overflowing(self, overflow: Overflow) -> Self {
        Store { overflow, ..self }
    }

    /// That of the cache.
    pub(super) const fn shape(&self) -> &CacheShape {
        &self.shape
    }

    /// Of a row.
    fn units(&self) -> usize {
        self.dim / F::CHANNELS
    }

    /// The row of a head in a slot, a slot being a token's place among all blocks, and the way from a token to the next.
    fn row(&self, slot: usize, h: usize) -> (usize, usize) {
        let CacheShape { block_len, heads, order, .. } = self.shape;
        match order {
            Order::ByToken => (slot * heads + h, heads),
            Order::ByHead => {
                let block_len = block_len.max(1);
                let (block, within) = (slot / block_len, slot % block_len);
                ((block * heads + h) * block_len + within, 1)
            }
        }
    }

    /// Its first tokens as a tensor, if that is what they are.
    pub(super) fn view(&self, len: usize) -> Option<AnyView<'_>> {
        let CacheShape { block_len, heads, order, .. } = self.shape;
        let (token, head) = match order {
            Order::ByToken => (heads * self.dim, self.dim),
            Order::ByHead => (self.dim, block_len * self.dim),
        };
        F::VIEW?(self.memory, [1, len, heads, self.dim], Strides { batch: 0, token, head })
    }

    /// Whether these tokens, of one sequence, can be kept: a code that has no NaN cannot hold one unless its scale can.
    pub(super) fn check(&self, tokens: &AnyView<'_>, tensor: Tensor) -> Result<(), Error> {
        if F::HAS_NAN || matches!(self.scales, Scales::ByToken(_) | Scales::Affine(..)) {
            return Ok(());
        }
        let [batch, len, heads, _] = tokens.dims();
        let mut row = [0.0; Heads::MAX_DIM];
        for at @ [b, i, h] in places([batch, len, heads]) {
            let row = load(tokens, at, &mut row);
            if let Some(c) = row.iter().position(|x| x.is_nan()) {
                return Err(Error::NotFinite { tensor, at: [b, i, h, c] });
            }
        }
        Ok(())
    }

    /// Keeps the heads of token `i` of sequence `b` in a slot.
    pub(super) fn write(&mut self, slot: usize, tokens: &AnyView<'_>, [b, i]: [usize; 2]) {
        let mut room = [0.0; Heads::MAX_DIM];
        for h in 0..self.shape.heads {
            let _ = load(tokens, [b, i, h], &mut room);
            let x = room.get_mut(..self.dim).unwrap_or(&mut []);
            let (units, (row, _)) = (self.units(), self.row(slot, h));
            let zeros = self.scales.divide(x, row, h, (self.shape.heads, F::MOST.unwrap_or(1.0)));
            let to = self.memory.get_mut(row * units..).unwrap_or(&mut []);
            F::encode(x, zeros, self.overflow, to.get_mut(..units).unwrap_or(&mut []));
        }
    }

    /// Numbers of head `h` in `count` slots from `slot` on, all in one block: rows of `width` floats.
    pub(super) fn widen(
        &self,
        level: Level,
        (slot, count, ahead): (usize, usize, Ahead),
        h: usize,
        to: &mut [f32],
        width: usize,
    ) {
        let (row, step) = self.row(slot, h);
        if let Some(rows) = self.rows(row, step, count) {
            let walk = &mut rows.walk(self.ahead(step, ahead));
            widen(level, rows, self.affine(row, step, count, h), walk, to, width);
        }
    }

    /// How products with these rows are made in integers, if they can be.
    pub(super) fn rounding(&self) -> Option<Rounding> {
        let integers = F::INTEGERS.as_ref()?;
        let (dim, is_whole) = (self.dim, self.dim.is_multiple_of(BLOCK));
        let is_by_row = match &self.scales {
            Scales::None | Scales::ByToken(_) => true,
            Scales::Affine(..) => false,
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

    /// The way to what will be read next, in elements. A hint: it may wrap, and blocks need not lie behind each other.
    fn ahead(&self, step: usize, Ahead { keys, heads }: Ahead) -> isize {
        let head = match self.shape.order {
            Order::ByToken => 1,
            Order::ByHead => self.shape.block_len,
        };
        let keys = keys.wrapping_mul(step as isize);
        keys.wrapping_add(heads.wrapping_mul(head as isize)).wrapping_mul(self.units() as isize)
    }

    /// So many rows.
    fn rows(&self, row: usize, step: usize, count: usize) -> Option<Rows<'_, F>> {
        let units = self.units();
        let rows = Rows::new(self.memory.get(row * units..)?, step * units, count, units);
        debug_assert!(rows.is_some(), "slots are those of the shape");
        rows
    }

    fn affine(&self, row: usize, step: usize, count: usize, h: usize) -> Option<Affine<'_>> {
        match &self.scales {
            Scales::None => None,
            Scales::Given(given) => {
                let own = of_head(given.scales.len(), h, self.shape.heads, self.dim);
                let scales = given.scales.get(own.clone()).unwrap_or(&[]);
                let zeros = given.zeros.get(own).and_then(|zeros| {
                    Rows::new(zeros, 0, count, zeros.len()).filter(|_| !zeros.is_empty())
                });
                let scales = Rows::new(scales, 0, count, scales.len())?;
                Some(Affine { scales, zeros })
            }
            Scales::ByToken(scales) => {
                let scales = Rows::new(scales.get(row..)?, step, count, 1)?;
                Some(Affine { scales, zeros: None })
            }
            Scales::Affine(scales, zeros) => Some(Affine {
                scales: Rows::new(scales.get(row..)?, step, count, 1)?,
                zeros: Some(Rows::new(zeros.get(row..)?, step, count, 1)?),
            }),
        }
    }

    /// Copies the first `tokens` of a block to another one.
    pub(super) fn copy_block(&mut self, from: usize, to: usize, tokens: usize) {
        let (units, block_len) = (self.units(), self.shape.block_len);
        for within in 0..tokens.min(block_len) {
            for h in 0..self.shape.heads {
                let [(from, _), (to, _)] = [from, to].map(|b| self.row(b * block_len + within, h));
                copy_within(self.memory, from * units..(from + 1) * units, to * units);
                match &mut self.scales {
                    Scales::None | Scales::Given(_) => {}
                    Scales::ByToken(scales) => copy_within(scales, from..from + 1, to),
                    Scales::Affine(scales, zeros) => {
                        copy_within(scales, from..from + 1, to);
                        copy_within(zeros, from..from + 1, to);
                    }
                }
            }
        }
    }
}

/// Sequences, tokens and heads of a tensor.
#[inline]
fn places([batch, len, heads]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..batch).flat_map(move |b| (0..len).flat_map(move |i| (0..heads).map(move |h| [b, i, h])))
}

/// A row of a tensor as f32.
#[inline]
fn load<'r>(tokens: &AnyView<'_>, [b, i, h]: [usize; 3], room: &'r mut [f32]) -> &'r [f32] {
    of_any!(Stored, tokens.0, (view, _) => {
        let row = view.row(b, i, h);
        room.iter_mut().zip(row).for_each(|(to, x)| *to = Elem::load(Scalar, &[*x]));
        room.get(..row.len()).unwrap_or(&[])
    })
}

/// Copies some elements to another place; nothing beyond the end.
fn copy_within<T: Copy>(memory: &mut [T], from: Range<usize>, to: usize) {
    for (from, to) in from.zip(to..) {
        if let Some(x) = memory.get(from).copied() {
            set(memory, to, x);
        }
    }
}
