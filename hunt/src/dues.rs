//! What a format must keep of a number: the format's own promise, worked out in f64.

use crate::memory::{Kind, Scaling, Setting};
use crate::tensor::canonical;
use flashlet::{BLOCK, E4m3, E5m2, Overflow};

/// What must be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// These bits.
    Just(f32),
    /// A number so near. Where rounding may pass the largest f32, an infinity is near.
    Near { x: f64, within: f64 },
    /// NaN or an infinity: it was too large.
    NotFinite,
}

const NAN: Due = Due::Just(f32::NAN);

/// Of an f32.
const U: f64 = 1.0 / 16_777_216.0;
/// Its least number: what a subnormal quotient or product may miss is half of that.
const LEAST: f64 = U * U * U * U * U * U / 32.0;

impl Due {
    /// How far the number is from it, relative to how far it may be.
    pub(crate) fn ratio(self, kept: f32) -> f64 {
        let wrong = |is_right| if is_right { 0.0 } else { f64::INFINITY };
        match self {
            Due::Just(x) => wrong(canonical(x) == canonical(kept)),
            Due::NotFinite => wrong(!kept.is_finite()),
            Due::Near { x, within } => {
                let error = (f64::from(kept) - x).abs();
                let is_beyond = kept.is_infinite()
                    && f64::from(kept) * x > 0.0
                    && x.abs() + within > f64::from(f32::MAX);
                if error == 0.0 || is_beyond { 0.0 } else { error / within }
            }
        }
    }
}

/// What is due of a row of head `h`.
pub(crate) fn dues(setting: &Setting, h: usize, x: &[f32]) -> Vec<Due> {
    match setting.kind {
        Kind::F32 => x.iter().map(|x| Due::Just(*x)).collect(),
        // Half an ulp, and where infinity begins.
        Kind::F16 => x.iter().map(|x| rounded(*x, [11, 25], 65_520.0)).collect(),
        Kind::Bf16 => {
            let beyond = (2.0 - 1.0 / 256.0) * 2.0_f64.powi(127);
            x.iter().map(|x| rounded(*x, [8, 134], beyond)).collect()
        }
        Kind::Q8_0 | Kind::Q4_0 => x.chunks(BLOCK).flat_map(|x| of_block(setting, x)).collect(),
        Kind::E4m3 | Kind::E5m2 | Kind::I8 => of_codes(setting, h, x),
    }
}

/// Of a number within `2^-relative` of itself or `2^-absolute`.
fn rounded(x: f32, [relative, absolute]: [i32; 2], beyond: f64) -> Due {
    let magnitude = f64::from(x).abs();
    if x.is_nan() {
        NAN
    } else if magnitude >= beyond {
        Due::Just(f32::INFINITY.copysign(x))
    } else {
        let within = (magnitude * 2.0_f64.powi(-relative)).max(2.0_f64.powi(-absolute));
        Due::Near { x: x.into(), within }
    }
}

/// The largest magnitude, if all are finite.
fn largest(x: &[f32]) -> Option<f32> {
    let is_finite = x.iter().all(|x| x.is_finite());
    is_finite.then(|| x.iter().fold(0.0, |most, x| x.abs().max(most)))
}

fn of_block(setting: &Setting, x: &[f32]) -> Vec<Due> {
    let Some(most) = largest(x) else { return vec![NAN; x.len()] };
    // Half a code; of q4_0, whose codes reach from -8 to 7, a whole one for what is cut.
    let (codes, code) = match setting.kind {
        Kind::Q8_0 => (127.0_f32, 0.5),
        _ => (8.0, 1.0),
    };
    if f64::from(most / codes) >= 65_520.0 {
        return vec![Due::NotFinite; x.len()];
    }
    let (most, codes) = (f64::from(most), f64::from(codes));
    // The scale is rounded to f16, and so is 1 / d to f32 that codes come of.
    let scale = most / 2048.0 + codes * 2.0_f64.powi(-25);
    let within = most / codes * code * (1.0 + 1e-5) + scale;
    x.iter().map(|x| Due::Near { x: f64::from(*x), within }).collect()
}

fn of_codes(setting: &Setting, h: usize, x: &[f32]) -> Vec<Due> {
    let each = |(c, x): (usize, &f32)| of_given(setting, setting.given(h, c), *x);
    match setting.scaling {
        Scaling::ByToken | Scaling::Affine => {}
        _ => return x.iter().enumerate().map(each).collect(),
    }
    let Some(most) = largest(x) else { return vec![NAN; x.len()] };
    let most = f64::from(most);
    let reach = x.iter().fold([0.0_f32; 2], |[a, b], x| [x.min(a), x.max(b)]).map(f64::from);
    let near = |x: &f32| {
        let (x, size) = (f64::from(*x), f64::from(x.abs()));
        let (codes, within) = match (setting.kind, setting.scaling) {
            (Kind::E4m3, _) => (448.0, (size / 16.0).max(most / 448.0 / 1024.0)),
            (Kind::E5m2, _) => (57_344.0, (size / 8.0).max(most / 57_344.0 / 131_072.0)),
            (_, Scaling::ByToken) => (127.0, most / 254.0),
            // Half a code, and half a one that the zero point was rounded by: numbers reach from one end to the other.
            _ => (510.0, (reach[1] - reach[0]) / 255.0),
        };
        // The scale, quotient and product are rounded: the scale, if it is subnormal, in the last of its few bits.
        Due::Near { x, within: within * (1.0 + 4.0 * U) + 4.0 * U * size + codes * LEAST }
    };
    x.iter().map(near).collect()
}

/// What becomes of a number that a given scale divides, or none.
fn of_given(setting: &Setting, (scale, zero): (f32, i8), x: f32) -> Due {
    let quotient = x / scale;
    let (scale, zero) = (f64::from(scale), f64::from(zero));
    let (most, beyond, relative, absolute, special) = match setting.kind {
        Kind::E4m3 => (E4m3::MAX, quotient.abs() > 464.0, 4, 10, f32::NAN),
        Kind::E5m2 => (E5m2::MAX, quotient.abs() >= 61_440.0, 3, 17, f32::INFINITY.copysign(x)),
        _ => {
            // Half a code, of what codes reach.
            let y = (f64::from(x) / scale).clamp(-128.0 - zero, 127.0 - zero);
            let within = scale * 0.5 + 4.0 * U * scale * y.abs() + 2.0 * LEAST;
            return Due::Near { x: y * scale, within };
        }
    };
    let slack = |x: f64| 4.0 * U * x.abs() + (1.0 + scale) * LEAST;
    match (x.is_nan(), beyond, setting.overflow) {
        (true, ..) => NAN,
        (_, true, Overflow::Special) => Due::Just(special),
        (_, true, Overflow::Saturate) => {
            let x = scale * f64::from(most.copysign(x));
            Due::Near { x, within: slack(x) }
        }
        _ => {
            let x = f64::from(x);
            let relative = x.abs() * 2.0_f64.powi(-relative);
            let within = relative.max(scale * 2.0_f64.powi(-absolute)) + slack(x);
            Due::Near { x, within }
        }
    }
}
