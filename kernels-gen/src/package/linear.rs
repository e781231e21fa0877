//! Linear attention: its part of the view, and the file of a level.

use crate::plan::linear_name;
use crate::render::{LinearView, backend, thousands};
use crate::spec::{Spec, SpecLinear};
use flashlet::{Form, Gate, Level, LinearHeads, Rule};
use serde::Serialize;

/// The names of the entries for linear attention, of each level.
#[must_use]
pub fn linear_names(spec: &Spec) -> Vec<String> {
    let of = |linear: &SpecLinear, level| {
        let line = linear.line(&spec.model);
        linear.forms.iter().map(|form| linear_name(&line, *form, level)).collect::<Vec<_>>()
    };
    let levels = spec.linear.iter().flat_map(|linear| spec.levels.iter().map(move |l| (linear, l)));
    levels.flat_map(|(linear, level)| of(linear, *level)).collect()
}

/// Linear attention as the crate holds it.
#[derive(Serialize)]
pub(super) struct LinearAttentionView {
    words: String,
    /// `GATED_DELTA_NET`: the constant of `Family`.
    family: &'static str,
    q: usize,
    k: usize,
    v: usize,
    dim: usize,
    v_dim: usize,
    /// `Grouped`: the variant of `HeadMap`.
    map: String,
    /// The factor of the queries if it is not the default, and what lengths are taken with.
    scale: Option<String>,
    l2_eps: Option<String>,
    /// What there is.
    step: bool,
    chunk: bool,
    state_bytes: String,
    step_bytes: String,
    chunk_bytes: String,
    /// What the family reads beside queries, keys and values: calls for the example of the documentation, whose outputs are all
    /// about the same.
    inputs: Vec<&'static str>,
    expected: String,
    tolerance: String,
}

impl LinearAttentionView {
    pub(super) fn new(linear: &SpecLinear) -> Self {
        let LinearHeads { q, k, v, dim, v_dim, map } = linear.heads;
        let bytes = |floats: usize| thousands((floats * size_of::<f32>()) as u64);
        let expected = linear.scale() / (1.0 + f64::from(linear.l2_eps.unwrap_or(0.0)));
        LinearAttentionView {
            words: linear.to_string(),
            family: linear.family.constant(),
            q,
            k,
            v,
            dim,
            v_dim,
            map: format!("{map:?}"),
            scale: linear.scale.map(|scale| format!("{scale:?}")),
            l2_eps: linear.l2_eps.map(|eps| format!("{eps:?}")),
            step: linear.forms.contains(&Form::Recurrent),
            chunk: linear.forms.contains(&Form::Chunked),
            state_bytes: bytes(linear.state_len),
            step_bytes: bytes(linear.scratch_len(Form::Recurrent)),
            chunk_bytes: bytes(linear.scratch_len(Form::Chunked)),
            inputs: extra_inputs(linear),
            expected: format!("{:?}", expected as f32),
            tolerance: format!("{:?}", (1e-5 * expected.abs()) as f32),
        }
    }
}

/// Gates that keep all, and what makes a token be learnt as it is.
fn extra_inputs(linear: &SpecLinear) -> Vec<&'static str> {
    let flashlet::Family { gate, rule } = linear.family.family();
    let gate = match gate {
        Gate::Never => None,
        Gate::Head => Some(".decay(zero)"),
        Gate::Token => Some(".gates(View::packed(zero, shape.gates(FAMILY))?)"),
        Gate::Channel => Some(".gates(View::packed(&zeros, shape.gates(FAMILY))?)"),
    };
    let rule = match rule {
        Rule::Add => None,
        Rule::Bonus => Some(".bonus(&ones)"),
        Rule::Delta => Some(".beta(View::packed(one, shape.per_state(1))?)"),
        Rule::LowRank => Some(
            ".low_rank(View::packed(&zeros, shape.per_state(HEADS.dim))?, View::packed(&zeros, shape.per_state(HEADS.dim))?)",
        ),
    };
    gate.into_iter().chain(rule).collect()
}

/// A level's own file for linear attention.
#[derive(Serialize)]
pub(super) struct LinearFile {
    header: String,
    level: &'static str,
    backend: &'static str,
    token: &'static str,
    features: Option<&'static str>,
    entry: LinearView,
    /// `Recurrent`, `Chunked`: variants of `Form`.
    forms: Vec<String>,
    step: bool,
    chunk: bool,
}

impl LinearFile {
    pub(super) fn new(spec: &Spec, linear: &SpecLinear, header: String, level: Level) -> Self {
        let (backend, token, features) = backend(level);
        LinearFile {
            header,
            level: level.name(),
            backend,
            token,
            features,
            entry: LinearView::new(&linear.line(&spec.model), level),
            forms: linear.forms.iter().map(|form| format!("{form:?}")).collect(),
            step: linear.forms.contains(&Form::Recurrent),
            chunk: linear.forms.contains(&Form::Chunked),
        }
    }
}
