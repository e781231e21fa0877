//! The multiply-add peak of this processor, per level, as this process gets it just now.

use crate::time::time;
use flashlet::Level;
use flashlet::simd::{Portable, Simd};
use std::hint::black_box;
use std::time::Duration;

/// Multiply-adds a chain between two looks at the clock.
const ROUNDS: usize = 10_000;

/// What one probe takes.
const BUDGET: Duration = Duration::from_millis(40);

/// Chains that fit 16 registers beside their factors,
const CHAINS_OF_16: usize = 12;

/// and that fit 32.
#[cfg(target_arch = "x86_64")]
const CHAINS_OF_32: usize = 16;

/// Billions of f32 operations a second on one core, a multiply-add being two; `None` where this
/// processor lacks the level.
///
/// Chains of multiply-adds that live in registers, with the instructions that the level's kernels
/// use: fused for AVX2 and AVX-512. The scalar level is held against the vectors that every build
/// for this processor has, as the portable one is: nothing keeps a compiler from using them there.
#[must_use]
pub fn gflops(level: Level) -> Option<f64> {
    if !level.is_available() {
        return None;
    }
    let (flops, probe): (usize, fn()) = match level {
        Level::Scalar | Level::Portable => (flops::<Portable, CHAINS_OF_16>(), portable),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => (flops::<flashlet::simd::Avx2, CHAINS_OF_16>(), x86::avx2),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (flops::<flashlet::simd::Avx512, CHAINS_OF_32>(), x86::avx512),
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::Avx512 => return None,
    };
    Some(flops as f64 / time(BUDGET, probe).best / 1e9)
}

const fn flops<S: Simd, const CHAINS: usize>() -> usize {
    2 * S::LANES * CHAINS * ROUNDS
}

/// `CHAINS` independent chains `x = x * a + b`: enough of them hide the latency of one.
#[inline(always)]
fn chains<S: Simd, const CHAINS: usize>(simd: S) {
    let (a, b) = (simd.splat(black_box(0.5)), simd.splat(black_box(0.25)));
    let mut x = [a; CHAINS];
    for (i, x) in x.iter_mut().enumerate() {
        // Told apart only when running, or the compiler would keep one chain for all.
        *x = simd.splat(black_box(i as f32));
    }
    for _ in 0..ROUNDS {
        for x in &mut x {
            *x = simd.mul_add(*x, a, b);
        }
    }
    black_box(simd.floats_of(&mut x).iter().sum::<f32>());
}

fn portable() {
    chains::<Portable, CHAINS_OF_16>(Portable);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS_OF_16, CHAINS_OF_32, chains};
    use flashlet::simd::{Avx2, Avx512};

    pub(super) fn avx2() {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn probe(simd: Avx2) {
            chains::<Avx2, CHAINS_OF_16>(simd);
        }
        if let Some(simd) = Avx2::detect() {
            // SAFETY: the token proves the features that `probe` enables.
            unsafe { probe(simd) }
        }
    }

    pub(super) fn avx512() {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn probe(simd: Avx512) {
            chains::<Avx512, CHAINS_OF_32>(simd);
        }
        if let Some(simd) = Avx512::detect() {
            // SAFETY: the token proves the features that `probe` enables.
            unsafe { probe(simd) }
        }
    }
}
