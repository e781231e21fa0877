//! Scratch: how much of it, and how it is cut.

use super::chunk::{CHUNK, padded};
use super::family::Family;
use super::panel::BLOCK;
use super::plan::Form;
use super::shape::{LinearHeads, LinearShape};
use crate::error::Error;

/// How a scratch is cut: floats of each part. Sums of a few products of widths, which [`LinearShape::check`] limits, by
/// heads that read one state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Tokens at once.
    pub(crate) tokens: usize,
    /// From one row of queries and keys to the next, and of values.
    pub(crate) deep: usize,
    pub(crate) width: usize,
    pub(crate) asks: usize,
    pub(crate) keys: usize,
    pub(crate) decay: usize,
    pub(crate) values: usize,
    pub(crate) out: usize,
    pub(crate) panels: usize,
    pub(crate) scores: usize,
    pub(crate) tail: usize,
    pub(crate) left: usize,
    /// One a query head and token.
    pub(crate) own: usize,
    pub(crate) divisors: usize,
}

/// Floats between two lines of a cache: where parts of a scratch begin.
pub(crate) const LINE: usize = 16;

impl LinearShape {
    /// Floats of scratch for a family in a form, for arrays: what [`LinearAttention::scratch_len`](crate::LinearAttention::scratch_len)
    /// says of a plan. Neither the batch nor the number of tokens matters.
    ///
    /// # Errors
    /// As [`LinearAttention::new`](crate::LinearAttention::new).
    pub const fn scratch_len(&self, family: Family, form: Form) -> Result<usize, Error> {
        match self.check() {
            Ok(()) => Ok(Room::new(&self.heads, family, form).floats()),
            Err(error) => Err(error),
        }
    }
}

impl Room {
    pub(crate) const fn new(heads: &LinearHeads, family: Family, form: Form) -> Room {
        let (dim, readers, writes) = (heads.dim, heads.readers(), family.rule.writes());
        let looks = family.rule.looks() as usize;
        let is_whole = heads.v_dim.is_multiple_of(BLOCK);
        let [deep, width] = padded([dim, heads.v_dim]);
        let chunked = matches!(form, Form::Chunked) as usize;
        let tokens = if chunked == 1 { CHUNK } else { 1 };
        let scores = chunked * CHUNK * writes * CHUNK;
        Room {
            tokens,
            width,
            deep,
            asks: readers.saturating_add(looks).saturating_mul(tokens * deep),
            keys: writes * tokens * deep,
            decay: tokens * deep,
            values: writes * tokens * width,
            out: readers.saturating_mul(tokens * width),
            panels: chunked * writes * tokens * deep,
            scores: readers.saturating_add(looks).saturating_mul(scores),
            tail: if is_whole { 0 } else { dim * BLOCK },
            left: chunked * deep,
            own: readers.saturating_mul(tokens),
            divisors: readers.saturating_mul(tokens),
        }
    }

    /// Floats for a state that does not lie as kernels want it.
    pub(crate) const fn staging(heads: &LinearHeads) -> usize {
        heads.dim * padded([heads.dim, heads.v_dim])[1] + LINE
    }

    /// All of it, and what is lost where parts begin at lines.
    pub(crate) const fn floats(&self) -> usize {
        let parts = [
            self.asks,
            self.keys,
            self.decay,
            self.values,
            self.out,
            self.panels,
            self.scores,
            self.tail,
            self.left,
            self.tokens,
            self.own,
            self.divisors,
        ];
        let (mut all, mut i) = (LINE, 0);
        while i < parts.len() {
            all = usize::saturating_add(all, parts[i].saturating_add(LINE));
            i += 1;
        }
        all
    }
}

/// The parts of a scratch.
pub(super) struct Cuts<'s> {
    pub(super) asks: &'s mut [f32],
    pub(super) keys: &'s mut [f32],
    pub(super) decay: &'s mut [f32],
    pub(super) values: &'s mut [f32],
    pub(super) out: &'s mut [f32],
    pub(super) panels: &'s mut [f32],
    pub(super) scores: &'s mut [f32],
    pub(super) tail: &'s mut [f32],
    pub(super) left: &'s mut [f32],
    pub(super) state: &'s mut [f32],
    /// One a token; `[query heads, tokens]`.
    pub(super) beta: &'s mut [f32],
    pub(super) own: &'s mut [f32],
    pub(super) divisors: &'s mut [f32],
}

impl<'s> Cuts<'s> {
    #[inline(never)]
    pub(super) fn new(scratch: &'s mut [f32], room: &Room, staging: usize) -> Option<Self> {
        let mut rest = scratch;
        let mut cut = |len: usize| cut_off(&mut rest, len);
        Some(Cuts {
            asks: cut(room.asks)?,
            keys: cut(room.keys)?,
            decay: cut(room.decay)?,
            values: cut(room.values)?,
            out: cut(room.out)?,
            panels: cut(room.panels)?,
            scores: cut(room.scores)?,
            tail: cut(room.tail)?,
            left: cut(room.left)?,
            beta: cut(room.tokens)?,
            own: cut(room.own)?,
            divisors: cut(room.divisors)?,
            state: cut_off(&mut rest, staging).unwrap_or(&mut []),
        })
    }
}

/// The next part of a scratch, from a line of the caches on: a vector that lies across two takes twice as long.
#[inline(never)]
fn cut_off<'s>(rest: &mut &'s mut [f32], len: usize) -> Option<&'s mut [f32]> {
    let skip = rest.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let (_, behind) = core::mem::take(rest).split_at_mut_checked(skip)?;
    let (part, behind) = behind.split_at_mut_checked(len)?;
    *rest = behind;
    Some(part)
}
