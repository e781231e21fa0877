//! What one block of query rows sees of one tile of keys: runs of keys, and the vectors live in each.
//!
//! Along a diagonal later rows see more. A block's idle lanes come first, so what is live for a key is
//! always a run of vectors up to the last one, `lo..N`, and the inner loops run over just those.

use crate::simd::Simd;
use core::ops::Range;

/// Keys that the same vectors of a block see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// First key, from the start of the tile's range.
    pub(crate) start: usize,
    /// One past the last.
    pub(crate) end: usize,
    /// Vectors `lo..N` are live; none if it is `N`.
    pub(crate) lo: usize,
    /// Whether a live vector has a row that may not see some key of the run.
    pub(crate) masked: bool,
}

impl Run {
    /// Its keys, `depth` of them a step.
    #[inline(always)]
    pub(crate) fn steps(&self, depth: usize) -> Range<usize> {
        self.start / depth..self.end.div_ceil(depth)
    }

    /// Takes in the keys after it, whoever sees them.
    fn join(&mut self, next: Run) {
        let masked = self.masked || next.masked || self.lo != next.lo;
        *self = Run { start: self.start, end: next.end, lo: self.lo.min(next.lo), masked };
    }

    /// Whether the key after it is better taken in than made a run of its own. A few keys that need no
    /// test are not worth one: each run breaks the register tiles of both products.
    fn takes(&self, next: &Run) -> bool {
        let is_short = self.end - self.start < WORTH_A_RUN;
        self.lo == next.lo && (self.masked == next.masked || next.masked && is_short)
    }
}

/// Runs of a tile. A mask that would need more gets coarser ones.
const RUNS: usize = 8;

/// Keys without a test that are worth a run of their own.
const WORTH_A_RUN: usize = 8;

/// What a block sees of the keys of a tile's range.
#[derive(Clone, Debug)]
pub(crate) struct Sight<const TILE_K: usize> {
    /// Bit `i` of `bits[j]`: lane `i` of the block may see key `j`. Only masked runs need it.
    bits: [u64; TILE_K],
    runs: [Run; RUNS],
    count: usize,
}

impl<const TILE_K: usize> Sight<TILE_K> {
    /// Nothing is seen.
    pub(crate) fn new() -> Self {
        Sight { bits: [0; TILE_K], runs: [Run::default(); RUNS], count: 0 }
    }

    /// Every row sees every one of `len` keys. The first `pad` lanes have no row.
    pub(crate) fn full(&mut self, len: usize, pad: usize, lanes: usize) {
        let run = Run { start: 0, end: len.min(TILE_K), lo: pad / lanes.max(1), masked: false };
        (self.runs[0], self.count) = (run, 1);
    }

    /// Room for a word of each of `len` keys: bit `r` says whether row `r` of the block may see it.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u64] {
        self.bits.get_mut(..len).unwrap_or(&mut [])
    }

    /// Row by row: what [`Sight::room`] holds for `len` keys. The block has `width` lanes, the first `pad` of which
    /// have no row. Runs start at multiples of `depth` keys.
    pub(crate) fn partial(
        &mut self,
        len: usize,
        pad: usize,
        lanes: usize,
        width: usize,
        depth: usize,
    ) {
        self.count = 0;
        let from = |lane: usize| u64::MAX.checked_shl(lane as u32).unwrap_or(0);
        let (rows, lanes) = (from(pad) & !from(width), lanes.max(1));
        // Nobody sees the key that the last step may lack.
        if let Some(lacking) = self.bits.get_mut(len) {
            *lacking = 0;
        }
        for (key, slot) in self.bits.iter_mut().enumerate().take(len) {
            let bits = (*slot << pad) & rows;
            *slot = bits;
            let lo = if bits == 0 { width } else { bits.trailing_zeros() as usize } / lanes;
            // A step that lacks keys is masked: what lies in their place may be NaN.
            let lacks_keys = key + 1 == len && !(key + 1).is_multiple_of(depth);
            let masked = lacks_keys || bits != rows & from(lo * lanes);
            let run = Run { start: key, end: key + 1, lo, masked };
            let last = self.count.checked_sub(1).and_then(|last| self.runs.get_mut(last));
            let goes_on = !key.is_multiple_of(depth);
            match last {
                Some(last) if goes_on || last.takes(&run) || self.count == RUNS => last.join(run),
                _ => {
                    if let Some(slot) = self.runs.get_mut(self.count) {
                        *slot = run;
                        self.count += 1;
                    }
                }
            }
        }
    }

    /// The runs, in the order of the keys.
    pub(crate) fn view(&self) -> Seen<'_> {
        Seen { bits: &self.bits, runs: self.runs.get(..self.count).unwrap_or(&[]) }
    }
}

/// A [`Sight`] of any tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    bits: &'a [u64],
    /// The runs, in the order of the keys.
    pub(crate) runs: &'a [Run],
}

impl<'a> Seen<'a> {
    /// The lanes that may see each key of a run.
    #[inline(always)]
    pub(crate) fn bits(&self, run: &Run) -> &'a [u64] {
        self.bits.get(run.start..run.end).unwrap_or(&[])
    }

    /// The same, `D` keys at a time; none sees the keys that the last step lacks.
    #[inline(always)]
    pub(crate) fn bits_of_steps<const D: usize>(&self, run: &Run) -> &'a [[u64; D]] {
        let steps = run.steps(D);
        self.bits.as_chunks::<D>().0.get(steps).unwrap_or(&[])
    }

    /// The first vector that is live for any key.
    #[inline(always)]
    pub(crate) fn lo(&self) -> usize {
        self.runs.iter().map(|run| run.lo).min().unwrap_or(0)
    }
}

/// Lanes by which a block of `width` lanes says what is live. Narrow blocks are not worth the code: they
/// are live as a whole, and masked.
pub(crate) const fn granularity(lanes: usize, width: usize) -> usize {
    if width > 16 { lanes } else { width }
}

/// Vectors of a block that can be live by themselves.
#[inline(always)]
pub(crate) const fn live_vectors<S: Simd, const N: usize>() -> usize {
    N * S::LANES / granularity(S::LANES, N * S::LANES)
}

/// Runs `$body` with the constant `$LO` equal to `$lo`, unless no vector is live. `$n` is the number of
/// vectors where they can be live one by one, otherwise 1.
macro_rules! with_lo {
    ($lo:expr, $n:expr, $LO:ident => $body:expr) => {
        match $lo {
            0 => {
                const $LO: usize = 0;
                $body
            }
            1 if $n > 1 => {
                const $LO: usize = 1;
                $body
            }
            2 if $n > 2 => {
                const $LO: usize = 2;
                $body
            }
            3 if $n > 3 => {
                const $LO: usize = 3;
                $body
            }
            _ => {}
        }
    };
}
pub(crate) use with_lo;

#[cfg(test)]
mod tests {
    use super::*;

    /// The runs of rows in vectors of four lanes, eight in all.
    fn partial(
        seen: impl Iterator<Item = u64>,
        pad: usize,
        depth: usize,
    ) -> Vec<(usize, usize, usize, bool)> {
        let mut sight = Sight::<16>::new();
        fill(&mut sight, seen, pad, depth);
        runs(&sight)
    }

    /// `seen` has lanes, the first `pad` of which have no row.
    fn fill(sight: &mut Sight<16>, seen: impl Iterator<Item = u64>, pad: usize, depth: usize) {
        let seen: Vec<u64> = seen.map(|lanes| lanes >> pad).collect();
        sight.room(seen.len()).copy_from_slice(&seen);
        sight.partial(seen.len(), pad, 4, 8, depth);
    }

    fn runs<const TILE_K: usize>(sight: &Sight<TILE_K>) -> Vec<(usize, usize, usize, bool)> {
        sight.view().runs.iter().map(|run| (run.start, run.end, run.lo, run.masked)).collect()
    }
    use std::vec::Vec;

    #[test]
    fn a_diagonal_becomes_a_staircase() {
        // Row i sees keys up to i + 2: the first three are seen by all, but too few for a run.
        let seen = (0..10_u32).map(|key| u64::MAX << key.saturating_sub(2));
        assert_eq!(partial(seen, 0, 1), [(0, 6, 0, true), (6, 10, 1, true)]);
        // Here they are enough.
        let seen = (0..16_u32).map(|key| u64::MAX << key.saturating_sub(8));
        assert_eq!(partial(seen, 0, 1), [(0, 9, 0, false), (9, 12, 0, true), (12, 16, 1, true)]);
    }

    #[test]
    fn idle_lanes_come_first_and_are_never_live() {
        let mut sight = Sight::<16>::new();
        sight.full(5, 6, 4);
        assert_eq!(runs(&sight), [(0, 5, 1, false)]);
        let seen = [u64::MAX, 0, 0x40].into_iter();
        assert_eq!(partial(seen, 6, 1), [(0, 1, 1, false), (1, 2, 2, false), (2, 3, 1, true)]);
    }

    #[test]
    fn pairs_of_keys_are_not_parted() {
        let mut sight = Sight::<16>::new();
        fill(&mut sight, [0xff, 0xfe, 0xf0, 0xff, 0xff].into_iter(), 0, 2);
        // The last step lacks a key.
        assert_eq!(runs(&sight), [(0, 2, 0, true), (2, 5, 0, true)]);
        fill(&mut sight, [0xf0, 0xfe, 0xf0, 0xf0, 0xf0].into_iter(), 0, 2);
        assert_eq!(runs(&sight), [(0, 2, 0, true), (2, 5, 1, true)]);
        assert_eq!(sight.view().runs[1].steps(2), 1..3);
    }

    #[test]
    fn many_runs_are_merged_without_losing_a_key() {
        let seen = (0..16).map(|key| if key % 2 == 0 { 0xff } else { 0x10 });
        let runs = partial(seen, 0, 1);
        assert_eq!(runs.len(), RUNS);
        assert_eq!(runs.last(), Some(&(7, 16, 0, true)));
    }
}
