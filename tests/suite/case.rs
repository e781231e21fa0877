//! One attention problem, run by the kernels and judged by the oracle.

use flashlet::entry::Entry;
use flashlet::{
    AnyView, AnyViewMut, Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Precision, Shape,
    Strides, View, ViewMut, Window,
};
use half::{bf16, f16};
use oracle::{Arithmetic, Form, Format, Pair, Problem, Verdict};
use std::fmt::Display;

/// A mask by its definition: what the oracle asks, pair by pair.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    /// Position of query 0; `None`: bottom-right.
    pub(crate) offset: Option<i64>,
    pub(crate) causal: bool,
    pub(crate) window: Option<Reach>,
    pub(crate) sinks: usize,
}

/// How far a window reaches, in the two ways to say it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    Keys(usize),
    Span(usize, usize),
}

impl Rule {
    pub(crate) fn full() -> Self {
        Rule { offset: Some(0), ..Rule::default() }
    }

    pub(crate) fn causal(offset: i64) -> Self {
        Rule { offset: Some(offset), causal: true, ..Rule::default() }
    }

    pub(crate) fn windowed(self, window: Reach) -> Self {
        Rule { window: Some(window), ..self }
    }

    pub(crate) fn with_sinks(self, sinks: usize) -> Self {
        Rule { sinks, ..self }
    }

    pub(crate) fn mask(&self) -> Mask {
        let offset = self.offset.map_or(Offset::BOTTOM_RIGHT, Offset::at);
        let window = match self.window {
            None => Window::span(usize::MAX, usize::MAX),
            Some(Reach::Keys(keys)) => Window::keys(keys),
            Some(Reach::Span(left, right)) => Window::span(left, right),
        };
        let mask =
            if self.causal { Mask::causal(offset) & window } else { Mask::window(offset, window) };
        mask.sinks(self.sinks)
    }

    /// The definition, in wide integers and with no cleverness.
    pub(crate) fn sees(&self, q_len: usize, visible_len: usize, i: usize, j: usize) -> bool {
        let offset = self.offset.map_or(visible_len as i128 - q_len as i128, i128::from);
        let (p, j) = (i as i128 + offset, j as i128);
        let (left, right) = match self.window {
            None => (i128::MAX / 2, i128::MAX / 2),
            Some(Reach::Keys(keys)) => (keys as i128 - 1, 0),
            Some(Reach::Span(left, right)) => (left as i128, right as i128),
        };
        j < visible_len as i128
            && (!self.causal || j <= p)
            && j <= p + right
            && (j >= p - left || j < self.sinks as i128)
    }
}

/// A whole problem: packed tensors, a mask, visible lengths.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) shape: Shape,
    pub(crate) rule: Rule,
    pub(crate) scale: Option<f64>,
    pub(crate) kv_lens: Option<Vec<usize>>,
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    /// A logit for each query head, or none.
    pub(crate) sinks: Vec<f32>,
}

/// What a call wrote.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) o: Vec<f32>,
    pub(crate) lse: Vec<f32>,
}

impl Output {
    /// Panics at the first number whose bits differ.
    #[track_caller]
    pub(crate) fn assert_same(&self, expected: &Output, what: impl Display) {
        assert_same_bits(&self.o, &expected.o, format_args!("{what}: o"));
        assert_same_bits(&self.lse, &expected.lse, format_args!("{what}: lse"));
    }
}

/// Panics at the first number whose bits differ: a whole tensor would hide it.
#[track_caller]
pub(crate) fn assert_same_bits(got: &[f32], expected: &[f32], what: impl Display) {
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
    if let Some(at) = got.iter().zip(expected).position(differs) {
        let (a, b) = (got[at], expected[at]);
        let (bits_a, bits_b) = (a.to_bits(), b.to_bits());
        panic!("{what}[{at}]: {a:e} ({bits_a:08x}), expected {b:e} ({bits_b:08x})");
    }
}

/// `len` numbers of about N(0, 1), the same for the same seed.
pub(crate) fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| (0..12).map(|_| random.f32()).sum::<f32>() - 6.0).collect()
}

pub(crate) fn shape(q_len: usize, kv_len: usize, heads: Heads) -> Shape {
    Shape { batch: 1, q_len, kv_len, heads }
}

impl Case {
    pub(crate) fn random(shape: Shape, rule: Rule, seed: u64) -> Self {
        let len = |dims: [usize; 4]| dims.iter().product();
        Case {
            shape,
            rule,
            scale: None,
            kv_lens: None,
            q: normal(len(shape.q()), seed),
            k: normal(len(shape.k()), seed ^ 0x9e37),
            v: normal(len(shape.v()), seed ^ 0x79b9),
            sinks: Vec::new(),
        }
    }

    pub(crate) fn views(&self) -> (View<'_>, View<'_>, View<'_>) {
        let q = View::packed(&self.q, self.shape.q()).unwrap();
        let k = View::packed(&self.k, self.shape.k()).unwrap();
        (q, k, View::packed(&self.v, self.shape.v()).unwrap())
    }

    pub(crate) fn inputs(&self) -> Inputs<'_> {
        let (q, k, v) = self.views();
        Inputs::new(q, k, v).kv_lens(self.kv_lens.as_deref())
    }

    pub(crate) fn visible_len(&self, b: usize) -> usize {
        self.kv_lens.as_ref().map_or(self.shape.kv_len, |lens| lens[b])
    }

    pub(crate) fn sees(&self, b: usize, i: usize, j: usize) -> bool {
        self.rule.sees(self.shape.q_len, self.visible_len(b), i, j)
    }

    pub(crate) fn plan(&self) -> Attention<'static> {
        let plan = Attention::new(self.shape, self.rule.mask()).unwrap();
        self.scale.map_or(plan.clone(), |scale| plan.scale(scale))
    }

    pub(crate) fn run_on(&self, level: Level) -> Output {
        self.run(&self.plan().level(level).unwrap())
    }

    pub(crate) fn run_entry(&self, entry: Entry) -> Output {
        self.run(&self.plan_of(entry))
    }

    pub(crate) fn plan_of(&self, entry: Entry) -> Attention<'static> {
        let plan = Attention::with_entry(self.shape, self.rule.mask(), entry).unwrap();
        self.scale.map_or(plan.clone(), |scale| plan.scale(scale))
    }

    /// Runs a plan; every output starts as NaN, so an element never written shows.
    pub(crate) fn run(&self, plan: &Attention) -> Output {
        let mut output = self.unwritten();
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let mut outputs = output.as_outputs(self.shape);
        if !self.sinks.is_empty() {
            outputs = outputs.sinks(&self.sinks);
        }
        plan.bind(self.inputs(), outputs, &mut scratch).unwrap().run();
        output
    }

    pub(crate) fn unwritten(&self) -> Output {
        let len = self.shape.o().iter().product();
        Output { o: vec![f32::NAN; len], lse: vec![f32::NAN; self.shape.rows()] }
    }

    /// The same for the oracle, where a pair is visible if `visible` says so.
    pub(crate) fn problem<'a>(&'a self, visible: &'a dyn Fn(Pair) -> bool) -> Problem<'a> {
        let Shape { batch, q_len, kv_len, heads } = self.shape;
        let shape = oracle::Shape {
            batch,
            q_len,
            kv_len,
            q_heads: heads.q,
            kv_heads: heads.kv,
            head_dim: heads.dim,
            v_dim: heads.v_dim,
        };
        let scale = self.scale.unwrap_or(1.0 / (heads.dim as f64).sqrt());
        let Case { q, k, v, sinks, .. } = self;
        Problem { shape, scale, q, k, v, visible, sinks, modify: None, beside: None }
    }

    pub(crate) fn certify(&self, arithmetic: &Arithmetic, output: &Output) -> Verdict {
        let visible = |Pair { b, i, j }: Pair| self.sees(b, i, j);
        let problem = self.problem(&visible);
        oracle::certify(&problem, arithmetic, Form::Running, &output.o, Some(&output.lse))
    }

    /// Panics unless every element is within its certified bound, and every element has one.
    pub(crate) fn assert_certified(&self, entry: &Entry, output: &Output) {
        self.assert_certified_as(entry, arithmetic_of(entry), output);
    }

    /// As [`Case::assert_certified`], for an arithmetic that says more than the entry.
    pub(crate) fn assert_certified_as(
        &self,
        entry: &Entry,
        arithmetic: Arithmetic,
        output: &Output,
    ) {
        let verdict = self.certify(&arithmetic, output);
        let Case { shape, rule, kv_lens, .. } = self;
        assert!(
            verdict.holds() && verdict.uncertified == 0,
            "{} {shape:?} {rule:?} {kv_lens:?}: {verdict}",
            entry.name()
        );
    }
}

pub(crate) fn arithmetic_of(entry: &Entry) -> Arithmetic {
    match (entry.precision(), entry.level().is_fused()) {
        (Precision::Bf16Products, _) => Arithmetic::bf16_products(entry.tile_k()),
        (_, true) => Arithmetic::fused(entry.tile_k()),
        (_, false) => Arithmetic::unfused(entry.tile_k()),
    }
}

impl Output {
    pub(crate) fn as_outputs(&mut self, shape: Shape) -> Outputs<'_> {
        Outputs::new(ViewMut::packed(&mut self.o, shape.o()).unwrap()).lse(&mut self.lse[..])
    }
}

/// The generated and the generic entries of every level of this machine that fit some heads.
pub(crate) fn entries_for(heads: Heads) -> impl Iterator<Item = Entry> {
    Level::available().flat_map(move |level| {
        let generated = Entry::generated(level).iter().filter(move |pair| pair[0].fits(heads));
        generated.copied().chain([Entry::generic(level, heads)]).flatten()
    })
}

/// The entries of this machine that multiply bf16 pairs; says so if there are none.
pub(crate) fn pair_entries() -> Vec<Entry> {
    let entries = Level::ALL.into_iter().flat_map(Entry::generated_pairs);
    let entries: Vec<Entry> = entries.copied().filter(Entry::is_available).collect();
    if entries.is_empty() {
        println!("skipped: no entry for bf16 pairs, or no processor for one");
    }
    entries
}

pub(crate) const FORMATS: [Format; 3] = [Format::F32, Format::F16, Format::Bf16];

/// Numbers as they are stored.
#[derive(Clone, Debug)]
pub(crate) enum Tensor {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Tensor {
    /// Rounded by the crate `half`.
    pub(crate) fn rounded(x: &[f32], format: Format) -> Self {
        let x = x.iter().copied();
        match format {
            Format::F32 => Tensor::F32(x.collect()),
            Format::F16 => Tensor::F16(x.map(f16::from_f32).collect()),
            Format::Bf16 => Tensor::Bf16(x.map(bf16::from_f32).collect()),
        }
    }

    /// Widened by the crate `half`.
    pub(crate) fn widened(&self) -> Vec<f32> {
        match self {
            Tensor::F32(x) => x.clone(),
            Tensor::F16(x) => x.iter().map(|x| x.to_f32()).collect(),
            Tensor::Bf16(x) => x.iter().map(|x| x.to_f32()).collect(),
        }
    }

    pub(crate) fn view(&self, dims: [usize; 4], strides: Strides) -> AnyView<'_> {
        match self {
            Tensor::F32(x) => View::strided(x, dims, strides).unwrap().into(),
            Tensor::F16(x) => View::strided(x, dims, strides).unwrap().into(),
            Tensor::Bf16(x) => View::strided(x, dims, strides).unwrap().into(),
        }
    }

    pub(crate) fn view_mut(&mut self, dims: [usize; 4], strides: Strides) -> AnyViewMut<'_> {
        match self {
            Tensor::F32(x) => ViewMut::strided(x, dims, strides).unwrap().into(),
            Tensor::F16(x) => ViewMut::strided(x, dims, strides).unwrap().into(),
            Tensor::Bf16(x) => ViewMut::strided(x, dims, strides).unwrap().into(),
        }
    }
}

/// Where rows lie: the axes batch, token, head in one of six orders, with gaps, the innermost first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) order: usize,
    pub(crate) gaps: [usize; 3],
}

impl Layout {
    /// Strides, and elements in all.
    fn strides(self, dims: [usize; 4]) -> (Strides, usize) {
        const ORDERS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let mut strides = [0; 3];
        let mut extent = dims[3];
        for (axis, gap) in ORDERS[self.order % 6].into_iter().rev().zip(self.gaps) {
            strides[axis] = extent + gap;
            extent = strides[axis] * dims[axis].max(1);
        }
        let [batch, token, head] = strides;
        (Strides { batch, token, head }, extent)
    }
}

/// A packed tensor laid out anew, with NaN in the gaps.
pub(crate) struct Scattered {
    pub(crate) data: Vec<f32>,
    pub(crate) strides: Strides,
}

impl Scattered {
    pub(crate) fn of(packed: &[f32], dims: [usize; 4], layout: Layout) -> Self {
        let (strides, extent) = layout.strides(dims);
        let mut data = vec![f32::NAN; extent];
        for (at, row) in packed.chunks_exact(dims[3]).enumerate() {
            data[Self::start(strides, dims, at)..][..dims[3]].copy_from_slice(row);
        }
        Scattered { data, strides }
    }

    /// Where row `at` of the packed tensor begins.
    fn start(strides: Strides, dims: [usize; 4], at: usize) -> usize {
        let (h, i, b) = (at % dims[2], at / dims[2] % dims[1], at / dims[2] / dims[1]);
        b * strides.batch + i * strides.token + h * strides.head
    }
}

/// How a case is handed to a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage {
    /// Of queries, keys, values and outputs.
    pub(crate) formats: [Format; 4],
    pub(crate) layouts: [Layout; 4],
}

impl Storage {
    pub(crate) fn packed(formats: [Format; 4]) -> Self {
        Storage { formats, layouts: [Layout::default(); 4] }
    }
}

impl Case {
    /// The same case of numbers that these formats hold.
    pub(crate) fn rounded_to(&self, [q, k, v]: [Format; 3]) -> Self {
        let mut case = self.clone();
        case.q = Tensor::rounded(&self.q, q).widened();
        case.k = Tensor::rounded(&self.k, k).widened();
        case.v = Tensor::rounded(&self.v, v).widened();
        case
    }

    /// Runs a plan on tensors stored some way, with so many floats of scratch. The output comes back
    /// packed and widened; gaps must be left alone.
    pub(crate) fn run_stored(
        &self,
        plan: &Attention,
        Storage { formats, layouts }: Storage,
        scratch_len: usize,
    ) -> Output {
        let shape = self.shape;
        let store = |x: &[f32], dims, t: usize| {
            let Scattered { data, strides } = Scattered::of(x, dims, layouts[t]);
            (Tensor::rounded(&data, formats[t]), strides)
        };
        let Output { o, mut lse } = self.unwritten();
        let (q, q_strides) = store(&self.q, shape.q(), 0);
        let (k, k_strides) = store(&self.k, shape.k(), 1);
        let (v, v_strides) = store(&self.v, shape.v(), 2);
        let (mut o, o_strides) = store(&o, shape.o(), 3);
        let inputs = Inputs::new(
            q.view(shape.q(), q_strides),
            k.view(shape.k(), k_strides),
            v.view(shape.v(), v_strides),
        );
        let outputs = Outputs::new(o.view_mut(shape.o(), o_strides)).lse(&mut lse[..]);
        let mut scratch = vec![f32::NAN; scratch_len];
        let inputs = inputs.kv_lens(self.kv_lens.as_deref());
        plan.bind(inputs, outputs, &mut scratch).unwrap().run();
        let mut all = o.widened();
        let mut packed = Vec::new();
        for at in 0..shape.rows() {
            let start = Scattered::start(o_strides, shape.o(), at);
            let row = &mut all[start..start + shape.heads.v_dim];
            packed.extend_from_slice(row);
            row.fill(f32::NAN);
        }
        assert!(all.iter().all(|x| x.is_nan()), "a gap of the output was written");
        Output { o: packed, lse }
    }
}
