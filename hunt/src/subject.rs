//! What can be judged beside flashlet: any implementation of attention, by a trait of two functions.

use crate::told;
use flashlet::{Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Precision, View, ViewMut};
use half::{bf16, f16};
use oracle::{Arithmetic, Form, Format, Pair, Problem, Shape, Verdict};

/// One call: contiguous tensors, and who sees whom.
#[derive(Clone, Debug)]
pub struct Case {
    /// Lengths of the axes.
    pub shape: Shape,
    /// Factor of every score.
    pub scale: f64,
    /// Whether a query sees only keys up to its own position, the last query being that of the last key.
    pub causal: bool,
    /// Queries `[batch, q_len, q_heads, head_dim]`.
    pub q: Vec<f32>,
    /// Keys `[batch, kv_len, kv_heads, head_dim]`.
    pub k: Vec<f32>,
    /// Values `[batch, kv_len, kv_heads, v_dim]`.
    pub v: Vec<f32>,
}

/// An implementation of attention.
///
/// # Example
/// ```
/// use hunt::climb::{Limits, climb};
/// use hunt::subject::{Naive, Subject};
///
/// // Without a maximum taken off, large scores overflow: a climb sees it soon.
/// let limits = Limits { evaluations: 20_000, patience: 500, ..Limits::default() };
/// let found = climb(&Naive, &limits, 1);
/// assert!(!found.verdict.holds());
/// ```
pub trait Subject {
    /// What a report calls it.
    fn name(&self) -> String;
    /// The arithmetic that it claims to have: its errors are judged by the bound of that.
    fn arithmetic(&self) -> Arithmetic;
    /// How tensors are stored: numbers are rounded to that before either side sees them.
    fn stored(&self) -> Format {
        Format::F32
    }
    /// `o [batch, q_len, q_heads, v_dim]` and, if it gives one, `lse [batch, q_heads, q_len]`.
    fn attend(&self, case: &Case) -> (Vec<f32>, Option<Vec<f32>>);
}

impl Case {
    /// The same with all numbers rounded to a format.
    pub fn rounded(mut self, format: Format) -> Self {
        for x in self.q.iter_mut().chain(&mut self.k).chain(&mut self.v) {
            *x = round(*x, format);
        }
        self
    }

    /// Hands it to `read` as the oracle reads it.
    pub fn read<R>(&self, read: impl FnOnce(&Problem<'_>) -> R) -> R {
        let Shape { q_len, kv_len, .. } = self.shape;
        let behind = kv_len as i64 - q_len as i64;
        let visible = |Pair { i, j, .. }: Pair| !self.causal || j as i64 <= i as i64 + behind;
        read(&Problem {
            shape: self.shape,
            scale: self.scale,
            q: &self.q,
            k: &self.k,
            v: &self.v,
            visible: &visible,
            sinks: &[],
            modify: None,
            beside: None,
        })
    }

    /// What the oracle says of what a subject makes of it.
    pub fn judge(&self, subject: &dyn Subject) -> Verdict {
        let (o, lse) = subject.attend(self);
        let arithmetic = subject.arithmetic();
        self.read(|problem| {
            oracle::certify(problem, &arithmetic, Form::Running, &o, lse.as_deref())
        })
    }
}

fn round(x: f32, format: Format) -> f32 {
    match format {
        Format::F32 => x,
        Format::F16 => f16::from_f32(x).to_f32(),
        Format::Bf16 => bf16::from_f32(x).to_f32(),
    }
}

/// This crate's kernels on a level.
#[derive(Clone, Copy, Debug)]
pub struct Flashlet {
    /// The level, which the processor must have.
    pub level: Level,
    /// How all tensors are stored.
    pub stored: Format,
    /// How products are made.
    pub precision: Precision,
}

impl Subject for Flashlet {
    fn name(&self) -> String {
        let products = match self.precision {
            Precision::F32 => String::new(),
            other => format!(", {other:?}"),
        };
        let stored = format!("{:?}", self.stored).to_lowercase();
        format!("flashlet {} {stored}{products}", self.level)
    }

    fn arithmetic(&self) -> Arithmetic {
        told::arithmetic(self.precision, self.level).stored_as(self.stored)
    }

    fn stored(&self) -> Format {
        self.stored
    }

    fn attend(&self, case: &Case) -> (Vec<f32>, Option<Vec<f32>>) {
        match self.stored {
            Format::F32 => self.run(case, |x| x, |x| x),
            Format::F16 => self.run(case, f16::from_f32, f16::to_f32),
            Format::Bf16 => self.run(case, bf16::from_f32, bf16::to_f32),
        }
    }
}

impl Flashlet {
    fn run<T: flashlet::Elem>(
        &self,
        case: &Case,
        store: impl Fn(f32) -> T,
        widen: impl Fn(T) -> f32,
    ) -> (Vec<f32>, Option<Vec<f32>>) {
        let Shape { batch, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim } = case.shape;
        let heads = Heads { q: q_heads, kv: kv_heads, dim: head_dim, v_dim };
        let shape = flashlet::Shape { batch, q_len, kv_len, heads };
        let mask = if case.causal { Mask::causal(Offset::BOTTOM_RIGHT) } else { Mask::full() };
        let plan = Attention::new(shape, mask).and_then(|plan| plan.level(self.level));
        let plan = plan.expect("a good shape").scale(case.scale).precision(self.precision);
        let tensor = |x: &[f32]| -> Vec<T> { x.iter().map(|x| store(*x)).collect() };
        let (q, k, v) = (tensor(&case.q), tensor(&case.k), tensor(&case.v));
        let mut o = vec![store(f32::NAN); shape.o().iter().product()];
        let mut lse = vec![f32::NAN; shape.rows()];
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let view = |x, dims| View::packed(x, dims).expect("packed");
        let inputs = Inputs::new(view(&q, shape.q()), view(&k, shape.k()), view(&v, shape.v()));
        let outputs = ViewMut::packed(&mut o, shape.o()).expect("packed");
        let outputs = Outputs::new(outputs).lse(&mut lse[..]);
        plan.bind(inputs, outputs, &mut scratch).expect("views of the plan").run();
        (o.into_iter().map(widen).collect(), Some(lse))
    }
}

/// Softmax as it is written in books, in one pass: nothing is taken off the scores. It must be caught.
#[derive(Clone, Copy, Debug)]
pub struct Naive;

/// Attention with a running maximum whose sums are kept in bf16. It must be caught.
#[derive(Clone, Copy, Debug)]
pub struct Bf16Sums;

impl Subject for Naive {
    fn name(&self) -> String {
        "one pass without a maximum".into()
    }
    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::unfused(flashlet::TILE_K)
    }
    fn attend(&self, case: &Case) -> (Vec<f32>, Option<Vec<f32>>) {
        (plain(case, false, |x| x), None)
    }
}

impl Subject for Bf16Sums {
    fn name(&self) -> String {
        "sums in bf16".into()
    }
    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::unfused(flashlet::TILE_K)
    }
    fn attend(&self, case: &Case) -> (Vec<f32>, Option<Vec<f32>>) {
        (plain(case, true, |x| round(x, Format::Bf16)), None)
    }
}

/// Attention in plain loops; `keep` is what a sum is stored as after each key.
fn plain(case: &Case, takes_off: bool, keep: impl Fn(f32) -> f32) -> Vec<f32> {
    let Shape { batch, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim } = case.shape;
    let mut o = vec![0.0; batch * q_len * q_heads * v_dim];
    for (row, o) in o.chunks_exact_mut(v_dim).enumerate() {
        let (b, i, h) = (row / q_heads / q_len, row / q_heads % q_len, row % q_heads);
        let q = &case.q[row * head_dim..][..head_dim];
        let seen = if case.causal { (i + kv_len + 1).saturating_sub(q_len) } else { kv_len };
        let place = |j: usize| (b * kv_len + j) * kv_heads + h / (q_heads / kv_heads);
        let scores: Vec<f32> = (0..seen)
            .map(|j| {
                let products = q.iter().zip(&case.k[place(j) * head_dim..]).map(|(q, k)| q * k);
                products.sum::<f32>() * case.scale as f32
            })
            .collect();
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (max, mut l) = (if takes_off { max } else { 0.0 }, 0.0);
        for (j, s) in scores.iter().enumerate() {
            let p = (s - max).exp();
            l = keep(l + p);
            for (o, v) in o.iter_mut().zip(&case.v[place(j) * v_dim..]) {
                *o = keep(*o + p * v);
            }
        }
        o.iter_mut().for_each(|o| *o = if l == 0.0 { 0.0 } else { *o / l });
    }
    o
}
