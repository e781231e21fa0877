//! Keys or values of one tile as f32 rows: where they lie, or copied to scratch.

use crate::attend::QueryTile;
use crate::dispatch::Entry;
use crate::entry::{Job, Lanes};
use crate::shape::Heads;
use crate::simd::{MAX_LANES, Rows};
use crate::view::{AnyView, Stored, of_any};
use core::ops::Range;

/// A tensor of keys or of values, and how an entry reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged<'a> {
    view: AnyView<'a>,
    /// Floats of a row in scratch; `None`: rows are read where they lie.
    width: Option<usize>,
}

/// Rows that lie a multiple of so many bytes apart fall on few sets of a cache: 4096 bytes are the
/// period of every first-level cache with 64 sets of 64 bytes.
const CONFLICT: usize = 1024;

impl<'a> Staged<'a> {
    /// Rows of `dim` channels as `entry` wants them. What is not f32 is copied; so is f32 whose rows
    /// would evict each other, if `scratch_len` floats leave room for it.
    pub(crate) fn new(
        view: AnyView<'a>,
        dim: usize,
        entry: Entry,
        heads: Heads,
        scratch_len: usize,
    ) -> Self {
        let lanes = entry.level().lanes();
        let has_room = scratch_len >= entry.scratch_len(heads);
        let is_copied = match (view.0, entry.tiling().lanes) {
            (Stored::F32(view, _), Lanes::Queries) => {
                let stride = view.strides().token * size_of::<f32>();
                has_room && lanes > 1 && stride.is_multiple_of(CONFLICT) && view.dims()[1] > 1
            }
            // Values are read in whole vectors.
            (Stored::F32(..), Lanes::Keys) => !dim.is_multiple_of(lanes),
            _ => true,
        };
        let width = match entry.tiling().lanes {
            Lanes::Queries => dim,
            Lanes::Keys => dim.next_multiple_of(lanes),
        };
        Staged { view, width: is_copied.then_some(width) }
    }

    /// Whether scratch must hold a copy.
    pub(crate) fn needs_room(&self) -> bool {
        self.width.is_some()
    }
}

impl Job<'_> {
    /// Copies the keys of `range` to `stage`, unless they are read where they lie.
    pub(crate) fn stage_keys(&self, tile: &QueryTile, range: &Range<usize>, stage: &mut [f32]) {
        self.stage(&self.k, tile, range, stage);
    }

    /// Copies the values of `range` to `stage`, unless they are read where they lie.
    pub(crate) fn stage_values(&self, tile: &QueryTile, range: &Range<usize>, stage: &mut [f32]) {
        self.stage(&self.v, tile, range, stage);
    }

    /// The keys of `range`, staged before if they have to be: row 0 is key `range.start`.
    #[inline(always)]
    pub(crate) fn keys<'s>(
        &'s self,
        tile: &QueryTile,
        range: &Range<usize>,
        stage: &'s [f32],
    ) -> Rows<'s> {
        rows(&self.k, tile, range, stage)
    }

    /// The values of `range`, staged before if they have to be: row 0 is that of key `range.start`.
    #[inline(always)]
    pub(crate) fn values<'s>(
        &'s self,
        tile: &QueryTile,
        range: &Range<usize>,
        stage: &'s [f32],
    ) -> Rows<'s> {
        rows(&self.v, tile, range, stage)
    }

    /// Lays keys down lanes: `columns[c * width + j]`. At most as many as a vector has lanes.
    pub(crate) fn lay_keys(
        &self,
        tile: &QueryTile,
        keys: Range<usize>,
        columns: &mut [f32],
        width: usize,
    ) {
        of_any!(Stored, self.k.view.0, (view, moves) => {
            let mut lanes = [&[][..]; MAX_LANES];
            for (lane, j) in lanes.iter_mut().zip(keys) {
                *lane = view.row(tile.b, j, tile.g);
            }
            let lanes = lanes.get(..self.level.lanes()).unwrap_or(&[]);
            moves.at(self.level).lay(lanes, 1.0, columns, width);
        });
    }

    fn stage(&self, from: &Staged<'_>, tile: &QueryTile, range: &Range<usize>, stage: &mut [f32]) {
        let Some(width) = from.width else { return };
        of_any!(Stored, from.view.0, (view, moves) => {
            if let Some(rows) = view.rows(tile.b, tile.g) {
                moves.at(self.level).flat(rows.slice(range.clone()), 1.0, stage, width);
            }
        });
    }
}

#[inline(always)]
fn rows<'s>(
    from: &Staged<'s>,
    tile: &QueryTile,
    range: &Range<usize>,
    stage: &'s [f32],
) -> Rows<'s> {
    let rows = match (from.width, from.view.0) {
        (Some(width), _) => Rows::new(stage, width, range.len(), width),
        (None, Stored::F32(view, _)) => {
            view.rows(tile.b, tile.g).map(|rows| rows.slice(range.clone()))
        }
        (None, _) => None,
    };
    debug_assert!(rows.is_some(), "the plan checks views and scratch");
    rows.unwrap_or(Rows::one(&[]))
}
