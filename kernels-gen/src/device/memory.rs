//! The lines of a plan: what each thing takes.

use super::Core;
use super::tiles::{DeviceTiles, LEVEL};
use crate::plan::{Op, Planned};
use crate::spec::{CacheFormat, Spec};
use flashlet::{Form, Heads};

/// Bytes of stack that a call takes with a tile of no keys: at most 4,796 on a Cortex-M4F, measured by painting it in a program that
/// appends and decodes, and 104 of the frame that an interrupt pushes.
const STACK: usize = 4_928;

/// What each key of a tile takes there: its score and its scale.
const STACK_OF_KEY: usize = 8;

/// What floats in software take beside it: 392 on a Cortex-M0, measured.
const STACK_OF_FLOATS: usize = 400;

/// Heads of more channels have rows for the widest on the stack.
const NARROW: usize = 64;

/// One of those rows.
const WIDE_ROW: usize = Heads::MAX_DIM * size_of::<f32>();

/// A line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `keys`.
    pub name: &'static str,
    /// `i8, a ring of 128 tokens`.
    pub what: String,
    /// What it takes.
    pub bytes: usize,
}

/// What a plan takes of the memory that can be written: weights excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Line by line.
    pub parts: Vec<Part>,
    /// What the emitted crate's `Memory` has of it.
    pub of_crate: usize,
}

impl Memory {
    pub(super) fn new(
        spec: &Spec,
        (format, tokens): (CacheFormat, usize),
        tiles: &DeviceTiles,
        core: Core,
    ) -> Self {
        let mut parts = kept(spec, format, tokens);
        parts.extend(padding(spec, &parts));
        parts.push(scratch(spec, format, tokens, tiles));
        let of_crate = sum(&parts);
        parts.extend(step(spec));
        parts.extend(linear(spec));
        parts.push(Part {
            name: "stack",
            what: "a call, an interrupt's frame".to_owned(),
            bytes: stack(spec, tiles, core),
        });
        Memory { parts, of_crate }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> usize {
        sum(&self.parts)
    }

    /// The largest parts, so many.
    #[must_use]
    pub fn largest(&self, count: usize) -> Vec<&Part> {
        let mut parts: Vec<&Part> = self.parts.iter().collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        parts.truncate(count);
        parts
    }

    /// The bytes of the lines of a name.
    #[must_use]
    pub fn of(&self, name: &str) -> usize {
        self.parts.iter().filter(|part| part.name == name).map(|part| part.bytes).sum()
    }
}

fn sum(parts: &[Part]) -> usize {
    parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.bytes))
}

/// What a layer leaves free behind itself, so that floats stand where floats may.
fn padding(spec: &Spec, kept: &[Part]) -> Option<Part> {
    let (layers, kept) = (spec.cache.layers, sum(kept));
    let behind = (kept / layers).next_multiple_of(align_of::<f32>()) - kept / layers;
    let bytes = layers.saturating_mul(behind);
    (bytes > 0).then(|| Part { name: "padding", what: "behind a layer".to_owned(), bytes })
}

/// Whether a cache of so many tokens holds all that there will be.
pub(super) fn is_straight(spec: &Spec, tokens: usize) -> bool {
    tokens >= spec.max_kv
}

fn kept(spec: &Spec, format: CacheFormat, tokens: usize) -> Vec<Part> {
    let Heads { kv, dim, v_dim, .. } = spec.heads;
    let rows = tokens.saturating_mul(kv).saturating_mul(spec.cache.layers);
    let room = match (is_straight(spec, tokens), spec.mask.sinks) {
        (true, _) => format!("room for {tokens} tokens"),
        (false, 0) => format!("a ring of {tokens} tokens"),
        (false, sinks) => format!("{sinks} tokens and a ring of {}", tokens - sinks),
    };
    let layers = match spec.cache.layers {
        1 => String::new(),
        layers => format!(" in each of {layers} layers"),
    };
    let mut parts = Vec::new();
    for (name, scales, dim) in [("keys", "key scales", dim), ("values", "value scales", v_dim)] {
        let what = format!("{format}, {room}{layers}");
        parts.push(Part { name, what, bytes: format.bytes(rows, dim) });
        if format.has_scales() {
            let what = "f32, one a token and head".to_owned();
            parts.push(Part { name: scales, what, bytes: rows.saturating_mul(size_of::<f32>()) });
        }
    }
    parts
}

fn scratch(spec: &Spec, format: CacheFormat, tokens: usize, tiles: &DeviceTiles) -> Part {
    let [prefill, decode] = tiles.scratch_len(spec, reads_in_place(spec, format, tokens));
    let named = |op, tiling| {
        let (Heads { dim, v_dim, .. }, tile_k) = (spec.heads, tiles.tile_k);
        Planned { op, level: LEVEL, dim, v_dim, tile_k, tiling, models: &spec.model }.name()
    };
    let mut what = named(Op::Decode, tiles.decode);
    if let Some(tiling) = tiles.prefill {
        what = format!("{}, {what}", named(Op::Attend, tiling));
    }
    Part { name: "scratch", what, bytes: prefill.max(decode).saturating_mul(size_of::<f32>()) }
}

/// Whether keys and values are read where they lie.
pub(super) fn reads_in_place(spec: &Spec, format: CacheFormat, tokens: usize) -> bool {
    format == CacheFormat::F32 && is_straight(spec, tokens)
}

/// What a call is given and gives, in f32.
fn step(spec: &Spec) -> [Part; 2] {
    let Heads { q, kv, dim, v_dim } = spec.heads;
    let of = |name, heads: usize| {
        let floats = heads.saturating_mul(dim + v_dim).saturating_mul(spec.max_q);
        let what = match spec.max_q {
            1 => "f32, of one token".to_owned(),
            queries => format!("f32, of {queries} tokens"),
        };
        Part { name, what, bytes: floats.saturating_mul(size_of::<f32>()) }
    };
    [of("queries, outputs", q), of("new keys, values", kv)]
}

/// The states of other layers, and the scratch of their entries.
fn linear(spec: &Spec) -> Vec<Part> {
    let Some(linear) = &spec.linear else { return Vec::new() };
    let lens = linear.forms.iter().map(|form| (linear.scratch_len(*form), *form));
    let (scratch, form) = lens.max_by_key(|(len, _)| *len).unwrap_or((0, Form::Recurrent));
    let form = if form == Form::Recurrent { "step" } else { "chunk" };
    let bytes = |floats: usize| floats.saturating_mul(size_of::<f32>());
    vec![
        Part {
            name: "linear state",
            what: format!("f32, {} of one layer", linear.family),
            bytes: bytes(linear.state_len),
        },
        Part {
            name: "linear scratch",
            what: format!("{form} of {}", linear.family),
            bytes: bytes(scratch),
        },
    ]
}

fn stack(spec: &Spec, tiles: &DeviceTiles, core: Core) -> usize {
    let is_wide = spec.heads.dim.max(spec.heads.v_dim) > NARROW;
    let rows = if is_wide { WIDE_ROW } else { 0 };
    let of_floats = if core == Core::CortexM0 { STACK_OF_FLOATS } else { 0 };
    STACK + STACK_OF_KEY * tiles.tile_k + rows + of_floats
}
