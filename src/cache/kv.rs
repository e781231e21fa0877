//! One sequence.

use super::read::{Cached, Kept};
use super::runs::Run;
use super::scales::Scales;
use super::shape::CacheShape;
use super::store::Store;
use super::tokens::{NewKeys, Tokens};
use crate::elem::{Format, Overflow};
use crate::error::{Error, List, Tensor};
use crate::view::AnyView;
use core::ops::Range;

/// The keys and values of one sequence: as many tokens as there is room for, or the first few and the newest.
///
/// ```
/// use flashlet::{Attention, CacheShape, Heads, Inputs, KvCache, Mask, Offset, Outputs, Q8_0, Shape, View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// let heads = Heads::new(4, 2, 32);
/// const SHAPE: CacheShape = CacheShape::new(Heads::new(4, 2, 32), 100);
/// let mut keys = [Q8_0::default(); SHAPE.key_len::<Q8_0>()];
/// let mut values = [Q8_0::default(); SHAPE.value_len::<Q8_0>()];
/// let mut cache = KvCache::new(SHAPE, &mut keys, &mut values)?;
///
/// let (mut q, kv, mut o) = ([0.5; 4 * 32], [0.25; 2 * 32], [0.0; 4 * 32]);
/// for step in 0..3 {
///     q[0] = step as f32;
///     let token = View::packed(&kv, [1, 1, 2, 32])?; // [1, tokens, kv_heads, dim]
///     cache.append(token, token)?;
///     let shape = Shape { batch: 1, q_len: 1, kv_len: cache.len(), heads };
///     let attention = Attention::new(shape, Mask::causal(Offset::BOTTOM_RIGHT))?;
///     let mut scratch = vec![0.0; attention.scratch_len()];
///     let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o())?);
///     attention.bind(Inputs::cached(View::packed(&q, shape.q())?, &cache), outputs, &mut scratch)?.run();
///     assert!((o[0] - 0.25).abs() < 1e-4);
/// }
/// cache.truncate(2)?; // two tokens that were guessed wrong
/// assert_eq!(cache.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KvCache<'a, K, V = K> {
    k: Store<'a, K>,
    v: Store<'a, V>,
    shape: CacheShape,
    /// Tokens that stay; the others share the rest of the room in turns. `None`: all stay.
    sinks: Option<usize>,
    len: usize,
    /// The first token behind the sinks that is still there.
    from: usize,
}

impl<'a, K: Format, V: Format> KvCache<'a, K, V> {
    /// An empty cache in some memory: [`CacheShape::key_len`] and [`CacheShape::value_len`] elements, whatever they hold.
    ///
    /// # Errors
    /// [`Error::ZeroBlock`], [`Error::ZeroHeads`], [`Error::HeadDim`], [`Error::ValueDim`], [`Error::Overflow`] of the shape;
    /// [`Error::Channels`]; [`Error::Length`] of the memory; [`Error::ListLength`] unless there is one block.
    pub fn new(shape: CacheShape, keys: &'a mut [K], values: &'a mut [V]) -> Result<Self, Error> {
        shape.check()?;
        if shape.blocks != 1 {
            let list = List::Blocks;
            return Err(Error::ListLength { list, needed: 1, given: shape.blocks });
        }
        let k = Store::new(keys, shape, Tensor::K)?;
        let v = Store::new(values, shape, Tensor::V)?;
        Ok(KvCache { k, v, shape, sinks: None, len: 0, from: 0 })
    }

    /// The same with scales of keys and of values, for [`E4m3`](crate::E4m3), [`E5m2`](crate::E5m2) and `i8`.
    ///
    /// # Errors
    /// [`Error::Unwanted`] for a format that has no use for them, and for groups in a ring; [`Error::Length`]; [`Error::NotFinite`] for a given
    /// scale that is not above 0 and finite; [`Error::ZeroBlock`] for groups of no tokens.
    pub fn scales(self, keys: Scales<'a>, values: Scales<'a>) -> Result<Self, Error> {
        let cache = KvCache { k: self.k.scaled(keys)?, v: self.v.scaled(values)?, ..self };
        cache.check_groups().map(|()| cache)
    }

    /// Groups need their tokens side by side.
    fn check_groups(&self) -> Result<(), Error> {
        match (self.k.groups(), self.v.groups()) {
            (None, None) => Ok(()),
            _ if self.sinks.is_none() => Ok(()),
            _ => Err(Error::Unwanted { tensor: Tensor::Scales }),
        }
    }

    /// The same with keys turned by [`hadamard`](crate::hadamard) before they are rounded, and queries wherever attention reads them: scores stay
    /// what they are, but for rounding, and outliers of single channels no longer take the codes of all others. Keys that are there already are
    /// not turned.
    #[must_use]
    pub fn rotated(self) -> Self {
        KvCache { k: self.k.rotated(), ..self }
    }

    /// The same with another choice for numbers beyond the largest of [`E4m3`](crate::E4m3) and [`E5m2`](crate::E5m2).
    #[must_use]
    pub fn overflow(self, overflow: Overflow) -> Self {
        KvCache { k: self.k.overflowing(overflow), v: self.v.overflowing(overflow), ..self }
    }

    /// The same, empty, keeping the first `sinks` tokens and of the others the newest, as many as there is room for: an endless stream. A mask
    /// with a window must leave out what is gone: `n` queries at once under [`Window::keys(w)`](crate::Window::keys) need room for
    /// `sinks + w + n - 1` tokens. (StreamingLLM: Xiao et al., arXiv 2309.17453; here positions stay those of the stream.)
    ///
    /// # Errors
    /// [`Error::Capacity`] unless there is room for a token beside the sinks; [`Error::Unwanted`] for scales of groups.
    pub fn ring(self, sinks: usize) -> Result<Self, Error> {
        let given = self.capacity();
        if sinks >= given {
            return Err(Error::Capacity { needed: sinks.saturating_add(1), given });
        }
        let cache = KvCache { sinks: Some(sinks), len: 0, from: 0, ..self };
        cache.check_groups().map(|()| cache)
    }

    /// Tokens it was given, those that are gone among them: the `kv_len` of a plan.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that there is room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.shape.block_len
    }

    /// Keeps tokens behind those that are there: keys `[1, n, kv_heads, head_dim]` and values `[1, n, kv_heads, v_dim]`, each rounded once.
    /// Keys may be [`TurnedKeys`](crate::TurnedKeys), which a rope turns on their way.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Capacity`]; [`Error::NotFinite`] for NaN where neither codes nor scales can hold it, which is `i8` with
    /// given scales. Nothing is kept then.
    pub fn append<'t>(
        &mut self,
        keys: impl Into<NewKeys<'t>>,
        values: impl Into<AnyView<'t>>,
    ) -> Result<(), Error> {
        let (keys, values) = (keys.into().tokens(), Tokens::Plain(values.into()));
        let [_, n, ..] = keys.dims();
        self.shape.check_tokens(&keys, &values, n)?;
        let needed = self.len.saturating_add(n);
        let given = if self.sinks.is_some() { usize::MAX - 1 } else { self.capacity() };
        if needed > given {
            return Err(Error::Capacity { needed, given });
        }
        self.k.check(&keys, Tensor::K)?;
        self.v.check(&values, Tensor::V)?;
        for i in 0..n {
            let token = self.len + i;
            // Of many at once the last ones overwrite the first.
            let stays = self.sinks.is_none_or(|sinks| token < sinks)
                || needed - token <= self.capacity() - self.sinks.unwrap_or(0);
            if let (true, (Some(slot), _)) = (stays, self.run_at(0, token)) {
                self.k.write(slot, &keys, i);
                self.v.write(slot, &values, i);
            }
        }
        self.len = needed;
        if let Some(sinks) = self.sinks {
            let held = self.capacity() - sinks;
            self.from = self.from.max(sinks).max(needed.saturating_sub(held)).min(needed);
        }
        Ok(())
    }

    /// Takes the last `n` tokens back: those that were guessed wrong.
    ///
    /// # Errors
    /// [`Error::Rollback`] if there are not as many; [`Error::Rounded`] for a place within a group whose tokens its ring has no more. Nothing is
    /// taken back then.
    pub fn truncate(&mut self, n: usize) -> Result<(), Error> {
        let Some(len) = self.len.checked_sub(n) else {
            return Err(Error::Rollback { back: n, held: self.len });
        };
        for groups in [self.k.groups(), self.v.groups()].into_iter().flatten() {
            groups.check_back(len)?;
        }
        self.leave(len);
        Ok(())
    }

    fn leave(&mut self, len: usize) {
        (self.len, self.from) = (len, self.from.min(len));
        self.k.back(len);
        self.v.back(len);
    }

    /// Takes all tokens back.
    pub fn clear(&mut self) {
        self.leave(0);
    }
}

impl<K: Format, V: Format> Cached for KvCache<'_, K, V> {
    fn batch(&self) -> usize {
        1
    }
    fn kv_len(&self) -> usize {
        self.len
    }
}

impl<K: Format, V: Format> Kept for KvCache<'_, K, V> {
    type K = K;
    type V = V;

    fn stores(&self) -> (&Store<'_, K>, &Store<'_, V>) {
        (&self.k, &self.v)
    }
    fn len_of(&self, _: usize) -> usize {
        self.len
    }
    fn evicted_of(&self, _: usize) -> Range<usize> {
        match self.sinks {
            Some(sinks) if sinks < self.from => sinks..self.from,
            _ => 0..0,
        }
    }
    fn run_at(&self, _: usize, token: usize) -> Run {
        match self.sinks {
            None => (Some(token), self.capacity().saturating_sub(token)),
            Some(sinks) if token < sinks => (Some(token), sinks - token),
            Some(sinks) => {
                // Never 0, as `ring` checked; saying so here removes the division check.
                let held = (self.capacity() - sinks).max(1);
                let within = (token - sinks) % held;
                (Some(sinks + within), held - within)
            }
        }
    }
    fn is_straight(&self) -> bool {
        self.sinks.is_none()
    }
}
