//! What does not fit: how much there is, how much it takes, what would fit.

use super::{Budget, Core, Nearest, Plan};
use crate::render::thousands;
use crate::spec::Spec;

/// Parts that an error names.
const PARTS: usize = 4;

/// Why a preset is not built for a device.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error(transparent)]
#[diagnostic(transparent)]
pub struct Refusal(Box<Facts>);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error(
    "{name} needs at least {} bytes of {memory} on {core}, of {} given",
    thousands(*needed as u64),
    thousands(*given as u64)
)]
struct Facts {
    name: String,
    core: Core,
    memory: &'static str,
    needed: usize,
    given: usize,
    nearest: Vec<Nearest>,
    #[help]
    help: String,
}

impl Refusal {
    /// Bytes that there must be at least.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.0.needed
    }

    /// What would fit: with as many queries at once, then with one.
    #[must_use]
    pub fn nearest(&self) -> &[Nearest] {
        &self.0.nearest
    }

    pub(super) fn sram(spec: &Spec, budget: Budget, least: &Plan, nearest: Vec<Nearest>) -> Self {
        let parts = least.memory.largest(PARTS).into_iter().map(|part| (part.name, part.bytes));
        let mut help = format!("with a cache in {}: {}", least.format, listed(parts));
        if nearest.is_empty() {
            help += "\na single token does not fit either";
        }
        for (i, near) in nearest.iter().enumerate() {
            let bytes = thousands(near.bytes as u64);
            let what = if i == 0 { "the nearest that fits" } else { "or a token at a time" };
            help += &format!("\n{what}, {bytes} bytes:\n\n{near}");
        }
        let help = help.trim_end().to_owned();
        Refusal(Box::new(Facts {
            name: spec.name.clone(),
            core: budget.core,
            memory: "SRAM",
            needed: least.memory.total(),
            given: budget.sram,
            nearest,
            help,
        }))
    }

    /// Of the program's memory: `parts` are what it holds.
    pub(super) fn flash(
        spec: &Spec,
        core: Core,
        [needed, given]: [usize; 2],
        parts: &[(String, usize)],
    ) -> Self {
        let mut parts: Vec<_> = parts.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let mut help = listed(parts.into_iter().take(PARTS));
        help += "\nmeasured with `opt-level = 3`; with `\"s\"` it was a third less for presets/tiny-window.toml";
        if spec.rope.as_ref().is_some_and(|rope| rope.table.is_some()) {
            help += "\nwithout `table` in [rope] its angles are computed and take no flash";
        }
        let (name, nearest) = (spec.name.clone(), Vec::new());
        Refusal(Box::new(Facts { name, core, memory: "flash", needed, given, nearest, help }))
    }
}

fn listed<'a>(parts: impl Iterator<Item = (&'a str, usize)>) -> String {
    let part = |(name, bytes)| format!("{name} {}", thousands(bytes as u64));
    parts.map(part).collect::<Vec<_>>().join("; ")
}
