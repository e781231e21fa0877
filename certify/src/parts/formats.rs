//! Conversions, bit for bit: errors are counted in distances of the numbers about the right one, and none is allowed.

use crate::definition::Format;
use crate::part::{Got, Part, floats, ulps};
use flashlet::simd::Simd;
use flashlet::{E4m3, E5m2, Overflow};
use half::{bf16, f16};
use std::marker::PhantomData;
use std::ops::RangeInclusive;

/// Numbers of 8 or 16 bits.
pub(crate) trait Small: Got + Sync {
    const FORMAT: Format;
    /// The names of the parts: to it, from it over lanes, from it one by one.
    const NAMES: [&'static str; 3];
    const CODES: &'static [RangeInclusive<u32>];
    fn of_bits(bits: u32) -> Self;
    fn bits(self) -> u32;
    fn load<S: Simd>(simd: S, from: &[Self]) -> S::F32;
}

/// `$unit` is what a load is in units of.
macro_rules! small {
    ($type:ty, $bits:ty, $format:expr, $names:expr, $load:ident, $unit:expr) => {
        impl Small for $type {
            const FORMAT: Format = $format;
            const NAMES: [&'static str; 3] = $names;
            const CODES: &'static [RangeInclusive<u32>] = &[0..=<$bits>::MAX as u32];

            #[inline(always)]
            fn of_bits(bits: u32) -> Self {
                <$type>::from_bits(bits as $bits)
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                self.to_bits().into()
            }
            #[inline(always)]
            fn load<S: Simd>(simd: S, from: &[Self]) -> S::F32 {
                simd.mul(simd.$load(from), simd.splat($unit))
            }
        }
    };
}
small!(f16, u16, Format::F16, ["f32 to f16", "f16 to f32", ""], load_f16, 1.0);
small!(bf16, u16, Format::BF16, ["f32 to bf16", "bf16 to f32", ""], load_bf16, 1.0);
small!(E4m3, u8, Format::E4M3, ["f32 to e4m3", "e4m3 to lanes", "e4m3 to f32"], load_e4m3, 256.0);
small!(E5m2, u8, Format::E5M2, ["f32 to e5m2", "e5m2 to lanes", "e5m2 to f32"], load_e5m2, 1.0);

/// The distance of two numbers of a format. Zeros of unlike signs, and a number beside none, are infinitely far apart.
fn distance(format: Format, got: f64, right: f64) -> f64 {
    if got.is_nan() && right.is_nan() || got.to_bits() == right.to_bits() {
        return 0.0;
    }
    let is_number = got.is_finite() && right.is_finite() && got != right;
    if is_number { (got - right).abs() / format.distance(right) } else { f64::INFINITY }
}

/// f32 to 16 bits, rounded to nearest even, over lanes.
pub(crate) struct Narrow<T>(pub(crate) PhantomData<T>);

impl<T: Small + flashlet::Elem> Part for Narrow<T> {
    const NAME: &'static str = T::NAMES[0];
    const UNIT: &'static str = "numbers";
    const DOMAIN: &'static [RangeInclusive<u32>] = &[0..=u32::MAX];
    type Exact = f64;
    type Got = T;

    fn exact(input: u32) -> f64 {
        T::FORMAT.nearest(f32::from_bits(input), |_| f64::INFINITY)
    }
    #[inline(always)]
    fn compute<S: Simd>(simd: S, inputs: &[u32], got: &mut [T]) {
        for (x, got) in inputs.chunks_exact(S::LANES).zip(got.chunks_exact_mut(S::LANES)) {
            T::store(simd, floats(simd, x), got);
        }
    }
    fn error(_: u32, got: T, exact: f64) -> f64 {
        distance(T::FORMAT, T::FORMAT.value(got.bits()), exact)
    }
    fn limit(_: bool) -> f64 {
        0.0
    }
}

/// f32 to 8 bits, one by one: where it saturates, and where it does not.
pub(crate) struct Nearest<T>(pub(crate) PhantomData<T>);

/// A number of 8 bits.
pub(crate) trait Byte: Small {
    /// What comes beyond the largest number where that is told.
    const BEYOND: f64;
    fn nearest(x: f32, overflow: Overflow) -> Self;
    fn widened(self) -> f32;
}

impl Byte for E4m3 {
    const BEYOND: f64 = f64::NAN;
    #[inline(always)]
    fn nearest(x: f32, overflow: Overflow) -> Self {
        E4m3::nearest(x, overflow)
    }
    fn widened(self) -> f32 {
        self.to_f32()
    }
}

impl Byte for E5m2 {
    const BEYOND: f64 = f64::INFINITY;
    #[inline(always)]
    fn nearest(x: f32, overflow: Overflow) -> Self {
        E5m2::nearest(x, overflow)
    }
    fn widened(self) -> f32 {
        self.to_f32()
    }
}

impl<T: Byte> Part for Nearest<T> {
    const NAME: &'static str = T::NAMES[0];
    const UNIT: &'static str = "numbers";
    const DOMAIN: &'static [RangeInclusive<u32>] = &[0..=u32::MAX];
    const BY_LEVEL: bool = false;
    type Exact = [f64; 2];
    type Got = [T; 2];

    fn exact(input: u32) -> [f64; 2] {
        let x = f32::from_bits(input);
        [T::FORMAT.nearest(x, |largest| largest), T::FORMAT.nearest(x, |_| T::BEYOND)]
    }
    fn compute<S: Simd>(_: S, inputs: &[u32], got: &mut [[T; 2]]) {
        for (input, got) in inputs.iter().zip(got) {
            let x = f32::from_bits(*input);
            *got = [Overflow::Saturate, Overflow::Special].map(|overflow| T::nearest(x, overflow));
        }
    }
    fn error(_: u32, got: [T; 2], exact: [f64; 2]) -> f64 {
        let of = |n: usize| distance(T::FORMAT, T::FORMAT.value(got[n].bits()), exact[n]);
        of(0).max(of(1))
    }
    fn limit(_: bool) -> f64 {
        0.0
    }
}

/// To f32, over lanes.
pub(crate) struct Widen<T>(pub(crate) PhantomData<T>);

impl<T: Small> Part for Widen<T> {
    const NAME: &'static str = T::NAMES[1];
    const UNIT: &'static str = "ulp";
    const DOMAIN: &'static [RangeInclusive<u32>] = T::CODES;
    type Exact = f64;
    type Got = f32;

    fn exact(input: u32) -> f64 {
        T::FORMAT.value(input)
    }
    #[inline(always)]
    fn compute<S: Simd>(simd: S, inputs: &[u32], got: &mut [f32]) {
        let mut codes = [T::default(); 16];
        for (input, got) in inputs.chunks_exact(S::LANES).zip(got.chunks_exact_mut(S::LANES)) {
            codes.iter_mut().zip(input).for_each(|(code, input)| *code = T::of_bits(*input));
            simd.store(T::load(simd, &codes), got);
        }
    }
    fn error(_: u32, got: f32, exact: f64) -> f64 {
        // A load of e4m3 makes a number of NaN, and says so: its callers look for NaN first.
        if exact.is_nan() && T::NAMES[1] == E4m3::NAMES[1] { 0.0 } else { widened(got, exact) }
    }
    fn limit(_: bool) -> f64 {
        0.0
    }
}

/// To f32, one by one.
pub(crate) struct Decode<T>(pub(crate) PhantomData<T>);

impl<T: Byte> Part for Decode<T> {
    const NAME: &'static str = T::NAMES[2];
    const UNIT: &'static str = "ulp";
    const DOMAIN: &'static [RangeInclusive<u32>] = T::CODES;
    const BY_LEVEL: bool = false;
    type Exact = f64;
    type Got = f32;

    fn exact(input: u32) -> f64 {
        T::FORMAT.value(input)
    }
    fn compute<S: Simd>(_: S, inputs: &[u32], got: &mut [f32]) {
        for (input, got) in inputs.iter().zip(got) {
            *got = T::of_bits(*input).widened();
        }
    }
    fn error(_: u32, got: f32, exact: f64) -> f64 {
        widened(got, exact)
    }
    fn limit(_: bool) -> f64 {
        0.0
    }
}

/// Zeros keep their sign.
fn widened(got: f32, exact: f64) -> f64 {
    let has_sign = got.is_nan() || got.is_sign_negative() == exact.is_sign_negative();
    if has_sign { ulps(got, exact) } else { f64::INFINITY }
}
