//! Which entry a plan runs.

use super::Attention;
use crate::call::Inputs;
use crate::change::Changes;
use crate::dispatch::Entry;
use crate::products::Precision;
use crate::shape::{Heads, Shape};
use crate::simd::Level;
use crate::tiling::Tiling;

/// [`Entry::choose`].
pub(super) type Choose = fn(Level, Precision, Heads, usize) -> Entry;

impl Attention<'_> {
    pub(super) fn choose(&self, level: Level, precision: Precision) -> Entry {
        let (heads, Changes { keys, values, .. }) = (self.shape.heads, self.changes);
        // Relative terms are products in f32.
        let precision = match (keys, values) {
            (None, None) => precision,
            _ => Precision::F32,
        };
        Entry::choose(level, precision, heads, self.shape.q_len * heads.group())
    }

    /// The same plan for fewer queries.
    #[inline]
    pub(crate) fn of_sequence(&self, q_len: usize) -> Self {
        let plan = Attention { shape: Shape { q_len, ..self.shape }, ..self.clone() };
        Attention { entry: plan.choose(self.entry.level(), self.precision), ..plan }
    }

    /// Whether relative keys or values want scratch.
    pub(crate) const fn is_relative(&self) -> bool {
        self.changes.keys.is_some() || self.changes.values.is_some()
    }

    /// The same plan with the entry for keys that are codes, if they may be multiplied as integers.
    pub(crate) fn suited(&self, inputs: &Inputs<'_>) -> Self {
        let (level, heads) = (self.entry.level(), self.shape.heads);
        let choose = match self.for_codes {
            Some(choose) if level.lanes() > 1 && inputs.k.has_codes() => choose,
            _ => return self.clone(),
        };
        let [few, many] = [1, usize::MAX].map(|rows| choose(level, Precision::F32, heads, rows));
        let many = if self.rounds_weights() { None } else { inputs.k.integers(many) };
        // Without the instructions the entry for few queries makes the bits of that for many.
        Attention { entry: many.unwrap_or(few), ..self.clone() }
    }

    /// Whether queries are so few that their weights become integers too: by one rule for all levels, since bits depend on it.
    pub(super) fn rounds_weights(&self) -> bool {
        Tiling::is_few(Level::Avx512, self.shape.q_len * self.shape.heads.group())
    }
}
