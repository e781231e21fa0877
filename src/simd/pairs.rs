//! Products of bf16 pairs: a refinement of AVX-512.

use super::Avx512;
use crate::math::exp2_bf16;
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

/// Of two halves of 16 numbers, those at the same place side by side.
const INTERLEAVE: [u16; 32] = {
    let mut from = [0; 32];
    let mut i = 0;
    while i < 32 {
        from[i] = (i / 2 + i % 2 * 16) as u16;
        i += 1;
    }
    from
};

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
    fn exp2(self, simd: Avx512, x: __m512) -> __m512 {
        exp2_bf16(simd, x)
    }

    #[inline(always)]
    fn weights(self, _: Avx512, even: __m512, odd: __m512) -> (__m512, [__m512; 2]) {
        // SAFETY: as in `mul_add`.
        unsafe {
            // The rounded even weights side by side, then the odd ones.
            let halves: __m512i = core::mem::transmute(_mm512_cvtne2ps_pbh(odd, even));
            let pairs = _mm512_permutexvar_epi16(
                core::mem::transmute::<[u16; 32], __m512i>(INTERLEAVE),
                halves,
            );
            let even = _mm512_slli_epi32::<16>(pairs);
            let odd = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            let [pairs, even, odd] = [pairs, even, odd].map(|x| _mm512_castsi512_ps(x));
            (pairs, [even, odd])
        }
    }
}
