//! Tokens that share scales: side by side, so many of them. Until there are as many they are kept as they are.
//!
//! ```text
//! tokens     0 1 2 3 | 4 5 6 7 | 8 9 10 11 | 12 13        groups of 4: twelve are rounded
//! codes      0 1 2 3   4 5 6 7   8 9 10 11
//! newest                     7   8 9 10 11   12 13        a ring of 7, from which 12 and 13 are read
//! ```
//! How many are rounded depends on the number of tokens alone. Tokens that are taken back out of a group leave the others as they were
//! before it was rounded, if the ring still has them.

use super::scales::{Extent, divide, set};
use crate::dispatch::check_len;
use crate::error::{Error, List, Tensor};
use core::ops::Range;

/// Scales that `len` tokens side by side share, of each head or of each of its channels: written when the last of them comes.
/// (Keys of each channel, values of each token: KIVI, Liu et al., arXiv 2402.02750. One of each head: blocks of FP8 as in
/// FlashAttention-3, arXiv 2407.08608.)
///
/// The tokens behind the last whole group are read in f32, out of a ring in which as many stay as there is room for:
/// [`KvCache::truncate`](crate::KvCache::truncate) can always go back by the room less `len`, counted from the most tokens that there were.
#[derive(Debug)]
pub struct Groups<'a> {
    len: usize,
    /// `[groups, heads]` or `[groups, heads, dim]`.
    scales: &'a mut [f32],
    /// As many, or none.
    zeros: &'a mut [i8],
    /// `[room, heads, dim]`.
    newest: &'a mut [f32],
    /// Tokens that are rounded.
    rounded: usize,
    /// The oldest token that the ring has.
    oldest: usize,
}

impl<'a> Groups<'a> {
    /// Scales `[capacity / len, heads]` or `[capacity / len, heads, dim]`, and room `[n, heads, dim]` for at least `len` tokens.
    #[must_use]
    pub const fn new(len: usize, scales: &'a mut [f32], newest: &'a mut [f32]) -> Self {
        Groups { len, scales, zeros: &mut [], newest, rounded: 0, oldest: 0 }
    }

    /// The same with as many zero points, for `i8`: the smallest and the largest number, or 0, become the smallest and the largest code.
    #[must_use]
    pub const fn zeros(self, zeros: &'a mut [i8]) -> Self {
        let Groups { len, scales, newest, rounded, oldest, .. } = self;
        Groups { len, scales, zeros, newest, rounded, oldest }
    }

    /// Whether they fit a cache of so many tokens.
    #[inline]
    pub(super) fn check(&self, tokens: usize, heads: usize, dim: usize) -> Result<(), Error> {
        let Some(groups) = tokens.checked_div(self.len) else {
            return Err(Error::ZeroBlock { list: List::Groups });
        };
        let (row, given) = (heads * dim, self.scales.len());
        if given != groups * heads && given != groups * row {
            let (tensor, needed) = (Tensor::Scales, groups * heads);
            return Err(Error::Length { tensor, needed, given });
        }
        if self.has_zeros() {
            check_len(Tensor::Zeros, given, self.zeros.len())?;
        }
        let (needed, given) = (self.len.saturating_mul(row), self.newest.len());
        if given < needed || given % row.max(1) != 0 {
            return Err(Error::Length { tensor: Tensor::Newest, needed, given });
        }
        Ok(())
    }

    pub(super) const fn has_zeros(&self) -> bool {
        !self.zeros.is_empty()
    }

    /// Tokens that are rounded.
    pub(super) const fn rounded(&self) -> usize {
        self.rounded
    }

    /// Whether a row is its codes times one number.
    pub(super) fn scales_rows(&self, sizes: [usize; 3]) -> bool {
        !self.has_zeros() && self.own(0, 0, sizes).len() == 1
    }

    /// Of `tokens` tokens those that lie in whole groups.
    const fn whole(&self, tokens: usize) -> usize {
        match tokens.checked_div(self.len) {
            Some(groups) => groups * self.len,
            None => 0,
        }
    }

    /// Whether `len` tokens would be what they were when there were as many.
    pub(super) fn check_back(&self, len: usize) -> Result<(), Error> {
        let (token, oldest) = (self.whole(len), self.oldest);
        if token < len.min(self.rounded).min(oldest) {
            return Err(Error::Rounded { token, oldest });
        }
        Ok(())
    }

    /// Leaves `len` tokens.
    pub(super) fn back(&mut self, len: usize) {
        self.rounded = self.rounded.min(self.whole(len));
        self.oldest = self.oldest.min(len);
    }

    /// Where a head of a token lies in the ring.
    fn place(&self, token: usize, h: usize, heads: usize, dim: usize) -> Range<usize> {
        // Never 0, as `check` saw; saying so here removes the division check.
        let room = (self.newest.len() / (heads * dim).max(1)).max(1);
        let at = (token % room * heads + h) * dim;
        at..at + dim
    }

    /// A head of one of the newest tokens.
    pub(super) fn newest(&self, token: usize, h: usize, heads: usize, dim: usize) -> &[f32] {
        self.newest.get(self.place(token, h, heads, dim)).unwrap_or(&[])
    }

    /// Keeps a head of a token in the ring.
    #[inline]
    pub(super) fn hold(&mut self, token: usize, h: usize, heads: usize, x: &[f32]) {
        let place = self.place(token, h, heads, x.len());
        let to = self.newest.get_mut(place).unwrap_or(&mut []);
        to.iter_mut().zip(x).for_each(|(to, x)| *to = *x);
        let room = self.newest.len() / (heads * x.len()).max(1);
        self.oldest = self.oldest.max((token + 1).saturating_sub(room));
    }

    /// The group that token `last` makes whole.
    pub(super) fn completed(&mut self, last: usize) -> Option<Range<usize>> {
        let end = last + 1;
        let is_whole = end == self.whole(end) && end > self.rounded;
        if is_whole {
            self.rounded = end;
        }
        is_whole.then(|| end - self.len..end)
    }

    /// Where the scales of a head of a token's group are.
    fn own(&self, token: usize, h: usize, [tokens, heads, dim]: [usize; 3]) -> Range<usize> {
        let each =
            if self.scales.len() == self.whole(tokens) / self.len.max(1) * heads { 1 } else { dim };
        let at = (token / self.len.max(1) * heads + h) * each;
        at..at + each
    }

    /// Scales and zero points of a head of a token that was rounded.
    pub(super) fn of(&self, token: usize, h: usize, sizes: [usize; 3]) -> (&[f32], &[i8]) {
        let own = self.own(token, h, sizes);
        (self.scales.get(own.clone()).unwrap_or(&[]), self.zeros.get(own).unwrap_or(&[]))
    }

    /// Chooses the scales of a head of a group, the largest code being `most`.
    #[inline]
    pub(super) fn choose(&mut self, tokens: &Range<usize>, h: usize, sizes: [usize; 3], most: f32) {
        let ([_, heads, dim], own) = (sizes, self.own(tokens.start, h, sizes));
        let each = own.len();
        for (c, at) in own.enumerate() {
            let channels = if each == 1 { 0..dim } else { c..c + 1 };
            let of = |token| self.newest(token, h, heads, dim).get(channels.clone()).unwrap_or(&[]);
            let extent = Extent::of(tokens.clone().flat_map(of).copied());
            if self.has_zeros() {
                let (scale, zero) = extent.affine();
                set(self.scales, at, scale);
                set(self.zeros, at, zero);
            } else {
                set(self.scales, at, extent.symmetric(most));
            }
        }
    }

    /// A head of a token that the ring has, divided by its scales, and its zero points.
    #[inline]
    pub(super) fn divided(
        &self,
        token: usize,
        h: usize,
        sizes: [usize; 3],
        to: &mut [f32],
    ) -> &[i8] {
        let [_, heads, dim] = sizes;
        let (scales, zeros) = self.of(token, h, sizes);
        let to = to.get_mut(..dim).unwrap_or(&mut []);
        to.iter_mut().zip(self.newest(token, h, heads, dim)).for_each(|(to, x)| *to = *x);
        divide(to, scales);
        zeros
    }

    /// Some tokens, cut where scales change: each piece, and whether it was rounded.
    pub(super) fn pieces(
        &self,
        tokens: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, bool)> {
        let (len, rounded, mut token) = (self.len.max(1), self.rounded, tokens.start);
        core::iter::from_fn(move || {
            let start = token;
            if start >= tokens.end {
                return None;
            }
            let is_rounded = start < rounded;
            let end = if is_rounded { (start / len + 1) * len } else { tokens.end };
            token = end.min(tokens.end);
            Some((start..token, is_rounded))
        })
    }
}
