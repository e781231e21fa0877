//! Patterns that were written down pair by pair, and those that are a function.

use super::pattern::{Coverage, Pattern, Place, bits_of};
use crate::error::{Error, List};
use crate::shape::Shape;
use core::fmt;
use core::ops::Range;

/// A matrix of yes and no, a row a query: packed bits ([`Table::bits`]) or one byte each ([`Table::bools`]).
/// Every tile is looked through to know what it is.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a, C> {
    cells: &'a [C],
    /// Queries and keys of a matrix.
    dims: [usize; 2],
    /// Matrices from one sequence and from one head to the next; 0: the same.
    sequence: usize,
    head: usize,
}

/// What a [`Table`] is made of: eight cells in a `u8`, or one in a `bool`.
pub trait Cell: Copy + Sync + sealed::Sealed {
    /// Cell `at` of all.
    #[doc(hidden)]
    fn at(cells: &[Self], at: usize) -> bool;
    /// Elements that hold so many cells.
    #[doc(hidden)]
    fn len(cells: usize) -> usize;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for bool {}
}

impl Cell for u8 {
    fn at(cells: &[u8], at: usize) -> bool {
        cells.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }
    fn len(cells: usize) -> usize {
        cells.div_ceil(8)
    }
}

impl Cell for bool {
    fn at(cells: &[bool], at: usize) -> bool {
        cells.get(at).copied().unwrap_or(false)
    }
    fn len(cells: usize) -> usize {
        cells
    }
}

impl<'a> Table<'a, u8> {
    /// Bit `query * kv_len + key` of all, the least significant of a byte first, as FlashInfer packs them; matrices
    /// follow each other without a gap. One matrix serves every sequence and head, unless [`Table::of_sequences`] or
    /// [`Table::of_heads`] say otherwise.
    #[must_use]
    pub const fn bits(bits: &'a [u8], q_len: usize, kv_len: usize) -> Self {
        Table { cells: bits, dims: [q_len, kv_len], sequence: 0, head: 0 }
    }
}

impl<'a> Table<'a, bool> {
    /// `bools[query * kv_len + key]`, otherwise as [`Table::bits`].
    #[must_use]
    pub const fn bools(bools: &'a [bool], q_len: usize, kv_len: usize) -> Self {
        Table { cells: bools, dims: [q_len, kv_len], sequence: 0, head: 0 }
    }
}

impl<C: Cell> Table<'_, C> {
    /// Sequence `b` has the matrices from number `b * matrices` on.
    #[must_use]
    pub const fn of_sequences(self, matrices: usize) -> Self {
        Table { sequence: matrices, ..self }
    }

    /// Query head `h` has the matrix that is `h * matrices` after its sequence's first.
    #[must_use]
    pub const fn of_heads(self, matrices: usize) -> Self {
        Table { head: matrices, ..self }
    }

    fn sees(&self, place: &Place, query: usize, key: usize) -> bool {
        let [q_len, kv_len] = self.dims;
        let matrix = place.sequence * self.sequence + place.head * self.head;
        query < q_len && key < kv_len && C::at(self.cells, (matrix * q_len + query) * kv_len + key)
    }
}

impl<C: Cell> Pattern for Table<'_, C> {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        let seen = |key: &usize| queries.clone().any(|query| self.sees(place, query, *key));
        (key..place.kv_len.min(self.dims[1])).find(seen)
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        let (mut all, mut none) = (true, true);
        for query in queries.clone() {
            for key in keys.clone() {
                let sees = self.sees(place, query, key);
                (all, none) = (all && sees, none && !sees);
            }
        }
        match (all, none) {
            (true, _) => Coverage::All,
            (_, true) => Coverage::None,
            _ => Coverage::Some,
        }
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        for (key, seen) in keys.clone().zip(seen) {
            *seen &= bits_where(queries, |query| self.sees(place, query, key));
        }
    }
    fn differs_by_head(&self) -> bool {
        self.head > 0
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let [q_len, kv_len] = self.dims;
        for (list, needed, given) in
            [(List::TableQueries, shape.q_len, q_len), (List::TableKeys, shape.kv_len, kv_len)]
        {
            if needed != given {
                return Err(Error::ListLength { list, needed, given });
            }
        }
        let last = |count: usize, step: usize| count.saturating_sub(1).saturating_mul(step);
        let matrices = last(shape.batch, self.sequence)
            .saturating_add(last(shape.heads.q, self.head))
            .saturating_add(1);
        let needed = C::len(matrices.saturating_mul(q_len).saturating_mul(kv_len));
        let (list, given) = (List::TableCells, self.cells.len());
        if given < needed {
            return Err(Error::ListLength { list, needed, given });
        }
        Ok(())
    }
}

/// A function of the query's and the key's position, and if known of whole tiles.
///
/// ```
/// use flashlet::{Coverage, Predicate};
///
/// let even = Predicate::new(|_query: i64, key: i64| key % 2 == 0);
/// let late = Predicate::new(|query: i64, key: i64| query - key < 100)
///     .tiles(|queries, keys| match () {
///         () if queries.end - keys.start <= 100 => Coverage::All,
///         () if queries.start - keys.end >= 99 => Coverage::None,
///         () => Coverage::Some,
///     });
/// # let _ = (even, late);
/// ```
#[derive(Clone, Copy)]
pub struct Predicate<F, T = Unknown> {
    sees: F,
    tiles: T,
}

/// What a [`Predicate`] knows of tiles that nobody told it about: nothing.
#[derive(Clone, Copy, Debug)]
pub struct Unknown(());

/// What a predicate says of a tile of positions.
pub trait Classify: Sync {
    /// What queries at some positions see of keys at others.
    fn classify(&self, queries: Range<i64>, keys: Range<i64>) -> Coverage;
}

impl Classify for Unknown {
    fn classify(&self, _: Range<i64>, _: Range<i64>) -> Coverage {
        Coverage::Some
    }
}

impl<T: Fn(Range<i64>, Range<i64>) -> Coverage + Sync> Classify for T {
    fn classify(&self, queries: Range<i64>, keys: Range<i64>) -> Coverage {
        self(queries, keys)
    }
}

impl<F: Fn(i64, i64) -> bool + Sync> Predicate<F> {
    /// Pairs for which `sees(position of the query, position of the key)` is true.
    pub const fn new(sees: F) -> Self {
        Predicate { sees, tiles: Unknown(()) }
    }

    /// The same, with a function that knows what queries at some positions see of keys at others, so that tiles can
    /// be skipped or go without a test.
    pub fn tiles<T: Fn(Range<i64>, Range<i64>) -> Coverage + Sync>(
        self,
        tiles: T,
    ) -> Predicate<F, T> {
        Predicate { sees: self.sees, tiles }
    }
}

impl<F, T> fmt::Debug for Predicate<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate")
    }
}

/// Keys that a predicate is asked for as one tile when the next visible one is looked for.
const STRIDE: usize = 32;

impl<F: Fn(i64, i64) -> bool + Sync, T: Classify> Pattern for Predicate<F, T> {
    fn next(&self, place: &Place, queries: &Range<usize>, mut key: usize) -> Option<usize> {
        while key < place.kv_len {
            let end = (key / STRIDE + 1).saturating_mul(STRIDE).min(place.kv_len);
            if self.coverage(place, queries, &(key..end)) != Coverage::None {
                return Some(key);
            }
            key = end;
        }
        None
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        let positions = place.position(queries.start)..place.position(queries.end);
        self.tiles.classify(positions, keys.start as i64..keys.end as i64)
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        for (key, seen) in keys.clone().zip(seen) {
            let sees = |query| (self.sees)(place.position(query), key as i64);
            *seen &= bits_where(queries, sees);
        }
    }
    fn needs_positions(&self) -> bool {
        true
    }
}

/// The bits of the queries for which something is true.
fn bits_where(queries: &Range<usize>, is_true: impl Fn(usize) -> bool) -> u64 {
    let of = |query: usize| bits_of(queries, query as i64, query as i64 + 1);
    queries.clone().filter(|query| is_true(*query)).fold(0, |bits, query| bits | of(query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_head_of_each_sequence_has_its_matrix() {
        const Q: usize = 3;
        const KV: usize = 2;
        const HEADS: usize = 2;
        let cells: [bool; 2 * HEADS * Q * KV] = core::array::from_fn(|at| at % 5 < 2);
        let table = Table::bools(&cells, Q, KV).of_heads(1).of_sequences(HEADS);
        for (at, cell) in cells.iter().enumerate() {
            let (matrix, query, key) = (at / (Q * KV), at / KV % Q, at % KV);
            let (sequence, head) = (matrix / HEADS, matrix % HEADS);
            let place = Place { sequence, head, offset: 0, q_len: Q, kv_len: KV };
            assert_eq!(table.sees(&place, query, key), *cell, "{place:?} {query} {key}");
        }
    }
}
