//! Work written once over [`Simd`], run on a level that is chosen by value.

use flashlet::Level;
use flashlet::simd::{Portable, Scalar, Simd};

/// A loop over vectors of any level. `run` must be `#[inline(always)]`, and so must all that it calls
/// with vectors: only inside a function that enables a level's instructions do they become those.
pub trait Work {
    /// What it comes to.
    type Output;
    /// Does it.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `work` with the instructions of `level`; `None` where this processor lacks them.
pub fn on<W: Work>(level: Level, work: W) -> Option<W::Output> {
    match level {
        Level::Scalar => Some(work.run(Scalar)),
        Level::Portable => Some(work.run(Portable)),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::avx2(work),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => x86::avx512(work),
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::Avx512 => None,
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Work;
    use flashlet::simd::{Avx2, Avx512};

    pub(super) fn avx2<W: Work>(work: W) -> Option<W::Output> {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn enabled<W: Work>(simd: Avx2, work: W) -> W::Output {
            work.run(simd)
        }
        // SAFETY: the token proves the features that `enabled` enables.
        Avx2::detect().map(|simd| unsafe { enabled(simd, work) })
    }

    pub(super) fn avx512<W: Work>(work: W) -> Option<W::Output> {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn enabled<W: Work>(simd: Avx512, work: W) -> W::Output {
            work.run(simd)
        }
        // SAFETY: the token proves the features that `enabled` enables.
        Avx512::detect().map(|simd| unsafe { enabled(simd, work) })
    }
}
