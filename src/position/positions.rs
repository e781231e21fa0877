//! Which positions the tokens of a call have.

use super::phase::{MAX_AXES, Place};
use crate::error::{Error, List};

/// Positions of the tokens `[batch, len]` of a call.
///
/// ```
/// use flashlet::Positions;
/// let prompt = Positions::from(0); // 0, 1, 2 .. in every sequence
/// let step = Positions::starts(&[17, 903]); // the next token of two sequences
/// let image = Positions::list(&[0, 1, 1, 1, 0, 1, 1, 2, 0, 1, 2, 1]); // axes t, h, w of four tokens
/// let shifted = Positions::shift(-128); // keys of a cache, 128 tokens nearer to its start
/// # let _ = (prompt, step, image, shifted);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions<'a>(Kind<'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    Start(u32),
    Starts(&'a [u32]),
    List(&'a [u32]),
    Shift(i64),
}

impl From<u32> for Positions<'_> {
    /// Token `i` of every sequence at `start + i`.
    fn from(start: u32) -> Self {
        Positions(Kind::Start(start))
    }
}

impl<'a> Positions<'a> {
    /// Token `i` of sequence `b` at `starts[b] + i`.
    #[must_use]
    pub const fn starts(starts: &'a [u32]) -> Self {
        Positions(Kind::Starts(starts))
    }

    /// Any: `[batch, len]`, or `[axes, batch, len]` where positions have several axes.
    #[must_use]
    pub const fn list(list: &'a [u32]) -> Self {
        Positions(Kind::List(list))
    }

    /// All tokens the same way further, or back, on each axis: what was turned by `p` is turned by `p + delta` then. Angles are computed,
    /// table or not, and are within their error up to 2^32 on both sides.
    #[must_use]
    pub const fn shift(delta: i64) -> Self {
        Positions(Kind::Shift(delta))
    }

    /// The same for all tokens, if it is.
    pub(super) const fn common(&self) -> Option<Place> {
        match self.0 {
            Kind::Shift(delta) => Some([delta; MAX_AXES]),
            _ => None,
        }
    }

    /// Whether there is a position below `limit` for each token and axis.
    pub(super) fn check(&self, [batch, len]: [usize; 2], axes: usize) -> Result<(), Error> {
        let lists = |list, needed, given| Err(Error::ListLength { list, needed, given });
        let all = axes.saturating_mul(batch).saturating_mul(len);
        match self.0 {
            Kind::Starts(starts) if starts.len() != batch => {
                lists(List::Starts, batch, starts.len())
            }
            Kind::List(list) if list.len() != all => lists(List::Positions, all, list.len()),
            _ => Ok(()),
        }
    }

    /// The least and the largest position; `None` for no tokens, and for a shift.
    pub(super) fn range(&self, [batch, len]: [usize; 2]) -> Option<[u64; 2]> {
        if batch == 0 || len == 0 {
            return None;
        }
        let last = (len - 1) as u64;
        let ends = |list: &[u32]| Some([*list.iter().min()?, *list.iter().max()?].map(u64::from));
        match self.0 {
            Kind::Start(start) => Some([u64::from(start), u64::from(start).saturating_add(last)]),
            Kind::Starts(starts) => {
                ends(starts).map(|[least, most]| [least, most.saturating_add(last)])
            }
            Kind::List(list) => ends(list),
            Kind::Shift(_) => None,
        }
    }

    /// Where token `i` of sequence `b` stands.
    #[inline(always)]
    pub(super) fn place(&self, [batch, len]: [usize; 2], b: usize, i: usize) -> Place {
        let from = |start: u32| [i64::from(start) + i as i64; MAX_AXES];
        match self.0 {
            Kind::Start(start) => from(start),
            Kind::Starts(starts) => from(starts.get(b).copied().unwrap_or(0)),
            Kind::List(list) => core::array::from_fn(|axis| {
                let at = (axis * batch + b) * len + i;
                list.get(at).map_or(0, |position| i64::from(*position))
            }),
            Kind::Shift(delta) => [delta; MAX_AXES],
        }
    }
}

/// Sequence and token of all tokens `[batch, len]`.
pub(super) fn all([batch, len]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    (0..batch).flat_map(move |b| (0..len).map(move |i| (b, i)))
}
