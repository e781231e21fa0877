//! Plain kernels in f32, as anybody might write them, and defects.

use crate::case::{Case, SCALE};
use oracle::linear::Features;

/// What a kernel does wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Defect {
    None,
    NoDecay,
    DecayAfter,
    NoScale,
    ReadTooEarly,
    ReadTooLate,
}

/// Outputs, the last state, and the last sum of keys.
pub(crate) type Results = [Vec<f32>; 3];

fn fma(is_fused: bool, [a, b, c]: [f32; 3]) -> f32 {
    if is_fused { a.mul_add(b, c) } else { a * b + c }
}

/// A row of queries or keys as it is learnt.
fn mapped(case: &Case, rows: &[f32], i: usize) -> Vec<f32> {
    // Not `max`, which would turn NaN into 0.
    let rectified = |x: f32| if x < 0.0 { 0.0 } else { x };
    let of = |x: f32| match case.features {
        Features::Identity => x,
        Features::EluPlusOne if x > 0.0 => x + 1.0,
        Features::EluPlusOne | Features::Exp => x.exp(),
        Features::Relu => rectified(x),
        Features::SquaredRelu => rectified(x) * rectified(x),
    };
    let row: Vec<f32> = rows[i * case.d_k..][..case.d_k].iter().map(|x| of(*x)).collect();
    let Some(eps) = case.l2 else { return row };
    let length = (row.iter().map(|x| x * x).sum::<f32>() + eps).sqrt();
    row.iter().map(|x| x / length).collect()
}

fn query(case: &Case, i: usize, scale: f32) -> Vec<f32> {
    mapped(case, &case.q, i).iter().map(|q| q * scale).collect()
}

/// Divides the outputs by what a plain sum of the keys says; the sum of all keys.
fn divide(case: &Case, o: &mut [f32]) -> Vec<f32> {
    let mut z = vec![0.0_f32; case.d_k];
    let Some(eps) = case.eps else { return z };
    for (i, row) in o.chunks_exact_mut(case.d_v).enumerate() {
        let key = mapped(case, &case.k, i);
        z.iter_mut().enumerate().for_each(|(c, z)| *z = *z * case.factor(i, c) + key[c]);
        let divisor = query(case, i, SCALE).iter().zip(&z).map(|(q, z)| q * z).sum::<f32>() + eps;
        let is_nothing = divisor.abs() < f32::MIN_POSITIVE;
        row.iter_mut().for_each(|o| *o = if is_nothing { 0.0 } else { *o / divisor });
    }
    z
}

/// One token after the other.
pub(crate) fn recurrent(case: &Case, fused: bool, defect: Defect) -> Results {
    let (d_k, d_v) = (case.d_k, case.d_v);
    let (mut s, mut o) = (case.state.clone(), Vec::new());
    let scale = if defect == Defect::NoScale { 1.0 } else { SCALE };
    for i in 0..case.n {
        let row = |x: &[f32]| x[i * d_k..(i + 1) * d_k].to_vec();
        let (q, k) = (query(case, i, scale), mapped(case, &case.k, i));
        let before = s.clone();
        let decays = defect != Defect::NoDecay;
        for c in 0..d_k {
            let a = if decays { case.factor(i, c) } else { 1.0 };
            s[c * d_v..(c + 1) * d_v].iter_mut().for_each(|s| *s *= a);
        }
        let own: f32 = q.iter().zip(&k).zip(&case.bonus).map(|((q, k), u)| q * (u * k)).sum();
        for j in 0..d_v {
            let of = |x: &[f32], s: &[f32]| {
                (0..d_k).fold(0.0, |sum, c| fma(fused, [x[c], s[c * d_v + j], sum]))
            };
            let v = case.v[i * d_v + j];
            let looked = if defect == Defect::DecayAfter { of(&k, &before) } else { of(&k, &s) };
            let w = if case.rule == 2 { case.beta[i] * (v - looked) } else { v };
            let p = of(&row(&case.a), &before);
            for (c, (k, b)) in k.iter().zip(row(&case.b)).enumerate() {
                let at = c * d_v + j;
                if case.rule == 3 {
                    s[at] = fma(fused, [b, p, s[at]]);
                }
                s[at] = fma(fused, [*k, w, s[at]]);
            }
            let early =
                (case.rule == 1) != matches!(defect, Defect::ReadTooEarly | Defect::ReadTooLate);
            let mut read = if early { of(&q, &before) } else { of(&q, &s) };
            if case.rule == 1 {
                read = fma(fused, [own, v, read]);
            }
            o.push(read);
        }
    }
    let z = divide(case, &mut o);
    [o, s, z]
}

/// So many tokens at once: what the state before them gives each, and what they give each other.
pub(crate) fn chunked(case: &Case, fused: bool, chunk: usize) -> Results {
    let (mut s, mut o) = (case.state.clone(), Vec::new());
    for first in (0..case.n).step_by(chunk) {
        let last = case.n.min(first + chunk);
        Chunk { case, fused, first, last, written: Vec::new() }.run(&mut s, &mut o);
    }
    let z = divide(case, &mut o);
    [o, s, z]
}

/// Some tokens.
struct Chunk<'c> {
    case: &'c Case,
    fused: bool,
    first: usize,
    last: usize,
    /// What was learnt at a token: keys, and the values that came with them.
    written: Vec<(usize, Vec<f32>, Vec<f32>)>,
}

impl Chunk<'_> {
    fn run(mut self, s: &mut [f32], o: &mut Vec<f32>) {
        let Chunk { case, first, last, .. } = self;
        let d_v = case.d_v;
        for i in first..last {
            let row = |x: &[f32]| x[i * case.d_k..][..case.d_k].to_vec();
            let (q, k) = (query(case, i, SCALE), mapped(case, &case.k, i));
            let v = case.v[i * d_v..][..d_v].to_vec();
            let early: Vec<f32> = (0..d_v).map(|j| self.found(s, &q, i, j)).collect();
            match case.rule {
                2 => {
                    let found = (0..d_v).map(|j| self.found(s, &k, i + 1, j));
                    let w = found.zip(&v).map(|(found, v)| case.beta[i] * (v - found)).collect();
                    self.written.push((i, k, w));
                }
                3 => {
                    let p = (0..d_v).map(|j| self.found(s, &row(&case.a), i, j)).collect();
                    self.written.extend([(i, row(&case.b), p), (i, k, v)]);
                }
                1 => {
                    let own: f32 =
                        q.iter().zip(&k).zip(&case.bonus).map(|((q, k), u)| q * (u * k)).sum();
                    let read = early.iter().zip(&v);
                    o.extend(read.map(|(read, v)| fma(self.fused, [own, *v, *read])));
                    self.written.push((i, k, v));
                }
                _ => self.written.push((i, k, v)),
            }
            if case.rule != 1 {
                o.extend((0..d_v).map(|j| self.found(s, &q, i + 1, j)));
            }
        }
        for (at, s) in s.iter_mut().enumerate() {
            let (c, j) = (at / d_v, at % d_v);
            *s *= self.left(first, last, c);
            for (i, key, w) in &self.written {
                *s = fma(self.fused, [key[c] * self.left(i + 1, last, c), w[j], *s]);
            }
        }
    }

    /// The product of some tokens' factors.
    fn left(&self, from: usize, to: usize, c: usize) -> f32 {
        (from..to).map(|i| self.case.factor(i, c)).product()
    }

    /// What a row finds once the factors of the tokens before `over` are in.
    fn found(&self, s: &[f32], x: &[f32], over: usize, j: usize) -> f32 {
        let channels = 0..self.case.d_k;
        let of_state = channels.clone().fold(0.0, |sum, c| {
            let x = x[c] * self.left(self.first, over, c);
            fma(self.fused, [x, s[c * self.case.d_v + j], sum])
        });
        self.written.iter().fold(of_state, |sum, (i, key, w)| {
            let decayed = |c| key[c] * self.left(i + 1, over, c);
            // With one gate a token the decay multiplies the sum.
            let score = if self.case.gate < 3 {
                let products = |score, c: usize| fma(self.fused, [x[c], key[c], score]);
                channels.clone().fold(0.0, products) * self.left(i + 1, over, 0)
            } else {
                channels.clone().fold(0.0, |score, c| fma(self.fused, [x[c], decayed(c), score]))
            };
            fma(self.fused, [score, w[j], sum])
        })
    }
}
