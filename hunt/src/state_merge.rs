//! A row cut into parts, each reduced to a state, merged in any order: within the bound of the whole.

use crate::feedback;
use crate::floats::{floats, size};
use crate::told;
use arbitrary::{Result, Unstructured};
use flashlet::{
    Attention, Heads, Inputs, Level, Mask, Offset, Precision, Shape, State, View, ViewMut,
};
use oracle::{Form, Pair, Problem};
use std::ops::Range;

#[derive(Debug)]
struct Case {
    shape: Shape,
    causal: bool,
    scale: f64,
    /// Ends of parts, ascending; the last one is `kv_len`.
    ends: Vec<usize>,
    /// At each merge which of the states that are left takes which.
    order: Vec<(u8, u8)>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

/// Judges one input.
pub fn run(data: &[u8]) {
    if let Ok(case) = Case::decode(&mut Unstructured::new(data)) {
        Level::available().for_each(|level| case.judge(level));
    }
}

impl Case {
    fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        let kv = u.int_in_range(1..=2)?;
        let q = kv * u.int_in_range(1..=3)?;
        let dim = *u.choose(&[1, 2, 4, 16, 33])?;
        let heads = Heads { q, kv, dim, v_dim: *u.choose(&[1, 3, 16, 20])? };
        let (q_len, kv_len) = (size(u, 1, 6)?, size(u, 1, 240)?);
        let shape = Shape { batch: 1, q_len, kv_len, heads };
        let causal = u.arbitrary()?;
        let scale = *u.choose(&[1.0 / (dim as f64).sqrt(), 1.0, 16.0, -1.0])?;
        let mut ends = vec![kv_len];
        for _ in 0..u.int_in_range(0..=6)? {
            // Equal ends make empty parts.
            ends.push(u.int_in_range(0..=kv_len)?);
        }
        ends.sort_unstable();
        let order = (1..ends.len()).map(|_| u.arbitrary()).collect::<Result<_>>()?;
        let spread = u.int_in_range(0..=40)? - 20;
        let mut tensor = |dims: [usize; 4]| floats(u, dims.iter().product(), spread);
        let (q, k, v) = (tensor(shape.q())?, tensor(shape.k())?, tensor(shape.v())?);
        Ok(Case { shape, causal, scale, ends, order, q, k, v })
    }

    fn judge(&self, level: Level) {
        let mask = if self.causal { Mask::causal(Offset::BOTTOM_RIGHT) } else { Mask::full() };
        let plan = Attention::new(self.shape, mask).and_then(|plan| plan.level(level));
        let plan = plan.expect("a good shape").scale(self.scale);
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let parts = starts.zip(&self.ends).map(|(start, end)| start..*end);
        let mut states: Vec<Vec<f32>> = parts.map(|keys| self.part(&plan, keys)).collect();
        for (taker, taken) in &self.order {
            let mut taken = states.remove(usize::from(*taken) % states.len());
            let taker = usize::from(*taker) % states.len();
            let other = self.state(&mut taken);
            self.state(&mut states[taker]).merge(&other).expect("states of one shape");
        }
        // An empty state, merged last, must not change a bit, but for those of NaN, which Rust leaves open.
        let mut empty = vec![f32::NAN; State::storage_len(&self.shape).expect("a good shape")];
        let empty = State::empty(&mut empty, &self.shape).expect("its storage");
        let before = states[0].clone();
        self.state(&mut states[0]).merge(&empty).expect("states of one shape");
        let same = |a: &f32, b: &f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        let is_same = before.iter().zip(&states[0]).all(|(a, b)| same(a, b));
        assert!(is_same, "an empty state changed another at {level}: {self:?}");
        self.judge_whole(&plan, &mut states[0]);
    }

    fn state<'s>(&self, storage: &'s mut [f32]) -> State<'s> {
        State::from_storage(storage, &self.shape).expect("its storage")
    }

    /// The state of some keys.
    fn part(&self, plan: &Attention, keys: Range<usize>) -> Vec<f32> {
        let shape = &self.shape;
        let mut storage = vec![f32::NAN; State::storage_len(shape).expect("a good shape")];
        let mut state = State::empty(&mut storage, shape).expect("its storage");
        let view = |x, dims| View::packed(x, dims).expect("packed");
        let (q, k) = (view(&self.q, shape.q()), view(&self.k, shape.k()));
        let inputs = Inputs::new(q, k, view(&self.v, shape.v()));
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let plan = plan.keys(keys).expect("keys that there are");
        plan.bind_state(inputs, &mut state, &mut scratch).expect("views of the plan").run();
        storage
    }

    fn judge_whole(&self, plan: &Attention, storage: &mut [f32]) {
        let Shape { q_len, kv_len, .. } = self.shape;
        let mut o = vec![f32::NAN; self.shape.o().iter().product()];
        let mut lse = vec![f32::NAN; self.shape.rows()];
        let view = ViewMut::packed(&mut o, self.shape.o()).expect("packed");
        self.state(storage).finish(view, Some(&mut lse)).expect("an output of its shape");
        let offset = kv_len as i64 - q_len as i64;
        let visible = |Pair { i, j, .. }: Pair| !self.causal || j as i64 <= i as i64 + offset;
        let problem = Problem {
            shape: told::shape(self.shape),
            scale: self.scale,
            q: &self.q,
            k: &self.k,
            v: &self.v,
            visible: &visible,
            sinks: &[],
            modify: None,
            beside: None,
        };
        let level = plan.entry().level();
        let arithmetic = told::arithmetic(Precision::F32, level).split(self.ends.len());
        let verdict = oracle::certify(&problem, &arithmetic, Form::Running, &o, Some(&lse));
        feedback::judged(&verdict, || format!("{level}\n{self:?}"));
    }
}
