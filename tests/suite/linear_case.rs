//! Linear attention of random tokens: every family, level and form, many heads and sequences.

use crate::case::{assert_same_bits, normal};
use flashlet::{
    AnyView, Conditioning, Family, Form, Gate, HeadMap, Level, LinearAttention, LinearCall,
    LinearHeads, LinearInputs, LinearOutputs, LinearShape, Memory, Rule, View, ViewMut,
};
use std::ops::Range;

pub(crate) const FORMS: [Form; 2] = [Form::Recurrent, Form::Chunked];
pub(crate) const GATES: [Gate; 4] = [Gate::Never, Gate::Head, Gate::Token, Gate::Channel];
pub(crate) const RULES: [Rule; 4] = [Rule::Add, Rule::Bonus, Rule::Delta, Rule::LowRank];

pub(crate) fn families() -> impl Iterator<Item = Family> {
    GATES.into_iter().flat_map(|gate| RULES.map(|rule| Family { gate, rule }))
}

/// Each level in each form.
pub(crate) fn ways() -> impl Iterator<Item = (Level, Form)> {
    Level::available().flat_map(|level| FORMS.map(|form| (level, form)))
}

/// Each family in each way.
pub(crate) fn each() -> impl Iterator<Item = (Family, (Level, Form))> {
    families().flat_map(|family| ways().map(move |way| (family, way)))
}

/// Random tokens for a family, and the state before them.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) family: Family,
    pub(crate) shape: LinearShape,
    /// q, k, v, gates, beta, and a and b of the low rank.
    pub(crate) tensors: [Vec<f32>; 7],
    decay: Vec<f32>,
    bonus: Vec<f32>,
    pub(crate) state: Vec<f32>,
}

pub(crate) fn len(dims: [usize; 4]) -> usize {
    dims.iter().product()
}

fn dims_of(shape: LinearShape, family: Family) -> [[usize; 4]; 7] {
    let (one, wide) = (shape.per_state(1), shape.per_state(shape.heads.dim));
    [shape.q(), shape.k(), shape.v(), shape.gates(family), one, wide, wide]
}

impl Case {
    pub(crate) fn new(family: Family, [batch, tokens]: [usize; 2], heads: LinearHeads) -> Case {
        let shape = LinearShape { batch, len: tokens, heads };
        let (wide, unit) = (heads.states() * heads.dim, 1.0 / (heads.dim as f32).sqrt());
        let mut seed = 0;
        let mut make = |count: usize, f: &dyn Fn(f32) -> f32| -> Vec<f32> {
            seed += 1;
            normal(count, seed).into_iter().map(f).collect()
        };
        let gate = |x: f32| -0.1 * x.abs();
        let [q, k, v, gates, beta, a, b] = dims_of(shape, family).map(len);
        let tensors = [
            make(q, &|x| x),
            make(k, &|x| x * unit),
            make(v, &|x| x),
            make(gates, &gate),
            make(beta, &|x| (0.5 + 0.3 * x).clamp(0.0, 1.0)),
            make(a, &|x| 0.6 * x * unit),
            make(b, &|x| 0.6 * x * unit),
        ];
        let (decay, bonus) = (make(heads.states(), &gate), make(wide, &|x| x));
        let state = make(Memory::len(&shape).unwrap(), &|x| x);
        Case { family, shape, tensors, decay, bonus, state }
    }

    pub(crate) fn dims(&self) -> [[usize; 4]; 7] {
        dims_of(self.shape, self.family)
    }

    pub(crate) fn views(&self) -> [AnyView<'_>; 7] {
        let dims = self.dims();
        std::array::from_fn(|t| View::packed(&self.tensors[t], dims[t]).unwrap().into())
    }

    /// The tensors that the family learns from.
    pub(crate) fn with<'a>(
        &'a self,
        inputs: LinearInputs<'a>,
        [.., gates, beta, a, b]: [AnyView<'a>; 7],
    ) -> LinearInputs<'a> {
        let inputs = match self.family.gate {
            Gate::Never => inputs,
            Gate::Head => inputs.decay(&self.decay),
            _ => inputs.gates(gates),
        };
        match self.family.rule {
            Rule::Add => inputs,
            Rule::Bonus => inputs.bonus(&self.bonus),
            Rule::Delta => inputs.beta(beta),
            Rule::LowRank => inputs.low_rank(a, b),
        }
    }

    pub(crate) fn inputs(&self) -> LinearInputs<'_> {
        let views @ [q, k, v, ..] = self.views();
        self.with(LinearInputs::new(q, k, v), views)
    }

    pub(crate) fn plan(&self, (level, form): (Level, Form)) -> LinearAttention<'static> {
        let plan = LinearAttention::new(self.shape, self.family).unwrap();
        plan.level(level).unwrap().form(form)
    }

    /// The output of a plan that normalises nothing; what is not written stays NaN.
    pub(crate) fn output(
        &self,
        plan: &LinearAttention<'_>,
        memory: Memory<'_>,
        parts: usize,
    ) -> Vec<f32> {
        let mut o = vec![f32::NAN; len(self.shape.o())];
        let mut scratch = vec![f32::NAN; parts * (plan.scratch_len() + plan.staging_len())];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, self.shape.o()).unwrap());
        run_in(parts, plan.bind(self.inputs(), outputs, memory, &mut scratch).unwrap());
        o
    }

    /// Output and state of a plain run.
    pub(crate) fn run(&self, way: (Level, Form)) -> [Vec<f32>; 2] {
        self.run_plan(&self.plan(way))
    }

    pub(crate) fn run_plan(&self, plan: &LinearAttention<'_>) -> [Vec<f32>; 2] {
        let mut state = self.state.clone();
        let mut o = vec![f32::NAN; len(self.shape.o())];
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, self.shape.o()).unwrap());
        let memory = Memory::new(&mut state, &self.shape).unwrap();
        plan.bind(self.inputs(), outputs, memory, &mut scratch).unwrap().run();
        [o, state]
    }

    /// Output and condition numbers; state and sums: outputs are normalised if the rule lets them be.
    pub(crate) fn learn_and_read(
        &self,
        way: (Level, Form),
        inputs: LinearInputs<'_>,
        [state, sums]: [&[f32]; 2],
        parts: usize,
    ) -> ([Vec<f32>; 4], Conditioning) {
        let (mut state, mut sums, plan) = (state.to_vec(), sums.to_vec(), self.plan(way));
        let mut o = vec![f32::NAN; len(self.shape.o())];
        let mut condition = vec![f32::NAN; o.len() / self.shape.heads.v_dim];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, self.shape.o()).unwrap());
        let memory = Memory::new(&mut state, &self.shape).unwrap();
        let (plan, memory, outputs) = match plan.normalised(0.0) {
            Ok(plan) => {
                let memory = memory.normaliser(&mut sums, &self.shape).unwrap();
                (plan, memory, outputs.condition(&mut condition))
            }
            Err(_) => (plan, memory, outputs),
        };
        let mut scratch = vec![f32::NAN; parts * plan.scratch_len()];
        let call = plan.bind(inputs, outputs, memory, &mut scratch).unwrap();
        let conditioning = run_in(parts, call);
        ([o, condition, state, sums], conditioning)
    }

    /// Some tokens of it.
    pub(crate) fn tokens(&self, tokens: Range<usize>, state: Vec<f32>) -> Case {
        let shape = LinearShape { len: tokens.len(), ..self.shape };
        let dims = self.dims();
        let tensors = std::array::from_fn(|t| {
            let [_, len, heads, width] = dims[t];
            let of_sequences = self.tensors[t].chunks_exact(len * heads * width);
            let cut = tokens.start * heads * width..tokens.end * heads * width;
            of_sequences.flat_map(|x| x[cut.clone()].to_vec()).collect()
        });
        Case { shape, tensors, state, ..self.clone() }
    }

    /// What one output head of one sequence sees, as if there were no others; its state's index.
    pub(crate) fn one(&self, b: usize, h: usize) -> (Case, usize) {
        let (shape, dims) = (self.shape, self.dims());
        let LinearHeads { q, k, v, dim, v_dim, map } = shape.heads;
        let [states, outputs] = [shape.heads.states(), shape.heads.outputs()];
        let serves = |h: usize, many: usize, few: usize| match map {
            HeadMap::Grouped => h / (many / few),
            HeadMap::Modulo => h % few,
        };
        let s = serves(h, outputs, states);
        let own = [serves(h, outputs, q), serves(s, states, k), serves(s, states, v), s];
        let tensors = std::array::from_fn(|t| rows_of(&self.tensors[t], dims[t], b, own[t.min(3)]));
        let heads = LinearHeads { v_dim, ..LinearHeads::new(1, dim) };
        let shape = LinearShape { batch: 1, heads, ..shape };
        let part = |x: &[f32], s: usize, each: usize| x[s * each..][..each].to_vec();
        let state = part(&self.state, b * states + s, dim * v_dim);
        let (decay, bonus) = (part(&self.decay, s, 1), part(&self.bonus, s, dim));
        (Case { family: self.family, shape, tensors, decay, bonus, state }, b * states + s)
    }
}

/// So many threads, with a share each.
fn run_in(parts: usize, call: LinearCall<'_>) -> Conditioning {
    std::thread::scope(|scope| {
        // A share cut again is no more than it was.
        let run = |part: LinearCall<'_>| part.parts(1).unwrap().next().unwrap().run();
        let run = |part| scope.spawn(move || run(part));
        let parts: Vec<_> = call.parts(parts).unwrap().map(run).collect();
        parts.into_iter().map(|part| part.join().unwrap()).reduce(Conditioning::and).unwrap()
    })
}

/// Panics at the first of the tensors that differs in a bit.
#[track_caller]
pub(crate) fn assert_same(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    for (t, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_same_bits(found, expected, format_args!("{what}: {t}"));
    }
}

/// The rows of one head of one sequence.
pub(crate) fn rows_of(x: &[f32], dims: [usize; 4], b: usize, h: usize) -> Vec<f32> {
    let [_, len, heads, width] = dims;
    let rows = (0..len).map(|t| ((b * len + t) * heads + h) * width);
    rows.flat_map(|at| x[at..at + width].to_vec()).collect()
}
