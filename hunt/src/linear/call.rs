//! One call on some tokens of a stream, and the memory that it leaves to the next.

use super::{Case, dims_of};
use crate::tensor::{Tensor, canonical};
use flashlet::{
    AnyView, Form, Gate, Level, LinearAttention, LinearInputs, LinearOutputs, LinearShape, Memory,
    Rule,
};
use std::ops::Range;

/// What one call leaves to the next.
#[derive(Clone)]
pub(super) struct Kept {
    /// As it is stored, transposed if the case says so.
    pub(super) state: Tensor,
    /// Of each state: the sum of keys, that of their magnitudes, and how many there are.
    pub(super) sums: Vec<f32>,
}

/// The tokens of a call.
pub(super) struct Tokens<'c> {
    pub(super) case: &'c Case,
    pub(super) shape: LinearShape,
    pub(super) form: Form,
    /// Packed, for the judge.
    pub(super) tensors: [Tensor; 7],
    /// As the call gets them.
    laid_out: [Tensor; 7],
}

impl Kept {
    /// Before the first call.
    pub(super) fn of(case: &Case) -> Kept {
        let (shape, state) = (&case.shape, &case.state);
        let sums = vec![0.0; Memory::normaliser_len(shape).expect("a small shape")];
        let state = if case.is_transposed {
            let [dim, v_dim] = [shape.heads.dim, shape.heads.v_dim];
            Tensor::rounded(&turned(&state.widened(), [dim, v_dim]), state.format())
        } else {
            state.clone()
        };
        Kept { state, sums }
    }

    pub(super) fn floats(&self) -> impl Iterator<Item = f32> {
        self.state.widened().into_iter().chain(self.sums.clone())
    }

    fn memory(&mut self, case: &Case, shape: &LinearShape) -> Memory<'_> {
        let memory = match (&mut self.state, case.is_transposed) {
            (Tensor::F32(x), false) => Memory::new(x, shape),
            (Tensor::F16(x), false) => Memory::new(x, shape),
            (Tensor::Bf16(x), false) => Memory::new(x, shape),
            (Tensor::F32(x), true) => Memory::transposed(x, shape),
            (Tensor::F16(x), true) => Memory::transposed(x, shape),
            (Tensor::Bf16(x), true) => Memory::transposed(x, shape),
        };
        let memory = memory.expect("as long as the shape says");
        match case.eps {
            Some(_) => memory.normaliser(&mut self.sums, shape).expect("as long as it says"),
            None => memory,
        }
    }
}

/// Each of the matrices `[rows, columns]` turned about.
pub(super) fn turned(x: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let turn = |x: &[f32]| -> Vec<f32> {
        (0..rows * columns).map(|at| x[at % rows * columns + at / rows]).collect()
    };
    x.chunks_exact(rows * columns).flat_map(turn).collect()
}

impl<'c> Tokens<'c> {
    pub(super) fn of(case: &'c Case, tokens: Range<usize>, form: Form) -> Self {
        let all = dims_of(case.shape, case.family);
        let tensors: [Tensor; 7] = std::array::from_fn(|t| {
            let ([_, len, heads, width], x) = (all[t], &case.tensors[t]);
            let each = heads * width;
            let of_sequences = x.widened();
            let of_sequences = of_sequences.chunks_exact((len * each).max(1));
            let cut = of_sequences.flat_map(|x| &x[tokens.start * each..tokens.end * each]);
            Tensor::rounded(&cut.copied().collect::<Vec<f32>>(), x.format())
        });
        let shape = LinearShape { len: tokens.len(), ..case.shape };
        let dims = dims_of(shape, case.family);
        let laid_out = std::array::from_fn(|t| tensors[t].spread(dims[t], case.layouts[t]));
        Tokens { case, shape, form, tensors, laid_out }
    }

    pub(super) fn dims(&self) -> [[usize; 4]; 7] {
        dims_of(self.shape, self.case.family)
    }

    fn views(&self) -> [AnyView<'_>; 7] {
        let dims = self.dims();
        std::array::from_fn(|t| self.laid_out[t].view(dims[t], self.case.layouts[t]))
    }

    /// With the tensors that the family learns from.
    fn with<'a>(&'a self, inputs: LinearInputs<'a>) -> LinearInputs<'a> {
        let [.., gates, beta, a, b] = self.views();
        let inputs = match self.case.family.gate {
            Gate::Never => inputs,
            Gate::Head => inputs.decay(&self.case.decay),
            Gate::Token | Gate::Channel => inputs.gates(gates),
        };
        match self.case.family.rule {
            Rule::Add => inputs,
            Rule::Bonus => inputs.bonus(&self.case.bonus),
            Rule::Delta => inputs.beta(beta),
            Rule::LowRank => inputs.low_rank(a, b),
        }
    }

    fn plan(&self, level: Level) -> LinearAttention<'static> {
        self.case.plan(self.shape, self.form, level)
    }

    /// Outputs in so many parts; what is not written stays NaN.
    pub(super) fn run(&self, level: Level, parts: usize, kept: &mut Kept) -> Vec<f32> {
        let (plan, case, dims) = (self.plan(level), self.case, self.shape.o());
        let [.., layout] = case.layouts;
        let o = Tensor::rounded(&vec![f32::NAN; dims.iter().product()], case.output);
        let mut o = o.spread(dims, layout);
        let rows = dims[0] * dims[1] * dims[2];
        let mut condition = vec![1.0; rows];
        let mut scratch = vec![f32::NAN; parts * (plan.scratch_len() + plan.staging_len())];
        let [q, k, v, ..] = self.views();
        let inputs = self.with(LinearInputs::new(q, k, v));
        let outputs = LinearOutputs::new(o.view_mut(dims, layout));
        let outputs = match case.eps {
            Some(_) => outputs.condition(&mut condition),
            None => outputs,
        };
        let memory = kept.memory(case, &self.shape);
        let call = plan.bind(inputs, outputs, memory, &mut scratch).expect("as the plan says");
        let shares = call.parts(parts).expect("scratch for each part");
        let found = shares.map(|part| part.run()).reduce(|a, b| a.and(b)).expect("a part");
        let worse = |a: f32, b: &f32| if a.is_nan() || a >= *b { a } else { *b };
        let worst = condition.iter().fold(1.0, worse);
        let is_told = canonical(found.worst()) == canonical(worst);
        assert!(is_told, "{level}: condition {worst} is told as {found:?}: {case:?}");
        o.gathered(dims, layout).widened()
    }

    /// Panics unless tokens that are learnt and not read leave the same memory.
    pub(super) fn assert_learns_alone(&self, level: Level, before: &Kept, after: &Kept) {
        let (plan, mut alone) = (self.plan(level), before.clone());
        let mut scratch = vec![f32::NAN; plan.scratch_len() + plan.staging_len()];
        let [_, k, v, ..] = self.views();
        let inputs = self.with(LinearInputs::learn(k, v));
        let memory = alone.memory(self.case, &self.shape);
        let call = plan.bind(inputs, LinearOutputs::none(), memory, &mut scratch);
        call.expect("as the plan says").run();
        let is_same = alone.floats().map(canonical).eq(after.floats().map(canonical));
        assert!(is_same, "{level}: what is only learnt differs: {:?}", self.case);
    }
}
