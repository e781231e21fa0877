//! Random mixtures of all that changes scores and values, under random masks, in the order of the formula.

use crate::case::{Case, FORMATS, Output, Rule, arithmetic_of, entries_for, normal, shape};
use crate::relative::{Table, Terms, plan_with};
use flashlet::math::TANH_ULPS;
use flashlet::{Alibi, Attention, BiasTensor, Heads, Modifier, Softcap, Temperature, View};
use oracle::{Modified, Pair};
use proptest::prelude::*;

const U: f64 = 1.0 / 16_777_216.0;

/// What a plan may do to scores after the products.
#[derive(Clone, Debug)]
struct Mixture {
    temperature: Option<(u64, f64)>,
    cap: Option<f64>,
    slopes: Option<Vec<f32>>,
    /// `[q_len, q_heads, kv_len]`.
    biases: Option<Vec<f32>>,
}

impl Mixture {
    /// Calls `run` with the plan that has all of it.
    fn with<R>(&self, plan: &Attention, run: impl FnOnce(&Attention) -> R) -> R {
        let temperature =
            self.temperature.map(|(step, scale)| Temperature::new(step, scale).unwrap());
        let cap = self.cap.map(|cap| Softcap::new(cap).unwrap());
        let alibi = self.slopes.as_deref().map(Alibi::new);
        match (temperature, cap, alibi) {
            (None, None, None) => run(plan),
            (Some(t), None, None) => self.modified(plan, &t, run),
            (None, Some(cap), None) => self.modified(plan, &cap, run),
            (None, None, Some(alibi)) => self.modified(plan, &alibi, run),
            (Some(t), Some(cap), None) => self.modified(plan, &t.then(cap), run),
            (Some(t), None, Some(alibi)) => self.modified(plan, &t.then(alibi), run),
            (None, Some(cap), Some(alibi)) => self.modified(plan, &cap.then(alibi), run),
            (Some(t), Some(cap), Some(alibi)) => self.modified(plan, &t.then(cap.then(alibi)), run),
        }
    }

    fn modified<R>(
        &self,
        plan: &Attention,
        modifier: &impl Modifier,
        run: impl FnOnce(&Attention) -> R,
    ) -> R {
        run(&plan.modify(modifier).unwrap())
    }

    /// The same by the formula: of a pair, its query's position and its score.
    fn exact(
        &self,
        case: &Case,
        Pair { i, j, .. }: Pair,
        h: usize,
        p: i64,
        score: f64,
    ) -> Modified {
        let mut all = Modified { s: score, slope: 1.0, error: 0.0 };
        let mut then = |s: f64, slope: f64, error: f64| {
            all = Modified { s, slope: all.slope * slope, error: all.error * slope + error };
        };
        let mut s = score;
        if let Some((step, scale)) = self.temperature {
            let passed = (p + 1).max(0) as u64 / step;
            let factor = 1.0 + scale * (1.0 + passed as f64).ln();
            s *= factor;
            then(s, factor.abs(), 3.0 * U * s.abs());
        }
        if let Some(cap) = self.cap {
            s = cap * (s / cap).tanh();
            then(s, 1.0, (2.0 * TANH_ULPS + 5.0) * U * s.abs());
        }
        if let Some(slopes) = &self.slopes {
            let bias = -f64::from(slopes[h]) * (p - j as i64).abs() as f64;
            s += bias;
            then(s, 1.0, 4.0 * U * bias.abs() + 2.0 * U * s.abs());
        }
        if let Some(biases) = &self.biases {
            let Case { shape, .. } = case;
            let bias = f64::from(biases[(i * shape.heads.q + h) * shape.kv_len + j]);
            s += bias;
            then(s, 1.0, 4.0 * U * bias.abs() + 2.0 * U * s.abs());
        }
        // Products of roundings.
        Modified { error: all.error * 1.000_01, ..all }
    }
}

fn mixture(heads: Heads, pairs: usize) -> impl Strategy<Value = Mixture> {
    let temperature = proptest::option::of((1..50_u64, -0.5..0.5_f64));
    let cap = proptest::option::of(0.5..40.0_f64);
    let slopes = any::<bool>().prop_map(move |has| {
        has.then(|| {
            let mut slopes = vec![0.0; heads.q];
            Alibi::slopes(&mut slopes);
            slopes
        })
    });
    let biases = proptest::option::of(any::<u64>())
        .prop_map(move |seed| seed.map(|seed| normal(pairs * heads.q, seed)));
    (temperature, cap, slopes, biases).prop_map(|(temperature, cap, slopes, biases)| Mixture {
        temperature,
        cap,
        slopes,
        biases,
    })
}

const HEADS: Heads = Heads { q: 6, kv: 2, dim: 8, v_dim: 6 };

/// Rows by distance of some width, or none.
fn table(dim: usize) -> impl Strategy<Value = Option<Table>> {
    let heads = any::<bool>().prop_map(|own| own.then_some(HEADS.kv));
    let some = (-200..100_i64, 1..300_usize, heads, 0..3_usize).prop_map(
        move |(first, count, heads, format)| Table::new(first, count, heads, dim, FORMATS[format]),
    );
    proptest::option::of(some)
}

fn lengths() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![(1..6_usize, 1..230_usize), (20..80_usize, 60..230_usize)]
}

fn problems() -> impl Strategy<Value = (Case, Mixture)> {
    (lengths(), any::<u64>(), -20..220_i64, any::<bool>(), any::<bool>()).prop_flat_map(
        |((q_len, kv_len), seed, offset, causal, has_sinks)| {
            let rule = Rule { causal, offset: Some(offset), ..Rule::default() };
            let mut case = Case::random(shape(q_len, kv_len, HEADS), rule, seed);
            case.sinks = if has_sinks { normal(HEADS.q, seed ^ 1) } else { Vec::new() };
            mixture(HEADS, q_len * kv_len).prop_map(move |mixture| (case.clone(), mixture))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_mixture_is_certified_on_every_entry((case, mixture) in problems(), keys in table(HEADS.dim), values in table(HEADS.v_dim)) {
        let (terms, offset) = (Terms { keys, values, queries: None }, case.rule.offset.unwrap_or(0));
        let dims = [1, case.shape.q_len, HEADS.q, case.shape.kv_len];
        let tensor = mixture.biases.as_ref().map(|x| BiasTensor::new(View::packed(x, dims).unwrap()));
        let then = |pair: Pair, _: i64, h: usize, s: f64| {
            mixture.exact(&case, pair, h, pair.i as i64 + offset, s)
        };
        let mut same: [Option<Output>; 2] = [None, None];
        terms.with(&case.shape, |keys, values| {
            for entry in entries_for(HEADS) {
                let plan = plan_with(&case.plan_of(entry), keys, values);
                let output = mixture.with(&plan, |plan| match &tensor {
                    Some(tensor) => case.run(&plan.bias(tensor).unwrap()),
                    None => case.run(plan),
                });
                let verdict = terms.verdict(&case, &arithmetic_of(&entry), &then, &output);
                assert!(verdict.holds() && verdict.uncertified == 0, "{}: {}", entry.name(), verdict);
                let same = &mut same[usize::from(entry.level().is_fused())];
                output.assert_same(same.get_or_insert_with(|| output.clone()), entry.name());
            }
        });
    }
}
