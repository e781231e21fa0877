//! Heads that turn.

use flashlet::{Elem, Error, Level, Pairing, Phase, Positions, Rope, ViewMut};
use half::{bf16, f16};

use super::{MAX_PAIRS, MAX_TURNED, Model};
use crate::outcome::worst;
use crate::{Fnv1a, Outcome};

/// Queries and keys, how they turn, and what must come out.
#[derive(Debug)]
pub struct Rotation {
    /// Model, pairing and how heads are stored.
    pub name: &'static str,
    /// The model that they turn by.
    pub model: &'static Model,
    /// Which channels turn together.
    pub pairing: Pairing,
    /// The first channel that turns.
    pub first: usize,
    /// Position of the first token.
    pub start: u32,
    /// How heads are stored.
    pub storage: Storage,
    /// Shape of the queries, `[1, len, q_heads, head_dim]`.
    pub q: [usize; 4],
    /// Shape of the keys.
    pub k: [usize; 4],
    /// Queries, then keys: numbers that can be stored exactly.
    pub input: &'static [f32],
    /// The result in f64.
    pub exact: &'static [f64],
    /// Largest error of each element, fused or not.
    pub limits: &'static [f32],
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As they are computed.
    F32,
    /// In 16 bits, 11 of them significant.
    F16,
    /// In 16 bits, 8 of them significant.
    Bf16,
}

impl Rotation {
    /// Turns the heads at `level` and compares them with what must come out.
    ///
    /// # Errors
    /// What [`Rope`] says about a level that this host lacks.
    pub fn run(&self, level: Level) -> Result<Outcome, Error> {
        match self.storage {
            Storage::F32 => self.turn(level, |x| x),
            Storage::F16 => self.turn(level, f16::from_f32),
            Storage::Bf16 => self.turn(level, bf16::from_f32),
        }
    }

    /// Largest error of an element as a share of what it may be: above 1 is wrong.
    #[must_use]
    pub fn err_over_bound(&self, turned: &[f32]) -> f32 {
        worst(turned, self.exact, self.limits)
    }

    fn turn<T>(&self, level: Level, stored: fn(f32) -> T) -> Result<Outcome, Error>
    where
        T: Elem + Into<f32>,
    {
        let mut room = [0; MAX_PAIRS];
        let turns = &mut room[..self.model.pairs];
        let amplitude = self.model.fill_turns(turns)?;
        let rope = Rope::new(Phase::Exact(turns), amplitude, self.pairing)?
            .first_channel(self.first)
            .level(level)?;

        let mut heads = [T::default(); MAX_TURNED];
        let heads = &mut heads[..self.input.len()];
        heads.iter_mut().zip(self.input).for_each(|(to, x)| *to = stored(*x));
        let (q, k) = heads.split_at_mut(self.q.iter().product());
        let (mut q, mut k) = (ViewMut::packed(q, self.q)?, ViewMut::packed(k, self.k)?);
        rope.rotate(Positions::from(self.start), &mut [&mut q, &mut k])?;

        let mut turned = [0.0; MAX_TURNED];
        let turned = &mut turned[..self.input.len()];
        turned.iter_mut().zip(heads).for_each(|(to, x)| *to = (*x).into());
        Ok(Outcome {
            err_over_bound: Some(self.err_over_bound(turned)),
            // Widened without rounding: other bits are other bits.
            digest: Fnv1a::new().floats(turned).value(),
        })
    }
}
