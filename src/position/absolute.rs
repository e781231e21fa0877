//! Positions that are added to embeddings: sinusoids, and rows of a learned table.

use super::phase::Phase;
use super::positions::{Positions, all};
use crate::dispatch::{AngleTable, Available};
use crate::elem::Elem;
use crate::error::{Error, Tensor};
use crate::simd::Rows;
use crate::view::{View, ViewMut};

/// Where the sines and cosines of a frequency go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sinusoids {
    /// `sin, cos, sin, cos ...`: Vaswani et al., arXiv 1706.03762.
    Interleaved,
    /// All sines, then all cosines: tensor2tensor, fairseq, Whisper.
    Concatenated,
}

/// Sinusoidal positions: channel pair `t` of a token at position `p` is `sin(p f_t)` and `cos(p f_t)`.
///
/// ```
/// use flashlet::{Phase, Positions, Sinusoidal, Sinusoids, Spacing, Theta, Turns, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// // Whisper: frequencies from 1 down to 1 / 10000, both included.
/// let turns: Turns<192> = Theta::new(10_000.0).spaced(Spacing::Closed).turns()?;
/// let positions = Sinusoidal::new(Phase::Exact(&turns.turns), Sinusoids::Concatenated);
/// let mut x = vec![0.0_f32; 1500 * 384];
/// positions.add(Positions::from(0), &mut ViewMut::packed(&mut x, [1, 1500, 1, 384])?)?;
/// assert_eq!(x[384], 0.84147096); // sin 1
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sinusoidal<'f> {
    phase: Phase<'f>,
    layout: Sinusoids,
}

/// A learned table `[1, positions, heads, dim]`, a row of which is added to each token.
#[derive(Clone, Copy, Debug)]
pub struct Learned<'a, T> {
    table: View<'a, T>,
}

/// Pairs, or half as many channels, that are added at once.
const CHUNK: usize = 64;

impl<'f> Sinusoidal<'f> {
    /// Sinusoids of these frequencies.
    #[must_use]
    pub const fn new(phase: Phase<'f>, layout: Sinusoids) -> Self {
        Sinusoidal { phase, layout }
    }

    /// Adds them to embeddings `[batch, len, 1, dim]`, in f32, rounded once to how those are stored.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `dim` is twice the pairs and there is one head; [`Error::ListLength`] and
    /// [`Error::Position`] of the positions. Nothing is written then.
    pub fn add<'p, T: Elem>(
        &self,
        positions: impl Into<Positions<'p>>,
        x: &mut ViewMut<'_, T>,
    ) -> Result<(), Error> {
        let (positions, given, pairs) = (positions.into(), x.dims, self.phase.pairs());
        let [batch, len, ..] = given;
        let expected = [batch, len, 1, 2 * pairs];
        if expected != given {
            return Err(Error::Shape { tensor: Tensor::Embeddings, expected, given });
        }
        check(&positions, [batch, len], 1 << 32)?;
        let level = Available::detect();
        for (b, i) in all(if given.contains(&0) { [0; 2] } else { [batch, len] }) {
            let place = positions.place([batch, len], b, i);
            for first in (0..pairs).step_by(CHUNK) {
                let mut angles = [[0.0; CHUNK]; 2];
                let phase = self.phase.part(first, CHUNK);
                AngleTable::NEW.fill(
                    level,
                    phase,
                    &place,
                    &[],
                    1.0,
                    parts(&mut angles, phase.pairs()),
                );
                self.add_chunk(level, x.row_mut(b, i, 0), first, parts(&mut angles, phase.pairs()));
            }
        }
        Ok(())
    }

    /// Adds the cosines and sines of some pairs to a row.
    fn add_chunk<T: Elem>(
        &self,
        level: Available,
        row: &mut [T],
        first: usize,
        [cos, sin]: [&mut [f32]; 2],
    ) {
        match self.layout {
            Sinusoids::Concatenated => {
                add_to(level, row, first, sin);
                add_to(level, row, self.phase.pairs() + first, cos);
            }
            Sinusoids::Interleaved => {
                let mut both = [[0.0; 2]; CHUNK];
                for (both, (sin, cos)) in both.iter_mut().zip(sin.iter().zip(&*cos)) {
                    *both = [*sin, *cos];
                }
                let both = both.get(..cos.len()).unwrap_or(&[]);
                add_to(level, row, 2 * first, both.as_flattened());
            }
        }
    }
}

impl<'a, T: Elem> Learned<'a, T> {
    /// A table of a row for each position.
    ///
    /// # Errors
    /// [`Error::Shape`] if it has more than one sequence.
    pub fn new(table: View<'a, T>) -> Result<Self, Error> {
        let given = table.dims();
        let expected = [1, given[1], given[2], given[3]];
        if expected != given {
            return Err(Error::Shape { tensor: Tensor::Learned, expected, given });
        }
        Ok(Learned { table })
    }

    /// Adds the rows of the tokens' positions to embeddings `[batch, len, heads, dim]`, in f32, rounded once to how those are
    /// stored.
    ///
    /// # Errors
    /// [`Error::Shape`] if heads or channels differ from the table's; [`Error::Position`] for one that it lacks;
    /// [`Error::ListLength`]. Nothing is written then.
    pub fn add<'p, U: Elem>(
        &self,
        positions: impl Into<Positions<'p>>,
        x: &mut ViewMut<'_, U>,
    ) -> Result<(), Error> {
        let (positions, given) = (positions.into(), x.dims);
        let ([batch, len, ..], [_, rows, heads, dim]) = (given, self.table.dims());
        let expected = [batch, len, heads, dim];
        if expected != given {
            return Err(Error::Shape { tensor: Tensor::Embeddings, expected, given });
        }
        check(&positions, [batch, len], rows as u64)?;
        let level = Available::detect();
        for (b, i) in all(if given.contains(&0) { [0; 2] } else { [batch, len] }) {
            let position = positions.place([batch, len], b, i)[0];
            let position = usize::try_from(position).unwrap_or(usize::MAX);
            for h in 0..heads {
                for (chunk, row) in self.table.row(0, position, h).chunks(2 * CHUNK).enumerate() {
                    let mut learned = [0.0; 2 * CHUNK];
                    add_to(
                        level,
                        x.row_mut(b, i, h),
                        chunk * 2 * CHUNK,
                        widen(level, row, &mut learned),
                    );
                }
            }
        }
        Ok(())
    }
}

/// `row[first..] += numbers`, rounded once.
fn add_to<T: Elem>(level: Available, row: &mut [T], first: usize, numbers: &[f32]) {
    let part = row.get_mut(first..).and_then(|row| row.get_mut(..numbers.len()));
    let (Some(part), mut sums) = (part, [0.0; 2 * CHUNK]) else { return };
    let sums = widen(level, part, &mut sums);
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
    T::MOVES.at(level.level()).round(sums, part);
}

/// The same numbers in f32.
fn widen<'w, T: Elem>(level: Available, row: &[T], wide: &'w mut [f32]) -> &'w mut [f32] {
    let wide = wide.get_mut(..row.len()).unwrap_or(&mut []);
    T::MOVES.at(level.level()).flat(Rows::one(row), 0, 1.0, wide, row.len());
    wide
}

/// The first numbers of two rows.
fn parts<const N: usize>(rows: &mut [[f32; N]; 2], len: usize) -> [&mut [f32]; 2] {
    let [a, b] = rows;
    [a, b].map(|row| row.get_mut(..len).unwrap_or(&mut []))
}

/// Whether all positions are below a limit.
fn check(positions: &Positions<'_>, tokens: [usize; 2], limit: u64) -> Result<(), Error> {
    positions.check(tokens, 1)?;
    let most = match positions.common() {
        // A negative one is beyond any limit.
        Some([position, ..]) => Some(position as u64),
        None => positions.range(tokens).map(|[_, most]| most),
    };
    match most {
        Some(position) if position >= limit => {
            Err(Error::Position { position, start: 0, end: limit })
        }
        _ => Ok(()),
    }
}
