//! The frequencies of trained models to the bit: the rules of `scaling.rs` in f32, in the order of operations of Hugging
//! Face's `modeling_rope_utils`, whose tables models were trained with.

use super::phase::Phase;
use super::real::{Log, Real};
use super::scaling::{Llama3, Rule, Scaling, stretched};
use super::theta::Theta;
use crate::error::{Error, Knob};

/// What [`Theta::inv_freq`] computes: radians a token of each pair, in f32, and what cos and sin are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvFreq<const PAIRS: usize> {
    /// `1 / base^(2t / rot_dim)`, scaled.
    pub inv_freq: [f32; PAIRS],
    /// The attention factor, rounded once.
    pub amplitude: f32,
}

impl<const PAIRS: usize> InvFreq<PAIRS> {
    /// They, as a [`Rope`](crate::Rope) and sinusoids take them.
    #[must_use]
    pub const fn phase(&self) -> Phase<'_> {
        Phase::F32Compatible(&self.inv_freq)
    }
}

impl Theta<'_> {
    /// The frequencies of `PAIRS = rot_dim / 2` pairs as Hugging Face computes them, in f32; powers are rounded
    /// correctly, which PyTorch's are but for a last bit now and then. A checkpoint that holds its `inv_freq` needs none
    /// of this: [`Phase::F32Compatible`](crate::Phase::F32Compatible) takes it as it is.
    ///
    /// # Errors
    /// As [`Theta::turns`].
    pub const fn inv_freq<const PAIRS: usize>(&self) -> Result<InvFreq<PAIRS>, Error> {
        let mut inv_freq = [0.0; PAIRS];
        match self.fill_inv_freq(&mut inv_freq) {
            Ok(amplitude) => Ok(InvFreq { inv_freq, amplitude }),
            Err(error) => Err(error),
        }
    }

    /// As [`Theta::inv_freq`], for as many pairs as there are; returns the amplitude.
    ///
    /// # Errors
    /// As [`Theta::turns`]. Nothing is written then.
    pub const fn fill_inv_freq(&self, inv_freq: &mut [f32]) -> Result<f32, Error> {
        let rot_dim = attempt!(super::rot_dim_of(inv_freq.len()));
        let base = attempt!(self.log2_base(rot_dim));
        let amplitude = attempt!(self.amplitude_f32());
        let rule = attempt!(Rule::new(&self.scaling, base, rot_dim));
        let base = match self.scaling {
            Scaling::DynamicNtk { factor, original_len, len } if len > original_len => {
                self.dynamic_base(factor, original_len, len, rot_dim)
            }
            _ => base.exp2().to_f32(),
        };
        if !(base > 1.0 && base.is_finite()) {
            return Err(Error::Theta { knob: Knob::ThetaBase, bits: (base as f64).to_bits() });
        }
        let base = Real::of_f32(base).log2();
        let mut t = 0;
        while t < inv_freq.len() {
            let scaled = self.scale(&rule, self.power(base, rot_dim, t), t);
            if !scaled.is_finite() {
                return Err(Error::Theta { knob: Knob::Factor, bits: (scaled as f64).to_bits() });
            }
            t += 1;
        }
        t = 0;
        while t < inv_freq.len() {
            inv_freq[t] = self.scale(&rule, self.power(base, rot_dim, t), t);
            t += 1;
        }
        Ok(amplitude)
    }

    /// The base to the power of pair `t`, rounded correctly.
    const fn power(&self, base: Log, rot_dim: i32, t: usize) -> f32 {
        let [step, whole] = self.step(rot_dim);
        let exponent = (step as usize * t) as f32 / whole as f32;
        base.of(Real::of_f32(exponent)).exp2().to_f32()
    }

    /// The base of [`Scaling::DynamicNtk`]: the length is a tensor there, so all of it is f32.
    const fn dynamic_base(&self, factor: f64, original_len: u32, len: u32, rot_dim: i32) -> f32 {
        let stretch = factor as f32 * len as f32 / original_len as f32 - (factor - 1.0) as f32;
        let power = stretched(Real::of_f32(stretch), rot_dim).exp2().to_f32();
        self.base as f32 * power
    }

    /// One over the wavelength that `power` radians are, scaled by the rule of the scaling.
    const fn scale(&self, rule: &Rule<'_>, power: f32, t: usize) -> f32 {
        let inv_freq = 1.0 / power;
        match (self.scaling, *rule) {
            (Scaling::Linear { factor }, _) => inv_freq / factor as f32,
            (Scaling::Yarn(yarn), Rule::Ramp { start, width, .. }) => {
                let ramp = ((t as f32 - start.to_f32()) / width.to_f32()).clamp(0.0, 1.0);
                let kept = 1.0 - ramp;
                1.0 / (yarn.factor as f32 * power) * (1.0 - kept) + inv_freq * kept
            }
            (Scaling::Llama3(llama), _) => by_wavelength(inv_freq, &llama),
            (_, Rule::Over(factors)) if t < factors.len() => 1.0 / (factors[t] as f32 * power),
            _ => inv_freq,
        }
    }
}

const fn by_wavelength(inv_freq: f32, llama: &Llama3) -> f32 {
    let (factor, original) = (llama.factor as f32, llama.original_len as f32);
    let (low, high) = (llama.low_freq_factor, llama.high_freq_factor);
    // PyTorch divides a number by a tensor by multiplying it with the inverse.
    let wavelength = 1.0 / inv_freq * core::f32::consts::TAU;
    let slow = (llama.original_len as f64 / low) as f32;
    let fast = (llama.original_len as f64 / high) as f32;
    if wavelength > slow {
        return inv_freq / factor;
    }
    if wavelength < fast {
        return inv_freq;
    }
    let smooth = (1.0 / wavelength * original - low as f32) / (high - low) as f32;
    (1.0 - smooth) * inv_freq / factor + smooth * inv_freq
}
