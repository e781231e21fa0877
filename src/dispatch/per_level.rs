//! One of something for each level, and which of them this processor may use.

use crate::simd::Level;

/// One for each level, in the order of [`Level::ALL`].
#[derive(Debug)]
pub(crate) struct PerLevel<F>(pub(crate) [F; Level::ALL.len()]);

impl<F> PerLevel<F> {
    /// That of a level that this processor has; that of the scalar one otherwise.
    #[inline(always)]
    pub(crate) fn at(&self, level: Level) -> &F {
        let [scalar, portable, avx2, avx512] = &self.0;
        match level {
            Level::Scalar => scalar,
            Level::Portable => portable,
            Level::Avx2 if level.is_available() => avx2,
            Level::Avx512 if level.is_available() => avx512,
            Level::Avx2 | Level::Avx512 => scalar,
        }
    }
}
