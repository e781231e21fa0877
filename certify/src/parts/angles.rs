//! Sine and cosine: of a phase in units of 2^-32 turns, and of f32 radians.

use crate::part::{Part, ulps};
use flashlet::math::{SIN_COS_ERROR, sin_cos, sin_cos_of_radians};
use flashlet::simd::Simd;
use oracle::rope::TABLE_ERROR;
use std::f64::consts::TAU;
use std::ops::RangeInclusive;

/// Those of all phases. The polynomials see 30 bits of a phase only; the other two say by how many quarters of a turn the
/// result is turned further: an input is the 30 bits, tried with all four.
pub(crate) struct Phase;

/// The quarters of a turn.
const QUARTERS: usize = 4;

/// What rounding a phase to 32 bits moves a sine by at most, and rounding its frequency to 64 bits at position 2^32.
const ROUNDED: f64 = 2.0 * TAU / (1_u64 << 33) as f64;

impl Part for Phase {
    const NAME: &'static str = "sin, cos of a phase";
    const UNIT: &'static str = "absolute";
    const DOMAIN: &'static [RangeInclusive<u32>] = &[0..=0x3fff_ffff];
    const EACH: u64 = QUARTERS as u64;
    type Exact = [f64; 2];
    type Got = [[f32; 2]; QUARTERS];

    fn exact(input: u32) -> [f64; 2] {
        // Of the nearest quarter's residue, which f64 holds.
        let quarter = input.wrapping_add(1 << 29) >> 30;
        let rest = f64::from(input.wrapping_sub(quarter << 30) as i32) / (1_u64 << 32) as f64;
        let (sin, cos) = (rest * TAU).sin_cos();
        if quarter == 0 { [sin, cos] } else { [cos, -sin] }
    }
    #[inline(always)]
    fn compute<S: Simd>(_: S, inputs: &[u32], got: &mut [Self::Got]) {
        for (input, got) in inputs.iter().zip(got) {
            for (quarter, got) in (0..).zip(got) {
                *got = sin_cos(input | quarter << 30);
            }
        }
    }
    fn error(_: u32, got: Self::Got, [s, c]: [f64; 2]) -> f64 {
        let turned = [[s, c], [c, -s], [-s, -c], [-c, s]];
        let mut worst = 0.0_f64;
        for (got, exact) in got.as_flattened().iter().zip(turned.as_flattened()) {
            if got.is_nan() || got.abs() > 1.0 {
                return f64::INFINITY;
            }
            worst = worst.max((f64::from(*got) - exact).abs());
        }
        worst
    }
    fn limit(_: bool) -> f64 {
        const { assert!(SIN_COS_ERROR <= TABLE_ERROR) };
        SIN_COS_ERROR - ROUNDED
    }
}

/// Those of all f32: what tables of trained models hold. The bound takes them for the nearest f32, of which one in 2^28 may be
/// the next. Of a negative angle the sine has the other sign.
pub(crate) struct Radians;

impl Part for Radians {
    const NAME: &'static str = "sin, cos of radians";
    const UNIT: &'static str = "ulp";
    const DOMAIN: &'static [RangeInclusive<u32>] = &[0..=0x7fff_ffff];
    const EACH: u64 = 2;
    const BY_LEVEL: bool = false;
    type Exact = [f64; 2];
    type Got = [[f32; 2]; 2];

    fn exact(input: u32) -> [f64; 2] {
        let (sin, cos) = f64::from(f32::from_bits(input)).sin_cos();
        [sin, cos]
    }
    fn compute<S: Simd>(_: S, inputs: &[u32], got: &mut [Self::Got]) {
        for (input, got) in inputs.iter().zip(got) {
            let angle = f32::from_bits(*input);
            *got = [sin_cos_of_radians(angle), sin_cos_of_radians(-angle)];
        }
    }
    fn error(_: u32, [right, left]: Self::Got, exact: [f64; 2]) -> f64 {
        let same = |a: f32, b: f32| a == b || a.is_nan() && b.is_nan();
        if !same(left[0], -right[0]) || !same(left[1], right[1]) {
            return f64::INFINITY;
        }
        ulps(right[0], exact[0]).max(ulps(right[1], exact[1]))
    }
    fn limit(_: bool) -> f64 {
        0.501
    }
}
