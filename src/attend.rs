//! Attention of a part of the query tiles: queries in lanes.
//!
//! ```text
//! for each query tile of this part            (rows of one key/value head: group x queries)
//!     q = transpose(q) * scale * log2(e)      [head_dim, rows], so a lane is a row
//!     for each key tile the mask names        skipped tiles are never read
//!         for each block of the query tile    N vectors of rows, its own Skip | Full | Partial
//!             s = K q                         score::tile
//!             online.absorb(s, V)             online::Online
//!     o = transpose(o / l)
//! ```
//! A lane sums its own row's products in channel order and key order, and key tiles start at
//! absolute multiples of `TILE_K`: a row's bits do not depend on lanes, on blocks, on how many
//! queries are asked for at once, or on which part it falls in. Few queries leave most lanes idle;
//! for them `decode.rs` puts keys into the lanes, with the same bits.
//!
//! Keys and values are read where they lie, unless they are not f32 or lie so that they fall on the
//! same lines of a cache: then the tile is copied to scratch first (`Staged`).

use crate::change::{At, Changing};
use crate::entry::{Dim, Job};
use crate::mask::{Tile, Visible};
use crate::online::{Hints, Online};
use crate::products::Products;
use crate::score::{self, Queries};
use crate::sight::{Sight, granularity};
use crate::simd::Simd;
use crate::staged::Ahead;
use crate::tiling::Lanes;
use core::ops::Range;

/// Scratch, cut to whole vectors: `q`, `o` and `ml` hold one run a block.
struct Workspace<'a, V, const N: usize> {
    q: &'a mut [[V; N]],
    o: &'a mut [[V; N]],
    ml: &'a mut [[[V; N]; 2]],
    s: &'a mut [[V; N]],
    stage: &'a mut [f32],
    /// For what changes scores.
    room: &'a mut [f32],
    widths: Widths,
}

/// Channels of a query and of a value, and columns of a block's outputs, which also hold the pairs of one
/// vector of queries on their way in.
#[derive(Clone, Copy)]
struct Widths {
    q: usize,
    v: usize,
    o_columns: usize,
}

/// The rows of one query tile.
pub(crate) struct QueryTile {
    /// Sequence and key/value head.
    pub(crate) b: usize,
    pub(crate) g: usize,
    /// Rows of this key/value head: row `r` is query `r / group` of head `g * group + r % group`.
    pub(crate) rows: Range<usize>,
}

impl QueryTile {
    /// The query tiles of a job's share.
    #[inline(always)]
    pub(crate) fn of<'j>(job: &Job<'j>) -> impl Iterator<Item = QueryTile> + use<'j> {
        // The plan has checked it; `max` tells the compiler that no division can fail.
        let (kv_heads, tiles) = (job.shape.heads.kv.max(1), job.out.tiles());
        tiles.map(move |(head, rows)| QueryTile { b: head / kv_heads, g: head % kv_heads, rows })
    }

    /// The first and the last query of some of its rows.
    #[inline(always)]
    pub(crate) fn queries(rows: &Range<usize>, group: usize) -> (usize, usize) {
        let group = group.max(1);
        (rows.start / group, (rows.end.max(1) - 1) / group)
    }
}

/// Runs a job. `N` vectors of rows by `R` keys are one register tile.
#[inline(always)]
pub(crate) fn run<S, P, C, K, V, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    products: P,
    _: C,
    mut job: Job<'_>,
) where
    S: Simd,
    P: Products<S>,
    C: Changing,
    K: Dim,
    V: Dim,
{
    let heads = job.shape.heads;
    let (k, v) = (K::of(heads.dim).width(), V::of(heads.v_dim).width());
    let widths = Widths { q: k, v, o_columns: v.max(k.div_ceil(N)) };
    let tile_rows = job.entry.tiling().rows;
    let blocks = tile_rows / (N * S::LANES);
    let (scratch, room) = job.take_scratch::<C>();
    let Some(mut work) = cut::<S, N>(simd, scratch, room, blocks, widths, TILE_K) else {
        debug_assert!(false, "the plan checks the scratch");
        return;
    };
    let mut tiles = QueryTile::of(&job).peekable();
    if let Some(first) = tiles.peek() {
        job.expect_queries(first);
    }
    while let Some(tile) = tiles.next() {
        attend_tile::<S, P, C, K, V, N, R, TILE_K>(simd, products, &job, &mut work, &tile);
        job.expect_outputs(&tile);
        if let Some(next) = tiles.peek() {
            job.expect_queries(next);
        }
        unpack::<S, N>(simd, &mut job, &mut work, &tile);
    }
}

#[inline(always)]
fn cut<'a, S: Simd, const N: usize>(
    simd: S,
    scratch: &'a mut [f32],
    room: &'a mut [f32],
    blocks: usize,
    widths: Widths,
    tile_k: usize,
) -> Option<Workspace<'a, S::F32, N>> {
    let (vectors, _) = simd.vectors_of(scratch).as_chunks_mut::<N>();
    let (q, rest) = vectors.split_at_mut_checked(blocks * widths.q)?;
    let (o, rest) = rest.split_at_mut_checked(blocks * widths.o_columns)?;
    let (ml, rest) = rest.split_at_mut_checked(blocks * 2)?;
    let (s, rest) = rest.split_at_mut_checked(tile_k)?;
    let stage = simd.floats_of(rest.as_flattened_mut());
    Some(Workspace { q, o, ml: ml.as_chunks_mut::<2>().0, s, stage, room, widths })
}

#[inline(always)]
fn attend_tile<S, P, C, K, V, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    products: P,
    job: &Job<'_>,
    work: &mut Workspace<'_, S::F32, N>,
    tile: &QueryTile,
) where
    S: Simd,
    P: Products<S>,
    C: Changing,
    K: Dim,
    V: Dim,
{
    let heads = job.shape.heads;
    // Said again, for the compiler: constants of a specialised entry.
    let (k_dim, v_dim) = (K::of(heads.dim).width(), V::of(heads.v_dim).width());
    let group = heads.group();
    let visible = job.visible(tile.b, tile.g);
    // Queries that are paired are not scaled: that would round them.
    let (k_steps, scale) = (k_dim.div_ceil(P::DEPTH), (P::DEPTH > 1).then_some(job.scale));
    pack::<S, N>(simd, job, work, tile);
    let lanes = granularity(S::LANES, N * S::LANES);
    let blocks = || Blocks::new(tile, N * S::LANES);
    // One block needs its keys no more when it comes to its values; several share both.
    let shares = blocks().count() > 1 && !job.v.is_of_keys();
    let values_at = if shares { TILE_K * k_dim } else { 0 };

    let mut sight = Sight::<TILE_K>::new();
    let (first, last) = QueryTile::queries(&tile.rows, group);
    for keys_of_tile in visible.key_tiles(first, last, TILE_K) {
        let range = match visible.classify(first, last, &keys_of_tile) {
            Tile::Skip => continue,
            Tile::Full(range) | Tile::Partial(range) => range,
        };
        let mut staged = false;
        let q = work.q.chunks_exact(work.widths.q);
        let o = work.o.chunks_exact_mut(work.widths.o_columns);
        for (((block, q), o), [m, l]) in blocks().zip(q).zip(o).zip(work.ml.iter_mut()) {
            let Some(keys) = block.sight(&visible, group, &range, lanes, P::DEPTH, &mut sight)
            else {
                continue;
            };
            let (seen, within) = (sight.view(), keys.start - range.start..keys.end - range.start);
            let Some(s) = work.s.get_mut(..keys.len()) else {
                continue;
            };
            if !staged {
                job.k.stage(tile, &range, Ahead::default(), work.stage);
            }
            let rows = job.k.read(tile, &range, work.stage).slice(within.clone());
            let (q, rounding) = (q.get(..k_steps).unwrap_or(&[]), job.k.rounding());
            let queries = Queries { q, rounding, scale };
            score::tile::<S, P, N, R>(simd, products, queries, rows, seen, s);
            if C::MAY && job.changes_scores() {
                let (s, at) = (simd.floats_of(s.as_flattened_mut()), block.at(&keys));
                job.change_scores(&visible, tile, at, s, work.room);
            }
            let stage = work.stage.get_mut(values_at..).unwrap_or(&mut []);
            if !staged {
                job.v.stage(tile, &range, Ahead::default(), stage);
            }
            // The first block asks for the next tile, for all of them.
            let next = if staged { None } else { job.hints(tile, range.end) };
            let hints = next.unwrap_or(Hints::idle(&*s));
            staged = true;
            let steps = within.start / P::DEPTH..within.end.div_ceil(P::DEPTH);
            let rows = job.v.read(tile, &range, stage).slice(steps);
            let Some(o) = o.get_mut(..v_dim) else { continue };
            Online { m, l, o: &mut *o }.absorb::<P, R>(simd, products, s, rows, seen, hints);
            if C::MAY && job.adds_values() {
                let [o, p] = [o, s].map(|lines| simd.floats_of(lines.as_flattened_mut()));
                job.add_values(&visible, tile, block.at(&keys), p, o, work.room);
            }
        }
    }
}

/// One block of a query tile: its rows, in its last lanes.
struct Block {
    rows: Range<usize>,
    width: usize,
}

/// The blocks of a query tile.
struct Blocks {
    rows: Range<usize>,
    width: usize,
}

impl Blocks {
    #[inline(always)]
    fn new(tile: &QueryTile, width: usize) -> Self {
        Blocks { rows: tile.rows.clone(), width }
    }
}

impl Iterator for Blocks {
    type Item = Block;

    #[inline(always)]
    fn next(&mut self) -> Option<Block> {
        let (start, end) = (self.rows.start, self.rows.end.min(self.rows.start + self.width));
        self.rows.start = end;
        (start < end).then_some(Block { rows: start..end, width: self.width })
    }
}

impl Block {
    /// Where its scores for some keys lie.
    #[inline(always)]
    fn at<'k>(&self, keys: &'k Range<usize>) -> At<'k> {
        let (rows, width) = (self.rows.clone(), self.width);
        At { rows, keys, widths: [width; 2], along: Lanes::Queries, idle: self.pad() }
    }

    /// Lanes without a row: the first ones, so that what sees most comes last.
    #[inline(always)]
    fn pad(&self) -> usize {
        self.width - self.rows.len()
    }

    /// Its vectors that hold a row: their first lane, how many of their lanes are idle, and the rows in
    /// the others.
    #[inline(always)]
    fn vectors(&self, lanes: usize) -> impl Iterator<Item = (usize, usize, Range<usize>)> + use<> {
        let (pad, start, lanes) = (self.pad(), self.rows.start, lanes.max(1));
        (pad / lanes * lanes..self.width).step_by(lanes).map(move |lane| {
            let idle = pad.saturating_sub(lane);
            let first = start + (lane + idle - pad);
            (lane, idle, first..first + (lanes - idle))
        })
    }

    /// What the block sees of the keys of a tile, if anything: which, and who sees them. Its first key
    /// is `depth` times some number from the tile's first.
    // One copy for all entries: integers only, once a tile.
    #[inline(never)]
    fn sight<const TILE_K: usize>(
        &self,
        visible: &Visible<'_>,
        group: usize,
        keys_of_tile: &Range<usize>,
        lanes: usize,
        depth: usize,
        sight: &mut Sight<TILE_K>,
    ) -> Option<Range<usize>> {
        // Never 0; saying so here removes the division checks.
        let (group, lanes, depth) = (group.max(1), lanes.max(1), depth.max(1));
        let (first, last) = QueryTile::queries(&self.rows, group);
        match visible.classify(first, last, keys_of_tile) {
            Tile::Skip => None,
            Tile::Full(range)
                if (range.start - keys_of_tile.start).is_multiple_of(depth)
                    && range.len().is_multiple_of(depth) =>
            {
                sight.full(range.len(), self.pad(), lanes);
                Some(range)
            }
            Tile::Full(mut range) | Tile::Partial(mut range) => {
                range.start -= (range.start - keys_of_tile.start) % depth;
                visible.see(&range, &self.rows, sight.room(range.len()));
                sight.partial(range.len(), self.pad(), lanes, self.width, depth);
                Some(range)
            }
        }
    }
}

/// Lays each row down a lane, scaled, and clears the states. Idle lanes come first and hold zeros.
#[inline(always)]
fn pack<S: Simd, const N: usize>(
    simd: S,
    job: &Job<'_>,
    work: &mut Workspace<'_, S::F32, N>,
    tile: &QueryTile,
) {
    let width = N * S::LANES;
    let panels = work.q.chunks_exact_mut(work.widths.q);
    let outputs = work.o.chunks_exact_mut(work.widths.o_columns);
    for (((block, q), o), [m, l]) in
        Blocks::new(tile, width).zip(panels).zip(outputs).zip(work.ml.iter_mut())
    {
        let columns = simd.floats_of(q.as_flattened_mut());
        // Until there are outputs, their room holds the pairs of one vector.
        let room = simd.floats_of(o.as_flattened_mut());
        for (lane, idle, rows) in block.vectors(S::LANES) {
            let columns = columns.get_mut(lane..).unwrap_or(&mut []);
            job.pack_queries(tile, (idle, rows), room, columns, width);
        }
        Online { m, l, o: o.get_mut(..work.widths.v).unwrap_or(&mut []) }.clear(simd);
    }
}

/// Finishes the states and lays each lane back along a row.
#[inline(always)]
fn unpack<S: Simd, const N: usize>(
    simd: S,
    job: &mut Job<'_>,
    work: &mut Workspace<'_, S::F32, N>,
    tile: &QueryTile,
) {
    let (width, v_dim) = (N * S::LANES, work.widths.v);
    let blocks = Blocks::new(tile, width).zip(work.o.chunks_exact_mut(work.widths.o_columns));
    for ((block, o), [m, l]) in blocks.zip(work.ml.iter_mut()) {
        let Some(o) = o.get_mut(..v_dim) else { continue };
        if job.out.normalises() {
            let state =
                (simd.floats_of(m), simd.floats_of(l), simd.floats_of(o.as_flattened_mut()));
            job.join_sinks(tile.g, block.rows.clone(), (block.pad(), 1), state);
            Online { m, l, o: &mut *o }.finish(simd);
        }
        let columns = &*simd.floats_of(o.as_flattened_mut());
        let (m, l) = (&*simd.floats_of(m), &*simd.floats_of(l));
        for (lane, idle, rows) in block.vectors(S::LANES) {
            let from = |floats| from_lane(floats, lane + idle);
            job.write_lanes(tile, rows, (from(m), from(l)), from(columns), width);
        }
    }
}

fn from_lane(floats: &[f32], lane: usize) -> &[f32] {
    floats.get(lane..).unwrap_or(&[])
}
