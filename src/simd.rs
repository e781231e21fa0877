//! Lanes: the only home of instruction sets.
//!
//! An algorithm is written once over [`Simd`] and runs on every backend. A backend is a zero-sized
//! token; holding one proves that this processor has the instructions, which is what makes every
//! `unsafe` block in this module sound:
//!
//! | token | lanes | multiply-add | needs |
//! |---|---|---|---|
//! | [`Scalar`] | 1 | two roundings | nothing |
//! | [`Portable`] | 4 (8 where the build has AVX) | as [`wide`] was compiled | nothing |
//! | `Avx2` | 8 | one rounding | AVX2, FMA, F16C |
//! | `Avx512` | 16 | one rounding | AVX-512 F, BW, DQ, VL |
//!
//! # NaN, infinities and zeros
//! Arithmetic is IEEE 754 round to nearest with gradual underflow; floating-point modes are never
//! changed. Comparisons with NaN are false. Which NaN comes out is not promised, only that one does.

#![expect(unsafe_code, reason = "vector intrinsics; each token proves its instruction set")]

mod blocks;
mod codes;
#[cfg(target_arch = "x86_64")]
mod columns;
mod hints;
mod level;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod portable;
#[cfg(target_arch = "x86_64")]
mod quads;
#[cfg(target_arch = "x86_64")]
mod quads_avx2;
#[cfg(target_arch = "x86_64")]
mod quads_values;
mod rows;
mod scalar;
mod scaled;
mod squares;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::elem::{E4m3, E5m2, Loaded};
use half::{bf16, f16};

pub use blocks::Block;
pub(crate) use blocks::{DEEP, Patch};
pub use codes::StoredCodes;
pub(crate) use hints::{Hint, Hinting, Walk, prefetch, prefetch_row};
pub use level::Level;
pub(crate) use level::{has_avx_vnni, has_bf16_products, has_int8_products};
#[cfg(target_arch = "x86_64")]
pub use pairs::Bf16Products;
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use quads::Int8Products;
#[cfg(target_arch = "x86_64")]
pub use quads_avx2::AvxVnni;
pub(crate) use rows::{BlockLanes, CodedBlocks, Rows};
pub use scalar::Scalar;
pub(crate) use scaled::{RowScales, Unscaled};
pub(crate) use squares::{Strip, StripMut, load_columns, store_columns};
pub(crate) use steps::{Items, Steps};
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// 1.5 * 2^23: adding it to `|x| < 2^22` rounds `x` to an integer, which then sits in the low bits.
pub const ROUND: f32 = 12_582_912.0;

/// Lanes of the widest vector.
pub(crate) const MAX_LANES: usize = if cfg!(target_arch = "x86_64") { 16 } else { Portable::LANES };

/// Vectors of `f32` on one instruction set. The token `self` is the proof that it is there.
///
/// Methods are `#[inline(always)]`: they must melt into a caller that enables the instructions.
pub trait Simd: Copy + sealed::Sealed + 'static {
    /// The level this backend implements.
    const LEVEL: Level;
    /// Floats in a vector.
    const LANES: usize;
    /// `true` if [`Simd::mul_add`] rounds once. All fused backends agree bit for bit, and so do all
    /// unfused ones.
    const FUSED: bool;
    /// A vector: [`Simd::LANES`] floats, in memory order.
    type F32: Copy;
    /// One truth value a lane.
    type Mask: Copy;
    /// [`Simd::LANES`] vectors.
    type Square: Copy + AsRef<[Self::F32]> + AsMut<[Self::F32]>;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::F32;
    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once if [`Simd::FUSED`], otherwise after the product and after the sum.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `if a > b { a } else { b }`: `b` if either is NaN, and `b` of two zeros.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a < b`; false if either is NaN.
    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a == b`; false if either is NaN, true of zeros of either sign.
    fn eq(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `if mask { a } else { b }`, lane by lane: the lane not chosen has no influence.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Lane `n` is bit `n` of `bits`; higher bits are ignored.
    fn mask(self, bits: u64) -> Self::Mask;
    /// `x * 2^n` for `t = ROUND + n`, where `n` in `-126..=127` and the result is normal.
    /// NaN if `x` is NaN, whatever `t` is, unless that is infinite.
    fn scale_by_exponent(self, x: Self::F32, t: Self::F32) -> Self::F32;

    /// `a[0] b[0] a[1] b[1] ...`, in two vectors.
    fn zip(self, a: Self::F32, b: Self::F32) -> [Self::F32; 2];
    /// Lanes `2n` and `2n + 1` of two vectors side by side change places.
    fn swap_neighbours(self, x: [Self::F32; 2]) -> [Self::F32; 2];

    /// A square of zeros.
    fn square(self) -> Self::Square;
    /// Lane `i` of vector `j` becomes lane `j` of vector `i`.
    fn transpose(self, x: Self::Square) -> Self::Square;

    /// The first [`Simd::LANES`] numbers of `from`; zeros if there are not as many.
    fn load(self, from: &[f32]) -> Self::F32;
    /// As [`Simd::load`], widened exactly.
    fn load_f16(self, from: &[f16]) -> Self::F32;
    /// As [`Simd::load`], widened exactly.
    fn load_bf16(self, from: &[bf16]) -> Self::F32;
    /// As [`Simd::load`].
    #[inline(always)]
    fn load_i8(self, from: &[i8]) -> Self::F32 {
        each(self, from, f32::from)
    }
    /// As [`Simd::load`], in units of 256. NaN becomes a number.
    #[inline(always)]
    fn load_e4m3(self, from: &[E4m3]) -> Self::F32 {
        each(self, from, |code| code.to_f32() / E4m3::UNIT_OF_LANES)
    }
    /// As [`Simd::load`].
    #[inline(always)]
    fn load_e5m2(self, from: &[E5m2]) -> Self::F32 {
        each(self, from, E5m2::to_f32)
    }
    /// Writes the first [`Simd::LANES`] numbers of `to`; nothing if there are not as many.
    fn store(self, x: Self::F32, to: &mut [f32]);
    /// As [`Simd::store`], rounded to nearest even.
    fn store_f16(self, x: Self::F32, to: &mut [f16]);
    /// As [`Simd::store`], rounded to nearest even.
    fn store_bf16(self, x: Self::F32, to: &mut [bf16]);

    /// Channels of `LANES` rows: lane `i` of vector `c` is channel `c` of row `i`.
    #[inline(always)]
    fn columns(self, block: Block<'_, Self, f32>) -> [Self::F32; DEEP] {
        transposed(self, block)
    }
    /// As [`Simd::columns`], widened exactly.
    #[inline(always)]
    fn columns_f16(self, block: Block<'_, Self, f16>) -> [Self::F32; DEEP] {
        transposed(self, block)
    }
    /// As [`Simd::columns`], widened exactly.
    #[inline(always)]
    fn columns_bf16(self, block: Block<'_, Self, bf16>) -> [Self::F32; DEEP] {
        transposed(self, block)
    }

    /// As [`Simd::columns`].
    #[inline(always)]
    fn columns_i8(self, block: Block<'_, Self, i8>) -> [Self::F32; DEEP] {
        transposed(self, block)
    }
    /// As [`Simd::columns`], in units of 256. NaN becomes a number.
    #[inline(always)]
    fn columns_e4m3(self, block: Block<'_, Self, E4m3>) -> [Self::F32; DEEP] {
        transposed(self, block)
    }
    /// As [`Simd::columns`].
    #[inline(always)]
    fn columns_e5m2(self, block: Block<'_, Self, E5m2>) -> [Self::F32; DEEP] {
        transposed(self, block)
    }

    /// The longest run of whole aligned vectors inside `scratch`: at least
    /// `(scratch.len() + 1) / LANES - 1` of them.
    fn vectors_of(self, scratch: &mut [f32]) -> &mut [Self::F32];
    /// The floats of some vectors, in memory order.
    fn floats_of(self, vectors: &mut [Self::F32]) -> &mut [f32];
}

/// The first lanes of `from`, one by one; zeros if there are not as many.
#[inline(always)]
fn each<S: Simd, T: Copy>(simd: S, from: &[T], widen: impl Fn(T) -> f32) -> S::F32 {
    let mut x = [0.0; MAX_LANES];
    if let Some(from) = from.get(..S::LANES) {
        x.iter_mut().zip(from).for_each(|(x, code)| *x = widen(*code));
    }
    simd.load(&x)
}

/// [`Simd::columns`] for at most [`DEEP`] lanes: whole vectors of each row, transposed.
#[inline(always)]
fn transposed<S: Simd, T: Loaded>(simd: S, block: Block<'_, S, T>) -> [S::F32; DEEP] {
    const { assert!(DEEP.is_multiple_of(S::LANES), "a row of a block is whole vectors") };
    let mut columns = [simd.splat(0.0); DEEP];
    for (chunk, columns) in columns.chunks_mut(S::LANES).enumerate() {
        let mut square = simd.square();
        for (i, x) in square.as_mut().iter_mut().enumerate() {
            *x = T::load(simd, block.row(i).get(chunk * S::LANES..).unwrap_or(&[]));
        }
        let square = simd.transpose(square);
        columns.iter_mut().zip(square.as_ref()).for_each(|(to, x)| *to = *x);
    }
    columns
}

/// Only this crate implements [`Simd`]: its unsafe code relies on the layout of the vectors.
mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Scalar {}
    impl Sealed for super::Portable {}
    #[cfg(target_arch = "x86_64")]
    impl Sealed for super::Avx2 {}
    #[cfg(target_arch = "x86_64")]
    impl Sealed for super::Avx512 {}
}

/// `scratch` cut to whole aligned vectors. `V` is a vector of `f32` lanes.
#[inline(always)]
fn align_vectors<V>(scratch: &mut [f32]) -> &mut [V] {
    // SAFETY: every caller in this module passes a `V` made of `f32` lanes without padding, so any
    // aligned run of initialised floats is a valid run of `V`.
    let (_, vectors, _) = unsafe { scratch.align_to_mut::<V>() };
    vectors
}

/// The floats of vectors. `V` is a vector of `f32` lanes.
#[inline(always)]
fn flatten_vectors<V>(vectors: &mut [V]) -> &mut [f32] {
    let len = size_of_val(vectors) / size_of::<f32>();
    // SAFETY: every caller in this module passes a `V` made of `f32` lanes without padding, which
    // needs at least the alignment of `f32`, so the same bytes are `len` initialised floats.
    unsafe { core::slice::from_raw_parts_mut(vectors.as_mut_ptr().cast::<f32>(), len) }
}
