//! Inputs through parts on all levels, by all cores.

use crate::part::{AnyPart, Worst};
use crate::table::Row;
use flashlet::Level;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Inputs that go through a part together: with what comes out they fit a second-level cache.
const BATCH: u64 = 4096;
/// Inputs that a thread takes at a time.
const SHARE: u64 = 256 * BATCH;

/// Every n-th input.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// 1: all of them. Not of parts whose inputs have 16 bits or less: there it is all of them anyway.
    pub stride: u64,
}

impl Sweep {
    /// How many inputs of a part that is.
    #[must_use]
    pub fn inputs(self, part: &dyn AnyPart) -> u64 {
        all(part).div_ceil(self.stride_of(part))
    }

    /// Inputs of 16 bits or less are all tried.
    fn stride_of(self, part: &dyn AnyPart) -> u64 {
        if all(part) <= 1 << 16 { 1 } else { self.stride }
    }

    /// What a part misses, a row a level that this processor has. `done` is told of inputs as they are through.
    #[must_use]
    pub fn run(self, part: &dyn AnyPart, done: &(dyn Fn(u64) + Sync)) -> Vec<Row> {
        let levels = levels(part);
        let (inputs, next) = (self.inputs(part), AtomicU64::new(0));
        let worst = Mutex::new(vec![Worst::NONE; levels.len()]);
        let work = || {
            loop {
                let first = next.fetch_add(SHARE, Ordering::Relaxed);
                if first >= inputs {
                    return;
                }
                let last = inputs.min(first + SHARE);
                let share = self.share(part, &levels, first, last);
                merge(&mut worst.lock().expect("no thread panics with it"), &share);
                done(last - first);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| _ = scope.spawn(work));
            work();
        });
        let worst = worst.into_inner().expect("no thread panics with it");
        let rows = levels.iter().zip(worst);
        rows.map(|(level, worst)| Row::new(part, *level, inputs * part.each(), worst)).collect()
    }

    /// The worst of inputs `first .. last` at each level.
    fn share(self, part: &dyn AnyPart, levels: &[Level], first: u64, last: u64) -> Vec<Worst> {
        let (mut worst, stride) = (vec![Worst::NONE; levels.len()], self.stride_of(part));
        for batch in (first..last).step_by(BATCH as usize) {
            let batch = batch..last.min(batch + BATCH);
            let inputs: Vec<u32> = batch.map(|n| nth(part.domain(), n * stride)).collect();
            merge(&mut worst, &part.worst(&inputs, levels));
        }
        worst
    }
}

/// What a part misses at one input, a row a level that this processor has.
#[must_use]
pub fn at(part: &dyn AnyPart, input: u32) -> Vec<Row> {
    let levels = levels(part);
    let worst = part.worst(&[input], &levels);
    levels.iter().zip(worst).map(|(level, worst)| Row::new(part, *level, 1, worst)).collect()
}

/// Those on which a part may differ.
fn levels(part: &dyn AnyPart) -> Vec<Level> {
    if part.by_level() { Level::available().collect() } else { vec![Level::Scalar] }
}

fn merge(worst: &mut [Worst], others: &[Worst]) {
    worst.iter_mut().zip(others).for_each(|(worst, other)| *worst = worst.or(*other));
}

/// How many inputs a part has.
fn all(part: &dyn AnyPart) -> u64 {
    part.domain().iter().map(len).sum()
}

fn len(range: &RangeInclusive<u32>) -> u64 {
    u64::from(*range.end()) - u64::from(*range.start()) + 1
}

/// Input `n` of a domain.
fn nth(domain: &[RangeInclusive<u32>], mut n: u64) -> u32 {
    for range in domain {
        if n < len(range) {
            return range.start() + n as u32;
        }
        n -= len(range);
    }
    unreachable!("beyond the last input")
}

#[cfg(test)]
mod tests {
    use super::{Sweep, nth};
    use crate::PARTS;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn inputs_run_through_all_ranges() {
        let domain = [5..=6, 0xffff_fff0..=u32::MAX];
        assert_eq!([0, 1, 2, 17].map(|n| nth(&domain, n)), [5, 6, 0xffff_fff0, u32::MAX]);
    }

    #[test]
    fn names_are_different_and_all_inputs_are_counted() {
        let names: HashSet<_> = PARTS.iter().map(|part| part.name()).collect();
        assert_eq!(names.len(), PARTS.len());
        let sweep = Sweep { stride: 1_000_003 };
        for part in PARTS {
            let done = AtomicU64::new(0);
            let rows = sweep.run(*part, &|inputs| _ = done.fetch_add(inputs, Ordering::Relaxed));
            let inputs = done.into_inner();
            assert_eq!(inputs, sweep.inputs(*part));
            assert!(rows.iter().all(|row| row.inputs == inputs * part.each()));
        }
    }
}
