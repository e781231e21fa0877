//! Caches of every format: appending, attending, and what their scales and tables are written in.

use crate::{Against, Fence, assert_written, len, numbers, on_both_sides};
use flashlet::{
    Attention, CacheShape, Cached, E4m3, E5m2, Format, Given, Groups, Heads, Inputs, KvCache,
    Level, Mask, Offset, Outputs, PagedCache, Pages, Precision, Q4_0, Q8_0, Scales, Shape, Side,
    View, ViewMut,
};
use half::{bf16, f16};

const TOKENS: usize = 41;
const BLOCK_LEN: usize = 7;

/// Lists of numbers that codes are multiplied by, and zero points.
struct Lists {
    scales: Fence<f32>,
    zeros: Fence<i8>,
    newest: Fence<f32>,
}

/// Which of them a cache has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scaling {
    None,
    Channel,
    ByToken,
    Affine,
    Groups,
}

impl Lists {
    fn new(scaling: Scaling, rows: usize, [heads, dim]: [usize; 2], against: Against) -> Self {
        let count = match scaling {
            Scaling::None => 0,
            Scaling::Channel => heads * dim,
            Scaling::ByToken | Scaling::Affine => rows,
            Scaling::Groups => TOKENS / BLOCK_LEN * heads * dim,
        };
        Lists {
            scales: Fence::repeat(0.01, count, against),
            zeros: Fence::repeat(1, count, against),
            newest: Fence::repeat(f32::NAN, (BLOCK_LEN + 2) * heads * dim, against),
        }
    }

    fn scales(&mut self, scaling: Scaling, has_zeros: bool) -> Scales<'_> {
        let Lists { scales, zeros, newest } = self;
        let zeros = if has_zeros { &mut zeros[..] } else { &mut [] };
        match scaling {
            Scaling::None => Scales::None,
            Scaling::Channel => Scales::Given(Given { scales, zeros }),
            Scaling::ByToken => Scales::ByToken(scales),
            Scaling::Affine => Scales::Affine(scales, zeros),
            Scaling::Groups => Scales::Groups(Groups::new(BLOCK_LEN, scales, newest).zeros(zeros)),
        }
    }
}

/// Queries of each kind over a cache of some tokens, and its rows back in f32.
fn attend(cache: &dyn Cached, heads: Heads, level: Level, against: Against) {
    for (q_len, precision) in
        [1, 5, 20].into_iter().flat_map(|n| [(n, Precision::F32), (n, Precision::Int8Products)])
    {
        let shape = Shape { batch: 1, q_len, kv_len: TOKENS, heads };
        let mask = Mask::causal(Offset::BOTTOM_RIGHT);
        let plan = Attention::new(shape, mask).unwrap().level(level).unwrap().precision(precision);
        let q = numbers::<f32>(len(shape.q()), against);
        let mut o = Fence::repeat(f32::NAN, len(shape.o()), against);
        let mut scratch = Fence::repeat(f32::NAN, plan.scratch_len(), against);
        let inputs = Inputs::cached(View::packed(&q, shape.q()).unwrap(), cache);
        let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
        plan.bind(inputs, outputs, &mut scratch).unwrap().run();
        assert_written(&o, "a cache");
    }
    for (side, dim) in [(Side::Keys, heads.dim), (Side::Values, heads.v_dim)] {
        let mut rows = Fence::repeat(f32::NAN, 9 * dim, against);
        cache.load(side, [0, heads.kv - 1], TOKENS - 9..TOKENS, &mut rows).unwrap();
        assert_written(&rows, "rows of a cache");
    }
}

/// Tokens of a cache, in pieces.
fn pieces(heads: Heads, against: Against, mut append: impl FnMut(View<'_>, View<'_>)) {
    for n in [30, 1, TOKENS - 31] {
        let (k, v) = ([1, n, heads.kv, heads.dim], [1, n, heads.kv, heads.v_dim]);
        let (keys, values) = (numbers::<f32>(len(k), against), numbers::<f32>(len(v), against));
        append(View::packed(&keys, k).unwrap(), View::packed(&values, v).unwrap());
    }
}

fn straight<F: Format>(heads: Heads, scaling: Scaling, by_head: bool, against: Against) {
    let shape = CacheShape::new(heads, TOKENS);
    let shape = if by_head { shape.by_head() } else { shape };
    let mut keys = Fence::repeat(F::default(), shape.key_len::<F>(), against);
    let mut values = Fence::repeat(F::default(), shape.value_len::<F>(), against);
    let mut lists = [heads.dim, heads.v_dim]
        .map(|dim| Lists::new(scaling, shape.rows(), [heads.kv, dim], against));
    let [k, v] = lists.each_mut().map(|lists| lists.scales(scaling, !F::HAS_NAN));
    let mut cache = KvCache::new(shape, &mut keys, &mut values).unwrap().scales(k, v).unwrap();
    pieces(heads, against, |k, v| cache.append(k, v).unwrap());
    Level::available().for_each(|level| attend(&cache, heads, level, against));
}

fn paged<F: Format>(heads: Heads, scaling: Scaling, by_head: bool, against: Against) {
    let blocks = TOKENS.div_ceil(BLOCK_LEN);
    let shape = CacheShape::paged(heads, blocks, BLOCK_LEN);
    let shape = if by_head { shape.by_head() } else { shape };
    let mut keys = Fence::repeat(F::default(), shape.key_len::<F>(), against);
    let mut values = Fence::repeat(F::default(), shape.value_len::<F>(), against);
    let mut lists = [heads.dim, heads.v_dim]
        .map(|dim| Lists::new(scaling, shape.rows(), [heads.kv, dim], against));
    let [k, v] = lists.each_mut().map(|lists| lists.scales(scaling, !F::HAS_NAN));
    let [mut counts, mut table] = [(); 2].map(|()| Fence::repeat(9_u32, blocks, against));
    let cache = PagedCache::new(shape, &mut keys, &mut values, &mut counts).unwrap();
    let mut cache = cache.scales(k, v).unwrap();
    let mut pages = Pages::new(&mut table);
    pieces(heads, against, |k, v| cache.append(&mut pages, k, v).unwrap());
    let pages = [&pages];
    Level::available().for_each(|level| attend(&cache.read(&pages), heads, level, against));
}

fn both<F: Format>(name: &str, scalings: &[Scaling]) {
    for (dim, v_dim) in [(32, 64), (64, 32), (13, 7), (1, 1), (48, 100)] {
        if dim % F::CHANNELS != 0 || v_dim % F::CHANNELS != 0 {
            continue;
        }
        let heads = Heads { q: 4, kv: 2, dim, v_dim };
        for (scaling, by_head) in scalings.iter().flat_map(|s| [(*s, false), (*s, true)]) {
            let what = format!("{name} {heads:?} {scaling:?} by head: {by_head}");
            on_both_sides(&format!("straight {what}"), |against| {
                straight::<F>(heads, scaling, by_head, against);
            });
            if scaling != Scaling::Groups {
                on_both_sides(&format!("paged {what}"), |against| {
                    paged::<F>(heads, scaling, by_head, against);
                });
            }
        }
    }
}

#[test]
fn caches_of_elements_and_blocks_stay_within_their_memory() {
    both::<f32>("f32", &[Scaling::None]);
    both::<f16>("f16", &[Scaling::None]);
    both::<bf16>("bf16", &[Scaling::None]);
    both::<Q8_0>("q8_0", &[Scaling::None]);
    both::<Q4_0>("q4_0", &[Scaling::None]);
}

#[test]
fn caches_of_codes_stay_within_their_memory() {
    let of_fp8 = [Scaling::None, Scaling::Channel, Scaling::ByToken, Scaling::Groups];
    both::<E4m3>("e4m3", &of_fp8);
    both::<E5m2>("e5m2", &of_fp8);
    both::<i8>("i8", &[Scaling::Channel, Scaling::ByToken, Scaling::Affine, Scaling::Groups]);
}
