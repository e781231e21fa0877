//! What will be read next, so that it can be asked for in time.

use crate::simd::{Rows, Walk};
use crate::view::Strides;

/// The way from what is read to what will be read next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) next: Way,
    /// Where heads lie side by side and all of them are read in turns: to this one's share of the next tile, of memory as it lies. Memory is
    /// faster so where rows are short.
    pub(crate) stream: Option<Way>,
}

/// So many keys and heads further.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    pub(crate) keys: isize,
    pub(crate) heads: isize,
}

/// Rows of so many bytes are long.
const LONG: usize = 256;

impl Ahead {
    /// That of the rows behind the first ones: memory that is asked for as it lies goes on where they left off, a head being a row there.
    pub(crate) fn after(self, rows: usize) -> Self {
        let rows = rows as isize;
        let stream =
            self.stream.map(|Way { keys, heads }| Way { keys: keys - rows, heads: heads + rows });
        Ahead { stream, ..self }
    }

    /// The lines that come next after these rows, as many as they have, and `share` of the rows further. `elements` of a way are its length.
    #[inline(always)]
    pub(crate) fn walk<T: Copy>(
        self,
        rows: &Rows<'_, T>,
        share: usize,
        elements: impl Fn(Way) -> isize,
    ) -> Walk {
        let further = |by: usize| by.wrapping_mul(share) as isize;
        match self.stream {
            Some(way) if rows.width() * size_of::<T>() < LONG => {
                rows.stream(elements(way).wrapping_add(further(rows.width())))
            }
            _ => match elements(self.next) {
                0 => rows.walk(0),
                way => rows.walk(way.wrapping_add(further(rows.stride()))),
            },
        }
    }
}

impl Way {
    /// In elements.
    pub(super) fn elements(self, strides: Strides) -> isize {
        let Strides { token, head, .. } = strides;
        // A hint: it may wrap.
        let keys = self.keys.wrapping_mul(token as isize);
        keys.wrapping_add(self.heads.wrapping_mul(head as isize))
    }
}
