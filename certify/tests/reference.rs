//! What f64's functions miss, against numbers of 106 bits: errors of f32 are compared with theirs.

use oracle::rope::Double;

/// A relative error, at most 2^-27 ulp of f32.
const ENOUGH: f64 = 2.0 * f64::EPSILON;

/// Every `stride`-th f32 from one to another, as bits.
fn some(first: f32, last: f32, stride: usize) -> impl Iterator<Item = f64> {
    let bits = first.to_bits()..=last.to_bits();
    bits.step_by(stride).map(|bits| f64::from(f32::from_bits(bits)))
}

fn assert_near(name: &str, x: f64, rounded: f64, exact: Double) {
    let missed = ((Double::from(rounded) - exact) / exact).to_f64().abs();
    assert!(missed <= ENOUGH, "{name}({x:e}): {missed:e}");
}

#[test]
fn exponentials_are_exact_enough() {
    for x in some(-1e-6, -126.0, 19_997) {
        assert_near("exp2", x, x.exp2(), (Double::from(x) * Double::LN_2).exp());
        assert_near("exp", x, x.exp(), Double::from(x).exp());
        assert_near("exp", -x, (-x).exp(), Double::from(-x).exp());
    }
}

#[test]
fn logarithms_are_exact_enough() {
    for x in some(f32::MIN_POSITIVE, f32::MAX, 99_991).filter(|x| *x != 1.0) {
        assert_near("ln", x, x.ln(), Double::from(x).ln());
    }
}

#[test]
fn hyperbolic_tangents_are_exact_enough() {
    // Below, 1 - e cancels too many of the 106 bits.
    for x in some(1e-6, 12.0, 9973) {
        let e = Double::from(-2.0 * x).exp();
        assert_near("tanh", x, x.tanh(), (Double::ONE - e) / (Double::ONE + e));
    }
}

#[test]
fn sines_are_exact_enough() {
    // An eighth of a turn, and 20 turns, less the nearest whole ones.
    for x in some(1e-6, 128.0, 9973) {
        let turns = (Double::from(x) / Double::TAU).round();
        let angle = Double::from(x) - turns * Double::TAU;
        assert_near("sin", x, x.sin(), series(angle, angle, 2));
        assert_near("cos", x, x.cos(), series(angle, Double::ONE, 1));
    }
}

/// `first (1 - x^2 / (n (n + 1)) (1 - x^2 / ((n + 2) (n + 3)) ...))`: up to half a turn, 30 terms leave less than 1e-40.
fn series(x: Double, first: Double, n: u32) -> Double {
    let mut sum = Double::ONE;
    for term in (0..30).rev() {
        let k = f64::from(n + 2 * term);
        sum = Double::ONE - x * x * sum / Double::from(k * (k + 1.0));
    }
    first * sum
}
