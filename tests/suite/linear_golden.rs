//! The numbers of `tests/golden/linear.json`, which `tests/golden/linear.py` writes: families of linear attention and their gates
//! as flash-linear-attention defines them, in f64.

use crate::linear::arithmetic;
use crate::linear_case::ways;
use flashlet::{
    Family, Form, Gate, GatedDelta, KimiDelta, Level, LinearAttention, LinearHeads, LinearInputs,
    LinearOutputs, LinearShape, Memory, Rule, View, ViewMut,
};
use oracle::linear as exact;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    families: Vec<Sequence>,
    gates: Vec<Raw>,
}

/// One sequence of a family.
#[derive(Deserialize)]
struct Sequence {
    name: String,
    gate: String,
    rule: String,
    n: usize,
    q_heads: usize,
    k_heads: usize,
    heads: usize,
    d_k: usize,
    d_v: usize,
    scale: f64,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    state: Vec<f32>,
    #[serde(default)]
    gates: Vec<f32>,
    #[serde(default)]
    beta: Vec<f32>,
    #[serde(default)]
    bonus: Vec<f32>,
    #[serde(default)]
    a: Vec<f32>,
    #[serde(default)]
    b: Vec<f32>,
    eps: Option<f32>,
    /// How far outputs may be for the sake of a gate that is not exact in f32.
    #[serde(default)]
    slack: f64,
    o: Vec<f64>,
    end: Vec<f64>,
}

/// What a model stores, and the gates that it makes of it.
#[derive(Deserialize)]
struct Raw {
    name: String,
    n: usize,
    heads: usize,
    raw: Vec<f32>,
    a_log: Vec<f32>,
    dt_bias: Vec<f32>,
    lower_bound: Option<f32>,
    gates: Vec<f64>,
}

impl Golden {
    fn read() -> Golden {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/linear.json");
        serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there")).unwrap()
    }
}

impl Sequence {
    fn family(&self) -> Family {
        let gate = match self.gate.as_str() {
            "none" => Gate::Never,
            "head" => Gate::Head,
            "token" => Gate::Token,
            "channel" => Gate::Channel,
            other => panic!("no gate is {other}"),
        };
        let rule = match self.rule.as_str() {
            "add" => Rule::Add,
            "bonus" => Rule::Bonus,
            "delta" => Rule::Delta,
            "low_rank" => Rule::LowRank,
            other => panic!("no rule is {other}"),
        };
        Family { gate, rule }
    }

    fn shape(&self) -> LinearShape {
        let (q, k, v) = (self.q_heads, self.k_heads, self.heads);
        let heads = LinearHeads { q, k, v, v_dim: self.d_v, ..LinearHeads::new(q, self.d_k) };
        LinearShape { batch: 1, len: self.n, heads }
    }

    /// All heads at once: outputs, and the state after the last token.
    fn run(&self, level: Level, form: Form) -> [Vec<f32>; 2] {
        let (family, shape) = (self.family(), self.shape());
        let plan = LinearAttention::new(shape, family).unwrap().scale(self.scale);
        let plan = plan.level(level).unwrap().form(form);
        let plan = self.eps.map_or(plan, |eps| plan.normalised(eps).unwrap());
        let view = |data, dims| View::packed(data, dims).unwrap();
        let inputs = LinearInputs::new(
            view(&self.q, shape.q()),
            view(&self.k, shape.k()),
            view(&self.v, shape.v()),
        );
        let inputs = match family.gate {
            Gate::Never => inputs,
            Gate::Head => inputs.decay(&self.gates),
            _ => inputs.gates(view(&self.gates, shape.gates(family))),
        };
        let wide = shape.per_state(self.d_k);
        let inputs = match family.rule {
            Rule::Add => inputs,
            Rule::Bonus => inputs.bonus(&self.bonus),
            Rule::Delta => inputs.beta(view(&self.beta, shape.per_state(1))),
            Rule::LowRank => inputs.low_rank(view(&self.a, wide), view(&self.b, wide)),
        };
        let (mut state, mut o) = (self.state.clone(), vec![f32::NAN; self.o.len()]);
        let mut sums = vec![0.0; Memory::normaliser_len(&shape).unwrap()];
        let memory = Memory::new(&mut state, &shape).unwrap();
        let memory = match self.eps {
            Some(_) => memory.normaliser(&mut sums, &shape).unwrap(),
            None => memory,
        };
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        plan.bind(inputs, outputs, memory, &mut scratch).unwrap().run();
        [o, state]
    }

    /// What one head of `heads` reads of a tensor `[n, heads, width]`.
    fn rows(&self, data: &[f32], heads: usize, head: usize) -> Vec<f32> {
        let width = data.len() / (self.n * heads);
        data.chunks(width.max(1)).skip(head).step_by(heads).flatten().copied().collect()
    }

    /// One head, as the oracle sees it.
    fn certify(&self, h: usize, arithmetic: exact::Arithmetic) -> exact::Certificate {
        let (d_k, d_v) = (self.d_k, self.d_v);
        let of_keys = |data| self.rows(data, self.k_heads, h * self.k_heads / self.heads);
        let own = |data| self.rows(data, self.heads, h);
        let (q, k, v) = (of_keys(&self.q), of_keys(&self.k), own(&self.v));
        let [gates, beta, a, b] = [&self.gates, &self.beta, &self.a, &self.b].map(|x| own(x));
        let zeros = vec![0.0; d_k];
        let problem = exact::Problem {
            d_k,
            d_v,
            q: &q,
            k: &k,
            v: &v,
            gate: match self.family().gate {
                Gate::Never => exact::Gate::None,
                Gate::Head => exact::Gate::Head(self.gates[h]),
                Gate::Token => exact::Gate::Token(&gates),
                Gate::Channel => exact::Gate::Channel(&gates),
            },
            rule: match self.family().rule {
                Rule::Add => exact::Rule::Add,
                Rule::Bonus => exact::Rule::Bonus(&self.bonus[h * d_k..][..d_k]),
                Rule::Delta => exact::Rule::Delta(&beta),
                Rule::LowRank => exact::Rule::LowRank { a: &a, b: &b },
            },
            features: exact::Features::Identity,
            l2: None,
            scale: self.scale,
            state: &self.state[h * d_k * d_v..][..d_k * d_v],
            normaliser: self.eps.map(|eps| exact::Normaliser { eps, z: &zeros, z_abs: &zeros }),
        };
        exact::certify(&problem, arithmetic)
    }

    /// Golden numbers of one head: outputs, and the state after the last token.
    fn golden(&self, h: usize) -> [Vec<f64>; 2] {
        let (o, state) = (self.o.chunks(self.d_v), self.end.chunks(self.d_k * self.d_v));
        [
            o.skip(h).step_by(self.heads).flatten().copied().collect(),
            state.skip(h).take(1).flatten().copied().collect(),
        ]
    }
}

fn assert_near(found: &[f64], golden: &[f64], bound: impl Fn(usize) -> f64, what: &str) {
    assert_eq!(found.len(), golden.len(), "{what}");
    for (i, (found, golden)) in found.iter().zip(golden).enumerate() {
        let (error, bound) = ((found - golden).abs(), bound(i));
        assert!(error <= bound && bound < 0.1, "{what}[{i}]: {found}, {golden} +- {bound}");
    }
}

#[test]
fn the_oracle_has_the_golden_numbers() {
    let golden = Golden::read();
    assert_eq!(golden.families.len(), 11);
    for one in &golden.families {
        for h in 0..one.heads {
            let exact = one.certify(h, arithmetic(Level::Portable, Form::Recurrent));
            let [o, end] = one.golden(h);
            for (found, golden, name) in [(&exact.o, &o, "o"), (&exact.state, &end, "state")] {
                let near = |i: usize| one.slack + 1e-12 * (1.0 + golden[i].abs());
                assert_near(found, golden, near, &format!("{} {name} of head {h}", one.name));
            }
        }
    }
}

#[test]
fn every_kernel_is_within_its_bound_of_the_golden_numbers() {
    for one in &Golden::read().families {
        for (level, form) in ways() {
            let [o, state] = one.run(level, form);
            for h in 0..one.heads {
                let exact = one.certify(h, arithmetic(level, form));
                let [golden_o, golden_end] = one.golden(h);
                let o: Vec<f64> =
                    one.rows(&o, one.heads, h).iter().map(|x| f64::from(*x)).collect();
                let size = one.d_k * one.d_v;
                let state: Vec<f64> =
                    state[h * size..][..size].iter().map(|x| f64::from(*x)).collect();
                let what = format!("{} {level} {form:?} head {h}", one.name);
                assert_near(&o, &golden_o, |i| exact.o_bound[i] + one.slack, &what);
                assert_near(&state, &golden_end, |i| exact.state_bound[i] + one.slack, &what);
            }
        }
    }
}

#[test]
fn gates_have_the_golden_numbers() {
    let golden = Golden::read();
    assert_eq!(golden.gates.len(), 3);
    for one in &golden.gates {
        let width = one.raw.len() / (one.n * one.heads);
        let (dims, per_head) = ([1, one.n, one.heads, width], [1, one.n, one.heads, 1]);
        let (raw, b) = (View::packed(&one.raw, dims).unwrap(), vec![0.0; one.n * one.heads]);
        let (mut gates, mut beta) = (vec![f32::NAN; one.raw.len()], b.clone());
        let b = View::packed(&b, per_head).unwrap();
        let mut to = ViewMut::packed(&mut gates, dims).unwrap();
        let mut beta = ViewMut::packed(&mut beta, per_head).unwrap();
        if one.name == "gated_delta_net" {
            let delta = GatedDelta::new(&one.a_log, &one.dt_bias).unwrap();
            delta.prepare(raw, b, &mut to, &mut beta).unwrap();
        } else {
            let delta = KimiDelta::new(&one.a_log, &one.dt_bias).unwrap();
            let delta = one.lower_bound.map_or(delta, |bound| delta.lower_bound(bound).unwrap());
            delta.prepare(raw, b, &mut to, &mut beta).unwrap();
        }
        for (found, golden) in gates.iter().zip(&one.gates) {
            let error = (f64::from(*found) - golden).abs();
            // Sums of raw numbers and biases are exact here; functions and products err by an ulp or two each.
            let near = 8.0 * f64::from(f32::EPSILON) * golden.abs();
            assert!(error <= near, "{}: {found}, {golden}", one.name);
        }
    }
}
