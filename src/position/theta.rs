//! How fast each pair of channels turns: `theta_base`, and what models do to it for long contexts.

use super::phase::Phase;
use super::real::{Log, Real};
use super::scaling::{LongRope, Rule, Scaling, above_0, length, stretched};
use crate::error::{Error, Knob};

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
        let amplitude = attempt!(self.amplitude_f32());
        let rule = attempt!(Rule::new(&self.scaling, base, rot_dim));
        let [step, whole] = self.step(rot_dim);
        let ratio = base.times(-step, whole).exp2();
        let (mut t, mut f) = (0, Real::ONE);
        while t < turns.len() {
            turns[t] = rule.scale(f, t).mul(Real::TURN_OF_RADIAN).turns();
            f = f.mul(ratio);
            t += 1;
        }
        Ok(amplitude)
    }

    /// The amplitude, which f32 must have.
    pub(super) const fn amplitude_f32(&self) -> Result<f32, Error> {
        let amplitude = attempt!(self.amplitude()).to_f32();
        if amplitude > 0.0 && amplitude.is_finite() {
            return Ok(amplitude);
        }
        Err(Error::Theta { knob: Knob::AttentionFactor, bits: (amplitude as f64).to_bits() })
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
        let stretched = base.add(stretched(stretch, rot_dim));
        if Log::integer(0).is_below(stretched) {
            return Ok(stretched);
        }
        Err(Error::Theta { knob: Knob::ThetaBase, bits: stretched.exp2().to_f64().to_bits() })
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
