//! The vectors of `wide`: NEON, WASM simd128, SSE2 or plain arrays, as the build has them.
//!
//! `wide` chooses its instructions when it is compiled, so this backend asks for the vector that
//! fits one register there: four lanes, or eight where AVX is compiled in.

use super::{Level, ROUND, Simd, align_vectors, flatten_vectors};
use half::{bf16, f16};
use wide::bytemuck::cast;

#[cfg(not(target_feature = "avx"))]
use wide::{f32x4 as Vector, u32x4 as Integers};
#[cfg(target_feature = "avx")]
use wide::{f32x8 as Vector, u32x8 as Integers};

/// Lanes over the crate `wide`, on every host.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Portable {
    /// Whether the build has vectors for `wide` to use.
    pub(crate) const HAS_VECTORS: bool = cfg!(any(
        target_feature = "sse2",
        target_feature = "simd128",
        all(target_arch = "aarch64", target_feature = "neon")
    ));

    /// Whether there is the level: on bare metal without vectors its code would only take room.
    pub(crate) const IS_BUILT: bool = Portable::HAS_VECTORS || cfg!(not(target_os = "none"));
}

#[cfg(target_feature = "avx")]
const BITS: Integers = Integers::new([1, 2, 4, 8, 16, 32, 64, 128]);
#[cfg(not(target_feature = "avx"))]
const BITS: Integers = Integers::new([1, 2, 4, 8]);

const LANES: usize = size_of::<Vector>() / size_of::<f32>();

impl Simd for Portable {
    const LEVEL: Level = Level::Portable;
    const LANES: usize = LANES;
    const FUSED: bool = cfg!(any(
        all(target_feature = "sse2", target_feature = "fma"),
        all(target_arch = "aarch64", target_feature = "neon")
    ));
    type F32 = Vector;
    type Mask = Vector;
    type Square = [Vector; LANES];

    #[inline(always)]
    fn splat(self, x: f32) -> Vector {
        Vector::splat(x)
    }
    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: Vector, b: Vector) -> Vector {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        a * b
    }
    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: Vector, b: Vector, c: Vector) -> Vector {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn max(self, a: Vector, b: Vector) -> Vector {
        // `fast_max` treats NaN differently on each host.
        a.simd_gt(b).select(a, b)
    }
    #[inline(always)]
    fn lt(self, a: Vector, b: Vector) -> Vector {
        a.simd_lt(b)
    }
    #[inline(always)]
    fn eq(self, a: Vector, b: Vector) -> Vector {
        a.simd_eq(b)
    }
    #[inline(always)]
    fn select(self, mask: Vector, a: Vector, b: Vector) -> Vector {
        mask.select(a, b)
    }
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "only the low LANES bits count")]
    fn mask(self, bits: u64) -> Vector {
        cast((Integers::splat(bits as u32) & BITS).simd_eq(BITS))
    }
    #[inline(always)]
    fn scale_by_exponent(self, x: Vector, t: Vector) -> Vector {
        const _: () = assert!(ROUND.to_bits() << 23 == 0);
        let bits: Integers = cast(t);
        let power: Vector = cast((bits << 23_u32) + Integers::splat(1.0_f32.to_bits()));
        x * power
    }
    #[inline(always)]
    fn zip(self, a: Vector, b: Vector) -> [Vector; 2] {
        let (a, b) = (a.to_array(), b.to_array());
        let mut both = [[0.0; LANES]; 2];
        for n in 0..LANES {
            both[2 * n / LANES][2 * n % LANES] = a[n];
            both[2 * n / LANES][2 * n % LANES + 1] = b[n];
        }
        both.map(Vector::new)
    }
    #[inline(always)]
    fn swap_neighbours(self, x: [Vector; 2]) -> [Vector; 2] {
        let mut swapped = x.map(Vector::to_array);
        for x in swapped.as_flattened_mut().as_chunks_mut::<2>().0 {
            x.swap(0, 1);
        }
        swapped.map(Vector::new)
    }
    #[inline(always)]
    fn square(self) -> [Vector; LANES] {
        [Vector::splat(0.0); LANES]
    }
    #[inline(always)]
    fn transpose(self, x: [Vector; LANES]) -> [Vector; LANES] {
        Vector::transpose(x)
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Vector {
        match from.first_chunk::<LANES>() {
            Some(from) => cast(*from),
            None => self.splat(0.0),
        }
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16]) -> Vector {
        match from.first_chunk::<LANES>() {
            Some(from) => widened(Integers::new(from.map(|x| u32::from(x.to_bits())))),
            None => self.splat(0.0),
        }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16]) -> Vector {
        match from.first_chunk::<LANES>() {
            Some(from) => cast(from.map(|x| u32::from(x.to_bits()) << 16)),
            None => self.splat(0.0),
        }
    }
    #[inline(always)]
    fn store(self, x: Vector, to: &mut [f32]) {
        if let Some(to) = to.first_chunk_mut::<LANES>() {
            *to = cast(x);
        }
    }
    #[inline(always)]
    fn store_f16(self, x: Vector, to: &mut [f16]) {
        if let Some(to) = to.first_chunk_mut::<LANES>() {
            *to = narrowed(x).to_array().map(|bits| f16::from_bits(bits as u16));
        }
    }
    #[inline(always)]
    fn store_bf16(self, x: Vector, to: &mut [bf16]) {
        if let Some(to) = to.first_chunk_mut::<LANES>() {
            *to = narrowed_bf16(x).to_array().map(|bits| bf16::from_bits(bits as u16));
        }
    }
    #[inline(always)]
    fn vectors_of(self, scratch: &mut [f32]) -> &mut [Vector] {
        align_vectors(scratch)
    }
    #[inline(always)]
    fn floats_of(self, vectors: &mut [Vector]) -> &mut [f32] {
        flatten_vectors(vectors)
    }
}

/// [`crate::elem::widen`], vectors of bits at a time: no compiler makes them of the loop on every host.
#[inline(always)]
fn widened(bits: Integers) -> Vector {
    const REBIAS: u32 = 112 << 23;
    const TWO_23: f32 = 8_388_608.0;
    let splat = Integers::splat;
    let (sign, exponent) = ((bits & splat(0x8000)) << 16_u32, bits & splat(0x7c00));
    let normal = ((bits & splat(0x7fff)) << 13_u32) + splat(REBIAS);
    let special = normal + splat(REBIAS);
    let fraction: Vector = cast((bits & splat(0x3ff)) | splat(TWO_23.to_bits()));
    let subnormal = (fraction - Vector::splat(TWO_23)) * Vector::splat(f32::from_bits(103 << 23));
    let is = |pattern: u32| -> Vector { cast(exponent.simd_eq(splat(pattern))) };
    let magnitude = is(0).select(cast(subnormal), is(0x7c00).select(special, normal));
    cast(magnitude | sign)
}

/// [`crate::elem::narrow`], vectors at a time.
#[inline(always)]
fn narrowed(x: Vector) -> Integers {
    const REBIAS: u32 = 112 << 23;
    const INFINITY: u32 = 0x7c00;
    let (bits, splat): (Integers, _) = (cast(x), Integers::splat);
    let sign = (bits >> 16_u32) & splat(0x8000);
    let magnitude = bits & splat(0x7fff_ffff);
    let half: Integers = cast(cast::<_, Vector>(magnitude) + Vector::splat(0.5));
    let subnormal = half - splat(0.5_f32.to_bits());
    let odd = (magnitude >> 13_u32) & splat(1);
    let normal = (magnitude - splat(REBIAS) + splat(0xfff) + odd) >> 13_u32;
    let quiet = splat(INFINITY | 0x200) | ((magnitude >> 13_u32) & splat(0x3ff));
    let size: Vector = cast(magnitude);
    let is_below = |limit: f32| size.simd_lt(Vector::splat(limit));
    // 2^-14, the smallest normal f16.
    let finite = is_below(6.103_515_6e-5).select(subnormal, normal);
    sign | x.simd_eq(x).select(is_below(65_536.0).select(finite, splat(INFINITY)), quiet)
}

/// [`crate::elem::narrow_bf16`], vectors at a time.
#[inline(always)]
fn narrowed_bf16(x: Vector) -> Integers {
    let (bits, splat): (Integers, _) = (cast(x), Integers::splat);
    let near = bits + splat(0x7fff) + ((bits >> 16_u32) & splat(1));
    x.simd_eq(x).select(near, bits | splat(0x40_0000)) >> 16_u32
}
