//! How many bytes of machine code there are in a compiled program or library.

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use std::collections::HashMap;
use std::path::Path;

/// Machine code, in bytes. Functions are missing where the file's format does not say their sizes, as
/// on macOS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Of each function that was not stripped, by the last part of its name.
    pub functions: HashMap<String, u64>,
    /// Of all of them, with what lies between.
    pub total: u64,
    /// Constants beside the code.
    pub constants: u64,
}

impl Text {
    /// Of a program.
    ///
    /// # Errors
    /// The file cannot be read, or is no program.
    pub fn of_program(file: &Path) -> Result<Text, TextError> {
        let mut text = Text::default();
        read(file).and_then(|bytes| text.add(&bytes)).map_err(TextError::of(file))?;
        Ok(text)
    }

    /// Of the object files in a library of Rust.
    ///
    /// # Errors
    /// The file cannot be read, or is no archive of object files.
    pub fn of_library(file: &Path) -> Result<Text, TextError> {
        let mut text = Text::default();
        read(file).and_then(|bytes| text.add_members(&bytes)).map_err(TextError::of(file))?;
        Ok(text)
    }

    fn add_members(&mut self, archive: &[u8]) -> Result<(), Fault> {
        for member in ArchiveFile::parse(archive)?.members() {
            let member = member?;
            // The others are the compiler's notes.
            if member.name().ends_with(b".o") {
                self.add(member.data(archive)?)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let file = object::File::parse(bytes)?;
        let of_kind = |kinds: &[SectionKind]| -> u64 {
            let sections = file.sections().filter(|section| kinds.contains(&section.kind()));
            sections.map(|section| section.size()).sum()
        };
        self.total += of_kind(&[SectionKind::Text]);
        self.constants += of_kind(&[SectionKind::ReadOnlyData, SectionKind::ReadOnlyString]);
        let code = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
        for symbol in code.filter(|symbol| symbol.size() > 0) {
            let path = format!("{:#}", rustc_demangle::demangle(symbol.name()?));
            if let Some(name) = path.rsplit("::").next() {
                self.functions.insert(name.to_owned(), symbol.size());
            }
        }
        Ok(())
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    Ok(std::fs::read(file)?)
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A file that cannot be looked into.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read the symbols of {file}")]
pub struct TextError {
    file: String,
    source: Fault,
}

impl TextError {
    fn of(file: &Path) -> impl FnOnce(Fault) -> TextError {
        let file = file.display().to_string();
        move |source| TextError { file, source }
    }
}
