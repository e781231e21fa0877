//! Rows of a cache's format, for each level: as f32, and multiplied where they lie. A format is linked only where a cache of it was made.

use super::task::{Task, run_on};
use crate::decode::products::{self, Weights};
use crate::elem::{Affine, Format, Loaded, MARKS, decode};
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
    /// [`products::scores`], unless a code is not what lanes would be loaded with.
    pub(crate) scores: Scores<F>,
    /// [`products::sums`], unless.
    pub(crate) sums: Sums<F>,
    /// [`Loaded::UNIT`].
    pub(crate) unit: f32,
}

type Scores<F> = fn(Level, Rows<'_>, Scaled<'_, F>, &mut Walk, &mut [f32], usize) -> bool;
type Sums<F> = fn(Level, Weights<'_>, Scaled<'_, F>, &mut Walk, &mut [f32], usize) -> bool;

/// Rows, and what each is multiplied by, [`LaneTable::unit`] among it.
pub(crate) type Scaled<'a, F> = (Rows<'a, F>, &'a [f32]);

impl<F: Format + Loaded> LaneTable<F> {
    pub(crate) const fn new() -> Self {
        LaneTable { scores: scores_on, sums: sums_on, unit: F::UNIT }
    }
}

fn scores_on<F: Format + Loaded>(
    level: Level,
    queries: Rows<'_>,
    keys: Scaled<'_, F>,
    walk: &mut Walk,
    s: &mut [f32],
    width: usize,
) -> bool {
    run_on(level, ScoresOf { queries, keys, walk, s, width })
}

struct ScoresOf<'a, F> {
    queries: Rows<'a>,
    keys: Scaled<'a, F>,
    walk: &'a mut Walk,
    s: &'a mut [f32],
    width: usize,
}

impl<F: Format + Loaded> Task for ScoresOf<'_, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let is_loaded = all_load(self.keys.0);
        if is_loaded {
            products::scores(simd, self.queries, self.keys, self.walk, self.s, self.width);
        }
        is_loaded
    }
}

fn sums_on<F: Format + Loaded>(
    level: Level,
    weights: Weights<'_>,
    values: Scaled<'_, F>,
    walk: &mut Walk,
    to: &mut [f32],
    width: usize,
) -> bool {
    run_on(level, SumsOf { weights, values, walk, to, width })
}

struct SumsOf<'a, F> {
    weights: Weights<'a>,
    values: Scaled<'a, F>,
    walk: &'a mut Walk,
    to: &'a mut [f32],
    width: usize,
}

impl<F: Format + Loaded> Task for SumsOf<'_, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let is_loaded = all_load(self.values.0);
        if is_loaded {
            products::sums(simd, self.weights, self.values, self.walk, self.to, self.width);
        }
        is_loaded
    }
}

/// Whether lanes can be loaded with all rows.
#[inline(always)]
fn all_load<F: Format>(rows: Rows<'_, F>) -> bool {
    let mut marks = [[0; MARKS]; 2];
    for j in 0..rows.len() {
        F::mark(rows.row(j), &mut marks);
    }
    marks.as_flattened().iter().fold(0, |all, mark| all | mark) < 0x80
}
