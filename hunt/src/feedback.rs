//! Shows a judge's findings to libFuzzer: how near an error came to its bound, and how ill conditioned an element was, as
//! counters that it takes for coverage. So it keeps inputs that bring an error nearer to its bound than any before.
//!
//! Counters are thermometers: all below a level are set, so that of two inputs the hotter one covers the other.

use oracle::Verdict;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Verdicts and elements judged, and the largest error over bound as bits: of non-negative numbers those are in order.
static VERDICTS: AtomicU64 = AtomicU64::new(0);
static ELEMENTS: AtomicU64 = AtomicU64::new(0);
static WORST: AtomicU64 = AtomicU64::new(0);

/// What this process has judged so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// Outputs, of many elements each.
    pub verdicts: u64,
    /// Elements that have a bound: each is a check of one number.
    pub checks: u64,
    /// The largest error over bound.
    pub worst_ratio: f64,
}

/// What this process has judged so far.
pub fn seen() -> Seen {
    Seen {
        verdicts: VERDICTS.load(Relaxed),
        checks: ELEMENTS.load(Relaxed),
        worst_ratio: f64::from_bits(WORST.load(Relaxed)),
    }
}

/// Takes note of a verdict.
///
/// # Panics
/// If an error exceeds its bound, with the verdict and what `case` says: libFuzzer then keeps the input.
pub fn judged(verdict: &Verdict, case: impl Fn() -> String) {
    note(verdict.worst_ratio, verdict.worst_condition, verdict.elements - verdict.uncertified);
    assert!(verdict.holds(), "{verdict}\n{}", case());
}

/// The same of a judge of another kind: the largest `error / bound` of so many numbers.
///
/// # Panics
/// As [`judged`], or if the ratio is NaN.
pub fn judged_ratio(ratio: f64, checks: usize, case: impl Fn() -> String) {
    note(ratio, 0.0, checks);
    assert!(ratio <= 1.0, "error / bound = {ratio}\n{}", case());
}

fn note(ratio: f64, condition: f64, checks: usize) {
    VERDICTS.fetch_add(1, Relaxed);
    ELEMENTS.fetch_add(checks as u64, Relaxed);
    WORST.fetch_max(ratio.abs().to_bits(), Relaxed);
    #[cfg(feature = "guided")]
    guided::heat(ratio, condition);
    #[cfg(not(feature = "guided"))]
    let _ = condition;
}

/// Whether errors are shown and the mutator knows numbers: unless the environment has `HUNT_UNGUIDED`, to compare.
#[cfg(feature = "guided")]
pub fn is_guided() -> bool {
    static IS_GUIDED: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("HUNT_UNGUIDED").is_none());
    *IS_GUIDED
}

#[cfg(feature = "guided")]
mod guided {
    use super::{is_guided, seen};
    use std::sync::Once;
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    /// Sixteenths of octaves of error over bound, from 2^-16 on; then octaves of the condition number up to 2^64.
    const RATIOS: usize = 256;
    const CONDITIONS: usize = 64;

    /// libFuzzer reads and clears these around each input.
    #[used]
    #[unsafe(link_section = "__libfuzzer_extra_counters")]
    static COUNTERS: [AtomicU8; RATIOS + CONDITIONS] =
        [const { AtomicU8::new(0) }; RATIOS + CONDITIONS];

    pub(super) fn heat(ratio: f64, condition: f64) {
        static AT_EXIT: Once = Once::new();
        AT_EXIT.call_once(|| {
            // SAFETY: `report` takes nothing and never unwinds.
            unsafe { libc::atexit(report) };
        });
        if !is_guided() {
            return;
        }
        let (ratios, conditions) = COUNTERS.split_at(RATIOS);
        set(ratios, 16.0 * (ratio.log2() + 16.0));
        set(conditions, condition.log2());
    }

    /// Sets all counters below a level; NaN and what is negative set none.
    fn set(counters: &[AtomicU8], level: f64) {
        counters.iter().take(level as usize).for_each(|counter| counter.store(1, Relaxed));
    }

    /// What `fuzz/run.sh` reads.
    extern "C" fn report() {
        let seen = seen();
        eprintln!(
            "hunt: {} verdicts, {} checks, worst error/bound {:.4}",
            seen.verdicts, seen.checks, seen.worst_ratio
        );
    }
}
