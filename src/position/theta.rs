//! How fast each pair of channels turns: `theta_base`, and what models do to it for long contexts.

use super::phase::Phase;
use super::real::{Log, Real};
use crate::error::{Error, Knob, List};

/// The frequencies of rotary positions: pair `t` of `rot_dim / 2` turns by `f_t = base^(-2t / rot_dim)` radians a
/// token, scaled. (Su et al., RoFormer, arXiv 2104.09864.)
///
/// ```
/// use flashlet::{Llama3, Scaling, Theta, Turns};
///
/// // Llama 3.1: in a constant, so firmware pays nothing for it when it runs.
/// const SCALING: Scaling<'_> = Scaling::Llama3(Llama3 {
///     factor: 8.0,
///     low_freq_factor: 1.0,
///     high_freq_factor: 4.0,
///     original_len: 8192,
/// });
/// const TURNS: Turns<64> = match Theta::new(500_000.0).scaled(SCALING).turns() {
///     Ok(turns) => turns,
///     Err(_) => panic!("a scaling that no model has"),
/// };
/// // Pair 0 turns by one radian a token: 2^64 / (2 pi).
/// assert_eq!(TURNS.turns[0], 0x28be_60db_9391_054a);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Theta<'a> {
    pub(super) base: f64,
    pub(super) spacing: Spacing,
    pub(super) scaling: Scaling<'a>,
}

/// How frequencies lie between 1 and `1 / base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spacing {
    /// `base^(-t / pairs)`: that of RoPE and of the first sinusoids. `1 / base` is the one behind the last.
    Open,
    /// `base^(-t / (pairs - 1))`: that of tensor2tensor's sinusoids, fairseq's and Whisper's. `1 / base` is the last.
    Closed,
}

/// What becomes of the frequencies `f_t` for contexts longer than a model was trained for. Names are those of the
/// `rope_scaling` of Hugging Face configurations; `original_len` is their `original_max_position_embeddings`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scaling<'a> {
    /// Nothing.
    None,
    /// `f_t / factor`: positions are squeezed into the trained ones.
    Linear {
        /// Above 0.
        factor: f64,
    },
    /// `base * factor^(rot_dim / (rot_dim - 2))` instead of the base.
    Ntk {
        /// Above 0.
        factor: f64,
    },
    /// As [`Scaling::Ntk`] with `factor * len / original_len - (factor - 1)` for contexts longer than the original:
    /// frequencies change with the length, and keys that were turned by others no longer fit. Turn them anew.
    DynamicNtk {
        /// Above 0.
        factor: f64,
        /// Tokens that the model was trained for.
        original_len: u32,
        /// Tokens of the context.
        len: u32,
    },
    /// See [`Yarn`].
    Yarn(Yarn),
    /// See [`Llama3`].
    Llama3(Llama3),
    /// See [`LongRope`].
    LongRope(LongRope<'a>),
}

/// YaRN (Peng et al., arXiv 2309.00071): pairs that turn more than `beta_fast` times within the original length stay,
/// those that turn less than `beta_slow` times are slowed down by `factor`, with a ramp between; and all of q and k are
/// scaled by the attention factor.
///
/// ```
/// use flashlet::Yarn;
/// // DeepSeek-V3: its softmax scale is multiplied too, as the attention plan's `scale` takes it.
/// let yarn = Yarn { mscale: Some(1.0), mscale_all_dim: Some(1.0), ..Yarn::new(40.0, 4096) };
/// let scale = 192.0_f64.sqrt().recip() * yarn.softmax_factor();
/// assert!((scale - 0.1352337788608801).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// How much longer contexts become.
    pub factor: f64,
    /// Tokens that the model was trained for.
    pub original_len: u32,
    /// 32 unless a model says otherwise.
    pub beta_fast: f64,
    /// 1 unless a model says otherwise.
    pub beta_slow: f64,
    /// Whether the ramp begins and ends at whole pairs. (Not so in gpt-oss.)
    pub truncate: bool,
    /// Multiplies cos and sin, whatever the formula says.
    pub attention_factor: Option<f64>,
    /// DeepSeek's two: the attention factor is the quotient of theirs, if both are there and not 0.
    pub mscale: Option<f64>,
    /// As above; it also makes [`Yarn::softmax_factor`].
    pub mscale_all_dim: Option<f64>,
}

/// The scaling of Llama 3.1: wavelengths above `original_len / low_freq_factor` are stretched by `factor`, those
/// below `original_len / high_freq_factor` stay, with a ramp between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3 {
    /// How much longer the slow waves become.
    pub factor: f64,
    /// Waves that turn less often within the original length are slow.
    pub low_freq_factor: f64,
    /// Waves that turn more often within the original length are fast.
    pub high_freq_factor: f64,
    /// Tokens that the model was trained for.
    pub original_len: u32,
}

/// LongRoPE (Ding et al., arXiv 2402.13753; Phi-3): each pair has a divisor of its own, one for contexts up to the
/// original length and another beyond. A cache that was filled below must be turned anew above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongRope<'a> {
    /// Divisors up to the original length, one a pair.
    pub short_factor: &'a [f64],
    /// Divisors beyond it.
    pub long_factor: &'a [f64],
    /// How much longer contexts become: `max_position_embeddings / original_len`.
    pub factor: f64,
    /// Tokens that the model was trained for.
    pub original_len: u32,
    /// Tokens of the context.
    pub len: u32,
    /// Multiplies cos and sin; `sqrt(1 + ln(factor) / ln(original_len))` if it is not given.
    pub attention_factor: Option<f64>,
}

/// What [`Theta::turns`] computes: of each pair the fraction of a turn that it makes a token, in units of 2^-64,
/// and what cos and sin are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turns<const PAIRS: usize> {
    /// `round(2^64 * f_t / (2 pi))`.
    pub turns: [u64; PAIRS],
    /// The attention factor, rounded once.
    pub amplitude: f32,
}

impl<const PAIRS: usize> Turns<PAIRS> {
    /// They, as a [`Rope`](crate::Rope) and sinusoids take them.
    #[must_use]
    pub const fn phase(&self) -> Phase<'_> {
        Phase::Exact(&self.turns)
    }
}

impl Yarn {
    /// The defaults of most models.
    #[must_use]
    pub const fn new(factor: f64, original_len: u32) -> Yarn {
        Yarn {
            factor,
            original_len,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            attention_factor: None,
            mscale: None,
            mscale_all_dim: None,
        }
    }

    /// What DeepSeek's models multiply their softmax scale by: `(0.1 mscale_all_dim ln(factor) + 1)^2`, 1 without one.
    /// To be given to [`Attention::scale`](crate::Attention::scale) with the rest of it.
    #[must_use]
    pub const fn softmax_factor(&self) -> f64 {
        match (self.mscale_all_dim, Real::new(self.factor)) {
            (Some(mscale), Some(factor)) if mscale != 0.0 => match Real::new(mscale) {
                Some(mscale) => {
                    let g = concentration(factor, mscale);
                    g.mul(g).to_f64()
                }
                None => f64::NAN,
            },
            _ => 1.0,
        }
    }

    const fn amplitude(&self) -> Result<Real, Error> {
        if let Some(explicit) = self.attention_factor {
            return above_0(Knob::AttentionFactor, explicit);
        }
        let factor = attempt!(above_0(Knob::Factor, self.factor));
        match (self.mscale, self.mscale_all_dim) {
            (Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => {
                let mscale = attempt!(above_0(Knob::Mscale, mscale));
                let all = attempt!(above_0(Knob::Mscale, all));
                Ok(concentration(factor, mscale).div(concentration(factor, all)))
            }
            _ => Ok(concentration(factor, Real::ONE)),
        }
    }

    /// Where the ramp begins and ends, in pairs.
    pub(super) const fn ramp(&self, base: Log, rot_dim: i32) -> Result<[Log; 2], Error> {
        let original = attempt!(length(Knob::OriginalLen, self.original_len));
        let turns = original.mul(Real::TURN_OF_RADIAN);
        let fast = attempt!(above_0(Knob::BetaFast, self.beta_fast));
        let slow = attempt!(above_0(Knob::BetaSlow, self.beta_slow));
        // The pair that turns `beta` times within the original length: base^(-2t / r) L / (2 pi) = beta.
        let start = turns.div(fast).log2().ratio(base).times(rot_dim, 2);
        let end = turns.div(slow).log2().ratio(base).times(rot_dim, 2);
        let (start, end) = if self.truncate { (start.floor(), end.ceil()) } else { (start, end) };
        let (zero, last) = (Log::integer(0), Log::integer(rot_dim - 1));
        let start = if start.is_below(zero) { zero } else { start };
        let end = if last.is_below(end) { last } else { end };
        let is_empty = !start.is_below(end) && !end.is_below(start);
        Ok([start, if is_empty { end.add(Log::integer(1).times(1, 1000)) } else { end }])
    }
}

/// How sharp attention must become when contexts do: `0.1 mscale ln(factor) + 1`, 1 for a factor up to 1.
const fn concentration(factor: Real, mscale: Real) -> Real {
    if !Real::ONE.is_below(factor) {
        return Real::ONE;
    }
    Real::ONE.add(mscale.mul(factor.ln()).div(Real::integer(10)))
}

impl<'a> Theta<'a> {
    /// Frequencies `base^(-2t / rot_dim)`. 10000 in the paper.
    #[must_use]
    pub const fn new(base: f64) -> Theta<'a> {
        Theta { base, spacing: Spacing::Open, scaling: Scaling::None }
    }

    /// The same, scaled.
    #[must_use]
    pub const fn scaled(self, scaling: Scaling<'a>) -> Theta<'a> {
        Theta { base: self.base, spacing: self.spacing, scaling }
    }

    /// The same, spaced otherwise; [`Spacing::Open`] is the default.
    #[must_use]
    pub const fn spaced(self, spacing: Spacing) -> Theta<'a> {
        Theta { base: self.base, spacing, scaling: self.scaling }
    }

    /// The exponent of the base from one pair to the next, as a fraction.
    pub(super) const fn step(&self, rot_dim: i32) -> [i32; 2] {
        match self.spacing {
            Spacing::Closed if rot_dim > 2 => [2, rot_dim - 2],
            _ => [2, rot_dim],
        }
    }

    /// The turns of `PAIRS = rot_dim / 2` pairs, each exact to its last bit but for one in 2^30.
    ///
    /// # Errors
    /// [`Error::Theta`] names the parameter that is out of range; [`Error::ListLength`] for a list of LongRoPE that has
    /// not one number a pair; [`Error::RotDim`].
    pub const fn turns<const PAIRS: usize>(&self) -> Result<Turns<PAIRS>, Error> {
        let mut turns = [0; PAIRS];
        match self.fill(&mut turns) {
            Ok(amplitude) => Ok(Turns { turns, amplitude }),
            Err(error) => Err(error),
        }
    }

    /// As [`Theta::turns`], for as many pairs as there are; returns the amplitude.
    ///
    /// # Errors
    /// As [`Theta::turns`]. Nothing is written then.
    pub const fn fill(&self, turns: &mut [u64]) -> Result<f32, Error> {
        let rot_dim = attempt!(super::rot_dim_of(turns.len()));
        let base = attempt!(self.log2_base(rot_dim));
        let amplitude = attempt!(self.amplitude());
        let rule = attempt!(Rule::new(&self.scaling, base, rot_dim));
        let [step, whole] = self.step(rot_dim);
        let ratio = base.times(-step, whole).exp2();
        let (mut t, mut f) = (0, Real::ONE);
        while t < turns.len() {
            turns[t] = rule.scale(f, t).mul(Real::TURN_OF_RADIAN).turns();
            f = f.mul(ratio);
            t += 1;
        }
        Ok(amplitude.to_f32())
    }

    /// The logarithm of the base, with what the two NTK rules make of it.
    pub(super) const fn log2_base(&self, rot_dim: i32) -> Result<Log, Error> {
        let base = match Real::new(self.base) {
            Some(base) if Real::ONE.is_below(base) => base.log2(),
            _ => return Err(Error::Theta { knob: Knob::ThetaBase, bits: self.base.to_bits() }),
        };
        let stretch = match self.scaling {
            Scaling::Ntk { factor } => attempt!(above_0(Knob::Factor, factor)),
            Scaling::DynamicNtk { factor, original_len, len } => {
                let factor = attempt!(above_0(Knob::Factor, factor));
                let original = attempt!(length(Knob::OriginalLen, original_len));
                let beyond = Real::integer(len.saturating_sub(original_len) as u64);
                Real::ONE.add(factor.mul(beyond).div(original))
            }
            _ => return Ok(base),
        };
        // The one pair of two channels turns by a radian, whatever the base.
        let others = if rot_dim == 2 { 1 } else { rot_dim - 2 };
        Ok(base.add(stretch.log2().times(rot_dim, others)))
    }

    /// What cos and sin are multiplied by.
    pub(super) const fn amplitude(&self) -> Result<Real, Error> {
        match self.scaling {
            Scaling::Yarn(yarn) => yarn.amplitude(),
            Scaling::LongRope(LongRope { attention_factor: Some(explicit), .. }) => {
                above_0(Knob::AttentionFactor, explicit)
            }
            Scaling::LongRope(LongRope { factor, original_len, .. }) => {
                let factor = attempt!(above_0(Knob::Factor, factor));
                let original = attempt!(length(Knob::OriginalLen, original_len));
                if !Real::ONE.is_below(factor) || original_len == 1 {
                    return Ok(Real::ONE);
                }
                Ok(Real::ONE.add(factor.ln().div(original.ln())).sqrt())
            }
            _ => Ok(Real::ONE),
        }
    }
}

/// What becomes of a frequency, its parameters checked.
#[derive(Clone, Copy)]
pub(super) enum Rule<'a> {
    As,
    Times(Real),
    Ramp { start: Log, width: Log, slowed: Real },
    Waves { original: Real, low: Real, high: Real, slowed: Real },
    Over(&'a [f64]),
}

impl<'a> Rule<'a> {
    pub(super) const fn new(
        scaling: &Scaling<'a>,
        base: Log,
        rot_dim: i32,
    ) -> Result<Rule<'a>, Error> {
        Ok(match *scaling {
            Scaling::None | Scaling::Ntk { .. } | Scaling::DynamicNtk { .. } => Rule::As,
            Scaling::Linear { factor } => Rule::Times(attempt!(inverse(factor))),
            Scaling::Yarn(yarn) => {
                let [start, end] = attempt!(yarn.ramp(base, rot_dim));
                Rule::Ramp { start, width: end.sub(start), slowed: attempt!(inverse(yarn.factor)) }
            }
            Scaling::Llama3(llama) => {
                let original = attempt!(length(Knob::OriginalLen, llama.original_len));
                let low = attempt!(above_0(Knob::LowFreqFactor, llama.low_freq_factor));
                let high = attempt!(above_0(Knob::HighFreqFactor, llama.high_freq_factor));
                if !low.is_below(high) {
                    let bits = llama.high_freq_factor.to_bits();
                    return Err(Error::Theta { knob: Knob::HighFreqFactor, bits });
                }
                Rule::Waves { original, low, high, slowed: attempt!(inverse(llama.factor)) }
            }
            Scaling::LongRope(long) => {
                let factors =
                    if long.len > long.original_len { long.long_factor } else { long.short_factor };
                let needed = (rot_dim / 2) as usize;
                if factors.len() != needed {
                    let given = factors.len();
                    return Err(Error::ListLength { list: List::PairFactors, needed, given });
                }
                let mut t = 0;
                while t < factors.len() {
                    attempt!(above_0(Knob::PairFactor, factors[t]));
                    t += 1;
                }
                Rule::Over(factors)
            }
        })
    }

    /// The frequency of pair `t`.
    const fn scale(&self, f: Real, t: usize) -> Real {
        match *self {
            Rule::As => f,
            Rule::Times(factor) => f.mul(factor),
            Rule::Ramp { start, width, slowed } => {
                let (ramp, one) = (Log::integer(t as i32).sub(start).ratio(width), Log::integer(1));
                let ramp = if one.is_below(ramp) { one } else { ramp }.positive();
                f.mul(slowed.mul(ramp).add(Real::ONE.sub(ramp)))
            }
            Rule::Waves { original, low, high, slowed } => {
                // How often it turns within the original length.
                let turns = original.mul(f).mul(Real::TURN_OF_RADIAN);
                if high.is_below(turns) {
                    return f;
                }
                let ramp = turns.sub(low).div(high.sub(low));
                f.mul(slowed.mul(Real::ONE.sub(ramp)).add(ramp))
            }
            // Checked to be there when the rule was made.
            Rule::Over(factors) if t < factors.len() => match Real::new(factors[t]) {
                Some(factor) => f.div(factor),
                None => f,
            },
            Rule::Over(_) => f,
        }
    }
}

const fn above_0(knob: Knob, x: f64) -> Result<Real, Error> {
    match Real::new(x) {
        Some(real) if !real.is_zero() => Ok(real),
        _ => Err(Error::Theta { knob, bits: x.to_bits() }),
    }
}

const fn inverse(factor: f64) -> Result<Real, Error> {
    Ok(Real::ONE.div(attempt!(above_0(Knob::Factor, factor))))
}

const fn length(knob: Knob, len: u32) -> Result<Real, Error> {
    above_0(knob, len as f64)
}
