//! Attention under any shape, mask and data: every level within the certified bound of the f64
//! oracle, all levels of a class equal to the bit, NaN where the definition says NaN.

use arbitrary::{Arbitrary, Result, Unstructured};
use flashlet::{
    Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Shape, View, ViewMut, Window,
};
use oracle::{Arithmetic, Form, Pair, Problem};

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
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

/// Judges one input. Input that is too short or too plain is completed with zeros.
pub(crate) fn run(data: &[u8]) {
    let Ok(case) = Case::decode(&mut Unstructured::new(data)) else { return };
    for fused in [false, true] {
        let mut first = None;
        for level in Level::available().filter(|level| level.is_fused() == fused) {
            let (o, lse) = case.attend(level);
            let bits: Vec<u32> = o.iter().chain(&lse).map(|x| canonical(*x)).collect();
            match &first {
                None => {
                    case.judge(level, &o, &lse);
                    first = Some(bits);
                }
                Some(first) => {
                    assert_eq!(*first, bits, "{level} differs within its class: {case:?}")
                }
            }
        }
    }
}

/// Bits, all NaNs alike: which NaN comes out is not promised.
fn canonical(x: f32) -> u32 {
    if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }
}

impl Case {
    fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        let kv = u.int_in_range(1..=3)?;
        let heads = Heads {
            q: kv * u.int_in_range(1..=4)?,
            kv,
            dim: *u.choose(&[1, 2, 3, 4, 8, 17, 32, 64])?,
            v_dim: *u.choose(&[1, 2, 5, 8, 32, 64])?,
        };
        let shape = Shape {
            batch: u.int_in_range(1..=2)?,
            q_len: u.int_in_range(0..=20)?,
            kv_len: u.int_in_range(0..=230)?,
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
        let mut tensor = |dims: [usize; 4]| -> Result<Vec<f32>> {
            let mut x: Vec<f32> = Vec::new();
            for _ in 0..dims.iter().product() {
                x.push(float(u, x.last().copied(), spread)?);
            }
            Ok(x)
        };
        let (q, k, v) = (tensor(shape.q())?, tensor(shape.k())?, tensor(shape.v())?);
        Ok(Case { shape, rule, kv_lens, scale, q, k, v })
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
            && (!causal || j <= p)
            && j <= p + right as i128
            && (j >= p - left as i128 || j < sinks as i128)
    }

    fn attend(&self, level: Level) -> (Vec<f32>, Vec<f32>) {
        let shape = self.shape;
        let plan =
            Attention::new(shape, self.mask()).and_then(|plan| plan.scale(self.scale).level(level));
        let plan = plan.expect("a good shape");
        let mut o = vec![f32::NAN; shape.o().iter().product()];
        let mut lse = vec![f32::NAN; shape.rows()];
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let inputs = Inputs::new(
            View::packed(&self.q, shape.q()).expect("packed"),
            View::packed(&self.k, shape.k()).expect("packed"),
            View::packed(&self.v, shape.v()).expect("packed"),
        )
        .kv_lens(&self.kv_lens[..]);
        let view = ViewMut::packed(&mut o, shape.o()).expect("packed");
        let outputs = Outputs::new(view).lse(&mut lse[..]);
        plan.bind(inputs, outputs, &mut scratch).expect("views of the plan's shape").run();
        (o, lse)
    }

    fn judge(&self, level: Level, o: &[f32], lse: &[f32]) {
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
        let visible = |pair| self.sees(pair);
        let (q, k, v) = (&self.q, &self.k, &self.v);
        let problem = Problem { shape, scale: self.scale, q, k, v, visible: &visible };
        let arithmetic = if level.is_fused() {
            Arithmetic::fused(flashlet::TILE_K)
        } else {
            Arithmetic::unfused(flashlet::TILE_K)
        };
        let verdict = oracle::certify(&problem, &arithmetic, Form::Running, o, Some(lse));
        assert!(verdict.holds(), "{level}: {verdict}\n{self:?}");
    }
}

/// A number by class: uniform bit patterns would waste most inputs on magnitudes that mean nothing.
fn float(u: &mut Unstructured<'_>, neighbour: Option<f32>, spread: i32) -> Result<f32> {
    // An exhausted input gives zeros for ever: let it go on with small numbers instead.
    if u.is_empty() {
        return Ok(neighbour.map_or(0.5, |x| (x * 0.7 + 0.3).clamp(-2.0, 2.0)));
    }
    let class: u8 = u.arbitrary()?;
    let fraction = f32::from(u.arbitrary::<i8>()?) / 64.0;
    Ok(match class {
        0..=199 => fraction,
        200..=223 => fraction * 2.0_f32.powi(spread),
        224..=239 => neighbour.unwrap_or(fraction),
        240 => fraction * 1e30,
        241 => fraction * 1e-30,
        242 => fraction * 1e-41,
        243 => f32::INFINITY,
        244 => f32::NEG_INFINITY,
        245 => f32::NAN,
        246 => f32::from_bits(0x7fc0_0001),
        247 => -0.0,
        248 => f32::MAX,
        _ => 0.0,
    })
}
