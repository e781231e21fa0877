//! A feature map compiled for each level, behind one pointer.

use super::per_level::Available;
use crate::linear::{FeatureMap, apply};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar};

/// What a plan may hold of a feature map: a [`FeatureMap`] whose lanes were chosen.
pub(crate) trait AnyFeatures: Sync {
    /// Maps a row on a level.
    fn apply(&self, level: Available, row: &mut [f32]);
}

impl<M: FeatureMap> AnyFeatures for M {
    fn apply(&self, level: Available, row: &mut [f32]) {
        match level.level() {
            Level::Portable => apply(Portable, self, row),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level is available; its features are all that the function needs.
            Level::Avx2 => unsafe { avx2(self, row) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { avx512(self, row) },
            _ => apply(Scalar, self, row),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<M: FeatureMap>(map: &M, row: &mut [f32]) {
    apply(Avx2::here(), map, row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<M: FeatureMap>(map: &M, row: &mut [f32]) {
    apply(Avx512::here(), map, row);
}
