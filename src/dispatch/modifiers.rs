//! A modifier compiled for each level, behind one pointer.

use crate::error::Error;
use crate::modifier::{Lines, Modifier, apply};
use crate::shape::Shape;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar};
use core::fmt;

/// What a plan may hold of a modifier: a [`Modifier`] whose lanes were chosen.
pub(crate) trait AnyModifier: Sync {
    /// [`apply`] on a level that this processor has; on the scalar one otherwise.
    fn apply(&self, level: Level, lines: Lines<'_>);
    /// [`Modifier::of_head`].
    fn number_of_head(&self, sequence: usize, head: usize) -> f32;
    /// Whether it fits a plan.
    fn check_plan(&self, shape: &Shape, has_positions: bool) -> Result<(), Error>;
}

impl<M: Modifier> AnyModifier for M {
    fn apply(&self, level: Level, lines: Lines<'_>) {
        match level {
            Level::Portable => apply(Portable, self, lines),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level is available; its features are all that the function needs.
            Level::Avx2 if level.is_available() => unsafe { avx2(self, lines) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 if level.is_available() => unsafe { avx512(self, lines) },
            _ => apply(Scalar, self, lines),
        }
    }
    fn number_of_head(&self, sequence: usize, head: usize) -> f32 {
        self.of_head(sequence, head)
    }
    fn check_plan(&self, shape: &Shape, has_positions: bool) -> Result<(), Error> {
        if self.needs_positions() && !has_positions {
            return Err(Error::Offset);
        }
        self.check(shape)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<M: Modifier>(modifier: &M, lines: Lines<'_>) {
    apply(Avx2::here(), modifier, lines);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<M: Modifier>(modifier: &M, lines: Lines<'_>) {
    apply(Avx512::here(), modifier, lines);
}

/// A plan's modifier, if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Modified<'m>(pub(crate) Option<&'m dyn AnyModifier>);

impl fmt::Debug for Modified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a modifier" } else { "no modifier" })
    }
}
