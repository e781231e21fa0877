//! A hill climb in process: numbers of a case are changed a few at a time, and what brings an error nearer to its bound is
//! kept. How near it comes says how tight a bound is; beyond it is a bug, of a kernel or of the bound.

use crate::stress::normal;
use crate::subject::{Case, Subject};
use fastrand::Rng;
use oracle::{Shape, Verdict};

/// What a climb may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Cases judged.
    pub evaluations: usize,
    /// After so many without gain it starts anew.
    pub patience: usize,
    /// Of the case. Small ones have tight bounds.
    pub shape: Shape,
}

impl Default for Limits {
    /// 4 keys of 4 channels, one query.
    fn default() -> Self {
        let shape =
            Shape { batch: 1, q_len: 1, kv_len: 4, q_heads: 1, kv_heads: 1, head_dim: 4, v_dim: 1 };
        Limits { evaluations: 100_000, patience: 5_000, shape }
    }
}

/// The top of a climb.
#[derive(Clone, Debug)]
pub struct Top {
    /// Of the case: its `worst_ratio` is how near the bound came to being attained.
    pub verdict: Verdict,
    /// The case itself.
    pub case: Case,
    /// How many cases were judged.
    pub evaluations: usize,
}

/// Climbs from seeded random cases. It ends early where a bound is exceeded.
pub fn climb(subject: &dyn Subject, limits: &Limits, seed: u64) -> Top {
    let mut random = Rng::with_seed(seed);
    let mut top: Option<Top> = None;
    let mut evaluations = 0;
    while evaluations < limits.evaluations {
        let mut case = start(&mut random, limits.shape).rounded(subject.stored());
        let mut verdict = case.judge(subject);
        let mut idle = 0;
        evaluations += 1;
        while idle < limits.patience && evaluations < limits.evaluations && verdict.holds() {
            let next = step(&mut random, case.clone()).rounded(subject.stored());
            let judged = next.judge(subject);
            evaluations += 1;
            idle += 1;
            // Elements without a bound cannot be judged: such a case is no gain.
            if judged.uncertified == 0 && judged.worst_ratio >= verdict.worst_ratio {
                idle = if judged.worst_ratio > verdict.worst_ratio { 0 } else { idle };
                (case, verdict) = (next, judged);
            }
        }
        let is_higher = |top: &Top| verdict.worst_ratio > top.verdict.worst_ratio;
        if top.as_ref().is_none_or(is_higher) {
            top = Some(Top { verdict, case, evaluations });
        }
        if top.as_ref().is_some_and(|top| !top.verdict.holds()) {
            break;
        }
    }
    let top = top.expect("at least one case was judged");
    Top { evaluations, ..top }
}

/// Ordinary numbers, queries perhaps large.
fn start(random: &mut Rng, shape: Shape) -> Case {
    let Shape { batch, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim } = shape;
    let mut numbers = |count: usize, spread: f32| -> Vec<f32> {
        (0..count).map(|_| normal(random) * spread).collect()
    };
    let q = numbers(batch * q_len * q_heads * head_dim, 1.0);
    let k = numbers(batch * kv_len * kv_heads * head_dim, 1.0);
    let v = numbers(batch * kv_len * kv_heads * v_dim, 1.0);
    let causal = random.bool();
    let mut case = Case { shape, scale: 1.0 / (head_dim as f64).sqrt(), causal, q, k, v };
    let spread = [1.0, 1.0, 8.0, 64.0][random.usize(..4)];
    case.q.iter_mut().for_each(|q| *q *= spread);
    case
}

/// Changes one to three numbers, or all of a tensor by a factor.
fn step(random: &mut Rng, mut case: Case) -> Case {
    if random.u8(..16) == 0 {
        let factor = [0.5, 2.0, 0.97, 1.03, -1.0][random.usize(..5)];
        let tensor = match random.usize(..3) {
            0 => &mut case.q,
            1 => &mut case.k,
            _ => &mut case.v,
        };
        tensor.iter_mut().for_each(|x| *x *= factor);
        return case;
    }
    let mut all: Vec<&mut f32> = case.q.iter_mut().chain(&mut case.k).chain(&mut case.v).collect();
    for _ in 0..1 + random.usize(..3) {
        let from = *all[random.usize(..all.len())];
        let at = random.usize(..all.len());
        let x = &mut *all[at];
        *x = match random.usize(..8) {
            0 => -*x,
            1 => from,
            2 => normal(random),
            3 => *x * [0.5, 2.0][random.usize(..2)],
            // Some units in the last place; far from zero and from infinity, where bits are in order.
            4 | 5 if (1e-30..1e30).contains(&x.abs()) => {
                let most = 1 << random.u32(1..=20);
                let ulps = random.u32(0..most);
                f32::from_bits(x.to_bits().wrapping_add(ulps).wrapping_sub(ulps / 2))
            }
            _ => *x + normal(random) * [1e-6, 1e-3, 0.1][random.usize(..3)] * x.abs().max(1e-3),
        };
    }
    case
}
