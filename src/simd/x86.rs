//! AVX2 and AVX-512, chosen at run time: `wide` cannot, since it chooses when it is compiled.

use super::{Block, DEEP, Level, ROUND, Simd, align_vectors, columns, flatten_vectors};
use crate::elem::{E4m3, E5m2};
use core::arch::x86_64::*;
use half::{bf16, f16};

/// All bits of a word but that below the sign: of a byte that was widened with its sign and moved to the left by 7, what is left is the f16 with its
/// exponent and fraction at their places.
pub(super) const NO_COPY_OF_SIGN: i16 = !0x4000;

/// Proof of AVX2, FMA and F16C: eight lanes, fused.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// Proof of AVX-512 F, BW, DQ and VL: sixteen lanes, fused.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx2 {
    /// The token, where the proof of more is at hand.
    #[inline(always)]
    pub(super) fn proven(_: super::AvxVnni) -> Self {
        Avx2(())
    }

    /// The token, where the caller already enables the instructions.
    ///
    /// # Safety
    /// Safe to call from a function with the same target features; from elsewhere, the processor
    /// must have them.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    #[must_use]
    pub fn here() -> Self {
        Avx2(())
    }

    /// The token, if this processor has the instructions and the system saves their registers.
    #[must_use]
    pub fn detect() -> Option<Self> {
        Level::Avx2.is_available().then_some(Avx2(()))
    }
}

impl Avx512 {
    /// The token, where the caller already enables the instructions.
    ///
    /// # Safety
    /// Safe to call from a function with the same target features; from elsewhere, the processor
    /// must have them.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    #[inline]
    #[must_use]
    pub fn here() -> Self {
        Avx512(())
    }

    /// The token, if this processor has the instructions and the system saves their registers.
    #[must_use]
    pub fn detect() -> Option<Self> {
        Level::Avx512.is_available().then_some(Avx512(()))
    }

    /// The token, where the proof of more is at hand.
    #[inline(always)]
    pub(super) fn proven(_: super::Int8Products) -> Self {
        Avx512(())
    }
}

/// Trait methods that each are one expression over intrinsics of the token's instruction set.
macro_rules! methods {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $out {
            // SAFETY: `self` exists only where the processor has the instruction set (see the
            // token's constructors), and these intrinsics touch no memory.
            unsafe { $body }
        }
    )*};
}

/// Loads and stores of whole vectors; zeros, or nothing, where there are not as many numbers.
macro_rules! memory {
    ($vector:ty, $lanes:literal:
        $(load $load:ident($from:ident: $load_type:ty) = $whole:expr;)*
        $(store $store:ident($x:ident, $to:ident: $store_type:ty) = $write:expr;)*
    ) => {
        $(#[inline(always)]
        fn $load(self, from: &[$load_type]) -> $vector {
            match from.first_chunk::<$lanes>() {
                Some(from) => {
                    let $from = from.as_ptr();
                    // SAFETY: the token proves the instructions, and the chunk that the pointer
                    // reads a whole vector of numbers.
                    unsafe { $whole }
                }
                None => self.splat(0.0),
            }
        })*
        $(#[inline(always)]
        fn $store(self, $x: $vector, to: &mut [$store_type]) {
            if let Some(to) = to.first_chunk_mut::<$lanes>() {
                let $to = to.as_mut_ptr();
                // SAFETY: the token proves the instructions, and the chunk that the pointer
                // takes a whole vector of numbers.
                unsafe { $write }
            }
        })*
    };
}

impl Simd for Avx2 {
    const LEVEL: Level = Level::Avx2;
    const LANES: usize = 8;
    const FUSED: bool = true;
    type F32 = __m256;
    type Mask = __m256;
    type Square = [__m256; 8];

    methods! {
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        lt(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        eq(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        select(mask: __m256, a: __m256, b: __m256) -> __m256 = _mm256_blendv_ps(b, a, mask);
        mask(bits: u64) -> __m256 = {
            let lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let bits = _mm256_and_si256(_mm256_set1_epi32(bits as u8 as i32), lanes);
            _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, lanes))
        };
        scale_by_exponent(x: __m256, t: __m256) -> __m256 = {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(t));
            let power = _mm256_add_epi32(exponent, _mm256_set1_epi32(1.0_f32.to_bits() as i32));
            _mm256_mul_ps(x, _mm256_castsi256_ps(power))
        };
        zip(a: __m256, b: __m256) -> [__m256; 2] = {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            [
                _mm256_permute2f128_ps::<0x20>(low, high),
                _mm256_permute2f128_ps::<0x31>(low, high),
            ]
        };
        swap_neighbours(x: [__m256; 2]) -> [__m256; 2] =
            [_mm256_permute_ps::<0b10_11_00_01>(x[0]), _mm256_permute_ps::<0b10_11_00_01>(x[1])];
        square() -> [__m256; 8] = [_mm256_setzero_ps(); 8];
        transpose(x: [__m256; 8]) -> [__m256; 8] = {
            // Pairs of rows, then quads of rows, then halves.
            let [a, b, c, d, e, f, g, h] = x;
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ef, gh) = (_mm256_unpacklo_ps(e, f), _mm256_unpacklo_ps(g, h));
            let (ab2, cd2) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            let (ef2, gh2) = (_mm256_unpackhi_ps(e, f), _mm256_unpackhi_ps(g, h));
            let top = [
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xee>(ab, cd),
                _mm256_shuffle_ps::<0x44>(ab2, cd2),
                _mm256_shuffle_ps::<0xee>(ab2, cd2),
            ];
            let bottom = [
                _mm256_shuffle_ps::<0x44>(ef, gh),
                _mm256_shuffle_ps::<0xee>(ef, gh),
                _mm256_shuffle_ps::<0x44>(ef2, gh2),
                _mm256_shuffle_ps::<0xee>(ef2, gh2),
            ];
            let mut y = x;
            for i in 0..4 {
                y[i] = _mm256_permute2f128_ps::<0x20>(top[i], bottom[i]);
                y[i + 4] = _mm256_permute2f128_ps::<0x31>(top[i], bottom[i]);
            }
            y
        };
    }

    memory! { __m256, 8:
        load load(from: f32) = _mm256_loadu_ps(from);
        load load_f16(from: f16) = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
        load load_i8(from: i8) =
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())));
        load load_e5m2(from: E5m2) =
            _mm256_cvtph_ps(_mm_unpacklo_epi8(_mm_setzero_si128(), _mm_loadl_epi64(from.cast())));
        load load_e4m3(from: E4m3) = {
            let words = _mm_slli_epi16::<7>(_mm_cvtepi8_epi16(_mm_loadl_epi64(from.cast())));
            _mm256_cvtph_ps(_mm_and_si128(words, _mm_set1_epi16(NO_COPY_OF_SIGN)))
        };
        load load_bf16(from: bf16) = {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        };
        store store(x, to: f32) = _mm256_storeu_ps(to, x);
        store store_f16(x, to: f16) =
            _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x));
        store store_bf16(x, to: bf16) = {
            // Ties to even; a NaN gets the top bit of its fraction instead, or it might become Inf.
            let bits = _mm256_castps_si256(x);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let near = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
            let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(near, quiet, is_nan));
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(high, high));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed))
        };
    }

    #[inline(always)]
    fn vectors_of(self, scratch: &mut [f32]) -> &mut [__m256] {
        align_vectors(scratch)
    }
    #[inline(always)]
    fn floats_of(self, vectors: &mut [__m256]) -> &mut [f32] {
        flatten_vectors(vectors)
    }
}

/// Which word goes where: word `n` to the upper half of lane `n`, and the upper half of lane `n` to word `n`.
const UPPER_WORDS: [i16; 32] = {
    let (mut words, mut n) = ([0; 32], 0);
    while n < 32 {
        words[n] = n as i16 / 2;
        n += 1;
    }
    words
};
const ODD_WORDS: [i16; 32] = {
    let (mut words, mut n) = ([0; 32], 0);
    while n < 16 {
        words[n] = 2 * n as i16 + 1;
        n += 1;
    }
    words
};

impl Simd for Avx512 {
    const LEVEL: Level = Level::Avx512;
    const LANES: usize = 16;
    const FUSED: bool = true;
    type F32 = __m512;
    type Mask = __mmask16;
    type Square = [__m512; 16];

    methods! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        lt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        eq(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        select(mask: __mmask16, a: __m512, b: __m512) -> __m512 = _mm512_mask_blend_ps(mask, b, a);
        // One instruction instead of three; exact, so the bits are those of the other backends.
        scale_by_exponent(x: __m512, t: __m512) -> __m512 =
            _mm512_scalef_ps(x, _mm512_sub_ps(t, _mm512_set1_ps(ROUND)));
        zip(a: __m512, b: __m512) -> [__m512; 2] = {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
            [_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b)]
        };
        swap_neighbours(x: [__m512; 2]) -> [__m512; 2] =
            [_mm512_permute_ps::<0b10_11_00_01>(x[0]), _mm512_permute_ps::<0b10_11_00_01>(x[1])];
        square() -> [__m512; 16] = [_mm512_setzero_ps(); 16];
        transpose(x: [__m512; 16]) -> [__m512; 16] = {
            // Within each quarter: pairs of rows, then quads; then quarters, twice.
            let mut quads = x;
            for i in 0..4 {
                let [a, b, c, d] = [x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]];
                let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
                let (ab2, cd2) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
                quads[4 * i] = _mm512_shuffle_ps::<0x44>(ab, cd);
                quads[4 * i + 1] = _mm512_shuffle_ps::<0xee>(ab, cd);
                quads[4 * i + 2] = _mm512_shuffle_ps::<0x44>(ab2, cd2);
                quads[4 * i + 3] = _mm512_shuffle_ps::<0xee>(ab2, cd2);
            }
            let mut y = x;
            for i in 0..4 {
                let [a, b, c, d] = [quads[i], quads[i + 4], quads[i + 8], quads[i + 12]];
                let (ab, cd) =
                    (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
                let (ab2, cd2) =
                    (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
                y[i] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
                y[i + 8] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
                y[i + 4] = _mm512_shuffle_f32x4::<0x88>(ab2, cd2);
                y[i + 12] = _mm512_shuffle_f32x4::<0xdd>(ab2, cd2);
            }
            y
        };
    }

    memory! { __m512, 16:
        load load(from: f32) = _mm512_loadu_ps(from);
        load load_f16(from: f16) =
            _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
        load load_i8(from: i8) =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())));
        load load_e5m2(from: E5m2) =
            _mm512_cvtph_ps(_mm256_slli_epi16::<8>(_mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()))));
        load load_e4m3(from: E4m3) = {
            let words = _mm256_slli_epi16::<7>(_mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())));
            _mm512_cvtph_ps(_mm256_and_si256(words, _mm256_set1_epi16(NO_COPY_OF_SIGN)))
        };
        load load_bf16(from: bf16) = {
            // Word n becomes the upper half of lane n: one instruction instead of two.
            let bits = _mm512_castsi256_si512(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaa_aaaa, _mm512_loadu_epi16(UPPER_WORDS.as_ptr()), bits))
        };
        store store(x, to: f32) = _mm512_storeu_ps(to, x);
        store store_f16(x, to: f16) =
            _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x));
        store store_bf16(x, to: bf16) = {
            // Ties to even; a NaN gets the top bit of its fraction instead, or it might become Inf.
            let bits = _mm512_castps_si512(x);
            let is_odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x1_0000));
            let near = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
            let near = _mm512_mask_sub_epi32(near, is_odd, near, _mm512_set1_epi32(-1));
            let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
            let round = _mm512_mask_or_epi32(near, is_nan, bits, _mm512_set1_epi32(0x40_0000));
            let high = _mm512_permutexvar_epi16(_mm512_loadu_epi16(ODD_WORDS.as_ptr()), round);
            _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(high))
        };
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "only the low LANES bits count")]
    fn mask(self, bits: u64) -> __mmask16 {
        bits as u16
    }
    #[inline(always)]
    fn columns(self, block: Block<'_, Self, f32>) -> [__m512; DEEP] {
        columns::f32(self, block)
    }
    #[inline(always)]
    fn columns_f16(self, block: Block<'_, Self, f16>) -> [__m512; DEEP] {
        columns::f16(self, block)
    }
    #[inline(always)]
    fn columns_bf16(self, block: Block<'_, Self, bf16>) -> [__m512; DEEP] {
        columns::bf16(self, block)
    }
    #[inline(always)]
    fn columns_i8(self, block: Block<'_, Self, i8>) -> [__m512; DEEP] {
        columns::i8(self, block)
    }
    #[inline(always)]
    fn columns_e4m3(self, block: Block<'_, Self, E4m3>) -> [__m512; DEEP] {
        columns::e4m3(self, block)
    }
    #[inline(always)]
    fn columns_e5m2(self, block: Block<'_, Self, E5m2>) -> [__m512; DEEP] {
        columns::e5m2(self, block)
    }
    #[inline(always)]
    fn vectors_of(self, scratch: &mut [f32]) -> &mut [__m512] {
        align_vectors(scratch)
    }
    #[inline(always)]
    fn floats_of(self, vectors: &mut [__m512]) -> &mut [f32] {
        flatten_vectors(vectors)
    }
}
