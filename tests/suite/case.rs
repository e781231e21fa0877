//! One attention problem, run by the kernels and judged by the oracle.

use flashlet::entry::Entry;
use flashlet::{
    Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Shape, View, ViewMut, Window,
};
use oracle::{Arithmetic, Form, Pair, Problem, Verdict};

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
}

/// What a call wrote.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) o: Vec<f32>,
    pub(crate) lse: Vec<f32>,
}

impl Output {
    pub(crate) fn bits(&self) -> (Vec<u32>, Vec<u32>) {
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect();
        (bits(&self.o), bits(&self.lse))
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

    pub(crate) fn plan(&self) -> Attention {
        let plan = Attention::new(self.shape, self.rule.mask()).unwrap();
        self.scale.map_or(plan.clone(), |scale| plan.scale(scale))
    }

    pub(crate) fn run_on(&self, level: Level) -> Output {
        self.run(&self.plan().level(level).unwrap())
    }

    pub(crate) fn run_entry(&self, entry: Entry) -> Output {
        let plan = Attention::with_entry(self.shape, self.rule.mask(), entry).unwrap();
        self.run(&self.scale.map_or(plan.clone(), |scale| plan.scale(scale)))
    }

    /// Runs a plan; every output starts as NaN, so an element never written shows.
    pub(crate) fn run(&self, plan: &Attention) -> Output {
        let mut output = self.unwritten();
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        plan.bind(self.inputs(), output.as_outputs(self.shape), &mut scratch).unwrap().run();
        output
    }

    pub(crate) fn unwritten(&self) -> Output {
        let len = self.shape.o().iter().product();
        Output { o: vec![f32::NAN; len], lse: vec![f32::NAN; self.shape.rows()] }
    }

    pub(crate) fn certify(&self, arithmetic: &Arithmetic, output: &Output) -> Verdict {
        let Shape { batch, q_len, kv_len, heads } = self.shape;
        let problem = Problem {
            shape: oracle::Shape {
                batch,
                q_len,
                kv_len,
                q_heads: heads.q,
                kv_heads: heads.kv,
                head_dim: heads.dim,
                v_dim: heads.v_dim,
            },
            scale: self.scale.unwrap_or(1.0 / (heads.dim as f64).sqrt()),
            q: &self.q,
            k: &self.k,
            v: &self.v,
            visible: &|Pair { b, i, j }| self.sees(b, i, j),
        };
        oracle::certify(&problem, arithmetic, Form::Running, &output.o, Some(&output.lse))
    }

    /// Panics unless every element is within its certified bound, and every element has one.
    pub(crate) fn assert_certified(&self, entry: &Entry, output: &Output) {
        let arithmetic = arithmetic_of(entry);
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
    if entry.level().is_fused() {
        Arithmetic::fused(entry.tile_k())
    } else {
        Arithmetic::unfused(entry.tile_k())
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
