//! Learned sinks: a logit for each query head that takes part in the softmax and has no value.
//!
//! ```text
//! p_j = exp(s_j - M) / (exp(z - M) + sum_r exp(s_r - M))        M = max(z, max s)
//! ```
//! (gpt-oss; `smooth_softmax` of ONNX Runtime is `z = 0`.) It is the state `m = z, l = 1, o = 0` of one more key,
//! which joins when all others have, once.

use crate::dispatch::{SinkTable, check_len};
use crate::error::{Error, Tensor};
use crate::math::exp2;
use crate::online::finite;
use crate::shape::Heads;
use crate::simd::{Level, Simd};
use core::f32::consts::LOG2_E;
use core::ops::Range;

/// Logits, one a query head, and the functions that join them. Linked only where an output has some.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sinks<'a> {
    pub(crate) logits: &'a [f32],
    /// The logit of a head that has none there.
    otherwise: f32,
    table: &'static SinkTable,
}

/// Lanes of the widest block of rows.
const MAX_WIDTH: usize = 64;

impl<'a> Sinks<'a> {
    pub(crate) const fn new(logits: &'a [f32]) -> Self {
        const TABLE: &SinkTable = &SinkTable::new();
        Sinks { logits, otherwise: f32::NEG_INFINITY, table: TABLE }
    }

    /// A logit of 0 for every head.
    pub(crate) const fn smooth() -> Self {
        Sinks { otherwise: 0.0, ..Sinks::new(&[]) }
    }

    /// Whether there is one for each of so many heads.
    pub(crate) fn check(&self, q_heads: usize) -> Result<(), Error> {
        let is_smooth = self.otherwise == 0.0;
        if is_smooth { Ok(()) } else { check_len(Tensor::Sinks, q_heads, self.logits.len()) }
    }

    /// That of a head, in units of log2.
    pub(crate) fn of_head(&self, h: usize) -> Option<f32> {
        let logit = self.logits.get(h).copied().unwrap_or(self.otherwise);
        (logit != f32::NEG_INFINITY).then_some(logit * LOG2_E)
    }

    /// Joins the sinks of some rows of a key/value head, `spread` lanes each behind `idle` ones, to their states:
    /// `m` and `l` of so many lanes, and as many for each channel of `o`.
    #[inline(never)]
    pub(crate) fn join_rows(
        &self,
        level: Level,
        heads: Heads,
        (g, rows): (usize, Range<usize>),
        (idle, spread): (usize, usize),
        (m, l, o): (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        let mut room = [f32::NEG_INFINITY; MAX_WIDTH];
        let z = room.get_mut(..m.len()).unwrap_or(&mut []);
        let lanes = z.get_mut(idle..).unwrap_or(&mut []).chunks_mut(spread.max(1));
        for (lanes, (_, h)) in lanes.zip(heads.rows_of(g, rows)) {
            lanes.fill(self.of_head(h).unwrap_or(f32::NEG_INFINITY));
        }
        self.table.join(level, z, (m, l, o));
    }
}

/// Joins a sink to each of the states that lie in lanes: `z`, in units of log2, `m` and `l`, and `o [channels, lanes]`.
#[inline(always)]
pub(crate) fn join<S: Simd>(simd: S, z: &[f32], m: &mut [f32], l: &mut [f32], o: &mut [f32]) {
    let width = z.len().max(1);
    let states = m.chunks_exact_mut(S::LANES).zip(l.chunks_exact_mut(S::LANES));
    for (lane, (z, (m, l))) in z.chunks_exact(S::LANES).zip(states).enumerate() {
        let (z, before) = (simd.load(z), simd.load(m));
        let max = simd.add(simd.max(z, before), simd.splat(0.0));
        let top = finite(simd, max);
        let correction = exp2(simd, simd.sub(before, top));
        simd.store(max, m);
        let weight = exp2(simd, simd.sub(z, top));
        simd.store(simd.mul_add(simd.load(l), correction, weight), l);
        for o in o.chunks_exact_mut(width) {
            if let Some(o) = o.get_mut(lane * S::LANES..).and_then(|o| o.get_mut(..S::LANES)) {
                simd.store(simd.mul(simd.load(o), correction), o);
            }
        }
    }
}
