//! The sums of all rows of a token, in memory of the caller's.

use super::plan::check_len;
use super::sums::{Sums, log_sum_exp, quotients};
use crate::error::{Error, Tensor};
use crate::shape::Heads;
use crate::view::ViewMut;

/// What the query heads of one token have seen so far: for each a row of `v_dim + 2` words.
#[derive(Debug)]
pub struct State<'a> {
    words: &'a mut [i32],
    /// `[1, 1, q_heads, v_dim]`
    pub(super) dims: [usize; 4],
}

impl<'a> State<'a> {
    /// Words of storage: `q_heads * (v_dim + 2)`.
    #[must_use]
    pub const fn storage_len(heads: Heads) -> usize {
        heads.q.saturating_mul(heads.v_dim.saturating_add(2))
    }

    /// The empty state. Overwrites `storage`.
    ///
    /// # Errors
    /// [`Error::Length`] if `storage` has not [`State::storage_len`] words; those of [`Heads`].
    pub fn empty(storage: &'a mut [i32], heads: Heads) -> Result<Self, Error> {
        heads.check()?;
        check_len(Tensor::State, Self::storage_len(heads), storage.len())?;
        storage.fill(0);
        Ok(State { words: storage, dims: [1, 1, heads.q, heads.v_dim] })
    }

    /// Joins the state of the same query heads over other keys. What it rounds is one unit in 2^25 or less of the sums, but
    /// another order of merges may round elsewhere.
    ///
    /// # Errors
    /// [`Error::Shape`] if the states have different shapes; nothing is changed then.
    pub fn merge(&mut self, other: &State<'_>) -> Result<(), Error> {
        if self.dims != other.dims {
            let (expected, given) = (self.dims, other.dims);
            return Err(Error::Shape { tensor: Tensor::State, expected, given });
        }
        let theirs = other.words.chunks_exact(self.row_len());
        for (mine, theirs) in self.rows().zip(theirs) {
            if let [m, l, o @ ..] = theirs {
                { mine }.join(*m, *l, o);
            }
        }
        Ok(())
    }

    /// Divides by the sums of weights: `o [1, 1, q_heads, v_dim]`, in units of 2^-15 of the full scale of the values. For `i16` that is
    /// their code, for `i8` 1/256 of a step. And the log-sum-exp `[q_heads]` if it is wanted: of base 2, in units of 2^-16. Rows that have seen
    /// no key give 0 and `i64::MIN`.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Length`]; nothing is written then.
    pub fn finish(&self, mut o: ViewMut<'_, i16>, lse: Option<&mut [i64]>) -> Result<(), Error> {
        if o.dims() != self.dims {
            return Err(Error::Shape { tensor: Tensor::O, expected: self.dims, given: o.dims() });
        }
        if let Some(lse) = &lse {
            check_len(Tensor::Lse, self.dims[2], lse.len())?;
        }
        let mut lse = lse.into_iter().flatten();
        for (h, row) in self.words.chunks_exact(self.row_len()).enumerate() {
            if let [m, l, sums @ ..] = row {
                quotients(o.row_mut(0, 0, h), *l, sums);
                if let Some(to) = lse.next() {
                    *to = log_sum_exp(*m, *l);
                }
            }
        }
        Ok(())
    }

    /// Words of a row; said so that it is seen not to be 0.
    fn row_len(&self) -> usize {
        (self.dims[3] + 2).max(1)
    }

    /// The rows of all query heads.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = Sums<'_>> {
        let row_len = self.row_len();
        self.words.chunks_exact_mut(row_len).filter_map(|row| match row {
            [m, l, o @ ..] => Some(Sums { m, l, o }),
            _ => None,
        })
    }
}
