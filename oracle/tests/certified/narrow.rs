//! 16-bit formats and the instruction that multiplies pairs of bf16, in software.

use oracle::Format;

use crate::families::Rng;

/// Rounds to nearest even with `bits` significant bits, fewer below `2^lowest`: gradual underflow.
fn round_to(x: f64, bits: i32, lowest: i32) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = (x.to_bits() >> 52 & 0x7ff) as i32 - 1023; // no subnormal f64 comes here
    let ulp = power(exponent.max(lowest) - (bits - 1));
    (x / ulp).round_ties_even() * ulp
}

fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// What a number becomes when it is stored in a format and read again.
pub(crate) fn stored(x: f32, format: Format) -> f32 {
    let (bits, lowest, largest) = match format {
        Format::F32 => return x,
        Format::F16 => (11, -14, 65_504.0),
        Format::Bf16 => (8, -126, (2.0 - 1.0 / 128.0) * power(127)),
    };
    let rounded = round_to(f64::from(x), bits, lowest);
    if rounded.abs() > largest { x * f32::INFINITY } else { rounded as f32 }
}

/// Rounds to bf16.
pub(crate) fn to_bf16(x: f32) -> f32 {
    stored(x, Format::Bf16)
}

/// In which order `vdpbf16ps` adds two products to an accumulator. Section 9 of `src/bound.rs` allows all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The odd product, then the even one: what Intel documents.
    OddFirst,
    EvenFirst,
    /// The products to each other, their sum to the accumulator.
    ProductsFirst,
    /// All three at once, rounded once.
    Once,
}

impl Order {
    pub(crate) const ALL: [Order; 4] =
        [Order::OddFirst, Order::EvenFirst, Order::ProductsFirst, Order::Once];

    /// `sum + x_0 y_0 + x_1 y_1`. Subnormal operands and subnormal sums count as zero.
    pub(crate) fn dp(self, sum: f32, x: [f32; 2], y: [f32; 2]) -> f32 {
        let product = |n: usize| read(x[n]) * read(y[n]); // 16 bits, and an exponent that f64 has
        let (sum, even, odd) = (read(sum), product(0), product(1));
        match self {
            Order::OddFirst => add(f64::from(add(sum, odd)), even),
            Order::EvenFirst => add(f64::from(add(sum, even)), odd),
            Order::ProductsFirst => add(sum, f64::from(add(even, odd))),
            Order::Once if !(even + odd).is_finite() => (sum + (even + odd)) as f32,
            Order::Once => {
                // Boldo and Melquiond 2008: the low parts, rounded to odd, do not disturb the last rounding.
                let (high, low) = two_sum(even, odd);
                let (high, lower) = two_sum(sum, high);
                add(high, odd_sum(lower, low))
            }
        }
    }
}

/// An operand: a subnormal one counts as zero.
fn read(x: f32) -> f64 {
    if x.is_subnormal() { 0.0 } else { f64::from(x) }
}

/// The exact sum, rounded to 24 bits as if exponents had no end; what is then under 2^-126 becomes zero.
fn add(a: f64, b: f64) -> f32 {
    let sum = odd_sum(a, b);
    let smallest = f64::from(f32::MIN_POSITIVE);
    if sum.abs() < smallest && round_to(sum, 24, -1000).abs() < smallest {
        return 0.0_f32.copysign(sum as f32);
    }
    sum as f32
}

/// A sum rounded to odd: of the two neighbours of an inexact sum, the one whose last bit is 1. Rounded again, to
/// fewer bits, it gives what the exact sum would.
fn odd_sum(a: f64, b: f64) -> f64 {
    let (sum, error) = two_sum(a, b);
    if !sum.is_finite() || error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    let away_from_zero = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away_from_zero { sum.to_bits() + 1 } else { sum.to_bits() - 1 })
}

/// `a + b`, rounded, and what rounding took from it (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// Every number of a 16-bit format is itself, and halfway to the next one wins the even one.
#[test]
fn storing_rounds_to_nearest_even() {
    let f16 = |bits: u16| match (i32::from(bits >> 10), f64::from(bits & 0x3ff)) {
        (0, fraction) => fraction * power(-24),
        (exponent, fraction) => (1024.0 + fraction) * power(exponent - 25),
    };
    let bf16 = |bits: u16| match bits {
        0x7f80 => power(128), // where infinity stands the next number would
        _ => f64::from(f32::from_bits(u32::from(bits) << 16)),
    };
    every_number(Format::F16, f16, 0x7c00);
    every_number(Format::Bf16, bf16, 0x7f80);
}

fn every_number(format: Format, decode: impl Fn(u16) -> f64, infinity: u16) {
    for bits in 0..infinity {
        let (x, next) = (decode(bits), decode(bits + 1));
        let halfway = ((x + next) / 2.0) as f32;
        let above = if bits + 1 == infinity { f32::INFINITY } else { next as f32 };
        let even = if bits % 2 == 0 { x as f32 } else { above };
        for sign in [1.0, -1.0_f32] {
            let to = |x: f32| stored(sign * x, format);
            assert_eq!(to(x as f32), sign * x as f32, "{format:?} {bits:x}");
            assert_eq!(to(halfway), sign * even, "{format:?} {bits:x}");
            assert_eq!(to(halfway.next_down()), sign * x as f32, "{format:?} {bits:x}");
            assert_eq!(to(halfway.next_up()), sign * above, "{format:?} {bits:x}");
        }
    }
    assert!(stored(f32::NAN, format).is_nan());
    assert_eq!(stored(f32::NEG_INFINITY, format), f32::NEG_INFINITY);
}

/// Against integers, in which every sum is exact.
#[test]
fn every_order_rounds_exact_sums() {
    let rng = &mut Rng(1);
    for _ in 0..100_000 {
        let mut number = |spread: usize| {
            let integer = rng.below(1 << 25) as f64 - 16_777_216.0;
            (integer * power(rng.below(spread) as i32 - spread as i32 / 2)) as f32
        };
        let sum = number(40);
        let [x, y] = [(); 2].map(|()| [(); 2].map(|()| to_bf16(number(20))));
        const SCALE: f64 = (1_u64 << 40) as f64;
        let exact = |x: f64| (x * SCALE) as i128;
        let rounded = |x: i128| f64::from(x as f32) / SCALE;
        let [even, odd] = [0, 1].map(|n| exact(f64::from(x[n]) * f64::from(y[n])));
        let sum_exact = exact(f64::from(sum));
        let then = |first: i128, other: i128| rounded(exact(rounded(first)) + other) as f32;
        let expected = [
            then(sum_exact + odd, even),
            then(sum_exact + even, odd),
            then(even + odd, sum_exact),
            rounded(sum_exact + even + odd) as f32,
        ];
        assert_eq!(Order::ALL.map(|order| order.dp(sum, x, y)), expected, "{sum:e} {x:?} {y:?}");
    }
}
