//! The plan: everything about an attention that can be checked before there are any data.

mod choice;

use crate::bias::Lookup;
use crate::call::{Call, Inputs, Outputs};
use crate::change::Changes;
use crate::dispatch::{Claim, Entry, Grid};
use crate::error::Error;
use crate::job::{Bound, Job};
use crate::mask::{Mask, Only, Pattern};
use crate::modifier::Modifier;
use crate::position::TurnedQueries;
use crate::products::Precision;
use crate::relative::{RelativeKeys, RelativeValues};
use crate::shape::{Shape, index_of};
use crate::simd::Level;
use crate::sinks::Sinks;
use crate::staged::Staged;
use crate::state::State;
use core::ops::Range;

/// Softmax attention of one shape under one mask: `o = softmax(scale * q k^T) v` for every head.
///
/// Made once, by the fallible [`Attention::new`]; bound to tensors by [`Attention::bind`], which
/// checks them against it; run without a way to fail. A plan is a few dozen words and costs well
/// under a microsecond, so one a decoding step is fine.
#[derive(Clone, Debug)]
pub struct Attention<'m> {
    shape: Shape,
    mask: Mask,
    only: Only<'m>,
    changes: Changes<'m>,
    keys: Range<usize>,
    scale: f64,
    precision: Precision,
    /// What finds entries for codes, where they may be multiplied as integers: otherwise nothing of it is linked.
    for_codes: Option<choice::Choose>,
    entry: Entry,
}

impl<'m> Attention<'m> {
    /// A plan for the best level of this processor, with `scale = 1 / sqrt(head_dim)`.
    ///
    /// # Errors
    /// [`Error::ZeroHeads`], [`Error::HeadGroups`], [`Error::HeadDim`], [`Error::ValueDim`],
    /// [`Error::Overflow`], [`Error::Offset`].
    pub fn new(shape: Shape, mask: Mask) -> Result<Self, Error> {
        shape.check()?;
        let rows = shape.q_len * shape.heads.group();
        let entry = Entry::choose(Level::detect(), Precision::F32, shape.heads, rows);
        Self::with_entry(shape, mask, entry)
    }

    /// A plan that runs a given entry: what a module made for one model calls.
    ///
    /// # Errors
    /// As [`Attention::new`]; [`Error::Level`] where the entry's level is not available;
    /// [`Error::EntryDims`] if it was made for other widths.
    pub fn with_entry(shape: Shape, mask: Mask, entry: Entry) -> Result<Self, Error> {
        shape.check()?;
        mask.check()?;
        entry.check(shape.heads)?;
        let scale = 1.0 / libm::sqrt(shape.heads.dim as f64);
        let precision = entry.precision();
        let (only, changes, keys) = (Only(None), Changes::default(), 0..shape.kv_len);
        let for_codes = None;
        Ok(Attention { shape, mask, only, changes, keys, scale, precision, for_codes, entry })
    }

    /// The same plan with another factor for the scores. T5 has 1; the default is
    /// `1 / sqrt(head_dim)`. A factor that is not finite in f32 gives NaN, as IEEE 754 says.
    #[must_use]
    pub const fn scale(&self, scale: f64) -> Self {
        let (shape, mask, only, keys) = (self.shape, self.mask, self.only, self.key_range());
        let (changes, precision, for_codes) = (self.changes, self.precision, self.for_codes);
        let entry = self.entry;
        Attention { shape, mask, only, changes, keys, scale, precision, for_codes, entry }
    }

    /// `keys`, which is not `Copy`, where no trait can be called.
    const fn key_range(&self) -> Range<usize> {
        self.keys.start..self.keys.end
    }

    /// The same plan on one level, for tests and measurements.
    ///
    /// # Errors
    /// [`Error::Level`] where this processor lacks it.
    pub fn level(&self, level: Level) -> Result<Self, Error> {
        let entry = self.choose(level, self.precision);
        entry.check(self.shape.heads)?;
        Ok(Attention { entry, ..self.clone() })
    }

    /// The same plan with other products allowed; [`Precision::F32`] is the default.
    #[must_use]
    pub fn precision(&self, precision: Precision) -> Self {
        let entry = self.choose(self.entry.level(), precision);
        let for_codes: Option<choice::Choose> = match precision {
            Precision::Int8Products => Some(Entry::choose),
            Precision::F32 | Precision::Bf16Products => None,
        };
        Attention { entry, precision, for_codes, ..self.clone() }
    }

    /// The same plan where a query sees, of the keys that the mask lets it see, only those that `pattern` lets it see
    /// too. Replaces the pattern that the plan had; patterns combine by [`Pattern::and`] and [`Pattern::or`].
    ///
    /// ```
    /// use flashlet::{Attention, Globals, Heads, Mask, Offset, Pattern, Shape, Window};
    /// # fn main() -> Result<(), flashlet::Error> {
    /// // Longformer: 256 keys on either side, and two tokens that see all and are seen by all.
    /// let pattern = Mask::window(Offset::TOP_LEFT, Window::span(256, 256)).or(Globals::new(&[0, 700])?);
    /// let shape = Shape { batch: 1, q_len: 4096, kv_len: 4096, heads: Heads::new(12, 12, 64) };
    /// let attention = Attention::new(shape, Mask::at(Offset::TOP_LEFT))?.only(&pattern)?;
    /// # let _ = attention;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Offset`] if the pattern needs positions and the mask says none: [`Mask::at`] does. What
    /// [`Pattern::check`] says of the shape.
    pub fn only(&self, pattern: &'m dyn Pattern) -> Result<Self, Error> {
        if pattern.needs_positions() && !self.mask.has_positions() {
            return Err(Error::Offset);
        }
        pattern.check(&self.shape)?;
        Ok(Attention { only: Only(Some(pattern)), ..self.clone() })
    }

    /// The same plan with scores that a modifier changes before the softmax. Replaces the one that the plan had.
    ///
    /// ```
    /// use flashlet::{Alibi, Attention, Heads, Mask, Offset, Shape, Softcap};
    /// # fn main() -> Result<(), flashlet::Error> {
    /// let mut slopes = [0.0; 12];
    /// Alibi::slopes(&mut slopes);
    /// let modifier = Softcap::new(50.0)?.then(Alibi::new(&slopes));
    /// let shape = Shape { batch: 1, q_len: 64, kv_len: 64, heads: Heads::new(12, 12, 64) };
    /// let attention = Attention::new(shape, Mask::causal(Offset::TOP_LEFT))?.modify(&modifier)?;
    /// # let _ = attention;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Offset`] if the modifier needs positions and the mask says none: [`Mask::at`] does. What
    /// [`Modifier::check`] says of the shape. [`Error::PlainEntry`].
    pub fn modify(&self, modifier: &'m impl Modifier) -> Result<Self, Error> {
        if modifier.needs_positions() && !self.mask.has_positions() {
            return Err(Error::Offset);
        }
        modifier.check(&self.shape)?;
        self.with_changes(Changes { modifier: Some(modifier), ..self.changes })
    }

    /// The same plan with a bias that is looked up and added to the scores, after a modifier. Replaces the one that the
    /// plan had.
    ///
    /// ```
    /// use flashlet::{Attention, BiasTensor, Heads, Mask, Shape, Strides, View};
    /// # fn main() -> Result<(), flashlet::Error> {
    /// let shape = Shape { batch: 1, q_len: 2, kv_len: 3, heads: Heads::new(4, 2, 16) };
    /// // One additive mask [2, 3] for all heads: a stride of 0. The first query does not see the last key.
    /// let mask = [0.0, 0.0, f32::NEG_INFINITY, 0.0, 0.0, 0.0];
    /// let strides = Strides { batch: 0, token: 3, head: 0 };
    /// let bias = BiasTensor::new(View::strided(&mask, [1, 2, 4, 3], strides)?);
    /// let attention = Attention::new(shape, Mask::full())?.bias(&bias)?;
    /// # let _ = attention;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Offset`] if the bias needs positions and the mask says none: [`Mask::at`] does. What
    /// [`Lookup::check`] says of the shape. [`Error::PlainEntry`].
    pub fn bias(&self, bias: &'m impl Lookup) -> Result<Self, Error> {
        if bias.needs_positions() && !self.mask.has_positions() {
            return Err(Error::Offset);
        }
        bias.check(&self.shape)?;
        self.with_changes(Changes { lookup: Some(bias), ..self.changes })
    }

    /// The same plan with keys by distance, whose products join the scores. All products are in f32 then.
    ///
    /// # Errors
    /// [`Error::Offset`] if the mask says no positions: [`Mask::at`] does. [`Error::Shape`], [`Error::PlainEntry`].
    pub fn relative_keys(&self, keys: &'m RelativeKeys<'_>) -> Result<Self, Error> {
        keys.check(&self.shape)?;
        self.with_relative(Changes { keys: Some(keys), ..self.changes })
    }

    /// The same plan with values by distance, to be added to those of the keys. All products are in f32 then.
    ///
    /// # Errors
    /// As [`Attention::relative_keys`].
    pub fn relative_values(&self, values: &'m RelativeValues<'_>) -> Result<Self, Error> {
        values.check(&self.shape)?;
        self.with_relative(Changes { values: Some(values), ..self.changes })
    }

    /// The same plan whose queries turn on their way into its scratch, by rotary positions. Every entry does, also a plain one.
    ///
    /// # Errors
    /// [`Error::Rotary`] if a head is too narrow; [`Error::ListLength`] and [`Error::Position`] of the positions.
    pub fn turn_queries(&self, queries: &'m TurnedQueries<'_>) -> Result<Self, Error> {
        queries.check(&self.shape)?;
        let changes = Changes { queries: Some(queries), ..self.changes };
        Ok(Attention { changes, ..self.clone() })
    }

    /// The same plan with changes, which no plain entry makes.
    fn with_changes(&self, changes: Changes<'m>) -> Result<Self, Error> {
        if self.entry.is_plain() {
            return Err(Error::PlainEntry);
        }
        Ok(Attention { changes, ..self.clone() })
    }

    fn with_relative(&self, changes: Changes<'m>) -> Result<Self, Error> {
        if !self.mask.has_positions() {
            return Err(Error::Offset);
        }
        let mut plan = self.with_changes(changes)?;
        if plan.entry.precision() != Precision::F32 {
            plan.entry = plan.choose(plan.entry.level(), plan.precision);
        }
        Ok(plan)
    }

    /// The same plan over some of the keys: the others stay unseen and unread. Positions, and with
    /// them the mask, still count from key 0. With [`State`], the way to split keys.
    ///
    /// # Errors
    /// [`Error::KeyRange`].
    pub const fn keys(&self, keys: Range<usize>) -> Result<Self, Error> {
        let Range { start, end } = keys;
        let kv_len = self.shape.kv_len;
        if start > end || end > kv_len {
            return Err(Error::KeyRange { start, end, kv_len });
        }
        let (shape, mask, only, scale) = (self.shape, self.mask, self.only, self.scale);
        let (changes, precision, for_codes) = (self.changes, self.precision, self.for_codes);
        let entry = self.entry;
        Ok(Attention { shape, mask, only, changes, keys, scale, precision, for_codes, entry })
    }

    /// Floats of scratch that [`Attention::bind`] wants, whatever the tensors are stored as. Depends
    /// on the heads and the level, not on any length.
    #[must_use]
    pub const fn scratch_len(&self) -> usize {
        let heads = self.shape.heads;
        let entry = match self.precision {
            // Which entry it is depends on how keys are kept.
            Precision::Int8Products => heads.scratch_len(self.entry.level()),
            Precision::F32 | Precision::Bf16Products => self.entry.scratch_len(heads),
        };
        entry.saturating_add(self.room_len())
    }

    /// Floats of scratch that are enough where keys and values are f32. With no more than these, rows
    /// whose stride is a large power of two are slower: there is no room to copy them together.
    #[must_use]
    pub const fn scratch_len_in_place(&self) -> usize {
        self.entry.scratch_len_in_place(self.shape.heads).saturating_add(self.room_len())
    }

    /// Floats of scratch beside those of the entry.
    const fn room_len(&self) -> usize {
        self.changes.room_len(&self.entry, self.shape.heads)
    }

    /// The entry that will run.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The shape.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Checks tensors and scratch against the plan.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Length`], [`Error::KvLens`], [`Error::KvLen`],
    /// [`Error::Scratch`]; [`Error::Evicted`] if a cache keeps no more what the mask lets a query see. Nothing is written then.
    pub fn bind<'a>(
        &self,
        inputs: Inputs<'a>,
        outputs: Outputs<'a>,
        scratch: &'a mut [f32],
    ) -> Result<Call<'a>, Error>
    where
        'm: 'a,
    {
        if let Some(sinks) = outputs.sinks {
            sinks.check(self.shape.heads.q)?;
        }
        let (Outputs { o, lse, sinks }, plan) = (outputs, self.suited(&inputs));
        let claim = Claim::output(self.shape, plan.entry.level(), plan.grid(), o, lse)?;
        plan.bind_claim(inputs, claim, sinks, scratch)
    }

    /// As [`Attention::bind`], but leaves the sums undivided in `state`, which it overwrites.
    ///
    /// # Errors
    /// As [`Attention::bind`].
    pub fn bind_state<'a>(
        &self,
        inputs: Inputs<'a>,
        state: &'a mut State<'_>,
        scratch: &'a mut [f32],
    ) -> Result<Call<'a>, Error>
    where
        'm: 'a,
    {
        let ((o, m, l), plan) = (state.outputs()?, self.suited(&inputs));
        let claim = Claim::state(self.shape, plan.entry.level(), plan.grid(), o, m, l)?;
        plan.bind_claim(inputs, claim, None, scratch)
    }

    /// How rows are cut into query tiles: first ones that see more than those behind them are a tile of their own.
    pub(crate) fn grid(&self) -> Grid {
        let Shape { q_len, kv_len, heads, .. } = self.shape;
        let first = self.mask.first_position(q_len, kv_len);
        let lead = self.only.0.map_or(0, |pattern| (pattern.lead() as i64).saturating_sub(first));
        let lead = index_of(lead).min(q_len);
        let group = heads.group();
        Grid::new(self.entry.tiling().rows, q_len * group, lead * group)
    }

    #[inline(never)]
    fn bind_claim<'a>(
        &self,
        inputs: Inputs<'a>,
        claim: Claim<'a>,
        sinks: Option<Sinks<'a>>,
        scratch: &'a mut [f32],
    ) -> Result<Call<'a>, Error>
    where
        'm: 'a,
    {
        let bound = self.bind_inputs(inputs, sinks, scratch.len())?;
        bound.check_evicted(0..bound.shape.batch)?;
        Ok(Call(Job { bound, out: claim, scratch }))
    }

    /// All but what a cache keeps no more: [`Bound::check_evicted`].
    pub(crate) fn bind_inputs<'a>(
        &self,
        inputs: Inputs<'a>,
        sinks: Option<Sinks<'a>>,
        given: usize,
    ) -> Result<Bound<'a>, Error>
    where
        'm: 'a,
    {
        inputs.check(&self.shape)?;
        let Attention { shape, mask, only, changes, precision, entry, .. } = *self;
        let Inputs { q, k, v, lens, turn } = inputs;
        let of_entry = given.saturating_sub(self.room_len());
        let k = Staged::keys(k, (&entry, precision), shape.heads, of_entry);
        let v = Staged::values(v, &k, (&entry, precision), shape.heads, of_entry);
        let v = if self.rounds_weights() { v } else { v.in_f32() };
        let needed = if k.needs_room() || v.needs_room() {
            self.scratch_len()
        } else {
            self.scratch_len_in_place()
        };
        if given < needed {
            return Err(Error::Scratch { needed, given });
        }
        #[expect(clippy::cast_possible_truncation, reason = "the one rounding of the scale")]
        let scale = (self.scale * core::f64::consts::LOG2_E) as f32;
        let keys = self.keys.clone();
        let longest = shape.q_len;
        Ok(Bound {
            entry,
            shape,
            mask,
            only,
            changes,
            keys,
            scale,
            q,
            longest,
            turn,
            k,
            v,
            lens,
            sinks,
        })
    }
}
