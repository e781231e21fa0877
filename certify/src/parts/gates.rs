//! What makes gates of what models store. They are scalar: the same bits on all levels.

use crate::part::{Part, ulps};
use flashlet::simd::Simd;
use flashlet::{log_sigmoid, sigmoid, silu, softplus};
use std::marker::PhantomData;
use std::ops::RangeInclusive;

/// A function of one number, its formula in f64, and the units in the last place that its documentation promises.
pub(crate) trait Gate {
    const NAME: &'static str;
    const ULPS: f64;
    fn got(x: f32) -> f32;
    fn exact(x: f64) -> f64;
}

/// `ln(1 + e^x)`; and `-ln(1 + e^-x)`, which must be the same of the other sign.
pub(crate) struct Softplus;
/// `1 / (1 + e^-x)`.
pub(crate) struct Sigmoid;
/// `x / (1 + e^-x)`.
pub(crate) struct Silu;

impl Gate for Softplus {
    const NAME: &'static str = "softplus";
    const ULPS: f64 = 1.62;
    fn got(x: f32) -> f32 {
        let (y, other) = (softplus(x), -log_sigmoid(-x));
        // What differs from itself has no error that would pass.
        if y.to_bits() == other.to_bits() || y.is_nan() && other.is_nan() { y } else { f32::NAN }
    }
    fn exact(x: f64) -> f64 {
        x.max(0.0) + if x.is_nan() { x } else { (-x.abs()).exp().ln_1p() }
    }
}

impl Gate for Sigmoid {
    const NAME: &'static str = "sigmoid";
    const ULPS: f64 = 2.41;
    fn got(x: f32) -> f32 {
        sigmoid(x)
    }
    fn exact(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }
}

impl Gate for Silu {
    const NAME: &'static str = "silu";
    const ULPS: f64 = 3.32;
    fn got(x: f32) -> f32 {
        silu(x)
    }
    fn exact(x: f64) -> f64 {
        // The limit, where the formula has 0 times infinity.
        if x == f64::NEG_INFINITY { -0.0 } else { x * Sigmoid::exact(x) }
    }
}

/// A gate as a part.
pub(crate) struct Scalar<G>(pub(crate) PhantomData<G>);

impl<G: Gate> Part for Scalar<G> {
    const NAME: &'static str = G::NAME;
    const UNIT: &'static str = "ulp";
    const DOMAIN: &'static [RangeInclusive<u32>] = &[0..=u32::MAX];
    const BY_LEVEL: bool = false;
    type Exact = f64;
    type Got = f32;

    fn exact(input: u32) -> f64 {
        G::exact(f64::from(f32::from_bits(input)))
    }
    fn compute<S: Simd>(_: S, inputs: &[u32], got: &mut [f32]) {
        for (x, got) in inputs.iter().zip(got) {
            *got = G::got(f32::from_bits(*x));
        }
    }
    fn error(_: u32, got: f32, exact: f64) -> f64 {
        ulps(got, exact)
    }
    fn limit(_: bool) -> f64 {
        G::ULPS
    }
}
