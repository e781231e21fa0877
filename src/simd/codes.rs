//! Codes of 32 channels as formats store them, and how lanes want them.

#[cfg(target_arch = "x86_64")]
use super::{Avx512, AvxVnni, BlockLanes, Int8Products};
#[cfg(target_arch = "x86_64")]
use crate::elem::Coded;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m256, __m512};

/// 32 codes: of a byte each, or of half a byte.
pub trait StoredCodes: Copy + 'static {
    /// What [`StoredCodes::quads`] adds to each.
    const OFFSET: i32;
    /// What [`StoredCodes::pair`] adds to each: codes are not negative then, and weights may be.
    const HALF_OFFSET: i32;

    /// Each by itself.
    fn signed(&self) -> [i8; 32];
    /// Channels `4 t .. 4 t + 4` of 16 rows in vector `t`, not negative: a row's four bytes in each lane.
    #[cfg(target_arch = "x86_64")]
    fn quads(products: Int8Products, rows: &[&Self; 16]) -> [__m512; 8];
    /// All with [`StoredCodes::OFFSET`] added.
    #[cfg(target_arch = "x86_64")]
    fn raised(&self, products: AvxVnni) -> __m256;
    /// All with [`StoredCodes::HALF_OFFSET`] added.
    #[cfg(target_arch = "x86_64")]
    fn halves(&self, products: AvxVnni) -> __m256;
    /// The codes of two blocks, all with [`StoredCodes::HALF_OFFSET`] added.
    #[cfg(target_arch = "x86_64")]
    fn pair(products: Int8Products, blocks: [&Self; 2]) -> __m512;
}

impl StoredCodes for [i8; 32] {
    const OFFSET: i32 = 128;
    const HALF_OFFSET: i32 = 0;

    #[inline(always)]
    fn signed(&self) -> [i8; 32] {
        *self
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn quads(products: Int8Products, rows: &[&Self; 16]) -> [__m512; 8] {
        products.quads_of_bytes(rows)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn raised(&self, products: AvxVnni) -> __m256 {
        products.bytes(self, 0x80)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn halves(&self, products: AvxVnni) -> __m256 {
        products.bytes(self, 0)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn pair(products: Int8Products, blocks: [&Self; 2]) -> __m512 {
        products.pair_of_bytes(blocks)
    }
}

/// Numbers 0 to 15 in the low halves, 16 to 31 in the high ones, 8 more than they are.
impl StoredCodes for [u8; 16] {
    const OFFSET: i32 = 8;
    const HALF_OFFSET: i32 = 8;

    #[inline(always)]
    fn signed(&self) -> [i8; 32] {
        let mut signed = [0; 32];
        for c in 0..16 {
            signed[c] = (self[c] & 15) as i8 - 8;
            signed[c + 16] = (self[c] >> 4) as i8 - 8;
        }
        signed
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn quads(products: Int8Products, rows: &[&Self; 16]) -> [__m512; 8] {
        products.quads_of_nibbles(rows)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn raised(&self, products: AvxVnni) -> __m256 {
        products.nibbles(self)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn halves(&self, products: AvxVnni) -> __m256 {
        products.nibbles(self)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn pair(products: Int8Products, blocks: [&Self; 2]) -> __m512 {
        products.pair_of_nibbles(blocks)
    }
}

/// The codes of a block of each of 16 rows.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn codes_of<'a, F: Coded>(rows: BlockLanes<'a, Avx512, F::Block>) -> [&'a F::Codes; 16] {
    let mut codes = [F::codes(rows.at(0)); 16];
    for (lane, codes) in codes.iter_mut().enumerate() {
        *codes = F::codes(rows.at(lane));
    }
    codes
}
