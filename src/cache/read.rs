//! What attention asks of a cache.

use super::store::Store;
use crate::dispatch::check_len;
use crate::elem::Format;
use crate::error::{Error, Tensor};
use crate::simd::Level;
use crate::view::AnyView;
use core::fmt;
use core::ops::Range;

/// Keys and values that attention can read: [`KvCache`](crate::KvCache), or some sequences of a
/// [`PagedCache`](crate::PagedCache).
pub trait Cached: Sync + Sealed {
    /// Sequences.
    fn batch(&self) -> usize;
    /// Tokens of the longest sequence, those that are gone among them.
    fn kv_len(&self) -> usize;

    /// What it keeps of some tokens in one head of one sequence, as attention reads it: `[tokens, dim]`. Zeros for blocks that are gone; what a
    /// ring has written over is what it was written over with.
    ///
    /// # Errors
    /// [`Error::KeyRange`] and [`Error::Row`] for what there is not; [`Error::Length`]. Nothing is written then.
    fn load(
        &self,
        side: Side,
        [b, g]: [usize; 2],
        tokens: Range<usize>,
        to: &mut [f32],
    ) -> Result<(), Error> {
        let [batch, _, heads, dim] = self.dims(side);
        if b >= batch || g >= heads {
            return Err(Error::Row {
                row: [b, tokens.start, g],
                limits: [batch, self.kv_len(), heads],
            });
        }
        let (Range { start, end }, kv_len) = (tokens.clone(), self.len(b));
        if start > end || end > kv_len {
            return Err(Error::KeyRange { start, end, kv_len });
        }
        let tensor = if side == Side::Keys { Tensor::K } else { Tensor::V };
        check_len(tensor, tokens.len() * dim, to.len())?;
        self.widen(side, Level::detect(), Read { b, g, keys: tokens }, to, dim);
        Ok(())
    }
}

/// How many: what it holds would bring the formatting of floats into every binary.
impl fmt::Debug for dyn Cached + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cached({:?})", [Side::Keys, Side::Values].map(|side| self.dims(side)))
    }
}

/// Keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As wide as queries.
    Keys,
    /// As wide as outputs.
    Values,
}

/// What only this crate may ask.
pub trait Sealed {
    /// `[batch, kv_len, heads, dim]`.
    fn dims(&self, side: Side) -> [usize; 4];
    /// Tokens of a sequence.
    fn len(&self, b: usize) -> usize;
    /// Those of them that are gone.
    fn evicted(&self, b: usize) -> Range<usize>;
    /// Whether the heads of a token lie side by side.
    fn heads_lie_together(&self) -> bool;
    /// Both as tensors, if that is what they are.
    fn views(&self) -> Option<[AnyView<'_>; 2]>;
    /// Tokens of one head of one sequence: rows of `width` floats.
    fn widen(&self, side: Side, level: Level, read: Read, to: &mut [f32], width: usize);
}

/// Tokens of one head of one sequence.
#[derive(Clone, Debug)]
pub struct Read {
    pub(crate) b: usize,
    pub(crate) g: usize,
    pub(crate) keys: Range<usize>,
}

/// Tokens that lie behind each other: the slot of the first, if they are there, and how many they are.
pub(super) type Run = (Option<usize>, usize);

/// Widens the tokens of `read`, run by run; zeros for those that are not there.
pub(super) fn widen_runs<F: Format>(
    store: &Store<'_, F>,
    level: Level,
    read: Read,
    run_at: impl Fn(usize) -> Run,
    mut to: &mut [f32],
    width: usize,
) {
    let Read { g, keys, .. } = read;
    let mut key = keys.start;
    while key < keys.end {
        let (slot, run) = run_at(key);
        let count = run.clamp(1, keys.end - key);
        let Some((rows, rest)) = to.split_at_mut_checked(count * width) else { return };
        match slot {
            Some(slot) => store.widen(level, (slot, count), g, rows, width),
            None => rows.fill(0.0),
        }
        (to, key) = (rest, key + count);
    }
}
