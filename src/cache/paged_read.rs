//! Sequences of a paged cache, as attention reads them.

use super::pages::{PagedCache, Pages};
use super::read::{Cached, Kept};
use super::runs::Run;
use super::shape::CacheShape;
use super::store::Store;
use crate::elem::Format;
use core::ops::Range;

/// Where a token of a sequence lies, if it is there.
pub(super) fn run_at(shape: &CacheShape, pages: &Pages<'_>, token: usize) -> Run {
    let block_len = shape.block_len.max(1);
    let (index, within) = (token / block_len, token % block_len);
    let block = pages.table.get(index).map(|block| *block as usize);
    let block = block.filter(|block| *block < shape.blocks);
    (block.map(|block| block * block_len + within), block_len - within)
}

/// Sequences of a [`PagedCache`], as attention reads them.
#[derive(Debug)]
pub struct PagedRead<'r, 'a, K, V = K> {
    pub(super) cache: &'r PagedCache<'a, K, V>,
    pub(super) sequences: &'r [&'r Pages<'r>],
}

impl<K: Format, V: Format> Cached for PagedRead<'_, '_, K, V> {
    fn batch(&self) -> usize {
        self.sequences.len()
    }
    fn kv_len(&self) -> usize {
        self.sequences.iter().map(|pages| pages.len).max().unwrap_or(0)
    }
}

impl<K: Format, V: Format> Kept for PagedRead<'_, '_, K, V> {
    type K = K;
    type V = V;

    fn stores(&self) -> (&Store<'_, K>, &Store<'_, V>) {
        (&self.cache.k, &self.cache.v)
    }
    fn len_of(&self, b: usize) -> usize {
        self.sequences.get(b).map_or(0, |pages| pages.len)
    }
    fn evicted_of(&self, b: usize) -> Range<usize> {
        self.sequences.get(b).map_or(0..0, |pages| pages.evicted.clone())
    }
    fn run_at(&self, b: usize, token: usize) -> Run {
        let pages = self.sequences.get(b);
        pages.map_or((None, usize::MAX), |pages| run_at(&self.cache.shape, pages, token))
    }
    fn is_straight(&self) -> bool {
        false
    }
}
