//! Scales that tokens side by side share: of each head, of each channel, with and without zero points.

use crate::cache_case::{Queries, Reference, Sight, Tokens, random_tokens, rotate, ways};
use crate::case::{assert_same_bits, normal};
use flashlet::{
    CacheShape, Cached, E4m3, E5m2, Error, Groups, Heads, KvCache, List, Scales, Side, Tensor, View,
};
use proptest::prelude::*;

const HEADS: Heads = Heads { q: 4, kv: 2, dim: 32, v_dim: 16 };
const CAPACITY: usize = 50;

/// What a test varies.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// Tokens of a group, and of the ring.
    len: usize,
    room: usize,
    /// Of keys and of values: whether each channel has a scale, and whether there are zero points.
    by_channel: [bool; 2],
    zeros: [bool; 2],
    by_head: bool,
    is_rotated: bool,
}

impl Setting {
    fn groups<F: Reference>(&self, side: usize, dim: usize) -> Scales<'static> {
        let each = if self.by_channel[side] { dim } else { 1 };
        let count = CAPACITY / self.len * HEADS.kv * each;
        let newest = vec![f32::NAN; self.room * HEADS.kv * dim].leak();
        let groups = Groups::new(self.len, vec![f32::NAN; count].leak(), newest);
        Scales::Groups(match self.zeros[side] && !F::HAS_NAN {
            true => groups.zeros(vec![99; count].leak()),
            false => groups,
        })
    }

    fn cache<F: Reference>(&self) -> KvCache<'static, F> {
        let shape = CacheShape::new(HEADS, CAPACITY);
        let shape = if self.by_head { shape.by_head() } else { shape };
        let k = vec![F::default(); shape.key_len::<F>()].leak();
        let v = vec![F::default(); shape.value_len::<F>()].leak();
        let [k_scales, v_scales] =
            [(0, HEADS.dim), (1, HEADS.v_dim)].map(|(side, dim)| self.groups::<F>(side, dim));
        let cache = KvCache::new(shape, k, v).unwrap().scales(k_scales, v_scales).unwrap();
        if self.is_rotated { cache.rotated() } else { cache }
    }

    /// What is kept of one side of all tokens, `[heads, dim]` each, by the definition.
    fn kept<F: Reference>(&self, tokens: &[Vec<f32>], side: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut kept = tokens.to_vec();
        for group in kept.chunks_exact_mut(self.len) {
            let channels = HEADS.kv * dim;
            for c in 0..channels {
                let shared = if self.by_channel[side] {
                    c..c + 1
                } else {
                    c / dim * dim..(c / dim + 1) * dim
                };
                if !self.by_channel[side] && c % dim != 0 {
                    continue;
                }
                let numbers = || group.iter().flat_map(|token| &token[shared.clone()]);
                let (least, most) =
                    numbers().fold((0.0_f32, 0.0_f32), |(a, b), x| (a.min(*x), b.max(*x)));
                let (scale, zero) = if self.zeros[side] && !F::HAS_NAN {
                    let scale = most / 255.0 - least / 255.0;
                    (scale, if scale > 0.0 { (-128.0 - least / scale).round() as i8 } else { 0 })
                } else {
                    (most.max(-least) / F::MOST.unwrap(), 0)
                };
                for x in group.iter_mut().flat_map(|token| &mut token[shared.clone()]) {
                    let code = if scale == 0.0 { 0.0 } else { *x / scale };
                    *x = (F::CODE)(code, zero) * scale;
                }
            }
        }
        kept
    }
}

/// What may be done.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize),
    Truncate(usize),
    Attend(usize),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_usize..14).prop_map(Step::Append),
        4 => (0_usize..12).prop_map(Step::Truncate),
        5 => (1_usize..7).prop_map(Step::Attend),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 1..30)
}

/// Tokens by number of birth, in a ring of slots.
struct Model {
    tokens: Vec<(usize, [Vec<f32>; 2])>,
    slots: Vec<Option<usize>>,
    births: usize,
    rounded: usize,
    longest: usize,
}

impl Model {
    /// Whether `len` tokens could be what they were.
    fn can_leave(&self, len: usize, group: usize) -> bool {
        let whole = len / group * group;
        let is_there =
            |token: usize| self.slots[token % self.slots.len()] == Some(self.tokens[token].0);
        whole >= self.rounded || (whole..len).all(is_there)
    }

    fn append(&mut self, [k, v]: &[Vec<f32>; 2], group: usize) {
        let widths = [HEADS.kv * HEADS.dim, HEADS.kv * HEADS.v_dim];
        for (k, v) in k.chunks(widths[0]).zip(v.chunks(widths[1])) {
            let slot = self.tokens.len() % self.slots.len();
            self.slots[slot] = Some(self.births);
            self.tokens.push((self.births, [k.to_vec(), v.to_vec()]));
            self.births += 1;
        }
        self.rounded = self.tokens.len() / group * group;
        self.longest = self.longest.max(self.tokens.len());
    }

    fn leave(&mut self, len: usize, group: usize) {
        self.tokens.truncate(len);
        self.rounded = self.rounded.min(len / group * group);
    }
}

fn is_the_list_of_its_tokens<F: Reference>(setting: Setting, way: usize, steps: &[Step]) {
    let mut cache = setting.cache::<F>();
    let slots = vec![None; setting.room];
    let mut model = Model { tokens: Vec::new(), slots, births: 0, rounded: 0, longest: 0 };
    for (seed, step) in steps.iter().enumerate() {
        match *step {
            Step::Append(n) if model.tokens.len() + n > CAPACITY => {}
            Step::Append(n) => {
                let mut tokens = random_tokens(HEADS, n, seed as u64);
                let [k, v] = &tokens;
                let k = View::packed(k, [1, n, HEADS.kv, HEADS.dim]).unwrap();
                let v = View::packed(v, [1, n, HEADS.kv, HEADS.v_dim]).unwrap();
                cache.append(k, v).unwrap();
                rotate(setting.is_rotated, &mut tokens[0], HEADS.dim);
                model.append(&tokens, setting.len);
            }
            Step::Truncate(n) => {
                let Some(len) = model.tokens.len().checked_sub(n) else { continue };
                let found = cache.truncate(n);
                if model.can_leave(len, setting.len) {
                    found.unwrap();
                    model.leave(len, setting.len);
                } else {
                    let token = len / setting.len * setting.len;
                    assert!(
                        matches!(found, Err(Error::Rounded { token: found, oldest }) if found == token && oldest > token)
                    );
                    let back = model.longest - len;
                    assert!(back > setting.room - setting.len, "so many can always be taken back");
                }
            }
            Step::Attend(q_len) => {
                let raw = |side: usize| -> Vec<Vec<f32>> {
                    model.tokens.iter().map(|(_, token)| token[side].clone()).collect()
                };
                let k = setting.kept::<F>(&raw(0), 0, HEADS.dim);
                let v = setting.kept::<F>(&raw(1), 1, HEADS.v_dim);
                let tokens: Tokens = k.into_iter().zip(v).map(|(k, v)| Some([k, v])).collect();
                let way = ways().nth(way % ways().count()).unwrap();
                let q = normal(q_len * HEADS.q * HEADS.dim, 77);
                let sight = Sight { window: None, sinks: 0 };
                let is_rotated = setting.is_rotated;
                let queries = Queries { heads: HEADS, q_len, q, sight, way, is_rotated };
                let what = format!("{setting:?} {way:?} {step:?}");
                assert_same_bits(
                    &queries.cached(&cache).unwrap(),
                    &queries.listed(&[&tokens]),
                    what,
                );
            }
            Step::Clear => {
                cache.clear();
                model.leave(0, setting.len);
            }
        }
        assert_eq!(cache.len(), model.tokens.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_cache_in_groups_is_the_list_of_its_tokens(
        format in 0_usize..3,
        (len, room) in (1_usize..10, 0_usize..20),
        by_channel in any::<[bool; 2]>(),
        zeros: [bool; 2],
        by_head: bool,
        is_rotated: bool,
        way in 0_usize..8,
        steps in steps(),
    ) {
        let setting = Setting { len, room: len + room, by_channel, zeros, by_head, is_rotated };
        match format {
            0 => is_the_list_of_its_tokens::<i8>(setting, way, &steps),
            1 => is_the_list_of_its_tokens::<E4m3>(setting, way, &steps),
            _ => is_the_list_of_its_tokens::<E5m2>(setting, way, &steps),
        }
    }
}

#[test]
fn groups_that_do_not_fit_are_refused() {
    let shape = CacheShape::new(HEADS, 10);
    let cache = |scales: Scales<'static>| {
        let k = vec![0_i8; shape.key_len::<i8>()].leak();
        let v = vec![0_i8; shape.value_len::<i8>()].leak();
        KvCache::new(shape, k, v).unwrap().scales(scales, Scales::None)
    };
    let list = |len: usize| &mut *vec![0.0; len].leak();
    let groups = |len, scales, newest| Groups::new(len, list(scales), list(newest));
    let refused = |groups: Groups<'static>| cache(Scales::Groups(groups)).map(|_| ()).unwrap_err();
    let length = |tensor, needed, given| Error::Length { tensor, needed, given };
    assert_eq!(refused(groups(0, 4, 64)), Error::ZeroBlock { list: List::Groups });
    assert_eq!(refused(groups(4, 3, 256)), length(Tensor::Scales, 4, 3));
    assert_eq!(refused(groups(4, 128, 255)), length(Tensor::Newest, 256, 255));
    assert_eq!(refused(groups(4, 128, 300)), length(Tensor::Newest, 256, 300));
    let zeros = groups(4, 4, 256).zeros(vec![0; 5].leak());
    assert_eq!(refused(zeros), length(Tensor::Zeros, 4, 5));
    // More tokens than there is room for: none is ever rounded.
    assert_eq!(refused(groups(usize::MAX, 0, 64)), length(Tensor::Newest, usize::MAX, 64));
    // No zero points for a format that has none.
    let (mut k, mut v) = ([E4m3::default(); 640], [E4m3::default(); 320]);
    let fp8 = KvCache::new(shape, &mut k, &mut v).unwrap();
    let zeros = Scales::Groups(groups(4, 4, 256).zeros(vec![0; 4].leak()));
    let error = fp8.scales(zeros, Scales::None).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Unwanted { tensor: Tensor::Zeros });
    let unwanted = Error::Unwanted { tensor: Tensor::Scales };
    let ring = cache(Scales::Groups(groups(4, 4, 256))).unwrap().ring(1);
    assert_eq!(ring.map(|_| ()).unwrap_err(), unwanted);
}

#[test]
fn what_is_not_finite_is_not_lost_in_a_group() {
    let shape = CacheShape::new(HEADS, 4);
    let setting = Setting {
        len: 2,
        room: 2,
        by_channel: [true; 2],
        zeros: [false, true],
        by_head: false,
        is_rotated: false,
    };
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (mut keys, mut values) =
            (vec![0_i8; shape.key_len::<i8>()], vec![0_i8; shape.value_len::<i8>()]);
        let cache = KvCache::new(shape, &mut keys, &mut values).unwrap();
        let lists = |side, dim| {
            let each = 2 * HEADS.kv * dim;
            let groups = Groups::new(2, vec![0.0; each].leak(), vec![0.0; each].leak());
            if setting.zeros[side] { groups.zeros(vec![0; each].leak()) } else { groups }
        };
        let mut cache = cache
            .scales(Scales::Groups(lists(0, HEADS.dim)), Scales::Groups(lists(1, HEADS.v_dim)))
            .unwrap();
        let (mut k, mut v) = (vec![1.0; 3 * 2 * HEADS.dim], vec![1.0; 3 * 2 * HEADS.v_dim]);
        (k[5], v[3]) = (x, x);
        let k = View::packed(&k, [1, 3, 2, HEADS.dim]).unwrap();
        let v = View::packed(&v, [1, 3, 2, HEADS.v_dim]).unwrap();
        cache.append(k, v).unwrap();
        for (side, dim, wrong) in [(Side::Keys, HEADS.dim, 5), (Side::Values, HEADS.v_dim, 3)] {
            let mut row = vec![0.0; 2 * dim];
            cache.load(side, [0, 0], 0..2, &mut row).unwrap();
            for (c, x) in row.iter().enumerate() {
                // Of the other channels nothing is lost either.
                assert_eq!(x.is_nan(), c % dim == wrong, "{side:?} {c}: {x}");
                assert!(x.is_nan() || (x - 1.0).abs() < 1e-6);
            }
        }
    }
}
