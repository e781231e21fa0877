//! What a part is.

use flashlet::simd::Simd;
use flashlet::{E4m3, E5m2, Level};
use half::{bf16, f16};
use measure::on::{Work, on};
use std::ops::RangeInclusive;

/// A function of one number, and what it may miss.
pub(crate) trait Part {
    /// What the table calls it.
    const NAME: &'static str;
    /// What its errors are counted in.
    const UNIT: &'static str;
    /// All of its inputs, as bits.
    const DOMAIN: &'static [RangeInclusive<u32>];
    /// How many inputs of the function one of these stands for: where others follow from it, those are tried with it.
    const EACH: u64 = 1;
    /// Whether it is written over lanes. Otherwise it has the same bits on all levels.
    const BY_LEVEL: bool = true;
    /// What it must give.
    type Exact: Copy;
    /// What it gives.
    type Got: Got;

    /// What it must give.
    fn exact(input: u32) -> Self::Exact;
    /// What it gives, of whole vectors.
    fn compute<S: Simd>(simd: S, inputs: &[u32], got: &mut [Self::Got]);
    /// How far the one is from the other. Infinite if it is wrong altogether, never NaN.
    fn error(input: u32, got: Self::Got, exact: Self::Exact) -> f64;
    /// The largest error that the bound allows for.
    fn limit(fused: bool) -> f64;
}

/// What a part gives: comparable bit by bit.
pub(crate) trait Got: Copy + Default {
    /// Whether all bits are the same, those of a NaN too.
    fn is(self, other: Self) -> bool;
}

macro_rules! got {
    ($($type:ty),*) => { $(
        impl Got for $type {
            #[inline(always)]
            fn is(self, other: Self) -> bool {
                self.to_bits() == other.to_bits()
            }
        }
    )* };
}
got!(f32, f16, bf16, E4m3, E5m2);

impl<T: Got, const N: usize> Got for [T; N]
where
    Self: Default,
{
    #[inline(always)]
    fn is(self, other: Self) -> bool {
        self.into_iter().zip(other).all(|(one, other)| one.is(other))
    }
}

/// The largest error of some inputs, and the first of those that have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// The error.
    pub error: f64,
    /// The bits of the input.
    pub at: u32,
}

impl Worst {
    /// Of no inputs.
    pub(crate) const NONE: Worst = Worst { error: -1.0, at: u32::MAX };

    /// The worse of two.
    pub(crate) fn or(self, other: Worst) -> Worst {
        let is_worse = other.error > self.error || other.error == self.error && other.at < self.at;
        if is_worse { other } else { self }
    }
}

/// A part whose numbers have any type.
pub trait AnyPart: Sync {
    /// What the table calls it.
    fn name(&self) -> &'static str;
    /// What its errors are counted in.
    fn unit(&self) -> &'static str;
    /// All of its inputs, as bits.
    fn domain(&self) -> &'static [RangeInclusive<u32>];
    /// How many inputs of the function one of these stands for.
    fn each(&self) -> u64;
    /// Whether levels may differ.
    fn by_level(&self) -> bool;
    /// The largest error that the bound allows for.
    fn limit(&self, fused: bool) -> f64;
    /// The largest error at each of some levels, all of which this processor has.
    fn worst(&self, inputs: &[u32], levels: &[Level]) -> Vec<Worst>;
}

impl<P: Part + Sync> AnyPart for P {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn unit(&self) -> &'static str {
        P::UNIT
    }

    fn domain(&self) -> &'static [RangeInclusive<u32>] {
        P::DOMAIN
    }

    fn each(&self) -> u64 {
        P::EACH
    }

    fn by_level(&self) -> bool {
        P::BY_LEVEL
    }

    fn limit(&self, fused: bool) -> f64 {
        P::limit(fused)
    }

    fn worst(&self, inputs: &[u32], levels: &[Level]) -> Vec<Worst> {
        let exact: Vec<P::Exact> = inputs.iter().map(|input| P::exact(*input)).collect();
        // Whole vectors of any level: the last input once more.
        let mut whole = inputs.to_vec();
        let last = inputs.last().copied().unwrap_or(0);
        whole.resize(inputs.len().next_multiple_of(WIDEST), last);
        // Levels of a class have the same bits, and need be looked at once.
        let mut known: Vec<(Vec<P::Got>, Worst)> = Vec::new();
        let measured = |level: &Level| {
            let mut got = vec![P::Got::default(); whole.len()];
            on(*level, Compute::<P> { inputs: &whole, got: &mut got })
                .expect("the caller asked which levels there are");
            let same =
                |others: &[P::Got]| got.iter().zip(others).all(|(got, other)| got.is(*other));
            if let Some((_, worst)) = known.iter().find(|(others, _)| same(others)) {
                return *worst;
            }
            let worst = worst_of::<P>(inputs, &got, &exact);
            known.push((got, worst));
            worst
        };
        levels.iter().map(measured).collect()
    }
}

fn worst_of<P: Part>(inputs: &[u32], got: &[P::Got], exact: &[P::Exact]) -> Worst {
    let all = inputs.iter().zip(got).zip(exact);
    let errors = all.map(|((&at, got), exact)| Worst { error: P::error(at, *got, *exact), at });
    errors.fold(Worst::NONE, Worst::or)
}

/// Lanes of the widest vector.
const WIDEST: usize = 16;

struct Compute<'a, P: Part> {
    inputs: &'a [u32],
    got: &'a mut [P::Got],
}

impl<P: Part> Work for Compute<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        P::compute(simd, self.inputs, self.got);
    }
}

/// `f` of the floats of some bits.
#[inline(always)]
pub(crate) fn lanes<S: Simd>(
    simd: S,
    inputs: &[u32],
    got: &mut [f32],
    f: impl Fn(S::F32) -> S::F32,
) {
    for (x, y) in inputs.chunks_exact(S::LANES).zip(got.chunks_exact_mut(S::LANES)) {
        simd.store(f(floats(simd, x)), y);
    }
}

/// The floats of some bits.
#[inline(always)]
pub(crate) fn floats<S: Simd>(simd: S, inputs: &[u32]) -> S::F32 {
    let mut x = [0.0; WIDEST];
    x.iter_mut().zip(inputs).for_each(|(x, bits)| *x = f32::from_bits(*bits));
    simd.load(&x)
}

/// A power of two that a normal f64 is.
#[inline(always)]
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// The exponent of a normal f64: 2^exponent is not above its magnitude, and twice that is.
#[inline(always)]
pub(crate) fn exponent(x: f64) -> i32 {
    (x.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

/// The distance from an exact value, in units of the last place that an f32 of its size has. Infinite where only one of the two
/// is a number, or finite.
#[inline(always)]
pub(crate) fn ulps(got: f32, exact: f64) -> f64 {
    within(got, exact, || power_of_two(exponent(exact).max(-126) - 23))
}

/// The distance from an exact value as a share of it, in units of u = 2^-24.
#[inline(always)]
pub(crate) fn relative(got: f32, exact: f64) -> f64 {
    within(got, exact, || exact.abs() * power_of_two(-24))
}

#[inline(always)]
fn within(got: f32, exact: f64, unit: impl Fn() -> f64) -> f64 {
    let got = f64::from(got);
    if got == exact || got.is_nan() && exact.is_nan() {
        return 0.0;
    }
    let error = (got - exact).abs() / unit();
    if error.is_nan() { f64::INFINITY } else { error }
}
