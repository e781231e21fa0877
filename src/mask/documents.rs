//! Sequences packed one behind the other.

use super::Mask;
use super::pattern::{Coverage, Pattern, Place, bits_of, chunks};
use super::tokens::ascending;
use crate::error::{Error, List};
use crate::shape::Shape;
use core::ops::Range;

/// Packed sequences (varlen): a query sees keys of its own document only, and of those what a mask lets it see
/// whose positions count from the document's start.
///
/// Document `d` has the queries `queries[d]..queries[d + 1]` and the keys `keys[d]..keys[d + 1]`, as in the
/// `cu_seqlens_q` and `cu_seqlens_k` of FlashAttention. [`Offset::BOTTOM_RIGHT`](crate::Offset::BOTTOM_RIGHT) is
/// that of each document.
#[derive(Clone, Copy, Debug)]
pub struct Documents<'a> {
    queries: &'a [u32],
    keys: &'a [u32],
    mask: Mask,
}

/// One of them.
struct Document {
    queries: Range<usize>,
    keys: Range<usize>,
}

impl<'a> Documents<'a> {
    /// One list for queries and one for keys, each from 0 to how many there are; the same list twice for
    /// self-attention.
    ///
    /// # Errors
    /// [`Error::Order`] if a list descends, [`Error::Entry`] if it does not begin at 0, [`Error::ListLength`] if it
    /// is empty or has another length than the other, [`Error::Offset`] for a window without positions.
    pub fn new(queries: &'a [u32], keys: &'a [u32], mask: Mask) -> Result<Self, Error> {
        mask.check()?;
        for (list, ends) in [(List::QueryEnds, queries), (List::KeyEnds, keys)] {
            match ends.first() {
                None => return Err(Error::ListLength { list, needed: 1, given: 0 }),
                Some(0) => ascending(list, ends, false)?,
                Some(&value) => return Err(Error::Entry { list, index: 0, value, limit: 1 }),
            }
        }
        let (needed, given) = (queries.len(), keys.len());
        if needed != given {
            return Err(Error::ListLength { list: List::KeyEnds, needed, given });
        }
        Ok(Documents { queries, keys, mask })
    }

    /// The documents of some queries, those without queries left out.
    fn of(&self, queries: &Range<usize>) -> impl Iterator<Item = Document> + use<'a> {
        let first = self.queries.partition_point(|end| *end as usize <= queries.start);
        let (from, end) = (first.saturating_sub(1), queries.end);
        let ends = self.queries.get(from..).unwrap_or(&[]).array_windows();
        let keys = self.keys.get(from..).unwrap_or(&[]).array_windows();
        let documents = ends.zip(keys).map(|([q0, q1], [k0, k1])| Document {
            queries: *q0 as usize..*q1 as usize,
            keys: *k0 as usize..*k1 as usize,
        });
        let documents = documents.take_while(move |document| document.queries.start < end);
        documents.filter(|document| !document.queries.is_empty())
    }
}

impl Document {
    /// Those of some queries that are its own, counted from its first.
    fn inside(&self, queries: &Range<usize>) -> Range<usize> {
        let end = queries.end.min(self.queries.end).saturating_sub(self.queries.start);
        queries.start.saturating_sub(self.queries.start)..end
    }

    /// Its place: positions count from its start.
    fn place(&self, place: &Place) -> Place {
        let kv_len = self.keys.len().min(place.kv_len.saturating_sub(self.keys.start));
        Place { offset: 0, q_len: self.queries.len(), kv_len, ..*place }
    }
}

impl Pattern for Documents<'_> {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        self.of(queries).find_map(|document| {
            let from = key.saturating_sub(document.keys.start);
            let inside = document.inside(queries);
            let next = self.mask.next(&document.place(place), &inside, from)?;
            Some(document.keys.start + next)
        })
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        match self.of(queries).next() {
            Some(document)
                if document.queries.end >= queries.end
                    && document.keys.start <= keys.start
                    && document.keys.end >= keys.end =>
            {
                let start = keys.start - document.keys.start;
                let keys = start..start + keys.len();
                self.mask.coverage(&document.place(place), &document.inside(queries), &keys)
            }
            _ => match self.next(place, queries, keys.start) {
                Some(key) if key < keys.end => Coverage::Some,
                _ => Coverage::None,
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
            let mut room = [0_u64; super::pattern::CHUNK];
            for document in self.of(queries) {
                let own = keys.start.max(document.keys.start)..keys.end.min(document.keys.end);
                let Some(words) = own
                    .start
                    .checked_sub(keys.start)
                    .and_then(|at| room.get_mut(at..)?.get_mut(..own.len()))
                else {
                    continue;
                };
                let inside = document.inside(queries);
                let shift = (document.queries.start + inside.start).saturating_sub(queries.start);
                let start = own.start.saturating_sub(document.keys.start);
                let (own, mut inner) =
                    (start..start + own.len(), [u64::MAX; super::pattern::CHUNK]);
                let inner = inner.get_mut(..own.len()).unwrap_or(&mut []);
                if own.is_empty() {
                    continue;
                }
                self.mask.restrict(&document.place(place), &inside, &own, inner);
                let all = bits_of(&inside, inside.start as i64, inside.end as i64);
                for (word, inner) in words.iter_mut().zip(inner) {
                    *word |= (*inner & all).checked_shl(shift as u32).unwrap_or(0);
                }
            }
            seen.iter_mut().zip(room).for_each(|(seen, room)| *seen &= room);
        }
    }
    fn check(&self, shape: &Shape) -> Result<(), Error> {
        let lists = [
            (List::QueryEnds, self.queries, shape.q_len),
            (List::KeyEnds, self.keys, shape.kv_len),
        ];
        for (list, ends, limit) in lists {
            // Neither list is empty.
            let value = ends.last().copied().unwrap_or(0);
            if value as usize != limit {
                let index = ends.len() - 1;
                return Err(Error::Entry { list, index, value, limit: limit + 1 });
            }
        }
        Ok(())
    }
}
