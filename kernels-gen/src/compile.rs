//! Runs cargo on a crate, with a progress bar.

mod cross;

pub use cross::Cross;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Why a crate is not compiled.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CompileError {
    /// cargo cannot be run, or not be listened to.
    #[error("cannot run cargo")]
    Cargo(#[from] io::Error),
    /// rustc cannot be asked what it can compile for.
    #[error("cannot run rustc")]
    Rustc(#[source] io::Error),
    /// cargo refused.
    #[error("cargo {command} failed for {}", manifest.display())]
    Failed {
        /// What it was asked.
        command: &'static str,
        /// The crate.
        manifest: PathBuf,
    },
    /// cargo named no such file.
    #[error("cargo made no {what} of {}", manifest.display())]
    Nothing {
        /// What is missing.
        what: &'static str,
        /// The crate.
        manifest: PathBuf,
    },
}

/// What cargo says of each piece that it has compiled.
#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// What a crate was compiled to: cargo names it after all that it depends on.
#[derive(Clone, Debug)]
pub struct Compiled {
    manifest: PathBuf,
    program: Option<PathBuf>,
    library: Option<PathBuf>,
}

impl Compiled {
    /// Its program.
    ///
    /// # Errors
    /// [`CompileError::Nothing`].
    pub fn program(self) -> Result<PathBuf, CompileError> {
        let manifest = self.manifest;
        self.program.ok_or(CompileError::Nothing { what: "program", manifest })
    }

    /// Its library, an archive of object files.
    ///
    /// # Errors
    /// [`CompileError::Nothing`].
    pub fn library(self) -> Result<PathBuf, CompileError> {
        let manifest = self.manifest;
        self.library.ok_or(CompileError::Nothing { what: "library", manifest })
    }
}

/// Compiles a crate in release mode; `name` stands before the progress bar on stderr.
///
/// # Errors
/// [`CompileError::Cargo`] and [`CompileError::Failed`]; stderr has all that cargo said.
pub fn release(name: &str, manifest: &Path, target: &Path) -> Result<Compiled, CompileError> {
    run(name, manifest, target, (cargo(), &[]))
}

/// As [`release`], for another machine.
///
/// # Errors
/// As [`release`].
pub fn for_another(
    name: &str,
    manifest: &Path,
    target: &Path,
    cross: &Cross,
) -> Result<Compiled, CompileError> {
    run(name, manifest, target, (cross.cargo(), cross.arguments()))
}

fn run(
    name: &str,
    manifest: &Path,
    target: &Path,
    (mut cargo, arguments): (Command, &[String]),
) -> Result<Compiled, CompileError> {
    let bar = ProgressBar::new(packages(manifest)?);
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} crates {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(format!("compiling {name}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    cargo.args(["build", "--release", "--quiet", "--message-format=json-render-diagnostics"]);
    cargo.args(arguments);
    cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
    let mut done = HashSet::new();
    let mut compiled = Compiled { manifest: manifest.to_owned(), program: None, library: None };
    let own = manifest.canonicalize()?;
    let outcome = listen(&mut cargo, |line| {
        let Ok(message) = serde_json::from_str::<Message>(line) else { return };
        if message.reason == "compiler-artifact" {
            done.extend(message.package_id);
            bar.set_position(done.len() as u64);
            // A crate may be done before one that it depends on: the last need not be its own.
            let of = message.manifest_path.and_then(|path| path.canonicalize().ok());
            if of.is_some_and(|path| path == own) {
                let is_library = |file: &PathBuf| file.extension().is_some_and(|end| end == "rlib");
                compiled.library = message.filenames.into_iter().find(is_library);
            }
            compiled.program = message.executable.or(compiled.program.take());
        }
    });
    bar.finish_and_clear();
    if outcome? {
        return Ok(compiled);
    }
    Err(CompileError::Failed { command: "build", manifest: manifest.to_owned() })
}

/// Crates that a build consists of.
fn packages(manifest: &Path) -> Result<u64, CompileError> {
    let mut cargo = cargo();
    cargo.args([
        "tree",
        "--quiet",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    cargo.arg("--manifest-path").arg(manifest);
    let mut packages = HashSet::new();
    let success = listen(&mut cargo, |line| {
        packages.insert(line.trim_end_matches(" (*)").to_owned());
    })?;
    if success {
        return Ok(packages.len() as u64);
    }
    Err(CompileError::Failed { command: "tree", manifest: manifest.to_owned() })
}

/// The cargo that runs this program, or the one on the path.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command, hands each line of its output on, and returns whether it succeeded. What it says
/// on stderr follows there when it is done, clear of a progress bar.
pub(crate) fn listen(command: &mut Command, mut on_line: impl FnMut(&str)) -> io::Result<bool> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Both pipes are emptied at once, or the child would wait for the one nobody reads.
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.map_or(Ok(0), |mut stderr| stderr.read_to_end(&mut text)).map(|_| text)
    });
    for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        on_line(&line?);
    }
    io::stderr().write_all(&errors.join().unwrap_or_else(|_| Ok(Vec::new()))?)?;
    Ok(child.wait()?.success())
}
