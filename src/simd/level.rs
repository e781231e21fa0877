//! Which instruction sets there are, and which this processor has.

use super::{Portable, Scalar, Simd};
use core::fmt;

/// An instruction-set level. Every level gives results within the certified bound; levels that fuse
/// multiply-add agree bit for bit, and so do levels that don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One lane: cores without vectors.
    Scalar,
    /// The vectors of `wide`, as the build has them: NEON, simd128, SSE2 ...
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Level {
    /// Every level, lowest first, whether this processor has it or not.
    pub const ALL: [Level; 4] = [Level::Scalar, Level::Portable, Level::Avx2, Level::Avx512];

    /// The best level of this processor.
    #[must_use]
    pub fn detect() -> Level {
        let best = Level::available().last().unwrap_or(Level::Scalar);
        // Without vector registers `wide` computes four lanes in turn: one lane needs less memory.
        if best == Level::Portable && !Portable::HAS_VECTORS { Level::Scalar } else { best }
    }

    /// The levels of this processor, lowest first: what a test forces in turn.
    pub fn available() -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(|level| level.is_available())
    }

    /// Whether this processor has the level.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Level::Scalar => true,
            Level::Portable => Portable::IS_BUILT,
            Level::Avx2 => has_avx2(),
            Level::Avx512 => has_avx2() && has_avx512(),
        }
    }

    /// Whether this build may meet a level of several lanes.
    pub(crate) const HAS_LANES: bool = Portable::IS_BUILT || cfg!(target_arch = "x86_64");

    /// Whether a multiply-add rounds once: the class within which bits agree.
    #[must_use]
    pub const fn is_fused(self) -> bool {
        match self {
            Level::Scalar => Scalar::FUSED,
            Level::Portable => Portable::FUSED,
            Level::Avx2 | Level::Avx512 => true,
        }
    }

    /// Floats in a vector.
    #[must_use]
    pub const fn lanes(self) -> usize {
        match self {
            Level::Scalar => Scalar::LANES,
            Level::Portable => Portable::LANES,
            Level::Avx2 => 8,
            Level::Avx512 => 16,
        }
    }

    /// Vector registers that a kernel may fill. The scalar level counts 32 single-precision
    /// registers, as a Cortex-M4F has.
    #[must_use]
    pub const fn registers(self) -> usize {
        match self {
            Level::Scalar | Level::Avx512 => 32,
            Level::Portable if cfg!(target_arch = "aarch64") => 32,
            Level::Portable | Level::Avx2 => 16,
        }
    }

    /// The lower-case name, as in the names of entries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
fn has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("fma")
        && std::is_x86_feature_detected!("f16c")
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
fn has_avx512() -> bool {
    std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512dq")
        && std::is_x86_feature_detected!("avx512vl")
}

#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
fn has_avx2() -> bool {
    cpufeatures::new!(avx2, "avx2", "fma");
    avx2::get() && has_f16c()
}

/// Bit 29 of leaf 1, which `cpufeatures` does not know.
#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
fn has_f16c() -> bool {
    static KNOWN: Once = Once::new();
    KNOWN.ask(|| core::arch::x86_64::__cpuid(1).ecx & (1 << 29) != 0)
}

/// The answer of an instruction that traps in a virtual machine and takes tens of microseconds there.
#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
struct Once(core::sync::atomic::AtomicU8);

#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
impl Once {
    const UNKNOWN: u8 = 2;

    const fn new() -> Self {
        Once(core::sync::atomic::AtomicU8::new(Self::UNKNOWN))
    }

    fn ask(&self, question: impl Fn() -> bool) -> bool {
        use core::sync::atomic::Ordering::Relaxed;
        let mut known = self.0.load(Relaxed);
        if known == Self::UNKNOWN {
            known = u8::from(question());
            self.0.store(known, Relaxed);
        }
        known == 1
    }
}

#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
fn has_avx512() -> bool {
    cpufeatures::new!(avx512, "avx512f", "avx512bw", "avx512dq", "avx512vl");
    avx512::get()
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

/// Whether this processor multiplies pairs of bf16, beside all that [`Level::Avx512`] needs.
pub(crate) fn has_bf16_products() -> bool {
    Level::Avx512.is_available() && has_avx512_bf16()
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
fn has_avx512_bf16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
fn has_avx512_bf16() -> bool {
    // Bit 5 of leaf 7, sub-leaf 1; AVX-512 itself has been found, so there is a leaf 7.
    static KNOWN: Once = Once::new();
    KNOWN.ask(|| core::arch::x86_64::__cpuid_count(7, 1).eax & (1 << 5) != 0)
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512_bf16() -> bool {
    false
}

/// Whether this processor sums products of bytes, beside all that [`Level::Avx512`] needs.
pub(crate) fn has_int8_products() -> bool {
    Level::Avx512.is_available() && has_avx512_vnni()
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
fn has_avx512_vnni() -> bool {
    std::is_x86_feature_detected!("avx512vnni")
}

#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
fn has_avx512_vnni() -> bool {
    // Bit 11 of leaf 7; AVX-512 itself has been found, so there is a leaf 7.
    static KNOWN: Once = Once::new();
    KNOWN.ask(|| core::arch::x86_64::__cpuid_count(7, 0).ecx & (1 << 11) != 0)
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512_vnni() -> bool {
    false
}

/// Whether this processor sums products of bytes, beside all that [`Level::Avx2`] needs.
pub(crate) fn has_avx_vnni() -> bool {
    Level::Avx2.is_available() && has_vnni_of_avx2()
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
fn has_vnni_of_avx2() -> bool {
    std::is_x86_feature_detected!("avxvnni")
}

#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
fn has_vnni_of_avx2() -> bool {
    // Bit 4 of leaf 7, sub-leaf 1; AVX2 itself has been found, so there is a leaf 7.
    static KNOWN: Once = Once::new();
    KNOWN.ask(|| core::arch::x86_64::__cpuid_count(7, 1).eax & (1 << 4) != 0)
}

#[cfg(not(target_arch = "x86_64"))]
fn has_vnni_of_avx2() -> bool {
    false
}
