//! The memory of all keys, or of all values.

use super::shape::{CacheShape, Order};
use crate::dispatch::{check_len, widen};
use crate::elem::{Affine, Elem, Format, Overflow, away};
use crate::error::{Error, Tensor};
use crate::shape::Heads;
use crate::simd::{Level, Rows, Scalar};
use crate::view::{AnyView, Stored, Strides, of_any};
use core::ops::Range;

/// What codes are multiplied by. A list is of keys or of values, in the shape that they have.
#[derive(Debug, Default)]
pub enum Scales<'a> {
    /// Nothing: a number is what is stored.
    #[default]
    None,
    /// Numbers known beforehand.
    Given(Given<'a>),
    /// One for each head of a token, [`CacheShape::rows`] of them, written with the token: its largest number becomes the largest
    /// code.
    ByToken(&'a mut [f32]),
    /// The same, and a zero point, for `i8`: the smallest and the largest number become the smallest and the largest code.
    Affine(&'a mut [f32], &'a mut [i8]),
}

/// Scales known beforehand: one of all, `[heads]`, or `[heads, dim]`; for `i8` zero points, as many or none: `(code - zero) * scale`.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Above 0, finite.
    pub scales: &'a [f32],
    /// As many, or none.
    pub zeros: &'a [i8],
}

/// One side of a cache.
#[derive(Debug)]
pub(super) struct Store<'a, F> {
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
        F::view(self.memory, [1, len, heads, self.dim], Strides { batch: 0, token, head })
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
        (slot, count): (usize, usize),
        h: usize,
        to: &mut [f32],
        width: usize,
    ) {
        let (units, (row, step)) = (self.units(), self.row(slot, h));
        let memory = self.memory.get(row * units..).unwrap_or(&[]);
        let Some(rows) = Rows::new(memory, step * units, count, units) else {
            debug_assert!(false, "slots are those of the shape");
            return;
        };
        widen(level, rows, self.affine(row, step, count, h), to, width);
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

impl Scales<'_> {
    /// Divides a row of head `h` by its scale, which becomes what the largest number needs unless it is given. Returns the zero points: of
    /// all its channels, or of each.
    fn divide(
        &mut self,
        x: &mut [f32],
        row: usize,
        h: usize,
        (heads, most): (usize, f32),
    ) -> &[i8] {
        match self {
            Scales::None => &[],
            Scales::Given(Given { scales, zeros }) => {
                let own = of_head(scales.len(), h, heads, x.len());
                divide(x, scales.get(own.clone()).unwrap_or(&[]));
                zeros.get(own).unwrap_or(&[])
            }
            Scales::ByToken(scales) => {
                let scale = symmetric(x, most);
                scales.iter_mut().skip(row).take(1).for_each(|slot| *slot = scale);
                divide(x, &[scale]);
                &[]
            }
            Scales::Affine(scales, zeros) => {
                let (scale, zero) = affine(x);
                scales.iter_mut().skip(row).take(1).for_each(|slot| *slot = scale);
                zeros.iter_mut().skip(row).take(1).for_each(|slot| *slot = zero);
                divide(x, &[scale]);
                zeros.get(row..=row).unwrap_or(&[])
            }
        }
    }
}

impl Given<'_> {
    fn check(&self, heads: usize, dim: usize) -> Result<(), Error> {
        let all = heads.saturating_mul(dim);
        let (given, zeros) = (self.scales.len(), self.zeros.len());
        if ![1, heads, all].contains(&given) {
            return Err(Error::Length { tensor: Tensor::Scales, needed: heads, given });
        }
        if zeros != 0 {
            check_len(Tensor::Zeros, given, zeros)?;
        }
        match self.scales.iter().position(|x| !(*x > 0.0 && x.is_finite())) {
            Some(at) => Err(Error::NotFinite { tensor: Tensor::Scales, at: [0, 0, 0, at] }),
            None => Ok(()),
        }
    }
}

/// Where the numbers of head `h` are in a list of so many.
fn of_head(len: usize, h: usize, heads: usize, dim: usize) -> Range<usize> {
    match len {
        1 => 0..1,
        _ if len == heads => h..h + 1,
        _ => h * dim..(h + 1) * dim,
    }
}

/// What the largest number is to be divided by to become the largest code; NaN if a number is not finite, so that it is not lost.
fn symmetric(x: &[f32], most: f32) -> f32 {
    let largest = x.iter().fold(0.0_f32, |most, x| if x.abs() > most { x.abs() } else { most });
    if x.iter().all(|x| x.is_finite()) { largest / most } else { f32::NAN }
}

/// Scale and zero point with which the smallest and the largest number, or 0, become -128 and 127.
fn affine(x: &[f32]) -> (f32, i8) {
    let least = x.iter().fold(0.0, |least, x| if *x < least { *x } else { least });
    let most = x.iter().fold(0.0, |most, x| if *x > most { *x } else { most });
    let scale = most / 255.0 - least / 255.0;
    if !x.iter().all(|x| x.is_finite()) {
        return (f32::NAN, 0);
    }
    let zero = if scale > 0.0 { away(-128.0 - least / scale) } else { 0.0 };
    (scale, zero as i8)
}

/// Divides each number by the only scale, or by that of its channel.
fn divide(x: &mut [f32], scales: &[f32]) {
    match scales {
        [0.0] => x.fill(0.0),
        &[scale] => x.iter_mut().for_each(|x| *x /= scale),
        scales => x.iter_mut().zip(scales).for_each(|(x, scale)| *x /= scale),
    }
}

/// Sequences, tokens and heads of a tensor.
fn places([batch, len, heads]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..batch).flat_map(move |b| (0..len).flat_map(move |i| (0..heads).map(move |h| [b, i, h])))
}

/// A row of a tensor as f32.
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
            memory.iter_mut().skip(to).take(1).for_each(|slot| *slot = x);
        }
    }
}
