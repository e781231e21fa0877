//! Borrowed tensors of shape `[batch, len, heads, dim]`, of any strides.

use crate::dispatch::MoveTable;
use crate::elem::Elem;
use crate::error::Error;
use crate::shape::len_of;
use crate::simd::Rows;
use core::ops::Range;
use half::{bf16, f16};

/// Elements from one index to the next. Channels of a row always lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strides {
    /// From one sequence to the next.
    pub batch: usize,
    /// From one token to the next.
    pub token: usize,
    /// From one head to the next.
    pub head: usize,
}

impl Strides {
    /// `[batch, len, heads, dim]` without gaps: token after token.
    pub const fn by_token(dims: [usize; 4]) -> Result<Self, Error> {
        match len_of(dims) {
            Ok(_) => {
                let token = dims[2] * dims[3];
                Ok(Strides { batch: dims[1] * token, token, head: dims[3] })
            }
            Err(error) => Err(error),
        }
    }

    /// `[batch, heads, len, dim]` without gaps: head after head. `dims` is `[batch, len, heads, dim]`.
    pub const fn by_head(dims: [usize; 4]) -> Result<Self, Error> {
        match len_of(dims) {
            Ok(_) => {
                let head = dims[1] * dims[3];
                Ok(Strides { batch: dims[2] * head, token: dims[3], head })
            }
            Err(error) => Err(error),
        }
    }

    /// Elements from the first to one past the last; `None` if that overflows.
    fn extent(self, dims: [usize; 4]) -> Option<usize> {
        if dims.contains(&0) {
            return Some(0);
        }
        let batch = (dims[0] - 1).checked_mul(self.batch)?;
        let token = (dims[1] - 1).checked_mul(self.token)?;
        let head = (dims[2] - 1).checked_mul(self.head)?;
        batch.checked_add(token)?.checked_add(head)?.checked_add(dims[3])
    }

    fn check(self, dims: [usize; 4], given: usize) -> Result<(), Error> {
        match self.extent(dims) {
            None => Err(Error::Overflow { dims }),
            Some(needed) if needed > given => Err(Error::TooShort { needed, given }),
            Some(_) => Ok(()),
        }
    }

    /// Rows are apart if, from the smallest stride to the largest, each steps over all that the
    /// smaller ones reach.
    fn check_apart(self, dims: [usize; 4]) -> Result<(), Error> {
        if dims.contains(&0) {
            return Ok(());
        }
        let mut axes = [(self.batch, dims[0]), (self.token, dims[1]), (self.head, dims[2])];
        // Of three a network, for a library's sort is large.
        for [a, b] in [[0, 1], [1, 2], [0, 1]] {
            if axes[a] > axes[b] {
                axes.swap(a, b);
            }
        }
        let mut extent = dims[3];
        for (stride, len) in axes.into_iter().filter(|&(_, len)| len > 1) {
            if stride < extent {
                return Err(Error::Overlap { stride, extent });
            }
            extent += stride * (len - 1);
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn offset(self, b: usize, i: usize, h: usize) -> usize {
        b * self.batch + i * self.token + h * self.head
    }
}

/// A borrowed input. Its bounds were checked when it was made.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T = f32> {
    data: &'a [T],
    dims: [usize; 4],
    strides: Strides,
}

impl<'a, T: Copy> View<'a, T> {
    /// `[batch, len, heads, dim]` without gaps.
    ///
    /// # Errors
    /// [`Error::Overflow`] and [`Error::TooShort`].
    pub fn packed(data: &'a [T], dims: [usize; 4]) -> Result<Self, Error> {
        Self::strided(data, dims, Strides::by_token(dims)?)
    }

    /// `dims = [batch, len, heads, dim]` with any strides; 0 repeats one element of that axis.
    ///
    /// # Errors
    /// [`Error::Overflow`] and [`Error::TooShort`].
    pub fn strided(data: &'a [T], dims: [usize; 4], strides: Strides) -> Result<Self, Error> {
        strides.check(dims, data.len())?;
        Ok(View { data, dims, strides })
    }

    /// `[batch, len, heads, dim]`.
    #[must_use]
    pub const fn dims(&self) -> [usize; 4] {
        self.dims
    }

    pub(crate) const fn strides(&self) -> Strides {
        self.strides
    }

    /// The first `width` channels of every row. Latent attention in its absorbed form has values that are a prefix of
    /// the keys: flashlet sees by the address that they are, and reads and widens them once.
    ///
    /// ```
    /// use flashlet::{Heads, Inputs, Shape, View};
    /// # fn main() -> Result<(), flashlet::Error> {
    /// // DeepSeek-V3: 512 latent channels, which are the value, and 64 that hold the position.
    /// let heads = Heads { q: 128, kv: 1, dim: 576, v_dim: 512 };
    /// let shape = Shape { batch: 1, q_len: 1, kv_len: 10, heads };
    /// let (q, cache) = (vec![0.0; 128 * 576], vec![0.0; 10 * 576]);
    /// let keys = View::packed(&cache, shape.k())?;
    /// let inputs = Inputs::new(View::packed(&q, shape.q())?, keys, keys.prefix(heads.v_dim)?);
    /// # let _ = inputs;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TooShort`] if rows are not as wide.
    pub const fn prefix(&self, width: usize) -> Result<Self, Error> {
        let [batch, len, heads, dim] = self.dims;
        if width > dim {
            return Err(Error::TooShort { needed: width, given: dim });
        }
        Ok(View { data: self.data, dims: [batch, len, heads, width], strides: self.strides })
    }

    /// Some tokens of every sequence.
    ///
    /// # Errors
    /// [`Error::KeyRange`] if there are not as many.
    pub fn tokens(&self, tokens: Range<usize>) -> Result<Self, Error> {
        let ([batch, kv_len, heads, dim], Range { start, end }) = (self.dims, tokens);
        if start > end || end > kv_len {
            return Err(Error::KeyRange { start, end, kv_len });
        }
        let data = self.data.get(start * self.strides.token..).unwrap_or(&[]);
        Ok(View { data, dims: [batch, end - start, heads, dim], strides: self.strides })
    }

    /// Some tokens of the first sequence, as those of each of a batch.
    #[inline]
    fn sequence(&self, tokens: &Range<usize>, batch: usize) -> Self {
        let (strides, [.., heads, dim]) = (Strides { batch: 0, ..self.strides }, self.dims);
        let data = self.data.get(tokens.start * strides.token..).unwrap_or(&[]);
        View { data, dims: [batch, tokens.len(), heads, dim], strides }
    }

    /// Whether the rows of another view begin each of this one's.
    pub(crate) fn begins_with(&self, other: &Self) -> bool {
        let is_here = core::ptr::eq(self.data.as_ptr(), other.data.as_ptr());
        is_here && self.strides == other.strides && other.dims[3] <= self.dims[3]
    }

    /// From the first head of a token on; empty if there is no such token.
    #[inline(always)]
    pub(crate) fn from(&self, b: usize, i: usize) -> &'a [T] {
        self.data.get(self.strides.offset(b, i, 0)..).unwrap_or(&[])
    }

    /// The channels of one token in one head; empty if there is no such row.
    #[inline(always)]
    pub(crate) fn row(&self, b: usize, i: usize, h: usize) -> &'a [T] {
        let start = self.strides.offset(b, i, h);
        self.data.get(start..).and_then(|row| row.get(..self.dims[3])).unwrap_or(&[])
    }

    /// All tokens of one head; none if there is no such sequence or head.
    #[inline(always)]
    pub(crate) fn rows(&self, b: usize, h: usize) -> Rows<'a, T> {
        let data = self.data.get(self.strides.offset(b, 0, h)..).unwrap_or(&[]);
        Rows::inside(data, self.strides.token, self.dims[1], self.dims[3])
    }
}

impl View<'_, bf16> {
    /// Whether the rows of every head are pairs of channels as they lie ([`Rows::pairs`]).
    pub(crate) fn lies_in_pairs(&self) -> bool {
        let Strides { batch, token, head } = self.strides;
        let is_even = (batch | token | head | self.dims[3]).is_multiple_of(2);
        is_even && self.data.as_ptr().addr().is_multiple_of(align_of::<f32>())
    }
}

/// A borrowed output. Its bounds, and that no two rows overlap, were checked when it was made.
#[derive(Debug)]
pub struct ViewMut<'a, T = f32> {
    pub(crate) data: &'a mut [T],
    pub(crate) dims: [usize; 4],
    pub(crate) strides: Strides,
}

impl<'a, T: Copy> ViewMut<'a, T> {
    /// `[batch, len, heads, dim]` without gaps.
    ///
    /// # Errors
    /// [`Error::Overflow`] and [`Error::TooShort`].
    pub fn packed(data: &'a mut [T], dims: [usize; 4]) -> Result<Self, Error> {
        Self::strided(data, dims, Strides::by_token(dims)?)
    }

    /// `dims = [batch, len, heads, dim]` with strides that keep rows apart.
    ///
    /// # Errors
    /// [`Error::Overflow`], [`Error::TooShort`], [`Error::Overlap`].
    pub fn strided(data: &'a mut [T], dims: [usize; 4], strides: Strides) -> Result<Self, Error> {
        strides.check(dims, data.len())?;
        strides.check_apart(dims)?;
        Ok(ViewMut { data, dims, strides })
    }

    /// The channels of one token in one head; empty if there is no such row.
    pub(crate) fn row_mut(&mut self, b: usize, i: usize, h: usize) -> &mut [T] {
        let row = self.data.get_mut(self.strides.offset(b, i, h)..);
        row.and_then(|row| row.get_mut(..self.dims[3])).unwrap_or(&mut [])
    }

    /// `[batch, len, heads, dim]`.
    #[must_use]
    pub const fn dims(&self) -> [usize; 4] {
        self.dims
    }
}

/// An input whose type says nothing of its element: what [`crate::Inputs`] holds. Made from a
/// [`View`] of any element by `into`.
#[derive(Clone, Copy, Debug)]
pub struct AnyView<'a>(pub(crate) Stored<'a>);

/// An output whose type says nothing of its element: what [`crate::Outputs`] holds. Made from a
/// [`ViewMut`] of any element by `into`.
#[derive(Debug)]
pub struct AnyViewMut<'a>(pub(crate) StoredMut<'a>);

/// A view of some element, and how to move its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored<'a> {
    F32(View<'a, f32>, &'static MoveTable<f32>),
    F16(View<'a, f16>, &'static MoveTable<f16>),
    Bf16(View<'a, bf16>, &'static MoveTable<bf16>),
}

/// A view of some element, and how to move its rows.
#[derive(Debug)]
pub(crate) enum StoredMut<'a> {
    F32(ViewMut<'a, f32>, &'static MoveTable<f32>),
    F16(ViewMut<'a, f16>, &'static MoveTable<f16>),
    Bf16(ViewMut<'a, bf16>, &'static MoveTable<bf16>),
}

/// The same expression for whatever element a view holds.
macro_rules! of_any {
    ($enum:ident, $any:expr, ($view:pat, $moves:pat) => $body:expr) => {
        match $any {
            $enum::F32($view, $moves) => $body,
            $enum::F16($view, $moves) => $body,
            $enum::Bf16($view, $moves) => $body,
        }
    };
}
pub(crate) use of_any;

impl<'a, T: Elem> From<View<'a, T>> for AnyView<'a> {
    fn from(view: View<'a, T>) -> Self {
        T::any(view)
    }
}

impl<'a, T: Elem> From<ViewMut<'a, T>> for AnyViewMut<'a> {
    fn from(view: ViewMut<'a, T>) -> Self {
        T::any_mut(view)
    }
}

impl AnyView<'_> {
    /// `[batch, len, heads, dim]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 4] {
        of_any!(Stored, &self.0, (view, _) => view.dims())
    }
}

impl<'a> AnyView<'a> {
    /// Some tokens of the first sequence, as those of each of a batch.
    #[inline]
    pub(crate) fn sequence(&self, tokens: &Range<usize>, batch: usize) -> AnyView<'a> {
        // Functions are handed on: named anew they would link those of every element.
        AnyView(match self.0 {
            Stored::F32(view, moves) => Stored::F32(view.sequence(tokens, batch), moves),
            Stored::F16(view, moves) => Stored::F16(view.sequence(tokens, batch), moves),
            Stored::Bf16(view, moves) => Stored::Bf16(view.sequence(tokens, batch), moves),
        })
    }
}

impl AnyView<'_> {
    /// Whether the rows of another view begin each of this one's.
    pub(crate) fn begins_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Stored::F32(view, _), Stored::F32(other, _)) => view.begins_with(other),
            (Stored::F16(view, _), Stored::F16(other, _)) => view.begins_with(other),
            (Stored::Bf16(view, _), Stored::Bf16(other, _)) => view.begins_with(other),
            _ => false,
        }
    }
}

impl AnyViewMut<'_> {
    /// `[batch, len, heads, dim]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 4] {
        of_any!(StoredMut, &self.0, (view, _) => view.dims())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_bf16_are_pairs_if_all_of_them_begin_at_an_even_place() {
        let data = [bf16::ZERO; 130];
        // From where one of 32 bits could begin.
        let data = &data[data.as_ptr().addr() % align_of::<f32>() / size_of::<bf16>()..];
        let even = Strides { batch: 40, token: 8, head: 4 };
        let lies = |data: &[bf16], dim, strides| {
            View::strided(data, [2, 3, 2, dim], strides).unwrap().lies_in_pairs()
        };
        assert!(lies(data, 4, even) && lies(data, 2, even) && !lies(data, 3, even));
        for odd in [
            Strides { batch: 41, ..even },
            Strides { token: 9, ..even },
            Strides { head: 5, ..even },
        ] {
            assert!(!lies(data, 4, odd), "{odd:?}");
        }
        assert!(!lies(&data[1..], 4, even));
    }
}
