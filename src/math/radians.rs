//! Sine and cosine of an angle in f32 radians, of any size.

/// `floor(2^256 / (2 pi))`, high and low.
const TURN_OF_RADIAN: [u128; 2] =
    [0x28be_60db_9391_054a_7f09_d5f4_7d4d_3770, 0x36d8_a566_4f10_e410_7f94_58ea_f7ae_f158];

/// Coefficients of `sin x / x` and of `cos x` in `x^2`: `1 / n!`.
const SIN: [f64; 9] = inverse_factorials(1);
const COS: [f64; 9] = inverse_factorials(0);

const fn inverse_factorials<const N: usize>(first: u64) -> [f64; N] {
    let (mut all, mut factorial, mut n, mut i) = ([0.0; N], 1_u64, first, 0);
    while i < N {
        all[i] = if i % 2 == 0 { 1.0 } else { -1.0 } / factorial as f64;
        factorial *= (n + 1) * (n + 2);
        n += 2;
        i += 1;
    }
    all
}

/// `[sin, cos]` of an angle, each the nearest f32 but for a few in 2^28; NaN of what is not finite. What tables of
/// sines in f32 hold, whatever library filled them.
///
/// Angles beyond an eighth of a turn are reduced by a product with those digits of `1 / (2 pi)` that matter (Payne and
/// Hanek, 1983), in integers; sine and cosine of what is left are Taylor series in f64.
#[must_use]
pub const fn sin_cos_of_radians(angle: f32) -> [f32; 2] {
    let (exponent, fraction) = (angle.to_bits() >> 23 & 0xff, angle.to_bits() & 0x7f_ffff);
    if exponent == 0xff {
        return [f32::NAN; 2];
    }
    let (quadrant, x) = if angle.abs() <= core::f32::consts::FRAC_PI_4 {
        (0, angle.abs() as f64)
    } else {
        // angle = (2^23 + fraction) * 2^(exponent - 150): 64 bits of whole turns and 64 of a turn's fraction.
        let shift = 128 + exponent as i32 - 150;
        let [high, low] = TURN_OF_RADIAN;
        let window = if shift <= 128 {
            high >> (128 - shift)
        } else {
            high << (shift - 128) | low >> (256 - shift)
        };
        let phase = (window.wrapping_mul((1 << 23 | fraction) as u128) >> 64) as u64;
        let quadrant = phase.wrapping_add(1 << 61) >> 62;
        let rest = phase.wrapping_sub(quadrant << 62) as i64;
        (quadrant, rest as f64 * (core::f64::consts::TAU / 18_446_744_073_709_551_616.0))
    };
    let (sin, cos) = (x * series(x, &SIN), series(x, &COS));
    let [sin, cos] = match quadrant {
        0 => [sin, cos],
        1 => [cos, -sin],
        2 => [-sin, -cos],
        _ => [-cos, sin],
    };
    [if angle.is_sign_negative() { -sin } else { sin } as f32, cos as f32]
}

const fn series<const N: usize>(x: f64, coefficients: &[f64; N]) -> f64 {
    let (square, mut sum, mut i) = (x * x, 0.0, N);
    while i > 0 {
        i -= 1;
        sum = sum * square + coefficients[i];
    }
    sum
}
