//! Rows in 8 bits: queries as they are rounded, keys as words of codes.

use crate::elem::{BLOCK, Coded, away, largest, scale_of};
use crate::shape::Heads;
use crate::simd::{DEEP, ROUND, Rows, Scalar, Steps, StoredCodes};

/// Codes in a word.
pub(super) const QUAD: usize = 4;
/// Words of codes of 32 channels are what a step reads of a row.
const _: () = assert!(BLOCK / QUAD == DEEP);

/// How rows of queries are rounded: `dim` channels, a scale for `channels` of them.
#[derive(Clone, Copy, Debug)]
pub struct Rounding {
    pub(crate) dim: usize,
    pub(crate) channels: usize,
    /// How many they are.
    pub(crate) scales: usize,
    /// What codes of keys have been raised by, if they must not be negative.
    pub(crate) offset: i32,
}

impl Rounding {
    /// Rounds a row of queries in place: its words of codes, then its scales, then for each of them the integer that makes up for
    /// what codes of keys were raised by.
    #[inline(always)]
    pub(crate) fn round(self, row: &mut [f32]) {
        let Parts { words, each, parts } = self.parts();
        let (mut rounded, mut behind) = ([0.0; ROW], [[0.0; 2]; SCALES]);
        let of_scale = row.chunks(self.channels.max(1)).take(parts).zip(&mut behind);
        for ((x, [scale, start]), codes) in of_scale.zip(rounded.chunks_mut(each.max(1))) {
            let d = scale_of(largest(x), 127.0);
            let (x, codes) = (x.as_chunks::<BLOCK>().0, codes.as_chunks_mut::<DEEP>().0);
            let sums = x.iter().zip(codes).map(|(x, codes)| round_block(x, d, codes));
            (*scale, *start) = (d, f32::from_bits((-self.offset * sums.sum::<i32>()) as u32));
        }
        let behind = behind.iter().take(parts);
        let all = rounded.iter().take(words).copied();
        let all = all.chain(behind.clone().map(|[d, _]| *d)).chain(behind.map(|[_, start]| *start));
        row.iter_mut().zip(all).for_each(|(to, x)| *to = x);
    }

    /// How a rounded row is cut.
    #[inline(always)]
    pub(crate) fn parts(self) -> Parts {
        let each = self.channels / QUAD;
        Parts { words: self.dim / QUAD, each, parts: self.scales }
    }

    /// The scales of `R` rounded rows from row `first` on, one after the other, each with its integer.
    #[inline(always)]
    pub(super) fn behind<const R: usize>(
        self,
        rows: Rows<'_>,
        first: usize,
    ) -> impl Iterator<Item = ([f32; R], [f32; R])> {
        let scales = rows.behind(self.dim / QUAD).across::<R>(first, self.scales);
        let starts = rows.behind(self.dim / QUAD + self.scales).across::<R>(first, self.scales);
        scales.and(starts)
    }
}

/// Codes of 32 channels in units of `d`, as words; returns their sum.
#[inline(always)]
fn round_block(x: &[f32; BLOCK], d: f32, words: &mut [f32; DEEP]) -> i32 {
    let mut codes = [0; BLOCK];
    if d > 0.0 {
        for (code, x) in codes.iter_mut().zip(x) {
            // An integer, which then is the last byte.
            *code = (away(x / d) + ROUND).to_bits() as u8 as i8;
        }
    }
    for (word, codes) in words.iter_mut().zip(codes.as_chunks::<QUAD>().0) {
        *word = f32::from_bits(u32::from_le_bytes(codes.map(|code| code as u8)));
    }
    codes.iter().map(|code| i32::from(*code)).sum()
}

/// Words of a row of codes, those that share a scale, and how many scales there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) words: usize,
    pub(crate) each: usize,
    pub(crate) parts: usize,
}

impl Parts {
    /// Floats of a row of words and scales.
    pub(crate) const fn width(self) -> usize {
        self.words + self.parts
    }
}

/// Codes of rows as words of four, none negative: `to[j * width + t]`.
#[inline(always)]
pub(crate) fn words<F: Coded>(rows: Rows<'_, F>, to: &mut [f32], width: usize) {
    for (j, to) in to.chunks_mut(width.max(1)).enumerate().take(rows.len()) {
        for (b, to) in to.as_chunks_mut::<DEEP>().0.iter_mut().enumerate() {
            let Some(block) = rows.coded_few::<Scalar>(j).from(b).next() else { break };
            let codes = F::codes(block.at(0)).signed();
            let raised = codes.map(|code| (i32::from(code) + F::Codes::OFFSET) as u8);
            for (to, word) in to.iter_mut().zip(raised.as_chunks::<QUAD>().0) {
                *to = f32::from_bits(u32::from_le_bytes(*word));
            }
        }
    }
}

/// Most words and scales of a row: heads have 576 channels at most.
const ROW: usize = Heads::MAX_DIM / QUAD;
const SCALES: usize = Heads::MAX_DIM / BLOCK;

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes and the scale of a row of 32 channels.
    fn rounded(x: [f32; BLOCK]) -> ([i8; BLOCK], f32) {
        let mut row = x;
        Rounding { dim: BLOCK, channels: BLOCK, scales: 1, offset: 0 }.round(&mut row);
        let codes = row.map(|word| word.to_bits().to_le_bytes().map(|code| code as i8));
        let mut all = [0; BLOCK];
        all.iter_mut().zip(codes.as_flattened()).for_each(|(to, code)| *to = *code);
        (all, row[BLOCK / QUAD])
    }

    #[test]
    fn rows_are_within_half_a_unit_of_what_they_were_however_small() {
        let least = f32::from_bits(1);
        for largest in [1.0, f32::MAX, f32::MIN_POSITIVE, 127.0 * least, 190.0 * least, least] {
            let x = core::array::from_fn(|c| largest * ((c as f32 - 16.0) / 16.0));
            let (codes, d) = rounded(x);
            for (x, code) in x.iter().zip(codes) {
                let (x, d) = (f64::from(*x), f64::from(d));
                let error = (x - f64::from(code) * d).abs();
                assert!(error <= 0.500_001 * d, "{largest:e}: {x:e} became {code} of {d:e}");
            }
        }
        assert_eq!(rounded([0.0; BLOCK]), ([0; BLOCK], 0.0));
    }
}
