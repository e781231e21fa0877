//! Scores that grow with the position of their query.

use crate::change::Row;
use crate::error::Error;
use crate::modifier::{Alibi, At, Bias, Capped, Modifier, Natural, Softcap};
use crate::shape::Shape;
use crate::simd::Simd;

/// `s * (1 + scale * ln(1 + floor((p + 1) / step)))` for the query at position `p`: attention stays sharp in long
/// contexts (Llama 4, in its layers without positions: a step of 8192 and a scale of 0.1). Queries before position 0
/// have a factor of 1.
///
/// ```
/// use flashlet::{Attention, Heads, Mask, Offset, Shape, Temperature};
/// # fn main() -> Result<(), flashlet::Error> {
/// let temperature = Temperature::new(8192, 0.1)?;
/// let shape = Shape { batch: 1, q_len: 1, kv_len: 100_000, heads: Heads::new(40, 8, 128) };
/// let plan = Attention::new(shape, Mask::causal(Offset::BOTTOM_RIGHT))?.modify(&temperature)?;
/// assert!((temperature.at(99_999) - 1.2564949).abs() < 1e-6); // 1 + 0.1 ln(1 + 12)
/// # let _ = plan;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    step: u64,
    scale: f64,
}

impl Temperature {
    /// Positions that share a factor, and how fast it grows.
    ///
    /// # Errors
    /// [`Error::Temperature`] if the step is 0, or a factor might not be finite in f32.
    pub fn new(step: u64, scale: f64) -> Result<Self, Error> {
        // No position has a logarithm of 44.
        #[expect(clippy::cast_possible_truncation, reason = "whether it overflows is the question")]
        let largest = (1.0 + 44.0 * scale) as f32;
        if step == 0 || !largest.is_finite() {
            return Err(Error::Temperature { step, scale_bits: scale.to_bits() });
        }
        Ok(Temperature { step, scale })
    }

    /// The factor of the scores of the query at a position.
    #[must_use]
    pub fn at(&self, position: i64) -> f32 {
        let passed = u64::try_from(position.saturating_add(1)).unwrap_or(0) / self.step.max(1);
        #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
        let rounded = (1.0 + self.scale * libm::log1p(passed as f64)) as f32;
        rounded
    }

    /// The temperature, and a modifier of the scores that it makes.
    #[must_use]
    pub const fn then<M: Untempered>(self, modifier: M) -> Tempered<M> {
        Tempered(self, modifier)
    }
}

impl Modifier for Temperature {
    #[inline(always)]
    fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32 {
        simd.mul(score, at.of_row[1])
    }
    fn of_row(&self, row: &Row) -> [f32; 2] {
        [0.0, self.at(row.position)]
    }
    fn needs_positions(&self) -> bool {
        true
    }
}

/// A [`Modifier`] that may follow a temperature: it leaves the second number of a row to that.
pub trait Untempered: Modifier {}

impl Untempered for Softcap {}
impl<B: Bias> Untempered for Capped<B> {}
impl Untempered for Alibi<'_> {}
impl<M: Untempered> Untempered for Natural<M> {}

/// A temperature, and then a modifier: [`Temperature::then`].
#[derive(Clone, Copy, Debug)]
pub struct Tempered<M>(Temperature, M);

impl<M: Untempered> Modifier for Tempered<M> {
    #[inline(always)]
    fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32 {
        let score = self.0.modify(simd, score, at);
        self.1.modify(simd, score, at)
    }
    fn of_row(&self, row: &Row) -> [f32; 2] {
        [self.1.of_row(row)[0], self.0.at(row.position)]
    }
    fn needs_positions(&self) -> bool {
        true
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.1.check(shape)
    }
}
