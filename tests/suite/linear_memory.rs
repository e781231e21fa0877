//! Where states lie, how tensors are stored, who reads them and who works on what changes no bit.

use crate::case::{FORMATS, Layout, Scattered, Tensor, assert_same_bits, normal};
use flashlet::{
    AnyView, CHUNK, Conditioning, Family, Form, Gate, HeadMap, Level, LinearAttention, LinearCall,
    LinearHeads, LinearInputs, LinearOutputs, LinearShape, Memory, Rule, Strides, View, ViewMut,
};
use oracle::Format;
use std::ops::Range;

pub(crate) const FORMS: [Form; 2] = [Form::Recurrent, Form::Chunked];
const GATES: [Gate; 4] = [Gate::Never, Gate::Head, Gate::Token, Gate::Channel];
const RULES: [Rule; 4] = [Rule::Add, Rule::Bonus, Rule::Delta, Rule::LowRank];

/// Widths of keys and values that fill no vector or block, just fill one, or go beyond.
const RAGGED: [[usize; 2]; 7] = [[1, 3], [3, 1], [16, 17], [17, 64], [65, 63], [64, 65], [63, 16]];

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

    /// Output and condition numbers of inputs in so many threads; what is not written stays NaN.
    pub(crate) fn bind(
        &self,
        plan: &LinearAttention<'_>,
        inputs: LinearInputs<'_>,
        memory: Memory<'_>,
        parts: usize,
    ) -> ([Vec<f32>; 2], Conditioning) {
        let mut o = vec![f32::NAN; len(self.shape.o())];
        let mut condition = vec![f32::NAN; o.len() / self.shape.heads.v_dim];
        let mut scratch = vec![f32::NAN; parts * (plan.scratch_len() + plan.staging_len())];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, self.shape.o()).unwrap());
        let outputs = outputs.condition(&mut condition);
        let call = plan.bind(inputs, outputs, memory, &mut scratch).unwrap();
        let conditioning = std::thread::scope(|scope| {
            // A share cut again is no more than it was.
            let run = |part: LinearCall<'_>| part.parts(1).unwrap().next().unwrap().run();
            let run = |part| scope.spawn(move || run(part));
            let parts: Vec<_> = call.parts(parts).unwrap().map(run).collect();
            parts.into_iter().map(|part| part.join().unwrap()).reduce(Conditioning::and)
        });
        ([o, condition], conditioning.unwrap())
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
        let memory = Memory::new(&mut state, &self.shape).unwrap();
        let (plan, memory) = match plan.normalised(0.0) {
            Ok(plan) => (plan, memory.normaliser(&mut sums, &self.shape).unwrap()),
            Err(_) => (plan, memory),
        };
        let ([o, condition], conditioning) = self.bind(&plan, inputs, memory, parts);
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
    fn one(&self, b: usize, h: usize) -> (Case, usize) {
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

/// A packed tensor laid out anew and rounded.
fn stored(x: &[f32], dims: [usize; 4], layout: Layout, format: Format) -> (Tensor, Strides) {
    let Scattered { data, strides } = Scattered::of(x, dims, layout);
    (Tensor::rounded(&data, format), strides)
}

/// Each state turned about.
fn turned(states: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let turn = |x: &[f32]| -> Vec<f32> {
        (0..rows * columns).map(|at| x[at % rows * columns + at / rows]).collect()
    };
    states.chunks_exact(rows * columns).flat_map(turn).collect()
}

/// Memory as it lies, or where each state is turned about.
fn memory_of<'a>(stored: &'a mut Tensor, shape: &LinearShape, is_turned: bool) -> Memory<'a> {
    let memory = match (stored, is_turned) {
        (Tensor::F32(x), false) => Memory::new(x, shape),
        (Tensor::F16(x), false) => Memory::new(x, shape),
        (Tensor::Bf16(x), false) => Memory::new(x, shape),
        (Tensor::F32(x), true) => Memory::transposed(x, shape),
        (Tensor::F16(x), true) => Memory::transposed(x, shape),
        (Tensor::Bf16(x), true) => Memory::transposed(x, shape),
    };
    memory.unwrap()
}

#[test]
fn linear_states_in_any_storage_give_the_same_outputs_and_are_rounded_once() {
    let families = [Family::SIMPLE_GLA, Family::GATED_DELTA_NET, Family::RWKV6, Family::RWKV7];
    let layouts = [(0, [0; 3]), (0, [2, 5, 1]), (1, [0, 3, 2]), (4, [1, 0, 7])];
    for (n, (dims @ [dim, v_dim], family)) in
        RAGGED.into_iter().flat_map(|dims| families.map(|family| (dims, family))).enumerate()
    {
        let heads = LinearHeads { v_dim, ..LinearHeads::new(2, dim) };
        let mut case = Case::new(family, [2, 21], heads);
        let shape = case.shape;
        for (format, way) in FORMATS.into_iter().flat_map(|f| ways().map(move |way| (f, way))) {
            case.state = Tensor::rounded(&case.state, format).widened();
            let what = format!("{family:?} {dims:?} {way:?} {format:?}");
            let (plan, [o, state]) = (case.plan(way), case.run(way));
            for is_turned in [false, true] {
                let lay = |x: &[f32]| if is_turned { turned(x, dims) } else { x.to_vec() };
                let mut laid = Tensor::rounded(&lay(&case.state), format);
                let memory = memory_of(&mut laid, &shape, is_turned);
                assert_same_bits(&case.bind(&plan, case.inputs(), memory, 1).0[0], &o, &what);
                let expected = Tensor::rounded(&lay(&state), format).widened();
                assert_same_bits(&laid.widened(), &expected, format!("{what} {is_turned}"));
            }
            // `[batch, head_dim, states, v_dim]` in some order, with gaps that must stay as they are.
            let dims = [2, dim, 2, v_dim];
            let (order, gaps) = layouts[n % layouts.len()];
            let scatter = |x: &[f32]| {
                let by_row: Vec<f32> = (0..2 * dim * 2)
                    .map(|row| (row / (2 * dim) * 2 + row % 2) * dim + row / 2 % dim)
                    .flat_map(|at| x[at * v_dim..][..v_dim].to_vec())
                    .collect();
                stored(&by_row, dims, Layout { order, gaps }, format)
            };
            let (mut laid, strides) = scatter(&case.state);
            let memory = Memory::view(laid.view_mut(dims, strides), &shape).unwrap();
            assert_same_bits(&case.bind(&plan, case.inputs(), memory, 1).0[0], &o, &what);
            let expected = scatter(&state).0.widened();
            assert_same_bits(&laid.widened(), &expected, format!("{what} {strides:?}"));
        }
    }
}

#[test]
fn a_stream_in_several_calls_is_the_stream_in_one_and_goes_on_from_a_saved_state() {
    let heads = LinearHeads { v_dim: 5, ..LinearHeads::new(2, 7) };
    for (family, way) in each() {
        let case = Case::new(family, [1, 4 * CHUNK + 3], heads);
        let [o, end] = case.run(way);
        let cuts = match way.1 {
            Form::Recurrent => vec![1, 2, 19, 20, 66],
            Form::Chunked => vec![CHUNK, 3 * CHUNK, 4 * CHUNK],
        };
        let (mut first, mut state, mut found) = (0, case.state.clone(), Vec::new());
        for cut in cuts.into_iter().chain([case.shape.len]) {
            let part = case.tokens(first..cut, state);
            let [o, after] = part.run(way);
            // A call that saves its state, is followed by others, and is done again.
            let saved = part.state.clone();
            assert_same_bits(&part.tokens(0..part.shape.len, saved).run(way)[0], &o, "again");
            found.extend(o);
            (first, state) = (cut, after);
        }
        assert_same(&[found, state], &[o, end], &format!("{family:?} {way:?}"));
    }
}

#[test]
fn linear_heads_that_share_are_heads_that_are_repeated() {
    let counts =
        [[8, 8, 8], [8, 2, 2], [2, 2, 8], [4, 2, 8], [1, 8, 2], [12, 2, 6], [1, 1, 3], [2, 4, 1]];
    for ([q, k, v], map) in
        counts.into_iter().flat_map(|n| [HeadMap::Grouped, HeadMap::Modulo].map(|map| (n, map)))
    {
        let heads = LinearHeads { q, k, v, dim: 9, v_dim: 5, map };
        for family in families() {
            let case = Case::new(family, [2, 20], heads);
            for way in ways() {
                let [o, state] = case.run(way);
                for (b, h) in (0..2).flat_map(|b| (0..heads.outputs()).map(move |h| (b, h))) {
                    let (one, s) = case.one(b, h);
                    let [expected, after] = one.run(way);
                    let what = format!("{family:?} {way:?} {heads:?} {b} {h}");
                    assert_same_bits(&rows_of(&o, case.shape.o(), b, h), &expected, &what);
                    assert_same_bits(&state[s * 45..][..45], &after, format!("{what}: state"));
                }
            }
        }
    }
}

#[test]
fn linear_tensors_in_any_storage_are_widened_and_outputs_rounded_once() {
    for (n, family) in families().enumerate() {
        for (dim, v_dim) in [(17, 33), (64, 16)] {
            let heads = LinearHeads { q: 4, v_dim, ..LinearHeads::new(2, dim) };
            let mut case = Case::new(family, [2, 19], heads);
            for (m, way) in ways().enumerate() {
                let formats: [Format; 7] = std::array::from_fn(|t| FORMATS[(n + m + t * t) % 3]);
                let layout = |t: usize| Layout { order: n + m + t, gaps: [t % 3, m, (n + t) % 4] };
                let dims = case.dims();
                for (x, format) in case.tensors.iter_mut().zip(formats) {
                    *x = Tensor::rounded(x, format).widened();
                }
                let all: [_; 7] = std::array::from_fn(|t| {
                    stored(&case.tensors[t], dims[t], layout(t), formats[t])
                });
                let views @ [q, k, v, ..]: [AnyView<'_>; 7] =
                    std::array::from_fn(|t| all[t].0.view(dims[t], all[t].1));
                let (plan, [o, end]) = (case.plan(way), case.run(way));
                for format in FORMATS {
                    let place = |o: &[f32]| stored(o, case.shape.o(), layout(7), format);
                    let (mut found, strides) = place(&vec![0.0; o.len()]);
                    let mut state = case.state.clone();
                    let mut scratch = vec![f32::NAN; plan.scratch_len()];
                    let inputs = case.with(LinearInputs::new(q, k, v), views);
                    let outputs = LinearOutputs::new(found.view_mut(case.shape.o(), strides));
                    let memory = Memory::new(&mut state, &case.shape).unwrap();
                    plan.bind(inputs, outputs, memory, &mut scratch).unwrap().run();
                    let what = format!("{family:?} {way:?} {formats:?} to {format:?}");
                    assert_same_bits(&found.widened(), &place(&o).0.widened(), &what);
                    assert_same_bits(&state, &end, &what);
                }
            }
        }
    }
}

#[test]
fn linear_attention_has_the_same_bits_on_levels_that_round_alike() {
    for (family, [dim, v_dim]) in families().flat_map(|family| RAGGED.map(|dims| (family, dims))) {
        let heads = LinearHeads { q: 2, v_dim, ..LinearHeads::new(1, dim) };
        let case = Case::new(family, [1, 37], heads);
        for (form, is_fused) in FORMS.into_iter().flat_map(|f| [(f, false), (f, true)]) {
            let alike = Level::available().filter(|level| level.is_fused() == is_fused);
            let runs: Vec<_> = alike.map(|level| case.run((level, form))).collect();
            for pair in runs.windows(2) {
                assert_same(&pair[1], &pair[0], &format!("{family:?} [{dim}, {v_dim}] {form:?}"));
            }
        }
    }
}

#[test]
fn parts_of_linear_attention_have_the_bits_of_the_whole() {
    let heads = LinearHeads { q: 6, v_dim: 3, ..LinearHeads::new(3, 5) };
    let zeros = [0.0; 2 * 3 * 11];
    for (family, way) in each() {
        let mut case = Case::new(family, [2, 21], heads);
        for is_nan in [false, true] {
            // Divisors that cancel: of state 1 at token 4, of state 2 at token 0.
            for (s, token) in [(1, 4), (2, 0)] {
                for i in 0..=token {
                    let at = (i * 3 + s) * 5;
                    let key = if i == token { [1.0, f32::EPSILON - 1.0] } else { [0.0; 2] };
                    case.tensors[1][at..at + 5].fill(0.0);
                    case.tensors[1][at..at + 2].copy_from_slice(&key);
                }
                let query = if is_nan && s == 1 { f32::NAN } else { 1.0 };
                case.tensors[0][(token * 6 + 2 * s) * 5..][..5].fill(query);
            }
            let run = |parts| case.learn_and_read(way, case.inputs(), [&case.state, &zeros], parts);
            let (whole, conditioning) = run(1);
            let [o, state] = case.run(way);
            assert_same_bits(&whole[2], &state, "in one");
            if family.rule != Rule::Add {
                assert_same_bits(&whole[0], &o, "in one");
            } else {
                assert_eq!(conditioning.uncertified().unwrap().0, [0, 0, 4]);
                assert_eq!(conditioning.worst().is_nan(), is_nan);
            }
            for parts in [2, 3, 7] {
                let (shares, together) = run(parts);
                let what = format!("{family:?} {way:?} {parts}");
                assert_same(&shares, &whole, &what);
                assert_eq!(together.worst().to_bits(), conditioning.worst().to_bits(), "{what}");
                assert_eq!(together.uncertified(), conditioning.uncertified(), "{what}");
            }
        }
    }
}
