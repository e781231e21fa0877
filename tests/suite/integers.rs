//! Products in integers: within their bound, the same bits on every level that rounds alike and in every layout of a cache.

use crate::cache_case::{Reference, Scaling, Sight, random_tokens, scales};
use crate::case::{assert_same_bits, normal};
use flashlet::entry::Tiling;
use flashlet::{
    Attention, CacheShape, Cached, Groups, Heads, Inputs, KvCache, Level, Outputs, PagedCache,
    Pages, Precision, Q4_0, Q8_0, Scales, Shape, Side, View, ViewMut,
};
use half::f16;
use oracle::{Arithmetic, Pair, Problem, certify_integers, rounded_queries};
use proptest::prelude::*;

/// Some queries at the end of a sequence.
#[derive(Clone, Copy, Debug)]
struct Tail {
    heads: Heads,
    q_len: usize,
    kv_len: usize,
    sight: Sight,
    by_head: bool,
    /// What the first key is multiplied by: where it draws nearly all the weight, those of later tiles must not vanish.
    first: f32,
}

impl Tail {
    fn shape(&self) -> Shape {
        Shape { batch: 1, q_len: self.q_len, kv_len: self.kv_len, heads: self.heads }
    }

    fn queries(&self) -> Vec<f32> {
        normal(self.q_len * self.heads.q * self.heads.dim, 3)
    }

    fn memory(&self, shape: CacheShape) -> CacheShape {
        if self.by_head { shape.by_head() } else { shape }
    }

    fn tokens(&self) -> [Vec<f32>; 2] {
        let mut tokens = random_tokens(self.heads, self.kv_len, 1);
        let first = tokens[0].iter_mut().take(self.heads.kv * self.heads.dim);
        first.for_each(|x| *x *= self.first);
        tokens
    }

    /// A straight cache of random tokens.
    fn cache<F: Reference>(&self, scaling: Scaling) -> KvCache<'static, F> {
        self.cache_of(scaling, &self.tokens())
    }

    fn cache_of<F: Reference>(
        &self,
        scaling: Scaling,
        [k, v]: &[Vec<f32>; 2],
    ) -> KvCache<'static, F> {
        let shape = self.memory(CacheShape::new(self.heads, self.kv_len.max(1)));
        let keys = vec![F::default(); shape.key_len::<F>()].leak();
        let values = vec![F::default(); shape.value_len::<F>()].leak();
        let [ks, vs] = self.scales::<F>(scaling, shape.rows());
        let mut cache = KvCache::new(shape, keys, values).unwrap().scales(ks, vs).unwrap();
        let [k, v] = self.views(k, v, self.kv_len);
        cache.append(k, v).unwrap();
        cache
    }

    fn scales<F: Reference>(&self, scaling: Scaling, rows: usize) -> [Scales<'static>; 2] {
        let Heads { kv, dim, v_dim, .. } = self.heads;
        [dim, v_dim].map(|dim| scales::<F>(scaling, rows, [kv, dim]))
    }

    fn views<'a>(&self, k: &'a [f32], v: &'a [f32], n: usize) -> [View<'a>; 2] {
        let Heads { kv, dim, v_dim, .. } = self.heads;
        [(k, dim), (v, v_dim)].map(|(x, dim)| View::packed(x, [1, n, kv, dim]).unwrap())
    }

    fn attend(&self, level: Level, precision: Precision, cache: &dyn Cached) -> Vec<f32> {
        let (shape, q) = (self.shape(), self.queries());
        let attention = Attention::new(shape, self.sight.mask()).unwrap();
        let attention = attention.level(level).unwrap().precision(precision);
        let mut o = vec![f32::NAN; shape.o().iter().product()];
        let mut scratch = vec![f32::NAN; attention.scratch_len()];
        let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
        let inputs = Inputs::cached(View::packed(&q, shape.q()).unwrap(), cache);
        attention.bind(inputs, outputs, &mut scratch).unwrap().run();
        o
    }

    /// What a cache keeps: `[len, heads, dim]`.
    fn kept(&self, cache: &dyn Cached, side: Side) -> Vec<f32> {
        let Heads { kv, dim, v_dim, .. } = self.heads;
        let dim = if side == Side::Keys { dim } else { v_dim };
        let mut all = vec![0.0; self.kv_len * kv * dim];
        for (at, row) in all.chunks_mut(dim).enumerate() {
            cache.load(side, [0, at % kv], at / kv..at / kv + 1, row).unwrap();
        }
        all
    }

    /// Panics unless outputs on every level with vectors are within the bound, and those of levels that round alike are alike.
    fn assert_certified<F: Reference>(&self, scaling: Scaling) {
        let (cache, Heads { q, kv, dim, v_dim }) = (self.cache::<F>(scaling), self.heads);
        let [k, v] = [Side::Keys, Side::Values].map(|side| self.kept(&cache, side));
        let has_codes = F::CHANNELS == 1;
        let channels = if has_codes { dim } else { 32 };
        let rounded = rounded_queries(&self.queries(), dim, channels, 1.0 / (dim as f64).sqrt());
        let visible = |Pair { i, j, .. }: Pair| {
            (self.kv_len + i).checked_sub(self.q_len).is_some_and(|at| self.sight.sees(at, j))
        };
        let problem = Problem {
            shape: oracle::Shape {
                batch: 1,
                q_len: self.q_len,
                kv_len: self.kv_len,
                q_heads: q,
                kv_heads: kv,
                head_dim: dim,
                v_dim,
            },
            scale: std::f64::consts::LN_2,
            q: &rounded,
            k: &k,
            v: &v,
            visible: &visible,
            sinks: &[],
            modify: None,
            beside: None,
        };
        // The largest number has the largest code; without scales a number is one.
        let (channels, most) = match (has_codes, scaling) {
            (true, Scaling::ByToken) => (v_dim, Some(127.0)),
            (true, _) => (v_dim, None),
            (false, _) => (32, Some(F::MOST_OF_BLOCK)),
        };
        let largest = |x: &[f32]| x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let scale = |x: &[f32]| most.map_or(1.0, |most| largest(x) / most);
        // Weights of many queries are not rounded: as if scales were 0.
        let rounds = Tiling::is_few(Level::Avx512, self.q_len * self.heads.group());
        let scale = |x: &[f32]| if rounds { scale(x) } else { 0.0 };
        let scales: Vec<f32> = v.chunks(channels).map(scale).collect();
        let of_weights = if F::MOST_OF_BLOCK == 8.0 { 127.0 } else { 255.0 };
        let mut seen: [Option<Vec<f32>>; 2] = [None, None];
        for level in Level::available().filter(|level| level.lanes() > 1) {
            let o = self.attend(level, Precision::Int8Products, &cache);
            let tile_k = flashlet::TILE_K;
            let arithmetic = match level.is_fused() {
                true => Arithmetic::fused(tile_k),
                false => Arithmetic::unfused(tile_k),
            };
            let rows = (0..self.q_len).flat_map(|i| (0..q).map(move |h| (0, i, h)));
            let verdict = certify_integers(&problem, &arithmetic, (&scales, of_weights), rows, &o);
            assert!(verdict.holds() && verdict.uncertified == 0, "{self:?} {level}: {verdict}");
            let slot = &mut seen[usize::from(level.is_fused())];
            match slot {
                Some(other) => assert_same_bits(&o, other, format_args!("{self:?} {level}")),
                None => *slot = Some(o),
            }
        }
    }
}

fn tail() -> impl Strategy<Value = Tail> {
    let window = prop_oneof![Just(None), (1_usize..200).prop_map(Some)];
    let heads = (1_usize..3, 1_usize..10, 1_usize..5, 1_usize..5);
    let q_len = prop_oneof![1_usize..3, 9_usize..80];
    let first = prop_oneof![Just(1.0_f32), Just(30.0)];
    (heads, q_len, 1_usize..300, window, 0_usize..5, any::<bool>(), first).prop_map(
        |((kv, group, dim, v_dim), q_len, kv_len, window, sinks, by_head, first)| Tail {
            heads: Heads { q: kv * group, kv, dim: 32 * dim, v_dim: 32 * v_dim },
            q_len,
            kv_len,
            sight: Sight { window, sinks },
            by_head,
            first,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn products_in_integers_are_within_their_bound(tail in tail(), format in 0_usize..4) {
        match format {
            0 => tail.assert_certified::<i8>(Scaling::ByToken),
            1 => tail.assert_certified::<i8>(Scaling::None),
            2 => tail.assert_certified::<Q8_0>(Scaling::None),
            _ => tail.assert_certified::<Q4_0>(Scaling::None),
        }
    }

    #[test]
    fn products_in_integers_are_the_same_in_every_layout(
        tail in tail(),
        format in 0_usize..3,
        block_len in 1_usize..40,
    ) {
        match format {
            0 => in_every_layout::<i8>(tail, Scaling::ByToken, block_len),
            1 => in_every_layout::<Q8_0>(tail, Scaling::None, block_len),
            _ => in_every_layout::<Q4_0>(tail, Scaling::None, block_len),
        }
    }
}

/// Straight by head and by token, in blocks, and in a ring that holds just what is seen.
fn in_every_layout<F: Reference>(tail: Tail, scaling: Scaling, block_len: usize) {
    let tokens = tail.tokens();
    let [k, v] = tail.views(&tokens[0], &tokens[1], tail.kv_len);
    let straight = tail.cache::<F>(scaling);
    let other = Tail { by_head: !tail.by_head, ..tail }.cache::<F>(scaling);
    let blocks = tail.kv_len.div_ceil(block_len);
    let shape = tail.memory(CacheShape::paged(tail.heads, blocks, block_len));
    let keys = vec![F::default(); shape.key_len::<F>()].leak();
    let values = vec![F::default(); shape.value_len::<F>()].leak();
    let [ks, vs] = tail.scales::<F>(scaling, shape.rows());
    let (mut counts, mut table) = (vec![0; blocks], vec![0; blocks]);
    let paged = PagedCache::new(shape, keys, values, &mut counts).unwrap();
    let (mut paged, mut pages) = (paged.scales(ks, vs).unwrap(), Pages::new(&mut table));
    paged.append(&mut pages, k, v).unwrap();
    let window = tail.sight.window.unwrap_or(tail.kv_len);
    let shape = tail.memory(CacheShape::new(tail.heads, tail.sight.sinks + window + tail.q_len));
    let keys = vec![F::default(); shape.key_len::<F>()].leak();
    let values = vec![F::default(); shape.value_len::<F>()].leak();
    let [ks, vs] = tail.scales::<F>(scaling, shape.rows());
    let ring = KvCache::new(shape, keys, values).unwrap().scales(ks, vs).unwrap();
    let mut ring = ring.ring(tail.sight.sinks).unwrap();
    ring.append(k, v).unwrap();
    for level in Level::available() {
        let run = |cache: &dyn Cached| tail.attend(level, Precision::Int8Products, cache);
        let expected = run(&straight);
        assert_same_bits(&run(&other), &expected, format_args!("{tail:?} {level} the other way"));
        assert_same_bits(
            &run(&paged.read(&[&pages])),
            &expected,
            format_args!("{tail:?} {level} paged"),
        );
        assert_same_bits(&run(&ring), &expected, format_args!("{tail:?} {level} ring"));
    }
}

#[test]
fn what_integers_cannot_multiply_is_multiplied_in_f32() {
    let sight = Sight { window: None, sinks: 0 };
    let heads = Heads { q: 2, kv: 1, dim: 32, v_dim: 32 };
    let tail = Tail { heads, q_len: 1, kv_len: 50, sight, by_head: false, first: 1.0 };
    let alike = |tail: Tail, cache: &dyn Cached| {
        for level in Level::available() {
            let [a, b] = [Precision::F32, Precision::Int8Products]
                .map(|precision| tail.attend(level, precision, cache));
            assert_same_bits(&a, &b, format_args!("{tail:?} {level}"));
        }
    };
    for scaling in [Scaling::Affine, Scaling::Channel, Scaling::Tensor] {
        alike(tail, &tail.cache::<i8>(scaling));
    }
    alike(tail, &tail.cache::<flashlet::E4m3>(Scaling::ByToken));
    // Tokens that share scales.
    let shape = CacheShape::new(heads, 50);
    let [mut keys, mut values] = [vec![0_i8; 50 * 32], vec![0_i8; 50 * 32]];
    let groups = || {
        let newest = vec![0.0; 10 * 32].leak();
        Scales::Groups(Groups::new(10, vec![0.0; 5].leak(), newest))
    };
    let grouped = KvCache::new(shape, &mut keys, &mut values).unwrap();
    let (mut grouped, [k, v]) = (grouped.scales(groups(), groups()).unwrap(), tail.tokens());
    let [k, v] = tail.views(&k, &v, 50);
    grouped.append(k, v).unwrap();
    alike(tail, &grouped);
    let odd = Tail { heads: Heads { dim: 40, v_dim: 33, ..heads }, ..tail };
    alike(odd, &odd.cache::<i8>(Scaling::ByToken));
    // And what they can is not.
    for tail in [tail, Tail { q_len: 40, ..tail }] {
        for level in Level::available().filter(|level| level.lanes() > 1) {
            let cache = tail.cache::<Q8_0>(Scaling::None);
            let [a, b] = [Precision::F32, Precision::Int8Products]
                .map(|precision| tail.attend(level, precision, &cache));
            assert_ne!(a, b, "{level}");
        }
    }
}

#[test]
fn what_is_hidden_has_no_influence_on_integers_and_nan_is_not_lost() {
    let heads = Heads { q: 4, kv: 1, dim: 32, v_dim: 32 };
    let sight = Sight { window: Some(20), sinks: 2 };
    let tail = Tail { heads, q_len: 1, kv_len: 110, sight, by_head: false, first: 1.0 };
    let [k, v] = random_tokens(heads, tail.kv_len, 1);
    for level in Level::available() {
        let clean = tail.cache_of::<i8>(Scaling::ByToken, &[k.clone(), v.clone()]);
        let clean = tail.attend(level, Precision::Int8Products, &clean);
        for (token, is_seen) in [(1, true), (2, false), (89, false), (95, true), (109, true)] {
            for side in 0..2 {
                let mut tokens = [k.clone(), v.clone()];
                tokens[side][token * 32 + 5] = f32::NAN;
                let cache = tail.cache_of::<i8>(Scaling::ByToken, &tokens);
                let o = tail.attend(level, Precision::Int8Products, &cache);
                match is_seen {
                    true => assert!(o.iter().all(|x| x.is_nan()), "{level} {token} {side}"),
                    false => assert_same_bits(&o, &clean, format_args!("{level} {token} {side}")),
                }
            }
        }
    }
}

#[test]
fn blocks_that_are_gone_are_passed_over_by_integers() {
    let heads = Heads { q: 4, kv: 2, dim: 32, v_dim: 64 };
    let sight = Sight { window: Some(10), sinks: 2 };
    for (q_len, by_head) in [(1, false), (2, true), (14, false)] {
        // The sinks, what is gone and the window are in one tile of keys.
        let tail = Tail { heads, q_len, kv_len: 50, sight, by_head, first: 1.0 };
        let (straight, [k, v]) = (tail.cache::<Q8_0>(Scaling::None), tail.tokens());
        let shape = tail.memory(CacheShape::paged(heads, 7, 8));
        let mut keys = vec![Q8_0::default(); shape.key_len::<Q8_0>()];
        let mut values = vec![Q8_0::default(); shape.value_len::<Q8_0>()];
        let (mut counts, mut table) = ([0; 7], [0; 7]);
        let mut paged = PagedCache::new(shape, &mut keys, &mut values, &mut counts).unwrap();
        let mut pages = Pages::new(&mut table);
        let [k, v] = tail.views(&k, &v, 50);
        paged.append(&mut pages, k, v).unwrap();
        assert_eq!(paged.evict(&mut pages, 2, 26), Ok(2));
        for level in Level::available() {
            let run = |cache: &dyn Cached| tail.attend(level, Precision::Int8Products, cache);
            let found = run(&paged.read(&[&pages]));
            assert_same_bits(&found, &run(&straight), format_args!("{q_len} {level}"));
        }
    }
}

#[test]
fn scales_below_zero_that_somebody_else_has_kept_are_not_lost() {
    let heads = Heads { q: 2, kv: 1, dim: 32, v_dim: 32 };
    let sight = Sight { window: None, sinks: 0 };
    let tail = Tail { heads, q_len: 1, kv_len: 8, sight, by_head: false, first: 1.0 };
    let shape = CacheShape::paged(heads, 1, 8);
    let mut keys = [Q8_0 { codes: [1; 32], scale: f16::ONE }; 8];
    let mut values = [Q8_0 { codes: [3; 32], scale: f16::NEG_ONE }; 8];
    let (mut counts, mut table) = ([0], [0]);
    let mut cache = PagedCache::new(shape, &mut keys, &mut values, &mut counts).unwrap();
    let pages = cache.adopt(&mut table, 8).unwrap();
    for level in Level::available() {
        let run = |precision| tail.attend(level, precision, &cache.read(&[&pages]));
        assert!(run(Precision::F32).iter().all(|x| (x + 3.0).abs() < 1e-5), "{level}");
        // Weights of such values are no codes above 0: no number comes out, rather than a wrong one.
        let is_due = |x: &f32| if level.lanes() > 1 { x.is_nan() } else { (x + 3.0).abs() < 1e-5 };
        assert!(run(Precision::Int8Products).iter().all(is_due), "{level}");
    }
}

#[test]
fn an_empty_cache_gives_zeros() {
    let heads = Heads { q: 2, kv: 1, dim: 32, v_dim: 32 };
    let sight = Sight { window: None, sinks: 0 };
    let tail = Tail { heads, q_len: 1, kv_len: 0, sight, by_head: true, first: 1.0 };
    let cache = tail.cache::<Q8_0>(Scaling::None);
    for level in Level::available() {
        assert_eq!(tail.attend(level, Precision::Int8Products, &cache), [0.0; 64]);
    }
}

#[test]
fn an_inspector_sees_scores_in_f32_whatever_a_plan_may_multiply() {
    let heads = Heads { q: 4, kv: 2, dim: 32, v_dim: 32 };
    let sight = Sight { window: None, sinks: 0 };
    let tail = Tail { heads, q_len: 1, kv_len: 50, sight, by_head: false, first: 1.0 };
    let (cache, shape, q) = (tail.cache::<Q8_0>(Scaling::None), tail.shape(), tail.queries());
    for level in Level::available() {
        let weights = |precision: Precision| {
            let plan = Attention::new(shape, sight.mask()).unwrap();
            let plan = plan.level(level).unwrap().precision(precision);
            let mut scratch = vec![0.0; plan.scratch_len()];
            let inputs = Inputs::cached(View::packed(&q, shape.q()).unwrap(), &cache);
            let mut inspector = plan.inspect(inputs, &mut scratch).unwrap();
            let mut weights = vec![0.0; 50];
            inspector.weights(0, 0, 3, &mut weights).unwrap();
            weights
        };
        let [a, b] = [Precision::F32, Precision::Int8Products].map(weights);
        assert_same_bits(&a, &b, format_args!("{level}"));
    }
}

#[test]
fn a_scale_beyond_the_range_of_f16_gives_nan_and_hides_no_key() {
    let heads = Heads { q: 4, kv: 1, dim: 32, v_dim: 32 };
    let sight = Sight { window: None, sinks: 0 };
    let tail = Tail { heads, q_len: 1, kv_len: 48, sight, by_head: true, first: 1.0 };
    for side in 0..2 {
        let mut tokens = random_tokens(heads, tail.kv_len, 1);
        tokens[side][7 * 32 + 3] = 1e7;
        tokens[side][7 * 32 + 4] = 0.0;
        let cache = tail.cache_of::<Q8_0>(Scaling::None, &tokens);
        for level in Level::available() {
            let o = tail.attend(level, Precision::Int8Products, &cache);
            // Where nothing is multiplied in integers, one value is infinite.
            let is_due = |x: &f32| x.is_nan() || side == 1 && x.is_infinite();
            assert!(o.iter().all(is_due), "{level} {side}: {o:?}");
        }
    }
}
