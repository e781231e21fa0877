//! How many bytes of machine code an entry takes in a compiled program.

use object::{Object, ObjectSymbol};
use std::collections::HashMap;
use std::path::Path;

/// Bytes of each function of a program that was not stripped, by the last part of its name. Empty
/// where the file's format does not say them, as on macOS.
///
/// # Errors
/// The file cannot be read, or is no program.
pub fn sizes(program: &Path) -> Result<HashMap<String, u64>, TextError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| TextError {
        program: program.display().to_string(),
        source,
    };
    let bytes = std::fs::read(program).map_err(|error| failed(error.into()))?;
    let file = object::File::parse(&*bytes).map_err(|error| failed(error.into()))?;
    let size = |symbol: object::Symbol<'_, '_>| {
        let path = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
        let name = path.rsplit("::").next()?.to_owned();
        (symbol.size() > 0).then_some((name, symbol.size()))
    };
    Ok(file.symbols().filter_map(size).collect())
}

/// A program that cannot be looked into.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read the symbols of {program}")]
pub struct TextError {
    program: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}
