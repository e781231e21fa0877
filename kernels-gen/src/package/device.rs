//! A device: its part of the view.

use super::braces;
use crate::device::{Part, Plan};
use crate::render::thousands;
use crate::spec::{CacheFormat, Spec};
use serde::Serialize;

/// A plan as the crate has it.
#[derive(Serialize)]
pub(super) struct DeviceView {
    core: String,
    sram: String,
    sram_bytes: usize,
    parts: Vec<PartView>,
    total: String,
    total_bytes: usize,
    memory_bytes: usize,
    stack: usize,
    layers: usize,
    tokens: usize,
    is_ring: bool,
    sinks: usize,
    /// Whether layers differ in having rotary positions.
    by_layer: bool,
    /// Whether calls may have more than one query.
    prefill: bool,
    max_q: String,
    /// How keys and values are kept, and a zero of that.
    stored: &'static str,
    zero: &'static str,
    has_scales: bool,
    /// What is named of the crate `half`, if anything.
    half: Option<&'static str>,
    has_half: bool,
    /// The method that says what scratch an entry wants.
    scratch_len: &'static str,
    imports: String,
    /// Tokens of the example.
    example: usize,
}

#[derive(Serialize)]
struct PartView {
    name: &'static str,
    what: String,
    bytes: String,
}

impl DeviceView {
    pub(super) fn new(spec: &Spec, plan: &Plan) -> Self {
        let of = |part: &Part| PartView {
            name: part.name,
            what: part.what.clone(),
            bytes: thousands(part.bytes as u64),
        };
        let (zero, half) = zero(plan.format);
        let prefill = plan.tiles.prefill.is_some();
        DeviceView {
            core: plan.core.to_string(),
            sram: thousands(plan.sram as u64),
            sram_bytes: plan.sram,
            parts: plan.memory.parts.iter().map(of).collect(),
            total: thousands(plan.memory.total() as u64),
            total_bytes: plan.memory.total(),
            memory_bytes: plan.memory.of_crate,
            stack: plan.memory.of("stack"),
            layers: spec.cache.layers,
            tokens: plan.tokens,
            is_ring: plan.is_ring,
            sinks: spec.mask.sinks,
            by_layer: spec.rope.as_ref().is_some_and(|rope| rope.no_rope_every.is_some()),
            prefill,
            max_q: if prefill { "MAX_Q".to_owned() } else { "1".to_owned() },
            stored: plan.format.type_name(),
            zero,
            has_scales: plan.format.has_scales(),
            half,
            has_half: half.is_some(),
            scratch_len: if plan.reads_in_place { "scratch_len_in_place" } else { "scratch_len" },
            imports: imports(spec, plan.format),
            example: spec.max_kv.min(3),
        }
    }
}

/// A zero of a format, and what its expression names of the crate `half`.
fn zero(format: CacheFormat) -> (&'static str, Option<&'static str>) {
    match format {
        CacheFormat::F32 => ("0.0", None),
        CacheFormat::F16 => ("f16::ZERO", Some("f16")),
        CacheFormat::Bf16 => ("bf16::ZERO", Some("bf16")),
        CacheFormat::E4m3 => ("E4m3::from_bits(0)", None),
        CacheFormat::E5m2 => ("E5m2::from_bits(0)", None),
        CacheFormat::I8 => ("0", None),
        CacheFormat::Q8_0 => ("Q8_0 { scale: f16::ZERO, codes: [0; BLOCK] }", Some("f16")),
        CacheFormat::Q4_0 => ("Q4_0 { scale: f16::ZERO, codes: [0; BLOCK / 2] }", Some("f16")),
    }
}

/// What the crate's memory takes from flashlet.
fn imports(spec: &Spec, format: CacheFormat) -> String {
    let mut names = vec!["CacheShape", "Inputs", "KvCache", "Outputs", "Shape", "View", "ViewMut"];
    names.extend(format.has_scales().then_some("Scales"));
    names.extend(match format {
        CacheFormat::Q8_0 | CacheFormat::Q4_0 => vec!["BLOCK", format.type_name()],
        CacheFormat::E4m3 | CacheFormat::E5m2 => vec![format.type_name()],
        _ => vec![],
    });
    names.extend(spec.mask.is_positional().then_some("Offset"));
    names.extend(spec.rope.iter().flat_map(|_| ["Level", "TurnedKeys"]));
    braces(names)
}
