//! What models do to frequencies for contexts longer than those they were trained for.

use super::real::{Log, Real};
use crate::error::{Error, Knob, List};

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
            (Some(mscale), None) if mscale != 0.0 => f64::NAN,
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

    pub(super) const fn amplitude(&self) -> Result<Real, Error> {
        if let Some(explicit) = self.attention_factor {
            return above_0(Knob::AttentionFactor, explicit);
        }
        let factor = attempt!(above_0(Knob::Factor, self.factor));
        match (attempt!(mscale_of(self.mscale)), attempt!(mscale_of(self.mscale_all_dim))) {
            (Some(mscale), Some(all)) => {
                Ok(concentration(factor, mscale).div(concentration(factor, all)))
            }
            _ => Ok(concentration(factor, Real::ONE)),
        }
    }

    /// Where the ramp begins and ends, in pairs.
    const fn ramp(&self, base: Log, rot_dim: i32) -> Result<[Log; 2], Error> {
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

/// One of DeepSeek's two, if it is there and not 0.
const fn mscale_of(mscale: Option<f64>) -> Result<Option<Real>, Error> {
    match mscale {
        Some(mscale) if mscale != 0.0 => Ok(Some(attempt!(above_0(Knob::Mscale, mscale)))),
        _ => Ok(None),
    }
}

/// How sharp attention must become when contexts do: `0.1 mscale ln(factor) + 1`, 1 for a factor up to 1.
const fn concentration(factor: Real, mscale: Real) -> Real {
    if !Real::ONE.is_below(factor) {
        return Real::ONE;
    }
    Real::ONE.add(mscale.mul(factor.ln()).div(Real::integer(10)))
}

/// What the two NTK rules multiply the base by: `stretch^(rot_dim / (rot_dim - 2))`.
pub(super) const fn stretched(stretch: Real, rot_dim: i32) -> Log {
    // The one pair of two channels turns by a radian, whatever the base.
    let others = if rot_dim == 2 { 1 } else { rot_dim - 2 };
    stretch.log2().times(rot_dim, others)
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
                // The one that is not in use now may be later.
                attempt!(one_a_pair(long.short_factor, rot_dim));
                attempt!(one_a_pair(long.long_factor, rot_dim));
                let is_long = long.len > long.original_len;
                Rule::Over(if is_long { long.long_factor } else { long.short_factor })
            }
        })
    }

    /// The frequency of pair `t`.
    pub(super) const fn scale(&self, f: Real, t: usize) -> Real {
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

/// Whether there is a divisor for each pair.
const fn one_a_pair(factors: &[f64], rot_dim: i32) -> Result<(), Error> {
    let (needed, given, mut t) = ((rot_dim / 2) as usize, factors.len(), 0);
    if given != needed {
        return Err(Error::ListLength { list: List::PairFactors, needed, given });
    }
    while t < given {
        attempt!(above_0(Knob::PairFactor, factors[t]));
        t += 1;
    }
    Ok(())
}

pub(super) const fn above_0(knob: Knob, x: f64) -> Result<Real, Error> {
    match Real::new(x) {
        Some(real) if !real.is_zero() => Ok(real),
        _ => Err(Error::Theta { knob, bits: x.to_bits() }),
    }
}

const fn inverse(factor: f64) -> Result<Real, Error> {
    Ok(Real::ONE.div(attempt!(above_0(Knob::Factor, factor))))
}

pub(super) const fn length(knob: Knob, len: u32) -> Result<Real, Error> {
    above_0(knob, len as f64)
}
