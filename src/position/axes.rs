//! Positions of several axes: which pair turns by which.

use super::phase::MAX_AXES;
use super::theta::{Theta, Turns};
use crate::error::{Error, List};

/// The axis of each pair, and how many axes there are: images and videos have positions in time, height and width.
///
/// ```
/// use flashlet::Axes;
/// # fn main() -> Result<(), flashlet::Error> {
/// // Qwen2-VL: 16 pairs of time, 24 of height, 24 of width. Frequencies run on through all of them.
/// let axes = Axes::<64>::sections(&[16, 24, 24])?;
/// assert_eq!((axes.of_pair[15], axes.of_pair[16], axes.of_pair[63]), (0, 1, 2));
/// // Qwen3-VL: time, height, width in turns; where height and width run out, time.
/// let axes = Axes::<64>::interleaved(&[24, 20, 20], 0)?;
/// assert_eq!(axes.of_pair[57..64], [0, 1, 2, 0, 0, 0, 0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes<const PAIRS: usize> {
    /// The axis of each pair.
    pub of_pair: [u8; PAIRS],
    /// How many axes positions have.
    pub count: usize,
}

impl<const PAIRS: usize> Axes<PAIRS> {
    /// Sections of pairs one after the other, again from the first if there are more pairs. (M-RoPE of Qwen2-VL: `mrope_section`.)
    ///
    /// # Errors
    /// [`Error::ListLength`] for no sections or more than four, [`Error::ZeroBlock`] if they hold no pairs.
    pub const fn sections(sections: &[usize]) -> Result<Self, Error> {
        let count = attempt!(check(sections));
        let (mut of_pair, mut t, mut axis) = ([0; PAIRS], 0, 0);
        let mut left = pairs_of(sections, axis);
        while t < PAIRS {
            while left == 0 {
                axis = if axis + 1 < count { axis + 1 } else { 0 };
                left = pairs_of(sections, axis);
            }
            of_pair[t] = axis as u8;
            left -= 1;
            t += 1;
        }
        Ok(Axes { of_pair, count })
    }

    /// Three axes in turns, each for as many pairs as its section says; the pairs of one that ran out have axis `rest`. (Interleaved
    /// M-RoPE of Qwen3-VL: there the rest is time, 0; ggml has a fourth axis for it, 3.)
    ///
    /// # Errors
    /// As [`Axes::sections`]; [`Error::Entry`] if there is no axis `rest`.
    pub const fn interleaved(sections: &[usize; 3], rest: u8) -> Result<Self, Error> {
        attempt!(check(sections));
        if rest as usize >= MAX_AXES {
            let (list, value, limit) = (List::Sections, rest as u32, MAX_AXES);
            return Err(Error::Entry { list, index: 3, value, limit });
        }
        let (mut of_pair, mut t) = ([rest; PAIRS], 0);
        while t < PAIRS {
            if t / 3 < sections[t % 3] {
                of_pair[t] = (t % 3) as u8;
            }
            t += 1;
        }
        Ok(Axes { of_pair, count: if rest == 3 { 4 } else { 3 } })
    }

    /// Two axes, half of the pairs each: rows and columns of an image's patches. Frequencies begin anew in the second half:
    /// [`Theta::turns_of_halves`].
    #[must_use]
    pub const fn halves() -> Self {
        let (mut of_pair, mut t) = ([0; PAIRS], PAIRS / 2);
        while t < PAIRS {
            of_pair[t] = 1;
            t += 1;
        }
        Axes { of_pair, count: 2 }
    }
}

const fn pairs_of(sections: &[usize], axis: usize) -> usize {
    if axis < sections.len() { sections[axis] } else { 0 }
}

const fn check(sections: &[usize]) -> Result<usize, Error> {
    let (given, mut pairs, mut axis) = (sections.len(), 0_usize, 0);
    if given == 0 || given > MAX_AXES {
        let needed = if given == 0 { 1 } else { MAX_AXES };
        return Err(Error::ListLength { list: List::Sections, needed, given });
    }
    while axis < given {
        pairs = pairs.saturating_add(sections[axis]);
        axis += 1;
    }
    if pairs == 0 { Err(Error::ZeroBlock { list: List::Sections }) } else { Ok(given) }
}

impl Theta<'_> {
    /// The turns of both axes of [`Axes::halves`]: each has `PAIRS / 2` pairs and the frequencies
    /// `base^(-4t / rot_dim)`. (Vision transformers of Qwen2-VL and others.)
    ///
    /// # Errors
    /// As [`Theta::turns`]; [`Error::OddPairs`].
    pub const fn turns_of_halves<const PAIRS: usize>(&self) -> Result<Turns<PAIRS>, Error> {
        if PAIRS % 2 == 1 {
            return Err(Error::OddPairs { pairs: PAIRS });
        }
        let mut turns = [0; PAIRS];
        let (first, second) = turns.split_at_mut(PAIRS / 2);
        let amplitude = attempt!(self.fill(first));
        second.copy_from_slice(first);
        Ok(Turns { turns, amplitude })
    }
}
