//! Attention of few query rows: keys in lanes, then channels in lanes.
//!
//! With queries in lanes a decoder's step would leave most lanes idle. The same products in the same
//! order can be had the other way round:
//! ```text
//! for each key tile the mask names
//!     for each vector of its keys
//!         s = q transpose(K)               [rows, keys]: a lane is a key
//!     p  = 2^(s - max s)                   its maximum and its sum are one row's, across lanes
//!     o  = o * correction + p V            [rows, v_dim]: a lane is a channel
//! ```
//! A score is one chain over the channels and a sum one chain over the keys, as in `attend.rs`: so the
//! bits are the same. Keys are turned a few channels at a time, in the registers that the product reads
//! (`decode/products.rs`), and stored numbers are widened there: nothing of a tile is copied, and the
//! one cost of turning keys is shuffles, for which the processor has other ports than for products.

pub(crate) mod integers;
pub(crate) mod products;
pub(crate) mod rounding;
mod tile;

use crate::attend::QueryTile;
use crate::change::Changing;
use crate::entry::Job;
use crate::mask::Tile;
use crate::online::Online;
use crate::simd::{DEEP, Simd};
use crate::staged::{Ahead, Way};
use core::ops::Range;

/// Scratch: rows of queries, states, weights, and one key tile.
struct Workspace<'a, S: Simd> {
    /// `[rows, k_dim]`.
    q: &'a mut [f32],
    /// `[rows, v_vectors]`.
    o: &'a mut [[S::F32; 1]],
    /// `m`, `l` and the correction of each row, in every lane.
    states: &'a mut [[[S::F32; 1]; 3]],
    /// `[rows, key_vectors]`.
    s: &'a mut [S::F32],
    /// A tile's sums, `[rows, v_vectors]`.
    sums: &'a mut [S::F32],
    /// What is not whole vectors: keys `[LANES, k_dim]`, then values `[keys, LANES]`; of a cache keys, then values
    /// `[LANES, v_vectors]`.
    stage: &'a mut [S::F32],
    /// For what changes scores.
    room: &'a mut [f32],
    sizes: Sizes,
}

/// Widths in floats, and rows of keys and of values in whole vectors. `k_dim` is a multiple of [`DEEP`].
#[derive(Clone, Copy)]
struct Sizes {
    k_dim: usize,
    v_dim: usize,
    key_vectors: usize,
    v_vectors: usize,
}

/// Runs a job.
#[inline(always)]
pub(crate) fn run<S: Simd, C: Changing, const TILE_K: usize>(simd: S, _: C, mut job: Job<'_>) {
    let heads = job.shape.heads;
    // The plan refuses 0; saying so here removes the division checks.
    let (k_dim, v_dim) = (heads.dim.next_multiple_of(DEEP), heads.v_dim.max(1));
    let sizes = Sizes {
        k_dim,
        v_dim,
        key_vectors: TILE_K.div_ceil(S::LANES),
        v_vectors: v_dim.div_ceil(S::LANES),
    };
    let (scratch, room) = job.take_scratch::<C>();
    let capacity = job.entry.tiling().rows;
    let Some(mut work) = cut::<S>(simd, scratch, room, capacity, sizes, TILE_K) else {
        debug_assert!(false, "the plan checks the scratch");
        return;
    };
    let mut tiles = QueryTile::of(&job).peekable();
    while let Some(tile) = tiles.next() {
        let mut batch = Batch::of(&tile);
        while let Some(tile) = tiles.peek()
            && batch.takes(&job, tile, capacity)
        {
            tiles.next();
        }
        decode_batch::<S, C, TILE_K>(simd, &mut job, &mut work, &batch);
    }
}

/// Key/value heads whose query rows see the same keys, one behind the other for each key tile: where
/// the heads of a token lie side by side, memory is then read in order.
struct Batch {
    b: usize,
    rows: Range<usize>,
    heads: [usize; HEADS],
    count: usize,
}

/// Heads in a batch.
const HEADS: usize = 16;

impl Batch {
    fn of(tile: &QueryTile) -> Self {
        let mut heads = [0; HEADS];
        heads[0] = tile.g;
        Batch { b: tile.b, rows: tile.rows.clone(), heads, count: 1 }
    }

    /// Adds a tile, if it sees the same keys and there is room for its rows.
    fn takes(&mut self, job: &Job<'_>, tile: &QueryTile, capacity: usize) -> bool {
        let fits = (self.count + 1) * tile.rows.len() <= capacity;
        let is_alike = self.b == tile.b && self.rows == tile.rows;
        let is_alike = is_alike && job.k.heads_lie_together() && !job.differs_by_head();
        match self.heads.get_mut(self.count) {
            Some(slot) if fits && is_alike => {
                *slot = tile.g;
                self.count += 1;
                true
            }
            _ => false,
        }
    }

    /// Its tiles.
    fn tiles(&self) -> impl Iterator<Item = QueryTile> {
        let heads = self.heads.iter().take(self.count);
        heads.map(|&g| QueryTile { b: self.b, g, rows: self.rows.clone() })
    }

    /// The way from head `slot` to what is read next: the next head of the same keys, or the first one
    /// of the next key tile, if there is one.
    fn ahead(&self, slot: usize, next_tile: Option<usize>, kv_heads: usize) -> Ahead {
        let head = |slot: usize| self.heads.get(slot).map_or(0, |&g| g as isize);
        let (next_tile, to_first) = (next_tile.unwrap_or(0), head(0) - head(slot));
        let next = if slot + 1 < self.count {
            Way { keys: 0, heads: head(slot + 1) - head(slot) }
        } else if next_tile > 0 {
            Way { keys: next_tile as isize, heads: to_first }
        } else {
            Way::default()
        };
        let share = next_tile + next_tile * slot / self.count.max(1);
        let stream = Way { keys: share as isize, heads: to_first };
        let is_stream = next_tile > 0 && kv_heads > 1 && self.count == kv_heads;
        Ahead { next, stream: is_stream.then_some(stream) }
    }
}

#[inline(always)]
fn cut<'a, S: Simd>(
    simd: S,
    scratch: &'a mut [f32],
    room: &'a mut [f32],
    rows: usize,
    sizes: Sizes,
    tile_k: usize,
) -> Option<Workspace<'a, S>> {
    let vectors = simd.vectors_of(scratch);
    let (q, rest) = vectors.split_at_mut_checked((rows * sizes.k_dim).div_ceil(S::LANES))?;
    let (o, rest) = rest.split_at_mut_checked(rows * sizes.v_vectors)?;
    let (states, rest) = rest.split_at_mut_checked(rows * 3)?;
    let (s, rest) = rest.split_at_mut_checked(rows * sizes.key_vectors)?;
    let (sums, stage) = rest.split_at_mut_checked(rows * sizes.v_vectors)?;
    stage.get(..sizes.k_dim.max(tile_k).max(sizes.v_vectors * S::LANES))?;
    Some(Workspace {
        q: simd.floats_of(q),
        o: o.as_chunks_mut::<1>().0,
        states: states.as_chunks_mut::<1>().0.as_chunks_mut::<3>().0,
        s,
        sums,
        stage,
        room,
        sizes,
    })
}

impl<S: Simd> Workspace<'_, S> {
    /// The scratch of the head in `slot`, of `rows` rows.
    #[inline(always)]
    fn slot(&mut self, slot: usize, rows: usize) -> Option<Workspace<'_, S>> {
        let Sizes { k_dim, v_vectors, .. } = self.sizes;
        let first = slot * rows;
        Some(Workspace {
            q: self.q.get_mut(first * k_dim..)?.get_mut(..rows * k_dim)?,
            o: self.o.get_mut(first * v_vectors..)?.get_mut(..rows * v_vectors)?,
            states: self.states.get_mut(first..)?.get_mut(..rows)?,
            s: self.s,
            sums: self.sums,
            stage: self.stage,
            room: self.room,
            sizes: self.sizes,
        })
    }
}

#[inline(always)]
fn decode_batch<S: Simd, C: Changing, const TILE_K: usize>(
    simd: S,
    job: &mut Job<'_>,
    work: &mut Workspace<'_, S>,
    batch: &Batch,
) {
    let (rows, group) = (batch.rows.len(), job.shape.heads.group());
    for (slot, tile) in batch.tiles().enumerate() {
        let Some(head) = work.slot(slot, rows) else { continue };
        job.flat_queries(&tile, tile.rows.clone(), head.q, head.sizes.k_dim);
        job.k.round_queries(head.q, head.sizes.k_dim);
        for ([m, l, _], o) in
            head.states.iter_mut().zip(head.o.chunks_exact_mut(head.sizes.v_vectors))
        {
            Online { m, l, o }.clear(simd);
        }
    }
    let visible = job.visible(batch.b, batch.heads[0]);
    let (first, last) = QueryTile::queries(&batch.rows, group);
    for keys_of_tile in visible.key_tiles(first, last, TILE_K) {
        let (range, is_full) = match visible.classify(first, last, &keys_of_tile) {
            Tile::Skip => continue,
            Tile::Full(range) => (range, true),
            Tile::Partial(range) => (range, false),
        };
        let mut bits = [u64::MAX; TILE_K];
        let bits = bits.get_mut(..range.len()).unwrap_or(&mut []);
        if !is_full {
            visible.see(&range, &batch.rows, bits);
        }
        let keys = Keys {
            next: (range.end == keys_of_tile.end).then_some(TILE_K),
            range,
            bits: (!is_full).then_some(&*bits),
        };
        for (slot, query_tile) in batch.tiles().enumerate() {
            let Some(mut head) = work.slot(slot, rows) else { continue };
            let ahead = batch.ahead(slot, keys.next, job.shape.heads.kv);
            tile::absorb::<S, C>(simd, job, &mut head, &query_tile, &keys, (ahead, &visible));
        }
    }
    for (slot, tile) in batch.tiles().enumerate() {
        if let Some(mut head) = work.slot(slot, rows) {
            unpack(simd, job, &mut head, &tile);
        }
    }
}

/// Keys of one tile.
struct Keys<'a> {
    range: Range<usize>,
    /// Bit `r` of `bits[j]`: row `r` may see key `j` of the range; `None`: all rows see all of them.
    bits: Option<&'a [u64]>,
    /// Keys from this tile to the next, if there is one.
    next: Option<usize>,
}

/// Finishes the states and writes each row.
#[inline(always)]
fn unpack<S: Simd>(simd: S, job: &mut Job<'_>, work: &mut Workspace<'_, S>, tile: &QueryTile) {
    let rows = work.o.chunks_exact_mut(work.sizes.v_vectors).zip(tile.rows.clone());
    for ([m, l, _], (o, row)) in work.states.iter_mut().zip(rows) {
        if job.out.normalises() {
            let channels = simd.floats_of(o.as_flattened_mut());
            let state = (simd.floats_of(m), simd.floats_of(l), channels);
            job.join_sinks(tile.g, row..row + 1, (0, S::LANES), state);
            Online { m: &mut *m, l: &mut *l, o: &mut *o }.finish(simd);
        }
        let (m, l) = (simd.floats_of(m).first(), simd.floats_of(l).first());
        let (Some(&m), Some(&l)) = (m, l) else { continue };
        let o = simd.floats_of(o.as_flattened_mut());
        job.write_row(tile, row, (m, l), o.get(..work.sizes.v_dim).unwrap_or(&[]));
    }
}
