//! The rendered files against the files on disk.

use crate::render::File;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What differs between the tree and what the generator renders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text differs.
    Stale,
    /// There is no such file.
    Missing,
    /// Nobody rendered this file.
    Unexpected,
}

/// A file or directory that could not be read or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot {action} {}", path.display())]
pub struct TreeError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Every file under `root` that is not as rendered, by path; in its directory `owned` nothing else
/// may lie.
///
/// # Errors
/// A directory or file that exists and cannot be read.
pub fn faults(
    root: &Path,
    owned: &str,
    files: &[File],
) -> Result<Vec<(PathBuf, Fault)>, TreeError> {
    let mut faults = Vec::new();
    for file in files {
        let path = root.join(&file.path);
        match read(&path)? {
            Some(text) if text == file.text.as_bytes() => {}
            Some(_) => faults.push((path, Fault::Stale)),
            None => faults.push((path, Fault::Missing)),
        }
    }
    let expected: BTreeSet<PathBuf> = files.iter().map(|file| root.join(&file.path)).collect();
    let unexpected = found(&root.join(owned))?.into_iter().filter(|path| !expected.contains(path));
    faults.extend(unexpected.map(|path| (path, Fault::Unexpected)));
    faults.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(faults)
}

/// Writes the files that differ and removes those that nobody rendered; returns them.
///
/// # Errors
/// A file that cannot be read, written or removed.
pub fn mend(root: &Path, owned: &str, files: &[File]) -> Result<Vec<(PathBuf, Fault)>, TreeError> {
    let faults = faults(root, owned, files)?;
    for (path, fault) in &faults {
        match files.iter().find(|file| root.join(&file.path) == *path) {
            Some(file) => write(path, &file.text)?,
            None => {
                debug_assert_eq!(*fault, Fault::Unexpected);
                fs::remove_file(path).map_err(failed("remove", path))?;
            }
        }
    }
    Ok(faults)
}

/// Writes a file, and its directory before it, if its text differs.
///
/// # Errors
/// A file that cannot be read or written.
pub fn write(path: &Path, text: &str) -> Result<(), TreeError> {
    if read(path)?.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
    }
    fs::write(path, text).map_err(failed("write", path))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, TreeError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// The files in a directory and those within it.
fn found(directory: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", directory)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed("read", directory))?.path();
        if path.is_dir() {
            files.extend(found(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> TreeError {
    move |source| TreeError { action, path: path.to_owned(), source }
}

/// Reads a file that must be there.
///
/// # Errors
/// It cannot be read.
pub fn text(path: &Path) -> Result<String, TreeError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Fault::Stale => "stale",
            Fault::Missing => "missing",
            Fault::Unexpected => "unexpected",
        })
    }
}
