//! Linear attention: every gate with every rule, in both forms, on every level, within the certified bound of the oracle.

use crate::case::normal;
use crate::linear_case::{FORMS, GATES, RULES, families, ways};
use flashlet::{
    CHUNK, Conditioning, EluPlusOne, ExpFeatures, Family, Form, Gate, Level, LinearAttention,
    LinearHeads, LinearInputs, LinearOutputs, LinearShape, Memory, Relu, Rule, SquaredRelu, View,
    ViewMut,
};
use oracle::Format;
use oracle::linear as exact;
use proptest::prelude::*;

/// How strong gates are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Strength {
    /// Factors near 1, and some that are 1.
    Mild,
    /// About -5 a token.
    Strong,
    /// Mild ones, and one in eight forgets all.
    Resets,
}

const STRENGTHS: [Strength; 3] = [Strength::Mild, Strength::Strong, Strength::Resets];

/// The tokens of one head.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    family: Family,
    shape: LinearShape,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    gates: Vec<f32>,
    beta: Vec<f32>,
    bonus: Vec<f32>,
    low_rank: [Vec<f32>; 2],
    state: Vec<f32>,
    features: exact::Features,
    l2: Option<f32>,
    eps: Option<f32>,
}

/// What a run leaves.
#[derive(Clone, Debug)]
struct Run {
    o: Vec<f32>,
    state: Vec<f32>,
    sums: Vec<f32>,
    condition: Vec<f32>,
    conditioning: Conditioning,
}

impl Stream {
    fn new([len, dim, v_dim]: [usize; 3], family: Family, strength: Strength, seed: u64) -> Stream {
        let heads = LinearHeads { v_dim, ..LinearHeads::new(1, dim) };
        let shape = LinearShape { batch: 1, len, heads };
        let scaled = |count: usize, seed: u64, by: f32| -> Vec<f32> {
            normal(count, seed).iter().map(|x| x * by).collect()
        };
        let unit = 1.0 / (dim as f32).sqrt();
        let count = match family.gate {
            Gate::Never => 0,
            Gate::Head => 1,
            Gate::Token => len,
            Gate::Channel => len * dim,
        };
        let gate = |x: &f32| match strength {
            Strength::Mild if *x > 1.0 => 0.0,
            Strength::Mild => -0.1 * x.abs(),
            Strength::Strong => -5.0 - x,
            Strength::Resets if *x > 1.15 => f32::NEG_INFINITY,
            Strength::Resets => -0.3 * x.abs(),
        };
        let gates = normal(count, seed + 4).iter().map(gate).collect();
        Stream {
            family,
            shape,
            q: scaled(len * dim, seed + 1, 1.0),
            k: scaled(len * dim, seed + 2, unit),
            v: scaled(len * v_dim, seed + 3, 1.0),
            gates,
            beta: scaled(len, seed + 5, 0.3).iter().map(|x| (x + 0.5).clamp(0.0, 1.0)).collect(),
            bonus: scaled(dim, seed + 6, 1.0),
            low_rank: [7, 8].map(|n| scaled(len * dim, seed + n, 0.6 * unit)),
            state: scaled(dim * v_dim, seed + 9, 1.0),
            features: exact::Features::Identity,
            l2: None,
            eps: None,
        }
    }

    fn plan(&self, level: Level, form: Form) -> LinearAttention<'static> {
        let plan = LinearAttention::new(self.shape, self.family).unwrap().level(level).unwrap();
        let plan = match self.features {
            exact::Features::Identity => plan,
            exact::Features::EluPlusOne => plan.features(&EluPlusOne),
            exact::Features::Relu => plan.features(&Relu),
            exact::Features::SquaredRelu => plan.features(&SquaredRelu),
            exact::Features::Exp => plan.features(&ExpFeatures),
        };
        let plan = self.l2.map_or(plan, |eps| plan.l2_normalised(eps).unwrap());
        self.eps.map_or(plan, |eps| plan.normalised(eps).unwrap()).form(form)
    }

    fn inputs(&self) -> LinearInputs<'_> {
        let view = |data, dims| View::packed(data, dims).unwrap();
        let (shape, [a, b]) = (self.shape, &self.low_rank);
        let inputs = LinearInputs::new(
            view(&self.q, shape.q()),
            view(&self.k, shape.k()),
            view(&self.v, shape.v()),
        );
        let inputs = match self.family.gate {
            Gate::Never => inputs,
            Gate::Head => inputs.decay(&self.gates),
            _ => inputs.gates(view(&self.gates, shape.gates(self.family))),
        };
        let wide = shape.per_state(shape.heads.dim);
        match self.family.rule {
            Rule::Add => inputs,
            Rule::Bonus => inputs.bonus(&self.bonus),
            Rule::Delta => inputs.beta(view(&self.beta, shape.per_state(1))),
            Rule::LowRank => inputs.low_rank(view(a, wide), view(b, wide)),
        }
    }

    fn run(&self, level: Level, form: Form) -> Run {
        let (plan, shape) = (self.plan(level, form), self.shape);
        let mut state = self.state.clone();
        let mut sums = vec![0.0; Memory::normaliser_len(&shape).unwrap()];
        let mut o = vec![f32::NAN; shape.o().iter().product()];
        let mut condition = vec![1.0; shape.len];
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
        let memory = Memory::new(&mut state, &shape).unwrap();
        let (outputs, memory) = match self.eps {
            Some(_) => {
                (outputs.condition(&mut condition), memory.normaliser(&mut sums, &shape).unwrap())
            }
            None => (outputs, memory),
        };
        let conditioning = plan.bind(self.inputs(), outputs, memory, &mut scratch).unwrap().run();
        Run { o, state, sums, condition, conditioning }
    }

    fn problem<'a>(&'a self, zeros: &'a [f32]) -> exact::Problem<'a> {
        let (dim, [a, b]) = (self.shape.heads.dim, &self.low_rank);
        exact::Problem {
            d_k: dim,
            d_v: self.shape.heads.v_dim,
            q: &self.q,
            k: &self.k,
            v: &self.v,
            gate: match self.family.gate {
                Gate::Never => exact::Gate::None,
                Gate::Head => exact::Gate::Head(self.gates[0]),
                Gate::Token => exact::Gate::Token(&self.gates),
                Gate::Channel => exact::Gate::Channel(&self.gates),
            },
            rule: match self.family.rule {
                Rule::Add => exact::Rule::Add,
                Rule::Bonus => exact::Rule::Bonus(&self.bonus),
                Rule::Delta => exact::Rule::Delta(&self.beta),
                Rule::LowRank => exact::Rule::LowRank { a, b },
            },
            features: self.features,
            l2: self.l2,
            scale: 1.0 / (dim as f64).sqrt(),
            state: &self.state,
            normaliser: self.eps.map(|eps| exact::Normaliser {
                eps,
                z: &zeros[..dim],
                z_abs: &zeros[..dim],
            }),
        }
    }

    /// Runs it in every form on every level; the largest share of its bound that an error took.
    fn assert_certified(&self) -> f64 {
        let zeros = vec![0.0; self.shape.heads.dim];
        let problem = self.problem(&zeros);
        let mut most = 0.0_f64;
        for (level, form) in ways() {
            let run = self.run(level, form);
            let arithmetic = arithmetic(level, form);
            let exact = exact::certify(&problem, arithmetic);
            let what = format!("{:?} {:?} {level} {form:?}", self.family, self.shape);
            for (name, found, exact, bound) in [
                ("o", &run.o, &exact.o, &exact.o_bound),
                ("state", &run.state, &exact.state, &exact.state_bound),
            ] {
                for (i, ((found, exact), bound)) in found.iter().zip(exact).zip(bound).enumerate() {
                    let error = (f64::from(*found) - exact).abs();
                    assert!(error <= *bound, "{what}: {name}[{i}] = {found}, {exact} +- {bound}");
                    assert!(bound.is_finite(), "{what}: {name}[{i}] is not certified");
                    most = most.max(if error == 0.0 { 0.0 } else { error / bound });
                }
            }
        }
        most
    }
}

pub(crate) fn arithmetic(level: Level, form: Form) -> exact::Arithmetic {
    let chunk = if form == Form::Chunked { CHUNK } else { 1 };
    let (output, state) = (Format::F32, Format::F32);
    exact::Arithmetic { fused: level.is_fused(), chunk, output, state }
}

/// Sizes that no vector, tile or chunk divides, and some that all do.
const SIZES: [[usize; 3]; 8] = [
    [1, 1, 1],
    [5, 3, 2],
    [16, 8, 16],
    [17, 16, 8],
    [33, 5, 19],
    [40, 24, 33],
    [50, 64, 64],
    [37, 128, 70],
];

#[test]
fn every_gate_and_rule_is_within_its_bound() {
    for family in families() {
        let mut most = 0.0_f64;
        for (n, size) in SIZES.into_iter().enumerate() {
            let strength = STRENGTHS[n % 3];
            let stream = Stream::new(size, family, strength, 100 * n as u64);
            most = most.max(stream.assert_certified());
        }
        for strength in STRENGTHS {
            let stream = Stream::new([48, 12, 20], family, strength, 7);
            most = most.max(stream.assert_certified());
        }
        assert!(most > 0.004, "{family:?}: a bound that nothing comes near: {most}");
    }
}

#[test]
fn chunk_recurrence_and_definition_agree() {
    for family in families() {
        for strength in STRENGTHS {
            let stream = Stream::new([35, 6, 9], family, strength, 11);
            let zeros = [0.0; 6];
            let problem = stream.problem(&zeros);
            let definition = exact::definition(&problem);
            for form in FORMS {
                let (level, run) = (Level::detect(), stream.run(Level::detect(), form));
                let bounds = exact::certify(&problem, arithmetic(level, form)).o_bound;
                for ((found, exact), bound) in run.o.iter().zip(&definition).zip(bounds) {
                    let error = (f64::from(*found) - exact).abs();
                    assert!(error <= bound + 1e-11, "{family:?} {form:?}: {found} {exact}");
                }
            }
        }
    }
}

#[test]
fn features_and_lengths_are_within_their_bounds() {
    use exact::Features::{EluPlusOne, Exp, Identity, Relu, SquaredRelu};
    for features in [Identity, EluPlusOne, Relu, SquaredRelu, Exp] {
        for l2 in [None, Some(1e-6)] {
            for family in [Family::LINEAR, Family::GLA, Family::GATED_DELTA_NET, Family::RWKV6] {
                // Features that are all positive, or large, are no keys for a correction unless they are made shorter.
                if family.rule == Rule::Delta && l2.is_none() {
                    continue;
                }
                let stream = Stream::new([37, 20, 17], family, Strength::Mild, 3);
                Stream { features, l2, ..stream }.assert_certified();
            }
        }
    }
}

#[test]
fn normalised_outputs_are_within_their_bounds_and_tell_their_condition() {
    use exact::Features::{EluPlusOne, Exp, Identity};
    let mut is_ever_uncertified = false;
    for features in [EluPlusOne, Exp, Identity] {
        for (family, eps) in [(Family::LINEAR, 0.0), (Family::LINEAR, 1e-4), (Family::GLA, 0.0)] {
            let stream = Stream::new([60, 7, 5], family, Strength::Mild, 21);
            // A state that was there before has a normaliser of its own, which this one lacks.
            let state = vec![0.0; stream.state.len()];
            let stream = Stream { features, eps: Some(eps), state, ..stream };
            let zeros = [0.0; 7];
            let problem = stream.problem(&zeros);
            for (level, form) in ways() {
                let (run, exact) =
                    (stream.run(level, form), exact::certify(&problem, arithmetic(level, form)));
                for (i, found) in run.o.iter().enumerate() {
                    let error = (f64::from(*found) - exact.o[i]).abs();
                    assert!(error <= exact.o_bound[i], "{features:?} {level} {form:?}: o[{i}]");
                }
                for (found, exact) in run.condition.iter().zip(&exact.condition) {
                    let ratio = f64::from(*found) / exact;
                    // It is as well known as the divisor is.
                    assert!((ratio - 1.0).abs() < 1e-5 * exact, "{found} {exact}");
                }
                let worst = run.condition.iter().fold(1.0_f32, |worst, kappa| worst.max(*kappa));
                assert_eq!(run.conditioning.worst(), worst);
                if features != Identity {
                    assert!(worst < 1.0001 && run.conditioning.uncertified().is_none());
                    assert!(exact.o_bound.iter().all(|bound| bound.is_finite()));
                }
                for (z, exact) in run.sums.iter().zip(&exact.z) {
                    assert!((f64::from(*z) - exact).abs() < 1e-3 * (1.0 + exact.abs()));
                }
                is_ever_uncertified |= run.conditioning.uncertified().is_some();
            }
        }
    }
    assert!(!is_ever_uncertified, "random numbers do not cancel to the last digit");
}

#[test]
fn a_divisor_that_cancels_is_an_explicit_result() {
    let stream = Stream::new([3, 2, 2], Family::LINEAR, Strength::Mild, 1);
    let stream = Stream {
        q: vec![1.0, 1.0, 1.0, 1.0, 1.0, 0.5],
        k: vec![1.0, -1.0 + f32::EPSILON, 1.0, 0.5, 1.0, 0.5],
        state: vec![0.0; 4],
        eps: Some(0.0),
        ..stream
    };
    for form in FORMS {
        let run = stream.run(Level::detect(), form);
        let (row, kappa) = run.conditioning.uncertified().expect("the first row cancels");
        assert_eq!(row, [0, 0, 0]);
        assert!(kappa > 1e7 && run.conditioning.worst() == kappa && run.condition[0] == kappa);
        assert!(run.condition[1] < 10.0);
    }
    // Nothing at all is no cancellation: the outputs are zeros, and certain.
    let stream = Stream { k: vec![0.0; 6], ..stream };
    let run = stream.run(Level::detect(), Form::Chunked);
    assert_eq!((run.o, run.conditioning.uncertified()), (vec![0.0; 6], None));
}

/// A million tokens, in calls of whole chunks, from the state that the last one left.
#[test]
fn an_endless_stream_stays_finite_and_within_the_running_bound() {
    const CALL: usize = 100 * CHUNK;
    for (family, form) in
        [(Family::SIMPLE_GLA, Form::Recurrent), (Family::GATED_DELTA_NET, Form::Chunked)]
    {
        let tokens = Stream::new([1_000_000, 6, 3], family, Strength::Mild, 5);
        let tokens = Stream { l2: Some(1e-6), state: vec![0.0; 18], ..tokens };
        let (level, mut state, mut o) = (Level::detect(), tokens.state.clone(), Vec::new());
        for first in (0..tokens.shape.len).step_by(CALL) {
            let part = |data: &[f32], width: usize| data[first * width..][..CALL * width].to_vec();
            let call = Stream {
                shape: LinearShape { len: CALL, ..tokens.shape },
                q: part(&tokens.q, 6),
                k: part(&tokens.k, 6),
                v: part(&tokens.v, 3),
                gates: part(&tokens.gates, 1),
                beta: part(&tokens.beta, 1),
                state,
                bonus: Vec::new(),
                low_rank: [Vec::new(), Vec::new()],
                ..tokens
            };
            let run = call.run(level, form);
            state = run.state;
            o.extend(run.o);
        }
        let zeros = [0.0; 6];
        let exact = exact::certify(&tokens.problem(&zeros), arithmetic(level, form));
        for (i, ((found, exact), bound)) in o.iter().zip(&exact.o).zip(&exact.o_bound).enumerate() {
            assert!(found.is_finite() && *bound < 0.05, "{family:?}: o[{i}] +- {bound}");
            let error = (f64::from(*found) - exact).abs();
            assert!(error <= *bound, "{family:?}: o[{i}] = {found}, {exact} +- {bound}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_stream_is_within_its_bound(
        size in [1_usize..50, 1_usize..40, 1_usize..40],
        gate in 0_usize..4,
        rule in 0_usize..4,
        strength in 0_usize..3,
        is_short: bool,
        seed in 0_u64..1 << 40,
    ) {
        let family = Family { gate: GATES[gate], rule: RULES[rule] };
        let stream = Stream::new(size, family, STRENGTHS[strength], seed);
        Stream { l2: is_short.then_some(1e-6), ..stream }.assert_certified();
    }
}
