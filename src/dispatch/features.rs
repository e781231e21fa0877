//! A feature map compiled for each level, behind one pointer.

use super::per_level::Available;
use super::task::{Task, run_on};
use crate::linear::{FeatureMap, apply};
use crate::simd::Simd;

/// What a plan may hold of a feature map: a [`FeatureMap`] whose lanes were chosen.
pub(crate) trait AnyFeatures: Sync {
    /// Maps a row on a level.
    fn apply(&self, level: Available, row: &mut [f32]);
}

impl<M: FeatureMap> AnyFeatures for M {
    fn apply(&self, level: Available, row: &mut [f32]) {
        run_on(level.level(), Apply { map: self, row });
    }
}

struct Apply<'a, M> {
    map: &'a M,
    row: &'a mut [f32],
}

impl<M: FeatureMap> Task for Apply<'_, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        apply(simd, self.map, self.row);
    }
}
