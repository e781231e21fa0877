//! Where frequencies come from: a base and a scaling of any kind, good parameters and bad ones; or plain numbers.

use arbitrary::{Result, Unstructured};
use flashlet::{Error, Llama3, LongRope, Phase, Scaling, Theta, Yarn};
use oracle::rope::{Double, Scaling as Exact, amplitude, frequencies, turns_q64};

/// Numbers, and whether all of them are such as a model may have.
pub(super) struct Parameters<'u, 'd> {
    u: &'u mut Unstructured<'d>,
    is_odd: bool,
}

/// A scaling, to be lent.
#[derive(Debug)]
enum Kind {
    None,
    Linear(f64),
    Ntk(f64),
    DynamicNtk(f64, [u32; 2]),
    Yarn(Yarn),
    Llama3(Llama3),
    LongRope(Box<(LongRope<'static>, [Vec<f64>; 2])>),
}

/// What a rope turns by.
#[derive(Debug)]
pub(super) struct Angles {
    /// Fractions of a turn, or radians in f32.
    pub(super) turns: Vec<u64>,
    pub(super) inv_freq: Option<Vec<f32>>,
    pub(super) amplitude: f32,
    /// Exactly, in radians.
    pub(super) frequencies: Vec<Double>,
    pub(super) exact_amplitude: f64,
}

impl Parameters<'_, '_> {
    /// A number between two, rarely any.
    fn between(&mut self, low: f64, high: f64) -> Result<f64> {
        if self.u.ratio(1, 40)? {
            self.is_odd = true;
            let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, 5e-324, 1e-300, 1.0, 1e39, f64::MAX];
            return Ok(*self.u.choose(&odd)?);
        }
        Ok(low + (high - low) * f64::from(self.u.arbitrary::<u16>()?) / 65_536.0)
    }

    fn maybe(&mut self, low: f64, high: f64) -> Result<Option<f64>> {
        if self.u.ratio(2, 3)? { Ok(None) } else { self.between(low, high).map(Some) }
    }

    fn length(&mut self) -> Result<u32> {
        if self.u.ratio(1, 40)? {
            self.is_odd = true;
            return Ok(*self.u.choose(&[0, 1, u32::MAX])?);
        }
        Ok(*self.u.choose(&[2, 128, 2048, 4096, 8192, 10_007, 1 << 20])?)
    }

    fn scaling(&mut self, pairs: usize) -> Result<Kind> {
        let kind = self.u.int_in_range(0..=6)?;
        let factor = self.between(0.5, 64.0)?;
        let (original_len, len) = (self.length()?, self.length()?);
        Ok(match kind {
            0 => Kind::None,
            1 => Kind::Linear(factor),
            2 => Kind::Ntk(factor),
            3 => Kind::DynamicNtk(factor, [original_len, len]),
            4 => Kind::Yarn(Yarn {
                beta_fast: self.between(1.0, 64.0)?,
                beta_slow: self.between(0.25, 4.0)?,
                truncate: self.u.arbitrary()?,
                attention_factor: self.maybe(0.25, 4.0)?,
                mscale: self.maybe(0.0, 2.0)?,
                mscale_all_dim: self.maybe(0.0, 2.0)?,
                ..Yarn::new(factor, original_len)
            }),
            5 => {
                let low_freq_factor = self.between(0.25, 4.0)?;
                let high_freq_factor = low_freq_factor + self.between(0.25, 8.0)?;
                Kind::Llama3(Llama3 { factor, low_freq_factor, high_freq_factor, original_len })
            }
            _ => {
                let attention_factor = self.maybe(0.25, 4.0)?;
                let mut lists = [Vec::new(), Vec::new()];
                for list in &mut lists {
                    // A list of another length is refused.
                    let is_short = self.u.ratio(1, 40)?;
                    self.is_odd |= is_short;
                    for _ in usize::from(is_short)..pairs {
                        list.push(self.between(1.0, 32.0)?);
                    }
                }
                let [short_factor, long_factor] = [&[]; 2];
                let long = LongRope {
                    short_factor,
                    long_factor,
                    factor,
                    original_len,
                    len,
                    attention_factor,
                };
                Kind::LongRope(Box::new((long, lists)))
            }
        })
    }
}

impl Kind {
    fn lent(&self) -> Scaling<'_> {
        match self {
            Kind::None => Scaling::None,
            Kind::Linear(factor) => Scaling::Linear { factor: *factor },
            Kind::Ntk(factor) => Scaling::Ntk { factor: *factor },
            Kind::DynamicNtk(factor, [original_len, len]) => {
                Scaling::DynamicNtk { factor: *factor, original_len: *original_len, len: *len }
            }
            Kind::Yarn(yarn) => Scaling::Yarn(*yarn),
            Kind::Llama3(llama) => Scaling::Llama3(*llama),
            Kind::LongRope(long) => {
                let (rest, [short_factor, long_factor]) = &**long;
                Scaling::LongRope(LongRope { short_factor, long_factor, ..*rest })
            }
        }
    }

    /// As the oracle has it.
    fn exact(&self, pairs: usize) -> Exact {
        match self {
            Kind::None => Exact::None,
            // The one pair turns by a radian, whatever the base.
            Kind::Ntk(_) | Kind::DynamicNtk(..) if pairs == 1 => Exact::None,
            Kind::Linear(factor) => Exact::Linear { factor: *factor },
            Kind::Ntk(factor) => Exact::Ntk { factor: *factor },
            Kind::DynamicNtk(factor, [trained_len, length]) => Exact::DynamicNtk {
                factor: *factor,
                trained_len: u64::from(*trained_len),
                length: u64::from(*length),
            },
            Kind::Yarn(yarn) => Exact::Yarn(oracle::rope::Yarn {
                factor: yarn.factor,
                original_len: u64::from(yarn.original_len),
                beta_fast: yarn.beta_fast,
                beta_slow: yarn.beta_slow,
                truncate: yarn.truncate,
                attention_factor: yarn.attention_factor,
                mscale: yarn.mscale,
                mscale_all_dim: yarn.mscale_all_dim,
            }),
            Kind::Llama3(llama) => Exact::Llama3 {
                factor: llama.factor,
                low: llama.low_freq_factor,
                high: llama.high_freq_factor,
                original_len: u64::from(llama.original_len),
            },
            Kind::LongRope(long) => {
                let (rest, [short_factors, long_factors]) = &**long;
                Exact::LongRope(oracle::rope::LongRope {
                    short_factors: short_factors.clone(),
                    long_factors: long_factors.clone(),
                    original_len: u64::from(rest.original_len),
                    length: u64::from(rest.len),
                    factor: rest.factor,
                    attention_factor: rest.attention_factor,
                })
            }
        }
    }

    /// Whether the base may have been scaled to 1 or less, which has no frequencies.
    fn may_flatten(&self, base: f64, pairs: usize) -> bool {
        let stretch = match self {
            Kind::Ntk(factor) => *factor,
            Kind::DynamicNtk(factor, [original_len, len]) => {
                let beyond = len.saturating_sub(*original_len);
                1.0 + factor * f64::from(beyond) / f64::from(*original_len)
            }
            _ => return false,
        };
        let rot_dim = 2.0 * pairs as f64;
        base * stretch.powf(rot_dim / (rot_dim - 2.0).max(1.0)) <= 1.0 + 1e-9
    }
}

impl Angles {
    /// Of so many pairs; an error is one that the parameters deserve.
    pub(super) fn decode(
        u: &mut Unstructured<'_>,
        pairs: usize,
    ) -> Result<std::result::Result<Self, Error>> {
        if u.ratio(1, 8)? {
            let turns = (0..pairs).map(|_| u.arbitrary()).collect::<Result<Vec<u64>>>()?;
            let amplitude = *u.choose(&[1.0, 1.25, 0.1, 1.346_573_6, -2.0])?;
            return Ok(Ok(Self::of(turns, amplitude)));
        }
        let is_compatible = u.ratio(1, 4)?;
        let mut parameters = Parameters { u, is_odd: false };
        let mut base = *parameters.u.choose(&[1e4, 1e4, 5e5, 1e6, 1.5e5, 2.0, 0.0])?;
        if base == 0.0 {
            base = parameters.between(1.5, 1e7)?;
        }
        let kind = parameters.scaling(pairs)?;
        let is_odd = parameters.is_odd;
        let theta = Theta::new(base).scaled(kind.lent());
        let what = || format!("{pairs} pairs of {theta:?}");
        let mut turns = vec![7; pairs];
        let result = theta.fill(&mut turns);
        let amplitude = match result {
            Ok(amplitude) => amplitude,
            Err(error) => {
                let is_deserved = is_odd || kind.may_flatten(base, pairs);
                assert!(is_deserved, "{error} of {}", what());
                assert!(turns.iter().all(|turns| *turns == 7), "written in spite of {error}");
                return Ok(Err(error));
            }
        };
        assert!(amplitude.is_finite() && amplitude > 0.0, "{amplitude}: {}", what());
        let mut angles = Self::of(turns, amplitude);
        if !is_odd {
            angles.know(frequencies(base, 2 * pairs, &kind.exact(pairs)), what);
            angles.exact_amplitude = self::amplitude(&kind.exact(pairs));
            let is_rounded = angles.exact_amplitude as f32 == amplitude;
            assert!(is_rounded, "{amplitude}, not {}: {}", angles.exact_amplitude, what());
        }
        if is_compatible {
            return Ok(angles.compatible(&theta, what));
        }
        Ok(Ok(angles))
    }

    /// The turns are what is exact.
    fn of(turns: Vec<u64>, amplitude: f32) -> Self {
        let unit = Double::TAU.scale(-64);
        let radians = |turns: &u64| {
            let [high, low] =
                [turns >> 32, turns & 0xffff_ffff].map(|half| Double::from(half as f64));
            (high.scale(32) + low) * unit
        };
        let frequencies = turns.iter().map(radians).collect();
        let exact_amplitude = f64::from(amplitude);
        Angles { turns, inv_freq: None, amplitude, frequencies, exact_amplitude }
    }

    /// The frequencies are what is exact, and the turns those rounded.
    fn know(&mut self, frequencies: Vec<Double>, what: impl Fn() -> String) {
        for (t, (turns, exact)) in self.turns.iter().zip(&frequencies).enumerate() {
            let exact = turns_q64(*exact);
            let apart = turns.wrapping_sub(exact).min(exact.wrapping_sub(*turns));
            assert!(apart <= 1, "pair {t} turns by {turns:x}, not {exact:x}: {}", what());
        }
        self.frequencies = frequencies;
    }

    /// The frequencies of trained models; their own rounding is judged elsewhere.
    fn compatible(
        self,
        theta: &Theta<'_>,
        what: impl Fn() -> String,
    ) -> std::result::Result<Self, Error> {
        let mut inv_freq = vec![7.0; self.turns.len()];
        let amplitude = match theta.fill_inv_freq(&mut inv_freq) {
            Ok(amplitude) => amplitude,
            Err(error) => {
                assert!(inv_freq.iter().all(|f| *f == 7.0), "written in spite of {error}");
                return Err(error);
            }
        };
        assert!(inv_freq.iter().all(|f| f.is_finite()), "{inv_freq:?}: {}", what());
        assert!(amplitude == self.amplitude, "{amplitude}: {}", what());
        Ok(Angles { inv_freq: Some(inv_freq), ..self })
    }

    pub(super) fn phase(&self) -> Phase<'_> {
        match &self.inv_freq {
            Some(inv_freq) => Phase::F32Compatible(inv_freq),
            None => Phase::Exact(&self.turns),
        }
    }

    /// Cosine and sine of pair t, exactly, if they are promised.
    pub(super) fn cos_sin(&self, t: usize, position: i64) -> Option<(f64, f64)> {
        match &self.inv_freq {
            Some(inv_freq) => {
                let angle = position as f32 * inv_freq[t];
                let (sin, cos) = f64::from(angle).sin_cos();
                angle.is_finite().then_some((cos, sin))
            }
            None => {
                let is_near = position.unsigned_abs() <= 1 << 32;
                is_near.then(|| oracle::rope::cos_sin(self.frequencies[t], position))
            }
        }
    }
}
