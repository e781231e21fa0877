//! The functions of `linear/`: those of any head for each level, and generated ones.

use super::per_level::{Available, PerLevel};
use crate::entry::Dynamic;
use crate::error::Error;
use crate::linear::{Chunk, Family, Form, chunk, class, step};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar};

/// Generated entries are linked only for the widest level of an architecture: a few per cent of time are not worth
/// as much machine code again.
#[cfg(feature = "specialised")]
const SCALAR: &[LinearEntry] =
    if Portable::HAS_VECTORS { &[] } else { crate::generated::scalar::LINEAR };
#[cfg(feature = "specialised")]
const PORTABLE: &[LinearEntry] = if Portable::HAS_VECTORS && cfg!(not(target_arch = "x86_64")) {
    crate::generated::portable::LINEAR
} else {
    &[]
};

/// A function that learns and reads tokens, and what it is specialised for.
#[derive(Clone, Copy, Debug)]
pub struct LinearEntry {
    name: &'static str,
    level: Level,
    form: Form,
    /// The family that it is for, and widths of a key and of a value; `None`: any.
    only: Option<(Family, [usize; 2])>,
    call: unsafe fn(Chunk<'_>),
}

impl LinearEntry {
    /// An entry for families of the class of one, and heads of these widths (key, value), that needs no instructions
    /// beyond those the whole build enables. They must be those that `call` passes to
    /// [`linear_chunk`](crate::entry::linear_chunk) or [`linear_step`](crate::entry::linear_step).
    #[must_use]
    pub const fn new(
        name: &'static str,
        level: Level,
        form: Form,
        family: Family,
        dims: [usize; 2],
        call: fn(Chunk<'_>),
    ) -> Self {
        LinearEntry { name, level, form, only: Some((family, dims)), call }
    }

    /// As [`LinearEntry::new`].
    ///
    /// # Safety
    /// `call` needs no instructions beyond those that `level` stands for.
    #[must_use]
    pub const unsafe fn with_features(
        name: &'static str,
        level: Level,
        form: Form,
        family: Family,
        dims: [usize; 2],
        call: unsafe fn(Chunk<'_>),
    ) -> Self {
        LinearEntry { name, level, form, only: Some((family, dims)), call }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The level that it needs.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// How it works through tokens.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Whether it is for a family and heads of these widths.
    fn serves(&self, family: Family, dims: [usize; 2]) -> bool {
        self.only.is_none_or(|(of, widths)| class(of) == class(family) && widths == dims)
    }

    /// Whether it may be called for a family and heads of these widths.
    pub(crate) fn check(&self, family: Family, dims: [usize; 2]) -> Result<Available, Error> {
        match self.only {
            Some((expected, _)) if class(expected) != class(family) => {
                Err(Error::EntryFamily { expected, given: family })
            }
            Some((_, expected)) if expected != dims => {
                Err(Error::EntryDims { expected, given: dims })
            }
            _ => Available::new(self.level).ok_or(Error::Level { level: self.level }),
        }
    }

    /// The best one of a level.
    pub(crate) fn choose(level: Available, form: Form, family: Family, dims: [usize; 2]) -> Self {
        let fits = |entry: &&LinearEntry| entry.form == form && entry.serves(family, dims);
        let generated = Self::generated(level.level()).iter().find(fits);
        generated.copied().unwrap_or_else(|| {
            let [step, chunk] = ANY.of(level);
            if form == Form::Recurrent { *step } else { *chunk }
        })
    }

    /// The generated entries of a level. None without the feature `specialised`.
    #[must_use]
    pub const fn generated(level: Level) -> &'static [LinearEntry] {
        #[cfg(feature = "specialised")]
        match level {
            Level::Scalar => SCALAR,
            Level::Portable => PORTABLE,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => crate::generated::avx2::LINEAR,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => crate::generated::avx512::LINEAR,
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 => &[],
        }
        #[cfg(not(feature = "specialised"))]
        match level {
            Level::Scalar | Level::Portable | Level::Avx2 | Level::Avx512 => &[],
        }
    }

    /// Learns and reads tokens. Only a plan that has checked it calls it.
    pub(crate) fn call(&self, chunk: Chunk<'_>) {
        // SAFETY: `check` and `choose` found this processor to have the level, whose features are all that the
        // function needs.
        unsafe { (self.call)(chunk) }
    }
}

/// `[step, chunk]` of any family and widths.
const ANY: PerLevel<[LinearEntry; 2]> = PerLevel::new([scalar(), portable(), avx2(), avx512()]);

/// `$token` makes a backend where `$features` are enabled; a step takes `$step` vectors at once, a chunk register
/// tiles of `$n` vectors by `$r` tokens.
macro_rules! linear {
    ($name:ident, $Level:ident, $token:expr, $step:literal, $n:literal, $r:literal $(, $features:literal)?) => {
        const fn $name() -> [LinearEntry; 2] {
            $(#[target_feature(enable = $features)])?
            fn step_any(chunk: Chunk<'_>) {
                step::<_, Family, $step>($token, chunk);
            }
            $(#[target_feature(enable = $features)])?
            fn chunk_any(job: Chunk<'_>) {
                chunk::<_, Family, Dynamic, Dynamic, $n, $r>($token, job);
            }
            let (level, only) = (Level::$Level, None);
            let step = (concat!("linear_step_", stringify!($name)), Form::Recurrent);
            let chunk = (concat!("linear_chunk_", stringify!($name)), Form::Chunked);
            [
                LinearEntry { name: step.0, level, form: step.1, only, call: step_any },
                LinearEntry { name: chunk.0, level, form: chunk.1, only, call: chunk_any },
            ]
        }
    };
}

linear!(scalar, Scalar, Scalar, 4, 2, 4);
linear!(portable, Portable, Portable, 2, 2, 4);
#[cfg(target_arch = "x86_64")]
linear!(avx2, Avx2, Avx2::here(), 4, 2, 4, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
linear!(avx512, Avx512, Avx512::here(), 2, 4, 4, "avx512f,avx512bw,avx512dq,avx512vl");
// Never available there, so never asked for.
#[cfg(not(target_arch = "x86_64"))]
use {scalar as avx2, scalar as avx512};
