//! A decoder's steps on each level of this machine: `cargo bench --bench decode`.

#[path = "shared/levels.rs"]
mod levels;

use criterion::{Criterion, criterion_group, criterion_main};
use flashlet::{Heads, Shape};
use levels::{Call, levels};

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.sample_size(10);
    let shape = |q_len, kv_len| Shape { batch: 1, q_len, kv_len, heads: Heads::new(32, 8, 128) };
    for kv_len in [1024, 8192] {
        let name = format!("f32_hd128_32x8_kv{kv_len}");
        levels(&mut group, &name, &Call::full(shape(1, kv_len)));
    }
    for q_len in [4, 16] {
        let name = format!("f32_hd128_32x8_q{q_len}_kv8192");
        levels(&mut group, &name, &Call::causal(shape(q_len, 8192)));
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
