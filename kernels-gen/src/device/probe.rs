//! The machine code of a plan: what a program that appends a token and decodes links, measured where the target can be compiled for.

use super::{Budget, Refusal};
use crate::build::{BuildError, Emitted};
use crate::compile::{self, CompileError, Cross};
use crate::spec::Spec;
use crate::text::Text;

/// What the program's memory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    /// Entries, constants, all else.
    pub parts: Vec<(String, usize)>,
}

impl Flash {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    fn new(text: &Text, entries: &[String]) -> Flash {
        let of =
            |name: &String| text.functions.get(name).map(|bytes| (name.clone(), *bytes as usize));
        let mut parts: Vec<_> = entries.iter().filter_map(of).collect();
        let named: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        parts.push(("all else that runs".to_owned(), (text.total as usize).saturating_sub(named)));
        parts.push(("constants".to_owned(), text.constants as usize));
        Flash { parts }
    }
}

/// Compiles the probe of an emitted crate for a core; `None` where there is no std for it.
///
/// # Errors
/// What the compiler says; [`Refusal`] if it is more than there is.
pub fn measure(
    emitted: &Emitted,
    spec: &Spec,
    entries: &[String],
    budget: Budget,
) -> Result<Option<Flash>, BuildError> {
    let (core, name) = (budget.core, format!("{} for {}", spec.name, budget.core));
    let cross = Cross::find(core.triple(), core.cpu()).map_err(CompileError::Rustc)?;
    let Some(cross) = cross else { return Ok(None) };
    let manifest = emitted.directory.join("probe/Cargo.toml");
    let target = emitted.target().join("cross");
    let program = compile::for_another(&name, &manifest, &target, &cross)?.program()?;
    let flash = Flash::new(&Text::of_program(&program)?, entries);
    match budget.flash {
        Some(given) if flash.total() > given => {
            Err(Refusal::flash(spec, core, [flash.total(), given], &flash.parts).into())
        }
        _ => Ok(Some(flash)),
    }
}
