//! Keys or values of one tile as f32 rows: where they lie, or copied to scratch.

mod ahead;
mod cached;
mod copied;

pub(crate) use ahead::{Ahead, Way};

use crate::attend::QueryTile;
use crate::cache::{Cached, Side};
use crate::decode::products::Weights;
use crate::decode::rounding::Rounding;
use crate::dispatch::Entry;
use crate::elem::Sealed;
use crate::entry::Lanes;
use crate::job::Bound;
use crate::moves::RowsOfLanes;
use crate::online::Hints;
use crate::products::Precision;
use crate::shape::Heads;
use crate::simd::{Hint, Level, Rows};
use crate::view::{AnyView, Stored, of_any};
use copied::Copied;
use core::ops::Range;

/// Where keys or values come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Tensor(AnyView<'a>),
    Cache(&'a dyn Cached, Side),
}

impl Source<'_> {
    /// `[batch, kv_len, kv_heads, dim]`.
    pub(crate) fn dims(&self) -> [usize; 4] {
        match self {
            Source::Tensor(view) => view.dims(),
            Source::Cache(cache, side) => cache.dims(*side),
        }
    }

    /// How an entry for few queries multiplies their codes, if a plan lets it and they have any.
    fn rounding(&self, entry: &Entry, precision: Precision) -> Option<Rounding> {
        let has_integers =
            entry.tiling().lanes == Lanes::Keys || entry.precision() == Precision::Int8Products;
        match self {
            Source::Cache(cache, side) if precision == Precision::Int8Products && has_integers => {
                cache.rounding(*side)
            }
            _ => None,
        }
    }

    /// Whether they are codes whose products can be integers.
    pub(crate) fn has_codes(&self) -> bool {
        match self {
            Source::Cache(cache, side) => cache.rounding(*side).is_some(),
            Source::Tensor(_) => false,
        }
    }

    /// An entry for many queries that scores codes of these keys in integers, in place of another one.
    pub(crate) fn integers(&self, entry: Entry) -> Option<Entry> {
        match self {
            Source::Cache(cache, Side::Keys) => cache.integers(entry),
            _ => None,
        }
    }

    /// Whether the rows of another tensor begin each of this one's.
    fn begins_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Source::Tensor(view), Source::Tensor(other)) => view.begins_with(other),
            _ => false,
        }
    }
}

/// Keys or values, and how an entry reads them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged<'a> {
    source: Source<'a>,
    copy: Copied,
    level: Level,
    /// How products are made in integers, if they are.
    rounding: Option<Rounding>,
}

impl<'a> Staged<'a> {
    /// Keys as `entry` wants them.
    pub(crate) fn keys(
        source: Source<'a>,
        (entry, precision): (&Entry, Precision),
        heads: Heads,
        scratch_len: usize,
    ) -> Self {
        let rounding = source.rounding(entry, precision);
        let copy = match (entry.precision(), source) {
            (Precision::Int8Products, _) => {
                // An entry for codes is chosen only where there are some.
                Copied::Codes(rounding.map_or(0, |rounding| rounding.parts().width()))
            }
            (Precision::Bf16Products, Source::Tensor(AnyView(Stored::Bf16(view, _))))
                if view.lies_in_pairs() =>
            {
                Copied::No
            }
            (Precision::Bf16Products, _) => Copied::Pairs(heads.dim.div_ceil(2)),
            (Precision::F32, _) => Copied::if_needed(&source, heads.dim, entry, heads, scratch_len),
        };
        Staged { source, copy, level: entry.level(), rounding }
    }

    /// Values as `entry` wants them. Those that begin the rows of the keys are copied with them.
    pub(crate) fn values(
        source: Source<'a>,
        keys: &Staged<'a>,
        (entry, precision): (&Entry, Precision),
        heads: Heads,
        scratch_len: usize,
    ) -> Self {
        let copy = match (entry.precision(), keys.copy) {
            (Precision::F32 | Precision::Int8Products, Copied::Rows(width))
                if keys.source.begins_with(&source) =>
            {
                Copied::OfKeys(width)
            }
            (Precision::F32 | Precision::Int8Products, _) => {
                Copied::if_needed(&source, heads.v_dim, entry, heads, scratch_len)
            }
            (Precision::Bf16Products, _) => Copied::Woven(heads.v_dim),
        };
        let rounding = keys.rounding.and_then(|_| source.rounding(entry, precision));
        Staged { source, copy, level: entry.level(), rounding }
    }

    /// The same with products in f32.
    pub(crate) fn in_f32(self) -> Self {
        Staged { rounding: None, ..self }
    }

    /// How queries are rounded, if they are.
    pub(crate) const fn rounding(&self) -> Option<Rounding> {
        self.rounding
    }

    /// Rows of a table beside the keys and values, read where they lie by [`Staged::scores`] and [`Staged::sums`].
    pub(crate) fn table(view: AnyView<'a>, level: Level) -> Self {
        Staged { source: Source::Tensor(view), copy: Copied::No, level, rounding: None }
    }

    /// Whether scratch must hold a copy.
    pub(crate) fn needs_room(&self) -> bool {
        self.copy != Copied::No
    }

    /// Whether they are read from the copy of the keys.
    pub(crate) fn is_of_keys(&self) -> bool {
        matches!(self.copy, Copied::OfKeys(_))
    }

    /// Rounds rows of queries, `width` floats each, if their products are made in integers.
    pub(crate) fn round_queries(&self, q: &mut [f32], width: usize) {
        if let (Some(rounding), Source::Cache(cache, _)) = (self.rounding, self.source) {
            cache.round_queries(self.level, rounding, q, width);
        }
    }

    /// Lays rounded rows down lanes.
    pub(crate) fn pack_rounded(
        &self,
        rows: &RowsOfLanes<'_, f32>,
        columns: &mut [f32],
        width: usize,
    ) {
        if let Source::Cache(cache, _) = self.source {
            cache.pack_rounded(self.level, rows, columns, width);
        }
    }

    /// Whether the heads of a token lie side by side, rather than the tokens of a head.
    pub(crate) fn heads_lie_together(&self) -> bool {
        match self.source {
            Source::Tensor(view) => {
                of_any!(Stored, view.0, (view, _) => view.strides().head < view.strides().token)
            }
            Source::Cache(cache, _) => cache.heads_lie_together(),
        }
    }

    /// Copies the rows of `range` to `stage`, unless they are read where they lie. Meanwhile those
    /// `ahead` of them come nearer.
    pub(crate) fn stage(
        &self,
        tile: &QueryTile,
        range: &Range<usize>,
        ahead: Ahead,
        stage: &mut [f32],
    ) {
        let view = match self.source {
            Source::Tensor(view) => view,
            Source::Cache(cache, side) => {
                return self.stage_cached((cache, side), tile, range, stage);
            }
        };
        of_any!(Stored, view.0, (view, moves) => {
            let (rows, mover) = (view.rows(tile.b, tile.g), moves.at(self.level));
            let rows = rows.slice(range.clone());
            match (self.copy, mover.pairs()) {
                (Copied::No | Copied::OfKeys(_) | Copied::Codes(_), _) => {}
                (Copied::Pairs(width), Some(pairs)) => pairs.flat(rows, stage, width),
                (Copied::Woven(width), Some(pairs)) => pairs.weave(rows, stage, width),
                (Copied::Rows(width) | Copied::Pairs(width) | Copied::Woven(width), _) => {
                    mover.flat(rows, ahead.next.elements(view.strides()), 1.0, stage, width);
                }
            }
        });
    }

    /// The rows of `range`, staged before if they have to be: row 0 is that of key `range.start`.
    #[inline(never)]
    pub(crate) fn read<'s>(
        &'s self,
        tile: &QueryTile,
        range: &Range<usize>,
        stage: &'s [f32],
    ) -> Rows<'s> {
        let rows = match (self.copy, self.source) {
            (Copied::Rows(width) | Copied::Pairs(width), _) => {
                Rows::new(stage, width, range.len(), width)
            }
            (Copied::OfKeys(width), _) => {
                Rows::new(stage, width, range.len(), self.source.dims()[3])
            }
            (Copied::Codes(width), _) => Rows::new(stage, width, range.len(), width),
            (Copied::Woven(width), _) => Rows::new(stage, width, range.len().div_ceil(2), width),
            (Copied::No, Source::Tensor(AnyView(Stored::F32(view, _)))) => {
                Some(view.rows(tile.b, tile.g).slice(range.clone()))
            }
            (Copied::No, Source::Tensor(AnyView(Stored::Bf16(view, _)))) => {
                let rows = view.rows(tile.b, tile.g).pairs();
                rows.map(|rows| rows.slice(range.clone()))
            }
            (Copied::No, _) => None,
        };
        debug_assert!(rows.is_some(), "the plan checks views and scratch");
        rows.unwrap_or(Rows::one(&[]))
    }

    /// Scores of the keys of `range`: `s[r * width + j] = q[r] . k[j]`. `queries` are as wide as keys are
    /// with zeros up to a multiple of 8; `stage` holds a vector of such keys. Meanwhile the keys `ahead`
    /// come nearer.
    pub(crate) fn scores(
        &self,
        tile: &QueryTile,
        range: &Range<usize>,
        ahead: Ahead,
        queries: Rows<'_>,
        (s, width): (&mut [f32], usize),
        stage: &mut [f32],
    ) {
        let view = match self.source {
            Source::Tensor(view) => view,
            Source::Cache(cache, side) => {
                return self.cached_scores(
                    (cache, side),
                    tile,
                    (range, ahead),
                    queries,
                    (s, width),
                    stage,
                );
            }
        };
        of_any!(Stored, view.0, (view, moves) => {
            let (rows, mover) = (view.rows(tile.b, tile.g), moves.at(self.level));
            let (rows, lanes) = (rows.slice(range.clone()), self.level.lanes().max(1));
            let deep = queries.width();
            let is_whole = rows.width() == deep;
            let whole = if is_whole { rows.len() / lanes * lanes } else { 0 };
            let walk = &mut ahead.walk(&rows, 0, |way| way.elements(view.strides()));
            mover.scores(queries, rows.slice(0..whole), walk, s, width);
            for first in (whole..rows.len()).step_by(lanes) {
                // Lanes behind the last key give scores that nothing reads.
                mover.flat(rows.slice(first..first + lanes), 0, 1.0, stage, deep);
                let keys = Rows::inside(&*stage, deep, lanes, deep);
                let s = s.get_mut(first..).unwrap_or(&mut []);
                f32::MOVES.at(self.level).scores(queries, keys, walk, s, width);
            }
        });
    }

    /// Sums of the values of `range`: `to[r * width + c] = sum_j p[r][j] v[j][c]`, over the keys that
    /// a row may see. `stage` holds a vector of channels of each. Meanwhile the values `ahead`
    /// come nearer.
    pub(crate) fn sums(
        &self,
        tile: &QueryTile,
        range: &Range<usize>,
        ahead: Ahead,
        weights: Weights<'_>,
        (to, width): (&mut [f32], usize),
        stage: &mut [f32],
    ) {
        to.get_mut(..weights.p.len() * width).unwrap_or(&mut []).fill(-0.0);
        let view = match self.source {
            Source::Tensor(view) => view,
            Source::Cache(cache, side) => {
                return self.cached_sums(
                    (cache, side),
                    tile,
                    (range, ahead),
                    weights,
                    (to, width),
                    stage,
                );
            }
        };
        of_any!(Stored, view.0, (view, moves) => {
            let (rows, mover) = (view.rows(tile.b, tile.g), moves.at(self.level));
            let (rows, lanes) = (rows.slice(range.clone()), self.level.lanes().max(1));
            let whole = rows.width() / lanes * lanes;
            let walk = &mut ahead.walk(&rows, 0, |way| way.elements(view.strides()));
            mover.sums(weights, rows, walk, to, width);
            if whole < rows.width() {
                mover.flat(rows.behind(whole), 0, 1.0, stage, lanes);
                let values = Rows::inside(&*stage, lanes, rows.len(), lanes);
                let to = to.get_mut(whole..).unwrap_or(&mut []);
                f32::MOVES.at(self.level).sums(weights, values, walk, to, width);
            }
        });
    }

    /// Where the rows from `key` on lie, if there are any, and the bytes of a channel.
    fn hint(&self, tile: &QueryTile, key: usize) -> Option<(Hint, usize)> {
        let Source::Tensor(view) = self.source else { return None };
        of_any!(Stored, view.0, (view, _) => {
            let rows = view.rows(tile.b, tile.g);
            let rows = rows.slice(key..rows.len());
            (rows.len() > 0).then(|| (rows.hint(), size_of_element(&rows)))
        })
    }
}

impl Bound<'_> {
    /// Where the keys and values from `key` on lie, if there are any.
    #[inline(never)]
    pub(crate) fn hints(&self, tile: &QueryTile, key: usize) -> Option<Hints> {
        let (keys, key_bytes) = self.k.hint(tile, key)?;
        let (values, value_bytes) = self.v.hint(tile, key)?;
        Some(Hints { next: [keys, values], channel: [key_bytes, value_bytes] })
    }
}

const fn size_of_element<T>(_: &Rows<'_, T>) -> usize {
    size_of::<T>()
}
