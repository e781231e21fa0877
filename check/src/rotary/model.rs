//! Frequencies of a model and its tables of cosines and sines: computed here, whatever "here" is.
//!
//! No multiply-add fuses in any of it, so all hosts must have the same bits.

use core::hint::black_box;

use flashlet::{Error, Level, Pairing, Phase, Rope, Theta};

use super::{BLOCK, MAX_PAIRS, POSITIONS, STARTS};
use crate::outcome::worst;
use crate::{Fnv1a, Outcome};

/// Rotary positions of a model, and what must come out.
#[derive(Debug)]
pub struct Model {
    /// Names of its runs.
    pub names: Names,
    /// Its frequencies.
    pub theta: Theta<'static>,
    /// Pairs of channels that turn.
    pub pairs: usize,
    /// Exact turns a token, in units of 2^-64.
    pub turns: &'static [u64],
    /// Exact cosines, then sines `[.., 2 * pairs]`: of the last position of each block.
    pub rows: &'static [f64],
    /// Largest error of a cosine or sine.
    pub limit: f32,
}

/// What a run of each kind is called.
#[derive(Debug)]
pub struct Names {
    /// Of [`Model::turns`].
    pub turns: &'static str,
    /// Of [`Model::inv_freq`].
    pub inv_freq: &'static str,
    /// Of [`Model::table`].
    pub table: &'static str,
    /// Of [`Model::compatible_table`].
    pub compatible: &'static str,
}

impl Model {
    /// The turns a token of each pair, which may be off by one unit, and the amplitude.
    ///
    /// # Errors
    /// What [`Theta::fill`] says about a parameter.
    pub fn turns(&self) -> Result<Outcome, Error> {
        let mut room = [0; MAX_PAIRS];
        let turns = &mut room[..self.pairs];
        let amplitude = self.fill_turns(turns)?;
        let off = turns.iter().zip(self.turns).map(|(got, exact)| got.abs_diff(*exact)).max();
        Ok(Outcome {
            err_over_bound: Some(off.map_or(f32::MAX, |off| off as f32)),
            digest: Fnv1a::new().integers(turns).floats(&[amplitude]).value(),
        })
    }

    /// The radians a token of each pair in f32, as models were trained with, and the amplitude.
    ///
    /// # Errors
    /// What [`Theta::fill_inv_freq`] says about a parameter.
    pub fn inv_freq(&self) -> Result<Outcome, Error> {
        let mut room = [0.0; MAX_PAIRS];
        let inv_freq = &mut room[..self.pairs];
        let amplitude = black_box(self.theta).fill_inv_freq(inv_freq)?;
        let digest = Fnv1a::new().floats(inv_freq).floats(&[amplitude]).value();
        Ok(Outcome { err_over_bound: None, digest })
    }

    /// Tables of exact phases.
    ///
    /// # Errors
    /// As [`Model::turns`]; what [`Rope`] says about a level that this host lacks.
    pub fn table(&self, level: Level) -> Result<Outcome, Error> {
        let mut room = [0; MAX_PAIRS];
        let turns = &mut room[..self.pairs];
        let amplitude = self.fill_turns(turns)?;
        let rope = Rope::new(Phase::Exact(turns), amplitude, Pairing::Halves)?.level(level)?;

        let (mut digest, mut most) = (Fnv1a::new(), 0.0);
        let mut rows = self.rows.chunks_exact(rope.rot_dim());
        for_blocks(&rope, |block| {
            digest = digest.floats(block);
            let last = &block[block.len() - rope.rot_dim()..];
            most = self.err_over_bound(last, rows.next().unwrap_or(&[])).max(most);
        })?;
        Ok(Outcome { err_over_bound: Some(most), digest: digest.value() })
    }

    /// Tables of f32 radians.
    ///
    /// # Errors
    /// As [`Model::inv_freq`]; what [`Rope`] says about a level that this host lacks.
    pub fn compatible_table(&self, level: Level) -> Result<Outcome, Error> {
        let mut room = [0.0; MAX_PAIRS];
        let inv_freq = &mut room[..self.pairs];
        let amplitude = black_box(self.theta).fill_inv_freq(inv_freq)?;
        let phase = Phase::F32Compatible(inv_freq);
        let rope = Rope::new(phase, amplitude, Pairing::Halves)?.level(level)?;

        let mut digest = Fnv1a::new();
        for_blocks(&rope, |block| digest = digest.floats(block))?;
        Ok(Outcome { err_over_bound: None, digest: digest.value() })
    }

    /// Largest error of a row of cosines and sines as a share of what it may be: above 1 is wrong.
    #[must_use]
    pub fn err_over_bound(&self, row: &[f32], exact: &[f64]) -> f32 {
        worst(row, exact, core::iter::repeat(&self.limit))
    }

    /// The compiler may not know the result, which would be that of the machine that it runs on.
    pub(super) fn fill_turns(&self, turns: &mut [u64]) -> Result<f32, Error> {
        black_box(self.theta).fill(turns)
    }
}

/// Shows the table of every start, a block of positions at a time.
fn for_blocks(rope: &Rope<'_>, mut show: impl FnMut(&[f32])) -> Result<(), Error> {
    let mut room = [0.0; BLOCK as usize * 2 * MAX_PAIRS];
    let block = &mut room[..BLOCK as usize * rope.rot_dim()];
    for start in STARTS {
        for at in (0..POSITIONS).step_by(BLOCK as usize) {
            // Whatever is not written shows in the comparison and in the digest.
            block.fill(f32::NAN);
            rope.fill_table(start + at, block)?;
            show(block);
        }
    }
    Ok(())
}
