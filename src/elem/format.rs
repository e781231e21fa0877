//! Formats that a cache of keys and values may have: elements, 8-bit numbers, codes with scales, blocks.

use super::blocks::{BLOCK, Q4_0, Q8_0, away};
use super::{E4m3, E5m2, Elem, Overflow, narrow, narrow_bf16, widen};
use crate::dispatch::{IntegerTable, LaneTable};
use crate::moves::{get, put};
use crate::simd::{Rows, Simd, StoredCodes, Walk};
use crate::view::{AnyView, Strides, View};
use core::fmt::Debug;
use half::{bf16, f16};

/// How a cache keeps numbers: `f32`, `half::f16`, `half::bf16`, [`E4m3`], [`E5m2`], `i8`, [`Q8_0`] or [`Q4_0`].
///
/// ```text
///                 bytes a number   relative to                                    error at most, relative to that
/// f16, bf16       2                the number                                     2^-11, 2^-8
/// e4m3, e5m2      1                the number (2^-10, 2^-17 at least)             2^-4, 2^-3
/// i8              1                the largest of a token, or what scales say     1 / 254
/// q8_0            1 + 1/16         the largest of 32 channels                     1 / 254 + 2^-11
/// q4_0            1/2 + 1/16       the largest of 32 channels                     1 / 8 + 2^-11
/// ```
pub trait Format: Copy + Default + Debug + Send + Sync + sealed::Sealed + 'static {
    /// Numbers in one of these.
    const CHANNELS: usize;
    /// The largest code, where numbers may be codes times a scale.
    const MOST: Option<f32>;
    /// Whether a code may be NaN.
    const HAS_NAN: bool;
    /// Products of its codes in f32, if lanes can be loaded with them.
    #[doc(hidden)]
    const LANES: Option<LaneTable<Self>> = None;
    /// Products of its codes, if it is made of integers.
    #[doc(hidden)]
    const INTEGERS: Option<IntegerTable<Self>> = None;

    /// Rounds numbers, each already divided by its scale. Zero points, of all numbers or of each, are for `i8` alone.
    fn encode(x: &[f32], zeros: &[i8], overflow: Overflow, to: &mut [Self]);
    /// The first numbers.
    fn decode<S: Simd>(simd: S, from: &[Self], to: &mut [f32]);
    /// Whether lanes that are loaded with any code hold what [`Format::decode`] says.
    #[doc(hidden)]
    const LOADS: bool = true;
    /// Whether lanes that are loaded with these hold what [`Format::decode`] says.
    #[doc(hidden)]
    #[inline(always)]
    fn loads(codes: &[Self]) -> bool {
        let _ = codes;
        true
    }
    /// Makes a tensor of them, if they are elements of tensors.
    #[doc(hidden)]
    const VIEW: Option<AsView<Self>> = None;
}

mod sealed {
    pub trait Sealed {}
}

/// A constant rather than a method, so that what a view links is linked only where a cache of the format was made.
pub(crate) type AsView<T> = for<'v> fn(&'v [T], [usize; 4], Strides) -> Option<AnyView<'v>>;

fn view<T: Elem>(memory: &[T], dims: [usize; 4], strides: Strides) -> Option<AnyView<'_>> {
    View::strided(memory, dims, strides).map(AnyView::from).ok()
}

macro_rules! elements {
    ($($type:ty, $narrow:expr;)*) => { $(
        impl sealed::Sealed for $type {}
        impl Format for $type {
            const CHANNELS: usize = 1;
            const MOST: Option<f32> = None;
            const HAS_NAN: bool = true;
            const VIEW: Option<AsView<Self>> = Some(view);

            #[inline]
            fn encode(x: &[f32], _: &[i8], _: Overflow, to: &mut [Self]) {
                x.iter().zip(to).for_each(|(x, to)| *to = $narrow(*x));
            }
            #[inline(always)]
            fn decode<S: Simd>(simd: S, from: &[Self], to: &mut [f32]) {
                for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
                    put(simd, get::<S, $type>(simd, from), to);
                }
            }
        }
    )* };
}
elements! {
    f32, |x| x;
    f16, narrow;
    bf16, narrow_bf16;
}

/// Codes of one number each.
macro_rules! codes {
    ($($type:ident, $has_nan:expr, $most:expr, $decode:expr, $all_load:expr, $loads:expr, $integers:expr;)*) => { $(
        impl sealed::Sealed for $type {}
        impl Format for $type {
            const CHANNELS: usize = 1;
            const MOST: Option<f32> = Some($most);
            const HAS_NAN: bool = $has_nan;
            const LANES: Option<LaneTable<Self>> = Some(LaneTable::new());
            const INTEGERS: Option<IntegerTable<Self>> = $integers;

            const LOADS: bool = $all_load;
            #[inline(always)]
            fn loads(codes: &[Self]) -> bool {
                let loads: fn(Self) -> bool = $loads;
                codes.iter().all(|code| loads(*code))
            }
            #[inline]
            fn encode(x: &[f32], zeros: &[i8], overflow: Overflow, to: &mut [Self]) {
                let behind = zeros.last().copied().unwrap_or(0);
                let zeros = zeros.iter().copied().chain(core::iter::repeat(behind));
                for (to, (x, zero)) in to.iter_mut().zip(x.iter().zip(zeros)) {
                    *to = $type::code(*x, zero, overflow);
                }
            }
            #[inline(always)]
            fn decode<S: Simd>(_: S, from: &[Self], to: &mut [f32]) {
                for (code, to) in from.iter().zip(to) {
                    *to = $decode(*code);
                }
            }
        }
    )* };
}
codes! {
    E4m3, true, E4m3::MAX, E4m3::to_f32, false, |code| code.to_bits() & 0x7f != 0x7f, None;
    E5m2, true, E5m2::MAX, E5m2::to_f32, true, |_| true, None;
    i8, false, 127.0, f32::from, true, |_| true, IntegerTable::for_lanes();
}

/// The nearest code.
trait Code {
    fn code(x: f32, zero: i8, overflow: Overflow) -> Self;
}

impl Code for E4m3 {
    fn code(x: f32, _: i8, overflow: Overflow) -> Self {
        E4m3::nearest(x, overflow)
    }
}

impl Code for E5m2 {
    fn code(x: f32, _: i8, overflow: Overflow) -> Self {
        E5m2::nearest(x, overflow)
    }
}

/// Saturates: a cast does.
impl Code for i8 {
    fn code(x: f32, zero: i8, _: Overflow) -> Self {
        (away(x) + f32::from(zero)) as i8
    }
}

/// Blocks that hold their scale.
macro_rules! blocks {
    ($($type:ty),*) => { $(
        impl sealed::Sealed for $type {}
        impl Format for $type {
            const CHANNELS: usize = BLOCK;
            const MOST: Option<f32> = None;
            const HAS_NAN: bool = true;
            const INTEGERS: Option<IntegerTable<Self>> = IntegerTable::for_lanes();

            #[inline]
            fn encode(x: &[f32], _: &[i8], _: Overflow, to: &mut [Self]) {
                x.chunks(BLOCK).zip(to).for_each(|(x, to)| *to = Self::encode(x));
            }
            #[inline(always)]
            fn decode<S: Simd>(simd: S, from: &[Self], to: &mut [f32]) {
                let (whole, rest) = to.as_chunks_mut::<BLOCK>();
                let behind = from.get(whole.len()..).and_then(|blocks| blocks.first());
                // Lanes by hand: of these loops the compiler would make vectors across blocks, and scatter them.
                for (to, block) in whole.iter_mut().zip(from) {
                    let (d, codes) = (simd.splat(widen(block.scale)), block.codes.signed());
                    for (to, codes) in to.chunks_mut(S::LANES).zip(codes.chunks(S::LANES)) {
                        put(simd, simd.mul(d, simd.load_i8(codes)), to);
                    }
                }
                if let (Some(block), false) = (behind, rest.is_empty()) {
                    rest.iter_mut().zip(block.decode()).for_each(|(to, x)| *to = x);
                }
            }
        }
    )* };
}
blocks!(Q8_0, Q4_0);

/// What codes of some rows are multiplied by, after their zero points: one of each a row, or one a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine<'a> {
    pub(crate) scales: Rows<'a>,
    pub(crate) zeros: Option<Rows<'a, i8>>,
}

/// Numbers of rows: `to[j * width + c]`, zeros behind the last. Meanwhile as many lines come nearer as `walk` goes over.
#[inline(always)]
pub(crate) fn decode<S: Simd, F: Format>(
    simd: S,
    rows: Rows<'_, F>,
    affine: Option<Affine<'_>>,
    walk: &mut Walk,
    to: &mut [f32],
    width: usize,
) {
    let channels = rows.width() * F::CHANNELS;
    for (j, to) in to.chunks_mut(width.max(1)).enumerate().take(rows.len()) {
        let (to, behind) = to.split_at_mut(channels.min(to.len()));
        F::decode(simd, rows.row(j), to);
        if walk.moves() {
            walk.fetch(rows.width() * size_of::<F>());
        }
        behind.fill(0.0);
        if let Some(Affine { scales, zeros }) = affine {
            scale(simd, to, scales.row(j), zeros.map_or(&[], |zeros| zeros.row(j)));
        }
    }
}

/// `(x - zero) * scale`: the difference of two codes is exact.
#[inline(always)]
fn scale<S: Simd>(simd: S, x: &mut [f32], scales: &[f32], zeros: &[i8]) {
    if let &[scale] = scales {
        let zero = simd.splat(zeros.first().map_or(0.0, |zero| f32::from(*zero)));
        for x in x.chunks_mut(S::LANES) {
            let code = simd.sub(get::<S, f32>(simd, x), zero);
            put(simd, simd.mul(code, simd.splat(scale)), x);
        }
        return;
    }
    for (x, zero) in x.iter_mut().zip(zeros) {
        *x -= f32::from(*zero);
    }
    for (x, scale) in x.iter_mut().zip(scales) {
        *x *= scale;
    }
}
