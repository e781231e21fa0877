//! How numbers are stored: f32, f16 or bf16. Arithmetic is always f32.
//!
//! A kernel never sees a stored number. Rows of them are moved into its scratch (`moves.rs`), widened
//! exactly on the way; an output is rounded once, to nearest even.

mod blocks;
mod coded;
mod format;
mod fp8;

pub use blocks::{BLOCK, Q4_0, Q8_0};
pub(crate) use blocks::{away, largest, scale_of};
pub(crate) use coded::Coded;
pub use format::Format;
pub(crate) use format::{Affine, decode};
pub use fp8::{E4m3, E5m2, Overflow};

use crate::dispatch::{MoveTable, ROPES_BF16, ROPES_F16, ROPES_F32, RopeTable};
use crate::simd::{Block, DEEP, Simd};
use crate::view::{AnyView, AnyViewMut, Stored, StoredMut, View, ViewMut};
use half::{bf16, f16};

/// Numbers that lanes are loaded with, widened on their way into a register.
pub trait Loaded: Copy + Default + 'static {
    /// What lanes are to be multiplied by, a power of two: the unit that instructions leave them in.
    const UNIT: f32 = 1.0;

    /// The first lanes of `from` as f32, in units of [`Loaded::UNIT`]; zeros if there are not as many.
    fn load<S: Simd>(simd: S, from: &[Self]) -> S::F32;
    /// Channels of as many rows as a vector has lanes, as f32: lane `i` of vector `c` is channel `c` of
    /// row `i`.
    fn columns<S: Simd>(simd: S, block: Block<'_, S, Self>) -> [S::F32; DEEP];
}

/// A type that tensors are stored in: `f32`, `half::f16` or `half::bf16`.
pub trait Elem: Loaded + Sealed {
    /// Writes the first lanes of `to`, rounded to nearest even; nothing if there are not as many.
    fn store<S: Simd>(simd: S, x: S::F32, to: &mut [Self]);
    /// The nearest bf16.
    fn to_bf16(self) -> bf16;
}

mod sealed {
    use super::*;

    /// What only this crate may know of an element.
    pub trait Sealed: Sized + 'static {
        /// The functions that move rows of it, for each level.
        const MOVES: &'static MoveTable<Self>;
        /// The functions that turn heads of it, for each level.
        const ROPES: &'static RopeTable<Self>;
        /// A view whose type says nothing of it.
        fn any(view: View<'_, Self>) -> AnyView<'_>;
        /// A view whose type says nothing of it.
        fn any_mut(view: ViewMut<'_, Self>) -> AnyViewMut<'_>;
    }
}
pub(crate) use sealed::Sealed;

/// `$load`, `$store` and `$columns` are the operations of `Simd` for `$type`, `$Variant` that of the views.
macro_rules! elem {
    ($type:ty, $Variant:ident, $ROPES:ident, $load:ident, $store:ident, $columns:ident, |$x:ident| $bf16:expr) => {
        impl Loaded for $type {
            #[inline(always)]
            fn load<S: Simd>(simd: S, from: &[Self]) -> S::F32 {
                simd.$load(from)
            }
            #[inline(always)]
            fn columns<S: Simd>(simd: S, block: Block<'_, S, Self>) -> [S::F32; DEEP] {
                simd.$columns(block)
            }
        }
        impl Elem for $type {
            #[inline(always)]
            fn store<S: Simd>(simd: S, x: S::F32, to: &mut [Self]) {
                simd.$store(x, to);
            }
            #[inline(always)]
            fn to_bf16(self) -> bf16 {
                let $x: Self = self;
                $bf16
            }
        }
        impl Sealed for $type {
            const MOVES: &'static MoveTable<Self> = &MoveTable::new();
            const ROPES: &'static RopeTable<Self> = &RopeTable::new($ROPES);
            fn any(view: View<'_, Self>) -> AnyView<'_> {
                AnyView(Stored::$Variant(view, Self::MOVES))
            }
            fn any_mut(view: ViewMut<'_, Self>) -> AnyViewMut<'_> {
                AnyViewMut(StoredMut::$Variant(view, Self::MOVES))
            }
        }
    };
}

/// Codes of a byte: no tensors.
macro_rules! bytes {
    ($($type:ty, $unit:expr, $load:ident, $columns:ident;)*) => { $(
        impl Loaded for $type {
            const UNIT: f32 = $unit;
            #[inline(always)]
            fn load<S: Simd>(simd: S, from: &[Self]) -> S::F32 {
                simd.$load(from)
            }
            #[inline(always)]
            fn columns<S: Simd>(simd: S, block: Block<'_, S, Self>) -> [S::F32; DEEP] {
                simd.$columns(block)
            }
        }
    )* };
}

bytes! {
    i8, 1.0, load_i8, columns_i8;
    E4m3, E4m3::UNIT_OF_LANES, load_e4m3, columns_e4m3;
    E5m2, 1.0, load_e5m2, columns_e5m2;
}

elem!(f32, F32, ROPES_F32, load, store, columns, |x| bf16::from_f32(x));
elem!(f16, F16, ROPES_F16, load_f16, store_f16, columns_f16, |x| bf16::from_f32(widen(x)));
elem!(bf16, Bf16, ROPES_BF16, load_bf16, store_bf16, columns_bf16, |x| x);

/// The same number in f32, without branches, so that a loop over it becomes vectors.
///
/// Normal numbers have their exponent moved by 127 - 15 = 112, infinities and NaNs twice that; a
/// subnormal is its fraction in units of 2^-24, made from normal numbers alone, so that hosts which
/// flush subnormals to zero agree.
#[inline(always)]
pub(crate) fn widen(x: f16) -> f32 {
    const REBIAS: u32 = 112 << 23;
    const TWO_23: u32 = 0x4b00_0000;
    let bits = u32::from(x.to_bits());
    let (sign, exponent) = ((bits & 0x8000) << 16, bits & 0x7c00);
    let normal = ((bits & 0x7fff) << 13) + REBIAS;
    let special = normal + REBIAS;
    let fraction = f32::from_bits(TWO_23 | (bits & 0x3ff)) - f32::from_bits(TWO_23);
    let subnormal = (fraction * f32::from_bits((127 - 24) << 23)).to_bits();
    let magnitude = match exponent {
        0 => subnormal,
        0x7c00 => special,
        _ => normal,
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest f16, ties to even, without branches, so that a loop over it becomes vectors.
///
/// A result below 2^-14 is a multiple of 2^-24, the distance of the numbers from 1/2 on in f32: adding 1/2 rounds to
/// it. Other magnitudes are rounded at their 13 last bits, and may carry over into infinity.
#[inline(always)]
pub(crate) fn narrow(x: f32) -> f16 {
    const REBIAS: u32 = 112 << 23;
    const INFINITY: u32 = 0x7c00;
    let (sign, magnitude) = (x.to_bits() >> 16 & 0x8000, x.to_bits() & 0x7fff_ffff);
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
    let normal = magnitude.wrapping_sub(REBIAS).wrapping_add(0xfff + (magnitude >> 13 & 1)) >> 13;
    let quiet = INFINITY | 0x200 | magnitude >> 13 & 0x3ff;
    let finite = if magnitude < REBIAS + (1 << 23) { subnormal } else { normal.min(INFINITY) };
    let bits = sign | if magnitude > 0x7f80_0000 { quiet } else { finite };
    f16::from_bits(bits as u16)
}

/// The nearest bf16, ties to even, without branches. A NaN gets the top bit of its fraction, or it might become an infinity.
#[inline(always)]
pub(crate) fn narrow_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let near = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    bf16::from_bits((if is_nan { bits | 0x40_0000 } else { near } >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::{narrow, narrow_bf16, widen};
    use half::{bf16, f16};

    #[test]
    fn narrowing_rounds_as_the_crate_half_does() {
        // All exponents and signs, the borders of each rounding, and a stride through everything.
        let borders = (0..=u16::MAX).flat_map(|high| {
            let high = u32::from(high) << 16;
            [0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff]
                .map(|low| high | low)
        });
        for bits in borders.chain((0..=u32::MAX).step_by(4099)) {
            let x = f32::from_bits(bits);
            let (ours, theirs) = (narrow(x), f16::from_f32(x));
            assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:08x}: {ours} {theirs}");
            let (ours, theirs) = (narrow_bf16(x), bf16::from_f32(x));
            assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:08x}: {ours} {theirs}");
        }
    }

    #[test]
    fn every_f16_widens_exactly() {
        for bits in 0..=u16::MAX {
            let x = f16::from_bits(bits);
            let (ours, theirs) = (widen(x), x.to_f32());
            assert!(
                ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(),
                "{bits:04x}: {ours} {theirs}"
            );
        }
    }
}
