//! Attention as everybody writes it first: all scores of a row, then their softmax, then the values.

use crate::problem::{Model, Tokens};
use flashlet::Heads;

/// `o[i][h] = sum_j softmax_j(scale * q[i][h] . k[j][g]) v[j][g]`, into `[q_len, q_heads, v_dim]`.
pub fn attend(model: &Model, tokens: &Tokens<'_>, o: &mut [f32]) {
    let Heads { q: q_heads, kv: kv_heads, dim, v_dim } = model.heads;
    let scale = model.scale as f32;
    let mut scores = vec![0.0; model.kv_len(tokens)];
    let rows = tokens.q.chunks_exact(dim).zip(o.chunks_exact_mut(v_dim));
    for (row, (q, o)) in rows.enumerate() {
        let (i, g) = (row / q_heads, row % q_heads * kv_heads / q_heads);
        let keys = tokens.k.chunks_exact(dim).skip(g).step_by(kv_heads);
        for (j, (score, k)) in scores.iter_mut().zip(keys).enumerate() {
            *score = if model.sight.sees(tokens.position + i, j) {
                scale * q.iter().zip(k).map(|(q, k)| q * k).sum::<f32>()
            } else {
                f32::NEG_INFINITY
            };
        }
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        scores.iter_mut().for_each(|score| *score = (*score - max).exp());
        let sum: f32 = scores.iter().sum();
        o.fill(0.0);
        let values = tokens.v.chunks_exact(v_dim).skip(g).step_by(kv_heads);
        for (p, v) in scores.iter().zip(values) {
            for (o, v) in o.iter_mut().zip(v) {
                *o += p / sum * v;
            }
        }
    }
}
