//! Prompts on each level of this machine: `cargo bench --bench attend`.

#[path = "shared/levels.rs"]
mod levels;

use criterion::{Criterion, criterion_group, criterion_main};
use flashlet::{Heads, Shape};
use levels::{Call, levels};

fn attend(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attend");
    group.sample_size(10);
    for dim in [64, 128] {
        for len in [128, 1024] {
            let shape = Shape { batch: 1, q_len: len, kv_len: len, heads: Heads::new(8, 8, dim) };
            for (mask, call) in [("full", Call::full(shape)), ("causal", Call::causal(shape))] {
                levels(&mut group, &format!("f32_hd{dim}_n{len}_{mask}"), &call);
            }
        }
    }
}

criterion_group!(benches, attend);
criterion_main!(benches);
