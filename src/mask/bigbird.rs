//! BigBird: a window, global blocks and random ones, as a [`BlockSparse`] pattern.

use super::BlockSparse;
use crate::error::{Error, List};

/// BigBird's attention over blocks (Zaheer et al., "Big Bird: Transformers for Longer Sequences", arXiv 2007.14062):
/// the first and the last block see all and are seen by all, every block sees its neighbours and itself, and `random`
/// others. Which others belongs to a trained checkpoint: store them, or draw new ones by [`BigBird::draw`].
///
/// ```
/// use flashlet::BigBird;
/// # fn main() -> Result<(), flashlet::Error> {
/// let bird = BigBird::new(1, 16, 3)?; // one list for all heads, 16 blocks, 3 of them random
/// let mut random = vec![0; bird.random_len()];
/// bird.draw(42, &mut random)?;
/// let (mut rows, mut columns) = (vec![0; bird.rows_len()], vec![0; bird.columns_len()]);
/// let pattern = bird.build(64, &random, &mut rows, &mut columns)?; // for 1024 tokens
/// # let _ = pattern;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BigBird {
    heads: usize,
    blocks: usize,
    random: usize,
}

impl BigBird {
    /// `blocks` blocks of tokens, each of the inner ones with `random` random blocks; heads that have their own, or 1.
    ///
    /// # Errors
    /// [`Error::ZeroBlock`] for no heads or no blocks; [`Error::ListLength`] if there are not as many blocks beside
    /// the first, the last and the neighbours, and for more columns than a `u32` counts.
    pub const fn new(heads: usize, blocks: usize, random: usize) -> Result<Self, Error> {
        if heads == 0 || blocks == 0 {
            return Err(Error::ZeroBlock { list: List::BlockRows });
        }
        let given = blocks.saturating_sub(5);
        if random > given {
            return Err(Error::ListLength { list: List::RandomBlocks, needed: random, given });
        }
        let bird = BigBird { heads, blocks, random };
        let (needed, given) = (bird.columns_len(), u32::MAX as usize);
        if needed >= given {
            return Err(Error::ListLength { list: List::BlockColumns, needed, given });
        }
        Ok(bird)
    }

    /// Block rows that have random blocks.
    const fn inner(&self) -> usize {
        self.blocks.saturating_sub(2)
    }

    /// Length of the list of random blocks, `[heads, blocks - 2, random]`.
    #[must_use]
    pub const fn random_len(&self) -> usize {
        self.heads * self.inner() * self.random
    }

    /// Length of the list of block rows that [`BigBird::build`] writes.
    #[must_use]
    pub const fn rows_len(&self) -> usize {
        self.heads * self.blocks + 1
    }

    /// The most block columns that [`BigBird::build`] writes.
    #[must_use]
    pub const fn columns_len(&self) -> usize {
        let of_inner = self.inner().saturating_mul(self.random.saturating_add(5));
        self.blocks.saturating_mul(2).saturating_add(of_inner).saturating_mul(self.heads)
    }

    /// Draws random blocks, the same for the same seed, none of them among what a block sees anyway.
    ///
    /// # Errors
    /// [`Error::ListLength`] unless `random` has [`BigBird::random_len`] elements.
    pub fn draw(&self, seed: u64, random: &mut [u32]) -> Result<(), Error> {
        check_len(List::RandomBlocks, self.random_len(), random.len())?;
        let (mut state, inner) = (seed, self.inner().max(1));
        for (number, drawn) in random.chunks_exact_mut(self.random.max(1)).enumerate() {
            let row = number % inner + 1;
            for at in 0..drawn.len() {
                let before = drawn.get(..at).unwrap_or(&[]);
                let block = loop {
                    let block = 1 + below(&mut state, inner);
                    if block.abs_diff(row) > 1 && !before.contains(&(block as u32)) {
                        break block as u32;
                    }
                };
                put(drawn, at, block);
            }
        }
        Ok(())
    }

    /// The pattern, for blocks of `block` tokens. Writes `rows` and the first of `columns`.
    ///
    /// # Errors
    /// [`Error::ListLength`] for lists of another length than this says, [`Error::Entry`] for a random block that is
    /// none of the blocks, [`Error::ZeroBlock`].
    pub fn build<'a>(
        &self,
        block: usize,
        random: &[u32],
        rows: &'a mut [u32],
        columns: &'a mut [u32],
    ) -> Result<BlockSparse<'a>, Error> {
        check_len(List::RandomBlocks, self.random_len(), random.len())?;
        check_len(List::BlockRows, self.rows_len(), rows.len())?;
        let (needed, given, blocks) = (self.columns_len(), columns.len(), self.blocks as u32);
        if given < needed {
            return Err(Error::ListLength { list: List::BlockColumns, needed, given });
        }
        if let Some(index) = random.iter().position(|block| *block >= blocks) {
            let (value, limit) = (random.get(index).copied().unwrap_or(0), self.blocks);
            return Err(Error::Entry { list: List::RandomBlocks, index, value, limit });
        }
        let mut lists = random.chunks_exact(self.random.max(1));
        put(rows, 0, 0);
        let mut end = 0;
        for (row, row_end) in (0..blocks).cycle().zip(rows.iter_mut().skip(1)) {
            let is_inner = row > 0 && row + 1 < blocks;
            let list = if is_inner && self.random > 0 { lists.next().unwrap_or(&[]) } else { &[] };
            let mut see = |column: u32| {
                put(columns, end, column);
                end += 1;
            };
            if is_inner {
                [0, row - 1, row, row + 1, blocks - 1].into_iter().for_each(&mut see);
                list.iter().copied().for_each(&mut see);
            } else {
                (0..blocks).for_each(&mut see);
            }
            *row_end = end as u32;
        }
        let end = tidy(rows, columns);
        let columns = columns.get(..end).unwrap_or(&[]);
        BlockSparse::for_heads(self.heads, [block; 2], rows, columns)
    }
}

/// Sorts the columns of each row and drops what is there twice; returns how many are left.
fn tidy(rows: &mut [u32], columns: &mut [u32]) -> usize {
    let (mut start, mut kept) = (0, 0);
    for end in rows.iter_mut().skip(1) {
        let row_end = *end as usize;
        columns.get_mut(start..row_end).unwrap_or(&mut []).sort_unstable();
        let mut last = None;
        for at in start..row_end {
            let column = columns.get(at).copied();
            if last != column {
                put(columns, kept, column.unwrap_or(0));
                kept += 1;
            }
            last = column;
        }
        start = row_end;
        *end = kept as u32;
    }
    kept
}

/// Writes an element, which is there.
fn put(list: &mut [u32], at: usize, x: u32) {
    *list.get_mut(at).unwrap_or(&mut 0) = x;
}

const fn check_len(list: List, needed: usize, given: usize) -> Result<(), Error> {
    if needed == given { Ok(()) } else { Err(Error::ListLength { list, needed, given }) }
}

/// A number below `limit` (splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
fn below(state: &mut u64, limit: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let z = z ^ (z >> 31);
    ((u128::from(z) * limit as u128) >> 64) as usize
}
