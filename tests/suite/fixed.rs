//! Attention in integers: within the oracle's bound for all codes, factors, shapes and runs.

use flashlet::fixed::{Code, Factor, Plan, State, TILE};
use flashlet::{Heads, Strides, View, ViewMut};
use oracle::fixed::{Codes, FixedRow};
use proptest::prelude::*;

trait Stored: Code + std::fmt::Debug + Default + PartialEq {
    const CODES: Codes;

    /// The lowest bits of a number.
    fn of(bits: i32) -> Self;
}

impl Stored for i8 {
    const CODES: Codes = Codes::I8;

    fn of(bits: i32) -> i8 {
        bits as i8
    }
}

impl Stored for i16 {
    const CODES: Codes = Codes::Q15;

    fn of(bits: i32) -> i16 {
        bits as i16
    }
}

/// What codes are like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Any.
    Uniform,
    /// The smallest, the largest and 0.
    Extreme,
    /// The smallest everywhere.
    Lowest,
    /// A few steps.
    Small,
    /// All keys are the same.
    EqualKeys,
    /// One key is the query, the others are its opposite.
    Dominant,
}

#[derive(Clone, Debug)]
struct Case {
    heads: Heads,
    kv_len: usize,
    /// Of the largest score that there could be, base e.
    most: f32,
    kind: Kind,
    seed: u64,
}

/// Queries `[q_heads, dim]`, keys `[kv_len, kv_heads, dim]`, values.
struct Tensors<C> {
    q: Vec<C>,
    k: Vec<C>,
    v: Vec<C>,
}

#[derive(Debug, PartialEq)]
struct Output {
    o: Vec<i16>,
    lse: Vec<i64>,
}

impl Case {
    fn scale<C: Stored>(&self) -> f32 {
        let bits = 2 * C::CODES.magnitude_bits as i32;
        // What a plan would refuse is taken as near as it can be.
        let scale = self.most / (self.heads.dim as f32 * (bits as f32).exp2());
        scale.clamp(1e-12, 170.0)
    }

    fn tensors<C: Stored>(&self) -> Tensors<C> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let Heads { q, kv, dim, v_dim } = self.heads;
        let lowest = -1 << C::CODES.magnitude_bits;
        let mut code = |kind| match kind {
            Kind::Extreme => C::of([lowest, -1 - lowest, 0][random.usize(..3)]),
            Kind::Lowest => C::of(lowest),
            Kind::Small => C::of(random.i32(-3..=3)),
            _ => C::of(random.i32(..)),
        };
        let mut codes = |len, kind| (0..len).map(|_| code(kind)).collect::<Vec<C>>();
        let queries = codes(q * dim, self.kind);
        let mut keys = codes(self.kv_len * kv * dim, self.kind);
        let values = codes(self.kv_len * kv * v_dim, self.kind);
        let one = self.seed as usize % self.kv_len.max(1);
        match self.kind {
            Kind::EqualKeys => {
                let first = keys[..(kv * dim).min(keys.len())].to_vec();
                keys.chunks_mut(kv * dim).for_each(|key| key.copy_from_slice(&first));
            }
            Kind::Dominant => {
                for (at, key) in keys.chunks_mut(dim).enumerate() {
                    let (j, g) = (at / kv, at % kv);
                    let query = &queries[g * self.heads.group() * dim..][..dim];
                    for (k, q) in key.iter_mut().zip(query) {
                        let q: i32 = (*q).into();
                        *k = if j == one { C::of(q) } else { C::of(!q) };
                    }
                }
            }
            _ => {}
        }
        Tensors { q: queries, k: keys, v: values }
    }

    /// Attention of keys that come in runs.
    fn attend<C: Stored>(&self, tensors: &Tensors<C>, runs: &[usize]) -> Output {
        let mut storage = vec![1; State::storage_len(self.heads)];
        let mut state = State::empty(&mut storage, self.heads).unwrap();
        self.absorb(&mut state, tensors, 0, runs);
        self.finish(&state)
    }

    fn absorb<C: Stored>(
        &self,
        state: &mut State<'_>,
        tensors: &Tensors<C>,
        first: usize,
        runs: &[usize],
    ) {
        let Heads { q, kv, dim, v_dim } = self.heads;
        let plan = Plan::<C>::new(self.heads, self.factor::<C>()).unwrap();
        let mut scratch = vec![7; plan.scratch_len()];
        let queries = View::packed(&tensors.q, [1, 1, q, dim]).unwrap();
        let keys = View::packed(&tensors.k, [1, self.kv_len, kv, dim]).unwrap();
        let values = View::packed(&tensors.v, [1, self.kv_len, kv, v_dim]).unwrap();
        let mut at = first;
        for run in runs {
            let tokens = [keys, values].map(|view| view.tokens(at..at + run).unwrap());
            plan.absorb(state, queries, tokens, &mut scratch).unwrap();
            at += run;
        }
    }

    fn factor<C: Stored>(&self) -> Factor {
        Factor::new(self.scale::<C>()).unwrap()
    }

    /// With log-sum-exps and without.
    fn finish(&self, state: &State<'_>) -> Output {
        let Heads { q, v_dim, .. } = self.heads;
        let (mut o, mut lse) = (vec![77; q * v_dim], vec![77; q]);
        let mut alone = o.clone();
        let dims = [1, 1, q, v_dim];
        state.finish(ViewMut::packed(&mut o, dims).unwrap(), Some(&mut lse)).unwrap();
        state.finish(ViewMut::packed(&mut alone, dims).unwrap(), None).unwrap();
        assert_eq!(alone, o, "without log-sum-exps");
        Output { o, lse }
    }

    /// The largest shares of their bounds that errors of outputs and of log-sum-exps take.
    fn shares<C: Stored>(&self, tensors: &Tensors<C>, runs: &[usize], output: &Output) -> [f64; 2] {
        let Heads { kv, dim, v_dim, .. } = self.heads;
        let wide = |codes: &[C]| codes.iter().map(|code| (*code).into()).collect::<Vec<i32>>();
        let of_head = |codes: &[C], dim: usize, g: usize| {
            let rows = codes.chunks(dim).skip(g).step_by(kv);
            wide(&rows.flatten().copied().collect::<Vec<C>>())
        };
        let mut worst = [0.0_f64; 2];
        for (h, (q, o)) in tensors.q.chunks(dim).zip(output.o.chunks(v_dim)).enumerate() {
            let g = h / self.heads.group();
            let row = FixedRow {
                codes: C::CODES,
                scale: self.scale::<C>(),
                q: &wide(q),
                k: &of_head(&tensors.k, dim, g),
                v: &of_head(&tensors.v, v_dim, g),
                dims: [dim, v_dim],
                runs,
            };
            let shares = row.shares(o, output.lse[h]);
            worst = [worst[0].max(shares[0]), worst[1].max(shares[1])];
        }
        worst
    }

    fn assert_within<C: Stored>(
        &self,
        tensors: &Tensors<C>,
        runs: &[usize],
        output: &Output,
    ) -> [f64; 2] {
        let shares = self.shares(tensors, runs, output);
        assert!(
            shares.iter().all(|share| *share <= 1.0),
            "{self:?} {runs:?}: {shares:?} of the bound"
        );
        shares
    }

    fn assert_certified<C: Stored>(&self, runs: &[usize]) -> [f64; 2] {
        let tensors = self.tensors::<C>();
        self.assert_within(&tensors, runs, &self.attend(&tensors, runs))
    }
}

fn case() -> impl Strategy<Value = Case> {
    let heads = (1_usize..4, 1_usize..7, 1_usize..81, 1_usize..81);
    let kind = prop_oneof![
        4 => Just(Kind::Uniform),
        2 => Just(Kind::Extreme),
        1 => Just(Kind::Lowest),
        1 => Just(Kind::Small),
        1 => Just(Kind::EqualKeys),
        1 => Just(Kind::Dominant),
    ];
    let kv_len = prop_oneof![1 => Just(0), 1 => Just(1), 20 => 0_usize..300];
    // Powers of 2: from all weights the same to one step of a code that decides.
    let most = prop_oneof![4 => -1.0_f32..12.0, 1 => -30.0_f32..29.4];
    (heads, kv_len, most, kind, any::<u64>()).prop_map(
        |((kv, group, dim, v_dim), kv_len, most, kind, seed)| Case {
            heads: Heads { q: kv * group, kv, dim, v_dim },
            kv_len,
            most: most.exp2(),
            kind,
            seed,
        },
    )
}

/// Cuts `0..len` at some places.
fn runs(len: usize, cuts: &[usize]) -> Vec<usize> {
    runs_at(len, &cuts.iter().map(|cut| cut % (len + 1)).collect::<Vec<usize>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn outputs_are_within_their_bound(case in case(), cuts in prop::collection::vec(0_usize..300, 0..4)) {
        let runs = runs(case.kv_len, &cuts);
        case.assert_certified::<i8>(&runs);
        case.assert_certified::<i16>(&runs);
    }

    #[test]
    fn merged_states_are_within_the_bound(
        case in case(),
        cuts in prop::collection::vec(0_usize..300, 0..5),
        reverse: bool,
    ) {
        let runs = runs(case.kv_len, &cuts);
        case.assert_merged::<i8>(&runs, reverse);
        case.assert_merged::<i16>(&runs, reverse);
    }

    #[test]
    fn bits_depend_on_where_tiles_begin_alone(
        case in case(),
        cuts in prop::collection::vec(0_usize..20, 0..4),
        by_head: bool,
    ) {
        let cuts: Vec<usize> = cuts.iter().map(|cut| (cut * TILE).min(case.kv_len)).collect();
        case.assert_same_bits::<i8>(&cuts, by_head);
        case.assert_same_bits::<i16>(&cuts, by_head);
    }
}

impl Case {
    /// Each run has a state of its own; they are joined from the first to the last, or the other way round.
    fn assert_merged<C: Stored>(&self, runs: &[usize], reverse: bool) {
        let tensors = self.tensors::<C>();
        let len = State::storage_len(self.heads);
        let mut storage = vec![0; len * (runs.len() + 1)];
        let mut states =
            storage.chunks_mut(len).map(|words| State::empty(words, self.heads).unwrap());
        let mut total = states.next().unwrap();
        let (mut first, mut parts) = (0, Vec::new());
        for (mut state, run) in states.zip(runs) {
            self.absorb(&mut state, &tensors, first, &[*run]);
            first += run;
            parts.push(state);
        }
        if reverse {
            parts.reverse();
        }
        parts.iter().for_each(|part| total.merge(part).unwrap());
        let o = self.finish(&total);
        self.assert_within(&tensors, runs, &o);
        // What has seen nothing changes nothing.
        let mut words = vec![0; len];
        total.merge(&State::empty(&mut words, self.heads).unwrap()).unwrap();
        assert_eq!(self.finish(&total), o);
    }

    /// Runs that end at multiples of a tile, other strides, and heads by themselves.
    fn assert_same_bits<C: Stored>(&self, cuts: &[usize], by_head: bool) {
        let (tensors, Heads { q, kv, dim, v_dim }) = (self.tensors::<C>(), self.heads);
        let whole = self.attend(&tensors, &[self.kv_len]);
        let cut = self.attend(&tensors, &runs_at(self.kv_len, cuts));
        assert_eq!(cut, whole, "{self:?} {cuts:?}");
        // Rows of one head side by side, with a gap behind each; queries last head first.
        let turned = |rows: &[C], dim: usize| {
            let mut to = vec![C::default(); self.kv_len * kv * (dim + 3)];
            for (at, row) in rows.chunks(dim).enumerate() {
                to[(at % kv * self.kv_len + at / kv) * (dim + 3)..][..dim].copy_from_slice(row);
            }
            to
        };
        let strides = |dim| match by_head {
            true => Strides { batch: 0, token: dim + 3, head: self.kv_len * (dim + 3) },
            false => Strides { batch: 0, token: kv * dim, head: dim },
        };
        let rows = |rows: &[C], dim| if by_head { turned(rows, dim) } else { rows.to_vec() };
        let (k, v) = (rows(&tensors.k, dim), rows(&tensors.v, v_dim));
        let keys = View::strided(&k, [1, self.kv_len, kv, dim], strides(dim)).unwrap();
        let values = View::strided(&v, [1, self.kv_len, kv, v_dim], strides(v_dim)).unwrap();
        let queries = View::packed(&tensors.q, [1, 1, q, dim]).unwrap();
        let plan = Plan::<C>::new(self.heads, self.factor::<C>()).unwrap();
        let mut words = vec![3; State::storage_len(self.heads)];
        let mut state = State::empty(&mut words, self.heads).unwrap();
        let mut scratch = vec![-1; plan.scratch_len() + 1];
        plan.absorb(&mut state, queries, [keys, values], &mut scratch).unwrap();
        assert_eq!(self.finish(&state), whole, "{self:?} by head {by_head}");
        // The last head alone.
        let alone = Case { heads: Heads { q: 1, kv: 1, ..self.heads }, ..self.clone() };
        let of_head = |rows: &[C], dim: usize| {
            let rows = rows.chunks(dim).skip(kv - 1).step_by(kv).flatten();
            rows.copied().collect::<Vec<C>>()
        };
        let last = Tensors {
            q: tensors.q[(q - 1) * dim..].to_vec(),
            k: of_head(&tensors.k, dim),
            v: of_head(&tensors.v, v_dim),
        };
        let alone = alone.attend(&last, &[self.kv_len]);
        assert_eq!(alone.o, whole.o[(q - 1) * v_dim..], "{self:?} alone");
        assert_eq!(alone.lse, whole.lse[q - 1..], "{self:?} alone");
    }
}

/// Runs of `0..len` that end at these places, in whatever order they are.
fn runs_at(len: usize, cuts: &[usize]) -> Vec<usize> {
    let mut ends: Vec<usize> = cuts.iter().copied().chain([0, len]).collect();
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn plain(heads: Heads, kv_len: usize, most: f32, kind: Kind) -> Case {
    Case { heads, kv_len, most, kind, seed: 5 }
}

#[test]
fn bounds_are_reached_to_a_fifth_and_more() {
    let heads = Heads { q: 4, kv: 1, dim: 32, v_dim: 32 };
    let reached = |of: fn(&Case) -> [f64; 2], most| {
        let cases = (0..40).map(|seed| Case { seed, ..plain(heads, 128, most, Kind::Uniform) });
        cases.map(|case| of(&case)).fold([0.0_f64; 2], |a, b| [a[0].max(b[0]), a[1].max(b[1])])
    };
    for most in [1.0, 50.0, 1000.0] {
        let i8s = reached(|case| case.assert_certified::<i8>(&[128]), most);
        let q15 = reached(|case| case.assert_certified::<i16>(&[128]), most);
        println!(
            "scores up to {most}: of the bounds of o and lse i8 reaches {i8s:.2?}, q15 {q15:.2?}"
        );
        assert!(i8s[0] > 0.5 && q15[0] > 0.2, "{i8s:?} {q15:?}");
        assert!(most < 1000.0 || i8s[1] > 0.5 && q15[1] > 0.5, "{i8s:?} {q15:?}");
    }
}

#[test]
fn equal_keys_give_the_mean_and_a_dominant_one_its_value() {
    let heads = Heads { q: 3, kv: 1, dim: 8, v_dim: 5 };
    let equal = plain(heads, 48, 300.0, Kind::EqualKeys);
    let tensors = equal.tensors::<i8>();
    let Output { o, lse } = equal.attend(&tensors, &[48]);
    for (c, o) in o.iter().enumerate() {
        let column = tensors.v.iter().skip(c % 5).step_by(5);
        let mean = column.map(|v| f64::from(*v) * 256.0).sum::<f64>() / 48.0;
        assert!((f64::from(*o) - mean).abs() < 0.51, "{c}: {o} {mean}");
    }
    assert!(lse.iter().all(|lse| *lse > i64::MIN));
    let dominant = plain(heads, 77, 3000.0, Kind::Dominant);
    let tensors = dominant.tensors::<i16>();
    let Output { o, .. } = dominant.attend(&tensors, &[40, 37]);
    // Queries of the group's first head are that key.
    assert_eq!(o[..5], tensors.v[5 * 5..][..5]);
}

#[test]
fn scores_that_climb_or_fall_are_within_the_bound() {
    let heads = Heads { q: 1, kv: 1, dim: 1, v_dim: 3 };
    for (climbs, most) in [true, false]
        .into_iter()
        .flat_map(|climbs| [0.1, 5.0, 90.0, 2e4].map(|most| (climbs, most)))
    {
        let case = plain(heads, 250, most, Kind::Uniform);
        let mut tensors = case.tensors::<i8>();
        tensors.q[0] = 127;
        let key = |j: usize| if climbs { j as i32 - 125 } else { 125 - j as i32 };
        tensors.k = (0..250).map(|j| i8::of(key(j))).collect();
        for runs in [vec![250], vec![1; 250], vec![3, 100, 0, 147]] {
            case.assert_within(&tensors, &runs, &case.attend(&tensors, &runs));
        }
    }
}

#[test]
fn a_million_keys_overflow_nothing() {
    let heads = Heads { q: 1, kv: 1, dim: 1, v_dim: 1 };
    let len = 1 << 20;
    fn hold<C: Stored>(case: &Case) {
        let mut tensors = case.tensors::<C>();
        for (kind, value) in
            [(Kind::Lowest, i32::from(i16::MIN)), (Kind::Uniform, i32::from(i16::MAX))]
        {
            // All values the smallest, then all the largest that there are.
            let code = value >> (15 - C::CODES.magnitude_bits);
            tensors.v.fill(C::of(code));
            let Output { o, .. } = case.attend(&tensors, &[case.kv_len]);
            assert_eq!(i32::from(o[0]), code << (15 - C::CODES.magnitude_bits), "{kind:?}");
        }
    }
    hold::<i8>(&plain(heads, len, 1.0, Kind::Lowest));
    hold::<i16>(&plain(heads, len, 1.0, Kind::Lowest));
    let case = plain(heads, len, 30.0, Kind::Uniform);
    case.assert_certified::<i8>(&[len]);
    case.assert_certified::<i16>(&[len / 2 + 1, len / 2 - 1]);
}

#[test]
fn a_token_that_has_seen_no_key_gets_zeros() {
    let case = plain(Heads::new(4, 2, 8), 0, 1.0, Kind::Uniform);
    let zeros = Output { o: vec![0; 32], lse: vec![i64::MIN; 4] };
    assert_eq!(case.attend(&case.tensors::<i8>(), &[0, 0]), zeros);
    assert_eq!(case.attend(&case.tensors::<i16>(), &[]), zeros);
}
