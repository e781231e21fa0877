//! What can be wrong with a caller's numbers; each error holds the numbers that disagree.

mod display;
mod names;

pub use names::{Knob, List, Tensor};

use crate::linear::{Family, Rule};
use crate::simd::Level;

/// Why a plan, a view or a call was refused. Nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A head count is zero.
    ZeroHeads {
        /// Query heads asked for.
        q_heads: usize,
        /// Key/value heads asked for.
        kv_heads: usize,
    },
    /// The query heads cannot be shared out evenly among the key/value heads.
    HeadGroups {
        /// Query heads asked for.
        q_heads: usize,
        /// Key/value heads asked for.
        kv_heads: usize,
    },
    /// The width of a query or key is out of range.
    HeadDim {
        /// Width asked for.
        head_dim: usize,
        /// Largest width supported.
        max: usize,
    },
    /// The width of a value is out of range.
    ValueDim {
        /// Width asked for.
        v_dim: usize,
        /// Largest width supported.
        max: usize,
    },
    /// An entry was made for heads of other widths.
    EntryDims {
        /// Widths of a key and of a value that the entry was made for.
        expected: [usize; 2],
        /// Widths of the plan.
        given: [usize; 2],
    },
    /// The plan changes scores or values, and its entry cannot: it is a plain one.
    PlainEntry,
    /// A mask has a window but does not say at which position the queries stand.
    Offset,
    /// A size or an offset does not fit the address space.
    Overflow {
        /// `[batch, len, heads, dim]` of the tensor whose size overflows, by itself or by its
        /// strides.
        dims: [usize; 4],
    },
    /// A slice ends before the last element of its shape and strides.
    TooShort {
        /// Elements that the shape and strides reach.
        needed: usize,
        /// Elements in the slice.
        given: usize,
    },
    /// Two rows of an output share elements.
    Overlap {
        /// A stride of the output.
        stride: usize,
        /// Elements that it would have to step over.
        extent: usize,
    },
    /// A view has another shape than the plan.
    Shape {
        /// Which view.
        tensor: Tensor,
        /// `[batch, len, heads, dim]` of the plan.
        expected: [usize; 4],
        /// `[batch, len, heads, dim]` of the view.
        given: [usize; 4],
    },
    /// A slice that must have one length has another.
    Length {
        /// Which slice.
        tensor: Tensor,
        /// Elements needed.
        needed: usize,
        /// Elements given.
        given: usize,
    },
    /// The list of visible lengths has not one entry a sequence.
    KvLens {
        /// Sequences in the batch.
        batch: usize,
        /// Entries given.
        given: usize,
    },
    /// A sequence claims more visible keys than the views hold.
    KvLen {
        /// Index in the batch.
        sequence: usize,
        /// Visible length claimed.
        visible: usize,
        /// Keys in the views.
        kv_len: usize,
    },
    /// A range of keys is reversed or ends beyond the last key.
    KeyRange {
        /// First key.
        start: usize,
        /// One past the last key.
        end: usize,
        /// Keys there are.
        kv_len: usize,
    },
    /// The scratch is too small.
    Scratch {
        /// Floats needed; of attention in integers, words.
        needed: usize,
        /// Those given.
        given: usize,
    },
    /// This processor lacks the level asked for.
    Level {
        /// Level asked for.
        level: Level,
    },
    /// A list of a pattern does not ascend.
    Order {
        /// Which list.
        list: List,
        /// Index of the number that is too small.
        index: usize,
        /// The one before it.
        before: u32,
        /// It.
        value: u32,
    },
    /// A list of a pattern holds a number out of range.
    Entry {
        /// Which list.
        list: List,
        /// Index of the number.
        index: usize,
        /// It.
        value: u32,
        /// One more than the largest that could be there.
        limit: usize,
    },
    /// A list of a pattern has another length than it must have.
    ListLength {
        /// Which list.
        list: List,
        /// Elements needed.
        needed: usize,
        /// Elements given.
        given: usize,
    },
    /// Blocks, chunks or steps of nothing.
    ZeroBlock {
        /// Of what.
        list: List,
    },
    /// A cap of scores is not above 0, or no f32.
    Cap {
        /// `f64::to_bits` of the cap.
        cap_bits: u64,
    },
    /// Positions that share a temperature are none, or its scale is not finite.
    Temperature {
        /// Positions that share one.
        step: u64,
        /// `f64::to_bits` of the scale.
        scale_bits: u64,
    },
    /// A table holds a number that is NaN or infinite.
    NotFinite {
        /// Which table.
        tensor: Tensor,
        /// Where: batch, distance, head, channel.
        at: [usize; 4],
    },
    /// A parameter of rotary frequencies is out of range: the base above 1, others above 0, all finite, and
    /// `high_freq_factor` above `low_freq_factor`.
    Theta {
        /// Which.
        knob: Knob,
        /// `f64::to_bits` of it.
        bits: u64,
    },
    /// Pairs to turn are none, or too many.
    RotDim {
        /// Pairs asked for.
        pairs: usize,
        /// Most that there can be.
        max: usize,
    },
    /// Pairs that cannot be shared out evenly between two axes.
    OddPairs {
        /// Pairs asked for.
        pairs: usize,
    },
    /// Channels that turn lie beyond the end of a head.
    Rotary {
        /// The first of them.
        first: usize,
        /// How many they are.
        rot_dim: usize,
        /// Channels of the head.
        head_dim: usize,
    },
    /// Tensors that are turned together have different tokens.
    Tokens {
        /// Sequences, and tokens of each, of the first tensor.
        expected: [usize; 2],
        /// And of another.
        given: [usize; 2],
    },
    /// A position that no table or no u32 has.
    Position {
        /// It.
        position: u64,
        /// The first one there is.
        start: u64,
        /// One past the last.
        end: u64,
    },
    /// A table of angles has one axis of positions, the plan has more.
    Axes {
        /// How many.
        axes: usize,
    },
    /// A number of heads is no multiple of another.
    LinearHeads {
        /// Query heads,
        q: usize,
        /// key heads,
        k: usize,
        /// value heads.
        v: usize,
    },
    /// The family needs a tensor that was not given.
    Missing {
        /// Which.
        tensor: Tensor,
    },
    /// The family has no use for a tensor that was given.
    Unwanted {
        /// Which.
        tensor: Tensor,
    },
    /// The entry was made for another family.
    EntryFamily {
        /// A family that it was made for.
        expected: Family,
        /// That of the plan.
        given: Family,
    },
    /// Normalised attention needs a rule that only adds.
    Normalised {
        /// The rule of the plan.
        rule: Rule,
    },
    /// A number is negative, or not finite.
    Epsilon {
        /// `f32::to_bits` of it.
        bits: u32,
    },
    /// There are no states, or tokens, as old.
    Rollback {
        /// Tokens to take back.
        back: usize,
        /// How many there are.
        held: usize,
    },
    /// Tokens were rounded as a group, and not all of them are there as they were before.
    Rounded {
        /// The first one that would be needed.
        token: usize,
        /// The first one that is there.
        oldest: usize,
    },
    /// Rows that are no whole blocks of numbers.
    Channels {
        /// Channels of a row.
        dim: usize,
        /// Those of a block.
        block: usize,
    },
    /// There is no room for tokens; none was kept.
    Capacity {
        /// Tokens that there would be, or blocks that are missing.
        needed: usize,
        /// Those that there can be, or blocks that are free.
        given: usize,
    },
    /// The mask lets a query see tokens that the cache keeps no more.
    Evicted {
        /// The first of them.
        start: usize,
        /// One past the last.
        end: usize,
    },
    /// A block table has the same block twice.
    BlockTwice {
        /// It.
        block: u32,
    },
    /// A number of a gate is out of range.
    Gates {
        /// Which.
        knob: Knob,
        /// `f32::to_bits` of it.
        bits: u32,
    },
    /// A scale of products of codes, times log2(e), is not within 2^-40 .. 2^8.
    Factor {
        /// `f32::to_bits` of the scale.
        scale_bits: u32,
    },
    /// Codes as large as they can be would have a logit beyond 2^30.
    Logits {
        /// Channels of a key.
        head_dim: usize,
        /// `f32::to_bits` of the scale.
        scale_bits: u32,
    },
    /// There is no such layer.
    Layer {
        /// Asked for, the first one being 0.
        layer: u32,
        /// How many there are.
        layers: u32,
    },
    /// There is no such row.
    Row {
        /// Sequence, query and query head asked for.
        row: [usize; 3],
        /// How many there are of each.
        limits: [usize; 3],
    },
    /// There is no such part of the work.
    Part {
        /// Index asked for.
        index: usize,
        /// Number of parts.
        parts: usize,
    },
}

impl core::error::Error for Error {}
