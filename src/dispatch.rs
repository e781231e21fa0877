//! Where a checked plan meets the processor: it chooses an entry, calls it, and lends it the output.
//!
//! The only hand-written `unsafe` outside `simd/`. Two facts carry it: an entry is called only where its level is
//! available, and a row of output is lent only to the share of the work that it belongs to
//! (`dispatch/claim.rs`).

#![expect(unsafe_code, reason = "calls into target features; disjoint rows of one output")]

mod claim;
mod features;
mod formats;
mod generic;
mod integers;
mod lent;
mod linear;
mod lookups;
mod modifiers;
mod moves;
mod per_level;
mod sinks;
mod task;
#[cfg(test)]
mod tests;
mod turns;
pub(crate) use claim::{Claim, Grid, check_len};
pub(crate) use features::AnyFeatures;
pub(crate) use formats::{LaneTable, widen};
pub(crate) use integers::{IntegerTable, Queries, pack_rounded, round_rows};
pub(crate) use lent::{Head, Lent};
pub use linear::LinearEntry;
pub(crate) use lookups::{Adder, AnyLookup};
pub(crate) use modifiers::AnyModifier;
pub(crate) use moves::{MoveTable, Mover};
pub(crate) use per_level::Available;
pub(crate) use sinks::SinkTable;
#[cfg(feature = "specialised")]
pub(crate) use turns::Rotate;
pub(crate) use turns::{
    AngleTable, OntoTable, ROPES_BF16, ROPES_F16, ROPES_F32, RopeTable, rope_line,
};

use crate::entry::Job;
use crate::error::Error;
use crate::products::Precision;
use crate::shape::Heads;
#[cfg(feature = "specialised")]
use crate::simd::Portable;
use crate::simd::{Level, has_bf16_products};
use crate::tiling::{Room, TILE_K, Tiling, max};

/// The generated entries of one lane: only where there is nothing wider are they linked.
#[cfg(feature = "specialised")]
const SCALAR: &[[Entry; 2]] =
    if Portable::HAS_VECTORS { &[] } else { crate::generated::scalar::ENTRIES };

/// A specialised function, and what it is specialised for.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    name: &'static str,
    level: Level,
    /// Widths of a key and of a value; `None`: any.
    dims: Option<[usize; 2]>,
    tile_k: usize,
    tiling: Tiling,
    precision: Precision,
    /// Whether it changes no score and no value.
    is_plain: bool,
    call: unsafe fn(Job<'_>),
}

impl Entry {
    /// An entry that needs no instructions beyond those the whole build enables. `dims` are the
    /// widths of a key and of a value; they, `tile_k` and `tiling` must be those that `call` passes
    /// to [`attend`](crate::entry::attend), or it finds its scratch too small and writes nothing.
    ///
    /// # Panics
    /// If the tiling is empty or has blocks of more than 64 rows: in a constant, that is an error
    /// of the compiler.
    #[must_use]
    pub const fn new(
        name: &'static str,
        level: Level,
        dims: [usize; 2],
        tile_k: usize,
        tiling: Tiling,
        call: fn(Job<'_>),
    ) -> Entry {
        // SAFETY: a safe function is sound to call anywhere.
        unsafe { Entry::with_features(name, level, dims, tile_k, tiling, call) }
    }

    /// As [`Entry::new`], for a function with `#[target_feature]`.
    ///
    /// # Safety
    /// Wherever `level` is available, `call` must be sound to call.
    ///
    /// # Panics
    /// As [`Entry::new`].
    #[must_use]
    pub const unsafe fn with_features(
        name: &'static str,
        level: Level,
        dims: [usize; 2],
        tile_k: usize,
        tiling: Tiling,
        call: unsafe fn(Job<'_>),
    ) -> Entry {
        assert!(
            tiling.is_sound(level) && tile_k > 0,
            "empty tiles, or blocks of more than 64 rows"
        );
        let (dims, precision, is_plain) = (Some(dims), Precision::F32, false);
        Entry { name, level, dims, tile_k, tiling, precision, is_plain, call }
    }

    /// As [`Entry::with_features`], for a function that multiplies bf16 pairs
    /// ([`attend_pairs`](crate::entry::attend_pairs)).
    ///
    /// # Safety
    /// Wherever `level` is available and the processor multiplies bf16 pairs, `call` must be sound to
    /// call.
    ///
    /// # Panics
    /// As [`Entry::new`].
    #[must_use]
    pub const unsafe fn with_pairs(
        name: &'static str,
        level: Level,
        dims: [usize; 2],
        tile_k: usize,
        tiling: Tiling,
        call: unsafe fn(Job<'_>),
    ) -> Entry {
        // SAFETY: as the caller promises; what the entry needs beyond its level is asked for with
        // its precision (`Entry::is_available`).
        let entry = unsafe { Entry::with_features(name, level, dims, tile_k, tiling, call) };
        Entry { precision: Precision::Bf16Products, ..entry }
    }

    /// The same, for a function that changes no score and no value
    /// ([`attend_plain`](crate::entry::attend_plain), [`decode_plain`](crate::entry::decode_plain)): plans with a modifier, a
    /// bias or relative keys or values refuse it.
    #[must_use]
    pub const fn plain(self) -> Entry {
        Entry { is_plain: true, ..self }
    }

    /// Whether it changes no score and no value.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The function's name: its parameters in a fixed order.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The level it needs.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Its tiles.
    #[must_use]
    pub const fn tiling(&self) -> Tiling {
        self.tiling
    }

    /// The widths of a key and of a value it was made for; `None`: any.
    #[must_use]
    pub const fn dims(&self) -> Option<[usize; 2]> {
        self.dims
    }

    /// Keys in a tile: the one constant of an entry that its results' bits depend on.
    #[must_use]
    pub const fn tile_k(&self) -> usize {
        self.tile_k
    }

    /// What it multiplies.
    #[must_use]
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether this processor can run it.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.level.is_available()
            && match self.precision {
                Precision::F32 | Precision::Int8Products => true,
                Precision::Bf16Products => has_bf16_products(),
            }
    }

    /// Floats of scratch for `heads`, whatever their tensors are stored as.
    #[must_use]
    pub const fn scratch_len(&self, heads: Heads) -> usize {
        self.len(heads, Room::Staged)
    }

    /// Floats of scratch for `heads` whose keys and values are f32. An entry that multiplies bf16
    /// pairs copies those too.
    #[must_use]
    pub const fn scratch_len_in_place(&self, heads: Heads) -> usize {
        self.len(heads, Room::InPlace)
    }

    const fn len(&self, heads: Heads, room: Room) -> usize {
        let room = match self.precision {
            Precision::F32 | Precision::Int8Products => room,
            Precision::Bf16Products => Room::Staged,
        };
        self.tiling.len(self.level, heads.dim, heads.v_dim, self.tile_k, room)
    }

    /// Whether it can run `heads`.
    #[must_use]
    pub const fn fits(&self, heads: Heads) -> bool {
        match self.dims {
            Some([dim, v_dim]) => dim == heads.dim && v_dim == heads.v_dim,
            None => true,
        }
    }

    /// Whether this processor can run it, for these heads.
    pub(crate) fn check(&self, heads: Heads) -> Result<(), Error> {
        if !self.is_available() {
            return Err(Error::Level { level: self.level() });
        }
        match self.dims() {
            Some(expected) if !self.fits(heads) => {
                Err(Error::EntryDims { expected, given: [heads.dim, heads.v_dim] })
            }
            _ => Ok(()),
        }
    }

    /// Runs a job.
    pub(crate) fn call(&self, job: Job<'_>) {
        // SAFETY: a plan keeps an entry only after `Entry::is_available` said yes, and then `call` is
        // sound: it has no features at all (`new`), its maker said so (`with_features`,
        // `with_pairs`), or it enables the very features of its level (`dispatch/generic.rs`).
        unsafe { (self.call)(job) }
    }
}

impl Entry {
    /// The best entry of a level for `rows` query rows of one key/value head: a generated one for
    /// the head size if there is one, otherwise the generic one. Which it is changes no bit, unless
    /// the plan may multiply in bf16 and the processor can.
    pub(crate) fn choose(level: Level, precision: Precision, heads: Heads, rows: usize) -> Entry {
        let pair = Entry::generated(level).iter().find(|pair| pair[0].fits(heads));
        let [many, few] = pair.copied().unwrap_or_else(|| Entry::generic(level, heads));
        if Tiling::is_few(level, rows) {
            return few;
        }
        match precision {
            Precision::F32 | Precision::Int8Products => many,
            Precision::Bf16Products => Entry::pairs(level, heads).unwrap_or(many),
        }
    }

    /// The entry of a level that multiplies bf16 pairs, if there is one that this processor can run.
    #[must_use]
    pub fn pairs(level: Level, heads: Heads) -> Option<Entry> {
        let fitting = Entry::generated_pairs(level).iter().find(|entry| entry.fits(heads));
        let generic = || {
            let ((name, call), dims) = (generic::pairs(level)?, None);
            let tiling = Tiling::attend(level, heads.dim, heads.v_dim);
            let precision = Precision::Bf16Products;
            let (tile_k, is_plain) = (TILE_K, false);
            Some(Entry { name, level, dims, tile_k, tiling, precision, is_plain, call })
        };
        fitting.copied().or_else(generic).filter(Entry::is_available)
    }

    /// The generated entries of a level that multiply bf16 pairs.
    #[must_use]
    pub const fn generated_pairs(level: Level) -> &'static [Entry] {
        match level {
            #[cfg(all(feature = "specialised", target_arch = "x86_64"))]
            Level::Avx512 => crate::generated::avx512::PAIRS,
            _ => &[],
        }
    }

    /// Floats of scratch that are enough for any entry of a level that runs `heads`: generated, for
    /// f32 or for bf16 pairs, or generic.
    pub(crate) const fn most_scratch(level: Level, heads: Heads, room: Room) -> usize {
        let Heads { dim, v_dim, .. } = heads;
        let (many, few) = (Tiling::attend(level, dim, v_dim), Tiling::decode(level));
        let mut most = max(
            many.len(level, dim, v_dim, TILE_K, room),
            few.len(level, dim, v_dim, TILE_K, room),
        );
        let mut generated = Entry::generated(level);
        while let [[many, few], rest @ ..] = generated {
            if many.fits(heads) {
                most = max(most, max(many.len(heads, room), few.len(heads, room)));
            }
            generated = rest;
        }
        let mut pairs = Entry::generated_pairs(level);
        while let [entry, rest @ ..] = pairs {
            if entry.fits(heads) {
                most = max(most, entry.len(heads, room));
            }
            pairs = rest;
        }
        most
    }

    /// The generated entries of a level: for many queries and for few, for each head size.
    /// None without the feature `specialised`.
    #[must_use]
    pub const fn generated(level: Level) -> &'static [[Entry; 2]] {
        #[cfg(feature = "specialised")]
        match level {
            Level::Scalar => SCALAR,
            Level::Portable if Portable::IS_BUILT => crate::generated::portable::ENTRIES,
            Level::Portable => &[],
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => crate::generated::avx2::ENTRIES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => crate::generated::avx512::ENTRIES,
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 => &[],
        }
        #[cfg(not(feature = "specialised"))]
        match level {
            Level::Scalar | Level::Portable | Level::Avx2 | Level::Avx512 => &[],
        }
    }

    /// Entries of any head size, for many queries and for few.
    #[must_use]
    pub fn generic(level: Level, heads: Heads) -> [Entry; 2] {
        let [many, few] = [Tiling::attend(level, heads.dim, heads.v_dim), Tiling::decode(level)];
        let [attend, decode] = generic::entries(level);
        [(attend, many), (decode, few)].map(|((name, call), tiling)| Entry {
            name,
            level,
            dims: None,
            tile_k: TILE_K,
            tiling,
            precision: Precision::F32,
            is_plain: false,
            call,
        })
    }
}
