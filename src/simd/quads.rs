//! Sums of four products of bytes: a refinement of AVX-512 (AVX512_VNNI).

use super::codes::{StoredCodes, codes_of};
use super::columns::{quarters, turn_quarters};
use super::{Avx512, BlockLanes, Patch, Rows, Simd, Walk};
use crate::decode::integers::{Integers, ROWS, weight};
use crate::elem::Coded;
use crate::products::ByteSums;
use crate::tiling::TILE_K;
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
    fn dot(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists only where the processor has the instruction, which touches no memory.
        unsafe {
            let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(c), a, b))
        }
    }

    /// Lanes of integers as f32.
    #[inline(always)]
    fn to_f32(self, x: __m512) -> __m512 {
        // SAFETY: as in `dot`.
        unsafe { _mm512_cvtepi32_ps(_mm512_castps_si512(x)) }
    }

    /// Four bytes of each of 16 rows in each vector, from the first on, with 128 added to each.
    #[inline(always)]
    pub(crate) fn quads_of_bytes(self, rows: &[&[i8; 32]; 16]) -> [__m512; 8] {
        let mut halves = [[&[0; 16]; 16]; 2];
        for (half, halves) in halves.iter_mut().enumerate() {
            for (to, row) in halves.iter_mut().zip(rows) {
                *to = half_of(row, half);
            }
        }
        let [a, b, c, d] = self.turned(&halves[0]);
        let [e, f, g, h] = self.turned(&halves[1]);
        let mut quads = [a, b, c, d, e, f, g, h];
        for x in &mut quads {
            // SAFETY: as in `dot`.
            unsafe {
                let sign = _mm512_set1_epi32(0x8080_8080_u32 as i32);
                *x = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(*x), sign));
            }
        }
        quads
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

    /// One half of the bytes of each row: row `4 t + i` in quarter `t` of vector `i`.
    #[inline(always)]
    pub(crate) fn half_of_bytes(self, rows: &[&[i8; 32]; 16], h: usize) -> [__m512; 4] {
        let mut halves = [half_of(rows[0], h); 16];
        for (to, row) in halves.iter_mut().zip(rows) {
            *to = half_of(row, h);
        }
        self.quarters(&halves)
    }

    /// The lower or the upper halves of all bytes of each row.
    #[inline(always)]
    pub(crate) fn half_of_nibbles(self, rows: &[&[u8; 16]; 16], h: usize) -> [__m512; 4] {
        let mut quarters = self.quarters(rows);
        for x in &mut quarters {
            // SAFETY: as in `dot`.
            unsafe {
                let bytes = _mm512_castps_si512(*x);
                let half = if h == 0 { bytes } else { _mm512_srli_epi32::<4>(bytes) };
                *x = _mm512_castsi512_ps(_mm512_and_si512(half, _mm512_set1_epi8(15)));
            }
        }
        quarters
    }

    /// Bytes of four rows, a quarter each of 16 channels, as quads of the same channel: in vector `n` the channels `4 n .. 4 n + 4`.
    #[inline(always)]
    fn woven(self, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        // SAFETY: as in `dot`.
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

    /// The 16 channels of four vectors of sums in order, the quarters of each added, as integers.
    #[inline(always)]
    fn gathered(self, [a, b, c, d]: [__m512; 4]) -> __m512 {
        // SAFETY: as in `dot`.
        unsafe {
            let (ab, cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
            let (ab2, cd2) =
                (_mm512_shuffle_f32x4::<0xee>(a, b), _mm512_shuffle_f32x4::<0xee>(c, d));
            macro_rules! of {
                ($ab:expr, $cd:expr, $quarters:literal) => {
                    _mm512_castps_si512(_mm512_shuffle_f32x4::<$quarters>($ab, $cd))
                };
            }
            let low = _mm512_add_epi32(of!(ab, cd, 0x88), of!(ab, cd, 0xdd));
            let high = _mm512_add_epi32(of!(ab2, cd2, 0x88), of!(ab2, cd2, 0xdd));
            _mm512_castsi512_ps(_mm512_add_epi32(low, high))
        }
    }
}

/// One half of 32 bytes.
#[inline(always)]
fn half_of(row: &[i8; 32], half: usize) -> &[u8; 16] {
    // SAFETY: `half` is 0 or 1: 16 of 32 bytes, and any byte is a u8.
    unsafe { &*row.as_ptr().add(16 * half).cast::<[u8; 16]>() }
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
    ) {
        let quads = F::Codes::quads(self, &codes_of::<F>(keys));
        for (t, quads) in quads.into_iter().enumerate() {
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = self.dot(quads, simd.splat(queries.at(t, r)), *sum);
            }
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
        let simd = Avx512::proven(self);
        // A word of four codes of keys fills a quarter, as their values do.
        let mut words = [[simd.splat(0.0); GROUPS]; ROWS];
        let mut sums = [0.0; ROWS];
        for ((words, sum), codes) in words.iter_mut().zip(&mut sums).zip(codes) {
            for (words, codes) in words.iter_mut().zip(codes.chunks(16)) {
                *words = self.in_quarters(codes);
            }
            if F::Codes::HALF_OFFSET != 0 {
                *sum = codes.iter().map(|code| weight::<F>(*code)).sum::<i32>() as f32;
            }
        }
        for (b, h) in blocks.clone().flat_map(|b| [(b, 0), (b, 1)]) {
            let mut totals = [[simd.splat(0.0); 4]; ROWS];
            let whole = values.len().min(TILE_K) / 16;
            for group in 0..whole {
                let rows = values.coded::<Avx512>(group * 16).from(b);
                let Some(rows) = rows.next() else { return };
                self.add_group::<F>(rows, h, &words, group, &mut totals);
            }
            // Behind the last one nothing is added: its codes are 0.
            let behind = values.coded_few::<Avx512>(whole * 16).from(b);
            if let (Some(rows), true) = (behind.next(), whole < GROUPS) {
                self.add_group::<F>(rows, h, &words, whole, &mut totals);
            }
            if walk.moves() {
                // Each half of a block asks for its share of rows.
                let bytes = values.width() * size_of::<F>();
                let halves = 2 * (bytes / size_of::<F::Block>()).max(1);
                walk.fetch_rows(values.len().div_ceil(halves), bytes);
            }
            let first = (b - blocks.start) * 32 + h * 16;
            for ((totals, sum), to) in totals.into_iter().zip(sums).zip(&mut to) {
                let to = to.get_mut(first..).unwrap_or(&mut []);
                let raised = simd.splat(F::Codes::HALF_OFFSET as f32 * sum);
                let total = simd.sub(self.to_f32(self.gathered(totals)), raised);
                simd.store(simd.add(simd.load(to), total), to);
            }
        }
    }
}

/// Keys of a tile, 16 at a time.
const GROUPS: usize = TILE_K.div_ceil(16);

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

impl Int8Products {
    /// Adds the products of 16 keys and 16 channels.
    #[inline(always)]
    fn add_group<F: Coded>(
        self,
        rows: BlockLanes<'_, Avx512, F::Block>,
        h: usize,
        words: &[[__m512; GROUPS]; ROWS],
        group: usize,
        totals: &mut [[__m512; 4]; ROWS],
    ) {
        let half = F::Codes::half(self, &codes_of::<F>(rows), h);
        for (n, quads) in self.woven(half).into_iter().enumerate() {
            for (totals, words) in totals.iter_mut().zip(words) {
                // Of two factors one may be negative.
                let [a, b] = match F::Codes::HALF_OFFSET {
                    0 => [words[group], quads],
                    _ => [quads, words[group]],
                };
                totals[n] = self.dot(a, b, totals[n]);
            }
        }
    }

    /// Up to 16 codes, four in each lane of a quarter: those of keys `4 t .. 4 t + 4` in quarter `t`.
    #[inline(always)]
    fn in_quarters(self, codes: &[u8]) -> __m512 {
        let mut all = [0; 16];
        all.iter_mut().zip(codes).for_each(|(to, code)| *to = *code);
        // SAFETY: as in `dot`; `all` is 16 readable bytes.
        unsafe {
            let words = _mm512_castsi128_si512(_mm_loadu_si128(all.as_ptr().cast()));
            let quarters = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
            _mm512_castsi512_ps(_mm512_permutexvar_epi32(quarters, words))
        }
    }
}
