//! What this processor computes at most, as this process gets it just now.

use crate::on::{Work, on};
use crate::time::time;
use flashlet::Level;
use flashlet::simd::Simd;
use std::hint::black_box;
use std::time::Duration;

/// Multiply-adds a chain between two looks at the clock.
const ROUNDS: usize = 10_000;

/// What one probe takes.
const BUDGET: Duration = Duration::from_millis(40);

/// Chains that fit 16 registers beside their factors,
const CHAINS_OF_16: usize = 12;

/// and that fit 32.
const CHAINS_OF_32: usize = 16;

/// Billions of f32 operations a second on one core, a multiply-add being two; `None` where this
/// processor lacks the level.
///
/// Chains of multiply-adds that live in registers, with the instructions that the level's kernels
/// use: fused for AVX2 and AVX-512. The scalar level is held against the vectors that every build
/// for this processor has, as the portable one is: nothing keeps a compiler from using them there.
#[must_use]
pub fn gflops(level: Level) -> Option<f64> {
    let level = if level == Level::Scalar { Level::Portable } else { level };
    let flops = on(level, Chains)?;
    let probe = || {
        on(level, Chains);
    };
    Some(flops as f64 / time(BUDGET, probe).best / 1e9)
}

/// Chains of multiply-adds; comes to the operations they are.
struct Chains;

impl Work for Chains {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        if S::LEVEL == Level::Avx512 {
            chains::<S, CHAINS_OF_32>(simd)
        } else {
            chains::<S, CHAINS_OF_16>(simd)
        }
    }
}

/// `CHAINS` independent chains `x = x * a + b`: enough of them hide the latency of one.
#[inline(always)]
fn chains<S: Simd, const CHAINS: usize>(simd: S) -> usize {
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
    2 * S::LANES * CHAINS * ROUNDS
}

/// Billions of operations a second on one core in products of bf16 pairs, summed in f32: two products
/// and two additions a lane and instruction. `None` where this processor has no such instruction.
///
/// Not always more than in f32: a processor that starts such an instruction every other cycle, but two
/// multiply-adds in each, does half as many.
#[must_use]
pub fn bf16_gflops() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if bf16::is_available() {
        return Some(bf16::FLOPS as f64 / time(BUDGET, bf16::chains).best / 1e9);
    }
    None
}

#[cfg(target_arch = "x86_64")]
mod bf16 {
    use super::{CHAINS_OF_32, ROUNDS, black_box};
    use core::arch::x86_64::{
        _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_reduce_add_ps, _mm512_set1_ps,
    };
    use std::is_x86_feature_detected;

    /// Operations of one call of [`chains`]: 16 lanes, 4 operations each.
    pub(super) const FLOPS: usize = 4 * 16 * CHAINS_OF_32 * ROUNDS;

    pub(super) fn is_available() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
    }

    /// Independent chains `x = x + a0 * b0 + a1 * b1`.
    pub(super) fn chains() {
        #[target_feature(enable = "avx512f,avx512bf16")]
        fn enabled() {
            let [a, b] = [0.5, 0.25].map(|x| _mm512_set1_ps(black_box(x)));
            let [a, b] = [a, b].map(|x| _mm512_cvtne2ps_pbh(x, x));
            let mut x = [_mm512_set1_ps(0.0); CHAINS_OF_32];
            for (i, x) in x.iter_mut().enumerate() {
                *x = _mm512_set1_ps(black_box(i as f32));
            }
            for _ in 0..ROUNDS {
                for x in &mut x {
                    *x = _mm512_dpbf16_ps(*x, a, b);
                }
            }
            black_box(x.map(|x| _mm512_reduce_add_ps(x)));
        }
        if is_available() {
            // SAFETY: the processor was just seen to have the features that `enabled` enables.
            unsafe { enabled() }
        }
    }
}
