//! How numbers are stored: f32, f16 or bf16. Arithmetic is always f32.
//!
//! A kernel never sees a stored number. Rows of them are moved into its scratch (`moves.rs`), widened
//! exactly on the way; an output is rounded once, to nearest even.

use crate::dispatch::{MoveTable, ROPES_BF16, ROPES_F16, ROPES_F32, RopeTable};
use crate::simd::{Block, DEEP, Simd};
use crate::view::{AnyView, AnyViewMut, Stored, StoredMut, View, ViewMut};
use half::{bf16, f16};

/// A type that tensors are stored in: `f32`, `half::f16` or `half::bf16`.
pub trait Elem: Copy + Default + Sealed + 'static {
    /// The first lanes of `from` as f32; zeros if there are not as many.
    fn load<S: Simd>(simd: S, from: &[Self]) -> S::F32;
    /// Writes the first lanes of `to`, rounded to nearest even; nothing if there are not as many.
    fn store<S: Simd>(simd: S, x: S::F32, to: &mut [Self]);
    /// Channels of as many rows as a vector has lanes, as f32: lane `i` of vector `c` is channel `c` of
    /// row `i`.
    fn columns<S: Simd>(simd: S, block: Block<'_, S, Self>) -> [S::F32; DEEP];
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
        impl Elem for $type {
            #[inline(always)]
            fn load<S: Simd>(simd: S, from: &[Self]) -> S::F32 {
                simd.$load(from)
            }
            #[inline(always)]
            fn store<S: Simd>(simd: S, x: S::F32, to: &mut [Self]) {
                simd.$store(x, to);
            }
            #[inline(always)]
            fn columns<S: Simd>(simd: S, block: Block<'_, S, Self>) -> [S::F32; DEEP] {
                simd.$columns(block)
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

#[cfg(test)]
mod tests {
    use super::widen;
    use half::f16;

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
