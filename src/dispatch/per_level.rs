//! One of something for each level, and which of them this processor may use.

use crate::simd::{Level, Portable};

/// One for each level, in the order of [`Level::ALL`].
#[derive(Debug)]
pub(crate) struct PerLevel<F>([F; Level::ALL.len()]);

impl<F: Copy> PerLevel<F> {
    /// One for each level, in the order of [`Level::ALL`]. Where no build has vectors, those for `wide` are left out.
    pub(crate) const fn new(all: [F; Level::ALL.len()]) -> Self {
        let [scalar, portable, avx2, avx512] = all;
        PerLevel([scalar, if Portable::IS_BUILT { portable } else { scalar }, avx2, avx512])
    }
}

/// A level that this processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Available(Level);

impl Available {
    /// The best.
    pub(crate) fn detect() -> Self {
        Available(Level::detect())
    }

    /// A level, if this processor has it.
    #[inline(always)]
    pub(crate) fn new(level: Level) -> Option<Self> {
        level.is_available().then_some(Available(level))
    }

    /// It.
    pub(crate) fn level(self) -> Level {
        self.0
    }
}

impl<F> PerLevel<F> {
    /// That of a level that this processor has; that of the scalar one otherwise.
    #[inline(always)]
    pub(crate) fn at(&self, level: Level) -> &F {
        self.of(Available::new(level).unwrap_or(Available(Level::Scalar)))
    }

    /// That of a level that this processor has.
    #[inline(always)]
    pub(crate) fn of(&self, level: Available) -> &F {
        let [scalar, portable, avx2, avx512] = &self.0;
        match level.0 {
            Level::Scalar => scalar,
            Level::Portable => portable,
            Level::Avx2 => avx2,
            Level::Avx512 => avx512,
        }
    }
}
