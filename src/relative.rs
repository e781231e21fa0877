//! Keys and values by distance: Shaw et al., arXiv 1803.02155, and the terms of Transformer-XL, arXiv 1901.02860.
//!
//! ```text
//! s_ij = scale * (<q_i, k_j> + <q'_i, a_t>)     o_i = sum_j p_ij (v_j + b_t)     t = clip(j - p_i)
//! ```
//! A tile of some rows and keys asks for a run of neighbouring distances. So its relative terms are two more products
//! like those of the tile itself, and a shift between them: row `i` of `<q'_i, a_t>` over that run is row `i` of the
//! scores, moved by `p_i`. The products and the transpositions are those of `decode/products.rs` and `moves.rs`.

use crate::attend::QueryTile;
use crate::change::{KeyTerm, Lines, Pairs, ValueTerm};
use crate::decode::products::Weights;
use crate::dispatch::Adder;
use crate::elem::Elem;
use crate::error::{Error, Tensor};
use crate::job::Bound;
use crate::shape::{Heads, Shape, index_of};
use crate::simd::{DEEP, Level, MAX_LANES, Rows, Scalar};
use crate::staged::{Ahead, Staged};
use crate::tiling::{Lanes, TILE_K, max};
use crate::view::{AnyView, Stored, of_any};
use core::ops::Range;

/// A key for each distance from a query to a key, whose product with the query joins the score before a modifier does.
///
/// Row `t` is that of a key `first + t` after the query; nearer and further ones take the first or the last row.
///
/// ```
/// use flashlet::{Attention, Heads, Mask, Offset, RelativeKeys, Shape, Strides, View};
/// # fn main() -> Result<(), flashlet::Error> {
/// // Shaw: distances -16 ..= 16, the same for all heads (a stride of 0).
/// let (shape, clip) = (Shape { batch: 1, q_len: 8, kv_len: 8, heads: Heads::new(4, 4, 32) }, 16);
/// let table = [0.01; 33 * 32];
/// let strides = Strides { batch: 0, token: 32, head: 0 };
/// let keys = RelativeKeys::new(View::strided(&table, [1, 33, 4, 32], strides)?, -clip);
/// let plan = Attention::new(shape, Mask::at(Offset::TOP_LEFT))?.relative_keys(&keys)?;
/// # let _ = plan;
/// # Ok(())
/// # }
/// ```
///
/// Transformer-XL's `<q + u, k_j> + <q + w, R_(i-j)>` is attention with the queries `q + u`, and relative keys R for the
/// [`queries`](RelativeKeys::queries) `q + w`: row `t` of the table is `R_(-first - t)`.
#[derive(Clone, Copy, Debug)]
pub struct RelativeKeys<'a> {
    table: Table<'a>,
    queries: Option<AnyView<'a>>,
}

/// A value for each distance from a query to a key, to be added to that of the key: as [`RelativeKeys`], none of them NaN
/// or infinite.
#[derive(Clone, Copy, Debug)]
pub struct RelativeValues<'a> {
    table: Table<'a>,
}

/// Rows by distance, `[1, distances, kv_heads, dim]`.
#[derive(Clone, Copy, Debug)]
struct Table<'a> {
    rows: AnyView<'a>,
    first: i64,
}

impl<'a> RelativeKeys<'a> {
    /// Keys `[1, distances, kv_heads, head_dim]` for the distances from `first` on.
    #[must_use]
    pub fn new(keys: impl Into<AnyView<'a>>, first: i64) -> Self {
        RelativeKeys { table: Table { rows: keys.into(), first }, queries: None }
    }

    /// Other queries than those of the attention, `[batch, q_len, q_heads, head_dim]`.
    #[must_use]
    pub fn queries(self, queries: impl Into<AnyView<'a>>) -> Self {
        RelativeKeys { queries: Some(queries.into()), ..self }
    }

    pub(crate) fn check(&self, shape: &Shape) -> Result<(), Error> {
        let Heads { kv, dim, .. } = shape.heads;
        self.table.check(Tensor::RelativeKeys, kv, dim)?;
        match self.queries.map(|queries| queries.dims()) {
            Some(given) if given != shape.q() => {
                Err(Error::Shape { tensor: Tensor::Q, expected: shape.q(), given })
            }
            _ => Ok(()),
        }
    }
}

impl<'a> RelativeValues<'a> {
    /// Values `[1, distances, kv_heads, v_dim]` for the distances from `first` on. Reads all of them once.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub fn new(values: impl Into<AnyView<'a>>, first: i64) -> Result<Self, Error> {
        let rows = values.into();
        let [batch, distances, heads, _] = rows.dims();
        of_any!(Stored, rows.0, (view, _) => {
            for (b, t) in (0..batch).flat_map(|b| (0..distances).map(move |t| (b, t))) {
                for (h, row) in (0..heads).map(|h| (h, view.row(b, t, h))) {
                    let is_finite = |x: &_| is_finite(*x);
                    if let Some(channel) = row.iter().position(|x| !is_finite(x)) {
                        let tensor = Tensor::RelativeValues;
                        return Err(Error::NotFinite { tensor, at: [b, t, h, channel] });
                    }
                }
            }
        });
        Ok(RelativeValues { table: Table { rows, first } })
    }

    pub(crate) fn check(&self, shape: &Shape) -> Result<(), Error> {
        let Heads { kv, v_dim, .. } = shape.heads;
        self.table.check(Tensor::RelativeValues, kv, v_dim)
    }
}

fn is_finite<T: Elem>(x: T) -> bool {
    T::load(Scalar, &[x]).is_finite()
}

impl Table<'_> {
    fn check(&self, tensor: Tensor, kv_heads: usize, dim: usize) -> Result<(), Error> {
        let given = self.rows.dims();
        // Any number of distances, but one.
        let expected = [1, max(given[1], 1), kv_heads, dim];
        if expected == given { Ok(()) } else { Err(Error::Shape { tensor, expected, given }) }
    }
}

/// Floats of scratch for the relative terms of as many rows as a vector has lanes.
pub(crate) const fn room_len(level: Level, tile_k: usize, heads: Heads) -> usize {
    let (lanes, k_dim) = (max(level.lanes(), 1), heads.dim.saturating_add(DEEP - 1) / DEEP * DEEP);
    let (line, values) =
        (line(tile_k, lanes), heads.v_dim.saturating_add(lanes - 1) / lanes * lanes);
    // Queries, scores and a vector of table rows; or weights, sums and a vector of channels of table rows.
    let of_keys = k_dim.saturating_mul(2).saturating_add(line);
    max(of_keys, values.saturating_add(2 * line)).saturating_mul(lanes)
}

/// A tile's keys, one further for each row of a vector, and the vector behind the last.
const fn line(tile_k: usize, lanes: usize) -> usize {
    tile_k.saturating_add(3 * lanes - 1) / lanes * lanes
}

/// The distances of some rows and keys: `len` of them one after the other, of which row `r` has those from `shift(r)` on.
struct Span {
    /// The rows of the table among them, and where they begin. What is left and right of them takes the first and the
    /// last.
    rows: Range<usize>,
    at: usize,
    len: usize,
    last_position: i64,
}

impl Span {
    fn new(table: &Table<'_>, pairs: &Pairs<'_>, rows: &Range<usize>) -> Self {
        let position = |row| pairs.row(row).position;
        let (first, last) = (position(rows.start), position(rows.end.saturating_sub(1)));
        let further = index_of(last.saturating_sub(first)).min(MAX_LANES);
        let len = pairs.keys.len() + further;
        let start = (pairs.keys.start as i64).saturating_sub(last).saturating_sub(table.first);
        let [_, distances, _, _] = table.rows.dims();
        let row = |n: i64| index_of(n).min(distances.saturating_sub(1));
        let (low, high) = (row(start), row(start.saturating_add(len as i64 - 1)));
        let at = index_of((low as i64).saturating_sub(start));
        Span { rows: low..high + 1, at: at.min(len.saturating_sub(1)), len, last_position: last }
    }

    /// Where a row's distances begin.
    fn shift(&self, pairs: &Pairs<'_>, row: usize) -> usize {
        index_of(self.last_position.saturating_sub(pairs.row(row).position)).min(MAX_LANES)
    }

    /// Copies the weights of some rows to lines of `width` floats, each to where its row's distances begin; 0 for what a row
    /// may not see, and beside it. Returns a bit for each row that sees something.
    fn take_weights(
        &self,
        level: Level,
        pairs: &Pairs<'_>,
        p: &Lines<'_>,
        rows: &Range<usize>,
        (to, width): (&mut [f32], usize),
    ) -> u64 {
        to.fill(0.0);
        let before = rows.start - pairs.rows.start;
        let first = match p.along {
            Lanes::Queries => (p.idle + before) % level.lanes().max(1),
            Lanes::Keys => 0,
        };
        let mut shifted: [&mut [f32]; MAX_LANES] = core::array::from_fn(|_| &mut [][..]);
        let lines = rows.clone().zip(to.chunks_exact_mut(width.max(1)));
        for (shifted, (row, line)) in shifted.iter_mut().skip(first).zip(lines) {
            let from = line.get_mut(self.shift(pairs, row)..).unwrap_or(&mut []);
            *shifted = from.get_mut(..pairs.keys.len()).unwrap_or(&mut []);
        }
        p.take_rows(level, before, &mut shifted);
        let mut seen = 0;
        for start in pairs.keys.clone().step_by(TILE_K) {
            let keys = start..pairs.keys.end.min(start + TILE_K);
            let (at, mut bits) = (start - pairs.keys.start, [0; TILE_K]);
            let bits = bits.get_mut(..keys.len()).unwrap_or(&mut []);
            pairs.visible.see(&keys, rows, bits);
            seen |= bits.iter().fold(0, |all, bits| all | bits);
            for (n, shifted) in shifted.iter_mut().skip(first).enumerate() {
                let weights = shifted.get_mut(at..).unwrap_or(&mut []).iter_mut().zip(&*bits);
                weights.filter(|(_, bits)| **bits >> n & 1 == 0).for_each(|(w, _)| *w = 0.0);
            }
        }
        seen
    }

    /// The first and the last place of the table's rows, of a line.
    fn ends(&self) -> (usize, usize) {
        (self.at, self.at + self.rows.len() - 1)
    }
}

impl KeyTerm for RelativeKeys<'_> {
    fn add(&self, bound: &Bound<'_>, pairs: &Pairs<'_>, lines: &mut Lines<'_>, room: &mut [f32]) {
        let (level, k_dim) = (bound.level(), bound.shape.heads.dim.next_multiple_of(DEEP));
        let (lanes, keys) = (level.lanes().max(1), pairs.keys.len());
        let line = line(bound.entry.tile_k(), lanes);
        let (q, rest) = room.split_at_mut_checked(lanes * k_dim).unwrap_or_default();
        let (scores, stage) = rest.split_at_mut_checked(lanes * line).unwrap_or_default();
        let table = Staged::table(self.table.rows, level);
        for rows in pairs.chunks(lines.idle, lanes) {
            let span = Span::new(&self.table, pairs, &rows);
            let of_queries = QueryTile { b: pairs.visible.sequence(), ..tile(pairs) };
            match self.queries {
                Some(queries) => bound.flat_rows(queries, &of_queries, rows.clone(), q, k_dim),
                None => bound.flat_own(&of_queries, rows.clone(), q, k_dim),
            }
            let q = Rows::inside(&*q, k_dim, rows.len(), k_dim);
            let to = scores.get_mut(span.at..).unwrap_or(&mut []);
            table.scores(&tile(pairs), &span.rows, Ahead::default(), q, (to, line), stage);
            let (first, last) = span.ends();
            for scores in scores.chunks_exact_mut(line.max(1)) {
                spread(scores.get_mut(..span.len).unwrap_or(&mut []), first, last);
            }
            let biases = rows.clone().zip(scores.chunks_exact(line.max(1)));
            let biases = biases.map(|(row, scores)| {
                scores
                    .get(span.shift(pairs, row)..)
                    .and_then(|scores| scores.get(..keys))
                    .unwrap_or(&[])
            });
            lines.add_rows(Adder::of(level), (rows.start - pairs.rows.start, 0), 1.0, biases);
        }
    }
}

impl ValueTerm for RelativeValues<'_> {
    fn add(
        &self,
        bound: &Bound<'_>,
        pairs: &Pairs<'_>,
        p: &Lines<'_>,
        o: &mut Lines<'_>,
        room: &mut [f32],
    ) {
        let (level, v_dim) = (bound.level(), bound.shape.heads.v_dim);
        let lanes = level.lanes().max(1);
        let (line, width) = (line(bound.entry.tile_k(), lanes), v_dim.next_multiple_of(lanes));
        let (weights, rest) = room.split_at_mut_checked(lanes * line).unwrap_or_default();
        let (sums, stage) = rest.split_at_mut_checked(lanes * width).unwrap_or_default();
        let table = Staged::table(self.table.rows, level);
        for rows in pairs.chunks(p.idle, lanes) {
            let span = Span::new(&self.table, pairs, &rows);
            let seen = span.take_weights(level, pairs, p, &rows, (&mut *weights, line));
            let (first, last) = span.ends();
            for weights in weights.chunks_exact_mut(line.max(1)) {
                gather(weights.get_mut(..span.len).unwrap_or(&mut []), first, last);
            }
            let p = weights.get(span.at..).unwrap_or(&[]);
            let p = Rows::inside(p, line, rows.len(), span.rows.len());
            let given = Weights { p, bits: None };
            table.sums(
                &tile(pairs),
                &span.rows,
                Ahead::default(),
                given,
                (&mut *sums, width),
                stage,
            );
            for (n, sums) in sums.chunks_exact_mut(width.max(1)).take(rows.len()).enumerate() {
                if seen >> n & 1 == 0 {
                    // x + -0.0 is x, for -0.0 as well.
                    sums.fill(-0.0);
                }
            }
            let sums = sums.chunks_exact(width.max(1)).take(rows.len());
            let sums = sums.map(|sums| sums.get(..v_dim).unwrap_or(&[]));
            o.add_rows(Adder::of(level), (rows.start - pairs.rows.start, 0), 1.0, sums);
        }
    }
}

/// What names a table's rows of a key/value head.
fn tile(pairs: &Pairs<'_>) -> QueryTile {
    QueryTile { b: 0, g: pairs.head / pairs.group.max(1), rows: 0..0 }
}

/// Copies what is at `first` to all before it, and what is at `last` to all behind.
fn spread(line: &mut [f32], first: usize, last: usize) {
    if let Some((before, [from, ..])) = line.split_at_mut_checked(first) {
        before.fill(*from);
    }
    if let Some(([.., from], behind)) = line.split_at_mut_checked(last + 1) {
        behind.fill(*from);
    }
}

/// Adds all before `first` to it, in their order, and all behind `last` to that.
fn gather(line: &mut [f32], first: usize, last: usize) {
    if let Some((before, [to, ..])) = line.split_at_mut_checked(first) {
        *to += before.iter().fold(0.0, |sum, x| sum + x);
    }
    if let Some(([.., to], behind)) = line.split_at_mut_checked(last + 1) {
        *to = behind.iter().fold(*to, |sum, x| sum + x);
    }
}

#[cfg(test)]
mod tests {
    use super::{gather, spread};

    #[test]
    fn what_is_beyond_a_table_is_that_of_its_ends() {
        let mut line = [0.0, 0.0, 1.0, 2.0, 3.0, 0.0];
        spread(&mut line, 2, 4);
        assert_eq!(line, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
        gather(&mut line, 2, 4);
        assert_eq!(line[2..5], [3.0, 2.0, 6.0]);
        // All of it, and lines that end before.
        let mut line = [1.0, 2.0];
        spread(&mut line, 0, 1);
        gather(&mut line, 0, 1);
        assert_eq!(line, [1.0, 2.0]);
        for (first, last) in [(2, 2), (3, 7)] {
            spread(&mut line, first, last);
            gather(&mut line, first, last);
            assert_eq!(line, [1.0, 2.0]);
        }
    }
}
