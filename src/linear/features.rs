//! Feature maps: what queries and keys become before they meet.

use super::dot::dot;
use crate::dispatch::AnyFeatures;
use crate::math::exp;
use crate::moves::{get, put};
use crate::simd::Simd;

/// A map of queries and keys, channel by channel, compiled for each level where it is used.
///
/// ```
/// use flashlet::FeatureMap;
/// use flashlet::simd::Simd;
///
/// /// Leaky: negative features count a tenth.
/// struct Leaky;
///
/// impl FeatureMap for Leaky {
///     fn map<S: Simd>(&self, simd: S, x: S::F32) -> S::F32 {
///         simd.select(simd.lt(x, simd.splat(0.0)), simd.mul(x, simd.splat(0.1)), x)
///     }
/// }
/// # let _ = Leaky;
/// ```
pub trait FeatureMap: Sync {
    /// The features of some channels.
    fn map<S: Simd>(&self, simd: S, x: S::F32) -> S::F32;
}

/// `elu(x) + 1`: `x + 1` above 0, `e^x` below. Never negative (arXiv 2006.16236).
#[derive(Clone, Copy, Debug)]
pub struct EluPlusOne;

/// `max(x, 0)`.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

/// `max(x, 0)^2`.
#[derive(Clone, Copy, Debug)]
pub struct SquaredRelu;

/// `e^x`.
#[derive(Clone, Copy, Debug)]
pub struct ExpFeatures;

impl FeatureMap for EluPlusOne {
    #[inline(always)]
    fn map<S: Simd>(&self, simd: S, x: S::F32) -> S::F32 {
        let is_positive = simd.lt(simd.splat(0.0), x);
        simd.select(is_positive, simd.add(x, simd.splat(1.0)), exp(simd, x))
    }
}

impl FeatureMap for Relu {
    #[inline(always)]
    fn map<S: Simd>(&self, simd: S, x: S::F32) -> S::F32 {
        // Not `max`, which would turn NaN into 0.
        simd.select(simd.lt(x, simd.splat(0.0)), simd.splat(0.0), x)
    }
}

impl FeatureMap for SquaredRelu {
    #[inline(always)]
    fn map<S: Simd>(&self, simd: S, x: S::F32) -> S::F32 {
        let x = Relu.map(simd, x);
        simd.mul(x, x)
    }
}

impl FeatureMap for ExpFeatures {
    #[inline(always)]
    fn map<S: Simd>(&self, simd: S, x: S::F32) -> S::F32 {
        exp(simd, x)
    }
}

/// Maps a row of numbers.
#[inline(always)]
pub(crate) fn apply<S: Simd, M: FeatureMap>(simd: S, map: &M, row: &mut [f32]) {
    for x in row.chunks_mut(S::LANES) {
        put(simd, map.map(simd, get(simd, x)), x);
    }
}

/// What a plan does to queries and keys.
#[derive(Clone, Copy)]
pub(crate) struct Features<'m> {
    pub(crate) map: Option<&'m dyn AnyFeatures>,
    /// What is added to a sum of squares before its root.
    pub(crate) l2: Option<f32>,
}

impl core::fmt::Debug for Features<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Features").field("map", &self.map.is_some()).field("l2", &self.l2).finish()
    }
}

/// Divides a row by the root of its sum of squares and `eps`.
#[inline(always)]
pub(crate) fn normalise(row: &mut [f32], eps: f32) {
    let squares = dot(row, row);
    let length = libm::sqrtf(squares + eps);
    row.iter_mut().for_each(|x| *x /= length);
}
