//! Work on whatever lanes a level has.

use super::per_level::Available;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar, Simd};

/// Something to do on the lanes of a level. It is linked only where somebody does it.
pub(crate) trait Task {
    /// What comes of it.
    type Output;
    /// Does it: inlined into a function that enables the instructions of `S`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Does it on a level; on the scalar one if this processor lacks it.
pub(crate) fn run_on<T: Task>(level: Level, task: T) -> T::Output {
    match Available::new(level).map(Available::level) {
        Some(Level::Portable) if Portable::IS_BUILT => task.run(Portable),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level is available; its features are all that the function needs.
        Some(Level::Avx2) => unsafe { avx2(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Some(Level::Avx512) => unsafe { avx512(task) },
        _ => task.run(Scalar),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<T: Task>(task: T) -> T::Output {
    task.run(Avx2::here())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<T: Task>(task: T) -> T::Output {
    task.run(Avx512::here())
}
