//! The kernels that meet special values, each on numbers in a format that it reads.

use crate::case::{Case, Output, Tensor, entries_for, pair_entries};
use flashlet::entry::Entry;
use flashlet::{
    Attention, BiasTensor, CacheShape, Cached, E4m3, E5m2, Family, Form, Inputs, KvCache, Level,
    LinearAttention, LinearHeads, LinearInputs, LinearOutputs, LinearShape, Memory, Overflow,
    Precision, Q4_0, Q8_0, Scales, Side, State, Strides, View, ViewMut,
};
use half::{bf16, f16};
use oracle::Format;

/// What keys and values are stored as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stored {
    F32,
    F16,
    Bf16,
    E4m3,
    E5m2,
    /// A scale for each head of a token.
    I8,
    Q8_0,
    Q4_0,
}

impl Stored {
    pub(crate) const ALL: [Stored; 8] = [
        Stored::F32,
        Stored::F16,
        Stored::Bf16,
        Stored::E4m3,
        Stored::E5m2,
        Stored::I8,
        Stored::Q8_0,
        Stored::Q4_0,
    ];

    /// That of a tensor.
    fn element(self) -> Format {
        match self {
            Stored::F16 => Format::F16,
            Stored::Bf16 => Format::Bf16,
            _ => Format::F32,
        }
    }

    /// Channels that become NaN with one of them.
    pub(crate) fn shared(self, v_dim: usize) -> usize {
        match self {
            Stored::I8 => v_dim,
            Stored::Q8_0 | Stored::Q4_0 => 32,
            _ => 1,
        }
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kernel {
    /// An entry for many queries.
    Prefill,
    /// An entry for few.
    Decode,
    /// Many queries in products of bf16 pairs.
    Pairs,
    /// States of disjoint keys.
    Merged,
    /// A cache, many queries or few.
    Cached,
    /// A cache whose codes are multiplied in integers.
    Integers,
    /// Linear attention with a decay, a token at a time or in chunks.
    Linear,
}

/// One kernel on one level, reading one format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) kernel: Kernel,
    pub(crate) format: Stored,
    pub(crate) level: Level,
    pub(crate) q_len: usize,
    entry: Option<Entry>,
    form: Form,
}

const MANY: usize = 20;
const FEW: usize = 3;

impl Cell {
    fn new(kernel: Kernel, format: Stored, level: Level, q_len: usize) -> Self {
        Cell { kernel, format, level, q_len, entry: None, form: Form::Recurrent }
    }

    /// Which of several of its kind.
    pub(crate) fn name(&self) -> String {
        match self.kernel {
            Kernel::Linear => format!("{:?}", self.form),
            _ => self.entry.map_or("", |entry| entry.name()).into(),
        }
    }

    /// Each of them that this processor can run.
    pub(crate) fn all(heads: flashlet::Heads) -> Vec<Cell> {
        let tensors = [Stored::F32, Stored::F16, Stored::Bf16];
        let mut cells = Vec::new();
        for entry in entries_for(heads) {
            let is_decode = entry.name().starts_with("decode");
            let (kernel, q_len) =
                if is_decode { (Kernel::Decode, FEW) } else { (Kernel::Prefill, MANY) };
            let cell = |format| Cell::new(kernel, format, entry.level(), q_len);
            cells.extend(tensors.map(|format| Cell { entry: Some(entry), ..cell(format) }));
        }
        for entry in pair_entries().into_iter().filter(|entry| entry.fits(heads)) {
            let cell = Cell::new(Kernel::Pairs, Stored::Bf16, entry.level(), MANY);
            cells.push(Cell { entry: Some(entry), ..cell });
        }
        for level in Level::available() {
            let merged = |format| Cell::new(Kernel::Merged, format, level, FEW);
            cells.extend(tensors.map(merged));
            for q_len in [FEW, MANY] {
                let cached = |format| Cell::new(Kernel::Cached, format, level, q_len);
                cells.extend(Stored::ALL.map(cached));
                let integers = |format| Cell::new(Kernel::Integers, format, level, q_len);
                cells.extend([Stored::I8, Stored::Q8_0, Stored::Q4_0].map(integers));
            }
            for form in [Form::Recurrent, Form::Chunked] {
                let linear = |format| Cell::new(Kernel::Linear, format, level, MANY);
                cells.extend(tensors.map(|format| Cell { form, ..linear(format) }));
            }
        }
        cells
    }

    /// Output and log-sum-exps, of linear attention none; and values as they are kept.
    pub(crate) fn run(&self, case: &Case, bias: Option<&[f32]>) -> (Output, Vec<f32>) {
        let format = self.format.element();
        let kept = Tensor::rounded(&case.v, format).widened();
        match (self.kernel, self.format) {
            (Kernel::Prefill | Kernel::Decode | Kernel::Pairs, _) => {
                let plan = case.plan_of(self.entry.expect("a kernel of tensors has an entry"));
                (on_tensors(case, format, |inputs| attend(case, &plan, bias, inputs)), kept)
            }
            (Kernel::Merged, _) => {
                (on_tensors(case, format, |inputs| self.merged(case, bias, inputs)), kept)
            }
            (Kernel::Linear, _) => (self.linear(case, format), kept),
            (_, Stored::F32) => self.cached::<f32>(case, bias),
            (_, Stored::F16) => self.cached::<f16>(case, bias),
            (_, Stored::Bf16) => self.cached::<bf16>(case, bias),
            (_, Stored::E4m3) => self.cached::<E4m3>(case, bias),
            (_, Stored::E5m2) => self.cached::<E5m2>(case, bias),
            (_, Stored::I8) => self.cached::<i8>(case, bias),
            (_, Stored::Q8_0) => self.cached::<Q8_0>(case, bias),
            (_, Stored::Q4_0) => self.cached::<Q4_0>(case, bias),
        }
    }

    fn merged(&self, case: &Case, bias: Option<&[f32]>, inputs: Inputs<'_>) -> Output {
        let shape = &case.shape;
        let view = bias.map(|bias| bias_of(case, bias));
        let plan = case.plan().level(self.level).unwrap();
        let plan = view.as_ref().map_or(plan.clone(), |bias| plan.bias(bias).unwrap());
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let cuts = [0, shape.kv_len / 3, shape.kv_len / 2, shape.kv_len];
        let mut storages = [(); 3].map(|()| vec![f32::NAN; State::storage_len(shape).unwrap()]);
        let mut states = Vec::new();
        for (storage, cut) in storages.iter_mut().zip(cuts.windows(2)) {
            let mut state = State::empty(storage, shape).unwrap();
            let plan = plan.keys(cut[0]..cut[1]).unwrap();
            plan.bind_state(inputs, &mut state, &mut scratch).unwrap().run();
            states.push(state);
        }
        State::merge_tree(&mut states).unwrap();
        let mut output = case.unwritten();
        let o = ViewMut::packed(&mut output.o, shape.o()).unwrap();
        states[0].finish(o, Some(&mut output.lse)).unwrap();
        output
    }

    fn cached<F: flashlet::Format>(&self, case: &Case, bias: Option<&[f32]>) -> (Output, Vec<f32>) {
        let (shape, heads) = (case.shape, case.shape.heads);
        let memory = CacheShape::new(heads, shape.kv_len.max(1));
        let mut keys = vec![F::default(); memory.key_len::<F>()];
        let mut values = vec![F::default(); memory.value_len::<F>()];
        let mut scales = [(); 2].map(|()| vec![f32::NAN; memory.rows()]);
        let cache = KvCache::new(memory, &mut keys, &mut values).unwrap();
        let [k_scales, v_scales] = &mut scales;
        let cache = match self.format {
            Stored::I8 => {
                cache.scales(Scales::ByToken(k_scales), Scales::ByToken(v_scales)).unwrap()
            }
            _ => cache,
        };
        let mut cache = cache.overflow(Overflow::Special);
        let (q, k, v) = case.views();
        cache.append(k, v).unwrap();
        let precision = match self.kernel {
            Kernel::Integers => Precision::Int8Products,
            _ => Precision::F32,
        };
        let plan = case.plan().level(self.level).unwrap().precision(precision);
        let output = attend(case, &plan, bias, Inputs::cached(q, &cache));
        let mut kept = vec![f32::NAN; case.v.len()];
        for (at, row) in kept.chunks_exact_mut(heads.v_dim).enumerate() {
            let (j, g) = (at / heads.kv, at % heads.kv);
            cache.load(Side::Values, [0, g], j..j + 1, row).unwrap();
        }
        (output, kept)
    }

    /// As many tokens as there are queries: the last ones.
    fn linear(&self, case: &Case, format: Format) -> Output {
        let heads = case.shape.heads;
        let linear = LinearHeads {
            q: heads.q,
            k: heads.kv,
            v: heads.kv,
            v_dim: heads.v_dim,
            ..LinearHeads::new(1, heads.dim)
        };
        let shape = LinearShape { batch: 1, len: case.shape.q_len, heads: linear };
        let mut state = vec![0.0_f32; Memory::len(&shape).unwrap()];
        let decay = vec![-0.05; linear.states()];
        let mut output = case.unwritten();
        output.lse.clear();
        let last = |x: &[f32], dims: [usize; 4]| {
            let len = dims.iter().product::<usize>();
            (Tensor::rounded(&x[x.len() - len..], format), dims)
        };
        let tensors =
            [last(&case.q, shape.q()), last(&case.k, shape.k()), last(&case.v, shape.v())];
        let [q, k, v] = tensors.each_ref().map(|(x, dims)| packed(x, *dims));
        let plan = LinearAttention::new(shape, Family::RETNET).unwrap();
        let plan = plan.level(self.level).unwrap().form(self.form);
        let mut scratch = vec![f32::NAN; plan.scratch_len() + plan.staging_len()];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut output.o, shape.o()).unwrap());
        let memory = Memory::new(&mut state, &shape).unwrap();
        let inputs = LinearInputs::new(q, k, v).decay(&decay);
        plan.bind(inputs, outputs, memory, &mut scratch).unwrap().run();
        output
    }
}

fn packed(x: &Tensor, dims: [usize; 4]) -> flashlet::AnyView<'_> {
    x.view(dims, Strides::by_token(dims).unwrap())
}

/// The tensors of a case in some format.
fn on_tensors(case: &Case, format: Format, run: impl FnOnce(Inputs<'_>) -> Output) -> Output {
    let [q, k, v] = [&case.q, &case.k, &case.v].map(|x| Tensor::rounded(x, format));
    let shape = case.shape;
    run(Inputs::new(packed(&q, shape.q()), packed(&k, shape.k()), packed(&v, shape.v())))
}

/// Of every key, for all queries and heads.
fn bias_of<'a>(case: &Case, bias: &'a [f32]) -> BiasTensor<'a> {
    let dims = [1, case.shape.q_len, case.shape.heads.q, case.shape.kv_len];
    let strides = Strides { batch: 0, token: 0, head: 0 };
    BiasTensor::new(View::strided(bias, dims, strides).unwrap())
}

fn attend(case: &Case, plan: &Attention, bias: Option<&[f32]>, inputs: Inputs<'_>) -> Output {
    let bias = bias.map(|bias| bias_of(case, bias));
    let plan = bias.as_ref().map_or(plan.clone(), |bias| plan.bias(bias).unwrap());
    let mut output = case.unwritten();
    let mut scratch = vec![f32::NAN; plan.scratch_len()];
    plan.bind(inputs, output.as_outputs(case.shape), &mut scratch).unwrap().run();
    output
}
