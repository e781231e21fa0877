//! Many sequences that share blocks of memory.

use super::paged_read::{PagedRead, run_at};
use super::scales::Scales;
use super::shape::CacheShape;
use super::store::Store;
use super::tokens::{NewKeys, Tokens};
use crate::dispatch::check_len;
use crate::elem::{Format, Overflow};
use crate::error::{Error, List, Tensor};
use crate::view::AnyView;
use core::ops::Range;

/// Blocks of keys and values, and how many sequences have each.
///
/// ```
/// use flashlet::{CacheShape, Heads, PagedCache, Pages, View};
/// # fn main() -> Result<(), flashlet::Error> {
/// // 8 blocks of 16 tokens.
/// const SHAPE: CacheShape = CacheShape::paged(Heads::new(4, 2, 32), 8, 16);
/// let mut keys = [0.0_f32; SHAPE.key_len::<f32>()];
/// let mut values = [0.0_f32; SHAPE.value_len::<f32>()];
/// let mut counts = [0; 8];
/// let mut cache = PagedCache::new(SHAPE, &mut keys, &mut values, &mut counts)?;
///
/// let (prompt, mut tables) = ([0.5; 20 * 2 * 32], [[0; 4]; 2]);
/// let [one, other] = &mut tables;
/// let mut one = Pages::new(one);
/// let prompt = View::packed(&prompt, [1, 20, 2, 32])?;
/// cache.append(&mut one, prompt, prompt)?;
/// let mut other = cache.fork(&one, other)?; // shares both blocks, until either goes on
/// assert_eq!((other.len(), cache.free_blocks()), (20, 6));
/// cache.append(&mut other, prompt.tokens(0..1)?, prompt.tokens(0..1)?)?;
/// assert_eq!(cache.free_blocks(), 5);
/// cache.release(&mut one);
/// assert_eq!(cache.free_blocks(), 6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PagedCache<'a, K, V = K> {
    pub(super) k: Store<'a, K>,
    pub(super) v: Store<'a, V>,
    pub(super) shape: CacheShape,
    counts: &'a mut [u32],
}

/// The blocks of one sequence, in the order of its tokens.
#[derive(Debug)]
pub struct Pages<'t> {
    pub(super) table: &'t mut [u32],
    pub(super) len: usize,
    /// Tokens that are gone.
    pub(super) evicted: Range<usize>,
}

/// No block, in a table: it was evicted.
const NONE: u32 = u32::MAX;

impl<'t> Pages<'t> {
    /// No tokens yet, and room for as many blocks as the table is long, whatever it holds.
    #[must_use]
    pub fn new(table: &'t mut [u32]) -> Self {
        Pages { table, len: 0, evicted: 0..0 }
    }

    /// Tokens it was given, those that are gone among them.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks that it has; `u32::MAX` for those that are gone.
    #[must_use]
    pub fn blocks(&self, block_len: usize) -> &[u32] {
        self.table.get(..blocks_of(self.len, block_len)).unwrap_or(&[])
    }
}

/// Blocks that so many tokens take.
fn blocks_of(tokens: usize, block_len: usize) -> usize {
    tokens.div_ceil(block_len.max(1))
}

impl<'a, K: Format, V: Format> PagedCache<'a, K, V> {
    /// A cache of free blocks in some memory, and one count for each block, whatever they hold.
    ///
    /// # Errors
    /// [`Error::ZeroBlock`], [`Error::ZeroHeads`], [`Error::HeadDim`], [`Error::ValueDim`], [`Error::Overflow`] of the shape;
    /// [`Error::Channels`]; [`Error::Length`] of the memory and of the counts; [`Error::ListLength`] if blocks are more than a `u32` tells
    /// apart.
    pub fn new(
        shape: CacheShape,
        keys: &'a mut [K],
        values: &'a mut [V],
        counts: &'a mut [u32],
    ) -> Result<Self, Error> {
        shape.check()?;
        let (needed, given) = (NONE as usize, shape.blocks);
        if given >= needed {
            return Err(Error::ListLength { list: List::Blocks, needed, given });
        }
        let k = Store::new(keys, shape, Tensor::K)?;
        let v = Store::new(values, shape, Tensor::V)?;
        check_len(Tensor::Counts, shape.blocks, counts.len())?;
        counts.fill(0);
        Ok(PagedCache { k, v, shape, counts })
    }

    /// As [`KvCache::scales`](crate::KvCache::scales); not of groups.
    ///
    /// # Errors
    /// As there.
    pub fn scales(self, keys: Scales<'a>, values: Scales<'a>) -> Result<Self, Error> {
        if matches!((&keys, &values), (Scales::Groups(_), _) | (_, Scales::Groups(_))) {
            return Err(Error::Unwanted { tensor: Tensor::Scales });
        }
        Ok(PagedCache { k: self.k.scaled(keys)?, v: self.v.scaled(values)?, ..self })
    }

    /// As [`KvCache::overflow`](crate::KvCache::overflow).
    #[must_use]
    pub fn overflow(self, overflow: Overflow) -> Self {
        PagedCache { k: self.k.overflowing(overflow), v: self.v.overflowing(overflow), ..self }
    }

    /// As [`KvCache::rotated`](crate::KvCache::rotated).
    #[must_use]
    pub fn rotated(self) -> Self {
        PagedCache { k: self.k.rotated(), ..self }
    }

    /// Blocks that no sequence has.
    #[must_use]
    pub fn free_blocks(&self) -> usize {
        self.counts.iter().filter(|count| **count == 0).count()
    }

    /// A sequence whose blocks somebody else has dealt out: `len` tokens in the blocks that a table names.
    ///
    /// # Errors
    /// [`Error::ListLength`] of a table that is too short; [`Error::Entry`] for a block that there is not; [`Error::BlockTwice`]. Nothing
    /// is changed then.
    pub fn adopt<'t>(&mut self, table: &'t mut [u32], len: usize) -> Result<Pages<'t>, Error> {
        let (list, needed) = (List::BlockTable, blocks_of(len, self.shape.block_len));
        let Some(own) = table.get(..needed) else {
            return Err(Error::ListLength { list, needed, given: table.len() });
        };
        for (index, &value) in own.iter().enumerate() {
            if value as usize >= self.shape.blocks {
                return Err(Error::Entry { list, index, value, limit: self.shape.blocks });
            }
            if own.iter().take(index).any(|other| *other == value) {
                return Err(Error::BlockTwice { block: value });
            }
        }
        own.iter().for_each(|block| count_up(self.counts, *block));
        self.k.distrust();
        self.v.distrust();
        Ok(Pages { table, len, evicted: 0..0 })
    }

    /// Keeps tokens behind those that a sequence has: keys `[1, n, kv_heads, head_dim]` and values `[1, n, kv_heads, v_dim]`, each rounded
    /// once. A last block that other sequences have too is copied first, and one that was evicted is replaced.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::ListLength`] if the table is too short; [`Error::Capacity`] if too few blocks are free;
    /// [`Error::NotFinite`] as for [`KvCache::append`](crate::KvCache::append). Nothing is changed then.
    pub fn append<'t>(
        &mut self,
        pages: &mut Pages<'_>,
        keys: impl Into<NewKeys<'t>>,
        values: impl Into<AnyView<'t>>,
    ) -> Result<(), Error> {
        let (keys, values) = (keys.into().tokens(), Tokens::Plain(values.into()));
        let [_, n, ..] = keys.dims();
        self.shape.check_tokens(&keys, &values, n)?;
        let len = pages.len.saturating_add(n);
        let [before, after] = [pages.len, len].map(|len| blocks_of(len, self.shape.block_len));
        if after > pages.table.len() {
            let (list, given) = (List::BlockTable, pages.table.len());
            return Err(Error::ListLength { list, needed: after, given });
        }
        let foreign = if n == 0 { None } else { self.foreign_tail(pages) };
        let needed = after - before + usize::from(foreign.is_some());
        let given = if needed == 0 { 0 } else { self.free_blocks() };
        if given < needed {
            return Err(Error::Capacity { needed, given });
        }
        self.k.check(&keys, Tensor::K)?;
        self.v.check(&values, Tensor::V)?;
        if let Some(index) = foreign {
            self.own_tail(pages, index);
        }
        self.take(pages.table.iter_mut().take(after).skip(before));
        let slot_of = |i| run_at(&self.shape, pages, pages.len + i).0.map(|slot| (i, slot));
        for (i, slot) in (0..n).filter_map(slot_of) {
            self.k.write(slot, &keys, i);
            self.v.write(slot, &values, i);
        }
        pages.len = len;
        Ok(())
    }

    /// The index of the last block, if it has room that is not the sequence's own: other sequences have it too, or it was evicted.
    fn foreign_tail(&self, pages: &Pages<'_>) -> Option<usize> {
        let index = pages.len / self.shape.block_len.max(1);
        let block = *pages.table.get(index)?;
        let is_begun = !pages.len.is_multiple_of(self.shape.block_len.max(1));
        let count = self.counts.get(block as usize).copied();
        (is_begun && count.is_none_or(|count| count > 1)).then_some(index)
    }

    /// Gives a sequence a last block of its own: a copy, unless its tokens are gone.
    fn own_tail(&mut self, pages: &mut Pages<'_>, index: usize) {
        let (mut own, mut nowhere) = (NONE, NONE);
        self.take(core::iter::once(&mut own));
        let tokens = pages.len % self.shape.block_len.max(1);
        let slot = pages.table.get_mut(index).unwrap_or(&mut nowhere);
        if *slot != NONE {
            let (from, to) = (*slot as usize, own as usize);
            self.k.copy_block(from, to, tokens);
            self.v.copy_block(from, to, tokens);
            self.drop(*slot);
        }
        *slot = own;
    }

    /// Fills slots of a table with the first free blocks; there are as many.
    fn take<'s>(&mut self, slots: impl Iterator<Item = &'s mut u32>) {
        let free = self.counts.iter_mut().zip(0..).filter(|(count, _)| **count == 0);
        for (slot, (count, block)) in slots.zip(free) {
            (*slot, *count) = (block, 1);
        }
    }

    fn drop(&mut self, block: u32) {
        if let Some(count) = self.counts.get_mut(block as usize) {
            *count = count.saturating_sub(1);
        }
    }

    /// Another sequence of the same tokens: it shares their blocks, until either goes on in the last one.
    ///
    /// # Errors
    /// [`Error::ListLength`] if the table is too short.
    pub fn fork<'t>(
        &mut self,
        pages: &Pages<'_>,
        table: &'t mut [u32],
    ) -> Result<Pages<'t>, Error> {
        let blocks = pages.blocks(self.shape.block_len);
        let (needed, given) = (blocks.len(), table.len());
        if given < needed {
            return Err(Error::ListLength { list: List::BlockTable, needed, given });
        }
        for (slot, block) in table.iter_mut().zip(blocks) {
            *slot = *block;
            count_up(self.counts, *block);
        }
        Ok(Pages { table, len: pages.len, evicted: pages.evicted.clone() })
    }

    /// Takes the last `n` tokens of a sequence back, and frees the blocks that it needs no more.
    ///
    /// # Errors
    /// [`Error::Rollback`] if there are not as many; nothing is taken back then.
    pub fn truncate(&mut self, pages: &mut Pages<'_>, n: usize) -> Result<(), Error> {
        let Some(len) = pages.len.checked_sub(n) else {
            return Err(Error::Rollback { back: n, held: pages.len });
        };
        let [after, before] = [len, pages.len].map(|len| blocks_of(len, self.shape.block_len));
        for block in pages.table.iter().take(before).skip(after) {
            self.drop(*block);
        }
        pages.len = len;
        let Range { start, end } = pages.evicted.clone();
        pages.evicted = start.min(len)..end.min(len);
        Ok(())
    }

    /// Frees the blocks of a sequence whose tokens all lie within `sinks..before`: a window has left them behind. Returns how many.
    ///
    /// # Errors
    /// [`Error::KeyRange`] unless `sinks <= before <= len`; nothing is freed then.
    pub fn evict(
        &mut self,
        pages: &mut Pages<'_>,
        sinks: usize,
        before: usize,
    ) -> Result<usize, Error> {
        let (block_len, kv_len) = (self.shape.block_len.max(1), pages.len);
        if sinks > before || before > kv_len {
            return Err(Error::KeyRange { start: sinks, end: before, kv_len });
        }
        let own = sinks.div_ceil(block_len)..before / block_len;
        let mut freed = 0;
        for slot in pages.table.iter_mut().take(own.end).skip(own.start) {
            if *slot != NONE {
                self.drop(*slot);
                (*slot, freed) = (NONE, freed + 1);
            }
        }
        if freed > 0 {
            let gone = own.start * block_len..own.end * block_len;
            let before = pages.evicted.clone();
            pages.evicted = if before.is_empty() {
                gone
            } else {
                before.start.min(gone.start)..before.end.max(gone.end)
            };
        }
        Ok(freed)
    }

    /// Frees all blocks of a sequence, which then has no tokens.
    pub fn release(&mut self, pages: &mut Pages<'_>) {
        for block in pages.blocks(self.shape.block_len) {
            self.drop(*block);
        }
        (pages.len, pages.evicted) = (0, 0..0);
    }

    /// Some sequences, for attention to read: one a batch entry, each with as many tokens as it has.
    #[must_use]
    pub const fn read<'r>(&'r self, sequences: &'r [&'r Pages<'r>]) -> PagedRead<'r, 'a, K, V> {
        PagedRead { cache: self, sequences }
    }
}

fn count_up(counts: &mut [u32], block: u32) {
    if let Some(count) = counts.get_mut(block as usize) {
        *count = count.saturating_add(1);
    }
}
