//! AVX2 and AVX-512, chosen at run time: `wide` cannot, since it chooses when it is compiled.

use super::{Level, ROUND, Simd, align_vectors, flatten_vectors};
use core::arch::x86_64::*;

/// Proof of AVX2, FMA and F16C: eight lanes, fused.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// Proof of AVX-512 F, BW, DQ and VL: sixteen lanes, fused.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx2 {
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

impl Simd for Avx2 {
    const LEVEL: Level = Level::Avx2;
    const LANES: usize = 8;
    const FUSED: bool = true;
    type F32 = __m256;
    type Mask = __m256;

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

impl Simd for Avx512 {
    const LEVEL: Level = Level::Avx512;
    const LANES: usize = 16;
    const FUSED: bool = true;
    type F32 = __m512;
    type Mask = __mmask16;

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
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "only the low LANES bits count")]
    fn mask(self, bits: u64) -> __mmask16 {
        bits as u16
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
