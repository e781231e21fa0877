//! [`Simd::columns`] on AVX-512, where a transposition is bound by shuffles: rows are put together from
//! memory, a quarter of a vector at a time, which takes none, so that only the shuffles within a quarter
//! are left.

use super::x86::NO_COPY_OF_SIGN;
use super::{Avx512, Block, DEEP, Simd};
use crate::elem::{E4m3, E5m2};
use core::arch::x86_64::*;

/// Lane `i` of vector `c` is channel `c` of row `i`.
#[inline(always)]
pub(super) fn f32(simd: Avx512, block: Block<'_, Avx512, f32>) -> [__m512; DEEP] {
    let [a, b, c, d] = quads::<_, 0>(simd, block);
    let [e, f, g, h] = quads::<_, 16>(simd, block);
    [a, b, c, d, e, f, g, h]
}

/// As [`f32`]: first pairs of channels are transposed, then each is cut in two.
#[inline(always)]
pub(super) fn bf16(simd: Avx512, block: Block<'_, Avx512, half::bf16>) -> [__m512; DEEP] {
    let mut columns = [simd.splat(0.0); DEEP];
    for (columns, pairs) in
        columns.as_chunks_mut::<2>().0.iter_mut().zip(quads::<_, 0>(simd, block))
    {
        // SAFETY: the token proves the instructions, which touch no memory.
        unsafe {
            let pairs = _mm512_castps_si512(pairs);
            let odd = _mm512_and_si512(pairs, _mm512_set1_epi32(-0x1_0000));
            let even = _mm512_slli_epi32::<16>(pairs);
            *columns = [_mm512_castsi512_ps(even), _mm512_castsi512_ps(odd)];
        }
    }
    columns
}

/// As [`f32`]: transposed as 16-bit numbers, in halves of eight rows, then widened.
#[inline(always)]
pub(super) fn f16(_: Avx512, block: Block<'_, Avx512, half::f16>) -> [__m512; DEEP] {
    // SAFETY: the token proves the instructions; a row of the block is 16 readable bytes.
    unsafe {
        macro_rules! rows {
            ($i:literal) => {
                _mm256_inserti128_si256::<1>(
                    _mm256_castsi128_si256(_mm_loadu_si128(block.row($i).as_ptr().cast())),
                    _mm_loadu_si128(block.row($i + 8).as_ptr().cast()),
                )
            };
        }
        let [a, b, c, d] = [rows!(0), rows!(1), rows!(2), rows!(3)];
        let [e, f, g, h] = [rows!(4), rows!(5), rows!(6), rows!(7)];
        let (ab, cd) = (_mm256_unpacklo_epi16(a, b), _mm256_unpacklo_epi16(c, d));
        let (ef, gh) = (_mm256_unpacklo_epi16(e, f), _mm256_unpacklo_epi16(g, h));
        let (ab2, cd2) = (_mm256_unpackhi_epi16(a, b), _mm256_unpackhi_epi16(c, d));
        let (ef2, gh2) = (_mm256_unpackhi_epi16(e, f), _mm256_unpackhi_epi16(g, h));
        let top = [
            _mm256_unpacklo_epi32(ab, cd),
            _mm256_unpackhi_epi32(ab, cd),
            _mm256_unpacklo_epi32(ab2, cd2),
            _mm256_unpackhi_epi32(ab2, cd2),
        ];
        let bottom = [
            _mm256_unpacklo_epi32(ef, gh),
            _mm256_unpackhi_epi32(ef, gh),
            _mm256_unpacklo_epi32(ef2, gh2),
            _mm256_unpackhi_epi32(ef2, gh2),
        ];
        let mut columns = [_mm512_setzero_ps(); DEEP];
        for i in 0..4 {
            columns[2 * i] = _mm512_cvtph_ps(_mm256_unpacklo_epi64(top[i], bottom[i]));
            columns[2 * i + 1] = _mm512_cvtph_ps(_mm256_unpackhi_epi64(top[i], bottom[i]));
        }
        columns
    }
}

/// As [`f32`]: transposed as bytes, then widened.
#[inline(always)]
pub(super) fn i8(_: Avx512, block: Block<'_, Avx512, i8>) -> [__m512; DEEP] {
    let pairs = bytes(block);
    // SAFETY: the token proves the instructions, which touch no memory.
    unsafe {
        let mut columns = [_mm512_setzero_ps(); DEEP];
        for (columns, pair) in columns.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            let (low, high) = (_mm256_castsi256_si128(pair), _mm256_extracti128_si256::<1>(pair));
            let (low, high) = (_mm512_cvtepi8_epi32(low), _mm512_cvtepi8_epi32(high));
            *columns = [_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(high)];
        }
        columns
    }
}

/// The same by way of f16: in units of 256.
#[inline(always)]
pub(super) fn e4m3(_: Avx512, block: Block<'_, Avx512, E4m3>) -> [__m512; DEEP] {
    let pairs = bytes(block);
    // SAFETY: as in `i8`.
    unsafe {
        let mut columns = [_mm512_setzero_ps(); DEEP];
        for (columns, pair) in columns.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            let words = _mm512_slli_epi16::<7>(_mm512_cvtepi8_epi16(pair));
            *columns = halves_of(_mm512_and_si512(words, _mm512_set1_epi16(NO_COPY_OF_SIGN)));
        }
        columns
    }
}

/// The same by way of f16, of which it is the upper half.
#[inline(always)]
pub(super) fn e5m2(_: Avx512, block: Block<'_, Avx512, E5m2>) -> [__m512; DEEP] {
    let pairs = bytes(block);
    // SAFETY: as in `i8`.
    unsafe {
        let mut columns = [_mm512_setzero_ps(); DEEP];
        for (columns, pair) in columns.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            *columns = halves_of(_mm512_slli_epi16::<8>(_mm512_cvtepu8_epi16(pair)));
        }
        columns
    }
}

/// Two columns of f16, widened.
///
/// # Safety
/// The processor has AVX-512 F: the caller holds a token that proves it.
#[inline(always)]
unsafe fn halves_of(words: __m512i) -> [__m512; 2] {
    // SAFETY: as the caller promises; no memory is touched.
    unsafe {
        let (low, high) = (_mm512_castsi512_si256(words), _mm512_extracti64x4_epi64::<1>(words));
        [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)]
    }
}

/// Byte `i` of column `c` is channel `c` of row `i`: columns `2 n` and `2 n + 1` in vector `n`. Neighbouring rows are woven to words, which are
/// then transposed in halves of eight rows.
#[inline(always)]
fn bytes<T: Copy>(block: Block<'_, Avx512, T>) -> [__m256i; 4] {
    const { assert!(size_of::<T>() == 1, "a row of a block is eight bytes") };
    // SAFETY: the token, which a block of its lanes is made with, proves the instructions; a row of the block is 8 readable bytes.
    unsafe {
        macro_rules! woven {
            ($i:expr) => {
                _mm_unpacklo_epi8(
                    _mm_loadl_epi64(block.row($i).as_ptr().cast()),
                    _mm_loadl_epi64(block.row($i + 1).as_ptr().cast()),
                )
            };
        }
        macro_rules! rows {
            ($i:literal) => {
                _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(woven!($i)), woven!($i + 8))
            };
        }
        let [a, b, c, d] = [rows!(0), rows!(2), rows!(4), rows!(6)];
        let (ab, cd) = (_mm256_unpacklo_epi16(a, b), _mm256_unpacklo_epi16(c, d));
        let (ab2, cd2) = (_mm256_unpackhi_epi16(a, b), _mm256_unpackhi_epi16(c, d));
        // Rows 0 to 7 of two columns, then rows 8 to 15 of both.
        [
            _mm256_permute4x64_epi64::<0xd8>(_mm256_unpacklo_epi32(ab, cd)),
            _mm256_permute4x64_epi64::<0xd8>(_mm256_unpackhi_epi32(ab, cd)),
            _mm256_permute4x64_epi64::<0xd8>(_mm256_unpacklo_epi32(ab2, cd2)),
            _mm256_permute4x64_epi64::<0xd8>(_mm256_unpackhi_epi32(ab2, cd2)),
        ]
    }
}

/// Four vectors of 16 rows, of which `$at` reads a quarter each: row `4 t + i` is quarter `t` of vector `i`.
macro_rules! quarters {
    ($at:ident) => {
        [quarters!($at, 0), quarters!($at, 1), quarters!($at, 2), quarters!($at, 3)]
    };
    ($at:ident, $i:literal) => {{
        let x = _mm512_castps128_ps512($at!($i));
        let x = _mm512_mask_broadcast_f32x4(x, 0x00f0, $at!($i + 4));
        let x = _mm512_mask_broadcast_f32x4(x, 0x0f00, $at!($i + 8));
        _mm512_mask_broadcast_f32x4(x, 0xf000, $at!($i + 12))
    }};
}
pub(super) use quarters;

/// Four 32-bit words of each row of a block, `OFFSET` bytes from where it begins: lane `i` of vector `c`
/// is word `c` of row `i`.
#[inline(always)]
fn quads<T: Copy, const OFFSET: usize>(_: Avx512, block: Block<'_, Avx512, T>) -> [__m512; 4] {
    const { assert!(OFFSET + 16 <= DEEP * size_of::<T>(), "inside a row") };
    // SAFETY: the token proves the instructions; a row of the block is `DEEP` readable elements, of which
    // these are 16 bytes.
    unsafe {
        macro_rules! at {
            ($i:expr) => {
                _mm_loadu_ps(block.row($i).as_ptr().cast::<u8>().add(OFFSET).cast())
            };
        }
        turn_quarters(quarters!(at))
    }
}

/// Transposes the words of each quarter of four vectors.
///
/// # Safety
/// The processor has AVX-512 F: the caller holds a token that proves it.
#[inline(always)]
pub(super) unsafe fn turn_quarters([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    // SAFETY: as the caller promises; no memory is touched.
    unsafe {
        let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
        let (ab2, cd2) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
        [
            _mm512_shuffle_ps::<0x44>(ab, cd),
            _mm512_shuffle_ps::<0xee>(ab, cd),
            _mm512_shuffle_ps::<0x44>(ab2, cd2),
            _mm512_shuffle_ps::<0xee>(ab2, cd2),
        ]
    }
}
