// Written by `cargo kernels`: do not edit.
//! Entries for the head sizes of the manifest, one file a level. Each names a combination and
//! nothing more: without them every size takes the generic path, slower, with the same bits.

use crate::dispatch::Rotate;
use crate::position::Pairing;
use crate::simd::Level;
use half::{bf16, f16};

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;
pub(crate) mod scalar;

/// Channels and pairing of the rotary positions that have functions of their own.
pub(crate) const ROPE_LINES: &[(usize, Pairing)] = &[
    (32, Pairing::Halves),
    (64, Pairing::Halves),
    (96, Pairing::Halves),
    (128, Pairing::Halves),
    (256, Pairing::Halves),
    (64, Pairing::Interleaved),
    (128, Pairing::Interleaved),
];

/// Functions for rotary positions of f32 on each level.
pub(crate) const ROPES_F32: [&[Rotate<f32>]; Level::ALL.len()] = [
    scalar::ROPES_F32,
    portable::ROPES_F32,
    #[cfg(target_arch = "x86_64")]
    avx2::ROPES_F32,
    #[cfg(target_arch = "x86_64")]
    avx512::ROPES_F32,
    #[cfg(not(target_arch = "x86_64"))]
    &[],
    #[cfg(not(target_arch = "x86_64"))]
    &[],
];

/// Functions for rotary positions of f16 on each level.
pub(crate) const ROPES_F16: [&[Rotate<f16>]; Level::ALL.len()] = [
    scalar::ROPES_F16,
    portable::ROPES_F16,
    #[cfg(target_arch = "x86_64")]
    avx2::ROPES_F16,
    #[cfg(target_arch = "x86_64")]
    avx512::ROPES_F16,
    #[cfg(not(target_arch = "x86_64"))]
    &[],
    #[cfg(not(target_arch = "x86_64"))]
    &[],
];

/// Functions for rotary positions of bf16 on each level.
pub(crate) const ROPES_BF16: [&[Rotate<bf16>]; Level::ALL.len()] = [
    scalar::ROPES_BF16,
    portable::ROPES_BF16,
    #[cfg(target_arch = "x86_64")]
    avx2::ROPES_BF16,
    #[cfg(target_arch = "x86_64")]
    avx512::ROPES_BF16,
    #[cfg(not(target_arch = "x86_64"))]
    &[],
    #[cfg(not(target_arch = "x86_64"))]
    &[],
];
