//! Keys that a rope turns on their way into a cache: the same as keys that were turned before.

use crate::cache_case::random_tokens;
use crate::case::normal;
use flashlet::{
    CacheShape, Cached, E4m3, Error, Format, Given, Heads, KvCache, Onto, PagedCache, Pages,
    Pairing, Positions, Q4_0, Rope, Scales, Side, Tensor, Theta, TurnedKeys, Turns, View, ViewMut,
    hadamard,
};
use half::bf16;

const HEADS: Heads = Heads { q: 4, kv: 2, dim: 96, v_dim: 64 };
const SHAPE: CacheShape = CacheShape::new(HEADS, 12);

fn turns() -> Turns<32> {
    Theta::new(10_000.0).turns().unwrap()
}

/// What a cache keeps of 11 tokens, given as they are or turned.
fn kept<F: Format>(scales: [Scales<'_>; 2], is_rotated: bool, fused: bool) -> Vec<f32> {
    let (turns, [k, v]) = (turns(), random_tokens(HEADS, 11, 3));
    let rope = Rope::exact(&turns, Pairing::Halves).unwrap();
    let positions: Vec<u32> = (0..11).map(|i| i * i * 977).collect();
    let mut keys = vec![F::default(); SHAPE.key_len::<F>()];
    let mut values = vec![F::default(); SHAPE.value_len::<F>()];
    let [k_scales, v_scales] = scales;
    let cache = KvCache::new(SHAPE, &mut keys, &mut values).unwrap();
    let cache = cache.scales(k_scales, v_scales).unwrap();
    let mut cache = if is_rotated { cache.rotated() } else { cache };
    let k = View::packed(&k, [1, 11, 2, 96]).unwrap();
    let v = View::packed(&v, [1, 11, 2, 64]).unwrap();
    // In two pieces, or the first would be the only one.
    for tokens in [0..4, 4..11] {
        let (n, k, v) =
            (tokens.len(), k.tokens(tokens.clone()).unwrap(), v.tokens(tokens.clone()).unwrap());
        let positions = Positions::list(&positions[tokens]);
        if fused {
            let k = TurnedKeys::new(rope, k, positions).unwrap();
            cache.append(&k, v).unwrap();
        } else {
            let mut turned = vec![0.0_f32; n * 2 * 96];
            let to = ViewMut::packed(&mut turned, [1, n, 2, 96]).unwrap();
            rope.rotate(positions, &mut [&mut Onto::new(k, to).unwrap()]).unwrap();
            cache.append(View::packed(&turned, [1, n, 2, 96]).unwrap(), v).unwrap();
        }
    }
    let mut rows = vec![f32::NAN; 2 * 11 * 96];
    for (g, rows) in rows.chunks_mut(11 * 96).enumerate() {
        cache.load(Side::Keys, [0, g], 0..11, rows).unwrap();
    }
    rows
}

#[test]
fn fused_or_not_a_cache_keeps_the_same_bits() {
    for is_rotated in [false, true] {
        let none = || [Scales::None, Scales::None];
        let same = |one: Vec<f32>, other: Vec<f32>| {
            let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(one), bits(other));
        };
        same(kept::<f32>(none(), is_rotated, true), kept::<f32>(none(), is_rotated, false));
        same(kept::<bf16>(none(), is_rotated, true), kept::<bf16>(none(), is_rotated, false));
        same(kept::<E4m3>(none(), is_rotated, true), kept::<E4m3>(none(), is_rotated, false));
        same(kept::<Q4_0>(none(), is_rotated, true), kept::<Q4_0>(none(), is_rotated, false));
        let by_token = || [(); 2].map(|()| Scales::ByToken(vec![0.0; 24].leak()));
        same(kept::<i8>(by_token(), is_rotated, true), kept::<i8>(by_token(), is_rotated, false));
    }
}

#[test]
fn a_paged_cache_turns_keys_too() {
    let (turns, k) = (turns(), normal(5 * 2 * 96, 5));
    let rope = Rope::exact(&turns, Pairing::Interleaved).unwrap();
    let shape = CacheShape::paged(HEADS, 4, 2);
    let mut keys = vec![0.0_f32; shape.key_len::<f32>()];
    let mut values = vec![0.0_f32; shape.value_len::<f32>()];
    let (mut counts, mut table) = ([0; 4], [0; 4]);
    let mut cache = PagedCache::new(shape, &mut keys, &mut values, &mut counts).unwrap().rotated();
    let mut pages = Pages::new(&mut table);
    let turned = TurnedKeys::new(rope, View::packed(&k, [1, 5, 2, 96]).unwrap(), 7).unwrap();
    cache.append(&mut pages, &turned, View::packed(&k[..640], [1, 5, 2, 64]).unwrap()).unwrap();
    let mut expected = k.clone();
    let to = ViewMut::packed(&mut expected, [1, 5, 2, 96]).unwrap();
    rope.rotate(7, &mut [&mut { to }]).unwrap();
    expected.chunks_mut(96).for_each(hadamard);
    let mut found = vec![0.0; 5 * 96];
    cache.read(&[&pages]).load(Side::Keys, [0, 1], 0..5, &mut found).unwrap();
    let expected: Vec<f32> = expected.chunks(96).skip(1).step_by(2).flatten().copied().collect();
    assert_eq!(found, expected);
}

#[test]
fn what_cannot_turn_or_be_kept_is_refused() {
    let (turns, k) = (turns(), [0.0_f32; 192]);
    let rope = Rope::exact(&turns, Pairing::Halves).unwrap();
    let narrow = View::packed(&k[..120], [1, 2, 2, 30]).unwrap();
    let error = TurnedKeys::new(rope, narrow, 0).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Rotary { first: 0, rot_dim: 64, head_dim: 30 });
    let two = View::packed(&k, [2, 1, 1, 96]).unwrap();
    let error = TurnedKeys::new(rope, two, 0).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Tokens { expected: [1, 1], given: [2, 1] });
    // An infinity has no place in codes without NaN: it is found where keys have been turned.
    let scales = || Scales::Given(Given { scales: &[1.0], zeros: &[] });
    let (mut keys, mut values) = ([0_i8; 12 * 192], [0_i8; 12 * 128]);
    let cache = KvCache::new(SHAPE, &mut keys, &mut values).unwrap();
    let mut cache = cache.scales(scales(), scales()).unwrap().rotated();
    let mut k = [1.0; 192];
    (k[96 + 3], k[96 + 4]) = (f32::INFINITY, f32::INFINITY);
    let view = View::packed(&k, [1, 1, 2, 96]).unwrap();
    let error = cache.append(view, View::packed(&k[..128], [1, 1, 2, 64]).unwrap()).unwrap_err();
    assert!(matches!(error, Error::NotFinite { tensor: Tensor::K, at: [0, 0, 1, _] }), "{error}");
    assert!(cache.is_empty());
}
