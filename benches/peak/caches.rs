//! Keys and values in a cache of fewer bits.

use crate::cases::{Case, Kept, Layout};
use flashlet::{AnyView, CacheShape, Cached, E4m3, Format, KvCache, Q4_0, Q8_0, Scales, Side};

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
