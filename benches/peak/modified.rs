//! Modifiers of scores, each beside its formula, said apart from flashlet's own.

use flashlet::math::TANH_ULPS;
use flashlet::{Alibi, Attention, Error, Softcap};
use oracle::{Modified, Pair};

/// A modifier, and the same by its formula.
pub(crate) struct Formula {
    pub(crate) name: &'static str,
    /// Gives a plan the modifier, which lives as long as the program.
    pub(crate) plan: fn(&Attention<'static>) -> Result<Attention<'static>, Error>,
    /// What it makes of a score, and by how much a correct kernel may miss that.
    pub(crate) exact: fn(Pair, usize, f64) -> Modified,
}

/// Query heads of the prompts.
pub(crate) const HEADS: usize = 8;

pub(crate) const ALL: [Formula; 2] = [
    Formula { name: "softcap", plan: softcap, exact: capped },
    Formula { name: "alibi", plan: alibi, exact: biased },
];

const CAP: f64 = 50.0;

/// A rounding.
const U: f64 = 1.0 / 16_777_216.0;

fn softcap(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    plan.modify(Box::leak(Box::new(Softcap::new(CAP)?)))
}

fn capped(_: Pair, _: usize, score: f64) -> Modified {
    let s = CAP * (score / CAP).tanh();
    Modified { s, slope: 1.0, error: (2.0 * TANH_ULPS + 5.0) * U * s.abs() }
}

fn alibi(plan: &Attention<'static>) -> Result<Attention<'static>, Error> {
    let slopes = Box::leak(Box::new([0.0; HEADS]));
    Alibi::slopes(slopes);
    plan.modify(Box::leak(Box::new(Alibi::new(slopes))))
}

fn biased(Pair { i, j, .. }: Pair, h: usize, score: f64) -> Modified {
    // Eight heads: 2^-1, 2^-2, ...
    let bias = -(2.0_f64.powi(-(h as i32) - 1)) * i.abs_diff(j) as f64;
    let s = score + bias;
    Modified { s, slope: 1.0, error: 4.0 * U * bias.abs() + 2.0 * U * s.abs() }
}
