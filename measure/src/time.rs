//! Times of short pieces of work.

use std::time::{Duration, Instant};

/// Times of one run, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time {
    /// The middle one of all samples.
    pub median: f64,
    /// The least: the one that other work on the machine disturbed least.
    pub best: f64,
    /// How many samples there are.
    pub samples: usize,
}

/// A sample lasts at least this long, so that reading the clock (some 30 ns) does not count.
const SAMPLE: Duration = Duration::from_micros(20);

/// Samples that [`time`] takes even if they exceed the budget.
const FEWEST: usize = 5;

/// Runs `work` again and again for about `budget`, a tenth of which warms it up.
pub fn time(budget: Duration, work: impl FnMut()) -> Time {
    time_at_least(FEWEST, budget, work)
}

/// As [`time`], with at least `fewest` samples, and at least one.
pub fn time_at_least(fewest: usize, budget: Duration, mut work: impl FnMut()) -> Time {
    let runs = warm_up(budget / 10, &mut work);
    let start = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < fewest.max(1) || start.elapsed() < budget {
        samples.push(sample(runs, &mut work));
    }
    samples.sort_unstable_by(f64::total_cmp);
    Time { median: samples[samples.len() / 2], best: samples[0], samples: samples.len() }
}

/// A turn lasts at least this long.
const TURN: Duration = Duration::from_micros(500);

/// Runs `count` pieces of work in turn, `rounds` times; returns the seconds of a run of each, round by
/// round. In a turn short work is repeated, as often as the first needs.
pub fn turns(rounds: usize, count: usize, mut work: impl FnMut(usize)) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); count];
    if count == 0 {
        return times;
    }
    let seconds = sample(warm_up(TURN, &mut || work(0)), &mut || work(0));
    let runs = (TURN.as_secs_f64() / seconds).ceil().clamp(1.0, 1e6) as u32;
    for _ in 0..rounds {
        for (piece, times) in times.iter_mut().enumerate() {
            times.push(sample(runs, &mut || work(piece)));
        }
    }
    times
}

/// Runs in a sample, found while code and data come into the caches and the clock speeds up.
fn warm_up(budget: Duration, work: &mut impl FnMut()) -> u32 {
    let start = Instant::now();
    let mut runs = 1;
    loop {
        let seconds = sample(runs, work) * f64::from(runs);
        if seconds < SAMPLE.as_secs_f64() {
            runs *= 2;
        } else if start.elapsed() >= budget {
            return runs;
        }
    }
}

/// Seconds a run, over `runs` of them.
fn sample(runs: u32, work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        work();
    }
    start.elapsed().as_secs_f64() / f64::from(runs)
}
