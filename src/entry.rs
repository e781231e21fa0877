//! What generated code names: entries, their tiles, and the head sizes they are made for.
//!
//! An entry is a function that runs one algorithm for one head size on one instruction set. It only
//! names a combination:
//! ```
//! use flashlet::entry::{Entry, Fixed, Job, Lanes, Tiling, attend};
//! use flashlet::{Level, simd::Scalar};
//!
//! fn attend_f32_hd8_q16_k48_scalar(job: Job<'_>) {
//!     attend::<Scalar, Fixed<8>, Fixed<8>, 4, 4, 48>(Scalar, job);
//! }
//! const ENTRY: Entry = Entry::new(
//!     "attend_f32_hd8_q16_k48_scalar",
//!     Level::Scalar,
//!     [8, 8],
//!     48,
//!     Tiling { lanes: Lanes::Queries, vectors: 4, scalars: 4, rows: 16 },
//!     attend_f32_hd8_q16_k48_scalar,
//! );
//! assert_eq!(ENTRY.level(), Level::Scalar);
//! ```

pub use crate::dispatch::Entry;
pub use crate::tiling::{Lanes, TILE_K, Tiling};

use crate::attend::QueryTile;
use crate::change::Changes;
use crate::dispatch::Claim;
use crate::mask::{Mask, Only, Visible};
use crate::moves::in_lanes;
use crate::products::{F32Products, Precision, Products};
use crate::shape::Shape;
use crate::simd::{Level, Rows, Simd, prefetch_row};
use crate::sinks::Sinks;
use crate::staged::Staged;
use crate::view::{AnyView, Stored, of_any};
use core::ops::Range;

/// The width of a head, known when compiling ([`Fixed`]) or when running ([`Dynamic`]).
pub trait Dim: Copy {
    /// The width, given what the plan says.
    fn of(width: usize) -> Self;
    /// The width.
    fn width(self) -> usize;
}

/// A width known when compiling.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<const WIDTH: usize>;

/// A width known when running.
#[derive(Clone, Copy, Debug)]
pub struct Dynamic(usize);

impl<const WIDTH: usize> Dim for Fixed<WIDTH> {
    #[inline(always)]
    fn of(width: usize) -> Self {
        const { assert!(WIDTH > 0, "a head has channels") };
        debug_assert_eq!(width, WIDTH, "dispatch chooses an entry by its widths");
        Fixed
    }
    #[inline(always)]
    fn width(self) -> usize {
        WIDTH
    }
}

impl Dim for Dynamic {
    #[inline(always)]
    fn of(width: usize) -> Self {
        Dynamic(width)
    }
    #[inline(always)]
    fn width(self) -> usize {
        // The plan refuses 0; saying so here removes the division checks.
        self.0.max(1)
    }
}

/// Attention for the query tiles of a job: `N` vectors of rows by `R` keys are one register tile,
/// `TILE_K` keys one tile. To be called from a function that enables the instructions of `S`.
#[inline(always)]
pub fn attend<S, K, V, const N: usize, const R: usize, const TILE_K: usize>(simd: S, job: Job<'_>)
where
    S: Simd,
    K: Dim,
    V: Dim,
{
    const { assert!(N > 0 && R > 0 && TILE_K > 0, "a tile holds something") };
    const { assert!(N * S::LANES <= 64, "a block has a bit a row in a u64") };
    crate::attend::run::<S, F32Products, K, V, N, R, TILE_K>(simd, F32Products, job);
}

/// As [`attend`], with products of bf16 pairs: [`crate::Precision::Bf16Products`].
#[inline(always)]
pub fn attend_pairs<S, P, K, V, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    products: P,
    job: Job<'_>,
) where
    S: Simd,
    P: Products<S>,
    K: Dim,
    V: Dim,
{
    const { assert!(N > 0 && R > 0 && TILE_K > 0, "a tile holds something") };
    const { assert!(N * S::LANES <= 64, "a block has a bit a row in a u64") };
    const { assert!(P::DEPTH == 2 && TILE_K.is_multiple_of(2), "keys come in pairs") };
    crate::attend::run::<S, P, K, V, N, R, TILE_K>(simd, products, job);
}

/// As [`attend`] for few queries, with keys in the lanes. The same bits. One function serves every head
/// size, since its inner loops are functions of their own, one for each element.
#[inline(always)]
pub fn decode<S: Simd, const TILE_K: usize>(simd: S, job: Job<'_>) {
    const { assert!(TILE_K > 0, "a tile holds something") };
    crate::decode::run::<S, TILE_K>(simd, job);
}

/// A checked piece of work: what an entry is called with. Only a plan makes one.
#[derive(Debug)]
pub struct Job<'a> {
    pub(crate) shape: Shape,
    pub(crate) mask: Mask,
    pub(crate) only: Only<'a>,
    pub(crate) changes: Changes<'a>,
    /// Keys that may be seen at all.
    pub(crate) keys: Range<usize>,
    /// `scale * log2(e)`.
    pub(crate) scale: f32,
    pub(crate) level: Level,
    /// What the entry multiplies.
    pub(crate) precision: Precision,
    pub(crate) q: AnyView<'a>,
    pub(crate) k: Staged<'a>,
    pub(crate) v: Staged<'a>,
    pub(crate) kv_lens: Option<&'a [usize]>,
    pub(crate) sinks: Option<Sinks<'a>>,
    pub(crate) out: Claim<'a>,
    /// Rows of a query tile.
    pub(crate) tile_rows: usize,
    pub(crate) scratch: &'a mut [f32],
}

impl Job<'_> {
    /// The mask of key/value head `g` of sequence `b`.
    #[inline(never)]
    pub(crate) fn visible(&self, b: usize, g: usize) -> Visible<'_> {
        let Shape { q_len, kv_len, heads, .. } = self.shape;
        let visible =
            self.kv_lens.and_then(|lens| lens.get(b)).map_or(kv_len, |len| kv_len.min(*len));
        let group = heads.group();
        let hides = self.changes.lookup.filter(|lookup| lookup.hides_keys());
        let place = (b, g * group, group);
        self.mask.visible((self.only, hides), place, (q_len, visible), &self.keys)
    }

    /// Whether other key/value heads may see other keys.
    pub(crate) fn differs_by_head(&self) -> bool {
        self.only.0.is_some_and(|pattern| pattern.differs_by_head())
            || self.changes.lookup.is_some_and(|lookup| lookup.hides_keys())
    }

    /// Lays at most a vector of query rows down lanes, behind `idle` lanes of zeros:
    /// `columns[c * width + idle + r]`, scaled, or as bf16 pairs if that is what the entry multiplies. Pairs
    /// are made in `room`.
    pub(crate) fn pack_queries(
        &self,
        tile: &QueryTile,
        (idle, rows): (usize, Range<usize>),
        room: &mut [f32],
        columns: &mut [f32],
        width: usize,
    ) {
        of_any!(Stored, self.q.0, (view, moves) => {
            let mover = moves.at(self.level);
            if let (Precision::Bf16Products, Some(pairs)) = (self.precision, mover.pairs()) {
                let (steps, count) = (self.shape.heads.dim.div_ceil(2), rows.len());
                self.flat_queries(tile, rows, room, steps);
                let rows = room.chunks_exact(steps.max(1)).take(count);
                return pairs.pack(&in_lanes(idle, rows), columns, width);
            }
            let places = self.shape.heads.rows_of(tile.g, rows);
            let rows = places.map(|(i, h)| view.row(tile.b, i, h));
            mover.pack(&in_lanes(idle, rows), self.scale, columns, width);
        });
    }

    /// Asks for the queries of a tile to come nearer: many rows at once, so that no wait follows another.
    pub(crate) fn expect_queries(&self, tile: &QueryTile) {
        of_any!(Stored, self.q.0, (view, _) => {
            for (i, h) in self.shape.heads.rows_of(tile.g, tile.rows.clone()) {
                let row = view.row(tile.b, i, h);
                prefetch_row(row.as_ptr(), row.len());
            }
        });
    }

    /// The same for the rows of output that a tile writes.
    pub(crate) fn expect_outputs(&self, tile: &QueryTile) {
        self.out.expect([tile.b, tile.g], tile.rows.clone());
    }

    /// Copies query rows one behind the other, `width` floats each: scaled, or as bf16 pairs if that is
    /// what the entry multiplies.
    pub(crate) fn flat_queries(
        &self,
        tile: &QueryTile,
        rows: Range<usize>,
        to: &mut [f32],
        width: usize,
    ) {
        of_any!(Stored, self.q.0, (view, moves) => {
            let mover = moves.at(self.level);
            let places = self.shape.heads.rows_of(tile.g, rows);
            for ((i, h), to) in places.zip(to.chunks_exact_mut(width.max(1))) {
                let row = Rows::one(view.row(tile.b, i, h));
                match (self.precision, mover.pairs()) {
                    (Precision::Bf16Products, Some(pairs)) => pairs.flat(row, to, width),
                    _ => mover.flat(row, 0, self.scale, to, width),
                }
            }
        });
    }

    /// Joins the sinks of some rows of a tile, if there are any: [`Sinks::join_rows`].
    // One copy for all entries: once a block.
    #[inline(never)]
    pub(crate) fn join_sinks(
        &self,
        g: usize,
        rows: Range<usize>,
        lanes: (usize, usize),
        state: (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        if let Some(sinks) = self.sinks {
            sinks.join_rows(self.level, self.shape.heads, (g, rows), lanes, state);
        }
    }

    /// Writes one row of output: its channels, and its sums.
    pub(crate) fn write_row(
        &mut self,
        tile: &QueryTile,
        row: usize,
        sums: (f32, f32),
        channels: &[f32],
    ) {
        self.out.write([tile.b, tile.g], row, sums, channels);
    }

    /// Writes a few rows of output, a lane each: channel `c` of the first is `columns[c * width]`.
    pub(crate) fn write_lanes(
        &mut self,
        tile: &QueryTile,
        rows: Range<usize>,
        sums: (&[f32], &[f32]),
        columns: &[f32],
        width: usize,
    ) {
        self.out.write_lanes([tile.b, tile.g], rows, sums, columns, width);
    }
}
