//! What products may become on their way, since a chunk began: too large for f32, or too small.
//!
//! Magnitudes of the state know of neither: of scores that are infinite or nothing before a value of the other kind
//! multiplies them, of factors above 1 between.

use super::entries::Row;
use crate::rounding::{OVERFLOW, UNDERFLOW};

/// A product and a sum.
const LOST: f64 = 2.0 * UNDERFLOW;

pub(super) struct Extremes {
    /// Products of the factors above 1, channel by channel.
    growth: Vec<f64>,
    /// The largest key, grown.
    keys: Vec<f64>,
    /// What was learnt with them, in all: of each value channel.
    learnt: Vec<f64>,
}

impl Extremes {
    pub(super) fn new([d_k, d_v]: [usize; 2]) -> Self {
        Extremes { growth: vec![1.0; d_k], keys: vec![0.0; d_k], learnt: vec![0.0; d_v] }
    }

    pub(super) fn forget(&mut self, factors: &[f64]) {
        for (c, a) in factors.iter().enumerate() {
            self.growth[c] *= a.max(1.0);
            self.keys[c] *= a.max(1.0);
        }
    }

    pub(super) fn learn(&mut self, key: &Row, w: &[f64], slack: &[f64]) {
        for (most, (x, error)) in self.keys.iter_mut().zip(key.x.iter().zip(&key.error)) {
            *most = worse(*most, x.abs() + error);
        }
        for (sum, (w, slack)) in self.learnt.iter_mut().zip(w.iter().zip(slack)) {
            *sum += w.abs() + slack;
        }
    }

    /// What is lost below the range where a row meets the keys, times what was learnt; infinite beyond the range.
    pub(super) fn met(&self, row: &Row, j: usize, chunk: usize) -> f64 {
        let (mut score, mut reached, mut grown) = (0.0, 0.0, 1.0);
        for (c, (x, error)) in row.x.iter().zip(&row.error).enumerate() {
            let x = x.abs() + error;
            score += x * self.keys[c];
            // A key that grew beyond the range is infinite to a query of 0 too.
            reached = worse(worse(reached, x * self.growth[c]), self.keys[c]);
            grown = worse(grown, self.growth[c]);
        }
        let sizes: f64 = row.x.iter().zip(&row.error).map(|(x, e)| 1.0 + x.abs() + e).sum();
        let learnt = self.learnt[j];
        // A step multiplies no row with a key, but a look with its factors, and reads a state that has just lost something.
        let is_step = chunk == 1;
        let by = if is_step { 1.0 } else { 1.0 + learnt };
        let most = if is_step { reached } else { worse(score, reached) };
        let most = [most, grown, learnt].into_iter().fold(0.0, worse);
        // Products of each channel, and the decay of each token of either side.
        let lost = LOST * grown * (2 * chunk + 2) as f64 * sizes * by;
        if most <= OVERFLOW { lost } else { f64::INFINITY }
    }

    /// What the update of a number of the state loses; infinite beyond the range.
    pub(super) fn ended(&self, c: usize, j: usize, chunk: usize) -> f64 {
        let most = [self.growth[c], self.keys[c], self.learnt[j]].into_iter().fold(0.0, worse);
        let lost = LOST * self.growth[c] * (2 * chunk) as f64 * self.learnt[j];
        if most <= OVERFLOW { lost } else { f64::INFINITY }
    }
}

/// The larger one, and NaN is the largest.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}
