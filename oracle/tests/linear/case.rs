//! Random problems, and what they borrow.

use oracle::linear::{Features, Gate, Normaliser, Problem, Rule};

pub(crate) const SCALE: f32 = 0.25;

/// Everything that a problem borrows.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) d_k: usize,
    pub(crate) d_v: usize,
    pub(crate) n: usize,
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    pub(crate) gates: Vec<f32>,
    pub(crate) beta: Vec<f32>,
    pub(crate) bonus: Vec<f32>,
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
    pub(crate) state: Vec<f32>,
    pub(crate) zeros: Vec<f32>,
    pub(crate) gate: u8,
    pub(crate) rule: u8,
    pub(crate) features: Features,
    pub(crate) l2: Option<f32>,
    pub(crate) eps: Option<f32>,
}

impl Case {
    pub(crate) fn new(
        random: &mut fastrand::Rng,
        [n, d_k, d_v]: [usize; 3],
        gate: u8,
        rule: u8,
    ) -> Self {
        let strength = [0.05, 1.0, 5.0, 60.0][random.usize(..4)];
        let mut row = |len: usize, scale: f32| -> Vec<f32> {
            (0..len).map(|_| (random.f32() * 2.0 - 1.0) * scale).collect()
        };
        let gates = row(n * d_k, 1.0);
        let unit = 1.0 / (d_k as f32).sqrt();
        Case {
            q: row(n * d_k, 1.0),
            k: row(n * d_k, 1.5 * unit),
            v: row(n * d_v, 2.0),
            beta: row(n, 0.5).iter().map(|x| x + 0.5).collect(),
            bonus: row(d_k, 1.0),
            a: row(n * d_k, unit),
            b: row(n * d_k, unit),
            state: row(d_k * d_v, 1.0),
            gates: gates
                .iter()
                .map(|x| if *x > 0.97 { f32::NEG_INFINITY } else { (x - 1.0) * strength })
                .collect(),
            zeros: vec![0.0; d_k],
            d_k,
            d_v,
            n,
            gate,
            rule,
            features: Features::Identity,
            l2: None,
            eps: None,
        }
    }

    /// One channel of each kind: `n` times q, k, v, and a state of 0.
    pub(crate) fn narrow(rule: u8, [q, k, v]: [&[f32]; 3]) -> Self {
        let mut random = fastrand::Rng::with_seed(0);
        let case = Case::new(&mut random, [q.len(), 1, 1], 0, rule);
        Case { q: q.to_vec(), k: k.to_vec(), v: v.to_vec(), state: vec![0.0], ..case }
    }

    pub(crate) fn problem(&self) -> Problem<'_> {
        Problem {
            d_k: self.d_k,
            d_v: self.d_v,
            q: &self.q,
            k: &self.k,
            v: &self.v,
            gate: match self.gate {
                0 => Gate::None,
                1 => Gate::Head(self.gates[0]),
                2 => Gate::Token(&self.gates[..self.n]),
                _ => Gate::Channel(&self.gates),
            },
            rule: match self.rule {
                0 => Rule::Add,
                1 => Rule::Bonus(&self.bonus),
                2 => Rule::Delta(&self.beta),
                _ => Rule::LowRank { a: &self.a, b: &self.b },
            },
            features: self.features,
            l2: self.l2,
            scale: f64::from(SCALE),
            state: &self.state,
            normaliser: self.eps.map(|eps| Normaliser { eps, z: &self.zeros, z_abs: &self.zeros }),
        }
    }

    pub(crate) fn factor(&self, i: usize, c: usize) -> f32 {
        match self.gate {
            0 => 1.0,
            1 => self.gates[0].exp(),
            2 => self.gates[i].exp(),
            _ => self.gates[i * self.d_k + c].exp(),
        }
    }
}
