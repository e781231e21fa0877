//! The function of `sinks.rs` for each level.

use super::per_level::PerLevel;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar};
use crate::sinks::join;

/// The functions of each level.
#[derive(Debug)]
pub(crate) struct SinkTable(PerLevel<Join>);

type Join = unsafe fn(&[f32], &mut [f32], &mut [f32], &mut [f32]);

impl SinkTable {
    pub(crate) const fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        let (avx2, avx512): (Join, Join) = (avx2, avx512);
        // Never available there, so never asked for.
        #[cfg(not(target_arch = "x86_64"))]
        let (avx2, avx512): (Join, Join) = (scalar, scalar);
        SinkTable(PerLevel::new([scalar, portable, avx2, avx512]))
    }

    /// [`join`] on a level that this processor has; on the scalar one otherwise.
    pub(crate) fn join(
        &self,
        level: Level,
        z: &[f32],
        (m, l, o): (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        // SAFETY: `PerLevel::at` asked whether the level is available; its features are all that the
        // function needs.
        unsafe { self.0.at(level)(z, m, l, o) }
    }
}

fn scalar(z: &[f32], m: &mut [f32], l: &mut [f32], o: &mut [f32]) {
    join(Scalar, z, m, l, o);
}

fn portable(z: &[f32], m: &mut [f32], l: &mut [f32], o: &mut [f32]) {
    join(Portable, z, m, l, o);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(z: &[f32], m: &mut [f32], l: &mut [f32], o: &mut [f32]) {
    join(Avx2::here(), z, m, l, o);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(z: &[f32], m: &mut [f32], l: &mut [f32], o: &mut [f32]) {
    join(Avx512::here(), z, m, l, o);
}
