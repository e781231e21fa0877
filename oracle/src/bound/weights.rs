//! Section 2: how wrong the weight of a key can be.

use std::f64::consts::{LN_2, LOG2_E};
use std::ops::Range;

use crate::arithmetic::Arithmetic;
use crate::attend::Softmax;
use crate::rounding::{FLUSH, Term, U, U64};

/// The way of the keys through the tiles. Entry `n` belongs to the n-th visible key.
pub(super) struct Passage {
    /// The visible keys of each tile that has any.
    pub(super) tiles: Vec<Range<usize>>,
    /// Whether a tile can raise a maximum that earlier tiles have set.
    pub(super) raises: Vec<bool>,
    /// `R_j`: how often a key's weight can be rescaled after its own tile.
    pub(super) rescales: Vec<usize>,
    /// Whether a key is certainly the maximum of all keys up to the end of its tile: then `p = E(0) = 1`, exactly.
    leads: Vec<bool>,
    /// `max_r (s_r + D_r)`, base 2: no maximum of the kernel exceeds it.
    top: f64,
}

impl Passage {
    pub(super) fn new(arithmetic: &Arithmetic, softmax: &Softmax, d: &[f64]) -> Self {
        let tiles = tiles(&softmax.keys, arithmetic.tile_k);
        let low = |n: usize| softmax.s[n] * LOG2_E - d[n];
        let high = |n: usize| softmax.s[n] * LOG2_E + d[n];
        let lows: Vec<f64> = tiles.iter().map(|tile| largest(tile.clone().map(low))).collect();
        let highs: Vec<f64> = tiles.iter().map(|tile| largest(tile.clone().map(high))).collect();
        let top = largest(highs.iter().copied());
        let leads = leads(&tiles, &highs, low, high);

        let raises = raises(&lows, &highs, 1, lows[0]);
        let mut rescales = Vec::with_capacity(d.len());
        let mut later = count(&raises);
        for (t, tile) in tiles.iter().enumerate() {
            later -= usize::from(raises[t]);
            rescales.extend(tile.clone().map(|n| match arithmetic.splits {
                1 => later,
                // Earlier keys may belong to another split: only n's own score is a floor.
                splits => count(&self::raises(&lows, &highs, t + 1, low(n))) + splits - 1,
            }));
        }
        Self { tiles, raises, rescales, leads, top }
    }
}

fn largest(scores: impl Iterator<Item = f64>) -> f64 {
    scores.fold(f64::NEG_INFINITY, f64::max)
}

/// Which keys surely exceed every other key of their tile and of the tiles before.
fn leads(
    tiles: &[Range<usize>],
    highs: &[f64],
    low: impl Fn(usize) -> f64,
    high: impl Fn(usize) -> f64,
) -> Vec<bool> {
    let mut leads = Vec::new();
    let mut before = f64::NEG_INFINITY;
    for (tile, &tile_high) in tiles.iter().zip(highs) {
        let leader = tile.clone().max_by(|&a, &b| high(a).total_cmp(&high(b)));
        let rivals = tile.clone().filter(|&n| Some(n) != leader).map(&high);
        let rival = largest(rivals).max(before);
        leads.extend(tile.clone().map(|n| Some(n) == leader && low(n) >= rival));
        before = before.max(tile_high);
    }
    leads
}

/// Which tiles, from `start` on, can raise a maximum that is at least `floor`.
/// A tile's largest score lies between its low and its high.
fn raises(lows: &[f64], highs: &[f64], start: usize, mut floor: f64) -> Vec<bool> {
    let mut raises = vec![false; highs.len()];
    for t in start..highs.len() {
        raises[t] = highs[t] > floor;
        floor = floor.max(lows[t]);
    }
    raises
}

fn count(raises: &[bool]) -> usize {
    raises.iter().filter(|raises| **raises).count()
}

/// Groups ascending keys by tile: ranges of positions in `keys`.
fn tiles(keys: &[usize], tile_k: usize) -> Vec<Range<usize>> {
    let mut end = 0;
    keys.chunk_by(|a, b| a / tile_k == b / tile_k)
        .map(|tile| {
            end += tile.len();
            end - tile.len()..end
        })
        .collect()
}

/// The weights and what each of them may be wrong by.
pub(super) struct Weights {
    /// `w_j`.
    pub(super) w: Vec<f64>,
    /// `w_j Theta_j`.
    pub(super) error: Vec<f64>,
    /// `1 / (kappa L)`, at most: turns an absolute error of the kernel's sums into our units.
    pub(super) unit: f64,
    /// `S = sum_j w_j Theta_j`.
    pub(super) total_error: f64,
}

impl Weights {
    pub(super) fn new(
        arithmetic: &Arithmetic,
        softmax: &Softmax,
        d: &[f64],
        passage: &Passage,
    ) -> Self {
        let Softmax { s, m, l, w, .. } = softmax;
        let e = 1.0 + arithmetic.exp2_error() * U;
        let rounded = 1.0 + arithmetic.products.weight_error();
        let kappa_inverse = (passage.top - m * LOG2_E).exp2();
        let error: Vec<f64> = (0..w.len())
            .map(|n| {
                let below_top = passage.top - (s[n] * LOG2_E - d[n]);
                let exponent_error = d[n] + U * below_top;
                let of_p = if passage.leads[n] { 1.0 } else { e * rounded };
                let growth = of_p * e.powi(passage.rescales[n] as i32);
                // As a difference of two weights, not w * Theta: far below the maximum that would be 0 * inf.
                let largest = (s[n] - m + LN_2 * exponent_error).exp() * growth / l;
                // 125, not 126: the exponent that E sees is itself rounded.
                let flush = if below_top > 125.0 { FLUSH * kappa_inverse / l } else { 0.0 };
                let own = U64 * (m - s[n] + 8.0) * w[n];
                (largest - w[n]).max(0.0) + flush + own
            })
            .collect();
        let total_error = error.iter().sum();
        Self { w: w.clone(), error, unit: kappa_inverse / l, total_error }
    }

    /// `w_j v`, and how far the kernel's may be from it.
    #[inline(always)]
    pub(super) fn times(&self, n: usize, v: f64) -> Term {
        Term { exact: self.w[n] * v, slack: self.error[n] * v.abs() }
    }
}
