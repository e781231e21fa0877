//! A lookup behind one pointer, and the functions of each level that add what it says.

use super::per_level::PerLevel;
use crate::bias::{self, Lookup};
use crate::change::{Lines, Pairs};
use crate::moves::{self, RowsOfLanes};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, Portable, Scalar};

/// What a plan may hold of a [`Lookup`].
pub(crate) trait AnyLookup: Sync {
    /// Adds its biases to the scores of some pairs, on a level that this processor has.
    fn add(&self, level: Level, pairs: &Pairs<'_>, lines: Lines<'_>);
    /// Clears bit `r` of `bits[j]` where it hides a key from a row.
    fn hide(&self, pairs: &Pairs<'_>, bits: &mut [u64]);
    /// [`Lookup::hides`].
    fn hides_keys(&self) -> bool;
}

impl<L: Lookup> AnyLookup for L {
    fn add(&self, level: Level, pairs: &Pairs<'_>, lines: Lines<'_>) {
        bias::add(self, Adder::of(level), pairs, lines);
    }
    fn hide(&self, pairs: &Pairs<'_>, bits: &mut [u64]) {
        bias::hide(self, pairs, bits);
    }
    fn hides_keys(&self) -> bool {
        self.hides()
    }
}

type AddColumns = unsafe fn(&RowsOfLanes<'_, f32>, f32, &mut [f32], usize);

/// Adds rows of numbers to what lies in lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adder {
    level: Level,
    columns: AddColumns,
}

impl Adder {
    /// That of a level that this processor has; that of the scalar one otherwise.
    pub(crate) fn of(level: Level) -> Self {
        #[cfg(target_arch = "x86_64")]
        let (avx2, avx512): (AddColumns, AddColumns) = (avx2, avx512);
        // Never available there, so never asked for.
        #[cfg(not(target_arch = "x86_64"))]
        let (avx2, avx512): (AddColumns, AddColumns) = (scalar, scalar);
        let table: PerLevel<AddColumns> = PerLevel::new([scalar, portable, avx2, avx512]);
        Adder { level, columns: *table.at(level) }
    }

    /// The level.
    pub(crate) fn level(self) -> Level {
        self.level
    }

    /// [`moves::add_columns`].
    pub(crate) fn columns(
        self,
        rows: &RowsOfLanes<'_, f32>,
        scale: f32,
        columns: &mut [f32],
        width: usize,
    ) {
        // SAFETY: `PerLevel::at` asked whether the level is available; its features are all that the
        // function needs.
        unsafe { (self.columns)(rows, scale, columns, width) }
    }
}

fn scalar(rows: &RowsOfLanes<'_, f32>, scale: f32, columns: &mut [f32], width: usize) {
    moves::add_columns(Scalar, rows, scale, columns, width);
}

fn portable(rows: &RowsOfLanes<'_, f32>, scale: f32, columns: &mut [f32], width: usize) {
    moves::add_columns(Portable, rows, scale, columns, width);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(rows: &RowsOfLanes<'_, f32>, scale: f32, columns: &mut [f32], width: usize) {
    moves::add_columns(Avx2::here(), rows, scale, columns, width);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(rows: &RowsOfLanes<'_, f32>, scale: f32, columns: &mut [f32], width: usize) {
    moves::add_columns(Avx512::here(), rows, scale, columns, width);
}
