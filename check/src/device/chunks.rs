//! Attention of a whole text, some queries at a time: any number of them gives the same bits.

use super::entries::{ATTEND_32, ATTEND_64};
use super::{Device, Judge, Meter};
use crate::case::{DENSE_D32_N64, DENSE_D64_N128, ENCODER, PROMPT};
use crate::{Case, Outcome};
use flashlet::entry::Entry;
use flashlet::{Attention, Error, Heads, Inputs, Mask, Offset, Outputs, Shape, View, ViewMut};

/// A case in chunks of queries: their outputs, and scratch.
#[derive(Debug)]
pub struct Chunks<const O: usize, const SCRATCH: usize> {
    o: [f32; O],
    scratch: [f32; SCRATCH],
}

impl<const O: usize, const SCRATCH: usize> Chunks<O, SCRATCH> {
    fn all(
        &mut self,
        (case, entry): (&Case, Entry),
        meter: &mut impl Meter,
    ) -> Result<Outcome, Error> {
        let Heads { q, v_dim, .. } = case.shape.heads;
        let chunk = O / (q * v_dim);
        let limits = case.limits(entry.level().is_fused());
        let mut judge = Judge::default();
        for first in (0..case.shape.q_len).step_by(chunk) {
            self.o.fill(f32::NAN);
            meter.measure(|| self.chunk(case, entry, first))?;
            judge.see(&self.o, first * q * v_dim, case.exact.o, limits.o);
        }
        Ok(judge.outcome())
    }

    /// Queries from `first` on, as many as there is room for, and what they see.
    #[inline(never)]
    fn chunk(&mut self, case: &Case, entry: Entry, first: usize) -> Result<(), Error> {
        let Heads { q, kv, dim, v_dim } = case.shape.heads;
        let q_len = O / (q * v_dim);
        let (mask, kv_len) = if case.mask == Mask::full() {
            (case.mask, case.shape.kv_len)
        } else {
            (Mask::causal(Offset::BOTTOM_RIGHT), first + q_len)
        };
        let shape = Shape { q_len, kv_len, ..case.shape };
        let some = |all: &'static [f32], first: usize, len: usize| {
            all.get(first..first + len).unwrap_or(&[])
        };
        let inputs = Inputs::new(
            View::packed(some(case.q, first * q * dim, q_len * q * dim), shape.q())?,
            View::packed(some(case.k, 0, kv_len * kv * dim), shape.k())?,
            View::packed(some(case.v, 0, kv_len * kv * v_dim), shape.v())?,
        );
        let outputs = Outputs::new(ViewMut::packed(&mut self.o, shape.o())?);
        let attention = Attention::with_entry(shape, mask, entry)?;
        attention.bind(inputs, outputs, &mut self.scratch)?.run();
        Ok(())
    }
}

macro_rules! devices {
    ($($(#[$doc:meta])* $device:ident: $name:literal, $case:ident, $entry:ident, [$tokens:literal, $heads:literal, $dim:literal];)*) => {$(
        $(#[$doc])*
        pub type $device = Chunks<
            { $tokens * $heads * $dim },
            { $entry.scratch_len_in_place(Heads::new($heads, 1, $dim)) },
        >;

        impl Device for $device {
            const NAME: &'static str = $name;

            const NEW: Self = Chunks { o: [0.0; $tokens * $heads * $dim], scratch: [0.0; $entry.scratch_len_in_place(Heads::new($heads, 1, $dim))] };

            fn run(&mut self, meter: &mut impl Meter) -> Result<Outcome, Error> {
                self.all((&$case, $entry), meter)
            }
        }
    )*};
}

devices! {
    /// 32 tokens of SmolLM2, one group of heads: three queries of 64 channels on one key.
    Prompt: "prompt", PROMPT, ATTEND_64, [8, 3, 64];
    /// 32 tokens of MiniLM, two heads of 32 channels, all see all.
    Encoder: "encoder", ENCODER, ATTEND_32, [8, 2, 32];
    /// 64 queries by 64 keys of 32 channels.
    Dense32: "dense-d32-n64", DENSE_D32_N64, ATTEND_32, [64, 1, 32];
    /// 128 queries by 128 keys of 64 channels.
    Dense64: "dense-d64-n128", DENSE_D64_N128, ATTEND_64, [128, 1, 64];
}
