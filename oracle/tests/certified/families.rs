//! Seeded inputs: the families of numerics.md, table 1.5.

use oracle::{Arithmetic, Pair, Problem, Products, Shape};

use crate::narrow::to_bf16;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in `0..n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// N(0, 1), by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub(crate) fn normals(&mut self, n: usize, factor: f64) -> Vec<f32> {
        (0..n).map(|_| (factor * self.normal()) as f32).collect()
    }
}

/// What is peculiar about the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Normal,
    /// Queries x 8: few keys carry the weight.
    Peaked,
    /// Queries x 64: one key carries it.
    VeryPeaked,
    ConstantV,
    /// V = +-1e4, the sign alternating from key to key.
    AlternatingV,
    /// Every key scores higher than the one before: each tile rescales.
    Ascending,
    /// Large products that sum to small scores.
    Cancelling,
    /// One key draws nearly all the weight.
    Sink,
    /// V ~ 1e-38: products and results are subnormal.
    TinyV,
    /// V lognormal, spread over many orders of magnitude.
    LognormalV,
    /// All scores far below zero.
    VeryNegative,
    /// All scores far from zero, either side, by one amount for the row.
    Shifted,
    /// Scores so far apart that weights are flushed to zero.
    Flushed,
}

impl Family {
    pub(crate) const ALL: [Family; 13] = [
        Family::Normal,
        Family::Peaked,
        Family::VeryPeaked,
        Family::ConstantV,
        Family::AlternatingV,
        Family::Ascending,
        Family::Cancelling,
        Family::Sink,
        Family::TinyV,
        Family::LognormalV,
        Family::VeryNegative,
        Family::Shifted,
        Family::Flushed,
    ];

    /// Inputs of this family. The same seed gives the same case.
    pub(crate) fn case(self, shape: Shape, seed: u64) -> Case {
        let rng = &mut Rng(seed);
        let Shape { batch, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim } = shape;
        let mut q = rng.normals(batch * q_len * q_heads * head_dim, 1.0);
        let mut k = rng.normals(batch * kv_len * kv_heads * head_dim, 1.0);
        let mut v = rng.normals(batch * kv_len * kv_heads * v_dim, 1.0);
        let scale = 1.0 / (head_dim as f64).sqrt();
        match self {
            Family::Normal => {}
            Family::Peaked => q.iter_mut().for_each(|q| *q *= 8.0),
            Family::VeryPeaked => q.iter_mut().for_each(|q| *q *= 64.0),
            Family::ConstantV => v.fill(rng.normal() as f32),
            Family::AlternatingV => {
                for (j, v) in v.chunks_mut(kv_heads * v_dim).enumerate() {
                    v.fill(if j % 2 == 0 { 1e4 } else { -1e4 });
                }
            }
            Family::Ascending => set_first_channel(&mut q, &mut k, shape, |j| 0.5 * j as f64),
            Family::Cancelling => cancel(&mut q, &mut k, head_dim),
            Family::Sink => {
                let sink = rng.below(kv_len);
                set_first_channel(&mut q, &mut k, shape, |j| if j == sink { 12.0 } else { 0.0 });
            }
            Family::TinyV => v.iter_mut().for_each(|v| *v *= 1e-38),
            Family::LognormalV => v.iter_mut().for_each(|v| *v = (3.0 * *v).exp().copysign(*v)),
            Family::VeryNegative => set_first_channel(&mut q, &mut k, shape, |_| -400.0),
            Family::Shifted => {
                let shift = 300.0 * rng.normal();
                set_first_channel(&mut q, &mut k, shape, |_| shift);
            }
            Family::Flushed => set_first_channel(&mut q, &mut k, shape, |j| 60.0 * (j % 5) as f64),
        }
        Case { shape, scale, q, k, v, hidden: Vec::new() }
    }
}

/// Adds about `score(j)` to the score of key j: `q_0 = sqrt(head_dim)`, `k_j0 = score(j)`.
fn set_first_channel(q: &mut [f32], k: &mut [f32], shape: Shape, score: impl Fn(usize) -> f64) {
    q.iter_mut().step_by(shape.head_dim).for_each(|q| *q = (shape.head_dim as f32).sqrt());
    for (row, k) in k.chunks_mut(shape.head_dim).enumerate() {
        k[0] = score(row / shape.kv_heads % shape.kv_len) as f32;
    }
}

/// Channels in pairs whose products nearly cancel: `q_0 ~ q_1`, `k_0 ~ -k_1`, both large.
fn cancel(q: &mut [f32], k: &mut [f32], head_dim: usize) {
    for (row, sign) in
        q.chunks_mut(head_dim).map(|q| (q, 1.0)).chain(k.chunks_mut(head_dim).map(|k| (k, -1.0)))
    {
        for pair in row.chunks_exact_mut(2) {
            pair[1] = sign * (30.0 * pair[0] + 0.01 * pair[1]);
            pair[0] *= 30.0;
        }
    }
}

/// Owned inputs of a [`Problem`].
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) shape: Shape,
    pub(crate) scale: f64,
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    /// `[batch, q_len, kv_len]`; empty hides nothing.
    pub(crate) hidden: Vec<bool>,
}

impl Case {
    /// Hides each key from each query with a probability.
    pub(crate) fn with_holes(mut self, probability: f64, seed: u64) -> Self {
        let rng = &mut Rng(seed);
        let Shape { batch, q_len, kv_len, .. } = self.shape;
        self.hidden = (0..batch * q_len * kv_len).map(|_| rng.unit() < probability).collect();
        self
    }

    /// The same case in numbers that the kernel's instructions take.
    pub(crate) fn for_kernel(mut self, arithmetic: &Arithmetic) -> Self {
        if arithmetic.products == Products::Bf16 {
            for array in [&mut self.q, &mut self.k, &mut self.v] {
                array.iter_mut().for_each(|x| *x = to_bf16(*x));
            }
        }
        self
    }

    /// Hands the borrowed problem to `f`.
    pub(crate) fn problem<T>(&self, f: impl FnOnce(&Problem) -> T) -> T {
        let Shape { q_len, kv_len, .. } = self.shape;
        let visible = |Pair { b, i, j }: Pair| {
            self.hidden.is_empty() || !self.hidden[(b * q_len + i) * kv_len + j]
        };
        let Case { shape, scale, q, k, v, .. } = self;
        f(&Problem {
            shape: *shape,
            scale: *scale,
            q,
            k,
            v,
            visible: &visible,
            sinks: &[],
            modify: None,
            beside: None,
        })
    }
}

/// One head, one batch entry, `v_dim = head_dim`.
pub(crate) fn small(q_len: usize, kv_len: usize, head_dim: usize) -> Shape {
    Shape { batch: 1, q_len, kv_len, q_heads: 1, kv_heads: 1, head_dim, v_dim: head_dim }
}
