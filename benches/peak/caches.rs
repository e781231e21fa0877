//! Keys and values in a cache of fewer bits.

use crate::cases::{Case, Kept, Layout};
use flashlet::entry::Tiling;
use flashlet::{
    AnyView, Attention, BLOCK, CacheShape, Cached, E4m3, Format, Heads, KvCache, Level, Q4_0, Q8_0,
    Scales, Shape, Side,
};
use oracle::{Arithmetic, Pair, Problem, Verdict, certify_integers, rounded_queries};

/// The cache of a case, if it has one, with these keys and values.
pub(crate) fn of(case: &Case, tokens: [AnyView<'_>; 2]) -> Option<Box<dyn Cached>> {
    Some(match case.kept? {
        Kept::E4m3 => full::<E4m3>(case, tokens, false),
        Kept::Int8 => full::<i8>(case, tokens, true),
        Kept::Q8_0 => full::<Q8_0>(case, tokens, false),
        Kept::Q4_0 => full::<Q4_0>(case, tokens, false),
    })
}

fn full<F: Format>(case: &Case, [k, v]: [AnyView<'_>; 2], has_scales: bool) -> Box<dyn Cached> {
    let call = case.call.shape;
    let shape = CacheShape::new(call.heads, call.kv_len);
    let shape = if case.layout == Layout::ByHead { shape.by_head() } else { shape };
    let memory = |len: usize| vec![F::default(); len].leak();
    let (keys, values) = (memory(shape.key_len::<F>()), memory(shape.value_len::<F>()));
    let scales = || match has_scales {
        true => Scales::ByToken(vec![0.0; shape.rows()].leak()),
        false => Scales::None,
    };
    let cache = KvCache::new(shape, keys, values).expect("shapes of benches make sense");
    let mut cache = cache.scales(scales(), scales()).expect("made for the format");
    cache.append(k, v).expect("it is as long");
    Box::new(cache)
}

/// All that it keeps, token after token.
pub(crate) fn widened(cache: &dyn Cached, side: Side, dims: [usize; 4]) -> Vec<f32> {
    let [_, len, heads, dim] = dims;
    let mut all = vec![0.0; len * heads * dim];
    let mut row = vec![0.0; dim];
    for (at, to) in all.chunks_exact_mut(dim).enumerate() {
        let (token, head) = (at / heads, at % heads);
        cache.load(side, [0, head], token..token + 1, &mut row).expect("it is there");
        to.copy_from_slice(&row);
    }
    all
}

/// Judges some rows of products in integers.
pub(crate) fn certify(
    case: &Case,
    plan: &Attention<'_>,
    [q, k, v]: [&[f32]; 3],
    o: &[f32],
) -> Verdict {
    let Shape { q_len, kv_len, heads, .. } = case.call.shape;
    let Heads { q: q_heads, kv: kv_heads, dim: head_dim, v_dim } = heads;
    let channels = if case.kept == Some(Kept::Int8) { head_dim } else { BLOCK };
    let rounded = rounded_queries(q, head_dim, channels, 1.0 / (head_dim as f64).sqrt());
    let problem = Problem {
        shape: oracle::Shape { batch: 1, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim },
        scale: std::f64::consts::LN_2,
        q: &rounded,
        k,
        v,
        visible: &|Pair { i, j, .. }| case.call.sees(i, j),
        sinks: &[],
        modify: None,
        beside: None,
    };
    // The largest code is that of the largest number.
    let largest = |row: &[f32]| row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let (of_scale, most, weights) = match case.kept {
        Some(Kept::Int8) => (v_dim, 127.0, 255.0),
        Some(Kept::Q4_0) => (BLOCK, 8.0, 127.0),
        _ => (BLOCK, 127.0, 255.0),
    };
    // Weights of many queries are not rounded: as if scales were 0.
    let rounds = Tiling::is_few(Level::Avx512, q_len * heads.group());
    let scale = |row: &[f32]| if rounds { largest(row) / most } else { 0.0 };
    let scales: Vec<f32> = v.chunks(of_scale).map(scale).collect();
    let arithmetic = match plan.entry().level().is_fused() {
        true => Arithmetic::fused(plan.entry().tile_k()),
        false => Arithmetic::unfused(plan.entry().tile_k()),
    };
    let rows = [(0, 0, 0), (0, q_len / 2, q_heads / 2), (0, q_len - 1, q_heads - 1)];
    certify_integers(&problem, &arithmetic, (&scales, weights), rows, o)
}
