//! Products in integers: queries and weights in 8 bits.
//!
//! A kernel that rounds queries computes attention of the rounded ones, so those are the problem: [`rounded_queries`] says what they are. Its
//! sums of products of codes are exact, and each of its few other roundings, those of factors among them, is one of the many that the
//! [gamma form](crate::Form::Gamma) charges for a sum in f32: with 32 or more channels it is a bound for them too.
//!
//! Weights are rounded once more, in units of `d = max |p sv| / n` of a key tile, `sv` being the scales of the values and `n` 255, or 127 where scales may be
//! negative: a code errs by 1/2, and by
//! what rounding did to `p sv` and to its quotient, which is far below 1/1000. With normalised weights `w` this is, in each channel,
//! ```text
//! |o^ - o| <= ... + sum over tiles of 0.501 max_j |w_j sv_j| / n sum_j |v_j / sv_j|
//! ```
//! Where `max |p sv|` is so small that `n / max |p sv|` overflows, nothing is left of a tile: at most `n / f32::MAX sum_j |v_j / sv_j|`. That much also
//! covers what a subnormal d is rounded by, and is charged of every tile; weights are not divided by less than 1, nearly.
//! The sum of weights that outputs are divided by is that of the weights themselves.

use crate::arithmetic::Arithmetic;
use crate::attend::{Row, Softmax};
use crate::bound::{Bound, Form, bound};
use crate::certify::Verdict;
use crate::problem::Problem;

/// Rows of queries, `dim` channels each, as a kernel rounds them: in units of log2, so that the scale of a problem with them is `ln 2`.
/// Each run of `channels` has a scale, 1/127 of its largest; halves are rounded away from 0.
pub fn rounded_queries(q: &[f32], dim: usize, channels: usize, scale: f64) -> Vec<f32> {
    assert!(dim.is_multiple_of(channels) && q.len().is_multiple_of(dim), "whole rows and runs");
    let factor = (scale * std::f64::consts::LOG2_E) as f32;
    let mut rounded = Vec::with_capacity(q.len());
    for run in q.chunks(channels) {
        let run: Vec<f32> = run.iter().map(|x| x * factor).collect();
        let most = run.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let d = match most / 127.0 {
            // A subnormal scale is rounded upwards: no number is beyond 127 of it.
            d if d < f32::MIN_POSITIVE && d * 127.0 < most => d.next_up(),
            d => d,
        };
        rounded.extend(run.iter().map(|x| if d > 0.0 { (x / d).round() * d } else { 0.0 }));
    }
    rounded
}

/// Judges rows `(b, i, h)` of a problem of rounded queries. `scales` are those of the values, `[batch, kv_len, kv_heads, ..]`: as many of a row as there are, each of
/// as many channels; in magnitude. `most` is the largest code of a weight.
pub fn certify_integers(
    problem: &Problem,
    arithmetic: &Arithmetic,
    (scales, most): (&[f32], f64),
    rows: impl IntoIterator<Item = (usize, usize, usize)>,
    o: &[f32],
) -> Verdict {
    let of_row = |place| integer_bound(problem, arithmetic, (scales, most), place);
    Verdict::of_rows(problem, arithmetic, Form::Gamma, rows, &of_row, o)
}

/// Below so much times `n` a weight has no inverse: `1 / f32::MAX`, and what weights may be divided by.
const NO_INVERSE: f64 = 1.01 / f32::MAX as f64;

fn integer_bound(
    problem: &Problem,
    arithmetic: &Arithmetic,
    (scales, most): (&[f32], f64),
    (b, i, h): (usize, usize, usize),
) -> (Row, Bound) {
    let (row, mut bound) = bound(problem, arithmetic, Form::Gamma, (b, i, h));
    let softmax = Softmax::of_row(problem, b, i, h);
    let shape = problem.shape;
    let n = scales.len() / (shape.batch * shape.kv_len * shape.kv_heads).max(1);
    let scale = |j: usize, c: usize| {
        let row = (b * shape.kv_len + j) * shape.kv_heads + shape.kv_head(h);
        f64::from(scales[row * n + c * n / shape.v_dim])
    };
    let mut first = 0;
    while first < softmax.keys.len() {
        let tile = softmax.keys[first] / arithmetic.tile_k;
        let in_tile = |j: &&usize| **j / arithmetic.tile_k == tile;
        let count = softmax.keys[first..].iter().take_while(in_tile).count();
        let of_tile = || softmax.keys[first..][..count].iter().zip(&softmax.w[first..]);
        for (c, bound) in bound.o.iter_mut().enumerate() {
            let largest = of_tile().fold(0.0_f64, |most, (&j, w)| most.max(w * scale(j, c)));
            let code = |j: usize| match scale(j, c) {
                0.0 => 0.0,
                scale => f64::from(problem.v_row(b, j, h)[c]).abs() / scale,
            };
            // Where there is no bound there is nothing to add to: a special value is due.
            let no_inverse = if *bound > 0.0 { NO_INVERSE * most } else { 0.0 };
            let lost = 0.501 * largest / most + no_inverse;
            *bound += lost * of_tile().map(|(&j, _)| code(j)).sum::<f64>();
        }
        first += count;
    }
    (row, bound)
}
