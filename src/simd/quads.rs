//! Sums of four products of bytes: a refinement of AVX-512 (AVX512_VNNI).

use super::codes::{StoredCodes, codes_of};
use super::columns::{quarters, turn_quarters};
use super::{Avx512, BlockLanes, Patch, Rows, Simd, Walk};
use crate::decode::integers::{Integers, ROWS, Words};
use crate::elem::{BLOCK, Coded};
use crate::products::ByteSums;
use core::arch::x86_64::*;
use core::ops::Range;

/// Proof of AVX512_VNNI, beside AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub struct Int8Products(());

impl Int8Products {
    /// The token, where the caller already enables the instructions.
    ///
    /// # Safety
    /// Safe to call from a function with the same target features; from elsewhere, the processor
    /// must have them.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    #[must_use]
    pub fn here() -> Self {
        Int8Products(())
    }

    /// In each lane `c + sum a_n b_n` over its four bytes: those of `a` are not negative, those of `b` have a sign.
    #[inline(always)]
    pub(super) fn dot(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists only where the processor has the instruction, which touches no memory.
        unsafe {
            let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(c), a, b))
        }
    }

    /// Lanes of integers.
    #[inline(always)]
    pub(super) fn added(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as in `dot`.
        unsafe {
            let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(_mm512_add_epi32(a, b))
        }
    }

    /// Lanes of integers as f32.
    #[inline(always)]
    pub(super) fn to_f32(self, x: __m512) -> __m512 {
        // SAFETY: as in `dot`.
        unsafe { _mm512_cvtepi32_ps(_mm512_castps_si512(x)) }
    }

    /// Four bytes of each of 16 rows in each vector, from the first on, with 128 added to each.
    #[inline(always)]
    pub(crate) fn quads_of_bytes(self, rows: &[&[i8; 32]; 16]) -> [__m512; 8] {
        let (first, second) = rows.split_at(8);
        let (first, second) = (self.turned_pairs(first), self.turned_pairs(second));
        let mut quads = [first[0]; 8];
        for (i, (a, b)) in first.into_iter().zip(second).enumerate() {
            // SAFETY: as in `dot`.
            unsafe {
                quads[i] = _mm512_shuffle_f32x4::<0x88>(a, b);
                quads[i + 4] = _mm512_shuffle_f32x4::<0xdd>(a, b);
            }
        }
        quads
    }

    /// Words `i` and `i + 4` of rows 0 to 3 in the quarters of the lower half of vector `i`, those of rows 4 to 7 in the upper one; 128 is added to each byte.
    #[inline(always)]
    fn turned_pairs(self, rows: &[&[i8; 32]]) -> [__m512; 4] {
        let mut pairs = [Avx512::proven(self).splat(0.0); 4];
        for (i, pair) in pairs.iter_mut().enumerate() {
            *pair = self.pair_of_bytes([rows[i], rows[i + 4]]);
            // SAFETY: as in `dot`.
            unsafe {
                let sign = _mm512_set1_epi32(0x8080_8080_u32 as i32);
                *pair = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(*pair), sign));
            }
        }
        // SAFETY: as in `dot`.
        unsafe { turn_quarters(pairs) }
    }

    /// The same of half bytes, of which all lower ones come first; they are what they are.
    #[inline(always)]
    pub(crate) fn quads_of_nibbles(self, rows: &[&[u8; 16]; 16]) -> [__m512; 8] {
        let turned = self.turned(rows);
        let mut quads = [turned[0]; 8];
        for (i, x) in turned.into_iter().enumerate() {
            // SAFETY: as in `dot`.
            unsafe {
                let (x, mask) = (_mm512_castps_si512(x), _mm512_set1_epi8(15));
                quads[i] = _mm512_castsi512_ps(_mm512_and_si512(x, mask));
                let high = _mm512_and_si512(_mm512_srli_epi32::<4>(x), mask);
                quads[i + 4] = _mm512_castsi512_ps(high);
            }
        }
        quads
    }

    /// The lower halves of 16 bytes, then their upper ones; then those of 16 others.
    #[inline(always)]
    pub(crate) fn pair_of_nibbles(self, [a, b]: [&[u8; 16]; 2]) -> __m512 {
        // SAFETY: as in `dot`; both are 16 readable bytes.
        unsafe {
            let low = _mm512_broadcast_i32x4(_mm_loadu_si128(a.as_ptr().cast()));
            let high = _mm_loadu_si128(b.as_ptr().cast());
            let both = _mm512_mask_broadcast_i32x4(low, 0xff00, high);
            let halves = _mm512_srlv_epi64(both, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
            _mm512_castsi512_ps(_mm512_and_si512(halves, _mm512_set1_epi8(15)))
        }
    }

    /// Word `c` of row `i` in lane `i` of vector `c`.
    #[inline(always)]
    fn turned(self, rows: &[&[u8; 16]; 16]) -> [__m512; 4] {
        // SAFETY: as in `dot`.
        unsafe { turn_quarters(self.quarters(rows)) }
    }

    /// Row `4 t + i` in quarter `t` of vector `i`.
    #[inline(always)]
    fn quarters(self, rows: &[&[u8; 16]; 16]) -> [__m512; 4] {
        // SAFETY: as in `dot`; each row is 16 readable bytes.
        unsafe {
            macro_rules! at {
                ($i:expr) => {
                    _mm_loadu_ps(rows[$i].as_ptr().cast())
                };
            }
            quarters!(at)
        }
    }

    /// 64 bytes in order.
    #[inline(always)]
    pub(crate) fn pair_of_bytes(self, [a, b]: [&[i8; 32]; 2]) -> __m512 {
        // SAFETY: as in `dot`; both are 32 readable bytes.
        unsafe {
            let low = _mm512_castsi256_si512(_mm256_loadu_si256(a.as_ptr().cast()));
            let high = _mm256_loadu_si256(b.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_inserti64x4::<1>(low, high))
        }
    }
}

impl Integers<Avx512> for Int8Products {
    #[inline(always)]
    fn begin(self, simd: Avx512, start: f32) -> __m512 {
        simd.splat(start)
    }
    #[inline(always)]
    fn add<F: Coded, const R: usize>(
        self,
        simd: Avx512,
        keys: BlockLanes<'_, Avx512, F::Block>,
        queries: Patch<'_, f32, R>,
        sums: &mut [__m512; R],
        walk: &mut Walk,
    ) {
        let quads = F::Codes::quads(self, &codes_of::<F>(keys));
        // In two halves: a chain of all eight would wait for itself.
        let mut others = [simd.splat(0.0); R];
        for (t, [even, odd]) in quads.as_chunks::<2>().0.iter().enumerate() {
            for (r, (sum, other)) in sums.iter_mut().zip(&mut others).enumerate() {
                *sum = self.dot(*even, simd.splat(queries.at(2 * t, r)), *sum);
                *other = self.dot(*odd, simd.splat(queries.at(2 * t + 1, r)), *other);
            }
        }
        // Rows of bytes may be short.
        for _ in 0..4 {
            walk.fetch(Avx512::LANES * size_of::<F::Block>() / 4);
        }
        for (sum, other) in sums.iter_mut().zip(others) {
            *sum = self.added(*sum, other);
        }
    }
    #[inline(always)]
    fn finish(self, _: Avx512, sum: __m512) -> __m512 {
        self.to_f32(sum)
    }
    #[inline(always)]
    fn weigh<F: Coded>(
        self,
        codes: [&[u8]; ROWS],
        (values, blocks): (Rows<'_, F>, Range<usize>),
        walk: &mut Walk,
        mut to: [&mut [f32]; ROWS],
    ) {
        let words = Words::of::<F>(codes);
        let mut block = blocks.start;
        // Where codes of blocks lie side by side, two at a time: so each line of memory is read once.
        while F::CHANNELS < BLOCK && block + 2 <= blocks.end {
            let first = (block - blocks.start) * BLOCK;
            self.weigh_blocks::<F, 2>((values, block), &words, walk, (&mut to, first));
            block += 2;
        }
        while block < blocks.end {
            let first = (block - blocks.start) * BLOCK;
            self.weigh_blocks::<F, 1>((values, block), &words, walk, (&mut to, first));
            block += 1;
        }
    }
}

impl ByteSums<Avx512> for Int8Products {
    #[inline(always)]
    fn dot(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        self.dot(a, b, c)
    }
    #[inline(always)]
    fn to_f32(self, x: __m512) -> __m512 {
        self.to_f32(x)
    }
}
