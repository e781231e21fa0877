//! A model as a preset says it: checked, and with errors that point at the line.
//!
//! ```
//! let text = r#"
//!     name = "tiny"
//!     levels = ["scalar"]
//!     heads = { q = 4, kv = 2, dim = 16 }
//!     mask = { kind = "causal", window = { keys = 32 } }
//!     lengths = { queries = 64, keys = 64 }
//! "#;
//! let spec = kernels_gen::spec::Spec::parse("tiny.toml", text)?;
//! assert_eq!(spec.mask.to_string(), "causal, window of 32 keys");
//! # Ok::<(), kernels_gen::spec::SpecError>(())
//! ```
//!
//! All that a preset may say is in [`REFERENCE`].

mod cache;
mod check;
mod error;
mod linear;
mod mask;
mod pattern;
mod raw;
mod rope;

pub use cache::{CacheFormat, SpecCache};
pub use error::SpecError;
pub use linear::{SpecFamily, SpecLinear};
pub use mask::{Kind, SpecMask, SpecWindow};
pub use pattern::SpecPattern;
pub use rope::{Frequencies, SpecRope};

use flashlet::{Heads, Level};
use raw::Raw;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A preset that says everything, with what it means.
pub const REFERENCE: &str = include_str!("spec/reference.toml");

/// A checked preset.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Name of the crate to be emitted.
    pub name: String,
    /// The model, as people call it.
    pub model: String,
    /// Heads and widths.
    pub heads: Heads,
    /// Which keys a query sees.
    pub mask: SpecMask,
    /// How queries and keys turn by their positions, if they do.
    pub rope: Option<SpecRope>,
    /// Linear attention of other layers, if there is any.
    pub linear: Option<SpecLinear>,
    /// How a device keeps keys and values.
    pub cache: SpecCache,
    /// Most queries of a call.
    pub max_q: usize,
    /// Most keys of a call.
    pub max_kv: usize,
    /// Keys of a tile.
    pub tile_k: usize,
    /// Whether the preset says so many: a device takes fewer if it may.
    pub says_tile_k: bool,
    /// The factor of the scores, if it is not `1 / sqrt(head_dim)`.
    pub scale: Option<f64>,
    /// Levels to emit, lowest first.
    pub levels: Vec<Level>,
    /// Files of captured heads for `--run`.
    pub captured: Vec<Captured>,
    file: String,
    text: String,
}

/// A file named by a preset.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The file, as the preset has it: relative to the preset.
    pub path: PathBuf,
    /// Where the preset names it.
    pub(crate) span: Range<usize>,
}

impl Spec {
    /// Reads and checks the text of a preset; `file` is what errors call it.
    ///
    /// # Errors
    /// The first thing that is wrong: TOML, an unknown key, a number out of range.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        let raw: Raw =
            toml::from_str(text).map_err(|error| SpecError::from_toml(file, text, &error))?;
        check::check(file, text, raw)
    }

    /// The factor of the scores, with what YaRN makes of it.
    #[must_use]
    pub fn scale(&self) -> f64 {
        let scale = self.scale.unwrap_or_else(|| 1.0 / (self.heads.dim as f64).sqrt());
        scale * self.rope.as_ref().map_or(1.0, |rope| rope.softmax_factor)
    }

    /// Files of captured heads, as paths from the working directory.
    #[must_use]
    pub fn captured_paths(&self) -> Vec<PathBuf> {
        let directory = Path::new(&self.file).parent().unwrap_or(Path::new(""));
        self.captured.iter().map(|captured| directory.join(&captured.path)).collect()
    }

    /// The preset's file, as it was named to [`Spec::parse`].
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// An error about a file that the preset names.
    #[must_use]
    pub fn captured_error(&self, captured: &Captured, message: String, help: &str) -> SpecError {
        SpecError::at(&self.file, &self.text, captured.span.clone(), message)
            .label("named here")
            .help(help)
    }

    /// An error about the preset as a whole.
    #[must_use]
    pub fn error(&self, message: &str, help: &str) -> SpecError {
        let end = self.text.len();
        SpecError::at(&self.file, &self.text, end..end, message.to_owned())
            .label("missing")
            .help(help)
    }
}
