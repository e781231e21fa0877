//! What the oracle is told of a call.

use flashlet::{Heads, Level, Precision, Shape, TILE_K};
use oracle::Arithmetic;

/// Lengths of the axes.
pub(crate) fn shape(Shape { batch, q_len, kv_len, heads }: Shape) -> oracle::Shape {
    let Heads { q: q_heads, kv: kv_heads, dim: head_dim, v_dim } = heads;
    oracle::Shape { batch, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim }
}

/// How a level multiplies and sums; outputs are f32.
pub(crate) fn arithmetic(precision: Precision, level: Level) -> Arithmetic {
    match (precision, level.is_fused()) {
        (Precision::Bf16Products, _) => Arithmetic::bf16_products(TILE_K),
        (_, true) => Arithmetic::fused(TILE_K),
        (_, false) => Arithmetic::unfused(TILE_K),
    }
}
