//! Attention of a part of the query tiles: queries in lanes, keys and values read in place.
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
//! queries are asked for at once, or on which part it falls in.

use crate::entry::{Dim, Job};
use crate::mask::{Tile, Visible};
use crate::online::Online;
use crate::score;
use crate::simd::Simd;
use core::ops::Range;

/// Scratch, cut to whole vectors: `q`, `o` and `ml` hold one run a block.
struct Workspace<'a, V, const N: usize> {
    q: &'a mut [[V; N]],
    o: &'a mut [[V; N]],
    ml: &'a mut [[[V; N]; 2]],
    s: &'a mut [[V; N]],
}

/// The rows of one query tile.
struct QueryTile {
    /// Sequence and key/value head.
    b: usize,
    g: usize,
    /// Rows of this key/value head: row `r` is query `r / group` of head `g * group + r % group`.
    rows: Range<usize>,
}

/// Runs a job. `N` vectors of rows by `R` keys are one register tile.
#[inline(always)]
pub(crate) fn run<S, K, V, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    mut job: Job<'_>,
) where
    S: Simd,
    K: Dim,
    V: Dim,
{
    let heads = job.shape.heads;
    let (k_dim, v_dim) = (K::of(heads.dim).width(), V::of(heads.v_dim).width());
    let scratch = core::mem::take(&mut job.scratch);
    let Some(mut work) = cut::<S, N>(simd, scratch, job.blocks, k_dim, v_dim, TILE_K) else {
        debug_assert!(false, "the plan checks the scratch");
        return;
    };
    // The plan has checked all of these; `max` tells the compiler that no division can fail.
    let kv_heads = heads.kv.max(1);
    let tile_rows = (job.blocks * N * S::LANES).max(1);
    let head_rows = heads.group() * job.shape.q_len;
    let tiles = head_rows.div_ceil(tile_rows).max(1);
    for item in job.out.items() {
        let (head, tile) = (item / tiles, item % tiles);
        let start = tile * tile_rows;
        let tile = QueryTile {
            b: head / kv_heads,
            g: head % kv_heads,
            rows: start..head_rows.min(start + tile_rows),
        };
        attend_tile::<S, K, V, N, R, TILE_K>(simd, &mut job, &mut work, &tile);
    }
}

#[inline(always)]
fn cut<S: Simd, const N: usize>(
    simd: S,
    scratch: &mut [f32],
    blocks: usize,
    k_dim: usize,
    v_dim: usize,
    tile_k: usize,
) -> Option<Workspace<'_, S::F32, N>> {
    let (vectors, _) = simd.vectors_of(scratch).as_chunks_mut::<N>();
    let (q, rest) = vectors.split_at_mut_checked(blocks * k_dim)?;
    let (o, rest) = rest.split_at_mut_checked(blocks * v_dim)?;
    let (ml, rest) = rest.split_at_mut_checked(blocks * 2)?;
    let (s, _) = rest.split_at_mut_checked(tile_k)?;
    Some(Workspace { q, o, ml: ml.as_chunks_mut::<2>().0, s })
}

#[inline(always)]
fn attend_tile<S, K, V, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    job: &mut Job<'_>,
    work: &mut Workspace<'_, S::F32, N>,
    tile: &QueryTile,
) where
    S: Simd,
    K: Dim,
    V: Dim,
{
    let heads = job.shape.heads;
    let (k_dim, v_dim, group) =
        (K::of(heads.dim).width(), V::of(heads.v_dim).width(), heads.group());
    let (Some(keys), Some(values)) = (job.k.rows(tile.b, tile.g), job.v.rows(tile.b, tile.g))
    else {
        debug_assert!(false, "the plan checks the views");
        return;
    };
    let visible = job.visible(tile.b);
    pack::<S, N>(simd, job, work, tile, k_dim, v_dim);
    let blocks = || Blocks::new(tile, N * S::LANES, group);

    let all = (tile.rows.start / group, (tile.rows.end - 1) / group);
    for keys_of_tile in key_tiles(&visible, all, TILE_K) {
        let q = work.q.chunks_exact(k_dim);
        let o = work.o.chunks_exact_mut(v_dim);
        for (((block, q), o), [m, l]) in blocks().zip(q).zip(o).zip(work.ml.iter_mut()) {
            let mut bits = [0; TILE_K];
            let (range, seen) = match visible.classify(block.first, block.last, &keys_of_tile) {
                Tile::Skip => continue,
                Tile::Full(range) => (range, None),
                Tile::Partial(range) => {
                    let Some(bits) = bits.get_mut(..range.len()) else {
                        continue;
                    };
                    block.see(&visible, group, &range, bits);
                    (range, Some(&*bits))
                }
            };
            let Some(s) = work.s.get_mut(..range.len()) else {
                continue;
            };
            let max = score::tile::<S, N, R>(simd, q, keys, &range, seen, s, m);
            Online { m, l, o }.absorb::<R>(simd, max, s, values, &range, seen);
        }
    }
    unpack::<S, N>(simd, job, work, tile, v_dim);
}

/// Key tiles that some query of `first ..= last` may see into, in order, each once.
#[inline(always)]
fn key_tiles(
    visible: &Visible,
    (first, last): (usize, usize),
    tile_k: usize,
) -> impl Iterator<Item = Range<usize>> {
    let [a, b] = visible.runs(first, last).map(|run| run.start / tile_k..run.end.div_ceil(tile_k));
    let b = b.start.max(a.end)..b.end;
    a.chain(b).map(move |t| t * tile_k..(t + 1) * tile_k)
}

/// One block of a query tile: the queries of its first and last row, and where its rows start.
struct Block {
    row: usize,
    first: usize,
    last: usize,
}

/// The blocks of a query tile.
struct Blocks {
    row: usize,
    end: usize,
    width: usize,
    group: usize,
}

impl Blocks {
    #[inline(always)]
    fn new(tile: &QueryTile, width: usize, group: usize) -> Self {
        Blocks { row: tile.rows.start, end: tile.rows.end, width, group }
    }
}

impl Iterator for Blocks {
    type Item = Block;

    #[inline(always)]
    fn next(&mut self) -> Option<Block> {
        let row = self.row;
        let end = self.end.min(row + self.width);
        self.row = end;
        (row < end).then(|| Block { row, first: row / self.group, last: (end - 1) / self.group })
    }
}

impl Block {
    /// Bit `i` of `bits[j - range.start]`: row `i` of this block may see key `j`.
    fn see(&self, visible: &Visible, group: usize, range: &Range<usize>, bits: &mut [u64]) {
        let row_of = |query: i64| {
            // Queries are compared with rows, `group` rows a query.
            let row = i128::from(query) * group as i128 - self.row as i128;
            row.clamp(0, 64) as u32
        };
        for (j, bits) in range.clone().zip(bits) {
            let queries = visible.queries_of(j);
            let (low, high) = (row_of(queries.start), row_of(queries.end));
            let below = |row: u32| 1_u64.checked_shl(row).map_or(u64::MAX, |bit| bit - 1);
            *bits = below(high) & !below(low);
        }
    }
}

/// Lays each row down a lane, scaled, and clears the states. Idle lanes hold zeros.
#[inline(always)]
fn pack<S: Simd, const N: usize>(
    simd: S,
    job: &Job<'_>,
    work: &mut Workspace<'_, S::F32, N>,
    tile: &QueryTile,
    k_dim: usize,
    v_dim: usize,
) {
    let width = N * S::LANES;
    let zero = simd.splat(0.0);
    for (block, q) in Blocks::new(tile, width, 1).zip(work.q.chunks_exact_mut(k_dim)) {
        if block.last + 1 - block.first < width {
            q.fill([zero; N]);
        }
        let columns = simd.floats_of(q.as_flattened_mut());
        for (lane, row) in (block.first..=block.last).enumerate() {
            job.write_query(tile.b, tile.g, row, lane, width, columns);
        }
    }
    for ([m, l], o) in work.ml.iter_mut().zip(work.o.chunks_exact_mut(v_dim)) {
        Online { m, l, o }.clear(simd);
    }
}

/// Finishes the states and lays each lane back along a row.
#[inline(always)]
fn unpack<S: Simd, const N: usize>(
    simd: S,
    job: &mut Job<'_>,
    work: &mut Workspace<'_, S::F32, N>,
    tile: &QueryTile,
    v_dim: usize,
) {
    let width = N * S::LANES;
    let blocks = Blocks::new(tile, width, 1).zip(work.o.chunks_exact_mut(v_dim));
    for ((block, o), [m, l]) in blocks.zip(work.ml.iter_mut()) {
        if job.out.normalises() {
            Online { m, l, o: &mut *o }.finish(simd);
        }
        let columns = &*simd.floats_of(o.as_flattened_mut());
        let (m, l) = (&*simd.floats_of(m), &*simd.floats_of(l));
        for (lane, row) in (block.first..=block.last).enumerate() {
            let ml = (m.get(lane).copied().unwrap_or(0.0), l.get(lane).copied().unwrap_or(0.0));
            job.write_row(
                tile.b,
                tile.g,
                row,
                ml,
                columns.get(lane..).unwrap_or(&[]).iter().step_by(width).copied(),
            );
        }
    }
}
