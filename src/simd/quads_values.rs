//! Sums of values, four products of bytes at a time: keys are what is summed over, so that bytes of four keys are woven to words first.
//!
//! ```text
//! two blocks:  channels 0..16 | 16..32 | 32..48 | 48..64 of a key            in the quarters of a vector, of four keys a step
//! one block:   channels 0..16 | 16..32 of a key, the same of a key 4 behind  of eight keys
//! woven:       a word is a channel of four keys, and a vector has four channels of each quarter
//! ```

use super::codes::StoredCodes;
use super::{Avx2, Avx512, BlockLanes, Int8Products, Rows, Simd, Walk};
use crate::decode::integers::{QUADS, ROWS, Words};
use crate::elem::{BLOCK, Coded};
use crate::tiling::TILE_K;
use core::arch::x86_64::*;

/// Keys of a step.
const KEYS: usize = 8;

/// Sums of a row: in vector `n` channels `4 n .. 4 n + 4` of each quarter.
type Totals = [[__m512; 4]; ROWS];

impl Int8Products {
    /// Adds sums of one or two blocks of channels, from block `b` on, to places from `first` on. Meanwhile as many lines come nearer as `walk`
    /// goes over.
    #[inline(always)]
    pub(super) fn weigh_blocks<F: Coded, const BLOCKS: usize>(
        self,
        (values, b): (Rows<'_, F>, usize),
        Words { words, sums }: &Words,
        walk: &mut Walk,
        (to, first): (&mut [&mut [f32]; ROWS], usize),
    ) {
        let simd = Avx512::proven(self);
        let mut totals = [[simd.splat(0.0); 4]; ROWS];
        let whole = values.len().min(TILE_K) / KEYS;
        for step in 0..whole {
            let rows = values.coded::<Avx2>(step * KEYS).from(b);
            let Some(rows) = rows.next_few::<BLOCKS>() else { return };
            self.add_keys::<F, BLOCKS>(rows, (words, step), &mut totals);
            // Rows of bytes may be short.
            for _ in 0..2 * BLOCKS {
                walk.fetch(KEYS * size_of::<F::Block>() / 2);
            }
        }
        // Behind the last key nothing is added: its codes are 0.
        let behind = values.coded_few::<Avx2>(whole * KEYS).from(b).next_few::<BLOCKS>();
        if let (Some(rows), true) = (behind, whole < QUADS / 2) {
            self.add_keys::<F, BLOCKS>(rows, (words, whole), &mut totals);
        }
        for ((totals, sum), to) in totals.into_iter().zip(sums).zip(to) {
            let raised = simd.splat(F::Codes::HALF_OFFSET as f32 * sum);
            let mut to = to.get_mut(first..).unwrap_or(&mut []);
            for block in self.in_order::<BLOCKS>(totals) {
                for total in block {
                    let total = simd.sub(self.to_f32(total), raised);
                    simd.store(simd.add(simd.load(to), total), to);
                    to = to.get_mut(BLOCK / 2..).unwrap_or(&mut []);
                }
            }
        }
    }

    /// Adds the products of the keys of a step.
    #[inline(always)]
    fn add_keys<F: Coded, const BLOCKS: usize>(
        self,
        rows: [BlockLanes<'_, Avx2, F::Block>; BLOCKS],
        (words, step): (&[[f32; QUADS]; ROWS], usize),
        totals: &mut Totals,
    ) {
        let simd = Avx512::proven(self);
        for part in 0..BLOCKS {
            let mut four = [simd.splat(0.0); 4];
            for (i, four) in four.iter_mut().enumerate() {
                // Two blocks of a key, or a block of two keys.
                let keys = [4 * part + i, 4 * (part + 2 - BLOCKS) + i];
                let pair = [rows[0].at(keys[0]), rows[BLOCKS - 1].at(keys[1])];
                *four = F::Codes::pair(self, pair.map(F::codes));
            }
            let mut of_rows = [simd.splat(0.0); ROWS];
            for (to, words) in of_rows.iter_mut().zip(words) {
                *to = match BLOCKS {
                    1 => self.halves(words[2 * step], words[2 * step + 1]),
                    _ => simd.splat(words[2 * step + part]),
                };
            }
            for (n, quads) in self.woven(four).into_iter().enumerate() {
                for (totals, words) in totals.iter_mut().zip(of_rows) {
                    // Of two factors one may be negative.
                    let [a, b] =
                        if F::Codes::HALF_OFFSET == 0 { [words, quads] } else { [quads, words] };
                    totals[n] = self.dot(a, b, totals[n]);
                }
            }
        }
    }

    /// A word in each half.
    #[inline(always)]
    fn halves(self, low: f32, high: f32) -> __m512 {
        let simd = Avx512::proven(self);
        // SAFETY: `self` exists only where the processor has the instruction, which touches no memory.
        unsafe { _mm512_mask_blend_ps(0xff00, simd.splat(low), simd.splat(high)) }
    }

    /// Bytes of four vectors as words of the same place: in vector `n` places `4 n .. 4 n + 4` of each quarter.
    #[inline(always)]
    fn woven(self, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        // SAFETY: as in `halves`.
        unsafe {
            let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
            let (c, d) = (_mm512_castps_si512(c), _mm512_castps_si512(d));
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ab2, cd2) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_castsi512_ps(_mm512_unpacklo_epi16(ab, cd)),
                _mm512_castsi512_ps(_mm512_unpackhi_epi16(ab, cd)),
                _mm512_castsi512_ps(_mm512_unpacklo_epi16(ab2, cd2)),
                _mm512_castsi512_ps(_mm512_unpackhi_epi16(ab2, cd2)),
            ]
        }
    }

    /// Sums of each block as two vectors of channels in order; those of a single block have lain in two halves.
    #[inline(always)]
    fn in_order<const BLOCKS: usize>(self, [a, b, c, d]: [__m512; 4]) -> [[__m512; 2]; BLOCKS] {
        // SAFETY: as in `halves`.
        let [a, b, c, d] = unsafe {
            let (ab, cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
            let (ab2, cd2) =
                (_mm512_shuffle_f32x4::<0xee>(a, b), _mm512_shuffle_f32x4::<0xee>(c, d));
            [
                _mm512_shuffle_f32x4::<0x88>(ab, cd),
                _mm512_shuffle_f32x4::<0xdd>(ab, cd),
                _mm512_shuffle_f32x4::<0x88>(ab2, cd2),
                _mm512_shuffle_f32x4::<0xdd>(ab2, cd2),
            ]
        };
        let mut channels = [[a, b]; BLOCKS];
        match &mut channels[..] {
            [_, second, ..] => *second = [c, d],
            [both] => *both = [self.added(a, c), self.added(b, d)],
            [] => {}
        }
        channels
    }
}
