//! Products of a format's codes, for each level: with the instructions for bytes where this processor has them.

use super::per_level::Available;
use super::task::{Task, run_on};
use super::{Entry, generic};
use crate::decode::integers::{Codes, Integers, Loops, ROWS, block_scales, round_weights, scores};
use crate::decode::products::Weights;
use crate::decode::rounding::{Rounding, words};
use crate::elem::Coded;
use crate::moves::{RowsOfLanes, pack_bits};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, AvxVnni, Int8Products, has_avx_vnni, has_int8_products};
use crate::simd::{Level, Portable, Rows, Scalar, Simd, StoredCodes, Walk};
use crate::tiling::TILE_K;
use core::marker::PhantomData;
use core::ops::Range;

/// The functions of a format of codes. It is linked only where a cache of it was made.
#[derive(Clone, Copy, Debug)]
pub struct IntegerTable<F> {
    pub(crate) scores: Scores<F>,
    pub(crate) weigh: Weigh<F>,
    /// Scales that blocks hold.
    pub(crate) scales: fn(Level, Rows<'_, F>, usize, &mut [f32]),
    /// What codes are raised by for scores.
    pub(crate) offset: i32,
    pub(crate) round: Round,
    /// [`words`].
    pub(crate) words: Words<F>,
    /// The entry for many queries of a level, if the processor has the instructions.
    pub(crate) many: fn(Entry) -> Option<Entry>,
}

type Scores<F> = fn(Level, Queries<'_>, Keys<'_, F>, &mut Walk, &mut [f32], usize);
type Round = fn(Level, Weights<'_>, &[f32; TILE_K], usize) -> Codes;
type Words<F> = fn(Level, Rows<'_, F>, &mut [f32], usize);
type Weigh<F> = fn(Level, [&[u8]; ROWS], Values<'_, F>, &mut Walk, [&mut [f32]; ROWS]);

/// Rounded queries.
pub(crate) type Queries<'a> = (Rows<'a>, Rounding);
/// Keys, and their scales if they do not hold them.
pub(crate) type Keys<'a, F> = (Rows<'a, F>, &'a [f32]);
/// Values, and some of their blocks of 32 channels.
pub(crate) type Values<'a, F> = (Rows<'a, F>, Range<usize>);

impl<F: Coded> IntegerTable<F> {
    /// The functions, if there may be lanes to run them: on one lane nobody asks for them.
    pub(crate) const fn for_lanes() -> Option<Self> {
        if Level::HAS_LANES { Some(Self::new()) } else { None }
    }

    const fn new() -> Self {
        IntegerTable {
            scores: scores_on,
            weigh: weigh_on,
            scales: scales_on,
            offset: F::Codes::OFFSET,
            round: round_on::<F>,
            words: words_on,
            many: generic::integers,
        }
    }
}

/// [`pack_bits`] on a level.
#[inline]
pub(crate) fn pack_rounded(
    level: Level,
    rows: &RowsOfLanes<'_, f32>,
    columns: &mut [f32],
    width: usize,
) {
    run_on(level, PackRounded { rows, columns, width });
}

struct PackRounded<'a> {
    rows: &'a RowsOfLanes<'a, f32>,
    columns: &'a mut [f32],
    width: usize,
}

impl Task for PackRounded<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        pack_bits(simd, self.rows, self.columns, self.width);
    }
}

/// [`Rounding::round`] of rows of so many floats, on a level.
#[inline]
pub(crate) fn round_rows(level: Level, rounding: Rounding, rows: &mut [f32], width: usize) {
    run_on(level, RoundRows { rounding, rows, width });
}

struct RoundRows<'a> {
    rounding: Rounding,
    rows: &'a mut [f32],
    width: usize,
}

impl Task for RoundRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for row in self.rows.chunks_exact_mut(self.width.max(1)) {
            self.rounding.round(row);
        }
    }
}

/// [`block_scales`] on a level.
fn scales_on<F: Coded>(level: Level, rows: Rows<'_, F>, b: usize, to: &mut [f32]) {
    run_on(level, ScalesOf { rows, b, to });
}

struct ScalesOf<'a, F> {
    rows: Rows<'a, F>,
    b: usize,
    to: &'a mut [f32],
}

impl<F: Coded> Task for ScalesOf<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        block_scales(simd, self.rows, self.b, self.to);
    }
}

/// [`words`] on a level.
fn words_on<F: Coded>(level: Level, rows: Rows<'_, F>, to: &mut [f32], width: usize) {
    run_on(level, WordsOf { rows, to, width });
}

struct WordsOf<'a, F> {
    rows: Rows<'a, F>,
    to: &'a mut [f32],
    width: usize,
}

impl<F: Coded> Task for WordsOf<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        words(self.rows, self.to, self.width);
    }
}

/// [`scores`] on a level; on the scalar one if this processor lacks it.
fn scores_on<F: Coded>(
    level: Level,
    queries: Queries<'_>,
    keys: Keys<'_, F>,
    walk: &mut Walk,
    s: &mut [f32],
    width: usize,
) {
    match Available::new(level).map(Available::level) {
        Some(Level::Portable) if Portable::IS_BUILT => {
            scores(Portable, Loops, queries, keys, walk, s, width)
        }
        #[cfg(target_arch = "x86_64")]
        Some(Level::Avx2) if has_avx_vnni() => {
            // SAFETY: the processor has all features that the function needs.
            unsafe { scores_avx_vnni(queries, keys, walk, s, width) }
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level is available; its features are all that the function needs.
        Some(Level::Avx2) => unsafe { scores_avx2(queries, keys, walk, s, width) },
        #[cfg(target_arch = "x86_64")]
        Some(Level::Avx512) if has_int8_products() => {
            // SAFETY: the processor has all features that the function needs.
            unsafe { scores_vnni(queries, keys, walk, s, width) }
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as for AVX2.
        Some(Level::Avx512) => unsafe { scores_avx512(queries, keys, walk, s, width) },
        _ => scores(Scalar, Loops, queries, keys, walk, s, width),
    }
}

/// [`Integers::weigh`] on a level: the same numbers on all.
fn weigh_on<F: Coded>(
    level: Level,
    codes: [&[u8]; ROWS],
    values: Values<'_, F>,
    walk: &mut Walk,
    to: [&mut [f32]; ROWS],
) {
    match Available::new(level).map(Available::level) {
        #[cfg(target_arch = "x86_64")]
        Some(Level::Avx2) if has_avx_vnni() => {
            // SAFETY: the processor has all features that the function needs.
            unsafe { weigh_avx_vnni(codes, values, walk, to) }
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level is available; its features are all that the function needs.
        Some(Level::Avx2) => unsafe { weigh_avx2(codes, values, walk, to) },
        #[cfg(target_arch = "x86_64")]
        Some(Level::Avx512) if has_int8_products() => {
            // SAFETY: the processor has all features that the function needs.
            unsafe { weigh_vnni(codes, values, walk, to) }
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as for AVX2.
        Some(Level::Avx512) => unsafe { weigh_avx512(codes, values, walk, to) },
        _ => Integers::<Scalar>::weigh(Loops, codes, values, walk, to),
    }
}

/// [`round_weights`] on a level.
fn round_on<F: Coded>(
    level: Level,
    weights: Weights<'_>,
    scales: &[f32; TILE_K],
    first: usize,
) -> Codes {
    run_on(level, RoundOf::<F> { weights, scales, first, of: PhantomData })
}

struct RoundOf<'a, F> {
    weights: Weights<'a>,
    scales: &'a [f32; TILE_K],
    first: usize,
    of: PhantomData<F>,
}

impl<F: Coded> Task for RoundOf<'_, F> {
    type Output = Codes;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Codes {
        round_weights::<F>(self.weights, self.scales, self.first)
    }
}

/// `$scores` and `$weigh` where `$features` are enabled.
#[cfg(target_arch = "x86_64")]
macro_rules! integers {
    ([$scores:ident, $weigh:ident], $simd:ty, $integers:expr, $features:literal) => {
        #[target_feature(enable = $features)]
        fn $scores<F: Coded>(
            queries: Queries<'_>,
            keys: Keys<'_, F>,
            walk: &mut Walk,
            s: &mut [f32],
            width: usize,
        ) {
            scores(<$simd>::here(), $integers, queries, keys, walk, s, width);
        }
        #[target_feature(enable = $features)]
        fn $weigh<F: Coded>(
            codes: [&[u8]; ROWS],
            values: Values<'_, F>,
            walk: &mut Walk,
            to: [&mut [f32]; ROWS],
        ) {
            Integers::<$simd>::weigh($integers, codes, values, walk, to);
        }
    };
}

#[cfg(target_arch = "x86_64")]
integers!([scores_avx2, weigh_avx2], Avx2, Loops, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
integers!([scores_avx512, weigh_avx512], Avx512, Loops, "avx512f,avx512bw,avx512dq,avx512vl");
#[cfg(target_arch = "x86_64")]
integers!(
    [scores_vnni, weigh_vnni],
    Avx512,
    Int8Products::here(),
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
);
#[cfg(target_arch = "x86_64")]
integers!([scores_avx_vnni, weigh_avx_vnni], Avx2, AvxVnni::here(), "avx2,fma,f16c,avxvnni");
