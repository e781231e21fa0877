//! Sequences of a paged cache, as attention reads them.

use super::pages::{PagedCache, Pages};
use super::read::{Blocks, Cached, Read, Run, Sealed, Side};
use super::shape::{CacheShape, Order};
use crate::decode::integers::{Codes, ROWS, Rounding};
use crate::decode::products::Weights;
use crate::dispatch::Queries;
use crate::elem::Format;
use crate::simd::Level;
use crate::tiling::TILE_K;
use crate::view::AnyView;
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

impl<K: Format, V: Format> Sealed for PagedRead<'_, '_, K, V> {
    fn dims(&self, side: Side) -> [usize; 4] {
        self.cache.shape.dims(self.batch(), self.kv_len(), side)
    }
    fn len(&self, b: usize) -> usize {
        self.sequences.get(b).map_or(0, |pages| pages.len)
    }
    fn evicted(&self, b: usize) -> Range<usize> {
        self.sequences.get(b).map_or(0..0, |pages| pages.evicted.clone())
    }
    fn heads_lie_together(&self) -> bool {
        self.cache.shape.order == Order::ByToken
    }
    fn views(&self) -> Option<[AnyView<'_>; 2]> {
        None
    }
    fn widen(&self, side: Side, level: Level, read: Read, to: &mut [f32], width: usize) {
        let Some(pages) = self.sequences.get(read.b) else { return };
        let run_at = |token| run_at(&self.cache.shape, pages, token);
        match side {
            Side::Keys => self.cache.k.widen_runs(level, read, run_at, to, width),
            Side::Values => self.cache.v.widen_runs(level, read, run_at, to, width),
        }
    }
    fn rounding(&self, side: Side) -> Option<Rounding> {
        match side {
            Side::Keys => self.cache.k.rounding(),
            Side::Values => self.cache.v.rounding(),
        }
    }
    fn scores(&self, level: Level, read: Read, queries: Queries<'_>, s: &mut [f32], width: usize) {
        let Some(pages) = self.sequences.get(read.b) else { return };
        let run_at = |token| run_at(&self.cache.shape, pages, token);
        self.cache.k.scores_of_runs(level, read, run_at, queries, (s, width));
    }
    fn round_query(&self, rounding: Rounding, row: &mut [f32]) {
        rounding.round(row);
    }
    fn value_scales(&self, read: Read, b: usize, to: &mut [f32]) {
        let Some(pages) = self.sequences.get(read.b) else { return };
        let run_at = |token| run_at(&self.cache.shape, pages, token);
        self.cache.v.scales_of_runs(read, run_at, b, to);
    }
    fn round(
        &self,
        level: Level,
        weights: Weights<'_>,
        scales: &[f32; TILE_K],
        first: usize,
    ) -> Codes {
        self.cache.v.round(level, weights, scales, first)
    }
    fn weigh(&self, level: Level, read: Read, codes: [&[u8]; ROWS], to: Blocks<'_>) {
        let Some(pages) = self.sequences.get(read.b) else { return };
        let run_at = |token| run_at(&self.cache.shape, pages, token);
        self.cache.v.weigh_runs(level, read, run_at, codes, to);
    }
}
