//! Keys or values of one tile as f32 rows: where they lie, or copied to scratch.

use crate::attend::QueryTile;
use crate::dispatch::Entry;
use crate::entry::{Job, Lanes};
use crate::online::Hints;
use crate::products::Precision;
use crate::shape::Heads;
use crate::simd::{Hint, Rows};
use crate::view::{AnyView, Stored, Strides, of_any};
use core::ops::Range;

/// A tensor of keys or of values, and how an entry reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged<'a> {
    view: AnyView<'a>,
    copy: Copied,
}

/// What a tile is copied to, rows of so many floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copied {
    /// Nothing: rows are read where they lie.
    No,
    /// A row of f32 for each row.
    Rows(usize),
    /// A row of bf16 pairs for each row: neighbouring channels.
    Pairs(usize),
    /// A row of bf16 pairs for two rows: the same channel of both.
    Woven(usize),
}

/// The way from what is read to what will be read next: so many keys and heads further.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) keys: isize,
    pub(crate) heads: isize,
}

impl Ahead {
    /// In elements.
    fn elements(self, strides: Strides) -> isize {
        let Strides { token, head, .. } = strides;
        // A hint: it may wrap.
        let keys = self.keys.wrapping_mul(token as isize);
        keys.wrapping_add(self.heads.wrapping_mul(head as isize))
    }
}

/// Rows that lie a multiple of so many bytes apart fall on so few sets of the caches that a tile of
/// them evicts itself: 4096 bytes are the period of a first-level cache of 64 sets.
const CONFLICT: usize = 2048;

impl<'a> Staged<'a> {
    /// Keys of `dim` channels as `entry` wants them.
    pub(crate) fn keys(
        view: AnyView<'a>,
        dim: usize,
        entry: Entry,
        heads: Heads,
        scratch_len: usize,
    ) -> Self {
        match (entry.precision(), entry.tiling().lanes) {
            (Precision::Bf16Products, _) => Staged { view, copy: Copied::Pairs(dim.div_ceil(2)) },
            // They are laid down lanes from where they lie.
            (Precision::F32, Lanes::Keys) => Staged { view, copy: Copied::No },
            (Precision::F32, Lanes::Queries) => Self::rows(view, dim, entry, heads, scratch_len),
        }
    }

    /// Values of `dim` channels as `entry` wants them.
    pub(crate) fn values(
        view: AnyView<'a>,
        dim: usize,
        entry: Entry,
        heads: Heads,
        scratch_len: usize,
    ) -> Self {
        match entry.precision() {
            Precision::F32 => Self::rows(view, dim, entry, heads, scratch_len),
            Precision::Bf16Products => Staged { view, copy: Copied::Woven(dim) },
        }
    }

    /// What is not f32 is copied; so is f32 whose rows would evict each other, if `scratch_len` floats
    /// leave room for it.
    fn rows(view: AnyView<'a>, dim: usize, entry: Entry, heads: Heads, scratch_len: usize) -> Self {
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
        Staged { view, copy: if is_copied { Copied::Rows(width) } else { Copied::No } }
    }

    /// Where the rows from `key` on lie, if there are any, and the bytes of a channel.
    fn hint(&self, tile: &QueryTile, key: usize) -> Option<(Hint, usize)> {
        of_any!(Stored, self.view.0, (view, _) => {
            let rows = view.rows(tile.b, tile.g)?;
            let rows = rows.slice(key..rows.len());
            (rows.len() > 0).then(|| (Hint::down(&rows), size_of_element(&rows)))
        })
    }

    /// Whether scratch must hold a copy.
    pub(crate) fn needs_room(&self) -> bool {
        self.copy != Copied::No
    }
}

impl Job<'_> {
    /// Copies the keys of `range` to `stage`, unless they are read where they lie.
    pub(crate) fn stage_keys(&self, tile: &QueryTile, range: &Range<usize>, stage: &mut [f32]) {
        self.stage(&self.k, tile, range, Ahead::default(), stage);
    }

    /// Copies the values of `range` to `stage`, unless they are read where they lie. Meanwhile those
    /// `ahead` of them come nearer.
    pub(crate) fn stage_values(
        &self,
        tile: &QueryTile,
        range: &Range<usize>,
        ahead: Ahead,
        stage: &mut [f32],
    ) {
        self.stage(&self.v, tile, range, ahead, stage);
    }

    /// Floats from a value, if it is read where it lies, to the one `ahead` of it.
    pub(crate) fn values_apart(&self, ahead: Ahead) -> isize {
        match (self.v.copy, self.v.view.0) {
            (Copied::No, Stored::F32(view, _)) => ahead.elements(view.strides()),
            _ => 0,
        }
    }

    /// Where the keys and values from `key` on lie, if there are any.
    #[inline(never)]
    pub(crate) fn hints(&self, tile: &QueryTile, key: usize) -> Option<Hints> {
        let (keys, key_bytes) = self.k.hint(tile, key)?;
        let (values, value_bytes) = self.v.hint(tile, key)?;
        Some(Hints { next: [keys, values], channel: [key_bytes, value_bytes] })
    }

    /// Whether the heads of a token lie side by side, rather than the tokens of a head.
    pub(crate) fn heads_lie_together(&self) -> bool {
        of_any!(Stored, self.k.view.0, (view, _) => view.strides().head < view.strides().token)
    }

    /// The keys of `range`, staged before if they have to be: row 0 is key `range.start`.
    pub(crate) fn keys<'s>(
        &'s self,
        tile: &QueryTile,
        range: &Range<usize>,
        stage: &'s [f32],
    ) -> Rows<'s> {
        rows(&self.k, tile, range, stage)
    }

    /// The values of `range`, staged before if they have to be: row 0 is that of key `range.start`.
    pub(crate) fn values<'s>(
        &'s self,
        tile: &QueryTile,
        range: &Range<usize>,
        stage: &'s [f32],
    ) -> Rows<'s> {
        rows(&self.v, tile, range, stage)
    }

    /// Lays keys down lanes: `columns[c * width + j]`. At most as many as a vector has lanes. Meanwhile
    /// those `ahead` of them come nearer.
    pub(crate) fn lay_keys(
        &self,
        tile: &QueryTile,
        keys: Range<usize>,
        ahead: Ahead,
        columns: &mut [f32],
        width: usize,
    ) {
        of_any!(Stored, self.k.view.0, (view, moves) => {
            let ahead = ahead.elements(view.strides());
            if let Some(rows) = view.rows(tile.b, tile.g) {
                moves.at(self.level).lay(rows.slice(keys), ahead, columns, width);
            }
        });
    }

    fn stage(
        &self,
        from: &Staged<'_>,
        tile: &QueryTile,
        range: &Range<usize>,
        ahead: Ahead,
        stage: &mut [f32],
    ) {
        of_any!(Stored, from.view.0, (view, moves) => {
            let (Some(rows), mover) = (view.rows(tile.b, tile.g), moves.at(self.level)) else {
                return;
            };
            let rows = rows.slice(range.clone());
            match (from.copy, mover.pairs()) {
                (Copied::No, _) => {}
                (Copied::Pairs(width), Some(pairs)) => pairs.flat(rows, stage, width),
                (Copied::Woven(width), Some(pairs)) => pairs.weave(rows, stage, width),
                (Copied::Rows(width) | Copied::Pairs(width) | Copied::Woven(width), _) => {
                    mover.flat(rows, ahead.elements(view.strides()), 1.0, stage, width);
                }
            }
        });
    }
}

#[inline(never)]
fn rows<'s>(
    from: &Staged<'s>,
    tile: &QueryTile,
    range: &Range<usize>,
    stage: &'s [f32],
) -> Rows<'s> {
    let rows = match (from.copy, from.view.0) {
        (Copied::Rows(width) | Copied::Pairs(width), _) => {
            Rows::new(stage, width, range.len(), width)
        }
        (Copied::Woven(width), _) => Rows::new(stage, width, range.len().div_ceil(2), width),
        (Copied::No, Stored::F32(view, _)) => {
            view.rows(tile.b, tile.g).map(|rows| rows.slice(range.clone()))
        }
        (Copied::No, _) => None,
    };
    debug_assert!(rows.is_some(), "the plan checks views and scratch");
    rows.unwrap_or(Rows::one(&[]))
}

const fn size_of_element<T>(_: &Rows<'_, T>) -> usize {
    size_of::<T>()
}
