//! One attention on each level of this machine, as criterion benches.

#[path = "call.rs"]
mod call;

pub(crate) use call::Call;
use call::{numbers, passes};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use flashlet::{Attention, Inputs, Level, Outputs, View, ViewMut};
use measure::case::Rule;
use oracle::Format;

/// Times one call on every level. Throughput is in floating-point operations.
///
/// What was timed is judged by the oracle: a wrong kernel is not fast.
pub(crate) fn levels(group: &mut BenchmarkGroup<'_, WallTime>, case: &str, call: &Call) {
    let shape = call.shape;
    let [q, k, v] = [(shape.q(), 1), (shape.k(), 2), (shape.v(), 3)]
        .map(|(dims, seed)| numbers(dims, seed).collect::<Vec<f32>>());
    let mut o = vec![0.0; shape.o().iter().product()];
    group.throughput(Throughput::Elements(call.flops() as u64));
    for level in Level::available() {
        let plan = Attention::new(shape, call.mask)
            .and_then(|plan| plan.level(level))
            .expect("a good shape");
        let mut scratch = vec![0.0; plan.scratch_len()];
        let mut timed = false;
        group.bench_function(BenchmarkId::new(case, level), |bencher| {
            timed = true;
            bencher.iter(|| {
                let inputs = Inputs::new(
                    View::packed(&q, shape.q()).expect("packed"),
                    View::packed(&k, shape.k()).expect("packed"),
                    View::packed(&v, shape.v()).expect("packed"),
                );
                let o = ViewMut::packed(&mut o, shape.o()).expect("packed");
                plan.bind(inputs, Outputs::new(o), &mut scratch).expect("bound").run();
            });
        });
        // A filter on the command line leaves cases out.
        if timed {
            let verdict = call.certify(
                plan.entry(),
                Format::F32,
                [&q, &k, &v],
                &o,
                Rule { sees: &|i, j| call.sees(i, j), modify: None },
            );
            assert!(passes(&verdict), "{level}: {verdict}");
        }
    }
}
