//! Blocks of queries that see blocks of keys.

use super::pattern::{Coverage, Pattern, Place, bits_of};
use super::tokens::ascending;
use crate::error::{Error, List};
use crate::shape::Shape;
use core::ops::Range;

/// Block-sparse attention: for each block of queries the blocks of keys that all of its queries see, as a
/// compressed sparse row. FlexAttention's block mask, whose partial blocks need a test, is
/// `full.or(partial.and(test))`.
///
/// ```
/// use flashlet::BlockSparse;
/// # fn main() -> Result<(), flashlet::Error> {
/// // Queries 0..64 see keys 0..64; queries 64..128 see keys 0..64 and 128..192.
/// let pattern = BlockSparse::new([64, 64], &[0, 1, 3], &[0, 0, 2])?;
/// # let _ = pattern;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BlockSparse<'a> {
    /// Queries and keys of a block.
    block: [usize; 2],
    rows: &'a [u32],
    columns: &'a [u32],
    /// Heads that have rows of their own, one behind the other.
    heads: usize,
}

impl<'a> BlockSparse<'a> {
    /// Block row `r` sees the block columns `columns[rows[r]..rows[r + 1]]`, for every head. `block` is how many
    /// queries and how many keys are a block; the last ones may be short.
    ///
    /// # Errors
    /// [`Error::ZeroBlock`]; [`Error::ListLength`] for no rows; [`Error::Order`] if rows descend or the columns of
    /// a row do not ascend; [`Error::Entry`] if rows do not begin at 0 or do not end at the last column.
    pub fn new(block: [usize; 2], rows: &'a [u32], columns: &'a [u32]) -> Result<Self, Error> {
        Self::for_heads(1, block, rows, columns)
    }

    /// As [`BlockSparse::new`] with other blocks for each query head: the rows of head 0, then those of head 1,
    /// and so on. `heads` is 1, for all of them the same, or the number of query heads.
    ///
    /// # Errors
    /// As [`BlockSparse::new`]; [`Error::ListLength`] if the rows do not divide among the heads.
    pub fn for_heads(
        heads: usize,
        block: [usize; 2],
        rows: &'a [u32],
        columns: &'a [u32],
    ) -> Result<Self, Error> {
        if block.contains(&0) {
            return Err(Error::ZeroBlock { list: List::BlockRows });
        }
        let (count, list) = (rows.len().saturating_sub(1), List::BlockRows);
        if heads == 0 || rows.is_empty() || !count.is_multiple_of(heads) {
            let needed = count.div_ceil(heads.max(1)) * heads + 1;
            return Err(Error::ListLength { list, needed, given: rows.len() });
        }
        ascending(list, rows, false)?;
        let (first, last) = (rows[0], rows[rows.len() - 1]);
        if first != 0 {
            return Err(Error::Entry { list, index: 0, value: first, limit: 1 });
        }
        if last as usize != columns.len() {
            let limit = columns.len() + 1;
            return Err(Error::Entry { list, index: rows.len() - 1, value: last, limit });
        }
        let this = BlockSparse { block, rows, columns, heads };
        for row in 0..count {
            ascending(List::BlockColumns, this.row(row), true)?;
        }
        Ok(this)
    }

    /// The block columns of a row.
    fn row(&self, row: usize) -> &'a [u32] {
        let Some(&[start, end]) = self.rows.get(row..).and_then(|rows| rows.first_chunk()) else {
            return &[];
        };
        self.columns.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The block rows of some queries of a head, each with the first query of its block.
    fn rows_of(
        &self,
        head: usize,
        queries: &Range<usize>,
    ) -> impl Iterator<Item = (usize, &'a [u32])> + use<'_, 'a> {
        let [size, _] = self.block.map(|size| size.max(1));
        let per_head = (self.rows.len() - 1) / self.heads.max(1);
        let first = if self.heads > 1 { head * per_head } else { 0 };
        let rows = queries.start / size..queries.end.div_ceil(size).min(per_head);
        rows.map(move |row| (row * size, self.row(first + row)))
    }
}

impl Pattern for BlockSparse<'_> {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        let size = self.block[1].max(1);
        let at = (key / size) as u32;
        let next = self.rows_of(place.head, queries).filter_map(|(_, columns)| {
            let from = columns.partition_point(|column| *column < at);
            columns.get(from).map(|column| (*column as usize).saturating_mul(size).max(key))
        });
        next.min().filter(|key| *key < place.kv_len)
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        let [q_size, size] = self.block.map(|size| size.max(1));
        let (first, last) = (keys.start / size, keys.end.div_ceil(size));
        let (mut all, mut none, mut end) = (true, true, queries.start);
        for (start, columns) in self.rows_of(place.head, queries) {
            let below = |key: usize| columns.partition_point(|column| (*column as usize) < key);
            let count = below(last) - below(first);
            all &= count == last - first;
            none &= count == 0;
            end = start + q_size;
        }
        match (all && end >= queries.end, none) {
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
        let [q_size, size] = self.block.map(|size| size.max(1));
        let mut known = None;
        for (key, seen) in keys.clone().zip(seen) {
            let column = key / size;
            let bits = match known {
                Some((of, bits)) if of == column => bits,
                _ => {
                    let rows = self.rows_of(place.head, queries);
                    let sees = |columns: &[u32]| columns.binary_search(&(column as u32)).is_ok();
                    let bits =
                        rows.filter(|(_, columns)| sees(columns)).fold(0, |bits, (row, _)| {
                            bits | bits_of(queries, row as i64, (row + q_size) as i64)
                        });
                    known = Some((column, bits));
                    bits
                }
            };
            *seen &= bits;
        }
    }
    fn differs_by_head(&self) -> bool {
        self.heads > 1
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let [q_size, size] = self.block.map(|size| size.max(1));
        let heads = if self.heads > 1 { shape.heads.q } else { 1 };
        if self.heads != heads {
            let (list, given) = (List::BlockHeads, self.heads);
            return Err(Error::ListLength { list, needed: heads, given });
        }
        let needed = shape.q_len.div_ceil(q_size).saturating_mul(heads).saturating_add(1);
        if self.rows.len() != needed {
            let given = self.rows.len();
            return Err(Error::ListLength { list: List::BlockRows, needed, given });
        }
        let limit = shape.kv_len.div_ceil(size);
        match self.columns.iter().position(|column| *column as usize >= limit) {
            Some(index) => {
                let value = self.columns[index];
                Err(Error::Entry { list: List::BlockColumns, index, value, limit })
            }
            None => Ok(()),
        }
    }
}
