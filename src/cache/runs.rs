//! What attention asks of one side of a cache, run by run: tokens that lie behind each other.

use super::read::{Blocks, Read};
use super::store::Store;
use crate::decode::integers::ROWS;
use crate::dispatch::Queries;
use crate::elem::Format;
use crate::simd::Level;
use core::ops::Range;

/// Tokens that lie behind each other: the slot of the first, if they are there, and how many they are.
pub(super) type Run = (Option<usize>, usize);

/// The runs of some tokens: where each lies, if it is there, and which of the tokens it has.
pub(super) fn runs(
    keys: Range<usize>,
    run_at: impl Fn(usize) -> Run,
) -> impl Iterator<Item = (Option<usize>, Range<usize>)> {
    let (first, mut key) = (keys.start, keys.start);
    core::iter::from_fn(move || {
        let left = keys.end.checked_sub(key).filter(|left| *left > 0)?;
        let (slot, run) = run_at(key);
        let within = key - first..key - first + run.max(1).min(left);
        key = first + within.end;
        Some((slot, within))
    })
}

impl<F: Format> Store<'_, F> {
    /// Widens tokens of head `g`, run by run; zeros for those that are not there.
    pub(super) fn widen_runs(
        &self,
        level: Level,
        read: &Read,
        run_at: impl Fn(usize) -> Run,
        to: &mut [f32],
        width: usize,
    ) {
        for (slot, within) in runs(read.keys.clone(), run_at) {
            let rows = to.get_mut(within.start * width..within.end * width).unwrap_or(&mut []);
            match slot {
                Some(slot) => self.widen(
                    level,
                    (slot, within.len(), read.ahead.after(within.start)),
                    read.g,
                    rows,
                    width,
                ),
                None => rows.fill(0.0),
            }
        }
    }

    /// Codes as words and their scales, run by run; zeros for those that are not there.
    pub(super) fn words_of_runs(
        &self,
        level: Level,
        read: &Read,
        run_at: impl Fn(usize) -> Run,
        to: &mut [f32],
        width: usize,
    ) {
        for (slot, within) in runs(read.keys.clone(), run_at) {
            let rows = to.get_mut(within.start * width..within.end * width).unwrap_or(&mut []);
            match slot {
                Some(slot) => self.words(level, (slot, within.len()), read.g, rows, width),
                None => rows.fill(0.0),
            }
        }
    }

    /// Scores of keys by integers, run by run; 0 for those that are not there.
    pub(super) fn scores_of_runs(
        &self,
        level: Level,
        read: &Read,
        run_at: impl Fn(usize) -> Run,
        queries: Queries<'_>,
        (s, width): (&mut [f32], usize),
    ) {
        for (slot, within) in runs(read.keys.clone(), run_at) {
            match slot {
                Some(slot) => {
                    let s = s.get_mut(within.start..).unwrap_or(&mut []);
                    self.scores(
                        level,
                        (slot, within.len(), read.ahead.after(within.start)),
                        read.g,
                        queries,
                        (s, width),
                    );
                }
                None => {
                    for s in s.chunks_mut(width.max(1)) {
                        s.get_mut(within.clone()).unwrap_or(&mut []).fill(0.0);
                    }
                }
            }
        }
    }

    /// Scales of values, run by run; 0 for those that are not there.
    pub(super) fn scales_of_runs(
        &self,
        level: Level,
        read: &Read,
        run_at: impl Fn(usize) -> Run,
        b: usize,
        to: &mut [f32],
    ) {
        for (slot, within) in runs(read.keys.clone(), run_at) {
            let to = to.get_mut(within).unwrap_or(&mut []);
            match slot {
                Some(slot) => self.scales_of(level, slot, (read.g, b), to),
                None => to.fill(0.0),
            }
        }
    }

    /// Adds codes of weights times those of values, run by run; nothing for those that are not there.
    pub(super) fn weigh_runs(
        &self,
        level: Level,
        read: &Read,
        run_at: impl Fn(usize) -> Run,
        codes: [&[u8]; ROWS],
        (blocks, mut to): Blocks<'_>,
    ) {
        for (slot, within) in runs(read.keys.clone(), run_at) {
            let Some(slot) = slot else { continue };
            let codes = codes.map(|codes| codes.get(within.clone()).unwrap_or(&[]));
            let to = to.each_mut().map(|to| &mut **to);
            self.weigh(
                level,
                (slot, within.len(), read.ahead.after(within.start)),
                read.g,
                codes,
                (blocks.clone(), to),
            );
        }
    }
}
