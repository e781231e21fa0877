//! What happens to scores between the product and the softmax.
//!
//! ```text
//! s = scale * <q, k>        a temperature        then a cap, cap * tanh(s / cap)        then a bias
//! ```
//! In this order, which types keep: a temperature may be followed by a cap or a bias, a cap by a bias, a bias by nothing. A modifier works on lanes of
//! scores in units of log2, `s * log2(e)`, as the kernels hold them, and is compiled for each level where it is used.

use crate::change::{Lines, Pairs, Row};
use crate::dispatch::AnyModifier;
use crate::error::{Error, Tensor};
use crate::math::tanh;
use crate::shape::Shape;
use crate::simd::{Level, MAX_LANES, Simd};
use crate::tiling::Lanes;
use core::f32::consts::{LN_2, LOG2_E};

/// A change of scores, lane by lane.
///
/// ```
/// use flashlet::simd::Simd;
/// use flashlet::{At, Modifier, Natural};
///
/// /// Keys further away than a hundred tokens count half as much.
/// struct Far;
///
/// impl Modifier for Far {
///     fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32 {
///         let is_near = simd.lt(at.distance, simd.splat(100.0));
///         simd.select(is_near, score, simd.sub(score, simd.splat(core::f32::consts::LN_2)))
///     }
///     fn needs_positions(&self) -> bool {
///         true
///     }
/// }
/// let far = Natural(Far); // scores as the formula has them, not in units of log2
/// # let _ = far;
/// ```
pub trait Modifier: Sync {
    /// The new scores of some pairs.
    fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32;

    /// Two numbers of each row, which [`At::of_row`] has for each pair. Whoever may follow a [`Temperature`]
    /// ([`Untempered`](crate::Untempered)) leaves it the second.
    ///
    /// [`Temperature`]: crate::Temperature
    fn of_row(&self, row: &Row) -> [f32; 2] {
        let _ = row;
        [0.0; 2]
    }

    /// Whether it means nothing without the queries' positions.
    fn needs_positions(&self) -> bool {
        false
    }

    /// Whether it fits attention of this shape.
    ///
    /// # Errors
    /// One that names what does not.
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let _ = shape;
        Ok(())
    }
}

/// A [`Modifier`] that adds something: it comes after a cap.
pub trait Bias: Modifier {}

/// What a [`Modifier`] knows of each pair.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct At<V> {
    /// The query's position minus the key's: exact up to 2^24.
    pub distance: V,
    /// The query's position: exact up to 2^24.
    pub position: V,
    /// What [`Modifier::of_row`] says of the row.
    pub of_row: [V; 2],
}

/// `cap * tanh(s / cap)` (Gemma 2, Grok): scores stay within `-cap..cap`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softcap {
    /// In units of log2, and one over it.
    cap: f32,
    inverse: f32,
}

impl Softcap {
    /// A cap above 0.
    ///
    /// # Errors
    /// [`Error::Cap`] if it is not finite or not above 0, or so small or large that it or one over it is no f32.
    pub fn new(cap: f64) -> Result<Self, Error> {
        let cap_of_log2 = cap * core::f64::consts::LOG2_E;
        #[expect(clippy::cast_possible_truncation, reason = "rounded once each")]
        let (rounded, inverse) = (cap_of_log2 as f32, (1.0 / cap_of_log2) as f32);
        if !(rounded.is_normal() && inverse.is_normal() && rounded > 0.0) {
            return Err(Error::Cap { cap_bits: cap.to_bits() });
        }
        Ok(Softcap { cap: rounded, inverse })
    }

    /// The cap, and a bias after it.
    #[must_use]
    pub const fn then<B: Bias>(self, bias: B) -> Capped<B> {
        Capped(self, bias)
    }
}

impl Modifier for Softcap {
    #[inline(always)]
    fn modify<S: Simd>(&self, simd: S, score: S::F32, _: At<S::F32>) -> S::F32 {
        let x = simd.mul(score, simd.splat(self.inverse));
        simd.mul(tanh(simd, x), simd.splat(self.cap))
    }
}

/// A cap and then a bias: [`Softcap::then`].
#[derive(Clone, Copy, Debug)]
pub struct Capped<B>(Softcap, B);

impl<B: Bias> Modifier for Capped<B> {
    #[inline(always)]
    fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32 {
        let score = self.0.modify(simd, score, at);
        self.1.modify(simd, score, at)
    }
    fn of_row(&self, row: &Row) -> [f32; 2] {
        self.1.of_row(row)
    }
    fn needs_positions(&self) -> bool {
        self.1.needs_positions()
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.1.check(shape)
    }
}

/// Attention with linear biases: `s - slope * |p - j|` (Press et al., arXiv 2108.12409). The whole term, also where a row
/// has it in common: the log-sum-exp is that of the formula.
#[derive(Clone, Copy, Debug)]
pub struct Alibi<'a>(&'a [f32]);

impl<'a> Alibi<'a> {
    /// A slope for each query head: those of [`Alibi::slopes`], or others.
    #[must_use]
    pub const fn new(slopes: &'a [f32]) -> Self {
        Alibi(slopes)
    }

    /// The slopes of a model with as many heads, for any number of them: `2^(-8 (h + 1) / c)` for the first `c` heads,
    /// the largest power of two of them, and `2^(-4 (2 (h - c) + 1) / c)` for the others.
    pub fn slopes(slopes: &mut [f32]) {
        let heads = slopes.len();
        let c = if heads == 0 { 1 } else { 1_usize << heads.ilog2() };
        for (h, slope) in slopes.iter_mut().enumerate() {
            let exponent = match h.checked_sub(c) {
                None => 8.0 * (h + 1) as f64,
                Some(h) => 4.0 * (2 * h + 1) as f64,
            };
            #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
            let rounded = libm::exp2(-exponent / c as f64) as f32;
            *slope = rounded;
        }
    }
}

impl Modifier for Alibi<'_> {
    #[inline(always)]
    fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32 {
        let zero = simd.splat(0.0);
        let back = simd.sub(zero, at.distance);
        let minus_size = simd.select(simd.lt(zero, at.distance), back, at.distance);
        simd.mul_add(minus_size, at.of_row[0], score)
    }
    fn of_row(&self, row: &Row) -> [f32; 2] {
        [self.0.get(row.head).map_or(0.0, |slope| slope * LOG2_E), 0.0]
    }
    fn needs_positions(&self) -> bool {
        true
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let (needed, given) = (shape.heads.q, self.0.len());
        let tensor = Tensor::Slopes;
        if needed == given { Ok(()) } else { Err(Error::Length { tensor, needed, given }) }
    }
}

impl Bias for Alibi<'_> {}

/// A modifier that is given scores as the formula has them, not in units of log2: two more products, and their
/// rounding.
#[derive(Clone, Copy, Debug)]
pub struct Natural<M>(pub M);

impl<M: Modifier> Modifier for Natural<M> {
    #[inline(always)]
    fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32 {
        let score = simd.mul(score, simd.splat(LN_2));
        simd.mul(self.0.modify(simd, score, at), simd.splat(LOG2_E))
    }
    fn of_row(&self, row: &Row) -> [f32; 2] {
        self.0.of_row(row)
    }
    fn needs_positions(&self) -> bool {
        self.0.needs_positions()
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.0.check(shape)
    }
}

impl<M: Bias> Bias for Natural<M> {}

/// What a modifier knows of each row, in its lane or its line: its query's position minus that of the first key, that
/// position itself, and what the modifier says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    distances: &'a [f32],
    positions: &'a [f32],
    of_rows: [&'a [f32]; 2],
}

/// Rows of a block at most.
const MAX_ROWS: usize = 64;

/// Changes the scores of some pairs on a level.
pub(crate) fn change(
    modifier: &dyn AnyModifier,
    level: Level,
    pairs: &Pairs<'_>,
    lines: Lines<'_>,
) {
    let [mut distances, mut positions, mut first, mut second] = [[0.0; MAX_ROWS]; 4];
    let of_rows = first.iter_mut().zip(&mut second);
    let lanes = distances.iter_mut().zip(&mut positions).zip(of_rows).skip(lines.idle);
    for (((distance, position), (first, second)), row) in lanes.zip(pairs.rows.clone()) {
        let row = pairs.row(row);
        *distance = row.position.saturating_sub(pairs.keys.start as i64) as f32;
        *position = row.position as f32;
        [*first, *second] = modifier.numbers_of_row(&row);
    }
    let (distances, positions, of_rows) = (&distances[..], &positions[..], [&first[..], &second]);
    modifier.apply(level, lines, Given { distances, positions, of_rows });
}

/// Applies a modifier to the scores of some pairs.
#[inline(always)]
pub(crate) fn apply<S: Simd, M: Modifier>(
    simd: S,
    modifier: &M,
    lines: Lines<'_>,
    given: Given<'_>,
) {
    let Lines { s, width, along, .. } = lines;
    let Given { distances, positions, of_rows } = given;
    let mut counting = [0.0; MAX_LANES];
    counting.iter_mut().zip(0_u8..).for_each(|(x, n)| *x = f32::from(n));
    let steps = simd.load(&counting);
    for (n, line) in s.chunks_exact_mut(width.max(1)).enumerate() {
        for (lane, scores) in line.chunks_exact_mut(S::LANES).enumerate() {
            let lane = lane * S::LANES;
            let (keys, row) = match along {
                Lanes::Queries => (simd.splat(n as f32), lane),
                Lanes::Keys => (simd.add(simd.splat(lane as f32), steps), n),
            };
            let distance = simd.sub(rows_of(simd, distances, along, row), keys);
            let position = rows_of(simd, positions, along, row);
            let [first, second] = of_rows;
            let first = rows_of(simd, first, along, row);
            let of_row = [first, rows_of(simd, second, along, row)];
            let at = At { distance, position, of_row };
            simd.store(modifier.modify(simd, simd.load(scores), at), scores);
        }
    }
}

/// The numbers of as many rows as a vector has lanes, or of one in all lanes.
#[inline(always)]
fn rows_of<S: Simd>(simd: S, numbers: &[f32], along: Lanes, row: usize) -> S::F32 {
    let numbers = numbers.get(row..).unwrap_or(&[]);
    match along {
        Lanes::Queries => simd.load(numbers),
        Lanes::Keys => simd.splat(numbers.first().copied().unwrap_or(0.0)),
    }
}
