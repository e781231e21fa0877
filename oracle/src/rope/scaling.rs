//! The frequencies of a model, and the factors that come with them.
//!
//! Rules and names are those of Hugging Face transformers, `modeling_rope_utils.py`, which has them from the papers
//! and models named below. There f32 rounds every step; here nothing does but [`Double`].

use super::Double;

/// How the frequencies of a model were changed for longer texts. Factors are those of its configuration, as f64.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// `f_t = theta_base^(-2t/rot_dim)`.
    None,
    /// Position interpolation (Chen et al., arXiv 2306.15595): `f_t / factor`.
    Linear {
        /// How many times longer.
        factor: f64,
    },
    /// A larger base instead: `theta_base * factor^(rot_dim/(rot_dim-2))` divides the last frequency by `factor`.
    Ntk {
        /// How many times longer.
        factor: f64,
    },
    /// The same with `factor * n / trained_len - (factor - 1)` for the factor, `n = max(length, trained_len)`.
    DynamicNtk {
        /// How many times longer, in the end.
        factor: f64,
        /// Positions that the model was trained for.
        trained_len: u64,
        /// Positions in use now.
        length: u64,
    },
    /// Fast pairs stay, slow ones are divided, those between are mixed.
    Yarn(Yarn),
    /// Llama 3.1: pairs that turn more than `high` times in `original_len` positions stay, those that turn less than
    /// `low` times are divided by `factor`, those between are mixed in proportion to their turns.
    Llama3 {
        /// What slow pairs are divided by.
        factor: f64,
        /// Turns below which a pair is divided (`low_freq_factor`).
        low: f64,
        /// Turns above which a pair stays (`high_freq_factor`).
        high: f64,
        /// Positions that the model was trained for.
        original_len: u64,
    },
    /// A divisor for each pair.
    LongRope(LongRope),
    /// The frequencies themselves.
    List {
        /// `[rot_dim / 2]`, radians per position.
        frequencies: Vec<f64>,
        /// Factor of cos and sin.
        amplitude: f64,
    },
}

/// YaRN (Peng et al., arXiv 2309.00071, section 3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// How many times longer.
    pub factor: f64,
    /// Positions that the model was trained for.
    pub original_len: u64,
    /// A pair that turns more often than this in `original_len` positions stays.
    pub beta_fast: f64,
    /// A pair that turns less often than this is divided.
    pub beta_slow: f64,
    /// Whether the two limits are rounded outwards to whole pairs.
    pub truncate: bool,
    /// Factor of cos and sin; if none is given it follows from `factor` and the next two.
    pub attention_factor: Option<f64>,
    /// With `mscale_all_dim`, both not 0: `g(factor, mscale) / g(factor, mscale_all_dim)`. Otherwise `g(factor, 1)`.
    pub mscale: Option<f64>,
    /// See `mscale`, and [`softmax_factor`].
    pub mscale_all_dim: Option<f64>,
}

/// LongRoPE (Ding et al., arXiv 2402.13753): `f_t = 1 / (factors[t] * theta_base^(2t/rot_dim))`.
#[derive(Clone, Debug, PartialEq)]
pub struct LongRope {
    /// `[rot_dim / 2]`, for `length <= original_len`.
    pub short_factors: Vec<f64>,
    /// `[rot_dim / 2]`, for `length > original_len`.
    pub long_factors: Vec<f64>,
    /// Positions that the model was trained for.
    pub original_len: u64,
    /// Positions in use now.
    pub length: u64,
    /// How many times longer, only for the default of `attention_factor`.
    pub factor: f64,
    /// Factor of cos and sin; if none is given, `sqrt(1 + ln factor / ln original_len)`, and 1 for a factor up to 1.
    pub attention_factor: Option<f64>,
}

impl Yarn {
    /// The usual limits, 32 turns and 1 turn, rounded outwards; the amplitude follows from `factor`.
    pub const fn new(factor: f64, original_len: u64) -> Self {
        let (beta_fast, beta_slow, truncate) = (32.0, 1.0, true);
        let (attention_factor, mscale, mscale_all_dim) = (None, None, None);
        Self {
            factor,
            original_len,
            beta_fast,
            beta_slow,
            truncate,
            attention_factor,
            mscale,
            mscale_all_dim,
        }
    }

    /// Where, counted in pairs, the mixture begins and ends.
    fn limits(&self, theta_base: f64, rot_dim: usize) -> (Double, Double) {
        let pair = |turns: f64| {
            let wavelength = length(self.original_len) / Double::from(turns);
            let octaves = (wavelength / Double::TAU).ln() / Double::from(theta_base).ln();
            length(rot_dim as u64) * octaves / Double::from(2.0)
        };
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        if low < Double::from(0.0) {
            low = Double::from(0.0);
        }
        if high > length(rot_dim as u64 - 1) {
            high = length(rot_dim as u64 - 1);
        }
        (low, if low == high { high + Double::ONE / Double::from(1000.0) } else { high })
    }

    /// How much of pair t is divided by the factor, between 0 and 1.
    fn ramp(&self, (low, high): (Double, Double), t: usize) -> Double {
        let ramp = (length(t as u64) - low) / (high - low);
        match ramp.to_f64() {
            r if r <= 0.0 => Double::from(0.0),
            r if r >= 1.0 => Double::ONE,
            _ => ramp,
        }
    }
}

/// A whole number. Lengths are less than 2^53.
fn length(n: u64) -> Double {
    assert!(n < 1 << 53, "{n}");
    Double::from(n as f64)
}

/// `theta_base^(-2t/rot_dim)`, t in 0 .. rot_dim/2.
fn geometric(theta_base: Double, rot_dim: usize) -> Vec<Double> {
    let exponent = |t: usize| -length(2 * t as u64) / length(rot_dim as u64);
    (0..rot_dim / 2).map(|t| theta_base.pow(exponent(t))).collect()
}

/// `theta_base * factor^(rot_dim / (rot_dim - 2))`.
fn ntk_base(theta_base: f64, rot_dim: usize, factor: Double) -> Double {
    assert!(rot_dim > 2, "a single pair has the frequency 1 whatever the base");
    Double::from(theta_base) * factor.pow(length(rot_dim as u64) / length(rot_dim as u64 - 2))
}

/// The frequencies `[rot_dim / 2]` in radians per position, with a relative error under 1e-28.
///
/// # Example
/// ```
/// use oracle::rope::{Scaling, frequencies};
/// let f = frequencies(10_000.0, 4, &Scaling::Linear { factor: 2.0 });
/// assert_eq!([f[0].to_f64(), f[1].to_f64()], [0.5, 0.005]);
/// ```
pub fn frequencies(theta_base: f64, rot_dim: usize, scaling: &Scaling) -> Vec<Double> {
    assert!(
        rot_dim > 0 && rot_dim.is_multiple_of(2) && theta_base > 1.0,
        "{rot_dim} channels, base {theta_base}"
    );
    let plain = geometric(Double::from(theta_base), rot_dim);
    match scaling {
        Scaling::None => plain,
        Scaling::Linear { factor } => plain.iter().map(|&f| f / Double::from(*factor)).collect(),
        Scaling::Ntk { factor } => {
            geometric(ntk_base(theta_base, rot_dim, Double::from(*factor)), rot_dim)
        }
        Scaling::DynamicNtk { factor, trained_len, length: n } => {
            let (factor, n) = (Double::from(*factor), length(*n.max(trained_len)));
            let stretch = factor * n / length(*trained_len) - (factor - Double::ONE);
            geometric(ntk_base(theta_base, rot_dim, stretch), rot_dim)
        }
        Scaling::Yarn(yarn) => {
            let limits = yarn.limits(theta_base, rot_dim);
            let divided = |f, ramp| f / Double::from(yarn.factor) * ramp + f * (Double::ONE - ramp);
            plain.iter().enumerate().map(|(t, &f)| divided(f, yarn.ramp(limits, t))).collect()
        }
        Scaling::Llama3 { factor, low, high, original_len } => {
            let [factor, low, high] = [*factor, *low, *high].map(Double::from);
            let scaled = |f| match length(*original_len) * f / Double::TAU {
                turns if turns > high => f,
                turns if turns < low => f / factor,
                turns => {
                    let smooth = (turns - low) / (high - low);
                    (Double::ONE - smooth) * f / factor + smooth * f
                }
            };
            plain.iter().map(|&f| scaled(f)).collect()
        }
        Scaling::LongRope(long) => {
            let factors = if long.length > long.original_len {
                &long.long_factors
            } else {
                &long.short_factors
            };
            assert_eq!(factors.len(), plain.len(), "a factor for each pair");
            plain.iter().zip(factors).map(|(&f, &factor)| f / Double::from(factor)).collect()
        }
        Scaling::List { frequencies, .. } => {
            assert_eq!(frequencies.len(), plain.len(), "a frequency for each pair");
            frequencies.iter().map(|&f| Double::from(f)).collect()
        }
    }
}

/// `g(s, m) = 1 + m ln(s) / 10`, and 1 for s up to 1: by how much YaRN sharpens the softmax of a text s times longer.
fn sharpening(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

/// The attention factor A: it multiplies cos and sin, and so scores by A^2.
pub fn amplitude(scaling: &Scaling) -> f64 {
    match scaling {
        Scaling::Yarn(Yarn { attention_factor: Some(given), .. }) => *given,
        Scaling::Yarn(Yarn { factor, mscale: Some(mscale), mscale_all_dim: Some(all), .. })
            if *mscale != 0.0 && *all != 0.0 =>
        {
            sharpening(*factor, *mscale) / sharpening(*factor, *all)
        }
        Scaling::Yarn(Yarn { factor, .. }) => sharpening(*factor, 1.0),
        Scaling::LongRope(LongRope { attention_factor: Some(given), .. }) => *given,
        Scaling::LongRope(LongRope { factor, original_len, .. }) if *factor > 1.0 => {
            (1.0 + factor.ln() / (*original_len as f64).ln()).sqrt()
        }
        Scaling::List { amplitude, .. } => *amplitude,
        _ => 1.0,
    }
}

/// `g(factor, mscale_all_dim)^2`: what DeepSeek-V2 and V3 multiply the scale of the whole score by, rotated or not.
pub fn softmax_factor(factor: f64, mscale_all_dim: f64) -> f64 {
    sharpening(factor, mscale_all_dim).powi(2)
}
