//! What codes are multiplied by: given, or chosen for each row.

use super::groups::Groups;
use crate::dispatch::check_len;
use crate::elem::{away, scale_of};
use crate::error::{Error, Tensor};
use core::ops::Range;

/// What codes are multiplied by. A list is of keys or of values, in the shape that they have.
#[derive(Debug, Default)]
pub enum Scales<'a> {
    /// Nothing: a number is what is stored.
    #[default]
    None,
    /// Numbers known beforehand.
    Given(Given<'a>),
    /// One for each head of a token, [`CacheShape::rows`](crate::CacheShape::rows) of them, written with the token: its largest number becomes the largest
    /// code.
    ByToken(&'a mut [f32]),
    /// The same, and a zero point, for `i8`: the smallest and the largest number become the smallest and the largest code.
    Affine(&'a mut [f32], &'a mut [i8]),
    /// One for each head of some tokens side by side, or for each of its channels: for a [`KvCache`](crate::KvCache) that is no ring.
    Groups(Groups<'a>),
}

/// Scales known beforehand: one of all, `[heads]`, or `[heads, dim]`; for `i8` zero points, as many or none: `(code - zero) * scale`.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Above 0, finite.
    pub scales: &'a [f32],
    /// As many, or none.
    pub zeros: &'a [i8],
}

impl Scales<'_> {
    /// Divides a row of head `h` by its scale, which becomes what the largest number needs unless it is given. Returns the zero points: of
    /// all its channels, or of each.
    #[inline]
    pub(super) fn divide(
        &mut self,
        x: &mut [f32],
        row: usize,
        h: usize,
        (heads, most): (usize, f32),
    ) -> &[i8] {
        match self {
            // Those of groups come later.
            Scales::None | Scales::Groups(_) => &[],
            Scales::Given(Given { scales, zeros }) => {
                let own = of_head(scales.len(), h, heads, x.len());
                divide(x, scales.get(own.clone()).unwrap_or(&[]));
                zeros.get(own).unwrap_or(&[])
            }
            Scales::ByToken(scales) => {
                let scale = Extent::of(x.iter().copied()).symmetric(most);
                set(scales, row, scale);
                divide(x, &[scale]);
                &[]
            }
            Scales::Affine(scales, zeros) => {
                let (scale, zero) = Extent::of(x.iter().copied()).affine();
                set(scales, row, scale);
                set(zeros, row, zero);
                divide(x, &[scale]);
                zeros.get(row..=row).unwrap_or(&[])
            }
        }
    }
}

impl Given<'_> {
    #[inline]
    pub(super) fn check(&self, heads: usize, dim: usize) -> Result<(), Error> {
        let all = heads.saturating_mul(dim);
        let (given, zeros) = (self.scales.len(), self.zeros.len());
        if ![1, heads, all].contains(&given) {
            return Err(Error::Length { tensor: Tensor::Scales, needed: heads, given });
        }
        if zeros != 0 {
            check_len(Tensor::Zeros, given, zeros)?;
        }
        match self.scales.iter().position(|x| !(*x > 0.0 && x.is_finite())) {
            Some(at) => Err(Error::NotFinite { tensor: Tensor::Scales, at: [0, 0, 0, at] }),
            None => Ok(()),
        }
    }
}

/// Writes an element, if it is there.
#[inline]
pub(super) fn set<T: Copy>(list: &mut [T], at: usize, x: T) {
    let mut nowhere = x;
    *list.get_mut(at).unwrap_or(&mut nowhere) = x;
}

/// Where the numbers of head `h` are in a list of so many.
#[inline]
pub(super) fn of_head(len: usize, h: usize, heads: usize, dim: usize) -> Range<usize> {
    match len {
        1 => 0..1,
        _ if len == heads => h..h + 1,
        _ => h * dim..(h + 1) * dim,
    }
}

/// How far numbers go to both sides of 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    least: f32,
    most: f32,
    is_finite: bool,
}

impl Extent {
    #[inline]
    pub(super) fn of(numbers: impl Iterator<Item = f32>) -> Self {
        let none = Extent { least: 0.0, most: 0.0, is_finite: true };
        numbers.fold(none, |Extent { least, most, is_finite }, x| Extent {
            least: if x < least { x } else { least },
            most: if x > most { x } else { most },
            is_finite: is_finite && x.is_finite(),
        })
    }

    /// The scale with which the largest magnitude becomes `code`; NaN if a number is not finite.
    #[inline]
    pub(super) fn symmetric(self, code: f32) -> f32 {
        let most = if -self.least > self.most { -self.least } else { self.most };
        if self.is_finite { scale_of(most, code) } else { f32::NAN }
    }

    /// Scale and zero point with which the smallest and the largest number, or 0, become -128 and 127.
    #[inline]
    pub(super) fn affine(self) -> (f32, i8) {
        let scale = self.most / 255.0 - self.least / 255.0;
        if !self.is_finite {
            return (f32::NAN, 0);
        }
        let zero = if scale > 0.0 { away(-128.0 - self.least / scale) } else { 0.0 };
        (scale, zero as i8)
    }
}

/// Divides each number by the only scale, or by that of its channel.
#[inline]
pub(super) fn divide(x: &mut [f32], scales: &[f32]) {
    let by = |x: &mut f32, scale| *x = if scale == 0.0 { 0.0 } else { *x / scale };
    match scales {
        &[scale] => x.iter_mut().for_each(|x| by(x, scale)),
        scales => x.iter_mut().zip(scales).for_each(|(x, scale)| by(x, *scale)),
    }
}
