//! Biases that are looked up: a tensor of them, or T5's buckets of distances.

use crate::change::{Lines, Pairs, Row};
use crate::dispatch::Adder;
use crate::elem::Elem;
use crate::error::{Error, Tensor};
use crate::moves::RowsOfLanes;
use crate::shape::{Shape, index_of};
use crate::simd::{Level, MAX_LANES, Rows, Scalar};
use crate::tiling::TILE_K;
use crate::view::{AnyView, Stored, Strides, of_any};
use core::f32::consts::LOG2_E;
use core::ops::Range;

/// Biases by row: what is added to the scores of one query, after a cap and any other modifier.
///
/// A bias of -inf hides its key: the key changes no bit of the row.
pub trait Lookup: Sync {
    /// Writes the bias of each key of `keys`, in units of the formula.
    fn look_up(&self, row: &Row, keys: &Range<usize>, biases: &mut [f32]);

    /// The biases of each key of `keys` where they lie, if they do: what [`Lookup::look_up`] would write.
    fn stored(&self, row: &Row, keys: &Range<usize>) -> Option<&[f32]> {
        let _ = (row, keys);
        None
    }

    /// Whether some bias is -inf.
    fn hides(&self) -> bool {
        false
    }

    /// Whether it means nothing without the queries' positions.
    fn needs_positions(&self) -> bool {
        false
    }

    /// Whether it fits attention of this shape.
    ///
    /// # Errors
    /// One that names what does not.
    fn check(&self, shape: &Shape) -> Result<(), Error>;
}

impl<L: Lookup + ?Sized> Lookup for &L {
    fn look_up(&self, row: &Row, keys: &Range<usize>, biases: &mut [f32]) {
        (**self).look_up(row, keys, biases);
    }
    fn stored(&self, row: &Row, keys: &Range<usize>) -> Option<&[f32]> {
        (**self).stored(row, keys)
    }
    fn hides(&self) -> bool {
        (**self).hides()
    }
    fn needs_positions(&self) -> bool {
        (**self).needs_positions()
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        (**self).check(shape)
    }
}

/// An additive mask or bias, `[batch, q_len, q_heads, kv_len]` by any strides: a stride of 0 shares it.
#[derive(Clone, Copy, Debug)]
pub struct BiasTensor<'a> {
    view: AnyView<'a>,
    hides: bool,
}

impl<'a> BiasTensor<'a> {
    /// Reads all of it once, to know whether there is a -inf.
    #[must_use]
    pub fn new(biases: impl Into<AnyView<'a>>) -> Self {
        let view = biases.into();
        let [batch, q_len, heads, _] = view.dims();
        let hides = of_any!(Stored, view.0, (view, _) => {
            // What an axis shares is read but once.
            let own = |len: usize, stride: usize| 0..if stride == 0 { len.min(1) } else { len };
            let Strides { batch: b_stride, token, head } = view.strides();
            let rows = own(batch, b_stride).flat_map(|b| own(q_len, token).map(move |i| (b, i)));
            let mut rows = rows.flat_map(|(b, i)| own(heads, head).map(move |h| (b, i, h)));
            rows.any(|(b, i, h)| view.row(b, i, h).iter().any(|x| wide(*x) == f32::NEG_INFINITY))
        });
        BiasTensor { view, hides }
    }
}

/// As f32.
fn wide<T: Elem>(x: T) -> f32 {
    T::load(Scalar, &[x])
}

impl Lookup for BiasTensor<'_> {
    fn look_up(&self, row: &Row, keys: &Range<usize>, biases: &mut [f32]) {
        let Row { sequence, head, query, .. } = *row;
        of_any!(Stored, self.view.0, (view, moves) => {
            let row = view.row(sequence, query, head).get(keys.clone()).unwrap_or(&[]);
            let width = biases.len();
            moves.at(Level::Portable).flat(Rows::one(row), 0, 1.0, biases, width);
        });
    }
    fn stored(&self, row: &Row, keys: &Range<usize>) -> Option<&[f32]> {
        let Row { sequence, head, query, .. } = *row;
        match self.view.0 {
            Stored::F32(view, _) => view.row(sequence, query, head).get(keys.clone()),
            _ => None,
        }
    }
    fn hides(&self) -> bool {
        self.hides
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let expected = [shape.batch, shape.q_len, shape.heads.q, shape.kv_len];
        let (tensor, given) = (Tensor::Bias, self.view.dims());
        if expected == given { Ok(()) } else { Err(Error::Shape { tensor, expected, given }) }
    }
}

/// T5's relative position bias: a number for each head and bucket of distances (Raffel et al., arXiv 1910.10683), 32
/// buckets up to a distance of 128. T5 has a scale of 1: [`Attention::scale`](crate::Attention::scale).
#[derive(Clone, Copy, Debug)]
pub struct T5Bias<'a> {
    /// `[32, q_heads]`.
    table: &'a [f32],
    bidirectional: bool,
}

/// Buckets.
const BUCKETS: usize = 32;

/// The first distance of each bucket beyond those of one distance each: from 8 on in either direction, and from 16 on
/// in one.
const BOTH_WAYS: [u8; 8] = [8, 12, 16, 23, 32, 46, 64, 91];
const ONE_WAY: [u8; 16] = [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113];

impl<'a> T5Bias<'a> {
    /// The table `[32, q_heads]` of a checkpoint: of an encoder, which tells before from after.
    #[must_use]
    pub const fn bidirectional(table: &'a [f32]) -> Self {
        T5Bias { table, bidirectional: true }
    }

    /// The table of a decoder, where keys after the query share a bucket.
    #[must_use]
    pub const fn causal(table: &'a [f32]) -> Self {
        T5Bias { table, bidirectional: false }
    }

    /// The bucket of a key `distance` after the query.
    #[must_use]
    pub fn bucket(&self, distance: i64) -> usize {
        self.run(distance).0
    }

    /// The bucket of a distance, and the first larger distance that has another.
    fn run(&self, distance: i64) -> (usize, i64) {
        let after = distance > 0;
        if after && !self.bidirectional {
            return (0, i64::MAX);
        }
        let firsts = if self.bidirectional { &BOTH_WAYS[..] } else { &ONE_WAY[..] };
        let single = firsts.len();
        let size = distance.saturating_abs();
        let passed = firsts.iter().take_while(|first| i64::from(**first) <= size).count();
        let bucket = match passed {
            0 => usize::try_from(size).unwrap_or(0),
            passed => single + passed - 1,
        };
        let first_of = |bucket: usize| match bucket.checked_sub(single) {
            None => Some(bucket as i64),
            Some(n) => firsts.get(n).map(|first| i64::from(*first)),
        };
        if after {
            (bucket + BUCKETS / 2, first_of(bucket + 1).unwrap_or(i64::MAX))
        } else {
            (bucket, 1 - first_of(bucket).unwrap_or(0))
        }
    }
}

impl Lookup for T5Bias<'_> {
    fn look_up(&self, row: &Row, keys: &Range<usize>, biases: &mut [f32]) {
        let heads = (self.table.len() / BUCKETS).max(1);
        let mut key = keys.start;
        while key < keys.end {
            // Keys of one bucket lie side by side.
            let (bucket, end) = self.run((key as i64).saturating_sub(row.position));
            let end = index_of(end.saturating_add(row.position));
            let end = end.max(key + 1).min(keys.end);
            let bias = self.table.get(bucket * heads + row.head).copied().unwrap_or(0.0);
            let some = biases.get_mut(key - keys.start..end - keys.start).unwrap_or(&mut []);
            some.fill(bias);
            key = end;
        }
    }
    fn needs_positions(&self) -> bool {
        true
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let (needed, given) = (BUCKETS.saturating_mul(shape.heads.q), self.table.len());
        let tensor = Tensor::Bias;
        if needed == given { Ok(()) } else { Err(Error::Length { tensor, needed, given }) }
    }
}

/// Keys that are looked up at once, for as many rows as the widest vector has lanes.
const CHUNK: usize = TILE_K;

/// Calls `each` with the biases of some rows for some keys, a block at a time: how many rows and keys come before it, and the
/// biases of each of its rows. Rows come as [`Pairs::chunks`] says.
fn each_block(
    lookup: &dyn Lookup,
    pairs: &Pairs<'_>,
    (idle, lanes): (usize, usize),
    mut each: impl FnMut(usize, usize, &[&[f32]]),
) {
    let Pairs { rows, keys, .. } = pairs;
    let mut room = [[0.0; CHUNK]; MAX_LANES];
    for some_rows in pairs.chunks(idle, lanes) {
        for first in keys.clone().step_by(CHUNK) {
            let some = first..keys.end.min(first + CHUNK);
            let mut block: RowsOfLanes<'_, f32> = [&[]; MAX_LANES];
            for (row, (room, biases)) in some_rows.clone().zip(room.iter_mut().zip(&mut block)) {
                let place = pairs.row(row);
                *biases = lookup.stored(&place, &some).unwrap_or_else(|| {
                    let room = room.get_mut(..some.len()).unwrap_or(&mut []);
                    lookup.look_up(&place, &some, room);
                    room
                });
            }
            let block = block.get(..some_rows.len()).unwrap_or(&[]);
            each(some_rows.start - rows.start, first - keys.start, block);
        }
    }
}

/// Adds biases to the scores of some pairs.
pub(crate) fn add(lookup: &dyn Lookup, adder: Adder, pairs: &Pairs<'_>, lines: Lines<'_>) {
    let (lanes, mut lines) = (adder.level().lanes(), lines);
    each_block(lookup, pairs, (lines.idle, lanes), |row, key, block| {
        lines.add_rows(adder, (row, key), LOG2_E, block.iter().copied());
    });
}

/// Clears bit `r` of `bits[j]` where the bias of row `r` hides key `j`.
pub(crate) fn hide(lookup: &dyn Lookup, pairs: &Pairs<'_>, bits: &mut [u64]) {
    each_block(lookup, pairs, (0, MAX_LANES), |row, first, block| {
        for (r, biases) in (row..).zip(block) {
            let bits = bits.get_mut(first..).unwrap_or(&mut []).iter_mut();
            for (bits, _) in bits.zip(*biases).filter(|(_, bias)| **bias == f32::NEG_INFINITY) {
                *bits &= !1_u64.checked_shl(r as u32).unwrap_or(0);
            }
        }
    });
}
