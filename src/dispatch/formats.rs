//! Rows of a cache's format, for each level: as f32, and multiplied where they lie. A format is linked only where a cache of it was made.

use super::task::{Task, run_on};
use crate::decode::products::{self, Weights};
use crate::elem::{Affine, Format, Loaded, decode};
use crate::simd::{Level, Rows, Simd, Walk};

/// [`decode`] on a level.
pub(crate) fn widen<F: Format>(
    level: Level,
    rows: Rows<'_, F>,
    affine: Option<Affine<'_>>,
    walk: &mut Walk,
    to: &mut [f32],
    width: usize,
) {
    run_on(level, Widen { rows, affine, walk, to, width });
}

struct Widen<'a, F> {
    rows: Rows<'a, F>,
    affine: Option<Affine<'a>>,
    walk: &'a mut Walk,
    to: &'a mut [f32],
    width: usize,
}

impl<F: Format> Task for Widen<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        decode(simd, self.rows, self.affine, self.walk, self.to, self.width);
    }
}

/// Products of rows in f32, each code being widened on its way into a register and multiplied by the scale of its row.
#[derive(Clone, Copy, Debug)]
pub struct LaneTable<F> {
    /// [`products::scores`].
    pub(crate) scores: Scores<F>,
    /// [`products::sums`].
    pub(crate) sums: Sums<F>,
    /// [`Loaded::UNIT`].
    pub(crate) unit: f32,
}

type Scores<F> = fn(Level, Rows<'_>, Scaled<'_, F>, &mut Walk, &mut [f32], usize);
type Sums<F> = fn(Level, Weights<'_>, Scaled<'_, F>, &mut Walk, &mut [f32], usize);

/// Rows, and what each is multiplied by, [`LaneTable::unit`] among it.
pub(crate) type Scaled<'a, F> = (Rows<'a, F>, &'a [f32]);

impl<F: Loaded> LaneTable<F> {
    pub(crate) const fn new() -> Self {
        LaneTable { scores: scores_on, sums: sums_on, unit: F::UNIT }
    }
}

fn scores_on<F: Loaded>(
    level: Level,
    queries: Rows<'_>,
    keys: Scaled<'_, F>,
    walk: &mut Walk,
    s: &mut [f32],
    width: usize,
) {
    run_on(level, ScoresOf { queries, keys, walk, s, width });
}

struct ScoresOf<'a, F> {
    queries: Rows<'a>,
    keys: Scaled<'a, F>,
    walk: &'a mut Walk,
    s: &'a mut [f32],
    width: usize,
}

impl<F: Loaded> Task for ScoresOf<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        products::scores(simd, self.queries, self.keys, self.walk, self.s, self.width);
    }
}

fn sums_on<F: Loaded>(
    level: Level,
    weights: Weights<'_>,
    values: Scaled<'_, F>,
    walk: &mut Walk,
    to: &mut [f32],
    width: usize,
) {
    run_on(level, SumsOf { weights, values, walk, to, width });
}

struct SumsOf<'a, F> {
    weights: Weights<'a>,
    values: Scaled<'a, F>,
    walk: &'a mut Walk,
    to: &'a mut [f32],
    width: usize,
}

impl<F: Loaded> Task for SumsOf<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        products::sums(simd, self.weights, self.values, self.walk, self.to, self.width);
    }
}
