//! The functions of `moves.rs` for each level and element, to be called where the level is known only
//! when running.

use super::per_level::{Available, PerLevel};
use crate::decode::products::{self, Weights};
use crate::elem::Elem;
use crate::moves::{self, RowsOfLanes};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Level, MAX_LANES, Portable, Rows, Scalar, Unscaled, Walk};

/// The functions of each level. An element is linked only where a view of it was made.
#[derive(Debug)]
pub struct MoveTable<T>(PerLevel<Moves<T>>);

/// The functions of one level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moves<T> {
    flat: unsafe fn(Rows<'_, T>, isize, f32, &mut [f32], usize),
    round: unsafe fn(&[f32], &mut [T]),
    pack: unsafe fn(&RowsOfLanes<'_, T>, f32, &mut [f32], usize),
    lift: unsafe fn(&[f32], usize, &mut [&mut [T]; MAX_LANES]),
    scores: unsafe fn(Rows<'_>, Rows<'_, T>, &mut Walk, &mut [f32], usize),
    sums: unsafe fn(Weights<'_>, Rows<'_, T>, &mut Walk, &mut [f32], usize),
    pairs: Option<PairMoves<T>>,
}

/// The functions of a level whose products may be of bf16 pairs.
#[derive(Clone, Copy, Debug)]
struct PairMoves<T> {
    flat: unsafe fn(Rows<'_, T>, &mut [f32], usize),
    weave: unsafe fn(Rows<'_, T>, &mut [f32], usize),
    pack: unsafe fn(&RowsOfLanes<'_, f32>, &mut [f32], usize),
}

impl<T: Elem> MoveTable<T> {
    pub(crate) const fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        let (avx2, avx512) = (avx2(), Moves { pairs: Some(pairs()), ..avx512() });
        // Never available there, so never asked for.
        #[cfg(not(target_arch = "x86_64"))]
        let (avx2, avx512) = (scalar(), scalar());
        MoveTable(PerLevel::new([scalar(), portable(), avx2, avx512]))
    }

    /// The functions of a level that this processor has; those of the scalar one otherwise.
    #[inline(always)]
    pub(crate) fn at(&'static self, level: Level) -> Mover<T> {
        Mover(self.0.at(level))
    }

    /// The functions of a level that this processor has.
    #[inline(always)]
    pub(crate) fn of(&'static self, level: Available) -> Mover<T> {
        Mover(self.0.of(level))
    }
}

/// Functions that this processor can run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mover<T: 'static>(&'static Moves<T>);

impl<T: Elem> Mover<T> {
    /// [`moves::flat`].
    pub(crate) fn flat(
        self,
        rows: Rows<'_, T>,
        ahead: isize,
        scale: f32,
        to: &mut [f32],
        width: usize,
    ) {
        // SAFETY: `PerLevel::at` asked whether the level is available; its features are all that
        // these functions need.
        unsafe { (self.0.flat)(rows, ahead, scale, to, width) }
    }

    /// [`moves::pack`].
    pub(crate) fn pack(
        self,
        rows: &RowsOfLanes<'_, T>,
        scale: f32,
        columns: &mut [f32],
        width: usize,
    ) {
        // SAFETY: as for `flat`.
        unsafe { (self.0.pack)(rows, scale, columns, width) }
    }

    /// [`moves::lift`].
    pub(crate) fn lift(self, columns: &[f32], width: usize, rows: &mut [&mut [T]; MAX_LANES]) {
        // SAFETY: as for `flat`.
        unsafe { (self.0.lift)(columns, width, rows) }
    }

    /// [`products::scores`].
    pub(crate) fn scores(
        self,
        queries: Rows<'_>,
        keys: Rows<'_, T>,
        walk: &mut Walk,
        s: &mut [f32],
        width: usize,
    ) {
        // SAFETY: as for `flat`.
        unsafe { (self.0.scores)(queries, keys, walk, s, width) }
    }

    /// [`products::sums`].
    pub(crate) fn sums(
        self,
        weights: Weights<'_>,
        values: Rows<'_, T>,
        walk: &mut Walk,
        to: &mut [f32],
        width: usize,
    ) {
        // SAFETY: as for `flat`.
        unsafe { (self.0.sums)(weights, values, walk, to, width) }
    }

    /// The functions for bf16 pairs, if the level has any.
    pub(crate) fn pairs(self) -> Option<PairMover<T>> {
        // Elsewhere no level has; so no stack is kept for their rows.
        if cfg!(target_arch = "x86_64") { self.0.pairs.map(PairMover) } else { None }
    }

    /// [`moves::round`].
    pub(crate) fn round(self, from: &[f32], to: &mut [T]) {
        // SAFETY: as for `flat`.
        unsafe { (self.0.round)(from, to) }
    }
}

/// Functions for bf16 pairs that this processor can run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairMover<T: 'static>(PairMoves<T>);

impl<T: Elem> PairMover<T> {
    /// `flat` of `pairs.rs`.
    pub(crate) fn flat(self, rows: Rows<'_, T>, to: &mut [f32], width: usize) {
        // SAFETY: made only by a `Mover`, whose level this processor has.
        unsafe { (self.0.flat)(rows, to, width) }
    }

    /// [`moves::pack_bits`].
    pub(crate) fn pack(self, rows: &RowsOfLanes<'_, f32>, columns: &mut [f32], width: usize) {
        // SAFETY: as for `flat`.
        unsafe { (self.0.pack)(rows, columns, width) }
    }

    /// `weave` of `pairs.rs`.
    pub(crate) fn weave(self, rows: Rows<'_, T>, to: &mut [f32], width: usize) {
        // SAFETY: as for `flat`.
        unsafe { (self.0.weave)(rows, to, width) }
    }
}

/// `$token` makes a backend where `$features` are enabled.
macro_rules! moves {
    ($name:ident, $token:expr $(, $features:literal)?) => {
        const fn $name<T: Elem>() -> Moves<T> {
            $(#[target_feature(enable = $features)])?
            fn flat<T: Elem>(
                rows: Rows<'_, T>,
                ahead: isize,
                scale: f32,
                to: &mut [f32],
                width: usize,
            ) {
                moves::flat($token, rows, ahead, scale, to, width);
            }
            $(#[target_feature(enable = $features)])?
            fn round<T: Elem>(from: &[f32], to: &mut [T]) {
                moves::round($token, from, to);
            }
            $(#[target_feature(enable = $features)])?
            fn pack<T: Elem>(
                rows: &RowsOfLanes<'_, T>,
                scale: f32,
                columns: &mut [f32],
                width: usize,
            ) {
                moves::pack($token, rows, scale, columns, width);
            }
            $(#[target_feature(enable = $features)])?
            fn lift<T: Elem>(
                columns: &[f32],
                width: usize,
                rows: &mut [&mut [T]; MAX_LANES],
            ) {
                moves::lift($token, columns, width, rows);
            }
            $(#[target_feature(enable = $features)])?
            fn scores<T: Elem>(
                queries: Rows<'_>,
                keys: Rows<'_, T>,
                walk: &mut Walk,
                s: &mut [f32],
                width: usize,
            ) {
                products::scores($token, queries, (keys, Unscaled), walk, s, width);
            }
            $(#[target_feature(enable = $features)])?
            fn sums<T: Elem>(
                weights: Weights<'_>,
                values: Rows<'_, T>,
                walk: &mut Walk,
                to: &mut [f32],
                width: usize,
            ) {
                products::sums($token, weights, (values, Unscaled), walk, to, width);
            }
            Moves {
                flat: flat::<T>,
                round: round::<T>,
                pack: pack::<T>,
                lift: lift::<T>,
                scores: scores::<T>,
                sums: sums::<T>,
                pairs: None,
            }
        }
    };
}

moves!(scalar, Scalar);
moves!(portable, Portable);
#[cfg(target_arch = "x86_64")]
moves!(avx2, Avx2::here(), "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
moves!(avx512, Avx512::here(), "avx512f,avx512bw,avx512dq,avx512vl");

#[cfg(target_arch = "x86_64")]
const fn pairs<T: Elem>() -> PairMoves<T> {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn flat<T: Elem>(rows: Rows<'_, T>, to: &mut [f32], width: usize) {
        crate::pairs::flat(rows, to, width);
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn weave<T: Elem>(rows: Rows<'_, T>, to: &mut [f32], width: usize) {
        crate::pairs::weave(rows, to, width);
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn pack(rows: &RowsOfLanes<'_, f32>, columns: &mut [f32], width: usize) {
        moves::pack_bits(Avx512::here(), rows, columns, width);
    }
    PairMoves { flat: flat::<T>, weave: weave::<T>, pack }
}
