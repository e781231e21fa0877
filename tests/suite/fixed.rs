//! Attention in integers: within the oracle's bound for all codes, factors, shapes and runs.

use flashlet::fixed::{Code, Factor, Plan, State, TILE};
use flashlet::{Error, Heads, Strides, Tensor, View, ViewMut};
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
                let first = keys[..kv * dim.min(keys.len())].to_vec();
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
    fn attend<C: Stored>(&self, tensors: &Tensors<C>, runs: &[usize]) -> Vec<i16> {
        let mut storage = vec![1; Plan::<C>::state_len(self.heads)];
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
        let mut scratch = vec![7; Plan::<C>::scratch_len(self.heads)];
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

    fn finish(&self, state: &State<'_>) -> Vec<i16> {
        let Heads { q, v_dim, .. } = self.heads;
        let mut o = vec![77; q * v_dim];
        state.finish(ViewMut::packed(&mut o, [1, 1, q, v_dim]).unwrap()).unwrap();
        o
    }

    /// The largest share of its bound that an error takes.
    fn worst<C: Stored>(&self, tensors: &Tensors<C>, runs: &[usize], o: &[i16]) -> f64 {
        let Heads { kv, dim, v_dim, .. } = self.heads;
        let wide = |codes: &[C]| codes.iter().map(|code| (*code).into()).collect::<Vec<i32>>();
        let of_head = |codes: &[C], dim: usize, g: usize| {
            let rows = codes.chunks(dim).skip(g).step_by(kv);
            wide(&rows.flatten().copied().collect::<Vec<C>>())
        };
        let rows = tensors.q.chunks(dim).zip(o.chunks(v_dim)).enumerate();
        let share = |(h, (q, o)): (usize, (&[C], &[i16]))| {
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
            row.worst(o)
        };
        rows.map(share).fold(0.0, f64::max)
    }

    fn assert_certified<C: Stored>(&self, runs: &[usize]) -> f64 {
        let tensors = self.tensors::<C>();
        let o = self.attend(&tensors, runs);
        let worst = self.worst(&tensors, runs, &o);
        assert!(worst <= 1.0, "{self:?} {runs:?}: {worst} of the bound");
        worst
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
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (len + 1)).chain([0, len]).collect();
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn outputs_are_within_their_bound(case in case(), cuts in prop::collection::vec(0_usize..300, 0..4)) {
        let runs = runs(case.kv_len, &cuts);
        case.assert_certified::<i8>(&runs);
        case.assert_certified::<i16>(&runs);
    }
}
