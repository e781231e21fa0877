//! Linear attention: chunks, held against the multiply-add peak, and steps, held against reading and writing the state.
//!
//! Operations are those of the recurrence: what chunks compute beyond them counts as nothing.

use crate::call::numbers;
use crate::probes::{Probed, Probes};
use crate::report::Row;
use crate::run::Effort;
use flashlet::{
    EluPlusOne, Error, Family, Form, Gate, Level, LinearAttention, LinearHeads, LinearInputs,
    LinearOutputs, LinearShape, Memory, Rule, Strides, View, ViewMut,
};
use measure::time::{Time, time_at_least};
use oracle::linear as exact;

/// Families by the names that cases have.
const FAMILIES: [(&str, Family); 10] = [
    ("linear", Family::LINEAR),
    ("normalised", Family::LINEAR),
    ("retnet", Family::RETNET),
    ("simple_gla", Family::SIMPLE_GLA),
    ("gla", Family::GLA),
    ("rwkv6", Family::RWKV6),
    ("rwkv7", Family::RWKV7),
    ("delta", Family::DELTA_NET),
    ("gated_delta", Family::GATED_DELTA_NET),
    ("kda", Family::KDA),
];

/// Tokens that are judged: none depends on a later one.
const JUDGED: usize = 256;

/// One linear attention.
pub(crate) struct Linear {
    pub(crate) name: String,
    family: Family,
    normalised: bool,
    form: Form,
    heads: usize,
    dim: usize,
    len: usize,
    /// Whether it is one token after the other, a call for each, and the state's level that limits it.
    is_decode: bool,
}

/// Every family in both forms; a long one; and steps whose states lie in the first- and second-level cache.
pub(crate) fn all() -> Vec<Linear> {
    let mut all = Vec::new();
    for (stem, family) in FAMILIES {
        let case = |name: String, form, len| Linear {
            name,
            family,
            normalised: stem == "normalised",
            form,
            heads: 1,
            dim: 128,
            len,
            is_decode: false,
        };
        let name = |form, n| format!("linear_{stem}_{form}_hd128_n{n}");
        all.push(case(name("recurrent", 4096), Form::Recurrent, 4096));
        all.push(case(name("chunk", 4096), Form::Chunked, 4096));
        if ["simple_gla", "gated_delta"].contains(&stem) {
            all.push(case(name("chunk", 65536), Form::Chunked, 65536));
            for dim in [64, 128] {
                let name = format!("linear_{stem}_chunk_hd{dim}_h8_n1024");
                all.push(Linear { heads: 8, dim, ..case(name, Form::Chunked, 1024) });
            }
        }
        for (dim, heads, size) in [(64, 1, "l1"), (128, 8, "l2")] {
            let name = format!("linear_{stem}_decode_hd{dim}_{size}");
            let decode = case(name, Form::Recurrent, 1);
            all.push(Linear { heads, dim, is_decode: true, ..decode });
        }
    }
    all
}

/// What was seen of one.
pub(crate) struct Worked {
    pub(crate) time: Time,
    pub(crate) probed: Probed,
    pub(crate) entry: &'static str,
    pub(crate) flops: f64,
    /// Multiplications that cannot be avoided, twice: what the peak would do in that time.
    pub(crate) slots: f64,
    /// Bytes of states read and written, where they limit it.
    pub(crate) bytes: Option<usize>,
    pub(crate) scratch_bytes: usize,
    pub(crate) err_over_bound: f64,
}

/// Tensors of a case, head after head.
struct Tensors {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    gates: Vec<f32>,
    beta: Vec<f32>,
    bonus: Vec<f32>,
    low_rank: [Vec<f32>; 2],
}

impl Linear {
    fn shape(&self, len: usize) -> LinearShape {
        LinearShape { batch: 1, len, heads: LinearHeads::new(self.heads, self.dim) }
    }

    fn plan(&self, len: usize, level: Level) -> Result<LinearAttention<'static>, Error> {
        let plan = LinearAttention::new(self.shape(len), self.family)?.level(level)?;
        let plan = plan.form(self.form);
        match (self.normalised, self.family.rule) {
            (true, _) => plan.features(&EluPlusOne).normalised(0.0),
            (_, Rule::Delta) => plan.l2_normalised(1e-6),
            _ => Ok(plan),
        }
    }

    fn tensors(&self) -> Tensors {
        let shape = self.shape(self.len);
        let (wide, states) = (shape.k(), self.heads);
        let scaled = |dims, seed, by: f32, plus: f32| {
            numbers(dims, seed).map(|x| x * by + plus).collect::<Vec<_>>()
        };
        let small = 1.0 / (self.dim as f32).sqrt();
        let gates = match self.family.gate {
            Gate::Never => [0; 4],
            Gate::Head => [1, 1, states, 1],
            Gate::Token | Gate::Channel => shape.gates(self.family),
        };
        Tensors {
            q: scaled(wide, 1, 1.0, 0.0),
            k: scaled(wide, 2, small, 0.0),
            v: scaled(shape.v(), 3, 1.0, 0.0),
            gates: scaled(gates, 4, 0.05, -0.05),
            beta: scaled(shape.per_state(1), 5, 0.5, 0.5),
            bonus: scaled([1, 1, states, self.dim], 6, 1.0, 0.0),
            low_rank: [7, 8].map(|seed| scaled(wide, seed, 0.5 * small, 0.0)),
        }
    }

    /// The first tokens of the tensors.
    fn inputs<'a>(
        &self,
        tensors: &'a Tensors,
        shape: LinearShape,
    ) -> Result<LinearInputs<'a>, Error> {
        let first = |data: &'a [f32], dims: [usize; 4]| {
            let strides = Strides::by_head([1, self.len, dims[2], dims[3]])?;
            View::strided(data, dims, strides)
        };
        let Tensors { q, k, v, gates, beta, bonus, low_rank: [a, b] } = tensors;
        let wide = shape.per_state(self.dim);
        let inputs =
            LinearInputs::new(first(q, shape.q())?, first(k, shape.k())?, first(v, shape.v())?);
        let inputs = match self.family.gate {
            Gate::Never => inputs,
            Gate::Head => inputs.decay(gates),
            Gate::Token | Gate::Channel => inputs.gates(first(gates, shape.gates(self.family))?),
        };
        Ok(match self.family.rule {
            Rule::Add => inputs,
            Rule::Bonus => inputs.bonus(bonus),
            Rule::Delta => inputs.beta(first(beta, shape.per_state(1))?),
            Rule::LowRank => inputs.low_rank(first(a, wide)?, first(b, wide)?),
        })
    }

    /// Times it on a level, and judges what it writes.
    pub(crate) fn run(
        &self,
        level: Level,
        effort: Effort,
        probes: &mut Probes,
    ) -> Result<Row, Error> {
        let (shape, plan, tensors) =
            (self.shape(self.len), self.plan(self.len, level)?, self.tensors());
        let err_over_bound = self.judge(&tensors, level)?;
        let mut states = Aligned::zeros(Memory::len(&shape)?);
        let mut sums = vec![0.0; Memory::normaliser_len(&shape)?];
        let mut o = vec![0.0; shape.o().iter().product()];
        let mut scratch = vec![0.0; plan.scratch_len()];
        let inputs = self.inputs(&tensors, shape)?;
        let mut call = || {
            let strides = Strides::by_head(shape.o())?;
            let outputs = LinearOutputs::new(ViewMut::strided(&mut o, shape.o(), strides)?);
            let memory = Memory::new(states.numbers(), &shape)?;
            let memory =
                if self.normalised { memory.normaliser(&mut sums, &shape)? } else { memory };
            plan.bind(inputs, outputs, memory, &mut scratch)?.run();
            Ok::<(), Error>(())
        };
        call()?;
        let bytes = self.is_decode.then_some(2 * size_of::<f32>() * Memory::len(&shape)?);
        let mut probe = || match bytes {
            Some(bytes) => probes.update(bytes / 2).best(probes.peak(level)),
            None => probes.peak(level),
        };
        let before = probe();
        let time = time_at_least(effort.fewest, effort.budget, || call().expect("called before"));
        let probed = before.best(probe());
        let per_number = match self.family.rule {
            Rule::Add | Rule::Bonus => 4,
            Rule::Delta => 6,
            Rule::LowRank => 8,
        };
        let flops = (self.len * self.heads * self.dim * self.dim * per_number) as f64;
        // A product for each of: decay, what is looked for, what is learnt, what is read.
        let decays = usize::from(self.family.gate != Gate::Never);
        let products = decays + per_number / 2;
        let slots = (self.len * self.heads * self.dim * self.dim * 2 * products) as f64;
        let (entry, scratch_bytes) = (plan.entry().name(), size_of_val(&scratch[..]));
        let worked =
            Worked { time, probed, entry, flops, slots, bytes, scratch_bytes, err_over_bound };
        Ok(Row::of_linear(&self.name, level, worked))
    }

    /// The largest share of its bound that an error of the first tokens of the first head takes; `f64::MAX` without a bound.
    fn judge(&self, tensors: &Tensors, level: Level) -> Result<f64, Error> {
        let len = self.len.min(JUDGED);
        let (shape, plan, dim) = (self.shape(len), self.plan(len, level)?, self.dim);
        let mut states = vec![0.0_f32; Memory::len(&shape)?];
        let mut sums = vec![0.0; Memory::normaliser_len(&shape)?];
        let mut o = vec![0.0; shape.o().iter().product()];
        let mut scratch = vec![0.0; plan.scratch_len()];
        let strides = Strides::by_head(shape.o())?;
        let outputs = LinearOutputs::new(ViewMut::strided(&mut o, shape.o(), strides)?);
        let memory = Memory::new(&mut states, &shape)?;
        let memory = if self.normalised { memory.normaliser(&mut sums, &shape)? } else { memory };
        plan.bind(self.inputs(tensors, shape)?, outputs, memory, &mut scratch)?.run();

        let Tensors { q, k, v, gates, beta, bonus, low_rank: [a, b] } = tensors;
        let (wide, zeros) = (len * dim, vec![0.0; dim * dim]);
        let problem = exact::Problem {
            d_k: dim,
            d_v: dim,
            q: &q[..wide],
            k: &k[..wide],
            v: &v[..wide],
            gate: match self.family.gate {
                Gate::Never => exact::Gate::None,
                Gate::Head => exact::Gate::Head(gates[0]),
                Gate::Token => exact::Gate::Token(&gates[..len]),
                Gate::Channel => exact::Gate::Channel(&gates[..wide]),
            },
            rule: match self.family.rule {
                Rule::Add => exact::Rule::Add,
                Rule::Bonus => exact::Rule::Bonus(&bonus[..dim]),
                Rule::Delta => exact::Rule::Delta(&beta[..len]),
                Rule::LowRank => exact::Rule::LowRank { a: &a[..wide], b: &b[..wide] },
            },
            features: if self.normalised {
                exact::Features::EluPlusOne
            } else {
                exact::Features::Identity
            },
            l2: (self.family.rule == Rule::Delta).then_some(1e-6),
            scale: 1.0 / (dim as f64).sqrt(),
            state: &zeros,
            normaliser: self.normalised.then_some(exact::Normaliser {
                eps: 0.0,
                z: &zeros[..dim],
                z_abs: &zeros[..dim],
            }),
        };
        let chunk = if self.form == Form::Chunked { flashlet::CHUNK } else { 1 };
        let (output, state) = (oracle::Format::F32, oracle::Format::F32);
        let arithmetic = exact::Arithmetic { fused: level.is_fused(), chunk, output, state };
        let certificate = exact::certify(&problem, arithmetic);
        let shares = o.iter().zip(certificate.o.iter().zip(&certificate.o_bound)).map(
            |(o, (exact, bound))| {
                let error = (f64::from(*o) - exact).abs();
                // No error at all needs no bound; NaN is no share of one.
                match error / bound {
                    _ if error == 0.0 => 0.0,
                    share if bound.is_finite() && share.is_finite() => share,
                    _ => f64::MAX,
                }
            },
        );
        Ok(shares.fold(0.0, f64::max))
    }
}

/// Numbers that begin at a line of the caches, as a state should.
struct Aligned(Vec<f32>, usize, usize);

impl Aligned {
    fn zeros(len: usize) -> Self {
        let numbers = vec![0.0; len + 16];
        let first = numbers.as_ptr().align_offset(64);
        Aligned(numbers, first, len)
    }

    fn numbers(&mut self) -> &mut [f32] {
        &mut self.0[self.1..self.1 + self.2]
    }
}
