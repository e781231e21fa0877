//! Attention of few query rows: keys in lanes, then channels in lanes.
//!
//! With queries in lanes a decoder's step would leave most lanes idle. The same products in the same
//! order can be had the other way round:
//! ```text
//! for each key tile the mask names
//!     for each few vectors of its keys
//!         kt = transpose(K)                [head_dim, keys]: a lane is a key
//!         s  = q kt                        [rows, keys]
//!     p  = 2^(s - max s)                   its maximum and its sum are one row's, across lanes
//!     o  = o * correction + p V            [rows, v_dim]: a lane is a channel
//! ```
//! A score is one chain over the channels and a sum one chain over the keys, as in `attend.rs`, and the
//! inner loop is the same (`outer.rs`) with its operands exchanged: so are the bits. The price is a
//! transposition of each key tile, which a wait for memory hides.

use crate::attend::{QueryTile, key_tiles};
use crate::entry::{Dim, Job};
use crate::mask::{Tile, Visible};
use crate::math::exp2;
use crate::online::{Online, finite};
use crate::outer::{outer, outer_where};
use crate::products::F32Products;
use crate::simd::{Items, Rows, Simd, Steps};
use crate::staged::Ahead;
use core::ops::Range;

/// Scratch: rows of queries, states, weights, and one key tile.
struct Workspace<'a, S: Simd> {
    /// `[rows, head_dim]`.
    q: &'a mut [f32],
    /// `[rows, v_vectors]`.
    o: &'a mut [[S::F32; 1]],
    /// `m`, `l` and the correction of each row, in every lane.
    states: &'a mut [[[S::F32; 1]; 3]],
    /// `[rows, key_vectors]`.
    s: &'a mut [S::F32],
    /// A register tile's keys `[head_dim, N]`, then values `[keys, v_vectors]`.
    stage: &'a mut [S::F32],
    sizes: Sizes,
}

/// Widths in floats, and rows of keys and of values in whole vectors.
#[derive(Clone, Copy)]
struct Sizes {
    k_dim: usize,
    v_dim: usize,
    key_vectors: usize,
    v_vectors: usize,
}

/// Runs a job. `N` vectors of keys or channels by `R` rows are one register tile.
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
    let sizes = Sizes {
        k_dim,
        v_dim,
        key_vectors: TILE_K.div_ceil(S::LANES).next_multiple_of(N),
        v_vectors: v_dim.div_ceil(S::LANES),
    };
    let scratch = core::mem::take(&mut job.scratch);
    let capacity = job.tile_rows;
    let Some(mut work) = cut::<S>(simd, scratch, capacity, sizes, N) else {
        debug_assert!(false, "the plan checks the scratch");
        return;
    };
    let mut tiles = QueryTile::of(&job, capacity).peekable();
    while let Some(tile) = tiles.next() {
        let mut batch = Batch::of(&tile);
        while let Some(tile) = tiles.peek()
            && batch.takes(&job, tile, capacity)
        {
            tiles.next();
        }
        decode_batch::<S, N, R, TILE_K>(simd, &mut job, &mut work, &batch);
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
        let is_alike = self.b == tile.b && self.rows == tile.rows && job.heads_lie_together();
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
    fn ahead(&self, slot: usize, next_tile: Option<usize>) -> Ahead {
        let head = |slot: usize| self.heads.get(slot).map_or(0, |&g| g as isize);
        if slot + 1 < self.count {
            return Ahead { keys: 0, heads: head(slot + 1) - head(slot) };
        }
        next_tile.map_or(Ahead::default(), |keys| Ahead {
            keys: keys as isize,
            heads: head(0) - head(slot),
        })
    }
}

#[inline(always)]
fn cut<S: Simd>(
    simd: S,
    scratch: &mut [f32],
    rows: usize,
    sizes: Sizes,
    vectors_at_once: usize,
) -> Option<Workspace<'_, S>> {
    let vectors = simd.vectors_of(scratch);
    let (q, rest) = vectors.split_at_mut_checked((rows * sizes.k_dim).div_ceil(S::LANES))?;
    let (o, rest) = rest.split_at_mut_checked(rows * sizes.v_vectors)?;
    let (states, rest) = rest.split_at_mut_checked(rows * 3)?;
    let (s, stage) = rest.split_at_mut_checked(rows * sizes.key_vectors)?;
    stage.get(..sizes.k_dim * vectors_at_once)?;
    Some(Workspace {
        q: simd.floats_of(q),
        o: o.as_chunks_mut::<1>().0,
        states: states.as_chunks_mut::<1>().0.as_chunks_mut::<3>().0,
        s,
        stage,
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
            stage: self.stage,
            sizes: self.sizes,
        })
    }
}

#[inline(always)]
fn decode_batch<S: Simd, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    job: &mut Job<'_>,
    work: &mut Workspace<'_, S>,
    batch: &Batch,
) {
    let (rows, group) = (batch.rows.len(), job.shape.heads.group());
    for (slot, tile) in batch.tiles().enumerate() {
        let Some(head) = work.slot(slot, rows) else { continue };
        job.flat_queries(&tile, tile.rows.clone(), head.q, head.sizes.k_dim);
        for ([m, l, _], o) in
            head.states.iter_mut().zip(head.o.chunks_exact_mut(head.sizes.v_vectors))
        {
            Online { m, l, o }.clear(simd);
        }
    }
    let visible = job.visible(batch.b);
    let (first, last) = QueryTile::queries(&batch.rows, group);
    for keys_of_tile in key_tiles(&visible, first, last, TILE_K) {
        let (range, is_full) = match visible.classify(first, last, &keys_of_tile) {
            Tile::Skip => continue,
            Tile::Full(range) => (range, true),
            Tile::Partial(range) => (range, false),
        };
        let mut bits = [u64::MAX; TILE_K];
        let Some(bits) = bits.get_mut(..range.len()) else {
            continue;
        };
        if !is_full {
            see(&visible, &range, &batch.rows, group, bits);
        }
        let keys = Keys {
            next: (range.end == keys_of_tile.end).then_some(TILE_K),
            range,
            bits: (!is_full).then_some(&*bits),
        };
        for (slot, tile) in batch.tiles().enumerate() {
            let Some(mut head) = work.slot(slot, rows) else { continue };
            let ahead = batch.ahead(slot, keys.next);
            absorb::<S, N, R, TILE_K>(simd, job, &mut head, &tile, &keys, ahead);
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

/// Joins the keys of one tile to the states of one head.
#[inline(always)]
fn absorb<S: Simd, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    job: &Job<'_>,
    work: &mut Workspace<'_, S>,
    tile: &QueryTile,
    keys: &Keys<'_>,
    ahead: Ahead,
) {
    let (rows, range) = (tile.rows.len(), &keys.range);
    score::<S, N, R>(simd, job, work, tile, range, ahead);
    for row in 0..rows {
        weigh(simd, work, row, range.len(), keys.bits);
    }
    let (stage, p) = (simd.floats_of(work.stage), &*simd.floats_of(work.s));
    let p = Rows::new(p, work.sizes.key_vectors * S::LANES, rows, range.len());
    if let Some(p) = p {
        sum_weights::<S, R>(simd, work.states, p);
    }
    job.stage_values(tile, range, ahead, stage);
    let values = job.values(tile, range, stage);
    let (Some(p), true) = (p, values.len() == range.len()) else {
        debug_assert!(false, "the scratch was cut for them");
        return;
    };
    let (o, states) = (&mut *work.o, &*work.states);
    let ahead = job.values_apart(ahead);
    let mut sums = Sums::<S> { o, states, vectors: work.sizes.v_vectors, ahead };
    match keys.bits {
        None => add_values::<S, N, R>(simd, &mut sums, p, values),
        Some(bits) => add_seen_values::<S, TILE_K>(simd, &mut sums, p, values, bits),
    }
}

/// Bit `r` of `bits[j]`: row `r` of the tile may see key `range.start + j`.
fn see(
    visible: &Visible,
    range: &Range<usize>,
    rows: &Range<usize>,
    group: usize,
    bits: &mut [u64],
) {
    for (bits, seen) in bits.iter_mut().zip(visible.rows_that_see(range.clone(), rows, group)) {
        *bits = seen;
    }
}

/// `s [rows, keys]` of one tile: `N` vectors of keys are transposed, then meet all rows.
#[inline(always)]
fn score<S: Simd, const N: usize, const R: usize>(
    simd: S,
    job: &Job<'_>,
    work: &mut Workspace<'_, S>,
    tile: &QueryTile,
    range: &Range<usize>,
    ahead: Ahead,
) {
    let Sizes { k_dim, key_vectors, .. } = work.sizes;
    let rows = tile.rows.len();
    let vectors = range.len().div_ceil(S::LANES);
    for first in (0..vectors).step_by(N) {
        let count = N.min(vectors - first);
        for n in 0..count {
            let start = range.start + (first + n) * S::LANES;
            let keys = start..range.end.min(start + S::LANES);
            let columns = simd.floats_of(work.stage).get_mut(n * S::LANES..).unwrap_or(&mut []);
            job.lay_keys(tile, keys, ahead, columns, N * S::LANES);
        }
        let queries = Rows::new(&*work.q, k_dim, rows, k_dim);
        let kt = Rows::new(&*work.stage, N, k_dim, N);
        let (Some(queries), Some(kt)) = (queries, kt) else {
            debug_assert!(false, "the scratch was cut for them");
            return;
        };
        // Columns behind the last key give scores that nothing reads.
        score_rows::<S, N, R>(simd, queries, kt, work.s, first, key_vectors);
    }
}

/// All rows against the `N` vectors of `kt`: columns `first ..` of `s`.
#[inline(always)]
fn score_rows<S: Simd, const N: usize, const R: usize>(
    simd: S,
    queries: Rows<'_>,
    kt: Rows<'_, S::F32>,
    s: &mut [S::F32],
    first: usize,
    key_vectors: usize,
) {
    let (mut row, rows) = (0, queries.len());
    while row + R <= rows {
        score_block::<S, N, R>(simd, queries, kt, s, [row, first], key_vectors);
        row += R;
    }
    while row < rows {
        score_block::<S, N, 1>(simd, queries, kt, s, [row, first], key_vectors);
        row += 1;
    }
}

#[inline(always)]
fn score_block<S: Simd, const N: usize, const R: usize>(
    simd: S,
    queries: Rows<'_>,
    kt: Rows<'_, S::F32>,
    s: &mut [S::F32],
    [row, first]: [usize; 2],
    key_vectors: usize,
) {
    let channels = 0..kt.len();
    let steps = queries.across::<R>(row, channels.end).and(kt.down::<N>(0, &channels));
    let scores =
        outer::<S, F32Products, N, 0, R>(simd, F32Products, [[simd.splat(0.0); N]; R], steps);
    for (r, scores) in scores.iter().enumerate() {
        let to = s.get_mut((row + r) * key_vectors + first..).unwrap_or(&mut []);
        if let Some(to) = to.first_chunk_mut::<N>() {
            *to = *scores;
        }
    }
}

/// Turns a row's scores of `keys` keys into weights. `bits` as in [`Keys`].
#[inline(always)]
fn weigh<S: Simd>(
    simd: S,
    work: &mut Workspace<'_, S>,
    row: usize,
    keys: usize,
    bits: Option<&[u64]>,
) {
    let vectors = work.sizes.key_vectors;
    let s = work.s.get_mut(row * vectors..).unwrap_or(&mut []);
    let s = s.get_mut(..keys.div_ceil(S::LANES)).unwrap_or(&mut []);
    let Some([m, l, correction]) = work.states.get_mut(row) else {
        return;
    };
    hide(simd.floats_of(s), keys, bits, row);
    let mut max = [simd.splat(f32::NEG_INFINITY)];
    for s in s.iter() {
        max[0] = simd.max(*s, max[0]);
    }
    let largest = |max: f32, s: &f32| if *s > max { *s } else { max };
    let max = simd.floats_of(&mut max).iter().fold(f32::NEG_INFINITY, largest);
    let max = [simd.add(simd.max(simd.splat(max), m[0]), simd.splat(0.0))];
    *correction = Online { m, l, o: &mut [] }.raise(simd, &max);
    let m = finite(simd, max[0]);
    for s in s.iter_mut() {
        *s = exp2(simd, simd.sub(*s, m));
    }
}

/// Joins the sums of each row's weights, `R` rows side by side; each in the order of the keys, as every
/// lane of `attend.rs` does it.
#[inline(always)]
fn sum_weights<S: Simd, const R: usize>(simd: S, states: &mut [[[S::F32; 1]; 3]], p: Rows<'_>) {
    let (mut states, mut row) = (states.iter_mut(), 0);
    while row < p.len() {
        let count = if p.len() - row >= R { R } else { 1 };
        let mut sums = [-0.0; R];
        if count == R {
            for (weights, _) in p.across::<R>(row, p.width()).and(Items::of(p.row(row))) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += weight;
                }
            }
        } else {
            for weight in p.row(row) {
                sums[0] += weight;
            }
        }
        for (sum, [_, l, correction]) in sums.iter().zip(states.by_ref().take(count)) {
            l[0] = simd.mul_add(l[0], correction[0], simd.splat(*sum));
        }
        row += count;
    }
}

/// -inf for keys that the row may not see, and behind the last key.
#[inline(always)]
fn hide(s: &mut [f32], keys: usize, bits: Option<&[u64]>, row: usize) {
    for (s, bits) in s.iter_mut().zip(bits.unwrap_or(&[])) {
        *s = if bits >> row & 1 == 0 { f32::NEG_INFINITY } else { *s };
    }
    s.get_mut(keys..).unwrap_or(&mut []).fill(f32::NEG_INFINITY);
}

/// What the values of a tile are added to.
struct Sums<'a, S: Simd> {
    /// `[rows, vectors]`.
    o: &'a mut [[S::F32; 1]],
    /// As in [`Workspace`].
    states: &'a [[[S::F32; 1]; 3]],
    vectors: usize,
    /// Floats from the values of this tile to those that are read next.
    ahead: isize,
}

/// `o = o * correction + p V` where every row sees every key.
#[inline(always)]
fn add_values<S: Simd, const N: usize, const R: usize>(
    simd: S,
    sums: &mut Sums<'_, S>,
    p: Rows<'_>,
    values: Rows<'_>,
) {
    let vectors = sums.vectors;
    let mut first = 0;
    while first + N <= vectors {
        add_columns::<S, N, R>(simd, sums, p, values, first);
        first += N;
    }
    while first < vectors {
        add_columns::<S, 1, R>(simd, sums, p, values, first);
        first += 1;
    }
}

/// All rows of the `N` vectors of channels from vector `first` on.
#[inline(always)]
fn add_columns<S: Simd, const N: usize, const R: usize>(
    simd: S,
    sums: &mut Sums<'_, S>,
    p: Rows<'_>,
    values: Rows<'_>,
    first: usize,
) {
    let mut row = 0;
    while row + R <= p.len() {
        add_block::<S, N, R>(simd, sums, p, values, row, first);
        row += R;
    }
    while row < p.len() {
        add_block::<S, N, 1>(simd, sums, p, values, row, first);
        row += 1;
    }
}

#[inline(always)]
fn add_block<S: Simd, const N: usize, const R: usize>(
    simd: S,
    sums: &mut Sums<'_, S>,
    p: Rows<'_>,
    values: Rows<'_>,
    row: usize,
    first: usize,
) {
    let keys = 0..values.len();
    let values = values.vectors::<S, N>(first * S::LANES, &keys, sums.ahead);
    let steps = p.across::<R>(row, keys.end).and(values);
    let sum =
        outer::<S, F32Products, N, 0, R>(simd, F32Products, [[simd.splat(-0.0); N]; R], steps);
    for (r, sum) in sum.iter().enumerate() {
        join(simd, sums, row + r, first, sum);
    }
}

/// As [`add_values`], without the values that a row may not see: they may be NaN.
#[inline(always)]
fn add_seen_values<S: Simd, const TILE_K: usize>(
    simd: S,
    sums: &mut Sums<'_, S>,
    p: Rows<'_>,
    values: Rows<'_>,
    bits: &[u64],
) {
    let keys = 0..values.len();
    for row in 0..p.len() {
        let mut lanes = [0; TILE_K];
        for (lanes, bits) in lanes.iter_mut().zip(bits) {
            *lanes = if bits >> row & 1 == 0 { 0 } else { u64::MAX };
        }
        for first in 0..sums.vectors {
            let values = values.vectors::<S, 1>(first * S::LANES, &keys, 0);
            let steps =
                p.across::<1>(row, keys.end).and(values).and(Items::of(lanes.as_chunks().0));
            let sum = outer_where::<S, F32Products, 1, 0, 1, 1>(
                simd,
                F32Products,
                [[simd.splat(-0.0)]],
                steps,
            );
            join(simd, sums, row, first, &sum[0]);
        }
    }
}

/// `o = o * correction + sum` for some vectors of a row.
#[inline(always)]
fn join<S: Simd, const N: usize>(
    simd: S,
    sums: &mut Sums<'_, S>,
    row: usize,
    first: usize,
    sum: &[S::F32; N],
) {
    let o = sums.o.get_mut(row * sums.vectors + first..).unwrap_or(&mut []);
    if let (Some(o), Some([.., [correction]])) = (o.first_chunk_mut::<N>(), sums.states.get(row)) {
        for (o, sum) in o.iter_mut().zip(sum) {
            o[0] = simd.mul_add(o[0], *correction, *sum);
        }
    }
}

/// Finishes the states and writes each row.
#[inline(always)]
fn unpack<S: Simd>(simd: S, job: &mut Job<'_>, work: &mut Workspace<'_, S>, tile: &QueryTile) {
    let rows = work.o.chunks_exact_mut(work.sizes.v_vectors).zip(tile.rows.clone());
    for ([m, l, _], (o, row)) in work.states.iter_mut().zip(rows) {
        if job.out.normalises() {
            Online { m: &mut *m, l: &mut *l, o: &mut *o }.finish(simd);
        }
        let (m, l) = (simd.floats_of(m).first(), simd.floats_of(l).first());
        let (Some(&m), Some(&l)) = (m, l) else { continue };
        let o = simd.floats_of(o.as_flattened_mut());
        job.write_row(tile, row, (m, l), o.get(..work.sizes.v_dim).unwrap_or(&[]));
    }
}
