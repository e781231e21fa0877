//! A model on a device: what of its memory goes where, planned until it fits, or refused.
//!
//! ```text
//! target   cores by name: the triple that rustc has for each, and its processor
//! size     128K as bytes
//! tiles    the tiles that a cache of a format may be read with, the fastest first
//! memory   the lines of a plan: what each thing takes
//! planner  the most accurate format that fits, and the fastest tiles for it
//! nearest  what fits in place of what does not, as lines of TOML
//! refusal  that, as an error
//! probe    the program whose machine code is measured, and how it is compiled
//! report   tables for people
//! ```
//! Up to `refusal` nothing here reads or writes a file.

mod memory;
mod nearest;
mod planner;
mod probe;
mod refusal;
mod report;
mod size;
mod target;
mod tiles;

pub use memory::{Memory, Part};
pub use nearest::Nearest;
pub use planner::{Plan, least, plan};
pub use probe::{Flash, measure};
pub use refusal::Refusal;
pub use report::{flash_table, sram_table};
pub use size::bytes;
pub use target::Core;
pub use tiles::DeviceTiles;

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The processor.
    pub core: Core,
    /// Bytes of memory that can be written.
    pub sram: usize,
    /// Bytes of memory for the program, if they are limited.
    pub flash: Option<usize>,
}

impl Budget {
    /// As the command line has it.
    #[must_use]
    pub fn arguments(&self) -> String {
        let of = |name: &str, bytes: usize| match bytes.is_multiple_of(1024) {
            true => format!(" --{name} {}K", bytes / 1024),
            false => format!(" --{name} {bytes}"),
        };
        let flash = self.flash.map(|bytes| of("flash", bytes)).unwrap_or_default();
        format!(" --target {}{}{flash}", self.core, of("sram", self.sram))
    }
}
