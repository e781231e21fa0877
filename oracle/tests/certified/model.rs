//! The kernel's algorithm in scalar f32, as `src/bound.rs` states it in sections 0 and 9, and wrong versions of it.

use oracle::{Arithmetic, Pair, Problem, Products};

use crate::narrow::{Order, stored, to_bf16};

/// What makes a model wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// The last visible key is not seen.
    LastKeyDropped,
    /// `l` does not take part in the rescaling.
    LNotRescaled,
    /// Weights are rounded to bf16 before they meet V, not before they are summed.
    WeightsInBf16,
    /// The running maximum starts at 0, not at -inf.
    MaxStartsAtZero,
    /// The output is cut off to bf16, not rounded.
    OutputCutOff,
}

/// What the bound does not ask about products of bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) order: Order,
    pub(crate) pairs: Pairs,
}

/// Which keys share a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// Keys 2t and 2t + 1.
    EvenAndOdd,
    /// Visible neighbours, from the first that the tile has.
    Neighbours,
    /// None.
    Alone,
}

impl Steps {
    /// One of all.
    pub(crate) fn pick(seed: u64) -> Self {
        let seed = seed as usize;
        let pairs = [Pairs::EvenAndOdd, Pairs::Neighbours, Pairs::Alone];
        Self { order: Order::ALL[seed % 4], pairs: pairs[seed / 4 % 3] }
    }
}

/// A model kernel.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) arithmetic: Arithmetic,
    /// Where the keys are cut: `splits - 1` ascending indices.
    pub(crate) cuts: Vec<usize>,
    pub(crate) defect: Option<Defect>,
    pub(crate) steps: Steps,
}

/// A partial result: `m = max s`, `l = sum 2^(s - m)`, `o = sum 2^(s - m) v`.
#[derive(Clone)]
struct State {
    m: f32,
    l: f32,
    o: Vec<f32>,
}

impl Model {
    pub(crate) fn new(arithmetic: Arithmetic) -> Self {
        Self { arithmetic, cuts: Vec::new(), defect: None, steps: Steps::pick(0) }
    }

    /// `o [batch, q_len, q_heads, v_dim]` and `lse [batch, q_heads, q_len]`.
    pub(crate) fn run(&self, problem: &Problem) -> (Vec<f32>, Vec<f32>) {
        let shape = problem.shape;
        let mut o = vec![f32::NAN; shape.batch * shape.q_len * shape.q_heads * shape.v_dim];
        let mut lse = vec![f32::NAN; shape.batch * shape.q_len * shape.q_heads];
        for b in 0..shape.batch {
            for i in 0..shape.q_len {
                for h in 0..shape.q_heads {
                    let (row_o, row_lse) = self.row(problem, b, i, h);
                    let index = (b * shape.q_len + i) * shape.q_heads + h;
                    o[index * shape.v_dim..][..shape.v_dim].copy_from_slice(&row_o);
                    lse[(b * shape.q_heads + h) * shape.q_len + i] = row_lse;
                }
            }
        }
        (o, lse)
    }

    fn row(&self, problem: &Problem, b: usize, i: usize, h: usize) -> (Vec<f32>, f32) {
        let mut ends = self.cuts.clone();
        ends.push(problem.shape.kv_len);
        let mut start = 0;
        let mut states: Vec<State> = Vec::new();
        for end in ends {
            states.push(self.state(problem, b, i, h, start..end));
            start = end;
        }
        // A tree, with an odd one left over: neither the shallowest nor the deepest order.
        while states.len() > 1 {
            states = states.chunks(2).map(|pair| self.merge(pair)).collect();
        }
        let (mut o, lse) = finish(&states[0]);
        o.iter_mut().for_each(|o| *o = self.store(*o));
        (o, lse)
    }

    fn state(
        &self,
        problem: &Problem,
        b: usize,
        i: usize,
        h: usize,
        keys: std::ops::Range<usize>,
    ) -> State {
        let shape = problem.shape;
        let g = h / (shape.q_heads / shape.kv_heads);
        let c_hat = (problem.scale * std::f64::consts::LOG2_E) as f32;
        let q = &problem.q[((b * shape.q_len + i) * shape.q_heads + h) * shape.head_dim..]
            [..shape.head_dim];

        let mut seen: Vec<usize> = keys.filter(|&j| (problem.visible)(Pair { b, i, j })).collect();
        if self.defect == Some(Defect::LastKeyDropped) {
            seen.pop();
        }
        let m = if self.defect == Some(Defect::MaxStartsAtZero) { 0.0 } else { f32::NEG_INFINITY };
        let mut state = State { m, l: 0.0, o: vec![0.0; shape.v_dim] };
        for tile in seen.chunk_by(|a, b| a / self.arithmetic.tile_k == b / self.arithmetic.tile_k) {
            let row = |j: usize| (b * shape.kv_len + j) * shape.kv_heads + g;
            let k: Vec<&[f32]> = tile
                .iter()
                .map(|&j| &problem.k[row(j) * shape.head_dim..][..shape.head_dim])
                .collect();
            let s = self.scores(c_hat, q, &k);
            let v: Vec<&[f32]> =
                tile.iter().map(|&j| &problem.v[row(j) * shape.v_dim..][..shape.v_dim]).collect();
            self.absorb(&mut state, tile, &s, &v);
        }
        state
    }

    /// `c <q, k_j>`.
    fn scores(&self, c_hat: f32, q: &[f32], k: &[&[f32]]) -> Vec<f32> {
        match self.arithmetic.products {
            Products::F32 => {
                let q: Vec<f32> = q.iter().map(|q| q * c_hat).collect();
                k.iter().map(|k| self.dot(&q, k)).collect()
            }
            Products::Bf16 => k.iter().map(|k| self.dot_in_pairs(q, k) * c_hat).collect(),
        }
    }

    /// One tile of visible keys.
    fn absorb(&self, state: &mut State, keys: &[usize], s: &[f32], v: &[&[f32]]) {
        let m = s.iter().copied().fold(state.m, f32::max);
        let correction = self.exp2(state.m - m);
        state.m = m;

        let in_bf16 = self.arithmetic.products == Products::Bf16;
        let only_for_o = self.defect == Some(Defect::WeightsInBf16);
        let exact: Vec<f32> = s.iter().map(|s| self.exp2(s - m)).collect();
        let round = if in_bf16 || only_for_o { to_bf16 } else { |p| p };
        let p: Vec<f32> = exact.iter().map(|&p| round(p)).collect();
        let l: f32 = if only_for_o { &exact } else { &p }.iter().sum();
        let part = if in_bf16 { self.sum_in_pairs(keys, &p, v) } else { self.sum(&p, v) };

        let l_correction = if self.defect == Some(Defect::LNotRescaled) { 1.0 } else { correction };
        state.l = self.multiply_add(state.l, l_correction, l);
        for (o, part) in state.o.iter_mut().zip(part) {
            *o = self.multiply_add(*o, correction, part);
        }
    }

    fn merge(&self, states: &[State]) -> State {
        let [a, b] = states else {
            return states[0].clone();
        };
        let m = a.m.max(b.m);
        if m == f32::NEG_INFINITY {
            return a.clone();
        }
        let (c_a, c_b) = (self.exp2(a.m - m), self.exp2(b.m - m));
        let weigh = |a: f32, b: f32| self.multiply_add(c_a, a, c_b * b);
        State {
            m,
            l: weigh(a.l, b.l),
            o: a.o.iter().zip(&b.o).map(|(&a, &b)| weigh(a, b)).collect(),
        }
    }

    fn dot(&self, q: &[f32], k: &[f32]) -> f32 {
        q.iter().zip(k).fold(0.0, |s, (&q, &k)| self.multiply_add(k, q, s))
    }

    fn dot_in_pairs(&self, q: &[f32], k: &[f32]) -> f32 {
        q.chunks(2).zip(k.chunks(2)).fold(0.0, |s, (q, k)| match (q, k) {
            (&[q0, q1], &[k0, k1]) => self.steps.order.dp(s, [q0, q1], [k0, k1]),
            _ => self.steps.order.dp(s, [q[0], 0.0], [k[0], 0.0]),
        })
    }

    /// `sum_j p_j v_j`.
    fn sum(&self, p: &[f32], v: &[&[f32]]) -> Vec<f32> {
        let mut sum = vec![0.0; v[0].len()];
        for (&p, v) in p.iter().zip(v) {
            for (sum, &v) in sum.iter_mut().zip(*v) {
                *sum = self.multiply_add(p, v, *sum);
            }
        }
        sum
    }

    fn sum_in_pairs(&self, keys: &[usize], p: &[f32], v: &[&[f32]]) -> Vec<f32> {
        let Steps { order, pairs } = self.steps;
        let mut sum = vec![0.0; v[0].len()];
        let mut n = 0;
        while n < keys.len() {
            let shared = n + 1 < keys.len()
                && match pairs {
                    Pairs::EvenAndOdd => keys[n] / 2 == keys[n + 1] / 2,
                    Pairs::Neighbours => true,
                    Pairs::Alone => false,
                };
            for (c, sum) in sum.iter_mut().enumerate() {
                *sum = if shared {
                    order.dp(*sum, [p[n], p[n + 1]], [v[n][c], v[n + 1][c]])
                } else {
                    order.dp(*sum, [p[n], 0.0], [v[n][c], 0.0])
                };
            }
            n += if shared { 2 } else { 1 };
        }
        sum
    }

    fn store(&self, o: f32) -> f32 {
        if self.defect == Some(Defect::OutputCutOff) {
            return f32::from_bits(o.to_bits() & 0xffff_0000);
        }
        stored(o, self.arithmetic.output)
    }

    fn multiply_add(&self, x: f32, y: f32, z: f32) -> f32 {
        if self.arithmetic.fused { x.mul_add(y, z) } else { x * y + z }
    }

    /// 2^x for x <= 0: round to the nearest integer, a polynomial of degree 6 on what is left, the exponent.
    ///
    /// The coefficients (numerics.md, section 2, "A6") are f32 bits of c1..c6; c0 = 1.
    pub(crate) fn exp2(&self, x: f32) -> f32 {
        const C: [u32; 6] =
            [0x3f31_7218, 0x3e75_fded, 0x3d63_5785, 0x3c1d_9748, 0x3aaf_a322, 0x3920_a378];
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves no bits for a fraction
        if x < -126.0 {
            return 0.0;
        }
        let integer = (x + ROUND) - ROUND;
        let f = x - integer;
        let polynomial =
            C.iter().rev().fold(0.0, |sum, &c| self.multiply_add(sum, f, f32::from_bits(c)));
        let power = f32::from_bits(((integer as i32 + 127) << 23) as u32);
        self.multiply_add(polynomial, f, 1.0) * power
    }
}

fn finish(state: &State) -> (Vec<f32>, f32) {
    if state.l == 0.0 {
        return (vec![0.0; state.o.len()], f32::NEG_INFINITY);
    }
    let reciprocal = 1.0 / state.l;
    let o = state.o.iter().map(|o| o * reciprocal).collect();
    (o, state.m * std::f32::consts::LN_2 + state.l.ln())
}

/// The bound takes E's error from where every f32 was tried, on kernels. This is every 97th, on the model.
#[test]
fn exp2_is_as_accurate_as_the_bound_assumes() {
    for arithmetic in [Arithmetic::fused(1), Arithmetic::unfused(1)] {
        let ulps = arithmetic.exp2_error() / 2.0;
        let model = Model::new(arithmetic);
        assert_eq!(model.exp2(0.0), 1.0);
        assert_eq!(model.exp2(f32::NEG_INFINITY), 0.0);
        let mut worst = 0.0_f64;
        for bits in ((-0.0_f32).to_bits()..=(-126.0_f32).to_bits()).step_by(97) {
            let x = f32::from_bits(bits);
            let (got, exact) = (f64::from(model.exp2(x)), f64::from(x).exp2());
            let ulp = (exact.log2().floor() - 23.0).exp2();
            worst = worst.max((got - exact).abs() / ulp);
            assert!(got <= 1.0, "exp2({x:e}) = {got:e}");
        }
        println!("{arithmetic:?}: {worst:.4} ulp");
        assert!(worst <= ulps, "{arithmetic:?}: {worst} ulp > {ulps}");
    }
}
