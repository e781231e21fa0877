//! What errors say.

use super::Error;
use core::fmt;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::ZeroHeads { q_heads, kv_heads } => {
                write!(
                    f,
                    "{q_heads} query heads on {kv_heads} key/value heads: both must be at least 1"
                )
            }
            Error::HeadGroups { q_heads, kv_heads } => {
                write!(f, "{q_heads} query heads are no multiple of {kv_heads} key/value heads")
            }
            Error::HeadDim { head_dim, max } => {
                write!(f, "head_dim {head_dim} is outside 1..={max}")
            }
            Error::ValueDim { v_dim, max } => write!(f, "v_dim {v_dim} is outside 1..={max}"),
            Error::EntryDims { expected, given } => {
                write!(
                    f,
                    "the entry is for heads of {expected:?} channels (key, value), not {given:?}"
                )
            }
            Error::PlainEntry => f.write_str(
                "the entry is a plain one: it takes no modifier, no bias and nothing relative",
            ),
            Error::Offset => f.write_str(
                "a window needs the queries' positions: Mask::window(offset, window), not Mask::full()",
            ),
            Error::Overflow { dims } => {
                write!(f, "a tensor of {dims:?} with its strides does not fit the address space")
            }
            Error::TooShort { needed, given } => {
                write!(f, "shape and strides reach {needed} elements, the slice has {given}")
            }
            Error::Overlap { stride, extent } => {
                write!(
                    f,
                    "output rows overlap: a stride of {stride} is less than the {extent} elements to step over"
                )
            }
            Error::Shape { tensor, expected, given } => {
                write!(
                    f,
                    "{tensor} is {given:?}, the plan says {expected:?} (batch, len, heads, dim)"
                )
            }
            Error::Length { tensor, needed, given } => {
                write!(f, "{tensor} has {given} elements instead of {needed}")
            }
            Error::KvLens { batch, given } => {
                write!(f, "{given} visible lengths for a batch of {batch}")
            }
            Error::KvLen { sequence, visible, kv_len } => {
                write!(f, "sequence {sequence} claims {visible} visible keys of {kv_len}")
            }
            Error::KeyRange { start, end, kv_len } => {
                write!(f, "keys {start}..{end} are no range within 0..{kv_len}")
            }
            Error::Scratch { needed, given } => {
                write!(f, "scratch has {given} elements, {needed} are needed")
            }
            Error::Level { level } => write!(f, "this processor lacks the level {level}"),
            Error::Order { list, index, before, value } => {
                write!(f, "{list} does not ascend: {value} at {index} after {before}")
            }
            Error::Entry { list, index, value, limit } => {
                write!(f, "{list} has {value} at {index}, which is not below {limit}")
            }
            Error::ListLength { list, needed, given } => {
                write!(f, "{list} has {given} elements instead of {needed}")
            }
            Error::ZeroBlock { list } => write!(f, "{list} of 0 tokens: at least 1 is needed"),
            Error::Cap { cap_bits } => {
                let cap = f64::from_bits(cap_bits);
                write!(f, "a cap of {cap} is not above 0 and within the range of f32")
            }
            Error::Temperature { step, scale_bits } => {
                let scale = f64::from_bits(scale_bits);
                write!(f, "a temperature of scale {scale} for every {step} positions: finite, and at least 1")
            }
            Error::NotFinite { tensor, at } => {
                write!(f, "{tensor} are not finite at {at:?} (batch, distance or token, head, channel)")
            }
            Error::Theta { knob, bits } => {
                write!(f, "{knob} = {} is out of range", f64::from_bits(bits))
            }
            Error::RotDim { pairs, max } => {
                write!(f, "{pairs} pairs of channels are outside 1..={max}")
            }
            Error::OddPairs { pairs } => write!(f, "{pairs} pairs of channels have no two halves"),
            Error::Rotary { first, rot_dim, head_dim } => {
                write!(f, "{rot_dim} channels from channel {first} on do not fit a head of {head_dim}")
            }
            Error::Tokens { expected, given } => write!(
                f,
                "a tensor has {given:?} tokens, the first one {expected:?} (batch, len)"
            ),
            Error::Position { position, start, end } => {
                write!(f, "there is no position {position}: they are {start}..{end}")
            }
            Error::Axes { axes } => {
                write!(f, "a table of angles has one axis of positions, not {axes}")
            }
            Error::LinearHeads { q, k, v } => {
                write!(f, "{q} query, {k} key and {v} value heads: each at least 1, and every number a multiple of the smaller ones")
            }
            Error::Missing { tensor } => write!(f, "{tensor}: needed, and not given"),
            Error::Unwanted { tensor } => write!(f, "{tensor}: given, and of no use here"),
            Error::EntryFamily { expected, given } => {
                write!(f, "the entry is for {expected:?}, not {given:?}")
            }
            Error::Normalised { rule } => {
                write!(f, "normalised attention needs Rule::Add, not Rule::{rule:?}")
            }
            Error::Epsilon { bits } => {
                write!(f, "an epsilon of {} is negative or not finite", f32::from_bits(bits))
            }
            Error::Rollback { back, held } => {
                write!(f, "cannot go back by {back}: {held} are held")
            }
            Error::Rounded { token, oldest } => {
                write!(f, "tokens from {token} on are needed as they were before they were rounded: only those from {oldest} on are there")
            }
            Error::Channels { dim, block } => {
                write!(f, "rows of {dim} channels are no whole blocks of {block}")
            }
            Error::Capacity { needed, given } => {
                write!(f, "{needed} tokens or blocks are needed, there is room for {given}")
            }
            Error::Evicted { start, end } => {
                write!(f, "the mask lets queries see tokens {start}..{end}, which the cache keeps no more")
            }
            Error::BlockTwice { block } => write!(f, "block {block} is there twice"),
            Error::Gates { knob, bits } => {
                write!(f, "{knob} = {} is out of range", f32::from_bits(bits))
            }
            Error::Factor { scale_bits } => {
                let scale = f32::from_bits(scale_bits);
                write!(f, "a scale of {scale:e}, times log2(e), is not within 2^-40 .. 2^8")
            }
            Error::Logits { head_dim, scale_bits } => {
                let scale = f32::from_bits(scale_bits);
                write!(f, "codes of {head_dim} channels, scaled by {scale:e}, may have logits beyond 2^30")
            }
            Error::Layer { layer, layers } => write!(f, "there is no layer {layer} of {layers}"),
            Error::Row { row, limits } => {
                write!(f, "there is no row {row:?} of {limits:?} (sequence, query, head)")
            }
            Error::Part { index, parts } => write!(f, "there is no part {index} of {parts}"),
        }
    }
}
