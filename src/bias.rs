//! Biases that are looked up: a tensor of them, or T5's buckets of distances.

use crate::elem::Elem;
use crate::error::{Error, Tensor};
use crate::mask::Visible;
use crate::shape::Shape;
use crate::simd::Scalar;
use crate::tiling::Lanes;
use crate::view::{AnyView, Stored, Strides, of_any};
use core::f32::consts::LOG2_E;
use core::fmt;
use core::ops::Range;

/// Biases by row: what is added to the scores of one query, after a cap and any other modifier.
///
/// A bias of -inf hides its key: the key changes no bit of the row.
pub trait Lookup: Sync {
    /// Writes the bias of each key of `keys`, in units of the formula.
    fn look_up(&self, row: &BiasRow, keys: &Range<usize>, biases: &mut [f32]);

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

/// Which row a [`Lookup`] is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BiasRow {
    /// The sequence of a batch.
    pub sequence: usize,
    /// The query head.
    pub head: usize,
    /// The query, and its position.
    pub query: usize,
    /// Where key `j` has position `j`.
    pub position: i64,
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
    fn look_up(&self, row: &BiasRow, keys: &Range<usize>, biases: &mut [f32]) {
        let BiasRow { sequence, head, query, .. } = *row;
        of_any!(Stored, self.view.0, (view, _) => {
            let row = view.row(sequence, query, head).get(keys.clone()).unwrap_or(&[]);
            biases.iter_mut().zip(row).for_each(|(to, x)| *to = wide(*x));
        });
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
    fn look_up(&self, row: &BiasRow, keys: &Range<usize>, biases: &mut [f32]) {
        let heads = (self.table.len() / BUCKETS).max(1);
        let mut key = keys.start;
        while key < keys.end {
            // Keys of one bucket lie side by side.
            let (bucket, end) = self.run((key as i64).saturating_sub(row.position));
            let end = usize::try_from(end.saturating_add(row.position)).unwrap_or(0);
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

/// A plan's lookup, if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Biased<'m>(pub(crate) Option<&'m dyn Lookup>);

impl fmt::Debug for Biased<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a bias" } else { "no bias" })
    }
}

/// Rows, and keys, that are looked up at once.
const ROWS: usize = 8;
const CHUNK: usize = 64;

/// Biases of some rows for some keys: `[row][key]`.
type Block = [[f32; CHUNK]; ROWS];

/// Calls `each` with the biases of some rows for some keys, a block at a time: its first row's number and its first
/// key's, how many keys it has, and the biases of its rows.
fn each_block(
    lookup: &dyn Lookup,
    visible: &Visible<'_>,
    (group, b, g, rows): (usize, usize, usize, Range<usize>),
    keys: &Range<usize>,
    mut each: impl FnMut(usize, usize, usize, &[[f32; CHUNK]]),
) {
    // Never 0; saying so here removes the division checks.
    let group = group.max(1);
    let mut block: Block = [[0.0; CHUNK]; ROWS];
    for first_row in rows.clone().step_by(ROWS) {
        for first in keys.clone().step_by(CHUNK) {
            let some = first..keys.end.min(first + CHUNK);
            let mut count = 0;
            for (row, biases) in (first_row..rows.end).zip(&mut block) {
                let (query, head) = (row / group, g * group + row % group);
                let row = BiasRow { sequence: b, head, query, position: visible.position(query) };
                lookup.look_up(&row, &some, biases.get_mut(..some.len()).unwrap_or(&mut []));
                count += 1;
            }
            let block = block.get(..count).unwrap_or(&[]);
            each(first_row - rows.start, first - keys.start, some.len(), block);
        }
    }
}

/// Adds the biases of some rows to their scores, in lines of `width` floats with `idle` lanes before the first row's.
pub(crate) fn add(
    lookup: &dyn Lookup,
    visible: &Visible<'_>,
    of_rows: (usize, usize, usize, Range<usize>),
    keys: &Range<usize>,
    (along, idle): (Lanes, usize),
    (s, width): (&mut [f32], usize),
) {
    each_block(lookup, visible, of_rows, keys, |row, first, len, block| match along {
        Lanes::Queries => {
            let lines = s.chunks_exact_mut(width.max(1)).skip(first).take(len);
            for (key, line) in lines.enumerate() {
                let scores = line.get_mut(idle + row..).unwrap_or(&mut []);
                // All rows of a block at once become vectors.
                match (scores.first_chunk_mut::<ROWS>(), block.first_chunk::<ROWS>()) {
                    (Some(scores), Some(block)) => add_column(scores, block, key),
                    _ => add_column(scores, block, key),
                }
            }
        }
        Lanes::Keys => {
            let lines = s.chunks_exact_mut(width.max(1)).skip(row);
            for (line, biases) in lines.zip(block) {
                let scores = line.get_mut(first..).unwrap_or(&mut []);
                for (score, bias) in scores.iter_mut().zip(biases).take(len) {
                    *score += bias * LOG2_E;
                }
            }
        }
    });
}

/// Adds the biases of some rows for one key.
#[inline(always)]
fn add_column(scores: &mut [f32], block: &[[f32; CHUNK]], key: usize) {
    let key = key.min(CHUNK - 1);
    for (score, biases) in scores.iter_mut().zip(block) {
        *score += biases[key] * LOG2_E;
    }
}

/// Clears bit `r` of `bits[j]` where the bias of row `r` hides key `j`.
pub(crate) fn hide(
    lookup: &dyn Lookup,
    visible: &Visible<'_>,
    of_rows: (usize, usize, usize, Range<usize>),
    keys: &Range<usize>,
    bits: &mut [u64],
) {
    each_block(lookup, visible, of_rows, keys, |row, first, len, block| {
        for (r, biases) in (row..).zip(block) {
            let bits = bits.get_mut(first..).unwrap_or(&mut []).iter_mut().take(len);
            for (bits, _) in bits.zip(biases).filter(|(_, bias)| **bias == f32::NEG_INFINITY) {
                *bits &= !1_u64.checked_shl(r as u32).unwrap_or(0);
            }
        }
    });
}
