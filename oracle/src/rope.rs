//! Rotary positions, exactly, and the error that a kernel is allowed.
//!
//! # 1. What is computed
//! Channels `offset .. offset + rot_dim` of a row are rot_dim/2 pairs (x, y); pair t is turned by the angle
//! `position * f_t` and stretched by the amplitude A (Su et al., *RoFormer*, arXiv 2104.09864):
//! ```text
//! (x, y) -> (A (x cos - y sin), A (x sin + y cos)),    f_t = theta_base^(-2t / rot_dim), t in 0 .. rot_dim/2
//! ```
//! Other channels pass through. [`Scaling`] (`rope/scaling.rs`) says what a model that was stretched to longer texts
//! puts in place of f_t and A.
//! Frequencies have 106 bits ([`Double`]): 2^32 positions cost 32 of them, and the angle is still right to 1e-20.
//!
//! # 2. What a kernel may miss
//! Both results have one form, `z = x c - y s` with `c = A cos`, `s = A sin`: the second is that of (y, -x).
//! `u = 2^-24`, and `h = 2^-150`, half of the smallest f32, is what rounding to a subnormal costs.
//!
//! *Table.* The kernel holds `c' = fl(A' k)`: an f32 `k` within E of the cosine, `A' = fl(A)`. So
//! `|c' - c| <= D = A (E + ((1 + u)^r - 1) (1 + E)) + h`, and likewise s', where r counts the roundings: none if
//! A = 1 (then h goes too), the product's if A is an f32, otherwise two.
//!
//! *Products.* `z' = fl(fl(x c') - fl(y s'))`, with `B = |x| (|c| + D) + |y| (|s| + D)`:
//! ```text
//! |x c' - y s' - z|         <= T = D (|x| + |y|)
//! |fl(x c') - fl(y s') - z| <= P = T + u B + 2 h
//! |z' - z|                  <= P + u (|z| + P) + h
//! ```
//! Fused, one of the two products is not rounded, whichever: less of u B, one h less. The same bound holds.
//!
//! *Storage* rounds z' to f16 or bf16, by half an ulp of a number that is at most |z| plus all that, or half of the
//! smallest subnormal. *The oracle* computes z in f64: cos and sin within 1e-15, the rest with a few roundings of
//! 2^-53 each, together less than `2e-15 A (|x| + |y|)`. Where B reaches 2^127, or a number is not finite, nothing is
//! certified. Subnormals are assumed to be kept.

mod scaling;

use crate::Format;
pub use crate::double::Double;
use crate::rounding::{OVERFLOW, U, UNDERFLOW};
pub use scaling::{LongRope, Scaling, Yarn, amplitude, frequencies, softmax_factor};

/// What a kernel promises of an entry of its table before the amplitude: `|k - cos| <= 4e-8`, at every position.
pub const TABLE_ERROR: f64 = 4e-8;

/// What [`Element::exact`] may miss, in units of `amplitude (|x| + |y|)`; section 2.
const ORACLE_ERROR: f64 = 2e-15;

/// `round(2^64 f / (2 pi)) mod 2^64`: the turn that one position adds, as a fixed-point fraction.
pub fn turns_q64(frequency: Double) -> u64 {
    let turns = frequency / Double::TAU;
    let (hi, lo) = (turns - turns.floor()).scale(64).round().parts();
    (hi as i128 + lo as i128) as u64
}

/// Cosine and sine of `position * frequency`, each within 1e-15, for `|position * frequency| <= 2^40`.
///
/// The turns are counted with an error of `2^-102` times their number, whole ones are dropped, and quarters: f64 sees
/// an angle of at most pi/4 (two roundings: 2e-16), and its sine and cosine (1 ulp: 1e-16).
///
/// # Example
/// ```
/// use oracle::rope::{Double, cos_sin};
/// let (cos, sin) = cos_sin(Double::TAU / Double::from(12.0), (1 << 32) - 3); // 2^32 - 3 = 1 (mod 12): 30 degrees
/// assert!((cos - 0.75_f64.sqrt()).abs() < 1e-15 && (sin - 0.5).abs() < 1e-15);
/// ```
pub fn cos_sin(frequency: Double, position: i64) -> (f64, f64) {
    assert!(position.unsigned_abs() < 1 << 53, "{position}");
    let turns = frequency / Double::TAU * Double::from(position as f64);
    let fraction = turns - turns.round();
    let quarters = (fraction.to_f64() * 4.0).round();
    let (sin, cos) = ((fraction - Double::from(quarters / 4.0)) * Double::TAU).to_f64().sin_cos();
    match (quarters as i64).rem_euclid(4) {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// Which channels of the rotated ones make pair t.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// 2t and 2t + 1 (GPT-J).
    Interleaved,
    /// t and t + rot_dim/2 (GPT-NeoX, `rotate_half`).
    Halves,
}

/// A rotation of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Which channels belong together.
    pub pairing: Pairing,
    /// First rotated channel.
    pub offset: usize,
    /// Frequencies `[rot_dim / 2]`.
    pub frequencies: Vec<Double>,
    /// Factor of cos and sin: 1, or a positive number well within the range of f32.
    pub amplitude: f64,
}

/// One rotated element, `amplitude * (x cos - y sin)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Element {
    /// What the cosine multiplies.
    pub x: f64,
    /// What the sine multiplies.
    pub y: f64,
    /// The cosine, without the amplitude.
    pub cos: f64,
    /// The sine, without the amplitude.
    pub sin: f64,
    /// Factor of both.
    pub amplitude: f64,
}

impl Element {
    /// The element, exact but for rounding in f64.
    pub fn exact(&self) -> f64 {
        self.amplitude * (self.x * self.cos - self.y * self.sin)
    }

    /// What the result of a correct kernel can miss; section 2 of the module derives it. x and y must be f32 numbers.
    pub fn bound(&self, table_error: f64, output: Format) -> f64 {
        let a = self.amplitude.abs();
        let roundings = if a == 1.0 { 0 } else { 1 + i32::from(f64::from(a as f32) != a) };
        let underflow = if roundings == 0 { 0.0 } else { UNDERFLOW };
        let d =
            a * (table_error + ((1.0 + U).powi(roundings) - 1.0) * (1.0 + table_error)) + underflow;

        let (x, y, z) = (self.x.abs(), self.y.abs(), self.exact().abs());
        let b = x * (a * self.cos.abs() + d) + y * (a * self.sin.abs() + d);
        let products = d * (x + y) + U * b + 2.0 * UNDERFLOW;
        let kernel = products + U * (z + products) + UNDERFLOW;
        let own = ORACLE_ERROR * a * (x + y);
        let bound = kernel + own + output.storage_error(z + kernel + own);
        // Evaluating this takes fewer than 64 roundings of 2^-53 each; a NaN is not less than anything.
        if b < OVERFLOW { bound * (1.0 + 1.0 / (1_u64 << 40) as f64) } else { f64::INFINITY }
    }
}

impl Rope {
    /// The rotation of channels `0 .. rot_dim`.
    pub fn new(pairing: Pairing, theta_base: f64, rot_dim: usize, scaling: &Scaling) -> Self {
        let frequencies = frequencies(theta_base, rot_dim, scaling);
        Self { pairing, offset: 0, frequencies, amplitude: amplitude(scaling) }
    }

    /// The channels of pair t.
    pub fn pair(&self, t: usize) -> (usize, usize) {
        match self.pairing {
            Pairing::Interleaved => (self.offset + 2 * t, self.offset + 2 * t + 1),
            Pairing::Halves => (self.offset + t, self.offset + t + self.frequencies.len()),
        }
    }

    /// The row `[head_dim]`, rotated; `position(t)` is that of pair t, the same for all pairs unless there are axes.
    ///
    /// # Example
    /// ```
    /// use oracle::rope::{Pairing, Rope, Scaling};
    /// let rope = Rope::new(Pairing::Halves, 10_000.0, 2, &Scaling::None);
    /// let row = rope.rotate(&[1.0, 0.0, 7.0], |_| 1);
    /// assert!((row[0] - 1.0_f64.cos()).abs() < 1e-15 && (row[1] - 1.0_f64.sin()).abs() < 1e-15);
    /// assert_eq!(row[2], 7.0);
    /// ```
    pub fn rotate(&self, row: &[f64], position: impl Fn(usize) -> i64) -> Vec<f64> {
        self.each(row, position, |&x| x, Element::exact)
    }

    /// For every element `[head_dim]` what a correct kernel's may miss: one that reads `row`, f32 numbers, multiplies
    /// and adds in f32, fused or not, and rounds once to `output`. A channel that passes through is only stored.
    pub fn bound(
        &self,
        row: &[f64],
        position: impl Fn(usize) -> i64,
        table_error: f64,
        output: Format,
    ) -> Vec<f64> {
        let stored = |x: &f64| output.storage_error(x.abs());
        self.each(row, position, stored, |element| element.bound(table_error, output))
    }

    /// `other` of the channels that pass through, `rotated` of the others.
    fn each(
        &self,
        row: &[f64],
        position: impl Fn(usize) -> i64,
        other: impl Fn(&f64) -> f64,
        rotated: impl Fn(&Element) -> f64,
    ) -> Vec<f64> {
        let mut out: Vec<f64> = row.iter().map(other).collect();
        for (t, &frequency) in self.frequencies.iter().enumerate() {
            let ((first, second), (cos, sin)) = (self.pair(t), cos_sin(frequency, position(t)));
            let element =
                Element { x: row[first], y: row[second], cos, sin, amplitude: self.amplitude };
            out[first] = rotated(&element);
            out[second] = rotated(&Element { x: row[second], y: -row[first], ..element });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Element, LongRope, Pairing, Rope, Scaling, TABLE_ERROR, Yarn};
    use super::{amplitude, cos_sin, frequencies, softmax_factor, turns_q64};
    use crate::Format;

    const GPT_OSS: Yarn = Yarn { truncate: false, ..Yarn::new(32.0, 4096) };
    const DEEPSEEK: Yarn =
        Yarn { mscale: Some(1.0), mscale_all_dim: Some(0.707), ..Yarn::new(40.0, 4096) };

    // Literals here are from tests/golden/rope.json, 60-digit arithmetic.

    #[test]
    fn turns_of_every_scaling_are_known_to_the_last_bit() {
        let llama3 = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original_len: 8192 };
        let dynamic = Scaling::DynamicNtk { factor: 2.5, trained_len: 2048, length: 10_007 };
        let cases = [
            (
                10_000.0,
                128,
                Scaling::None,
                [0x234855e55644662f, 0x0ce2601005b0277c, 0x073ed00d7f5d2561],
            ),
            (
                10_000.0,
                128,
                Scaling::Linear { factor: 4.0 },
                [0x08d215795591198c, 0x03389804016c09df, 0x01cfb4035fd74958],
            ),
            (
                10_000.0,
                128,
                Scaling::Ntk { factor: 2.0 },
                [0x22e580e09f7261d3, 0x0bcc77701245101b, 0x06596720d2ec72df],
            ),
            (10_000.0, 80, dynamic, [0x1e7450c6e6400f0e, 0x03f8488bf8a416f7, 0x013d3a7f72d429da]),
            (500_000.0, 128, llama3, [0x2130c415f3514ea0, 0x07e6b006746579b8, 0x037ab95c63e892bb]),
            (
                150_000.0,
                64,
                Scaling::Yarn(GPT_OSS),
                [0x1c12fe28d6bc78cb, 0x0212006e33c18930, 0x0046dfbe5b2b4d6b],
            ),
            (
                10_000.0,
                64,
                Scaling::Yarn(DEEPSEEK),
                [0x1e8dae29db02bb88, 0x041309af8ec1b3bb, 0x01185ca533aef91e],
            ),
        ];
        for (base, rot_dim, scaling, turns) in cases {
            let f = frequencies(base, rot_dim, &scaling);
            assert_eq!([1, 8, 12].map(|t| turns_q64(f[t])), turns, "{scaling:?}");
        }
        let llama3 = Scaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original_len: 8192 };
        let mixed = frequencies(500_000.0, 64, &llama3);
        assert_eq!([16, 31].map(|t| turns_q64(mixed[t])), [0x00047afe1c29ff68, 0x000000406159a872]);
        let yarn = frequencies(10_000.0, 64, &Scaling::Yarn(DEEPSEEK));
        assert_eq!([16, 31].map(|t| turns_q64(yarn[t])), [0x00395df90402f93f, 0x000008e6df533128]);
    }

    #[test]
    fn amplitudes_follow_from_the_factors() {
        let long = |attention_factor, length| {
            let (short_factors, long_factors) = (vec![1.0; 2], vec![2.0; 2]);
            LongRope {
                short_factors,
                long_factors,
                original_len: 4096,
                length,
                factor: 32.0,
                attention_factor,
            }
        };
        let given = Yarn { attention_factor: Some(1.25), ..GPT_OSS };
        let cases = [
            (Scaling::None, 1.0),
            (Scaling::Yarn(GPT_OSS), 1.346_573_590_279_972_7),
            (Scaling::Yarn(DEEPSEEK), 1.085_726_399_256_135_7),
            (Scaling::Yarn(given), 1.25),
            (Scaling::LongRope(long(None, 1)), 1.190_238_071_423_808_3),
            (Scaling::LongRope(long(Some(1.5), 1)), 1.5),
        ];
        for (scaling, exact) in cases {
            assert!((amplitude(&scaling) - exact).abs() < 5e-16, "{scaling:?}");
        }
        assert!((softmax_factor(40.0, 1.0) - 1.873_854_207_092_626_6).abs() < 5e-16);
        assert!((softmax_factor(40.0, 0.707) - 1.589_626_165_120_873_5).abs() < 5e-16);
        let second =
            |length| frequencies(10_000.0, 4, &Scaling::LongRope(long(None, length)))[1].to_f64();
        assert_eq!([4096, 4097].map(second), [0.01, 0.005]);
    }

    #[test]
    fn angles_are_right_at_two_to_the_32() {
        let position = (1 << 32) - 1;
        let cases = [
            (10_000.0, 128, 0, -0.867_935_347_357_202_3, 0.496_677_191_753_288_2),
            (10_000.0, 128, 63, 0.756_479_363_545_379_9, -0.654_017_562_860_491_5),
            (500_000.0, 128, 31, 0.049_549_108_399_547_55, 0.998_771_688_553_900_6),
            (1_000_000.0, 256, 100, 0.402_889_963_005_369_56, 0.915_248_424_040_998_8),
            (100_000.0, 80, 7, -0.999_475_215_120_122_2, -0.032_392_813_409_542_72),
        ];
        for (base, rot_dim, t, cos, sin) in cases {
            let f = frequencies(base, rot_dim, &Scaling::None)[t];
            let (c, s) = cos_sin(f, position);
            assert!((c - cos).abs() < 1e-15 && (s - sin).abs() < 1e-15, "{base} {t}: {c} {s}");
            assert_eq!(cos_sin(f, -position), (c, -s));
        }
    }

    /// Uniform in -1 .. 1; a linear congruential generator (Knuth's MMIX).
    fn uniform(state: &mut u64) -> f64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    #[test]
    fn turning_twice_is_turning_by_the_sum() {
        let mut state = 1;
        let row: Vec<f64> = (0..12).map(|_| uniform(&mut state)).collect();
        for pairing in [Pairing::Interleaved, Pairing::Halves] {
            let rope = Rope { offset: 3, ..Rope::new(pairing, 10_000.0, 8, &Scaling::None) };
            let twice = rope.rotate(&rope.rotate(&row, |_| 123_456_789), |_| -23_456_789);
            for (a, b) in twice.iter().zip(rope.rotate(&row, |_| 100_000_000)) {
                assert!((a - b).abs() < 1e-14, "{pairing:?}: {a} {b}");
            }
            assert_eq!(
                (&twice[..3], twice[11]),
                (&row[..3], row[11]),
                "beside the rotated channels"
            );
        }
    }

    #[test]
    fn the_pairings_differ_by_a_permutation() {
        let row = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let [interleaved, halves] = [Pairing::Interleaved, Pairing::Halves]
            .map(|pairing| Rope::new(pairing, 10_000.0, 6, &Scaling::Yarn(GPT_OSS)));
        let permuted = interleaved.rotate(&row, |t| 7 + t as i64);
        let other = halves.rotate(&[0, 2, 4, 1, 3, 5].map(|c| row[c]), |t| 7 + t as i64);
        assert_eq!(other, [0, 2, 4, 1, 3, 5].map(|c| permuted[c]));
    }

    /// A kernel in f32 whose table is as bad as it may be: `signs` says in which direction.
    fn kernel(element: &Element, signs: (f64, f64), fused: bool) -> f32 {
        let worst = |k: f64, sign: f64| (k + sign * (TABLE_ERROR - 3e-8)).clamp(-1.0, 1.0) as f32;
        let entry = |k, sign| worst(k, sign) * element.amplitude as f32;
        let (c, s) = (entry(element.cos, signs.0), entry(element.sin, signs.1));
        let (x, y) = (element.x as f32, element.y as f32);
        if fused { x.mul_add(c, -(y * s)) } else { x * c - y * s }
    }

    #[test]
    fn no_kernel_exceeds_the_bound_and_some_come_close() {
        let (mut state, mut closest) = (2, 0.0_f64);
        for n in 0..200_000 {
            let size = [1.0, 1e-38, 1e-44, 1e30][n % 4];
            let (sin, cos) = (4.0 * uniform(&mut state)).sin_cos();
            let [x, y] = [(); 2].map(|()| f64::from((uniform(&mut state) * size) as f32));
            let element =
                Element { x, y, cos, sin, amplitude: [1.0, 1.25, 1.346_573_590_279_972_7][n % 3] };
            for signs in [(1.0, 1.0), (1.0, -1.0)] {
                for fused in [true, false] {
                    let missed =
                        (f64::from(kernel(&element, signs, fused)) - element.exact()).abs();
                    let bound = element.bound(TABLE_ERROR, Format::F32);
                    assert!(missed <= bound, "{element:?}: {missed:e} > {bound:e}, fused: {fused}");
                    closest = closest.max(missed / bound);
                }
            }
        }
        assert!(closest > 0.8, "{closest}");
    }

    #[test]
    fn nothing_is_certified_of_what_may_overflow() {
        let element = Element { x: 1.0, y: 0.0, cos: 1.0, sin: 0.0, amplitude: 1.0 };
        for x in [3e38, f64::INFINITY, f64::NAN] {
            assert_eq!(Element { x, ..element }.bound(TABLE_ERROR, Format::F32), f64::INFINITY);
        }
        assert_eq!(
            Element { x: 65_520.0, ..element }.bound(TABLE_ERROR, Format::F16),
            f64::INFINITY
        );
        let bf16 = element.bound(TABLE_ERROR, Format::Bf16);
        assert!(
            bf16 > 1.0 / 256.0 && bf16 < 1.001 / 256.0,
            "half an ulp of 1 or a little more: {bf16}"
        );
    }
}
