//! Whether a tile is copied to scratch, and to what.

use super::Source;
use crate::dispatch::Entry;
use crate::entry::Lanes;
use crate::shape::Heads;
use crate::view::{AnyView, Stored};

/// What a tile is copied to, rows of so many floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// Nothing: rows are read where they lie, as f32 or as pairs of bf16.
    No,
    /// A row of f32 for each row.
    Rows(usize),
    /// The keys have been copied to rows of so many floats, and these values begin them.
    OfKeys(usize),
    /// A row of bf16 pairs for each row: neighbouring channels.
    Pairs(usize),
    /// A row of bf16 pairs for two rows: the same channel of both.
    Woven(usize),
    /// A row of words of codes, and scales, for each row.
    Codes(usize),
}

/// Rows that lie a multiple of so many bytes apart fall on so few sets of the caches that a tile of
/// them evicts itself: 4096 bytes are the period of a first-level cache of 64 sets.
const CONFLICT: usize = 2048;

/// Blocks of query rows, each of which reads the whole tile, from which on a copy pays: it costs a
/// reading and a writing itself.
const READERS: usize = 4;

impl Copied {
    /// What is not f32 is copied; so is f32 whose rows would evict each other, if enough blocks read it and
    /// `scratch_len` floats leave room.
    // Once in a binary: for keys and for values.
    #[inline(never)]
    pub(super) fn if_needed(
        source: &Source<'_>,
        dim: usize,
        entry: &Entry,
        heads: Heads,
        scratch_len: usize,
    ) -> Self {
        let tiling = entry.tiling();
        let readers = tiling.rows / (tiling.vectors * entry.level().lanes()).max(1);
        let is_copied = match (tiling.lanes, source) {
            (Lanes::Queries, Source::Tensor(AnyView(Stored::F32(view, _)))) => {
                let stride = view.strides().token * size_of::<f32>();
                let conflicts = stride.is_multiple_of(CONFLICT) && view.dims()[1] > 1;
                let has_room = scratch_len >= entry.scratch_len(heads);
                conflicts && has_room && readers > READERS
            }
            (Lanes::Queries, _) => true,
            // They are read but once or twice, and widened on their way into a register.
            (Lanes::Keys, _) => false,
        };
        if is_copied { Copied::Rows(dim) } else { Copied::No }
    }
}
