//! The rotation itself: pairs of channels of one token, in every head.
//!
//! ```text
//! x' = x cos + y (-sin)        one product, rounded; then a multiply-add
//! y' = y cos + x sin
//! halves:       x = v[t],   y = v[t + rot_dim / 2]        sixteen pairs are two vectors as they lie
//! interleaved:  x = v[2t],  y = v[2t + 1]                 neighbours change places:
//!               v' = v * [cos, cos] + swapped(v) * [-sin, sin]
//! ```
//! Both pairings do the same arithmetic, so rows that are permuted from one to the other turn to the same bits.
//! Cosines and sines of a token serve all of its heads.

use crate::elem::Elem;
use crate::entry::Dim;
use crate::moves::{get, put};
use crate::simd::Simd;

/// Which channels of a row turn together. Mixing the two up gives fluent nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// Channels `2t` and `2t + 1`: GPT-J, GGUF files of Llama, DeepSeek, ONNX `interleaved = 1`.
    Interleaved,
    /// Channels `t` and `t + rot_dim / 2`: GPT-NeoX, Hugging Face's `rotate_half`.
    Halves,
}

/// A [`Pairing`] that is known when compiling.
pub trait Pairs: Copy {
    /// It.
    const PAIRING: Pairing;
}

/// [`Pairing::Interleaved`].
#[derive(Clone, Copy, Debug)]
pub struct Interleaved;

/// [`Pairing::Halves`].
#[derive(Clone, Copy, Debug)]
pub struct Halves;

impl Pairs for Interleaved {
    const PAIRING: Pairing = Pairing::Interleaved;
}

impl Pairs for Halves {
    const PAIRING: Pairing = Pairing::Halves;
}

/// Where the channels of a head come from.
pub(crate) trait Source<U>: Copy {
    /// A row of it.
    type Row: Copy + RowSource<U>;
    /// The row of head `h`, of so many channels.
    fn row(self, h: usize, width: usize) -> Self::Row;
}

/// Where the channels of a row come from.
pub(crate) trait RowSource<U> {
    /// The lanes from channel `at` on. `own` is what lies there in the row that is written.
    fn load<S: Simd>(self, simd: S, at: usize, own: &[U]) -> S::F32;
    /// Copies channels from `at` on that do not turn.
    fn pass<S: Simd>(self, simd: S, at: usize, to: &mut [U]);
}

/// Heads are turned where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Own;

impl<U: Elem> Source<U> for Own {
    type Row = Own;
    #[inline(always)]
    fn row(self, _: usize, _: usize) -> Own {
        Own
    }
}

impl<U: Elem> RowSource<U> for Own {
    #[inline(always)]
    fn load<S: Simd>(self, simd: S, _: usize, own: &[U]) -> S::F32 {
        get(simd, own)
    }
    #[inline(always)]
    fn pass<S: Simd>(self, _: S, _: usize, _: &mut [U]) {}
}

/// Heads of one token of another tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Other<'a, T> {
    /// From the first head on.
    pub(crate) data: &'a [T],
    /// Elements from one head to the next.
    pub(crate) stride: usize,
}

impl<'a, T: Elem, U: Elem> Source<U> for Other<'a, T> {
    type Row = &'a [T];
    #[inline(always)]
    fn row(self, h: usize, width: usize) -> &'a [T] {
        self.data.get(h * self.stride..).and_then(|row| row.get(..width)).unwrap_or(&[])
    }
}

impl<T: Elem, U: Elem> RowSource<U> for &[T] {
    #[inline(always)]
    fn load<S: Simd>(self, simd: S, at: usize, own: &[U]) -> S::F32 {
        get(simd, self.get(at..).and_then(|row| row.get(..own.len())).unwrap_or(&[]))
    }
    #[inline(always)]
    fn pass<S: Simd>(self, simd: S, at: usize, to: &mut [U]) {
        let from = self.get(at..).unwrap_or(&[]);
        for (from, to) in from.chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
            put(simd, get(simd, from), to);
        }
    }
}

/// The heads of one token, and how far each pair turns. Only a [`Rope`](crate::Rope) makes one.
#[derive(Debug)]
pub struct Turning<'a, U, F = Own> {
    /// From the first head on.
    pub(crate) to: &'a mut [U],
    /// Elements from one head to the next; how many heads; channels of each.
    pub(crate) stride: usize,
    pub(crate) heads: usize,
    pub(crate) width: usize,
    pub(crate) from: F,
    /// The first channel that turns.
    pub(crate) first: usize,
    /// Cosines of the pairs, and their sines.
    pub(crate) cos: &'a [f32],
    pub(crate) sin: &'a [f32],
}

/// Turns the heads of a token. `R` is `rot_dim`.
#[inline(always)]
pub(crate) fn run<S, P, R, U, F>(simd: S, turning: Turning<'_, U, F>)
where
    S: Simd,
    P: Pairs,
    R: Dim,
    U: Elem,
    F: Source<U>,
{
    let Turning { to, stride, heads, width, from, first, cos, sin, .. } = turning;
    let pairs = R::of(2 * cos.len()).width() / 2;
    let (Some(cos), Some(sin)) = (cos.get(..pairs), sin.get(..pairs)) else { return };
    for h in 0..heads {
        let to = to.get_mut(h * stride..).and_then(|row| row.get_mut(..width));
        let (Some(to), from) = (to, from.row(h, width)) else { return };
        let Some((before, rest)) = to.split_at_mut_checked(first) else { return };
        let Some((turned, behind)) = rest.split_at_mut_checked(2 * pairs) else { return };
        from.pass(simd, 0, before);
        from.pass(simd, first + 2 * pairs, behind);
        match P::PAIRING {
            Pairing::Halves => halves(simd, cos, sin, from, first, turned),
            Pairing::Interleaved => interleaved(simd, cos, sin, from, first, turned),
        }
    }
}

#[inline(always)]
fn halves<S: Simd, U: Elem, F: RowSource<U> + Copy>(
    simd: S,
    cos: &[f32],
    sin: &[f32],
    from: F,
    first: usize,
    turned: &mut [U],
) {
    let pairs = cos.len();
    let (x_half, y_half) = turned.split_at_mut_checked(pairs.min(turned.len())).unwrap_or_default();
    let rows = x_half.chunks_mut(S::LANES).zip(y_half.chunks_mut(S::LANES));
    let angles = cos.chunks(S::LANES).zip(sin.chunks(S::LANES));
    for (chunk, ((x_to, y_to), (cos, sin))) in rows.zip(angles).enumerate() {
        let at = first + chunk * S::LANES;
        let x = from.load(simd, at, x_to);
        let y = from.load(simd, at + pairs, y_to);
        let (cos, sin) = (get(simd, cos), get(simd, sin));
        let minus_sin = simd.sub(simd.splat(0.0), sin);
        put(simd, simd.mul_add(x, cos, simd.mul(y, minus_sin)), x_to);
        put(simd, simd.mul_add(y, cos, simd.mul(x, sin)), y_to);
    }
}

#[inline(always)]
fn interleaved<S: Simd, U: Elem, F: RowSource<U> + Copy>(
    simd: S,
    cos: &[f32],
    sin: &[f32],
    from: F,
    first: usize,
    turned: &mut [U],
) {
    let rows = turned.chunks_mut(2 * S::LANES);
    let angles = cos.chunks(S::LANES).zip(sin.chunks(S::LANES));
    for (chunk, (to, (cos, sin))) in rows.zip(angles).enumerate() {
        let at = first + chunk * 2 * S::LANES;
        let (left, right) = to.split_at_mut_checked(S::LANES.min(to.len())).unwrap_or_default();
        let v = [from.load(simd, at, left), from.load(simd, at + S::LANES, right)];
        let (cos, sin) = (get(simd, cos), get(simd, sin));
        let cos = simd.zip(cos, cos);
        let sin = simd.zip(simd.sub(simd.splat(0.0), sin), sin);
        let swapped = simd.swap_neighbours(v);
        put(simd, simd.mul_add(v[0], cos[0], simd.mul(swapped[0], sin[0])), left);
        put(simd, simd.mul_add(v[1], cos[1], simd.mul(swapped[1], sin[1])), right);
    }
}
