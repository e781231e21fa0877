//! Rotary positions of a model: checked, and what a crate holds of them.

use super::SpecError;
use super::check::Text;
use super::raw::{RawRope, RawScaling};
use flashlet::{Error, Llama3, LongRope, Pairing, Phase, Scaling, Theta, Yarn};
use std::fmt;
use std::ops::RangeInclusive;
use toml::Spanned;

/// Rotary positions.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecRope {
    /// Which channels turn together.
    pub pairing: Pairing,
    /// The first channel that turns.
    pub first: usize,
    /// Of each pair the fraction of a turn a token, or radians in f32.
    pub frequencies: Frequencies,
    /// What cosines and sines are multiplied by.
    pub amplitude: f32,
    /// What DeepSeek's models multiply their scale by.
    pub softmax_factor: f64,
    /// Positions whose angles lie in flash; without it they are computed.
    pub table: Option<usize>,
    /// Every so-manieth layer has no rotary positions.
    pub no_rope_every: Option<usize>,
}

/// Frequencies as a crate holds them.
#[derive(Clone, Debug, PartialEq)]
pub enum Frequencies {
    /// In units of 2^-64 turns.
    Exact(Vec<u64>),
    /// In radians, as models were trained.
    F32Compatible(Vec<f32>),
}

impl SpecRope {
    /// Channels that turn.
    #[must_use]
    pub fn rot_dim(&self) -> usize {
        2 * self.phase().pairs()
    }

    /// Its frequencies, as flashlet takes them.
    #[must_use]
    pub fn phase(&self) -> Phase<'_> {
        match &self.frequencies {
            Frequencies::Exact(turns) => Phase::Exact(turns),
            Frequencies::F32Compatible(inv_freq) => Phase::F32Compatible(inv_freq),
        }
    }

    /// Bytes of flash that its angles take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match (self.table, &self.frequencies) {
            (Some(positions), _) => positions * self.rot_dim() * size_of::<f32>(),
            (None, Frequencies::Exact(turns)) => size_of_val(&turns[..]),
            (None, Frequencies::F32Compatible(inv_freq)) => size_of_val(&inv_freq[..]),
        }
    }
}

impl fmt::Display for SpecRope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairing = match self.pairing {
            Pairing::Interleaved => "interleaved",
            Pairing::Halves => "halves",
        };
        let phase = match self.frequencies {
            Frequencies::Exact(_) => "exact",
            Frequencies::F32Compatible(_) => "f32-compatible",
        };
        write!(f, "{} channels ({pairing}), {phase} angles ", self.rot_dim())?;
        match self.table {
            Some(positions) => write!(f, "in a table of {positions} positions"),
            None => f.write_str("computed"),
        }
    }
}

/// A preset's rope for heads of `dim` channels and contexts of `keys` tokens.
pub(super) fn check(
    at: &Text<'_>,
    raw: &RawRope,
    dim: usize,
    keys: usize,
) -> Result<SpecRope, SpecError> {
    let first = raw.first.as_ref().map_or(0, |first| *first.get_ref());
    let rot_dim = raw.rot_dim.as_ref().map_or(dim, |rot_dim| *rot_dim.get_ref());
    let end = first.checked_add(rot_dim).filter(|end| *end <= dim);
    if end.is_none() || rot_dim == 0 || rot_dim % 2 == 1 {
        let span = raw
            .rot_dim
            .as_ref()
            .or(raw.first.as_ref())
            .map_or(raw.theta_base.span(), Spanned::span);
        let message = format!("{rot_dim} channels from {first} on turn, of {dim}");
        return Err(at.error(
            span,
            message,
            "an even number of channels within a head: `rot_dim`, `first`",
        ));
    }
    let scaling = scaling_of(raw.scaling.as_ref(), keys);
    let theta = Theta::new(*raw.theta_base.get_ref()).scaled(scaling);
    let refused = |error: Error| {
        let span = raw.scaling.as_ref().map_or(raw.theta_base.span(), Spanned::span);
        at.error(
            span,
            error.to_string(),
            "the base is above 1, all else above 0, and lists have a number for each pair",
        )
    };
    let (frequencies, amplitude) = if raw.phase.is_compatible() {
        let mut inv_freq = vec![0.0; rot_dim / 2];
        let amplitude = theta.fill_inv_freq(&mut inv_freq).map_err(refused)?;
        (Frequencies::F32Compatible(inv_freq), amplitude)
    } else {
        let mut turns = vec![0; rot_dim / 2];
        let amplitude = theta.fill(&mut turns).map_err(refused)?;
        (Frequencies::Exact(turns), amplitude)
    };
    Ok(SpecRope {
        pairing: raw.pairing.pairing(),
        first,
        frequencies,
        amplitude,
        softmax_factor: match scaling {
            Scaling::Yarn(yarn) => yarn.softmax_factor(),
            _ => 1.0,
        },
        table: count(at, raw.table.as_ref(), 1..=keys)?,
        no_rope_every: count(at, raw.no_rope_every.as_ref(), 2..=usize::MAX)?,
    })
}

fn count(
    at: &Text<'_>,
    raw: Option<&Spanned<usize>>,
    range: RangeInclusive<usize>,
) -> Result<Option<usize>, SpecError> {
    match raw {
        Some(raw) if !range.contains(raw.get_ref()) => {
            let message = format!("{} is out of range", raw.get_ref());
            let help = match *range.end() {
                usize::MAX => format!("at least {}, or leave it out", range.start()),
                most => {
                    format!("{} to {most}, the keys of `lengths`, or leave it out", range.start())
                }
            };
            Err(at.error(raw.span(), message, &help))
        }
        raw => Ok(raw.map(|raw| *raw.get_ref())),
    }
}

/// What a preset's scaling makes of contexts of as many tokens as it has keys.
fn scaling_of(raw: Option<&Spanned<RawScaling>>, keys: usize) -> Scaling<'_> {
    let len = u32::try_from(keys).unwrap_or(u32::MAX);
    match raw.map(Spanned::get_ref) {
        None => Scaling::None,
        Some(&RawScaling::Linear { factor }) => Scaling::Linear { factor },
        Some(&RawScaling::Ntk { factor }) => Scaling::Ntk { factor },
        Some(&RawScaling::DynamicNtk { factor, original_len }) => {
            Scaling::DynamicNtk { factor, original_len, len }
        }
        Some(&RawScaling::Yarn {
            factor,
            original_len,
            beta_fast,
            beta_slow,
            truncate,
            attention_factor,
            mscale,
            mscale_all_dim,
        }) => {
            let yarn = Yarn::new(factor, original_len);
            Scaling::Yarn(Yarn {
                beta_fast: beta_fast.unwrap_or(yarn.beta_fast),
                beta_slow: beta_slow.unwrap_or(yarn.beta_slow),
                truncate: truncate.unwrap_or(yarn.truncate),
                attention_factor,
                mscale,
                mscale_all_dim,
                ..yarn
            })
        }
        Some(&RawScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_len }) => {
            Scaling::Llama3(Llama3 { factor, low_freq_factor, high_freq_factor, original_len })
        }
        Some(RawScaling::Longrope {
            short_factor,
            long_factor,
            factor,
            original_len,
            attention_factor,
        }) => Scaling::LongRope(LongRope {
            short_factor,
            long_factor,
            factor: *factor,
            original_len: *original_len,
            len,
            attention_factor: *attention_factor,
        }),
    }
}
