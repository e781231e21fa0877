//! Formats whose products can be made of integers: codes of 8 bits or less, and one scale for 32 channels or for a row.

use super::blocks::{BLOCK, Q4_0, Q8_0};
use super::format::Format;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx512, BlockLanes, Int8Products};
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__m512;
use half::f16;

/// A format of codes.
pub trait Coded: Format {
    /// 32 channels: so many of it, side by side.
    type Block: Copy + 'static;
    /// The codes of them as they are stored.
    type Codes: Copy + Default + 'static;
    /// What [`Coded::quads`] adds to each.
    const OFFSET: i32;
    /// What [`Coded::half`] adds to each: codes are not negative then, and weights may be.
    const HALF_OFFSET: i32;
    /// The largest code of a weight. Where scales may be negative, weights are of either sign.
    const WEIGHTS: f32 = if Self::HALF_OFFSET == 0 { 255.0 } else { 127.0 };

    /// Those of a block.
    fn codes(block: &Self::Block) -> &Self::Codes;
    /// Each by itself.
    fn signed(codes: &Self::Codes) -> [i8; BLOCK];
    /// The scale that a block holds itself, if it does.
    fn scale(block: &Self::Block) -> Option<f16>;
    /// Channels `4 t .. 4 t + 4` of 16 rows in vector `t`, not negative: a row's four bytes in each lane.
    #[cfg(target_arch = "x86_64")]
    fn quads(products: Int8Products, keys: Keys<'_, Self::Block>) -> [__m512; BLOCK / 4];
    /// Channels `16 h .. 16 h + 16` of 16 rows, less than 128 each: row `4 t + i` is quarter `t` of vector `i`.
    #[cfg(target_arch = "x86_64")]
    fn half(products: Int8Products, rows: Keys<'_, Self::Block>, h: usize) -> [__m512; 4];
}

/// A block of each of 16 rows.
#[cfg(target_arch = "x86_64")]
type Keys<'a, B> = BlockLanes<'a, Avx512, B>;

/// `$signed` makes numbers of codes, `$quads` is the operation for them.
macro_rules! coded {
    ($type:ty, $Block:ty, $Codes:ty, $OFFSETS:expr, [$quads:ident, $half:ident],
     |$block:ident| $codes:expr, |$held:pat_param| $scale:expr, |$stored:ident| $signed:expr) => {
        impl Coded for $type {
            type Block = $Block;
            type Codes = $Codes;
            const OFFSET: i32 = $OFFSETS[0];
            const HALF_OFFSET: i32 = $OFFSETS[1];

            #[inline(always)]
            fn codes($block: &Self::Block) -> &Self::Codes {
                $codes
            }
            #[inline(always)]
            fn signed($stored: &Self::Codes) -> [i8; BLOCK] {
                $signed
            }
            #[inline(always)]
            fn scale($held: &Self::Block) -> Option<f16> {
                $scale
            }
            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            fn quads(products: Int8Products, keys: Keys<'_, Self::Block>) -> [__m512; BLOCK / 4] {
                let mut rows = [Self::codes(keys.at(0)); 16];
                for (lane, row) in rows.iter_mut().enumerate() {
                    *row = Self::codes(keys.at(lane));
                }
                products.$quads(&rows)
            }
            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            fn half(products: Int8Products, keys: Keys<'_, Self::Block>, h: usize) -> [__m512; 4] {
                let mut rows = [Self::codes(keys.at(0)); 16];
                for (lane, row) in rows.iter_mut().enumerate() {
                    *row = Self::codes(keys.at(lane));
                }
                products.$half(&rows, h)
            }
        }
    };
}

coded!(
    i8,
    [i8; BLOCK],
    [i8; BLOCK],
    [128, 0],
    [quads_of_bytes, half_of_bytes],
    |block| block,
    |_| None,
    |codes| *codes
);
coded!(
    Q8_0,
    Q8_0,
    [i8; BLOCK],
    [128, 0],
    [quads_of_bytes, half_of_bytes],
    |block| &block.codes,
    |block| Some(block.scale),
    |codes| *codes
);
coded!(
    Q4_0,
    Q4_0,
    [u8; BLOCK / 2],
    [8, 8],
    [quads_of_nibbles, half_of_nibbles],
    |block| &block.codes,
    |block| Some(block.scale),
    |codes| halves(codes)
);

#[inline(always)]
fn halves(codes: &[u8; BLOCK / 2]) -> [i8; BLOCK] {
    let mut signed = [0; BLOCK];
    let (low, high) = signed.split_at_mut(BLOCK / 2);
    for (code, (low, high)) in codes.iter().zip(low.iter_mut().zip(high)) {
        (*low, *high) = ((code & 15) as i8 - 8, (code >> 4) as i8 - 8);
    }
    signed
}
