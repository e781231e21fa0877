//! Products of bf16 pairs: a refinement of AVX-512.

use super::Avx512;
use crate::products::Products;
use core::arch::x86_64::*;

/// Proof of AVX512_BF16, beside AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub struct Bf16Products(());

impl Bf16Products {
    /// The token, where the caller already enables the instructions.
    ///
    /// # Safety
    /// Safe to call from a function with the same target features; from elsewhere, the processor
    /// must have them.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    #[inline]
    #[must_use]
    pub fn here() -> Self {
        Bf16Products(())
    }

    /// The token, if this processor has the instructions and the system saves their registers.
    #[must_use]
    pub fn detect() -> Option<Self> {
        super::level::has_bf16_products().then_some(Bf16Products(()))
    }
}

impl Products<Avx512> for Bf16Products {
    const DEPTH: usize = 2;

    #[inline(always)]
    fn mul_add(self, _: Avx512, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists only where the processor has the instruction; the transmutations
        // are between vectors of the same 64 bytes.
        unsafe {
            _mm512_dpbf16_ps(
                c,
                core::mem::transmute::<__m512, __m512bh>(a),
                core::mem::transmute::<__m512, __m512bh>(b),
            )
        }
    }

    #[inline(always)]
    fn only(self, a: f32, d: usize) -> f32 {
        f32::from_bits(a.to_bits() & if d == 0 { 0xffff } else { 0xffff_0000 })
    }

    #[inline(always)]
    fn weights(self, _: Avx512, even: __m512, odd: __m512) -> (__m512, [__m512; 2]) {
        // SAFETY: as in `mul_add`.
        unsafe {
            let halves: __m512i = core::mem::transmute(_mm512_cvtne2ps_pbh(odd, even));
            // The low half holds the rounded even weights side by side, the high half the odd ones.
            let low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(halves));
            let high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(halves));
            let (even, odd) = (_mm512_slli_epi32::<16>(low), _mm512_slli_epi32::<16>(high));
            let pairs = _mm512_or_si512(low, odd);
            let [pairs, even, odd] = [pairs, even, odd].map(|x| _mm512_castsi512_ps(x));
            (pairs, [even, odd])
        }
    }
}
