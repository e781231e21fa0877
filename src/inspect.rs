//! What attention looks at, row by row: for heat maps, for debugging, for statistics. Outside the kernels.

use crate::attend::QueryTile;
use crate::call::Inputs;
use crate::change::At;
use crate::dispatch::{Entry, check_len};
use crate::error::{Error, Tensor};
use crate::job::Bound;
use crate::mask::Tile;
use crate::plan::Attention;
use crate::products::Precision;
use crate::shape::Shape;
use crate::simd::{DEEP, MAX_LANES, Rows};
use crate::sinks::Sinks;
use crate::staged::Ahead;
use crate::tiling::{Lanes, TILE_K};
use core::f64::consts::LN_2;

/// A plan bound to inputs, to be asked about some rows of its softmax: [`Attention::inspect`].
///
/// ```
/// use flashlet::{Attention, Heads, Inputs, Mask, Offset, Shape, View};
/// # fn main() -> Result<(), flashlet::Error> {
/// let shape = Shape { batch: 1, q_len: 2, kv_len: 3, heads: Heads::new(1, 1, 1) };
/// let plan = Attention::new(shape, Mask::causal(Offset::at(1)))?.scale(1.0);
/// let (q, k, v) = ([1.0, 2.0], [0.0, 1.0, 0.5], [0.0; 3]);
/// let inputs = Inputs::new(
///     View::packed(&q, shape.q())?,
///     View::packed(&k, shape.k())?,
///     View::packed(&v, shape.v())?,
/// );
/// let mut scratch = vec![0.0; plan.scratch_len()];
/// let mut inspector = plan.inspect(inputs, &mut scratch)?;
/// let mut weights = [0.0; 3];
/// let row = inspector.weights(0, 0, 0, &mut weights)?; // of query 0 of head 0 of sequence 0
/// assert!((weights[1] - 0.7310586).abs() < 1e-6 && weights[2] == 0.0);
/// assert!((row.max_logit - 1.0).abs() < 1e-6 && (row.entropy - 0.5822031).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Inspector<'a> {
    bound: Bound<'a>,
    scratch: &'a mut [f32],
}

/// What a row of attention looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RowStatistics {
    /// The largest score of a key that the query sees, as the softmax gets it; -inf if it sees none.
    pub max_logit: f32,
    /// The natural log-sum-exp, the sink's share included.
    pub lse: f32,
    /// `-sum p ln p` over the keys and the sink: 0 where one takes all, `ln n` where `n` share evenly.
    pub entropy: f32,
    /// The weight of the sink; 0 if there is none.
    pub sink_weight: f32,
}

impl<'m> Attention<'m> {
    /// The plan bound to inputs, to be asked what its rows look at. [`Attention::scratch_len`] floats are enough, unless the
    /// plan's entry was made for shorter tiles than [`TILE_K`].
    ///
    /// # Errors
    /// As [`Attention::bind`].
    pub fn inspect<'a>(
        &self,
        inputs: Inputs<'a>,
        scratch: &'a mut [f32],
    ) -> Result<Inspector<'a>, Error>
    where
        'm: 'a,
    {
        let (mut bound, given) = (self.bind_inputs(inputs, None, scratch.len())?, scratch.len());
        bound.check_evicted(0..bound.shape.batch)?;
        // Scores in f32, of one row at a time.
        (bound.k, bound.v) = (bound.k.in_f32(), bound.v.in_f32());
        let heads = bound.shape.heads;
        bound.entry = Entry::choose(bound.level(), Precision::F32, heads, 1);
        // A query, its scores, and a vector of keys.
        let rows = bound.level().lanes().saturating_add(1);
        let needed = heads.dim.next_multiple_of(DEEP).saturating_mul(rows).saturating_add(LINE);
        let needed = needed.saturating_add(bound.changes.room_len(&bound.entry, heads));
        if given < needed {
            return Err(Error::Scratch { needed, given });
        }
        Ok(Inspector { bound, scratch })
    }
}

impl<'a> Inspector<'a> {
    /// With a learned sink for each query head, as in [`Outputs::sinks`](crate::Outputs::sinks).
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a logit for each query head.
    pub fn sinks(mut self, logits: &'a [f32]) -> Result<Self, Error> {
        let sinks = Sinks::new(logits);
        sinks.check(self.bound.shape.heads.q)?;
        self.bound.sinks = Some(sinks);
        Ok(self)
    }

    /// With a sink of logit 0 for every head.
    #[must_use]
    pub fn smooth_softmax(mut self) -> Self {
        self.bound.sinks = Some(Sinks::smooth());
        self
    }

    /// The statistics of one row, in one pass over its keys.
    ///
    /// # Errors
    /// [`Error::Row`] if there is no such row.
    pub fn statistics(
        &mut self,
        sequence: usize,
        query: usize,
        head: usize,
    ) -> Result<RowStatistics, Error> {
        let tile = self.tile(sequence, query, head)?;
        Ok(self.sums(&tile, head).statistics())
    }

    /// The statistics of one row, and its weight for each key: `weights [kv_len]`, 0 for keys that it does not see.
    ///
    /// # Errors
    /// [`Error::Row`] if there is no such row, [`Error::Length`] unless there is a weight for each key.
    pub fn weights(
        &mut self,
        sequence: usize,
        query: usize,
        head: usize,
        weights: &mut [f32],
    ) -> Result<RowStatistics, Error> {
        check_len(Tensor::Weights, self.bound.shape.kv_len, weights.len())?;
        let tile = self.tile(sequence, query, head)?;
        let sums = self.sums(&tile, head);
        weights.fill(0.0);
        self.each_key(&tile, |key, score| {
            *weights.get_mut(key).unwrap_or(&mut 0.0) = sums.weight(score);
        });
        Ok(sums.statistics())
    }

    fn tile(&self, sequence: usize, query: usize, head: usize) -> Result<QueryTile, Error> {
        let Shape { batch, q_len, heads, .. } = self.bound.shape;
        if sequence >= batch || query >= q_len || head >= heads.q {
            let (row, limits) = ([sequence, query, head], [batch, q_len, heads.q]);
            return Err(Error::Row { row, limits });
        }
        // Never 0; saying so here removes the division checks.
        let group = heads.group().max(1);
        let row = query * group + head % group;
        Ok(QueryTile { b: sequence, g: head / group, rows: row..row + 1 })
    }

    /// The sums over the keys of a row and its sink.
    fn sums(&mut self, tile: &QueryTile, head: usize) -> Sums {
        let mut sums = Sums::new(self.bound.sinks.and_then(|sinks| sinks.of_head(head)));
        self.each_key(tile, |_, score| sums.add(score));
        sums
    }

    /// Calls `each` with every key that a row sees and its score, in units of log2.
    fn each_key(&mut self, tile: &QueryTile, mut each: impl FnMut(usize, f32)) {
        let (bound, heads) = (&self.bound, self.bound.shape.heads);
        let query = tile.rows.start / heads.group().max(1);
        let k_dim = heads.dim.next_multiple_of(DEEP);
        let visible = bound.visible(tile.b, tile.g);
        let (scratch, room) = bound.split_scratch(self.scratch);
        let (q, rest) = scratch.split_at_mut_checked(k_dim).unwrap_or_default();
        let (s, stage) = rest.split_at_mut_checked(LINE).unwrap_or_default();
        debug_assert!(s.len() == LINE, "the plan checks the scratch");
        bound.flat_queries(tile, tile.rows.clone(), q, k_dim);
        bound.k.round_queries(q, k_dim);
        for keys_of_tile in visible.key_tiles(query, query, TILE_K) {
            let keys = match visible.classify(query, query, &keys_of_tile) {
                Tile::Skip => continue,
                Tile::Full(keys) | Tile::Partial(keys) => keys,
            };
            let mut bits = [0; TILE_K];
            let bits = bits.get_mut(..keys.len()).unwrap_or(&mut []);
            visible.see(&keys, &tile.rows, bits);
            let queries = Rows::inside(&*q, k_dim, 1, k_dim);
            bound.k.scores(tile, &keys, Ahead::default(), queries, (&mut *s, LINE), stage);
            if bound.changes_scores() {
                let (rows, widths) = (tile.rows.clone(), [LINE; 2]);
                let at = At { rows, keys: &keys, widths, along: Lanes::Keys, idle: 0 };
                bound.change_scores(&visible, tile, at, s, room);
            }
            let scores = keys.zip(s.iter().zip(bits));
            for (key, (score, _)) in scores.filter(|(_, (_, bits))| **bits & 1 == 1) {
                each(key, *score);
            }
        }
    }
}

/// A tile's scores in whole vectors.
const LINE: usize = TILE_K.next_multiple_of(MAX_LANES);

/// The sums of one row, in units of log2, beyond the precision of its scores.
#[derive(Clone, Copy, Debug)]
struct Sums {
    /// The largest score of a key, and of a key or the sink.
    max_key: f32,
    max: f32,
    /// `sum 2^(s - max)`, and `sum 2^(s - max) (s - max)`.
    l: f64,
    spread: f64,
    sink: Option<f32>,
}

impl Sums {
    /// Those of the sink alone, a logit in units of log2.
    fn new(sink: Option<f32>) -> Self {
        let never = f32::NEG_INFINITY;
        let mut sums = Sums { max_key: never, max: never, l: 0.0, spread: 0.0, sink };
        if let Some(sink) = sink {
            sums.join(sink);
        }
        sums
    }

    fn add(&mut self, score: f32) {
        // A score of NaN is no maximum, but its weight is NaN.
        self.max_key = if score > self.max_key { score } else { self.max_key };
        self.join(score);
    }

    fn join(&mut self, score: f32) {
        if score > self.max {
            let apart = f64::from(self.max) - f64::from(score);
            if self.l > 0.0 {
                let correction = libm::exp2(apart);
                self.spread = correction * (self.spread + apart * self.l);
                self.l *= correction;
            }
            self.max = score;
        }
        let below = self.below(score);
        let weight = libm::exp2(below);
        self.l += weight;
        // Where the weight is 0, so is the term: 0 times -inf is NaN.
        self.spread += if weight == 0.0 { 0.0 } else { weight * below };
    }

    /// How far a score is below the maximum; 0 stands in for a maximum of -inf.
    fn below(&self, score: f32) -> f64 {
        let top = if self.max == f32::NEG_INFINITY { 0.0 } else { f64::from(self.max) };
        f64::from(score) - top
    }

    /// The weight of a score.
    fn weight(&self, score: f32) -> f32 {
        narrow(if self.l == 0.0 { 0.0 } else { libm::exp2(self.below(score)) / self.l })
    }

    fn statistics(&self) -> RowStatistics {
        let max_logit = narrow(f64::from(self.max_key) * LN_2);
        if self.l == 0.0 {
            let lse = f32::NEG_INFINITY;
            return RowStatistics { max_logit, lse, entropy: 0.0, sink_weight: 0.0 };
        }
        // p = 2^(s - max) / l, so -sum p ln p = ln l - ln 2 * sum p (s - max): no term is negative.
        let (ln_l, spread) = (libm::log(self.l), self.spread / self.l * LN_2);
        let sink_weight = self.sink.map_or(0.0, |sink| self.weight(sink));
        let lse = narrow(f64::from(self.max) * LN_2 + ln_l);
        RowStatistics { max_logit, lse, entropy: narrow(ln_l - spread), sink_weight }
    }
}

fn narrow(x: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
    let rounded = x as f32;
    rounded
}
