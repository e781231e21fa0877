//! Attention of the last queries of sequences over caches, and its judgement.

use crate::feedback;
use crate::tensor::canonical;
use crate::told;
use arbitrary::{Result, Unstructured};
use flashlet::{
    Attention, Cached, Error, Heads, Inputs, Level, Mask, Offset, Outputs, Precision, Shape, View,
    ViewMut, Window,
};
use half::bf16;
use oracle::{Arithmetic, Form, Pair, Problem};

/// What a query at the end of a sequence sees: so many keys, itself among them, and the first ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    window: Option<usize>,
    sinks: usize,
}

impl Sight {
    pub(crate) fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        let window = if u.arbitrary()? { Some(u.int_in_range(1..=40)?) } else { None };
        Ok(Sight { window, sinks: u.int_in_range(0..=5)? })
    }

    fn mask(self) -> Mask {
        let causal = Mask::causal(Offset::BOTTOM_RIGHT);
        let windowed = self.window.map_or(causal, |keys| causal & Window::keys(keys));
        windowed.sinks(self.sinks)
    }

    /// Whether query `i` of the last `q_len` ones sees key `j` of `len`.
    pub(crate) fn sees(self, (i, q_len): (usize, usize), j: usize, len: usize) -> bool {
        let Some(at) = (len + i).checked_sub(q_len) else { return false };
        j <= at && (self.window.is_none_or(|keys| j + keys > at) || j < self.sinks)
    }
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) heads: Heads,
    pub(crate) q_len: usize,
    pub(crate) sight: Sight,
    pub(crate) scale: f64,
    pub(crate) level: Level,
    pub(crate) precision: Precision,
}

/// Outputs and their log-sum-exps.
pub(crate) type Output = (Vec<f32>, Vec<f32>);

/// What an output holds before it is written.
pub(crate) const UNWRITTEN: f32 = 12345.5;

/// The first number whose bits differ, NaNs being alike, and both.
pub(crate) fn difference(a: &[f32], b: &[f32]) -> Option<(usize, f32, f32)> {
    assert_eq!(a.len(), b.len(), "lengths");
    let at = a.iter().zip(b).position(|(a, b)| canonical(*a) != canonical(*b))?;
    Some((at, a[at], b[at]))
}

impl Call {
    pub(crate) fn shape(&self, batch: usize, kv_len: usize) -> Shape {
        Shape { batch, q_len: self.q_len, kv_len, heads: self.heads }
    }

    pub(crate) fn plan(&self, shape: Shape) -> Attention<'static> {
        let plan = Attention::new(shape, self.sight.mask()).and_then(|plan| plan.level(self.level));
        plan.expect("a good shape").scale(self.scale).precision(self.precision)
    }

    /// Over a cache. What is refused leaves outputs as they were.
    pub(crate) fn cached(
        &self,
        q: &[f32],
        cache: &dyn Cached,
    ) -> std::result::Result<Output, Error> {
        let shape = self.shape(cache.batch(), cache.kv_len());
        let q = View::packed(q, shape.q()).expect("packed");
        self.run(shape, Inputs::cached(q, cache))
    }

    /// Over f32 tensors of one sequence.
    pub(crate) fn listed(&self, q: &[f32], [k, v]: [&[f32]; 2], kv_len: usize) -> Output {
        let shape = self.shape(1, kv_len);
        let view = |x, dims| View::packed(x, dims).expect("packed");
        let inputs = Inputs::new(view(q, shape.q()), view(k, shape.k()), view(v, shape.v()));
        self.run(shape, inputs).expect("tensors hide nothing")
    }

    fn run(&self, shape: Shape, inputs: Inputs<'_>) -> std::result::Result<Output, Error> {
        let plan = self.plan(shape);
        let mut o = vec![UNWRITTEN; shape.o().iter().product()];
        let mut lse = vec![UNWRITTEN; shape.rows()];
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).expect("packed"));
        let bound = plan.bind(inputs, outputs.lse(&mut lse[..]), &mut scratch);
        match bound.map(|job| job.run()) {
            Ok(()) => Ok((o, lse)),
            Err(error) => {
                assert!(o.iter().chain(&lse).all(|x| *x == UNWRITTEN), "{error}, and yet written");
                Err(error)
            }
        }
    }

    /// Which roundings there are, of products in f32.
    pub(crate) fn arithmetic(&self) -> Arithmetic {
        told::arithmetic(Precision::F32, self.level)
    }

    /// The problem of one sequence, as the oracle reads it.
    pub(crate) fn problem<'a>(
        &self,
        kv_len: usize,
        visible: &'a dyn Fn(Pair) -> bool,
        [q, k, v]: [&'a [f32]; 3],
    ) -> Problem<'a> {
        let shape = told::shape(self.shape(1, kv_len));
        let (scale, sinks) = (self.scale, &[][..]);
        Problem { shape, scale, q, k, v, visible, sinks, modify: None, beside: None }
    }

    /// Judges a call of products in f32, or of bf16 if it may be and is, over one sequence of numbers as they are kept.
    pub(crate) fn judge(
        &self,
        numbers: [&[f32]; 3],
        kv_len: usize,
        (o, lse): &Output,
        case: impl Fn() -> String,
    ) {
        let is_bf16 = self.multiplies_bf16(kv_len);
        let precision = if is_bf16 { Precision::Bf16Products } else { Precision::F32 };
        let arithmetic = told::arithmetic(precision, self.level);
        let read = |x: &f32| if is_bf16 { bf16::from_f32(*x).to_f32() } else { *x };
        let [q, k, v] = numbers.map(|x| x.iter().map(read).collect::<Vec<f32>>());
        let visible = |Pair { i, j, .. }: Pair| self.sight.sees((i, self.q_len), j, kv_len);
        let problem = self.problem(kv_len, &visible, [&q, &k, &v]);
        let verdict = oracle::certify(&problem, &arithmetic, Form::Running, o, Some(lse));
        feedback::judged(&verdict, || format!("{self:?}\n{}", case()));
    }

    /// Whether it makes a class of bits of its own.
    pub(crate) fn multiplies_bf16(&self, kv_len: usize) -> bool {
        self.plan(self.shape(1, kv_len)).entry().precision() == Precision::Bf16Products
    }
}
