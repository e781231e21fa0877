//! Entries for a head size known when running, one pair a level: what there is without a generator.

use super::Entry;
use crate::entry::{Dynamic, Job, attend, decode};
#[cfg(target_arch = "x86_64")]
use crate::entry::{attend_integers, attend_pairs};
use crate::products::Precision;
#[cfg(target_arch = "x86_64")]
use crate::simd::{
    Avx2, Avx512, AvxVnni, Bf16Products, Int8Products, has_avx_vnni, has_int8_products,
};
use crate::simd::{Level, Portable, Scalar};
use crate::tiling::{Lanes, TILE_K, Tiling};
use const_format::concatcp;

/// A function and its name.
type Named = (&'static str, unsafe fn(Job<'_>));

/// The functions for many queries and for few, with the register tiles of [`Tiling`].
///
/// `$token` makes a `$backend` where `$features` are enabled, which are those of `$level`.
macro_rules! entries {
    ($name:ident, $backend:ty, $token:expr, $level:expr $(, $features:literal)?) => {
        fn $name() -> [Named; 2] {
            const LEVEL: &str = $level.name();
            $(#[target_feature(enable = $features)])?
            fn many(job: Job<'_>) {
                const T: Tiling = Tiling::attend($level, 1, 1);
                attend::<$backend, Dynamic, Dynamic, { T.vectors }, { T.scalars }, TILE_K>($token, job);
            }
            $(#[target_feature(enable = $features)])?
            fn few(job: Job<'_>) {
                const T: Tiling = Tiling::decode($level);
                match T.lanes {
                    Lanes::Keys => decode::<$backend, TILE_K>($token, job),
                    Lanes::Queries => {
                        attend::<$backend, Dynamic, Dynamic, { T.vectors }, { T.scalars }, TILE_K>(
                            $token, job,
                        );
                    }
                }
            }
            [
                (concatcp!("attend_f32_generic_k", TILE_K, "_", LEVEL), many),
                (concatcp!("decode_f32_generic_k", TILE_K, "_", LEVEL), few),
            ]
        }
    };
}

entries!(scalar, Scalar, Scalar, Level::Scalar);
entries!(portable, Portable, Portable, Level::Portable);
#[cfg(target_arch = "x86_64")]
entries!(avx2, Avx2, Avx2::here(), Level::Avx2, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
entries!(avx512, Avx512, Avx512::here(), Level::Avx512, "avx512f,avx512bw,avx512dq,avx512vl");

/// The generic function of a level that multiplies bf16 pairs, and its tiling for some widths.
#[cfg(target_arch = "x86_64")]
pub(super) fn pairs(level: Level) -> Option<Named> {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn many(job: Job<'_>) {
        const T: Tiling = Tiling::attend(Level::Avx512, 1, 1);
        let (simd, products) = (Avx512::here(), Bf16Products::here());
        attend_pairs::<_, _, Dynamic, Dynamic, { T.vectors }, { T.scalars }, TILE_K>(
            simd, products, job,
        );
    }
    let name = concatcp!("attend_bf16_generic_k", TILE_K, "_avx512");
    (level == Level::Avx512).then_some((name, many as unsafe fn(Job<'_>)))
}

/// None elsewhere.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn pairs(_: Level) -> Option<Named> {
    None
}

/// A function for many queries that scores the codes of a cache in integers.
// Inlined, and so linked only where a cache has such codes.
#[cfg(target_arch = "x86_64")]
macro_rules! integers {
    ($name:ident, $backend:ty, $bytes:ty, $level:expr, $features:literal) => {
        #[target_feature(enable = $features)]
        #[inline]
        fn $name(job: Job<'_>) {
            const T: Tiling = Tiling::attend($level, 1, 1);
            let (simd, bytes) = (<$backend>::here(), <$bytes>::here());
            attend_integers::<_, _, Dynamic, Dynamic, { T.vectors }, { T.scalars }, TILE_K>(
                simd, bytes, job,
            );
        }
    };
}
#[cfg(target_arch = "x86_64")]
integers!(integers_avx2, Avx2, AvxVnni, Level::Avx2, "avx2,fma,f16c,avxvnni");
#[cfg(target_arch = "x86_64")]
integers!(
    integers_avx512,
    Avx512,
    Int8Products,
    Level::Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
);

/// An entry of it in place of another one, if its level has one and the processor sums products of bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn integers(entry: Entry) -> Option<Entry> {
    let (name, call): Named = match entry.level {
        Level::Avx2 if has_avx_vnni() => {
            (concatcp!("attend_int8_generic_k", TILE_K, "_avx2"), integers_avx2)
        }
        Level::Avx512 if has_int8_products() => {
            (concatcp!("attend_int8_generic_k", TILE_K, "_avx512"), integers_avx512)
        }
        _ => return None,
    };
    let Tiling { vectors, scalars, .. } = Tiling::attend(entry.level, 1, 1);
    let tiling = Tiling { vectors, scalars, ..entry.tiling };
    let fits = entry.tile_k == TILE_K && tiling.is_sound(entry.level);
    let (precision, is_plain) = (Precision::Int8Products, false);
    fits.then_some(Entry { name, dims: None, tiling, precision, is_plain, call, ..entry })
}

/// None elsewhere.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn integers(_: Entry) -> Option<Entry> {
    None
}

/// The generic functions of a level, for many queries and for few.
pub(super) fn entries(level: Level) -> [Named; 2] {
    match level {
        Level::Scalar => scalar(),
        Level::Portable if Portable::IS_BUILT => portable(),
        Level::Portable => scalar(),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2(),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512(),
        // Never available there, so a plan refuses it.
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::Avx512 => scalar(),
    }
}
