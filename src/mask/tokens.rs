//! Patterns that a few numbers say: prefixes, global tokens, chunks, dilation.

use super::pattern::{Coverage, Pattern, Place, bits_of};
use crate::error::{Error, List};
use core::ops::Range;

/// Keys before a fixed one, for every query. `Prefix(n)` or a causal mask is a prefix language model:
/// [`Pattern::or`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(pub usize);

impl Pattern for Prefix {
    fn next(&self, place: &Place, _: &Range<usize>, key: usize) -> Option<usize> {
        (key < self.0.min(place.kv_len)).then_some(key)
    }
    fn coverage(&self, _: &Place, _: &Range<usize>, keys: &Range<usize>) -> Coverage {
        if keys.end <= self.0 {
            Coverage::All
        } else if keys.start >= self.0 {
            Coverage::None
        } else {
            Coverage::Some
        }
    }
    fn restrict(&self, _: &Place, _: &Range<usize>, keys: &Range<usize>, seen: &mut [u64]) {
        let visible = self.0.saturating_sub(keys.start).min(seen.len());
        seen.get_mut(visible..).unwrap_or(&mut []).fill(0);
    }
}

/// Tokens that see every key and are seen by every query (Longformer's global attention): a pair is in the
/// pattern if the position of its query or of its key is in the list.
#[derive(Clone, Copy, Debug)]
pub struct Globals<'a>(&'a [u32]);

impl<'a> Globals<'a> {
    /// The positions of the global tokens, in order.
    ///
    /// # Errors
    /// [`Error::Order`] unless each is larger than the one before.
    pub fn new(positions: &'a [u32]) -> Result<Self, Error> {
        ascending(List::Globals, positions, true)?;
        Ok(Globals(positions))
    }

    /// How many global positions there are in a range.
    fn count(&self, low: i64, high: i64) -> usize {
        let below = |position: i64| self.0.partition_point(|x| i64::from(*x) < position);
        below(high).saturating_sub(below(low))
    }
}

impl Pattern for Globals<'_> {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        if key >= place.kv_len {
            return None;
        }
        if self.count(place.position(queries.start), place.position(queries.end)) > 0 {
            return Some(key);
        }
        let at = self.0.partition_point(|x| (*x as usize) < key);
        self.0.get(at).map(|x| *x as usize).filter(|key| *key < place.kv_len)
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        let of_queries = self.count(place.position(queries.start), place.position(queries.end));
        let of_keys = self.count(keys.start as i64, keys.end as i64);
        if of_queries == queries.len() || of_keys == keys.len() {
            Coverage::All
        } else if of_queries + of_keys == 0 {
            Coverage::None
        } else {
            Coverage::Some
        }
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        let first = self.0.partition_point(|x| i64::from(*x) < place.position(queries.start));
        let mut global = 0;
        for &position in self.0.get(first..).unwrap_or(&[]) {
            let query = place.query(i64::from(position));
            if query >= queries.end as i64 {
                break;
            }
            global |= bits_of(queries, query, query + 1);
        }
        let first = self.0.partition_point(|x| (*x as usize) < keys.start);
        let mut positions = self.0.get(first..).unwrap_or(&[]).iter().peekable();
        for (key, seen) in keys.clone().zip(seen) {
            if positions.next_if(|position| **position as usize == key).is_none() {
                *seen &= global;
            }
        }
    }
    fn needs_positions(&self) -> bool {
        true
    }
    fn lead(&self) -> usize {
        self.0.iter().zip(0..).take_while(|(position, n)| *position == n).count()
    }
}

/// Tokens of the same chunk, `floor(position / size)` (Llama 4, which has it causal: [`Pattern::and`], or a mask).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks(i64);

impl Chunks {
    /// Chunks of so many tokens.
    ///
    /// # Errors
    /// [`Error::ZeroBlock`].
    pub const fn new(size: usize) -> Result<Self, Error> {
        match size {
            0 => Err(Error::ZeroBlock { list: List::Chunks }),
            size if size > i64::MAX as usize / 2 => Ok(Chunks(i64::MAX / 2)),
            size => Ok(Chunks(size as i64)),
        }
    }

    /// The positions of the chunk of a position.
    fn around(&self, position: i64) -> Range<i64> {
        let start = position.checked_div_euclid(self.0).unwrap_or(0).saturating_mul(self.0);
        start..start.saturating_add(self.0)
    }
}

impl Pattern for Chunks {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        let first = self.around(place.position(queries.start)).start;
        let end = self.around(place.position(queries.end.saturating_sub(1))).end;
        let key = usize::try_from(first).map_or(key, |first| first.max(key));
        (key < place.kv_len && (key as i64) < end).then_some(key)
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        let first = self.around(place.position(queries.start));
        let last = self.around(place.position(queries.end.saturating_sub(1)));
        let (start, end) = (keys.start as i64, keys.end as i64);
        if end <= first.start || start >= last.end {
            Coverage::None
        } else if first == last && start >= first.start && end <= first.end {
            Coverage::All
        } else {
            Coverage::Some
        }
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        for (key, seen) in keys.clone().zip(seen) {
            let chunk = self.around(key as i64);
            *seen &= bits_of(queries, place.query(chunk.start), place.query(chunk.end));
        }
    }
    fn needs_positions(&self) -> bool {
        true
    }
}

/// Pairs whose distance is a multiple of some number. With a window of `step * w`, that is Longformer's dilated
/// window: [`Pattern::and`], or a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dilation(i64);

impl Dilation {
    /// Distances that are multiples of `step`.
    ///
    /// # Errors
    /// [`Error::ZeroBlock`].
    pub const fn new(step: usize) -> Result<Self, Error> {
        match step {
            0 => Err(Error::ZeroBlock { list: List::Dilation }),
            step if step > i64::MAX as usize / 2 => Ok(Dilation(i64::MAX / 2)),
            step => Ok(Dilation(step as i64)),
        }
    }

    /// Queries from the first of `queries` to the first that sees `key`.
    fn ahead(&self, place: &Place, queries: &Range<usize>, key: usize) -> i64 {
        (key as i64)
            .saturating_sub(place.position(queries.start))
            .checked_rem_euclid(self.0)
            .unwrap_or(0)
    }
}

impl Pattern for Dilation {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        // The further the key, the later the first query that sees it, until it is the first of all.
        let ahead = self.ahead(place, queries, key);
        let key = if ahead < queries.len() as i64 {
            key
        } else {
            key.saturating_add(usize::try_from(self.0 - ahead).unwrap_or(usize::MAX))
        };
        (key < place.kv_len).then_some(key)
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        if self.0 == 1 {
            return Coverage::All;
        }
        match self.next(place, queries, keys.start) {
            Some(key) if key < keys.end => Coverage::Some,
            _ => Coverage::None,
        }
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        let step = usize::try_from(self.0).unwrap_or(usize::MAX);
        for (key, seen) in keys.clone().zip(seen) {
            let ahead = usize::try_from(self.ahead(place, queries, key)).unwrap_or(usize::MAX);
            let (mut bits, mut bit) = (0, ahead);
            while bit < 64 {
                bits |= 1_u64 << bit;
                bit = bit.saturating_add(step);
            }
            *seen &= bits;
        }
    }
    fn needs_positions(&self) -> bool {
        true
    }
}

/// Whether a list ascends, strictly if `strict`.
pub(crate) fn ascending(list: List, values: &[u32], strict: bool) -> Result<(), Error> {
    for (index, &[before, value]) in values.array_windows().enumerate() {
        if value < before || strict && value == before {
            return Err(Error::Order { list, index: index + 1, before, value });
        }
    }
    Ok(())
}
