//! The memory of all keys, or of all values.

use super::groups::Groups;
use super::hadamard::hadamard;
use super::scales::{Given, Scales, of_head, set};
use super::shape::{CacheShape, Order};
use super::tokens::Tokens;
use crate::dispatch::{check_len, widen};
use crate::elem::{Affine, Format, Overflow};
use crate::error::{Error, Tensor};
use crate::room::with_room;
use crate::simd::{Level, Rows};
use crate::staged::{Ahead, Way};
use crate::view::{AnyView, Strides};
use core::ops::Range;

/// One side of a cache.
#[derive(Debug)]
pub struct Store<'a, F> {
    memory: &'a mut [F],
    pub(super) scales: Scales<'a>,
    overflow: Overflow,
    /// Whether rows are turned by [`hadamard`] on their way in.
    is_rotated: bool,
    /// Whether lanes can be loaded with all that was kept.
    pub(super) loads: bool,
    pub(super) shape: CacheShape,
    /// That of the rows: of keys or of values.
    pub(super) dim: usize,
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
        let (scales, overflow) = (Scales::None, Overflow::default());
        Ok(Store { memory, scales, overflow, is_rotated: false, loads: true, shape, dim })
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
            Scales::Groups(groups) if groups.has_zeros() && !has_zeros => {
                return Err(Error::Unwanted { tensor: Tensor::Zeros });
            }
            Scales::Groups(groups) => {
                groups.check(self.shape.block_len, self.shape.heads, self.dim)?;
            }
        }
        Ok(Store { scales, ..self })
    }

    pub(super) fn overflowing(self, overflow: Overflow) -> Self {
        Store { overflow, ..self }
    }

    pub(super) fn rotated(self) -> Self {
        Store { is_rotated: true, ..self }
    }

    /// What turns a row of queries, if keys are turned.
    pub(super) fn turn(&self) -> Option<fn(&mut [f32])> {
        self.is_rotated.then_some(hadamard)
    }

    /// Somebody else has kept tokens here.
    pub(super) fn distrust(&mut self) {
        self.loads &= F::LOADS;
    }

    pub(super) const fn groups(&self) -> Option<&Groups<'a>> {
        match &self.scales {
            Scales::Groups(groups) => Some(groups),
            _ => None,
        }
    }

    /// Leaves `len` tokens.
    pub(super) fn back(&mut self, len: usize) {
        if let Scales::Groups(groups) = &mut self.scales {
            groups.back(len);
        }
    }

    /// That of the cache.
    pub(super) const fn shape(&self) -> &CacheShape {
        &self.shape
    }

    /// Tokens, heads and channels.
    pub(super) const fn sizes(&self) -> [usize; 3] {
        [self.shape.block_len, self.shape.heads, self.dim]
    }

    /// Of a row.
    pub(super) fn units(&self) -> usize {
        self.dim / F::CHANNELS
    }

    /// The row of a head in a slot, a slot being a token's place among all blocks, and the way from a token to the next.
    pub(super) fn row(&self, slot: usize, h: usize) -> (usize, usize) {
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

    /// Whether these tokens can be kept: a code that has no NaN cannot hold one unless its scale can.
    pub(super) fn check(&self, tokens: &Tokens<'_>, tensor: Tensor) -> Result<(), Error> {
        if F::HAS_NAN || !matches!(self.scales, Scales::None | Scales::Given(_)) {
            return Ok(());
        }
        for i in 0..tokens.dims()[1] {
            let mut wrong = None;
            tokens.each_head(i, |h, x| {
                self.rotate(x);
                let nan = x.iter().position(|x| x.is_nan());
                wrong = wrong.or(nan.map(|c| [0, i, h, c]));
            });
            if let Some(at) = wrong {
                return Err(Error::NotFinite { tensor, at });
            }
        }
        Ok(())
    }

    #[inline]
    fn rotate(&self, row: &mut [f32]) {
        if self.is_rotated {
            hadamard(row);
        }
    }

    /// Keeps the heads of token `i` in a slot.
    pub(super) fn write(&mut self, slot: usize, tokens: &Tokens<'_>, i: usize) {
        tokens.each_head(i, |h, x| {
            self.rotate(x);
            match &mut self.scales {
                Scales::Groups(groups) => groups.hold(slot, h, self.shape.heads, x),
                _ => self.encode(slot, h, x),
            }
        });
        // Out of the store while its rows are written.
        let mut scales = core::mem::take(&mut self.scales);
        if let Scales::Groups(groups) = &mut scales
            && let Some(tokens) = groups.completed(slot)
        {
            self.encode_group(groups, &tokens);
        }
        self.scales = scales;
    }

    /// Rounds a head of the token in a slot.
    fn encode(&mut self, slot: usize, h: usize, x: &mut [f32]) {
        let (units, (row, _)) = (self.units(), self.row(slot, h));
        let zeros = self.scales.divide(x, row, h, (self.shape.heads, F::MOST.unwrap_or(1.0)));
        let to = self.memory.get_mut(row * units..).and_then(|to| to.get_mut(..units));
        let to = to.unwrap_or(&mut []);
        F::encode(x, zeros, self.overflow, to);
        self.loads &= F::loads(to);
    }

    /// Rounds the tokens of a group, in a cache of one block: a token's slot is its index.
    fn encode_group(&mut self, groups: &mut Groups<'_>, tokens: &Range<usize>) {
        let sizes @ [_, heads, dim] = self.sizes();
        let units = self.units();
        with_room(dim, &mut |x| {
            let x = x.get_mut(..dim).unwrap_or(&mut []);
            for h in 0..heads {
                groups.choose(tokens, h, sizes, F::MOST.unwrap_or(1.0));
                for token in tokens.clone() {
                    let (row, _) = self.row(token, h);
                    let zeros = groups.divided(token, h, sizes, x);
                    let to = self.memory.get_mut(row * units..).and_then(|to| to.get_mut(..units));
                    let to = to.unwrap_or(&mut []);
                    F::encode(x, zeros, self.overflow, to);
                    self.loads &= F::loads(to);
                }
            }
        });
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
        let Some(groups) = self.groups() else {
            return self.widen_alike(level, (slot, count, ahead), h, to, width);
        };
        for (tokens, is_rounded) in groups.pieces(slot..slot + count) {
            let to = to.get_mut((tokens.start - slot) * width..).unwrap_or(&mut []);
            if is_rounded {
                self.widen_alike(level, (tokens.start, tokens.len(), ahead), h, to, width);
                continue;
            }
            for (token, to) in tokens.zip(to.chunks_mut(width.max(1))) {
                let newest = groups.newest(token, h, self.shape.heads, self.dim);
                let newest = newest.iter().copied().chain(core::iter::repeat(0.0));
                to.iter_mut().zip(newest).for_each(|(to, x)| *to = x);
            }
        }
    }

    /// The same of slots whose scales, if they are of groups, are the same.
    fn widen_alike(
        &self,
        level: Level,
        (slot, count, ahead): (usize, usize, Ahead),
        h: usize,
        to: &mut [f32],
        width: usize,
    ) {
        let (row, step) = self.row(slot, h);
        let rows = self.rows(row, step, count);
        let walk = &mut ahead.walk(&rows, 0, |way| self.way(step, way));
        let affine = self.affine((slot, row), step, count, h);
        widen(level, rows, affine, walk, to, width);
    }

    /// A way in elements. A hint: it may wrap, and blocks need not lie behind each other.
    pub(super) fn way(&self, step: usize, Way { keys, heads }: Way) -> isize {
        let head = match self.shape.order {
            Order::ByToken => 1,
            Order::ByHead => self.shape.block_len,
        };
        let keys = keys.wrapping_mul(step as isize);
        keys.wrapping_add(heads.wrapping_mul(head as isize)).wrapping_mul(self.units() as isize)
    }

    /// So many rows.
    pub(super) fn rows(&self, row: usize, step: usize, count: usize) -> Rows<'_, F> {
        let units = self.units();
        let memory = self.memory.get(row * units..).unwrap_or(&[]);
        let rows = Rows::inside(memory, step * units, count, units);
        debug_assert!(rows.len() == count, "slots are those of the shape");
        rows
    }

    fn affine(
        &self,
        (slot, row): (usize, usize),
        step: usize,
        count: usize,
        h: usize,
    ) -> Option<Affine<'_>> {
        match &self.scales {
            Scales::None => None,
            Scales::Given(given) => {
                let own = of_head(given.scales.len(), h, self.shape.heads, self.dim);
                let zeros = given.zeros.get(own.clone()).unwrap_or(&[]);
                repeated(given.scales.get(own).unwrap_or(&[]), zeros, count)
            }
            Scales::Groups(groups) => {
                let (scales, zeros) = groups.of(slot, h, self.sizes());
                repeated(scales, zeros, count)
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
                    // Groups are of caches without blocks.
                    Scales::None | Scales::Given(_) | Scales::Groups(_) => {}
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

/// The same scales and zero points for so many rows.
fn repeated<'a>(scales: &'a [f32], zeros: &'a [i8], count: usize) -> Option<Affine<'a>> {
    let zeros = Rows::new(zeros, 0, count, zeros.len()).filter(|_| !zeros.is_empty());
    Some(Affine { scales: Rows::new(scales, 0, count, scales.len())?, zeros })
}

/// Copies some elements to another place; nothing beyond the end.
fn copy_within<T: Copy>(memory: &mut [T], from: Range<usize>, to: usize) {
    for (from, to) in from.zip(to..) {
        memory.get(from).copied().into_iter().for_each(|x| set(memory, to, x));
    }
}
