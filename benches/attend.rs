//! Prefill and decode on each level of this machine: `cargo bench --bench attend`.
//!
//! Throughput is in floating-point operations: 4 * head_dim for each pair of a query and a key that
//! it may see, so causal and full rows compare. What was timed is checked against the oracle: a wrong
//! kernel is not fast.

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use flashlet::{
    Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Shape, TILE_K, View, ViewMut,
};
use oracle::{Arithmetic, Form, Pair, Problem};

fn numbers(dims: [usize; 4], seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let len = dims.iter().product();
    std::iter::repeat_with(|| random.f32() * 2.0 - 1.0).take(len).collect()
}

/// Times one shape on every level. `pairs` of query and key are visible.
fn levels(
    group: &mut BenchmarkGroup<'_, WallTime>,
    case: &str,
    shape: Shape,
    mask: Mask,
    pairs: usize,
) {
    let (q, k, v) = (numbers(shape.q(), 1), numbers(shape.k(), 2), numbers(shape.v(), 3));
    let mut o = vec![0.0; shape.o().iter().product()];
    let operations = 4 * pairs * shape.heads.q * shape.heads.dim;
    group.throughput(Throughput::Elements(operations as u64));
    for level in Level::available() {
        let plan =
            Attention::new(shape, mask).and_then(|plan| plan.level(level)).expect("a good shape");
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
            certify(shape, mask != Mask::full(), level, [&q, &k, &v], &o);
        }
    }
}

/// Panics unless a few rows of the output are within their certified bound.
fn certify(shape: Shape, causal: bool, level: Level, [q, k, v]: [&[f32]; 3], o: &[f32]) {
    let Shape { batch, q_len, kv_len, heads } = shape;
    let problem = Problem {
        shape: oracle::Shape {
            batch,
            q_len,
            kv_len,
            q_heads: heads.q,
            kv_heads: heads.kv,
            head_dim: heads.dim,
            v_dim: heads.v_dim,
        },
        scale: 1.0 / (heads.dim as f64).sqrt(),
        q,
        k,
        v,
        visible: &|Pair { i, j, .. }| !causal || j <= i,
    };
    let fused = level.is_fused();
    let arithmetic = if fused { Arithmetic::fused(TILE_K) } else { Arithmetic::unfused(TILE_K) };
    let rows = [(0, 0, 0), (0, q_len / 2, heads.q / 2), (0, q_len - 1, heads.q - 1)];
    let verdict = oracle::certify_rows(&problem, &arithmetic, Form::Running, rows, o, None);
    assert!(verdict.holds() && verdict.uncertified == 0, "{level}: {verdict}");
}

fn prefill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prefill");
    group.sample_size(10);
    for dim in [64, 128] {
        for len in [128, 1024] {
            let shape = Shape { batch: 1, q_len: len, kv_len: len, heads: Heads::new(8, 8, dim) };
            let name = |mask| format!("f32_hd{dim}_n{len}_{mask}");
            levels(&mut group, &name("full"), shape, Mask::full(), len * len);
            let causal = Mask::causal(Offset::TOP_LEFT);
            levels(&mut group, &name("causal"), shape, causal, len * (len + 1) / 2);
        }
    }
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.sample_size(10);
    for kv_len in [1024, 8192] {
        let shape = Shape { batch: 1, q_len: 1, kv_len, heads: Heads::new(32, 8, 128) };
        levels(&mut group, &format!("f32_hd128_32x8_kv{kv_len}"), shape, Mask::full(), kv_len);
    }
}

criterion_group!(benches, prefill, decode);
criterion_main!(benches);
