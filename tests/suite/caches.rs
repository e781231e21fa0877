//! Caches against a list of tokens: whatever is done to them, attention has the bits of f32 tensors of what they keep.

use crate::cache_case::{
    Queries, Reference, Scaling, Sight, Tokens, kept, misses, random_tokens, rotate, scales, ways,
};
use crate::case::{assert_same_bits, normal};
use flashlet::{
    Attention, CacheShape, Cached, E4m3, E5m2, Error, Heads, Inputs, KvCache, Level, Mask, Offset,
    Outputs, Overflow, PagedCache, Pages, Q4_0, Q8_0, RelativeKeys, Scales, Shape, Side, View,
    ViewMut,
};
use half::{bf16, f16};
use proptest::prelude::*;

/// What may be done to a cache.
#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Truncate(usize),
    Attend {
        q_len: usize,
        window: Option<usize>,
        sinks: usize,
    },
    /// Another sequence of the same tokens.
    Fork,
    /// Going on with another one.
    Switch(usize),
    /// What a window has left behind, but for some sinks.
    Evict {
        sinks: usize,
        window: usize,
    },
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let window = prop_oneof![Just(None), (1_usize..40).prop_map(Some)];
    let step = prop_oneof![
        6 => (0_usize..23).prop_map(Step::Append),
        2 => (0_usize..9).prop_map(Step::Truncate),
        5 => (1_usize..7, window, 0_usize..6)
            .prop_map(|(q_len, window, sinks)| Step::Attend { q_len, window, sinks }),
        1 => Just(Step::Fork),
        2 => (0_usize..4).prop_map(Step::Switch),
        1 => (0_usize..6, 1_usize..30).prop_map(|(sinks, window)| Step::Evict { sinks, window }),
        1 => Just(Step::Release),
    ];
    proptest::collection::vec(step, 1..25)
}

fn heads() -> Heads {
    Heads { q: 4, kv: 2, dim: 32, v_dim: 64 }
}

/// What a test of caches varies.
#[derive(Clone, Copy, Debug)]
struct Setting {
    scaling: Scaling,
    by_head: bool,
    is_rotated: bool,
    way: usize,
}

impl Setting {
    fn shape(&self, shape: CacheShape) -> CacheShape {
        if self.by_head { shape.by_head() } else { shape }
    }

    /// Two caches differ in nothing else: memory that holds rubbish.
    fn cache<F: Reference>(&self, capacity: usize) -> KvCache<'static, F> {
        let (heads, shape) = (heads(), self.shape(CacheShape::new(heads(), capacity)));
        let k = vec![F::default(); shape.key_len::<F>()].leak();
        let v = vec![F::default(); shape.value_len::<F>()].leak();
        let [ks, vs] = [heads.dim, heads.v_dim]
            .map(|dim| scales::<F>(self.scaling, shape.rows(), [heads.kv, dim]));
        let cache = KvCache::new(shape, k, v).unwrap().scales(ks, vs).unwrap();
        if self.is_rotated { cache.rotated() } else { cache }
    }

    /// What a cache keeps of tokens.
    fn kept<F: Reference>(&self, tokens: &[Vec<f32>; 2]) -> Tokens {
        let mut tokens = tokens.clone();
        rotate(self.is_rotated, &mut tokens[0], heads().dim);
        kept::<F>(heads(), &tokens, self.scaling)
    }
}

/// Views of `n` tokens.
fn views([k, v]: &[Vec<f32>; 2], n: usize) -> [View<'_>; 2] {
    let Heads { kv, dim, v_dim, .. } = heads();
    [View::packed(k, [1, n, kv, dim]).unwrap(), View::packed(v, [1, n, kv, v_dim]).unwrap()]
}

/// Panics unless attention over a cache has the bits of that over the list of its tokens, or is refused where a query would see what is
/// gone.
fn assert_attends(setting: Setting, cache: &dyn Cached, tokens: &[&Tokens], step: &Step) {
    let &Step::Attend { q_len, window, sinks } = step else { return };
    let (sight, heads) = (Sight { window, sinks }, heads());
    let way = ways().nth(setting.way % ways().count()).unwrap();
    let q = normal(tokens.len() * q_len * heads.q * heads.dim, 77);
    let queries = Queries { heads, q_len, q, sight, way, is_rotated: setting.is_rotated };
    let found = queries.cached(cache);
    if tokens.iter().any(|tokens| misses(tokens, q_len, sight)) {
        assert!(matches!(found, Err(Error::Evicted { .. })), "{setting:?} {step:?}: {found:?}");
        return;
    }
    let what = format_args!("{setting:?} {way:?} {step:?}").to_string();
    assert_same_bits(&found.unwrap(), &queries.listed(tokens), what);
}

/// A straight cache and a ring of the same tokens.
fn one_sequence<F: Reference>(setting: Setting, ring_sinks: usize, steps: &[Step]) {
    const CAPACITY: usize = 60;
    const RING: usize = 37;
    let mut straight = setting.cache::<F>(CAPACITY);
    let mut ring = setting.cache::<F>(RING).ring(ring_sinks).unwrap();
    let (mut all, mut held): (Tokens, Tokens) = (Vec::new(), Vec::new());
    for (seed, step) in steps.iter().enumerate() {
        match *step {
            Step::Append(n) => {
                let tokens = random_tokens(heads(), n, seed as u64);
                let [k, v] = views(&tokens, n);
                let kept = setting.kept::<F>(&tokens);
                if all.len() + n > CAPACITY {
                    let error = straight.append(k, v).unwrap_err();
                    let (needed, given) = (all.len() + n, CAPACITY);
                    assert_eq!(error, Error::Capacity { needed, given });
                    straight.truncate(all.len()).unwrap();
                    all.clear();
                }
                straight.append(k, v).unwrap();
                ring.append(k, v).unwrap();
                all.extend(kept.clone());
                for token in kept {
                    held.push(token);
                    let last = held.len() - 1;
                    if last >= RING && last - (RING - ring_sinks) >= ring_sinks {
                        held[last - (RING - ring_sinks)] = None;
                    }
                }
            }
            Step::Truncate(n) => {
                for (cache, tokens) in [(&mut straight, &mut all), (&mut ring, &mut held)] {
                    match cache.truncate(n) {
                        Ok(()) => tokens.truncate(tokens.len() - n),
                        Err(error) => {
                            assert_eq!(error, Error::Rollback { back: n, held: tokens.len() });
                            assert!(n > tokens.len());
                        }
                    }
                }
            }
            Step::Release => {
                ring.clear();
                held.clear();
            }
            Step::Attend { .. } => {
                assert_attends(setting, &straight, &[&all], step);
                assert_attends(setting, &ring, &[&held], step);
            }
            Step::Fork | Step::Switch(_) | Step::Evict { .. } => {}
        }
        assert_eq!([straight.len(), ring.len()], [all.len(), held.len()]);
    }
}

/// Sequences that share blocks.
fn many_sequences<F: Reference>(setting: Setting, block_len: usize, steps: &[Step]) {
    const BLOCKS: usize = 24;
    let (heads, shape) = (heads(), setting.shape(CacheShape::paged(heads(), BLOCKS, block_len)));
    let k = vec![F::default(); shape.key_len::<F>()].leak();
    let v = vec![F::default(); shape.value_len::<F>()].leak();
    let [ks, vs] = [heads.dim, heads.v_dim]
        .map(|dim| scales::<F>(setting.scaling, shape.rows(), [heads.kv, dim]));
    let counts = vec![9; BLOCKS].leak();
    let cache = PagedCache::new(shape, k, v, counts).unwrap().scales(ks, vs).unwrap();
    let mut cache = if setting.is_rotated { cache.rotated() } else { cache };
    let table = || vec![12345; BLOCKS / 2].leak();
    let mut sequences: Vec<(Pages<'_>, Tokens)> = vec![(Pages::new(table()), Vec::new())];
    let mut current = 0;
    for (seed, step) in steps.iter().enumerate() {
        let (free, count) = (cache.free_blocks(), sequences.len());
        let (pages, list) = &mut sequences[current];
        match *step {
            Step::Append(n) => {
                let tokens = random_tokens(heads, n, seed as u64);
                let [k, v] = views(&tokens, n);
                let before = pages.blocks(block_len).to_vec();
                match cache.append(pages, k, v) {
                    Ok(()) => list.extend(setting.kept::<F>(&tokens)),
                    Err(error) => {
                        let needed = (list.len() + n).div_ceil(block_len);
                        match error {
                            Error::ListLength { needed: found, given, .. } => {
                                assert_eq!([found, given], [needed, BLOCKS / 2]);
                            }
                            Error::Capacity { needed: more, given } => {
                                assert!(given == free && more > free);
                                assert!(more <= needed - before.len() + 1);
                            }
                            other => panic!("{other}"),
                        }
                        // Nothing has changed.
                        assert_eq!(pages.blocks(block_len), before);
                        assert_eq!(cache.free_blocks(), free);
                    }
                }
            }
            Step::Truncate(n) => match cache.truncate(pages, n) {
                Ok(()) => list.truncate(list.len() - n),
                Err(error) => assert_eq!(error, Error::Rollback { back: n, held: list.len() }),
            },
            Step::Fork if count < 4 => {
                let (pages, list) = &sequences[current];
                let fork = cache.fork(pages, table()).unwrap();
                assert_eq!(cache.free_blocks(), free);
                sequences.push((fork, list.clone()));
            }
            Step::Fork => {}
            Step::Switch(to) => current = to % count,
            Step::Evict { sinks, window } => {
                let before = list.len().saturating_sub(window).max(sinks);
                if before <= list.len() {
                    cache.evict(pages, sinks, before).unwrap();
                    let whole = sinks.div_ceil(block_len)..before / block_len;
                    if whole.start < whole.end {
                        list[whole.start * block_len..whole.end * block_len].fill(None);
                    }
                }
            }
            Step::Release => {
                cache.release(pages);
                list.clear();
            }
            Step::Attend { .. } => {
                let pages: Vec<&Pages<'_>> = sequences.iter().map(|(pages, _)| pages).collect();
                let lists: Vec<&Tokens> = sequences.iter().map(|(_, list)| list).collect();
                assert_attends(
                    setting,
                    &cache.read(&pages[current..=current]),
                    &lists[current..=current],
                    step,
                );
                assert_attends(setting, &cache.read(&pages), &lists, step);
            }
        }
    }
    let mut used: Vec<u32> =
        sequences.iter().flat_map(|(pages, _)| pages.blocks(block_len).to_vec()).collect();
    used.sort_unstable();
    used.dedup();
    used.retain(|block| *block != u32::MAX);
    assert_eq!(cache.free_blocks() + used.len(), BLOCKS, "no block is lost");
}

/// Calls `$f::<F>` for the format of some index.
macro_rules! with_format {
    ($index:expr, $f:ident($scaling:expr, $setting:ident, $($argument:expr),*)) => {
        with_format!(@ $index, $f, $scaling, $setting, ($($argument),*);
            0 f32, 1 f16, 2 bf16, 3 E4m3, 4 E5m2, 5 i8, 6 Q8_0, 7 Q4_0)
    };
    (@ $index:expr, $f:ident, $scaling:expr, $setting:ident, $arguments:tt; $($n:literal $format:ty),*) => {
        match $index {
            $($n => {
                let scalings = <$format as Reference>::SCALINGS;
                let setting = Setting { scaling: scalings[$scaling % scalings.len()], ..$setting };
                with_format!(@call $f, $format, setting, $arguments)
            })*
            _ => unreachable!("eight formats"),
        }
    };
    (@call $f:ident, $format:ty, $setting:ident, ($($argument:expr),*)) => {
        $f::<$format>($setting, $($argument),*)
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_cache_is_the_list_of_its_tokens(
        format in 0_usize..8,
        scaling in 0_usize..6,
        by_head: bool,
        is_rotated: bool,
        way in 0_usize..8,
        sinks in 0_usize..6,
        steps in steps(),
    ) {
        let setting = Setting { scaling: Scaling::None, by_head, is_rotated, way };
        with_format!(format, one_sequence(scaling, setting, sinks, &steps));
    }

    #[test]
    fn sequences_that_share_blocks_are_lists_of_their_tokens(
        format in 0_usize..8,
        scaling in 0_usize..6,
        by_head: bool,
        is_rotated: bool,
        way in 0_usize..8,
        block_len in 1_usize..13,
        steps in steps(),
    ) {
        let setting = Setting { scaling: Scaling::None, by_head, is_rotated, way };
        with_format!(format, many_sequences(scaling, setting, block_len, &steps));
    }
}

/// Attention over some tokens of a cache, and over what it says that it keeps of them.
fn assert_reads_what_it_keeps(cache: &dyn Cached, len: usize, what: &str) {
    let (heads, mut tokens) = (heads(), Tokens::new());
    for i in 0..len {
        let [k, v] = [(Side::Keys, heads.dim), (Side::Values, heads.v_dim)].map(|(side, dim)| {
            let mut rows = vec![0.0; heads.kv * dim];
            for (g, row) in rows.chunks_mut(dim).enumerate() {
                cache.load(side, [0, g], i..i + 1, row).unwrap();
            }
            rows
        });
        tokens.push(Some([k, v]));
    }
    for way in ways() {
        let q = normal(heads.q * heads.dim, 5);
        let sight = Sight { window: None, sinks: 0 };
        let queries = Queries { heads, q_len: 1, q, sight, way, is_rotated: false };
        let (found, expected) = (queries.cached(cache).unwrap(), queries.listed(&[&tokens]));
        for (c, (x, y)) in found.iter().zip(&expected).enumerate() {
            let same = x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
            assert!(same, "{what} {way:?} {c}: {x} {y}");
        }
    }
}

#[test]
fn codes_that_lanes_cannot_be_loaded_with_and_scales_that_are_too_large_are_not_lost() {
    let (heads, shape) = (heads(), CacheShape::new(heads(), 40));
    for (wrong, side) in [(f32::NAN, 0), (f32::NAN, 1), (3e38, 0), (3e38, 1), (1e-44, 0)] {
        let mut tokens = random_tokens(heads, 40, 8);
        tokens[side][37 * heads.kv * [heads.dim, heads.v_dim][side] + 3] = wrong;
        let [k, v] = views(&tokens, 40);
        let mut keys = vec![E4m3::default(); shape.key_len::<E4m3>()];
        let mut values = vec![E4m3::default(); shape.value_len::<E4m3>()];
        for by_token in [false, true] {
            let (mut k_scales, mut v_scales) = (vec![0.0; 80], vec![0.0; 80]);
            let cache = KvCache::new(shape, &mut keys, &mut values).unwrap();
            let cache = match by_token {
                false => cache,
                true => cache
                    .scales(Scales::ByToken(&mut k_scales), Scales::ByToken(&mut v_scales))
                    .unwrap(),
            };
            let mut cache = cache.overflow(Overflow::Special);
            cache.append(k, v).unwrap();
            assert_reads_what_it_keeps(&cache, 40, &format!("{wrong} {side} {by_token}"));
        }
    }
    // What somebody else has kept may be anything.
    let shape = CacheShape::paged(heads, 1, 40);
    let mut keys = vec![E4m3::from_bits(0x31); shape.key_len::<E4m3>()];
    let mut values = vec![E4m3::from_bits(0x29); shape.value_len::<E4m3>()];
    for at in [0, 2000] {
        values[at] = E4m3::from_bits(0xff);
        let mut counts = [0];
        let mut cache = PagedCache::new(shape, &mut keys, &mut values, &mut counts).unwrap();
        let mut table = [0];
        let pages = cache.adopt(&mut table, 40).unwrap();
        assert_reads_what_it_keeps(&cache.read(&[&pages]), 40, "adopted");
    }
}

#[test]
fn relative_keys_are_multiplied_with_queries_that_are_not_rotated() {
    let heads = heads();
    // Keys of zeros stay zeros: all scores are those of relative keys.
    let tokens = [vec![0.0; 50 * heads.kv * heads.dim], normal(50 * heads.kv * heads.v_dim, 1)];
    let [k, v] = views(&tokens, 50);
    let table = normal(60 * heads.kv * heads.dim, 2);
    let table = View::packed(&table, [1, 60, heads.kv, heads.dim]).unwrap();
    let relative = RelativeKeys::new(table, -55);
    for (q_len, level) in [1, 40].into_iter().flat_map(|n| Level::available().map(move |l| (n, l)))
    {
        let run = |is_rotated: bool| {
            let setting = Setting { scaling: Scaling::None, by_head: false, is_rotated, way: 0 };
            let mut cache = setting.cache::<f32>(50);
            cache.append(k, v).unwrap();
            let shape = Shape { batch: 1, q_len, kv_len: 50, heads };
            let plan = Attention::new(shape, Mask::causal(Offset::BOTTOM_RIGHT)).unwrap();
            let plan = plan.level(level).unwrap().relative_keys(&relative).unwrap();
            let q = normal(q_len * heads.q * heads.dim, 3);
            let mut o = vec![f32::NAN; shape.o().iter().product()];
            let mut scratch = vec![f32::NAN; plan.scratch_len()];
            let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
            let inputs = Inputs::cached(View::packed(&q, shape.q()).unwrap(), &cache);
            plan.bind(inputs, outputs, &mut scratch).unwrap().run();
            o
        };
        assert_same_bits(&run(true), &run(false), format_args!("{q_len} {level}"));
    }
}
