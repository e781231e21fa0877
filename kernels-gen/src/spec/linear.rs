//! Linear attention of a model: checked, and how a crate calls it.

use super::SpecError;
use super::check::{Text, scale, widths};
use super::raw::RawLinear;
use crate::manifest::LinearLine;
use flashlet::{CHUNK, Family, Form, HeadMap, LinearHeads, LinearShape, Memory};
use serde::Deserialize;
use std::fmt;
use toml::Spanned;

/// Linear attention.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecLinear {
    /// As models call it.
    pub family: SpecFamily,
    /// Heads and widths.
    pub heads: LinearHeads,
    /// The factor of the queries, if it is not `1 / sqrt(head_dim)`.
    pub scale: Option<f64>,
    /// What is added to the squares of queries and keys, if those are divided by their length.
    pub l2_eps: Option<f32>,
    /// What is emitted.
    pub forms: Vec<Form>,
    /// Floats of the states.
    pub state_len: usize,
    /// Floats of scratch for a step, and for chunks.
    scratch: [usize; 2],
}

/// The name of a family: some are the same to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a constant of flashlet::Family")]
pub enum SpecFamily {
    Linear,
    Retnet,
    Lightning,
    SimpleGla,
    Mamba2,
    Gla,
    Hgrn2,
    Rwkv6,
    Rwkv7,
    Delta,
    GatedDelta,
    Kda,
}

impl SpecFamily {
    /// All of them.
    pub const ALL: [SpecFamily; 12] = [
        SpecFamily::Linear,
        SpecFamily::Retnet,
        SpecFamily::Lightning,
        SpecFamily::SimpleGla,
        SpecFamily::Mamba2,
        SpecFamily::Gla,
        SpecFamily::Hgrn2,
        SpecFamily::Rwkv6,
        SpecFamily::Rwkv7,
        SpecFamily::Delta,
        SpecFamily::GatedDelta,
        SpecFamily::Kda,
    ];

    /// The first that is a gate and a rule.
    #[must_use]
    pub fn of(family: Family) -> Option<SpecFamily> {
        SpecFamily::ALL.into_iter().find(|known| known.family() == family)
    }

    /// Its name in a preset, the constant of `flashlet::Family`, and that constant.
    fn facts(self) -> (&'static str, &'static str, Family) {
        match self {
            SpecFamily::Linear => ("linear", "LINEAR", Family::LINEAR),
            SpecFamily::Retnet => ("retnet", "RETNET", Family::RETNET),
            SpecFamily::Lightning => ("lightning", "LIGHTNING", Family::LIGHTNING),
            SpecFamily::SimpleGla => ("simple-gla", "SIMPLE_GLA", Family::SIMPLE_GLA),
            SpecFamily::Mamba2 => ("mamba2", "MAMBA2", Family::MAMBA2),
            SpecFamily::Gla => ("gla", "GLA", Family::GLA),
            SpecFamily::Hgrn2 => ("hgrn2", "HGRN2", Family::HGRN2),
            SpecFamily::Rwkv6 => ("rwkv6", "RWKV6", Family::RWKV6),
            SpecFamily::Rwkv7 => ("rwkv7", "RWKV7", Family::RWKV7),
            SpecFamily::Delta => ("delta", "DELTA_NET", Family::DELTA_NET),
            SpecFamily::GatedDelta => ("gated-delta", "GATED_DELTA_NET", Family::GATED_DELTA_NET),
            SpecFamily::Kda => ("kda", "KDA", Family::KDA),
        }
    }

    /// The constant of [`Family`] that it is, by name.
    #[must_use]
    pub fn constant(self) -> &'static str {
        self.facts().1
    }

    /// Its gate and rule.
    #[must_use]
    pub fn family(self) -> Family {
        self.facts().2
    }
}

impl fmt::Display for SpecFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().0)
    }
}

impl SpecLinear {
    /// What its entries are made for.
    #[must_use]
    pub fn line<'a>(&self, models: &'a str) -> LinearLine<'a> {
        let LinearHeads { dim, v_dim, .. } = self.heads;
        LinearLine { family: self.family.family(), dim, v_dim, models }
    }

    /// Floats of scratch for a form.
    #[must_use]
    pub fn scratch_len(&self, form: Form) -> usize {
        let [step, chunk] = self.scratch;
        if form == Form::Recurrent { step } else { chunk }
    }

    /// The factor of the queries.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale.unwrap_or_else(|| 1.0 / (self.heads.dim as f64).sqrt())
    }
}

impl fmt::Display for SpecLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LinearHeads { q, k, v, dim, v_dim, map } = self.heads;
        let turns = if map == HeadMap::Modulo { " in turns" } else { "" };
        write!(f, "{}, {q} query, {k} key and {v} value heads{turns} of {dim}", self.family)?;
        if dim != v_dim {
            write!(f, "/{v_dim}")?;
        }
        f.write_str(" channels")
    }
}

/// A preset's linear attention.
pub(super) fn check(at: &Text<'_>, raw: &RawLinear) -> Result<SpecLinear, SpecError> {
    let (heads, family) = (heads(at, raw)?, raw.family.family());
    let (state_len, scratch) = room(heads, family).ok_or_else(|| {
        let most = [Some(&raw.q_heads), raw.k_heads.as_ref(), raw.v_heads.as_ref()];
        let most = most.into_iter().flatten().max_by_key(|count| *count.get_ref());
        let most = most.unwrap_or(&raw.q_heads);
        let message = format!("{} heads exceed any memory", most.get_ref());
        at.error(most.span(), message, "the bytes of their states and tokens must fit an address")
    })?;
    Ok(SpecLinear {
        family: raw.family,
        heads,
        scale: scale(at, raw.scale.as_ref())?,
        l2_eps: raw.l2_eps.as_ref().map(|eps| l2_eps(at, eps)).transpose()?,
        forms: forms(at, raw)?,
        state_len,
        scratch,
    })
}

fn heads(at: &Text<'_>, raw: &RawLinear) -> Result<LinearHeads, SpecError> {
    let q_heads = &raw.q_heads;
    let k_heads = raw.k_heads.as_ref().unwrap_or(q_heads);
    let v_heads = raw.v_heads.as_ref().unwrap_or(k_heads);
    for (name, count) in [("query", q_heads), ("key", k_heads), ("value", v_heads)] {
        if *count.get_ref() == 0 {
            let message = format!("no {name} heads");
            return Err(at.error(count.span(), message, "there must be at least one"));
        }
    }
    let [q, k, v] = [q_heads, k_heads, v_heads].map(|count| *count.get_ref());
    let states = k.max(v);
    if !states.is_multiple_of(k) || !states.is_multiple_of(v) {
        let message = format!("{v} value heads for {k} key heads");
        let help =
            "as many of one serve each of the other: the more must be a multiple of the fewer";
        return Err(at.error(v_heads.span(), message, help));
    }
    if !q.max(states).is_multiple_of(q) || !q.max(states).is_multiple_of(states) {
        let message = format!("{q} query heads for {states} states");
        let help = "there are as many states as key or value heads, whichever are more: \
                    query heads must be a multiple or a divisor of that";
        return Err(at.error(q_heads.span(), message, help));
    }
    let [dim, v_dim] = widths(at, &raw.head_dim, raw.v_dim.as_ref())?;
    Ok(LinearHeads { q, k, v, dim, v_dim, map: raw.head_map.map() })
}

/// Floats of the states, and of scratch for a step and for chunks; they fit an array each.
fn room(heads: LinearHeads, family: Family) -> Option<(usize, [usize; 2])> {
    let shape = LinearShape { batch: 1, len: CHUNK, heads };
    let state = Memory::len(&shape).ok()?;
    let [step, chunk] =
        [Form::Recurrent, Form::Chunked].map(|form| shape.scratch_len(family, form).ok());
    let (step, chunk) = (step?, chunk?);
    let bytes = state.max(step).max(chunk).checked_mul(size_of::<f32>())?;
    isize::try_from(bytes).is_ok().then_some((state, [step, chunk]))
}

fn l2_eps(at: &Text<'_>, raw: &Spanned<f64>) -> Result<f32, SpecError> {
    let eps = *raw.get_ref() as f32;
    if eps >= 0.0 && eps.is_finite() {
        return Ok(eps);
    }
    let help =
        "a number from 0 on that is finite in f32; leave it out for queries and keys as they are";
    Err(at.error(raw.span(), format!("an epsilon of {}", raw.get_ref()), help))
}

/// Steps before chunks.
fn forms(at: &Text<'_>, raw: &RawLinear) -> Result<Vec<Form>, SpecError> {
    let both = [Form::Recurrent, Form::Chunked];
    let Some(raw) = &raw.forms else { return Ok(both.to_vec()) };
    let mut named = Vec::new();
    for form in raw.get_ref() {
        if named.contains(&form.get_ref().form()) {
            let message = "a form named twice".to_owned();
            return Err(at.error(form.span(), message, "name each form once"));
        }
        named.push(form.get_ref().form());
    }
    if named.is_empty() {
        let help = "`\"step\"`, `\"chunk\"` or both; both are the default";
        return Err(at.error(raw.span(), "no form".to_owned(), help));
    }
    Ok(both.into_iter().filter(|form| named.contains(form)).collect())
}
