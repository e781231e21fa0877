//! How fast one core of this machine reads memory, as this process gets it just now.

use crate::on::{Work, on};
use crate::time::time_at_least;
use flashlet::Level;
use flashlet::simd::Simd;
use std::array::from_fn;
use std::hint::black_box;
use std::time::Duration;

/// What one probe takes, if that is enough for [`FEWEST`] readings.
const BUDGET: Duration = Duration::from_millis(10);

/// Readings timed even if they exceed the budget.
const FEWEST: usize = 3;

/// Sums that are independent of each other: enough to hide the latency of an addition.
const SUMS: usize = 8;

/// Billions of bytes a second that one core reads when it reads `data` again and again: the better of
/// one stream, from start to end, and two, the first half beside the second.
///
/// Where the data stay between two readings decides what was measured: in a cache, if they fit one. Pages
/// that were never written may all be the same one: write to them first.
#[must_use]
pub fn read_gbs(data: &[f32]) -> f64 {
    let seconds = streams::<1>(data).min(streams::<2>(data));
    size_of_val(data) as f64 / seconds / 1e9
}

/// Billions of bytes a second that one core reads and writes when it changes every number of `data` where it lies: both
/// directions count.
#[must_use]
pub fn update_gbs(data: &mut [f32]) -> f64 {
    let bytes = 2 * size_of_val(data);
    let updating = || {
        on(Level::detect(), Update(data));
    };
    bytes as f64 / time_at_least(FEWEST, BUDGET, updating).best / 1e9
}

/// Changes the sign of every number of its data, up to a rest of less than a block.
struct Update<'a>(&'a mut [f32]);

impl Work for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let factor = simd.splat(-1.0);
        for block in self.0.chunks_exact_mut(SUMS * S::LANES) {
            for numbers in block.chunks_exact_mut(S::LANES) {
                simd.store(simd.mul(simd.load(numbers), factor), numbers);
            }
        }
    }
}

/// Seconds of a reading in so many streams.
fn streams<const STREAMS: usize>(data: &[f32]) -> f64 {
    let reading = || {
        on(Level::detect(), Read::<STREAMS>(data));
    };
    time_at_least(FEWEST, BUDGET, reading).best
}

/// Reads all of `STREAMS` equal shares of its data, side by side, up to a rest of less than a block each.
struct Read<'a, const STREAMS: usize>(&'a [f32]);

impl<const STREAMS: usize> Work for Read<'_, STREAMS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let block = SUMS * S::LANES;
        let each = self.0.len() / STREAMS;
        let streams: [&[f32]; STREAMS] = from_fn(|stream| &self.0[stream * each..][..each]);
        let mut sums = [simd.splat(0.0); SUMS];
        for at in 0..each / block {
            for stream in streams {
                let numbers = stream[at * block..][..block].chunks_exact(S::LANES);
                for (sum, numbers) in sums.iter_mut().zip(numbers) {
                    *sum = simd.add(*sum, simd.load(numbers));
                }
            }
        }
        black_box(simd.floats_of(&mut sums).iter().sum::<f32>());
    }
}
