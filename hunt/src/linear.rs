//! Linear attention of any family, size, storage and data, cut into calls of either form that hand on their memory: every
//! call within the certified bound of the oracle, from the state that it was given; the same bits on all levels of a
//! class, in any number of parts, and however a stream is cut where no chunk is.

mod call;
mod judge;

use crate::floats::floats;
use crate::layout::Layout;
use crate::tensor::{FORMATS, Tensor, canonical};
use arbitrary::{Arbitrary, Result, Unstructured};
use call::{Kept, Tokens};
use flashlet::{
    CHUNK, EluPlusOne, ExpFeatures, Family, Form, Gate, HeadMap, Level, LinearAttention,
    LinearHeads, LinearShape, Memory, Relu, Rule, SquaredRelu,
};
use oracle::{Format, linear as exact};

const GATES: [Gate; 4] = [Gate::Never, Gate::Head, Gate::Token, Gate::Channel];
const RULES: [Rule; 4] = [Rule::Add, Rule::Bonus, Rule::Delta, Rule::LowRank];

#[derive(Debug)]
struct Case {
    family: Family,
    /// Of all calls together.
    shape: LinearShape,
    /// Tokens of each, one after the other, and its form.
    calls: Vec<(usize, Form)>,
    /// Shares of the work, on all levels of a class but the first.
    parts: usize,
    features: exact::Features,
    l2: Option<f32>,
    /// Outputs are normalised.
    eps: Option<f32>,
    scale: f64,
    output: Format,
    is_transposed: bool,
    /// Before the first call, `[batch, states, dim, v_dim]`.
    state: Tensor,
    decay: Vec<f32>,
    bonus: Vec<f32>,
    /// q, k, v, gates, beta, and a and b of the low rank.
    tensors: [Tensor; 7],
    /// Of these, and of outputs.
    layouts: [Layout; 8],
}

/// How strong gates are.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Strength {
    /// Factors near 1.
    Mild,
    /// -5 a token and beyond.
    Strong,
    /// Mild ones, and those that forget all.
    Resets,
    /// Any numbers, factors above 1 too.
    Any,
}

/// Judges one input. Input that is too short or too plain is completed.
pub fn run(data: &[u8]) {
    if let Ok(case) = Case::decode(&mut Unstructured::new(data)) {
        case.run();
    }
}

impl Strength {
    fn gate(self, x: f32) -> f32 {
        match self {
            Strength::Mild => -0.1 * x.abs(),
            Strength::Strong => -5.0 - x.abs(),
            Strength::Resets if x > 1.5 => f32::NEG_INFINITY,
            Strength::Resets => -0.3 * x.abs(),
            Strength::Any => x,
        }
    }
}

fn heads(u: &mut Unstructured<'_>) -> Result<LinearHeads> {
    let states = u.int_in_range(1..=2)?;
    let [k, v] = *u.choose(&[[states; 2], [states; 2], [1, states], [states, 1]])?;
    let q = *u.choose(&[states, 2 * states, 1])?;
    let map = if u.arbitrary()? { HeadMap::Grouped } else { HeadMap::Modulo };
    let widths = [1, 2, 3, 5, 8, 16, 17, 24];
    Ok(LinearHeads { q, k, v, dim: *u.choose(&widths)?, v_dim: *u.choose(&widths)?, map })
}

fn calls(u: &mut Unstructured<'_>) -> Result<Vec<(usize, Form)>> {
    let forms = [Form::Recurrent, Form::Chunked];
    let alike = *u.choose(&[Some(forms[0]), Some(forms[1]), None])?;
    let mut calls = Vec::new();
    for _ in 0..u.int_in_range(1..=4)? {
        let any = u.int_in_range(0..=20)?;
        let len = *u.choose(&[0, 1, CHUNK, CHUNK, 2 * CHUNK, any, any, any])?;
        let form = if let Some(form) = alike { form } else { *u.choose(&forms)? };
        calls.push((len, form));
    }
    Ok(calls)
}

impl Case {
    fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        use exact::Features::{EluPlusOne, Exp, Identity, Relu, SquaredRelu};
        let family = Family { gate: *u.choose(&GATES)?, rule: *u.choose(&RULES)? };
        let (heads, calls) = (heads(u)?, calls(u)?);
        let len = calls.iter().map(|(len, _)| len).sum();
        let shape = LinearShape { batch: u.int_in_range(1..=2)?, len, heads };
        let parts = u.int_in_range(1..=3)?;
        let features = *u.choose(&[Identity, Identity, EluPlusOne, Relu, SquaredRelu, Exp])?;
        let l2 = *u.choose(&[None, None, Some(0.0), Some(1e-6), Some(1.0)])?;
        let eps = *u.choose(&[None, Some(0.0), Some(1e-6), Some(1.0)])?;
        let eps = eps.filter(|_| family.rule == Rule::Add);
        let unit = 1.0 / (heads.dim as f32).sqrt();
        let scale = *u.choose(&[f64::from(unit), 1.0, 16.0, 1e-4, -1.0])?;
        let alike = *u.choose(&[Some(0), Some(0), Some(1), Some(2), None])?;
        let mut format = || -> Result<Format> {
            alike.map_or_else(|| u.choose(&FORMATS).copied(), |n| Ok(FORMATS[n]))
        };
        let [output, in_memory] = [format()?, format()?];
        let mut formats = [Format::F32; 7];
        for to in &mut formats {
            *to = format()?;
        }
        let mut layouts = [Layout::default(); 8];
        for layout in &mut layouts {
            *layout = Layout::decode(u)?;
        }
        let is_transposed = u.arbitrary()?;
        let (strength, is_tame): (Strength, bool) = (u.arbitrary()?, u.ratio(3, 4)?);
        let spread = u.int_in_range(0..=40)? - 20;
        let state = Memory::len(&shape).expect("a small shape");
        let state = if u.arbitrary()? { floats(u, state, spread)? } else { vec![0.0; state] };
        let tame = |t: usize, x: f32| match t {
            3 => strength.gate(x),
            1 if is_tame => x * unit,
            4 if is_tame => (0.5 + 0.25 * x).clamp(0.0, 1.0),
            5 | 6 if is_tame => 0.6 * x * unit,
            _ => x,
        };
        let decay = floats(u, heads.states(), spread)?.iter().map(|x| tame(3, *x)).collect();
        let bonus = floats(u, heads.states() * heads.dim, spread)?;
        let dims = dims_of(shape, family);
        let mut tensors = dims.map(|_| Tensor::F32(Vec::new()));
        // Narrow ones first: the input may end before the last.
        for t in [4, 3, 1, 0, 2, 5, 6] {
            let x = floats(u, dims[t].iter().product(), spread)?;
            let x: Vec<f32> = x.into_iter().map(|x| tame(t, x)).collect();
            tensors[t] = Tensor::rounded(&x, formats[t]);
        }
        let state = Tensor::rounded(&state, in_memory);
        Ok(Case {
            family,
            shape,
            calls,
            parts,
            features,
            l2,
            eps,
            scale,
            output,
            is_transposed,
            state,
            decay,
            bonus,
            tensors,
            layouts,
        })
    }

    /// Judges it on every level.
    fn run(&self) {
        for fused in [false, true] {
            let mut first = None;
            for level in Level::available().filter(|level| level.is_fused() == fused) {
                let Some(first) = &first else {
                    let bits = self.stream(level, 1, &self.calls, true);
                    if let Some(form) = self.form_of_one_call() {
                        let whole = self.stream(level, 1, &[(self.shape.len, form)], true);
                        self.assert_same(&bits, &whole, level, "cut into calls");
                    }
                    first = Some(bits);
                    continue;
                };
                let bits = self.stream(level, self.parts, &self.calls, false);
                self.assert_same(first, &bits, level, "within its class");
            }
        }
    }

    fn assert_same(&self, a: &[u32], b: &[u32], level: Level, what: &str) {
        let differs = a.iter().zip(b).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{level} differs {what}: {self:?}");
    }

    /// If all calls in one must have the same bits, its form.
    fn form_of_one_call(&self) -> Option<Form> {
        let form = self.calls.first()?.1;
        let is_alike = self.calls.iter().all(|(_, other)| *other == form);
        // Where calls begin, but for those after the end.
        let cuts = self.calls.iter().scan(0, |at, (len, _)| Some(std::mem::replace(at, *at + len)));
        let mut cuts = cuts.filter(|at| *at < self.shape.len);
        let is_cut = form == Form::Chunked && cuts.any(|at| at % CHUNK != 0);
        let is_whole = matches!(self.state, Tensor::F32(_)) && is_alike && !is_cut;
        (self.calls.len() > 1 && is_whole).then_some(form)
    }

    /// One call after the other; the bits of all outputs and of what is left.
    fn stream(
        &self,
        level: Level,
        parts: usize,
        calls: &[(usize, Form)],
        is_judged: bool,
    ) -> Vec<u32> {
        let (mut kept, mut first) = (Kept::of(self), 0);
        let mut rows = vec![Vec::new(); self.shape.batch];
        for (len, form) in calls {
            let tokens = Tokens::of(self, first..first + len, *form);
            let before = kept.clone();
            let o = tokens.run(level, parts, &mut kept);
            if is_judged {
                tokens.judge(level, &before, &o, &kept);
                tokens.assert_learns_alone(level, &before, &kept);
            }
            let each = o.len() / self.shape.batch;
            for (b, rows) in rows.iter_mut().enumerate() {
                rows.extend_from_slice(&o[b * each..(b + 1) * each]);
            }
            first += len;
        }
        rows.concat().into_iter().chain(kept.floats()).map(canonical).collect()
    }

    /// The plan of a call.
    fn plan(&self, shape: LinearShape, form: Form, level: Level) -> LinearAttention<'static> {
        let plan = LinearAttention::new(shape, self.family).and_then(|plan| plan.level(level));
        let plan = plan.expect("a good shape").scale(self.scale).form(form);
        let plan = match self.features {
            exact::Features::Identity => plan,
            exact::Features::EluPlusOne => plan.features(&EluPlusOne),
            exact::Features::Relu => plan.features(&Relu),
            exact::Features::SquaredRelu => plan.features(&SquaredRelu),
            exact::Features::Exp => plan.features(&ExpFeatures),
        };
        let plan = match self.l2 {
            Some(eps) => plan.l2_normalised(eps).expect("an epsilon that is not negative"),
            None => plan,
        };
        match self.eps {
            Some(eps) => plan.normalised(eps).expect("a rule that can be"),
            None => plan,
        }
    }
}

/// The shapes of [`Case::tensors`].
fn dims_of(shape: LinearShape, family: Family) -> [[usize; 4]; 7] {
    let (one, wide) = (shape.per_state(1), shape.per_state(shape.heads.dim));
    [shape.q(), shape.k(), shape.v(), shape.gates(family), one, wide, wide]
}
