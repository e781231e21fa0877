//! Formats whose products can be made of integers: codes of 8 bits or less, and one scale for 32 channels or for a row.

use super::blocks::{BLOCK, Q4_0, Q8_0};
use super::format::Format;
use crate::simd::StoredCodes;
use half::f16;

/// A format of codes.
pub trait Coded: Format {
    /// 32 channels: so many of it, side by side.
    type Block: Copy + 'static;
    /// The codes of them.
    type Codes: StoredCodes;
    /// The largest code of a weight. Where scales may be negative, weights are of either sign.
    const WEIGHTS: f32 = if Self::Codes::HALF_OFFSET == 0 { 255.0 } else { 127.0 };

    /// Those of a block.
    fn codes(block: &Self::Block) -> &Self::Codes;
    /// The scale that a block holds itself, if it does.
    fn scale(block: &Self::Block) -> Option<f16>;
}

impl Coded for i8 {
    type Block = [i8; BLOCK];
    type Codes = [i8; BLOCK];

    #[inline(always)]
    fn codes(block: &Self::Block) -> &Self::Codes {
        block
    }
    #[inline(always)]
    fn scale(_: &Self::Block) -> Option<f16> {
        None
    }
}

impl Coded for Q8_0 {
    type Block = Q8_0;
    type Codes = [i8; BLOCK];

    #[inline(always)]
    fn codes(block: &Self::Block) -> &Self::Codes {
        &block.codes
    }
    #[inline(always)]
    fn scale(block: &Self::Block) -> Option<f16> {
        Some(block.scale)
    }
}

impl Coded for Q4_0 {
    type Block = Q4_0;
    type Codes = [u8; BLOCK / 2];

    #[inline(always)]
    fn codes(block: &Self::Block) -> &Self::Codes {
        &block.codes
    }
    #[inline(always)]
    fn scale(block: &Self::Block) -> Option<f16> {
        Some(block.scale)
    }
}
