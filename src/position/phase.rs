//! From positions to angles: exact fractions of a turn, or the f32 radians that models were trained with.

use crate::defect::planted;
use crate::math::{sin_cos, sin_cos_of_radians};
use crate::simd::MAX_LANES;

/// Positions of one token, one an axis.
pub(crate) type Place = [i64; MAX_AXES];

/// Axes that positions may have: time, height, width and one more.
pub(crate) const MAX_AXES: usize = 4;

/// How angles are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Phase<'f> {
    /// `position * turns` modulo 2^64, which is modulo one turn: integers, so the same bits on every host, and sines
    /// and cosines within [`SIN_COS_ERROR`](crate::math::SIN_COS_ERROR) at every position of 32 bits.
    Exact(&'f [u64]),
    /// `position * inv_freq` radians, both rounded to f32 and so is the product: the tables of PyTorch, candle and ONNX
    /// Runtime, which models were trained with. At position 131,071 they are off by up to 0.008.
    F32Compatible(&'f [f32]),
}

impl Phase<'_> {
    /// Pairs that turn.
    #[must_use]
    pub const fn pairs(&self) -> usize {
        match self {
            Phase::Exact(turns) => turns.len(),
            Phase::F32Compatible(inv_freq) => inv_freq.len(),
        }
    }

    /// Cosines and sines of `FLOATS / rot_dim` positions from `start` on, for [`Rope::table`](crate::Rope::table): in a `static`, a
    /// table that lies in flash. The bits of [`Rope::fill_table`](crate::Rope::fill_table).
    ///
    /// ```
    /// use flashlet::{Pairing, Rope, Theta, Turns};
    /// const TURNS: Turns<4> = match Theta::new(10_000.0).turns() {
    ///     Ok(turns) => turns,
    ///     Err(_) => panic!("no base"),
    /// };
    /// static TABLE: [f32; 100 * 8] = TURNS.phase().table(TURNS.amplitude, 0);
    /// let rope = Rope::exact(&TURNS, Pairing::Halves)?.table(0, &TABLE)?;
    /// # let _ = rope;
    /// # Ok::<(), flashlet::Error>(())
    /// ```
    ///
    /// The compiler takes some seconds for each 100,000 floats, and wants `#[expect(long_running_const_eval)]` above 150,000 or so.
    /// Rows that are not whole stay 0.
    #[must_use]
    pub const fn table<const FLOATS: usize>(self, amplitude: f32, start: u32) -> [f32; FLOATS] {
        let (mut table, pairs, mut first, mut position) =
            ([0.0; FLOATS], self.pairs(), 0, start as i64);
        while pairs > 0 && first + 2 * pairs <= FLOATS {
            let mut t = 0;
            while t < pairs {
                let [sin, cos] = self.sin_cos(t, position);
                table[first + t] = cos * amplitude;
                table[first + pairs + t] = sin * amplitude;
                t += 1;
            }
            (first, position) = (first + 2 * pairs, position + 1);
        }
        table
    }

    /// Sine and cosine of a pair, without an amplitude.
    const fn sin_cos(self, t: usize, position: i64) -> [f32; 2] {
        match self {
            Phase::Exact(turns) => sin_cos(phase(turns[t], position as u64)),
            Phase::F32Compatible(inv_freq) => sin_cos_of_radians(position as f32 * inv_freq[t]),
        }
    }

    /// Those of at most `count` pairs from the `first` on.
    pub(super) fn part(self, first: usize, count: usize) -> Self {
        fn of<T>(all: &[T], first: usize, count: usize) -> &[T] {
            let all = all.get(first..).unwrap_or(&[]);
            all.get(..count).unwrap_or(all)
        }
        match self {
            Phase::Exact(turns) => Phase::Exact(of(turns, first, count)),
            Phase::F32Compatible(inv_freq) => Phase::F32Compatible(of(inv_freq, first, count)),
        }
    }

    /// Cosines and sines of some pairs, times the amplitude, at a place. `axes` names the axis of each pair; without it all are
    /// of the first.
    #[inline(always)]
    pub(crate) fn fill(
        self,
        place: &Place,
        axes: &[u8],
        amplitude: f32,
        [cos, sin]: [&mut [f32]; 2],
    ) {
        match self {
            Phase::Exact(turns) => exact(turns, place, axes, amplitude, cos, sin),
            Phase::F32Compatible(inv_freq) => {
                for (t, (inv_freq, (cos, sin))) in
                    inv_freq.iter().zip(cos.iter_mut().zip(sin)).enumerate()
                {
                    let position = axis(place, axes.get(t).copied().unwrap_or(0));
                    let [s, c] = sin_cos_of_radians(position as f32 * inv_freq);
                    (*cos, *sin) = (c * amplitude, s * amplitude);
                }
            }
        }
    }
}

/// The pairs by vectors.
#[inline(always)]
fn exact(
    turns: &[u64],
    place: &Place,
    axes: &[u8],
    amplitude: f32,
    cos: &mut [f32],
    sin: &mut [f32],
) {
    let (whole, rest) = turns.as_chunks::<MAX_LANES>();
    let (whole_cos, rest_cos) = cos.as_chunks_mut::<MAX_LANES>();
    let (whole_sin, rest_sin) = sin.as_chunks_mut::<MAX_LANES>();
    let mut axes = axes.chunks(MAX_LANES);
    for (turns, (cos, sin)) in whole.iter().zip(whole_cos.iter_mut().zip(whole_sin)) {
        let positions = positions(place, axes.next());
        vector(turns, &positions, amplitude, cos, sin);
    }
    if !rest.is_empty() {
        let (mut padded, mut cos, mut sin) = ([0; MAX_LANES], [0.0; MAX_LANES], [0.0; MAX_LANES]);
        padded.iter_mut().zip(rest).for_each(|(to, turns)| *to = *turns);
        vector(&padded, &positions(place, axes.next()), amplitude, &mut cos, &mut sin);
        rest_cos.iter_mut().zip(cos).for_each(|(to, x)| *to = x);
        rest_sin.iter_mut().zip(sin).for_each(|(to, x)| *to = x);
    }
}

/// Positions of some pairs by their axes; without those all have the first.
#[inline(always)]
fn positions(place: &Place, axes: Option<&[u8]>) -> [u64; MAX_LANES] {
    let mut positions = [place[0] as u64; MAX_LANES];
    for (position, n) in positions.iter_mut().zip(axes.unwrap_or(&[])) {
        *position = axis(place, *n) as u64;
    }
    positions
}

/// Loops over arrays of one length: they become instructions for whole vectors.
#[inline(always)]
fn vector(
    turns: &[u64; MAX_LANES],
    positions: &[u64; MAX_LANES],
    amplitude: f32,
    cos: &mut [f32; MAX_LANES],
    sin: &mut [f32; MAX_LANES],
) {
    let mut phases = [0; MAX_LANES];
    for n in 0..MAX_LANES {
        phases[n] = if planted!("f32_angles") {
            let angle = turns[n] as f32 / 18_446_744_073_709_551_616.0 * positions[n] as f32;
            ((angle - (angle as i64) as f32) * 4_294_967_296.0) as u32
        } else {
            phase(turns[n], positions[n])
        };
    }
    for n in 0..MAX_LANES {
        let [s, c] = sin_cos(phases[n]);
        (cos[n], sin[n]) = (c * amplitude, s * amplitude);
    }
}

/// The fraction of a turn, to the nearest 2^-32.
#[inline(always)]
pub(crate) const fn phase(turns: u64, position: u64) -> u32 {
    (position.wrapping_mul(turns).wrapping_add(1 << 31) >> 32) as u32
}

#[inline(always)]
fn axis(place: &Place, axis: u8) -> i64 {
    place.get(usize::from(axis)).copied().unwrap_or(0)
}
