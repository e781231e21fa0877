//! Sums of four products of bytes: a refinement of AVX2 (AVX-VNNI).

use super::codes::StoredCodes;
use super::{Avx2, BlockLanes, Patch, Rows, Simd, Walk};
use crate::decode::integers::{Integers, ROWS, Words};
use crate::elem::Coded;
use crate::products::ByteSums;
use crate::tiling::TILE_K;
use core::arch::x86_64::*;
use core::ops::Range;

/// Proof of AVX-VNNI, beside AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct AvxVnni(());

impl AvxVnni {
    /// The token, where the caller already enables the instructions.
    ///
    /// # Safety
    /// Safe to call from a function with the same target features; from elsewhere, the processor
    /// must have them.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    #[inline]
    #[must_use]
    pub fn here() -> Self {
        AvxVnni(())
    }

    /// 32 bytes, with some bits of each changed.
    #[inline(always)]
    pub(crate) fn bytes(self, codes: &[i8; 32], change: u8) -> __m256 {
        // SAFETY: `self` exists only where the processor has the instructions; the codes are 32 readable bytes.
        unsafe {
            let codes = _mm256_loadu_si256(codes.as_ptr().cast());
            _mm256_castsi256_ps(_mm256_xor_si256(codes, _mm256_set1_epi8(change as i8)))
        }
    }

    /// The lower halves of 16 bytes, then their upper ones.
    #[inline(always)]
    pub(crate) fn nibbles(self, codes: &[u8; 16]) -> __m256 {
        // SAFETY: as in `bytes`, of 16 bytes.
        unsafe {
            let codes = _mm_loadu_si128(codes.as_ptr().cast());
            let both = _mm256_set_m128i(_mm_srli_epi16::<4>(codes), codes);
            _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi8(15)))
        }
    }

    /// Half of the bytes of four rows of 32 channels as quads of the same channel: channels `8 h + 4 n + {0, 1, 2, 3}` and 16 more than they in
    /// vector `n`.
    #[inline(always)]
    fn woven(self, [a, b, c, d]: [__m256; 4], h: usize) -> [__m256; 2] {
        // SAFETY: as in `bytes`; no memory is touched.
        unsafe {
            let (a, b) = (_mm256_castps_si256(a), _mm256_castps_si256(b));
            let (c, d) = (_mm256_castps_si256(c), _mm256_castps_si256(d));
            let (ab, cd) = match h {
                0 => (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d)),
                _ => (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d)),
            };
            [
                _mm256_castsi256_ps(_mm256_unpacklo_epi16(ab, cd)),
                _mm256_castsi256_ps(_mm256_unpackhi_epi16(ab, cd)),
            ]
        }
    }

    /// The lower halves of two vectors, and their upper ones.
    #[inline(always)]
    fn halves(self, [a, b]: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as in `woven`.
        unsafe { [_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)] }
    }
}

impl ByteSums<Avx2> for AvxVnni {
    #[inline(always)]
    fn dot(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` exists only where the processor has the instruction, which touches no memory.
        unsafe {
            let (a, b) = (_mm256_castps_si256(a), _mm256_castps_si256(b));
            _mm256_castsi256_ps(_mm256_dpbusd_avx_epi32(_mm256_castps_si256(c), a, b))
        }
    }
    #[inline(always)]
    fn to_f32(self, x: __m256) -> __m256 {
        // SAFETY: as in `dot`.
        unsafe { _mm256_cvtepi32_ps(_mm256_castps_si256(x)) }
    }
}

impl Integers<Avx2> for AvxVnni {
    #[inline(always)]
    fn begin(self, simd: Avx2, start: f32) -> __m256 {
        simd.splat(start)
    }
    #[inline(always)]
    fn add<F: Coded, const R: usize>(
        self,
        simd: Avx2,
        keys: BlockLanes<'_, Avx2, F::Block>,
        queries: Patch<'_, f32, R>,
        sums: &mut [__m256; R],
        walk: &mut Walk,
    ) {
        walk.fetch(Avx2::LANES * size_of::<F::Block>());
        let mut rows = simd.square();
        for (lane, row) in rows.as_mut().iter_mut().enumerate() {
            *row = F::codes(keys.at(lane)).raised(self);
        }
        // Word `t` of row `i` in lane `i` of vector `t`.
        for (t, words) in simd.transpose(rows).into_iter().enumerate() {
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = self.dot(words, simd.splat(queries.at(t, r)), *sum);
            }
        }
    }
    #[inline(always)]
    fn finish(self, _: Avx2, sum: __m256) -> __m256 {
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
        let simd = Avx2::proven(self);
        let Words { words, sums } = Words::of::<F>(codes);
        for (b, h) in blocks.clone().flat_map(|b| [(b, 0), (b, 1)]) {
            let mut totals = [[simd.splat(0.0); 2]; ROWS];
            for group in 0..values.len().min(TILE_K).div_ceil(4) {
                // Behind the last key nothing is added: its codes are 0.
                let rows = values.coded_few::<Avx2>(group * 4).from(b);
                let Some(rows) = rows.next() else { return };
                let mut four = [simd.splat(0.0); 4];
                for (lane, row) in four.iter_mut().enumerate() {
                    *row = F::codes(rows.at(lane)).halves(self);
                }
                for (n, quads) in self.woven(four, h).into_iter().enumerate() {
                    for (totals, words) in totals.iter_mut().zip(&words) {
                        let word = simd.splat(words[group]);
                        // Of two factors one may be negative.
                        let [a, b] =
                            if F::Codes::HALF_OFFSET == 0 { [word, quads] } else { [quads, word] };
                        totals[n] = self.dot(a, b, totals[n]);
                    }
                }
                // Each half of a block asks for its share.
                walk.fetch(2 * size_of::<F::Block>());
            }
            for ((totals, sum), to) in totals.into_iter().zip(sums).zip(&mut to) {
                let raised = simd.splat(F::Codes::HALF_OFFSET as f32 * sum);
                for (totals, of_half) in self.halves(totals).into_iter().zip([0, 16]) {
                    let to = to.get_mut((b - blocks.start) * 32 + of_half + 8 * h..);
                    let to = to.unwrap_or(&mut []);
                    let total = simd.sub(self.to_f32(totals), raised);
                    simd.store(simd.add(simd.load(to), total), to);
                }
            }
        }
    }
}
