//! A modifier compiled for each level, behind one pointer.

use crate::change::{Lines, Pairs, Row};
use crate::modifier::{Given, Modifier, apply, change};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar};

/// What a plan may hold of a modifier: a [`Modifier`] whose lanes were chosen.
pub(crate) trait AnyModifier: Sync {
    /// Changes the scores of some pairs.
    fn change(&self, level: Level, pairs: &Pairs<'_>, lines: Lines<'_>);
    /// [`apply`] on a level that this processor has; on the scalar one otherwise.
    fn apply(&self, level: Level, lines: Lines<'_>, given: Given<'_>);
    /// [`Modifier::of_row`].
    fn numbers_of_row(&self, row: &Row) -> [f32; 2];
}

impl<M: Modifier> AnyModifier for M {
    fn change(&self, level: Level, pairs: &Pairs<'_>, lines: Lines<'_>) {
        change(self, level, pairs, lines);
    }
    fn apply(&self, level: Level, lines: Lines<'_>, given: Given<'_>) {
        match level {
            Level::Portable if Portable::IS_BUILT => apply(Portable, self, lines, given),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level is available; its features are all that the function needs.
            Level::Avx2 if level.is_available() => unsafe { avx2(self, lines, given) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 if level.is_available() => unsafe { avx512(self, lines, given) },
            _ => apply(Scalar, self, lines, given),
        }
    }
    fn numbers_of_row(&self, row: &Row) -> [f32; 2] {
        self.of_row(row)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<M: Modifier>(modifier: &M, lines: Lines<'_>, given: Given<'_>) {
    apply(Avx2::here(), modifier, lines, given);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<M: Modifier>(modifier: &M, lines: Lines<'_>, given: Given<'_>) {
    apply(Avx512::here(), modifier, lines, given);
}
