//! Rotary positions: the plan, and the loop over tokens.

use super::axes::Axes;
use super::phase::{Phase, Place};
use super::positions::{Positions, all};
use super::rotated::{Rotated, Token};
use super::theta::Turns;
use super::turn::Pairing;
use crate::dispatch::{AngleTable, Available, rope_line};
use crate::error::{Error, List};
use crate::room::with_room;
use crate::shape::Heads;
use crate::simd::Level;

/// Rotary positions of heads: pair `t` of each turns by `position * f_t`.
///
/// Checked when it is made and when it is called; turning cannot fail after that, and nothing is written before it is
/// certain.
///
/// ```
/// use flashlet::{Pairing, Positions, Rope, Theta, Turns, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// let turns: Turns<32> = Theta::new(100_000.0).turns()?; // SmolLM2: heads of 64 channels
/// let rope = Rope::exact(&turns, Pairing::Halves)?;
///
/// let (mut q, mut k) = ([1.0_f32; 5 * 9 * 64], [1.0_f32; 5 * 3 * 64]);
/// let mut q = ViewMut::packed(&mut q, [1, 5, 9, 64])?; // [batch, len, heads, head_dim]
/// let mut k = ViewMut::packed(&mut k, [1, 5, 3, 64])?;
/// rope.rotate(Positions::from(70), &mut [&mut q, &mut k])?; // in place, both in one pass
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rope<'f> {
    phase: Phase<'f>,
    amplitude: f32,
    pairing: Pairing,
    /// The first channel that turns.
    first: usize,
    /// The axis of each pair; empty if there is one axis.
    of_pair: &'f [u8],
    axes: usize,
    table: Option<Table<'f>>,
    level: Available,
    line: Option<usize>,
}

/// Cosines and sines of the positions from `start` on: of each those of the pairs, one after the other.
#[derive(Clone, Copy, Debug)]
struct Table<'f> {
    rows: &'f [f32],
    start: u32,
}

/// Where a [`Rope`] has its cosines and sines from, and the bytes of memory or flash that they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Angles {
    /// A table of so many positions.
    Table {
        /// Positions that it has.
        positions: usize,
        /// Bytes of it.
        bytes: usize,
    },
    /// Computed, a token at a time.
    Computed {
        /// Bytes of the frequencies.
        bytes: usize,
    },
}

impl<'f> Rope<'f> {
    /// Exact phases: see [`Phase::Exact`].
    ///
    /// # Errors
    /// [`Error::RotDim`] for no pairs, or too many.
    pub fn exact<const PAIRS: usize>(
        turns: &'f Turns<PAIRS>,
        pairing: Pairing,
    ) -> Result<Self, Error> {
        Self::new(turns.phase(), turns.amplitude, pairing)
    }

    /// Any phases; `amplitude` multiplies cos and sin, 1 unless a scaling says otherwise.
    ///
    /// # Errors
    /// [`Error::RotDim`] for no pairs, or too many.
    pub fn new(phase: Phase<'f>, amplitude: f32, pairing: Pairing) -> Result<Self, Error> {
        let (pairs, max) = (phase.pairs(), Heads::MAX_DIM / 2);
        if pairs == 0 || pairs > max {
            return Err(Error::RotDim { pairs, max });
        }
        let (level, line) = (Available::detect(), rope_line(2 * phase.pairs(), pairing));
        let (first, of_pair, axes, table) = (0, &[][..], 1, None);
        Ok(Rope { phase, amplitude, pairing, first, of_pair, axes, table, level, line })
    }

    /// The same from another channel on: those before, and those behind the last pair, stay as they are. (Partial
    /// rotary positions; DeepSeek's latent keys turn in their last 64 channels.)
    #[must_use]
    pub const fn first_channel(self, first: usize) -> Self {
        Rope { first, ..self }
    }

    /// The same with positions of several axes.
    ///
    /// # Errors
    /// [`Error::ListLength`] if there are other pairs; [`Error::Entry`] for an axis that is none; [`Error::Axes`] if it has a table.
    pub fn axes<const PAIRS: usize>(self, axes: &'f Axes<PAIRS>) -> Result<Self, Error> {
        let (needed, list) = (self.phase.pairs(), List::PairAxes);
        if PAIRS != needed {
            return Err(Error::ListLength { list, needed, given: PAIRS });
        }
        let limit = axes.count.min(super::phase::MAX_AXES);
        if limit > 1 && self.table.is_some() {
            return Err(Error::Axes { axes: limit });
        }
        let mut of_pair = axes.of_pair.iter().map(|axis| u32::from(*axis)).enumerate();
        match of_pair.find(|(_, axis)| *axis as usize >= limit) {
            Some((index, value)) => Err(Error::Entry { list, index, value, limit }),
            None => Ok(Rope { of_pair: &axes.of_pair, axes: limit, ..self }),
        }
    }

    /// The same on one level, for tests and measurements: the same bits in a class.
    ///
    /// # Errors
    /// [`Error::Level`] where this processor lacks it.
    pub fn level(self, level: Level) -> Result<Self, Error> {
        let level = Available::new(level).ok_or(Error::Level { level })?;
        Ok(Rope { level, ..self })
    }

    /// Channels that turn.
    #[must_use]
    pub const fn rot_dim(&self) -> usize {
        2 * self.phase.pairs()
    }

    /// Positions whose angles are so many floats.
    const fn positions_of(&self, floats: usize) -> usize {
        // A rope has pairs; saying so here removes the division check.
        match floats.checked_div(self.rot_dim()) {
            Some(positions) => positions,
            None => 0,
        }
    }

    /// Floats of a table of so many positions, or `None` if they are too many: `rot_dim` for each.
    #[must_use]
    pub const fn table_len(&self, positions: usize) -> Option<usize> {
        positions.checked_mul(self.rot_dim())
    }

    /// Writes the cosines and sines of the positions from `start` on, as many as there is room for, for
    /// [`Rope::table`]: the bits that are computed without one.
    ///
    /// # Errors
    /// [`Error::Axes`] where positions have several axes; [`Error::Position`] if the last is not below 2^32.
    pub fn fill_table(&self, start: u32, table: &mut [f32]) -> Result<(), Error> {
        let count = self.check_table(start, table.len())?;
        let rows = table.chunks_exact_mut(self.rot_dim().max(1));
        for (position, row) in (i64::from(start)..).zip(rows).take(count) {
            let (cos, sin) = row.split_at_mut(self.phase.pairs());
            self.compute(&[position; super::phase::MAX_AXES], [cos, sin]);
        }
        Ok(())
    }

    /// The same with a table that [`Rope::fill_table`] wrote, or [`Phase::table`] in a constant. Positions that it lacks are an error then.
    ///
    /// # Errors
    /// As [`Rope::fill_table`].
    pub fn table(self, start: u32, table: &'f [f32]) -> Result<Self, Error> {
        self.check_table(start, table.len())?;
        Ok(Rope { table: Some(Table { rows: table, start }), ..self })
    }

    /// Whether its angles lie in a table or are computed, and the bytes that takes.
    #[must_use]
    pub const fn angles(&self) -> Angles {
        match (self.table, self.phase) {
            (Some(Table { rows, .. }), _) => {
                let positions = self.positions_of(rows.len());
                Angles::Table { positions, bytes: size_of_val(rows) }
            }
            (None, Phase::Exact(turns)) => Angles::Computed { bytes: size_of_val(turns) },
            (None, Phase::F32Compatible(f)) => Angles::Computed { bytes: size_of_val(f) },
        }
    }

    /// Turns tensors, each `[batch, len, heads, head_dim]` of the same tokens: in place, or from one to another
    /// ([`Onto`](crate::Onto)). Arithmetic is f32, rounded once to how a tensor is stored.
    ///
    /// # Errors
    /// [`Error::Tokens`] if they are not of the same tokens; [`Error::Rotary`] if a head is too narrow;
    /// [`Error::ListLength`] and [`Error::Position`] of the positions. Nothing is written then.
    pub fn rotate<'p>(
        &self,
        positions: impl Into<Positions<'p>>,
        tensors: &mut [&mut dyn Rotated],
    ) -> Result<(), Error> {
        let positions = positions.into();
        let Some(first) = tensors.first().map(|tensor| tensor.dims()) else { return Ok(()) };
        let tokens = [first[0], first[1]];
        for dims in tensors.iter().map(|tensor| tensor.dims()) {
            self.check(tokens, dims)?;
        }
        self.check_positions(&positions, tokens)?;
        if tensors.iter().all(|tensor| tensor.dims().contains(&0)) {
            return Ok(());
        }
        with_room(self.rot_dim(), &mut |room| {
            if positions.common().is_some() {
                let row = self.row(&positions, tokens, [0, 0], room);
                for (b, i) in all(tokens) {
                    turn_all(tensors, &self.token(b, i, row));
                }
                return;
            }
            for (b, i) in all(tokens) {
                let row = self.row(&positions, tokens, [b, i], room);
                turn_all(tensors, &self.token(b, i, row));
            }
        });
        Ok(())
    }

    /// The level that it turns on.
    pub(crate) fn available(&self) -> Level {
        self.level.level()
    }

    /// Whether a tensor is of these tokens, and its heads are wide enough.
    pub(crate) fn check(&self, tokens: [usize; 2], dims: [usize; 4]) -> Result<(), Error> {
        let [batch, len, _, head_dim] = dims;
        if [batch, len] != tokens {
            return Err(Error::Tokens { expected: tokens, given: [batch, len] });
        }
        let (first, rot_dim) = (self.first, self.rot_dim());
        match first.checked_add(rot_dim) {
            Some(end) if end <= head_dim => Ok(()),
            _ => Err(Error::Rotary { first, rot_dim, head_dim }),
        }
    }

    /// Whether there is a position for each token, and a row of the table, if there is one, for each position.
    pub(crate) fn check_positions(
        &self,
        positions: &Positions<'_>,
        tokens: [usize; 2],
    ) -> Result<(), Error> {
        positions.check(tokens, self.axes)?;
        let Some([least, most]) = positions.range(tokens) else { return Ok(()) };
        let (start, end) = match self.table {
            Some(Table { start, rows }) => {
                (u64::from(start), u64::from(start) + self.positions_of(rows.len()) as u64)
            }
            None => (0, 1 << 32),
        };
        let wrong = if least < start { least } else { most };
        if wrong < start || wrong >= end {
            return Err(Error::Position { position: wrong, start, end });
        }
        Ok(())
    }

    /// The positions that a table of so many floats has.
    fn check_table(&self, start: u32, floats: usize) -> Result<usize, Error> {
        if self.axes != 1 {
            return Err(Error::Axes { axes: self.axes });
        }
        let count = self.positions_of(floats);
        let end = u64::from(start) + count as u64;
        if end > 1 << 32 {
            return Err(Error::Position { position: end - 1, start: 0, end: 1 << 32 });
        }
        Ok(count)
    }

    /// The cosines and sines of a token: from the table, if there is one and all tokens are not moved alike.
    #[inline(always)]
    pub(crate) fn row<'r>(
        &self,
        positions: &Positions<'_>,
        tokens: [usize; 2],
        [b, i]: [usize; 2],
        room: &'r mut [f32],
    ) -> [&'r [f32]; 2]
    where
        'f: 'r,
    {
        let place = positions.place(tokens, b, i);
        let (Some(Table { rows, start }), None) = (self.table, positions.common()) else {
            return self.computed(&place, room);
        };
        // `check_positions` found the row to be there.
        let at = usize::try_from(place[0].wrapping_sub(i64::from(start))).unwrap_or(usize::MAX);
        let at = at.saturating_mul(self.rot_dim());
        let row = rows.get(at..).and_then(|rows| rows.get(..self.rot_dim())).unwrap_or(&[]);
        let (cos, sin) = row.split_at(row.len() / 2);
        [cos, sin]
    }

    /// As [`Rope::row`], without the table.
    fn computed<'r>(&self, place: &Place, room: &'r mut [f32]) -> [&'r [f32]; 2] {
        let pairs = self.phase.pairs();
        let (cos, sin) = room.split_at_mut(pairs.min(room.len()));
        let sin = sin.get_mut(..pairs).unwrap_or(&mut []);
        self.compute(place, [&mut *cos, &mut *sin]);
        [cos, sin]
    }

    fn compute(&self, place: &Place, rows: [&mut [f32]; 2]) {
        let Rope { level, phase, of_pair, amplitude, .. } = *self;
        AngleTable::NEW.fill(level, phase, place, of_pair, amplitude, rows);
    }

    /// What is done to a token.
    pub(crate) fn token<'r>(&self, b: usize, i: usize, [cos, sin]: [&'r [f32]; 2]) -> Token<'r> {
        let Rope { pairing, first, level, line, .. } = *self;
        Token { at: [b, i], level, line, pairing, first, cos, sin }
    }
}

fn turn_all(tensors: &mut [&mut dyn Rotated], token: &Token<'_>) {
    for tensor in tensors {
        tensor.turn(token);
    }
}
