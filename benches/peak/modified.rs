//! Modifiers and biases of scores, each beside its formula, said apart from flashlet's own.

use crate::call::numbers;
use flashlet::math::TANH_ULPS;
use flashlet::{
    Alibi, Attention, BiasTensor, Error, RelativeKeys, Softcap, Strides, T5Bias, Temperature, View,
};
use oracle::{Modified, Pair};

/// A modifier, and the same by its formula.
pub(crate) struct Formula {
    pub(crate) name: &'static str,
    /// Gives a plan the modifier, which lives as long as the program.
    pub(crate) plan: fn(&Attention<'static>) -> Result<Attention<'static>, Error>,
    /// What it makes of a score, and by how much a correct kernel may miss that.
    pub(crate) exact: fn(Pair, usize, f64) -> Modified,
}

/// Query heads of the prompts.
pub(crate) const HEADS: usize = 8;

/// Tokens of them.
pub(crate) const LEN: usize = 1024;

/// Channels of their keys.
const DIM: usize = 128;

pub(crate) const ALL: [Formula; 7] = [
    Formula { name: "softcap", plan: softcap, exact: capped },
    Formula { name: "temperature", plan: temperature, exact: tempered },
    Formula { name: "alibi", plan: alibi, exact: biased },
    Formula { name: "bias", plan: bias, exact: added },
    Formula { name: "t5", plan: t5, exact: bucketed },
    Formula { name: "shaw", plan: shaw, exact: clipped },
    Formula { name: "xl", plan: xl, exact: of_distance },
];

const CAP: f64 = 50.0;

/// A rounding.
const U: f64 = 1.0 / 16_777_216.0;

fn softcap(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    plan.modify(Box::leak(Box::new(Softcap::new(CAP)?)))
}

fn capped(_: Pair, _: usize, score: f64) -> Modified {
    let s = CAP * (score / CAP).tanh();
    Modified { s, slope: 1.0, error: (2.0 * TANH_ULPS + 5.0) * U * s.abs() }
}

/// Positions that share a temperature, and its scale: Llama 4 has 8192 and 0.1.
const STEP: u64 = 128;
const SCALE: f64 = 0.1;

fn temperature(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    plan.modify(Box::leak(Box::new(Temperature::new(STEP, SCALE)?)))
}

fn tempered(Pair { i, .. }: Pair, _: usize, score: f64) -> Modified {
    let factor = 1.0 + SCALE * (1.0 + ((i as u64 + 1) / STEP) as f64).ln();
    Modified { s: score * factor, slope: factor, error: 3.0 * U * (score * factor).abs() }
}

fn alibi(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    let slopes = Box::leak(Box::new([0.0; HEADS]));
    Alibi::slopes(slopes);
    plan.modify(Box::leak(Box::new(Alibi::new(slopes))))
}

fn biased(Pair { i, j, .. }: Pair, h: usize, score: f64) -> Modified {
    // Eight heads: 2^-1, 2^-2, ...
    let bias = -(2.0_f64.powi(-(h as i32) - 1)) * i.abs_diff(j) as f64;
    let s = score + bias;
    Modified { s, slope: 1.0, error: 4.0 * U * bias.abs() + 2.0 * U * s.abs() }
}

/// One matrix of biases for all heads.
fn biases() -> Vec<f32> {
    numbers([1, LEN, 1, LEN], 4).collect()
}

fn bias(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    let strides = Strides { batch: 0, token: LEN, head: 0 };
    let view = View::strided(biases().leak(), [1, LEN, HEADS, LEN], strides)?;
    plan.bias(Box::leak(Box::new(BiasTensor::new(view))))
}

fn added(Pair { i, j, .. }: Pair, _: usize, score: f64) -> Modified {
    thread_local!(static BIASES: Vec<f32> = biases());
    sum(score, BIASES.with(|biases| f64::from(biases[i * LEN + j])))
}

/// Biases of T5's buckets.
fn table() -> Vec<f32> {
    numbers([1, 32, 1, HEADS], 5).collect()
}

fn t5(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    plan.bias(Box::leak(Box::new(T5Bias::bidirectional(table().leak()))))
}

fn bucketed(Pair { i, j, .. }: Pair, h: usize, score: f64) -> Modified {
    thread_local!(static TABLE: Vec<f32> = table());
    let size = i.abs_diff(j);
    let log = (size as f64 / 8.0).ln() / 16.0_f64.ln() * 8.0;
    let bucket = if size < 8 { size } else { (8 + log as usize).min(15) };
    let bucket = if j > i { 16 + bucket } else { bucket };
    sum(score, TABLE.with(|table| f64::from(table[bucket * HEADS + h])))
}

fn sum(score: f64, bias: f64) -> Modified {
    let s = score + bias;
    Modified { s, slope: 1.0, error: 4.0 * U * bias.abs() + 2.0 * U * s.abs() }
}

/// Distances on either side that have a key of their own.
const CLIP: usize = 64;

/// Queries of relative keys, and the keys of Shaw's clipped distances, which heads share, or of all distances.
fn relative(distances: usize, heads: usize) -> [Vec<f32>; 2] {
    [numbers([1, LEN, HEADS, DIM], 6).collect(), numbers([1, distances, heads, DIM], 7).collect()]
}

fn shaw(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    let [_, keys] = relative(2 * CLIP + 1, 1);
    let strides = Strides { batch: 0, token: DIM, head: 0 };
    let view = View::strided(keys.leak(), [1, 2 * CLIP + 1, HEADS, DIM], strides)?;
    with_keys(plan, RelativeKeys::new(view, -(CLIP as i64)))
}

fn xl(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    let [_, keys] = relative(2 * LEN - 1, HEADS);
    let view = View::packed(keys.leak(), [1, 2 * LEN - 1, HEADS, DIM])?;
    with_keys(plan, RelativeKeys::new(view, 1 - LEN as i64))
}

fn with_keys(
    plan: &Attention<'static>,
    keys: RelativeKeys<'static>,
) -> Result<Attention<'static>, Error> {
    let [queries, _] = relative(0, 0);
    let queries = View::packed(queries.leak(), [1, LEN, HEADS, DIM])?;
    plan.relative_keys(Box::leak(Box::new(keys.queries(queries))))
}

fn clipped(Pair { i, j, .. }: Pair, h: usize, score: f64) -> Modified {
    thread_local!(static TABLES: [Vec<f32>; 2] = relative(2 * CLIP + 1, 1));
    let row = (j + CLIP).saturating_sub(i).min(2 * CLIP);
    TABLES.with(|[q, keys]| joined(score, &q[(i * HEADS + h) * DIM..], &keys[row * DIM..]))
}

fn of_distance(Pair { i, j, .. }: Pair, h: usize, score: f64) -> Modified {
    thread_local!(static TABLES: [Vec<f32>; 2] = relative(2 * LEN - 1, HEADS));
    let row = (j + LEN - 1 - i) * HEADS + h;
    TABLES.with(|[q, keys]| joined(score, &q[(i * HEADS + h) * DIM..], &keys[row * DIM..]))
}

/// A score and the scaled product of a query and the key of a distance.
fn joined(score: f64, q: &[f32], key: &[f32]) -> Modified {
    let products = || q.iter().zip(key).take(DIM).map(|(q, k)| f64::from(*q) * f64::from(*k));
    let scale = 1.0 / (DIM as f64).sqrt();
    let size = scale * products().map(f64::abs).sum::<f64>();
    let s = score + scale * products().sum::<f64>();
    Modified { s, slope: 1.0, error: (DIM as f64 + 3.0) * U * size + 2.0 * U * s.abs() }
}
