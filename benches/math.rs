//! The mathematics of the softmax on each level of this machine: `cargo bench --bench math`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flashlet::math::exp2;
use flashlet::{Level, simd::Simd};
use measure::on::{Work, on};

/// Numbers that fit a first-level cache twice, before and after.
const NUMBERS: usize = 2048;

/// `y = 2^x`, as many as there are whole vectors.
struct Exp2<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Work for Exp2<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let numbers = self.x.chunks_exact(S::LANES).zip(self.y.chunks_exact_mut(S::LANES));
        for (x, y) in numbers {
            simd.store(exp2(simd, simd.load(x)), y);
        }
    }
}

fn math(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("math");
    group.throughput(Throughput::Elements(NUMBERS as u64));
    // Down to where results are flushed to zero.
    let x: Vec<f32> = (0..NUMBERS).map(|n| -126.0 * n as f32 / NUMBERS as f32).collect();
    let mut y = vec![f32::NAN; NUMBERS];
    for level in Level::available() {
        group.bench_function(BenchmarkId::new("exp2", level), |bencher| {
            bencher.iter(|| on(level, Exp2 { x: &x, y: &mut y }));
        });
    }
}

criterion_group!(benches, math);
criterion_main!(benches);
