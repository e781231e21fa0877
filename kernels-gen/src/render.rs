//! The text of the generated files. Pure: the same text on every machine.

mod template;

pub use template::RenderError;
use template::{ElementView, RopeView, elements, ropes};
pub(crate) use template::{LevelView, LinearView, backend, render};

use crate::plan::{entries, pairs};
use crate::tiles::Tiles;
use flashlet::Level;
use serde::Serialize;

/// A generated file: its path, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path under the directory that it is generated for, with `/`.
    pub path: String,
    /// What it must hold.
    pub text: String,
}

/// The first line of every generated file: the command that rewrites it.
pub(crate) fn header(command: &str) -> String {
    format!("// Written by `{command}`: do not edit.")
}

/// Everything that `cargo kernels` generates, by path under `src/`.
///
/// # Errors
/// [`RenderError::Vectors`].
pub fn files(tiles: &Tiles) -> Result<Vec<File>, RenderError> {
    #[derive(Serialize)]
    struct Modules {
        header: String,
        levels: Vec<LevelView>,
        ropes: Vec<RopeView>,
        elements: Vec<ElementView>,
    }
    let header = header("cargo kernels");
    let view = |level| {
        let (entries, pairs) = (entries(level, tiles).collect(), pairs(level, tiles).collect());
        LevelView::new(header.clone(), level, entries, pairs)
            .map(|view| view.with_ropes(level).with_linear(level))
    };
    let mut levels: Vec<LevelView> = Level::ALL.into_iter().map(view).collect::<Result<_, _>>()?;
    levels.sort_by(|a, b| a.level.cmp(b.level));
    let mut files = Vec::new();
    for level in &levels {
        let path = format!("generated/{}.rs", level.level);
        files.push(File { path, text: render("level.rs", level)? });
    }
    let text =
        render("generated.rs", &Modules { header, levels, ropes: ropes(), elements: elements() })?;
    files.push(File { path: "generated.rs".to_owned(), text });
    Ok(files)
}

/// `36924` as `36,924`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `10⁻⁷` of `-7`.
pub(crate) fn power_of_10(exponent: &str) -> String {
    if exponent == "0" {
        return "1".to_owned();
    }
    let pairs = "-0123456789".chars().zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹".chars());
    let raised = |digit| pairs.clone().find(|(from, _)| *from == digit).map(|(_, to)| to);
    format!("10{}", exponent.chars().filter_map(raised).collect::<String>())
}
