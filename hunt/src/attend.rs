//! Attention under any shape, mask, storage and data: every level within the certified bound of the
//! f64 oracle, all levels of a class equal to the bit, NaN where the definition says NaN.

use crate::extras::Extras;
use crate::feedback;
use crate::floats::{floats, size};
use crate::layout::Layout;
use crate::tensor::{Tensor, canonical};
use crate::told;
use arbitrary::{Arbitrary, Result, Unstructured};
use flashlet::{Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Precision, Shape, Window};
use oracle::{Form, Format, Pair, Problem};

/// A mask, as the oracle reads it.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// `None`: bottom-right.
    offset: Option<i64>,
    causal: bool,
    left: usize,
    right: usize,
    sinks: usize,
}

#[derive(Debug)]
struct Case {
    shape: Shape,
    rule: Rule,
    kv_lens: Vec<usize>,
    scale: f64,
    precision: Precision,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Format,
    /// Of queries, keys, values and outputs.
    layouts: [Layout; 4],
    extras: Extras,
}

/// Judges one input. Input that is too short or too plain is completed with zeros.
/// With `extras`, a pattern, a modifier of scores and sinks come in front of the tensors.
pub fn run(data: &[u8], extras: bool) {
    if let Ok(case) = Case::decode(&mut Unstructured::new(data), extras) {
        case.run();
    }
}

impl Case {
    /// Judges it on every level.
    fn run(&self) {
        for fused in [false, true] {
            let mut first = None;
            for level in Level::available().filter(|level| level.is_fused() == fused) {
                let plan = self.plan(level);
                let pattern = self.extras.pattern();
                let plan = match &pattern {
                    Some(pattern) => plan.only(pattern).expect("a good pattern"),
                    None => plan,
                };
                let (o, lse) = self.extras.modified(&plan, |plan| self.attend(plan));
                if plan.entry().precision() == Precision::Bf16Products {
                    // A class of its own.
                    self.judge(&plan, &o, &lse);
                    continue;
                }
                let bits: Vec<u32> = o.iter().chain(&lse).map(|x| canonical(*x)).collect();
                match &first {
                    None => {
                        self.judge(&plan, &o, &lse);
                        first = Some(bits);
                    }
                    Some(first) => {
                        let differs = first.iter().zip(&bits).position(|(a, b)| a != b);
                        assert_eq!(differs, None, "{level} differs within its class: {self:?}");
                    }
                }
            }
        }
    }

    fn decode(u: &mut Unstructured<'_>, extras: bool) -> Result<Self> {
        let kv = u.int_in_range(1..=3)?;
        let heads = Heads {
            q: kv * u.int_in_range(1..=4)?,
            kv,
            dim: *u.choose(&[1, 2, 3, 4, 8, 17, 32, 64])?,
            v_dim: *u.choose(&[1, 2, 5, 8, 32, 64])?,
        };
        let shape = Shape {
            batch: u.int_in_range(1..=2)?,
            q_len: size(u, 0, 20)?,
            kv_len: size(u, 0, 230)?,
            heads,
        };
        let rule = Rule {
            offset: Option::<i16>::arbitrary(u)?.map(i64::from),
            causal: u.arbitrary()?,
            left: if u.arbitrary()? { u.int_in_range(0..=120)? } else { usize::MAX },
            right: if u.arbitrary()? { u.int_in_range(0..=120)? } else { usize::MAX },
            sinks: u.int_in_range(0..=120)?,
        };
        let lens = (0..shape.batch).map(|_| u.int_in_range(0..=shape.kv_len));
        let kv_lens = lens.collect::<Result<_>>()?;
        let scale = *u.choose(&[1.0 / (heads.dim as f64).sqrt(), 1.0, 16.0, 1e-4, -1.0])?;
        let spread = u.int_in_range(0..=40)? - 20;
        // All alike, or any mix.
        let formats = [Format::F32, Format::F16, Format::Bf16];
        let alike = *u.choose(&[Some(0), Some(0), Some(1), Some(2), None])?;
        let mut format = || -> Result<Format> {
            alike.map_or_else(|| u.choose(&formats).copied(), |n| Ok(formats[n]))
        };
        let [q_format, k_format, v_format, output] = [format()?, format()?, format()?, format()?];
        let precision = *u.choose(&[Precision::F32, Precision::Bf16Products])?;
        let mut layouts = [Layout::default(); 4];
        for layout in &mut layouts {
            *layout = Layout::decode(u)?;
        }
        let extras = if extras { Extras::decode(u, shape)? } else { Extras::default() };
        let mut tensor = |dims: [usize; 4], format| -> Result<Tensor> {
            Ok(Tensor::rounded(&floats(u, dims.iter().product(), spread)?, format))
        };
        let q = tensor(shape.q(), q_format)?;
        let (k, v) = (tensor(shape.k(), k_format)?, tensor(shape.v(), v_format)?);
        Ok(Case { shape, rule, kv_lens, scale, precision, q, k, v, output, layouts, extras })
    }

    fn mask(&self) -> Mask {
        let Rule { offset, causal, left, right, sinks } = self.rule;
        let offset = offset.map_or(Offset::BOTTOM_RIGHT, Offset::at);
        let window = Window::span(left, right);
        let mask =
            if causal { Mask::causal(offset) & window } else { Mask::window(offset, window) };
        mask.sinks(sinks)
    }

    /// The definition of the mask, in wide integers.
    fn sees(&self, Pair { b, i, j }: Pair) -> bool {
        let Rule { offset, causal, left, right, sinks } = self.rule;
        let len = self.kv_lens[b] as i128;
        let offset = offset.map_or(len - self.shape.q_len as i128, i128::from);
        let (p, j) = (i as i128 + offset, j as i128);
        j < len
            && self.extras.sees(i, p as i64, j as usize)
            && (!causal || j <= p)
            && j <= p + right as i128
            && (j >= p - left as i128 || j < sinks as i128)
    }

    fn plan(&self, level: Level) -> Attention<'static> {
        let plan = Attention::new(self.shape, self.mask()).and_then(|plan| plan.level(level));
        plan.expect("a good shape").scale(self.scale).precision(self.precision)
    }

    fn attend(&self, plan: &Attention) -> (Vec<f32>, Vec<f32>) {
        let shape = self.shape;
        let [q_layout, k_layout, v_layout, o_layout] = self.layouts;
        let q = self.q.spread(shape.q(), q_layout);
        let k = self.k.spread(shape.k(), k_layout);
        let v = self.v.spread(shape.v(), v_layout);
        let o = Tensor::rounded(&vec![f32::NAN; shape.o().iter().product()], self.output);
        let mut o = o.spread(shape.o(), o_layout);
        let mut lse = vec![f32::NAN; shape.rows()];
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let (q, k) = (q.view(shape.q(), q_layout), k.view(shape.k(), k_layout));
        let inputs = Inputs::new(q, k, v.view(shape.v(), v_layout)).kv_lens(&self.kv_lens[..]);
        let mut outputs = Outputs::new(o.view_mut(shape.o(), o_layout)).lse(&mut lse[..]);
        if !self.extras.sinks.is_empty() {
            outputs = outputs.sinks(&self.extras.sinks);
        }
        plan.bind(inputs, outputs, &mut scratch).expect("views of the plan's shape").run();
        (o.gathered(shape.o(), o_layout).widened(), lse)
    }

    fn judge(&self, plan: &Attention, o: &[f32], lse: &[f32]) {
        let visible = |pair| self.sees(pair);
        let modify = |Pair { b, i, j }: Pair, h: usize, score: f64| {
            let offset =
                self.rule.offset.unwrap_or(self.kv_lens[b] as i64 - self.shape.q_len as i64);
            self.extras.exact(i as i64 + offset - j as i64, h, score)
        };
        let entry = plan.entry();
        let arithmetic = told::arithmetic(entry.precision(), entry.level());
        // Pairs are made of what is stored, rounded to bf16.
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|tensor| match entry.precision() {
            Precision::Bf16Products => Tensor::rounded(&tensor.widened(), Format::Bf16).widened(),
            _ => tensor.widened(),
        });
        let (q, k, v) = (&q[..], &k[..], &v[..]);
        let problem = Problem {
            shape: told::shape(self.shape),
            scale: self.scale,
            q,
            k,
            v,
            visible: &visible,
            sinks: &self.extras.sinks,
            modify: Some(&modify),
            beside: None,
        };
        let arithmetic = arithmetic.stored_as(self.output);
        let verdict = oracle::certify(&problem, &arithmetic, Form::Running, o, Some(lse));
        feedback::judged(&verdict, || format!("{}\n{self:?}", entry.name()));
    }
}
