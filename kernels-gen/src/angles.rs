//! How far cosines and sines of rotary positions are off, by the way in which they are computed; and a picture of it.
//!
//! The angle of pair `t` at position `p` is `p * base^(-2t / rot_dim)` radians. Rounding a sine to f32 costs
//! 3e-8 at most, so what differs is the angle: in f32 radians its last bit is worth more the larger it is, and it is as
//! large as the position. A fraction of a turn in fixed point has the same last bit everywhere.

mod picture;

use flashlet::math::sin_cos_of_radians;
use flashlet::{Error, Pairing, Phase, Rope, Theta};
use oracle::rope::{Double, Scaling, cos_sin, frequencies};

/// The errors cannot be computed, or not be drawn.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AnglesError {
    /// Channels turn two by two.
    #[error("rot_dim = {rot_dim} is odd: channels turn two by two")]
    Odd {
        /// Channels that turn.
        rot_dim: usize,
    },
    /// There are no such frequencies.
    #[error(transparent)]
    Frequencies(#[from] Error),
    /// Plotters fails.
    #[error("cannot draw the angles: {0}")]
    Canvas(String),
}

/// A way from a position to cosines and sines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `theta = p`, then `theta *= base^(-2 / rot_dim)` from pair to pair, all of it in f32: `ggml_rope_cache_init` in
    /// ggml's `ggml-cpu/ops.cpp`, without YaRN and factors. `powf`, `cosf` and `sinf` are rounded correctly here.
    Recurrence,
    /// [`Phase::F32Compatible`]: f32 frequencies, and the f32 product with the position.
    Tables,
    /// The nearest f64 to each frequency, the f64 product with the position, f64 cosines and sines; then f32.
    Double,
    /// [`Phase::Exact`].
    Exact,
}

/// The errors of every method with one set of frequencies.
#[derive(Clone, Debug)]
pub struct Angles {
    base: f64,
    frequencies: Vec<Double>,
    turns: Vec<u64>,
    inv_freq: Vec<f32>,
    theta_scale: f32,
}

/// Largest errors among some positions that lie close together.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The first and the last of them.
    pub positions: [u32; 2],
    /// In the order of [`Method::ALL`].
    pub errors: [f64; Method::ALL.len()],
}

/// Positions for a point of the picture.
pub const SAMPLES: usize = 256;
/// Points for positions between one power of two and the next.
const POINTS_PER_OCTAVE: u32 = 8;

impl Method {
    /// All of them, about from the largest error to the smallest.
    pub const ALL: [Method; 4] =
        [Method::Recurrence, Method::Tables, Method::Double, Method::Exact];

    /// As the picture calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Method::Recurrence => "f32 recurrence: ggml",
            Method::Tables => "f32 tables: PyTorch, candle, ONNX Runtime",
            Method::Double => "f64 angles",
            Method::Exact => "flashlet: exact phases",
        }
    }
}

impl Angles {
    /// Of the frequencies `base^(-2t / rot_dim)`.
    ///
    /// # Errors
    /// [`AnglesError::Odd`]; [`AnglesError::Frequencies`] for a base that is not above 1 and for channels that no head has.
    pub fn new(base: f64, rot_dim: usize) -> Result<Self, AnglesError> {
        if rot_dim % 2 == 1 {
            return Err(AnglesError::Odd { rot_dim });
        }
        let (mut turns, mut inv_freq) = (vec![0; rot_dim / 2], vec![0.0; rot_dim / 2]);
        Theta::new(base).fill(&mut turns)?;
        Theta::new(base).fill_inv_freq(&mut inv_freq)?;
        // Fails where the head would be too wide.
        Rope::new(Phase::Exact(&turns), 1.0, Pairing::Halves)?;
        let frequencies = frequencies(base, rot_dim, &Scaling::None);
        let exponent = -2.0 / rot_dim as f32;
        let theta_scale = f64::from(base as f32).powf(f64::from(exponent)) as f32;
        Ok(Angles { base, frequencies, turns, inv_freq, theta_scale })
    }

    /// Channels that turn.
    #[must_use]
    pub fn rot_dim(&self) -> usize {
        2 * self.turns.len()
    }

    /// The largest `|cos - exact|` and `|sin - exact|` of all pairs at a position, by each of [`Method::ALL`].
    ///
    /// # Errors
    /// None that is known: what could fail has been tried by [`Angles::new`].
    pub fn errors(&self, position: u32) -> Result<[f64; Method::ALL.len()], AnglesError> {
        let exact = self.frequencies.iter().map(|f| cos_sin(*f, i64::from(position)));
        let exact: Vec<(f64, f64)> = exact.collect();
        let mut errors = [0.0; Method::ALL.len()];
        for (error, method) in errors.iter_mut().zip(Method::ALL) {
            let row = self.row(method, position)?;
            let (cos, sin) = row.split_at(exact.len());
            for (exact, (cos, sin)) in exact.iter().zip(cos.iter().zip(sin)) {
                let off = (f64::from(*cos) - exact.0).abs().max((f64::from(*sin) - exact.1).abs());
                *error = off.max(*error);
            }
        }
        Ok(errors)
    }

    /// Cosines, then sines, of all pairs.
    fn row(&self, method: Method, position: u32) -> Result<Vec<f32>, AnglesError> {
        let table = |phase: Phase<'_>| {
            let mut row = vec![0.0; 2 * phase.pairs()];
            Rope::new(phase, 1.0, Pairing::Halves)?.fill_table(position, &mut row)?;
            Ok(row)
        };
        let of_pairs = |sin_cos: &mut dyn FnMut(usize) -> [f32; 2]| {
            let (sin, cos): (Vec<f32>, Vec<f32>) =
                (0..self.turns.len()).map(|t| sin_cos(t).into()).unzip();
            Ok([cos, sin].concat())
        };
        match method {
            Method::Exact => table(Phase::Exact(&self.turns)),
            Method::Tables => table(Phase::F32Compatible(&self.inv_freq)),
            Method::Recurrence => {
                let mut theta = position as f32;
                of_pairs(&mut |_| {
                    let pair = sin_cos_of_radians(theta);
                    theta *= self.theta_scale;
                    pair
                })
            }
            Method::Double => of_pairs(&mut |t| {
                let (sin, cos) = (f64::from(position) * self.frequencies[t].to_f64()).sin_cos();
                [sin as f32, cos as f32]
            }),
        }
    }

    /// Points from position 1 to the last one of 32 bits, each of at most so many positions; always the same ones.
    ///
    /// # Errors
    /// As [`Angles::errors`].
    pub fn curve(&self, samples: usize) -> Result<Vec<Point>, AnglesError> {
        let all = (0..32 * POINTS_PER_OCTAVE).map(|n| sample([bound(n), bound(n + 1)], samples));
        let point = |sample: Vec<u32>| {
            let positions = [*sample.first()?, *sample.last()?];
            let worst = sample.iter().try_fold([0.0; Method::ALL.len()], |mut worst, position| {
                for (worst, error) in worst.iter_mut().zip(self.errors(*position)?) {
                    *worst = error.max(*worst);
                }
                Ok(worst)
            });
            Some(worst.map(|errors| Point { positions, errors }))
        };
        all.filter_map(point).collect()
    }
}

/// Where point `n` begins: the first integer from `2^(n / POINTS_PER_OCTAVE)` on.
fn bound(n: u32) -> u64 {
    let (octave, rest) = (n / POINTS_PER_OCTAVE, n % POINTS_PER_OCTAVE);
    let fraction = (f64::from(rest) / f64::from(POINTS_PER_OCTAVE)).exp2();
    (fraction * (1_u64 << octave) as f64).ceil() as u64
}

/// Positions from `start` on and before `end`: all, or so many of them. The last is one of them; the others are multiples
/// of the golden section, from 0 on, which lie evenly and have no power of two in common.
fn sample([start, end]: [u64; 2], samples: usize) -> Vec<u32> {
    /// `2^32` over the golden section.
    const GOLDEN: u32 = 0x9e37_79b9;
    let (len, samples) = (end - start, samples as u32);
    let position = |offset: u64| (start + offset) as u32;
    if len <= u64::from(samples) {
        return (0..len).map(position).collect();
    }
    let spread = |n: u32| (u64::from(n.wrapping_mul(GOLDEN)) * len) >> 32;
    let mut all: Vec<u32> =
        (0..samples.saturating_sub(1)).map(spread).chain([len - 1]).map(position).collect();
    all.sort_unstable();
    all
}
