//! Sets of pairs that know whole tiles: every mask that a band around the diagonal cannot say.

use crate::error::Error;
use crate::shape::Shape;
use core::fmt;
use core::ops::Range;

/// Where a pattern is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The sequence of a batch.
    pub sequence: usize,
    /// The query head.
    pub head: usize,
    /// Query `i` has position `i + offset`, key `j` has position `j`.
    pub offset: i64,
    /// Queries of the sequence.
    pub q_len: usize,
    /// Visible keys of the sequence.
    pub kv_len: usize,
}

impl Place {
    /// The position of a query.
    #[must_use]
    pub const fn position(&self, query: usize) -> i64 {
        (query as i64).saturating_add(self.offset)
    }

    /// The query at a position, which may be none that is there.
    pub(crate) const fn query(&self, position: i64) -> i64 {
        position.saturating_sub(self.offset)
    }
}

/// What some queries see of some keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// None of them sees any.
    None,
    /// Not known to be either of the others.
    Some,
    /// Each sees each.
    All,
}

/// A set of pairs of a query and a key: those that a query may see.
///
/// Ranges are of indices, not of positions, and never empty; [`Place`] has what turns a query into a position.
/// Attention asks for whole tiles, so that what nobody sees costs nothing: [`Pattern::next`] names the
/// keys to look at, [`Pattern::coverage`] says whether they need a test, and [`Pattern::restrict`] is that
/// test. Patterns combine by [`Pattern::and`] and [`Pattern::or`]. A [`Mask`](crate::Mask) is one too.
///
/// Whatever a pattern answers, memory stays safe; wrong answers give attention over other keys.
pub trait Pattern: Sync {
    /// The first key from `key` on that some of the queries may see, or one before it that is not below `key`;
    /// `None` if there is none below `place.kv_len`.
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize>;

    /// What the queries see of the keys.
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage;

    /// Clears bit `i` of `seen[j]` unless query `queries.start + i` sees key `keys.start + j`. At most 64
    /// queries, and as many words as keys. Bits beyond the queries may become anything.
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    );

    /// Whether it means nothing without the queries' positions, [`Place::offset`].
    fn needs_positions(&self) -> bool {
        false
    }

    /// Whether the heads of a group may see different keys.
    fn differs_by_head(&self) -> bool {
        false
    }

    /// How many queries, those at the first positions, see much more than the ones behind them: they are better computed
    /// apart from those. A hint, which changes no bit.
    fn lead(&self) -> usize {
        0
    }

    /// Whether it fits attention of this shape.
    ///
    /// # Errors
    /// One that names what does not.
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let _ = shape;
        Ok(())
    }

    /// Pairs in both.
    fn and<B: Pattern>(self, other: B) -> And<Self, B>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Pairs in either.
    fn or<B: Pattern>(self, other: B) -> Or<Self, B>
    where
        Self: Sized,
    {
        Or(self, other)
    }
}

impl<P: Pattern + ?Sized> Pattern for &P {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        (**self).next(place, queries, key)
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        (**self).coverage(place, queries, keys)
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        (**self).restrict(place, queries, keys, seen);
    }
    fn needs_positions(&self) -> bool {
        (**self).needs_positions()
    }
    fn differs_by_head(&self) -> bool {
        (**self).differs_by_head()
    }
    fn lead(&self) -> usize {
        (**self).lead()
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        (**self).check(shape)
    }
}

/// Pairs in both of two patterns: [`Pattern::and`].
#[derive(Clone, Copy, Debug)]
pub struct And<A, B>(A, B);

impl<A: Pattern, B: Pattern> Pattern for And<A, B> {
    fn next(&self, place: &Place, queries: &Range<usize>, mut key: usize) -> Option<usize> {
        loop {
            let a = self.0.next(place, queries, key)?;
            let b = self.1.next(place, queries, a)?;
            if b <= a {
                return Some(a);
            }
            key = b;
        }
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        match self.0.coverage(place, queries, keys) {
            Coverage::None => Coverage::None,
            Coverage::All => self.1.coverage(place, queries, keys),
            Coverage::Some => match self.1.coverage(place, queries, keys) {
                Coverage::None => Coverage::None,
                _ => Coverage::Some,
            },
        }
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        self.0.restrict(place, queries, keys, seen);
        self.1.restrict(place, queries, keys, seen);
    }
    fn needs_positions(&self) -> bool {
        self.0.needs_positions() || self.1.needs_positions()
    }
    fn differs_by_head(&self) -> bool {
        self.0.differs_by_head() || self.1.differs_by_head()
    }
    fn lead(&self) -> usize {
        self.0.lead().max(self.1.lead())
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.0.check(shape)?;
        self.1.check(shape)
    }
}

/// Pairs in either of two patterns: [`Pattern::or`].
#[derive(Clone, Copy, Debug)]
pub struct Or<A, B>(A, B);

impl<A: Pattern, B: Pattern> Pattern for Or<A, B> {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        match (self.0.next(place, queries, key), self.1.next(place, queries, key)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        match self.0.coverage(place, queries, keys) {
            Coverage::All => Coverage::All,
            Coverage::None => self.1.coverage(place, queries, keys),
            Coverage::Some => match self.1.coverage(place, queries, keys) {
                Coverage::All => Coverage::All,
                _ => Coverage::Some,
            },
        }
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        for (keys, seen) in chunks(keys, seen) {
            let mut room = [0; CHUNK];
            room.iter_mut().zip(&*seen).for_each(|(other, seen)| *other = *seen);
            let others = room.get_mut(..seen.len()).unwrap_or(&mut []);
            self.0.restrict(place, queries, &keys, seen);
            self.1.restrict(place, queries, &keys, others);
            seen.iter_mut().zip(others).for_each(|(seen, other)| *seen |= *other);
        }
    }
    fn needs_positions(&self) -> bool {
        self.0.needs_positions() || self.1.needs_positions()
    }
    fn differs_by_head(&self) -> bool {
        self.0.differs_by_head() || self.1.differs_by_head()
    }
    fn lead(&self) -> usize {
        self.0.lead().max(self.1.lead())
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.0.check(shape)?;
        self.1.check(shape)
    }
}

/// Keys that a pattern is asked for at once where it needs words of its own for them.
pub(super) const CHUNK: usize = 32;

/// Keys and their words, a few at a time.
pub(super) fn chunks<'s>(
    keys: &Range<usize>,
    seen: &'s mut [u64],
) -> impl Iterator<Item = (Range<usize>, &'s mut [u64])> {
    keys.clone().step_by(CHUNK).zip(seen.chunks_mut(CHUNK)).map(|(start, seen)| {
        let end = start + seen.len();
        (start..end, seen)
    })
}

/// The bits of the queries `low..high` among `queries`.
pub(super) fn bits_of(queries: &Range<usize>, low: i64, high: i64) -> u64 {
    let below = |query: i64| {
        let bit = query.saturating_sub(queries.start as i64).clamp(0, 64) as u32;
        1_u64.checked_shl(bit).map_or(u64::MAX, |bit| bit - 1)
    };
    below(high) & !below(low)
}

/// What a plan may hold of a pattern.
#[derive(Clone, Copy)]
pub(crate) struct Only<'m>(pub(crate) Option<&'m dyn Pattern>);

impl fmt::Debug for Only<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a pattern" } else { "no pattern" })
    }
}
