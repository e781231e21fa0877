//! Rows of a cache's format as f32, for each level.

use super::per_level::Available;
use crate::elem::{Affine, Format, decode};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Rows, Scalar, Walk};

/// [`decode`] on a level; on the scalar one if this processor lacks it. A format is linked only where a cache of it was made.
pub(crate) fn widen<F: Format>(
    level: Level,
    rows: Rows<'_, F>,
    affine: Option<Affine<'_>>,
    walk: &mut Walk,
    to: &mut [f32],
    width: usize,
) {
    match Available::new(level).map(Available::level) {
        Some(Level::Portable) => decode(Portable, rows, affine, walk, to, width),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level is available; its features are all that the function needs.
        Some(Level::Avx2) => unsafe { avx2(rows, affine, walk, to, width) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Some(Level::Avx512) => unsafe { avx512(rows, affine, walk, to, width) },
        _ => decode(Scalar, rows, affine, walk, to, width),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<F: Format>(
    rows: Rows<'_, F>,
    affine: Option<Affine<'_>>,
    walk: &mut Walk,
    to: &mut [f32],
    width: usize,
) {
    decode(Avx2::here(), rows, affine, walk, to, width);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<F: Format>(
    rows: Rows<'_, F>,
    affine: Option<Affine<'_>>,
    walk: &mut Walk,
    to: &mut [f32],
    width: usize,
) {
    decode(Avx512::here(), rows, affine, walk, to, width);
}
