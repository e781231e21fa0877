//! A preset, all the way: emit its crate, compile it, try it, draw it.

use crate::compile::{self, CompileError};
use crate::device::{Budget, Plan, Refusal};
use crate::map::{self, MapError};
use crate::package::{self, Origin};
use crate::render::{File, RenderError};
use crate::spec::{Spec, SpecError};
use crate::text::{Text, TextError};
use crate::tiles::{Tiles, TilesError};
use crate::tree::{self, TreeError};
use indicatif::ProgressBar;
use measure::exit::chain;
use measure::heads::{self, Captured, HeadsError};
use measure::trial::Row;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

/// What may go wrong on the way.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[expect(missing_docs, reason = "each is another module's error")]
pub enum BuildError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tiles(#[from] TilesError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Refusal(#[from] Refusal),
    #[error("cannot use {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("{} holds something that this program did not write", directory.display())]
    #[diagnostic(help("name an empty directory with --out, or a crate that was written before"))]
    NotOurs { directory: PathBuf },
    #[error("cannot run {}", program.display())]
    Run { program: PathBuf, source: io::Error },
    #[error("{} failed", program.display())]
    Runner { program: PathBuf },
    #[error("the runner printed what is no measurement: {line}")]
    Line { line: String, source: serde_json::Error },
}

/// flashlet's workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// An emitted crate.
#[derive(Debug)]
pub struct Emitted {
    /// Its directory.
    pub directory: PathBuf,
    target: PathBuf,
}

/// Writes the crate of a preset to `out`, by default `out/NAME` in the workspace.
///
/// # Errors
/// A file that cannot be written.
pub fn emit(spec: &Spec, out: Option<&Path>) -> Result<Emitted, BuildError> {
    let (root, directory) = place(spec, out)?;
    let origin = origin(spec, out, &root, &directory, "");
    write(&root, directory, &package::files(spec, &origin, &Tiles::own()?, None)?)
}

/// Writes the crate of a preset for a device, as [`emit`] does.
///
/// # Errors
/// A file that cannot be written.
pub fn emit_for(
    spec: &Spec,
    plan: &Plan,
    budget: Budget,
    out: Option<&Path>,
) -> Result<Emitted, BuildError> {
    let (root, directory) = place(spec, out)?;
    let origin = origin(spec, out, &root, &directory, &budget.arguments());
    let files = package::files(&plan.spec(spec), &origin, &plan.entry_tiles(spec), Some(plan))?;
    write(&root, directory, &files)
}

/// The workspace, and where the crate goes: both absolute.
fn place(spec: &Spec, out: Option<&Path>) -> Result<(PathBuf, PathBuf), BuildError> {
    let directory = out.map_or_else(|| workspace().join("out").join(&spec.name), Path::to_owned);
    let places = directories(workspace(), &directory)?;
    check_ours(&places.1)?;
    Ok(places)
}

fn origin(
    spec: &Spec,
    out: Option<&Path>,
    root: &Path,
    directory: &Path,
    arguments: &str,
) -> Origin {
    let preset = relative(Path::new(spec.file()), root);
    let mut command = format!("cargo kernels build {preset}{arguments}");
    if out.is_some() {
        command += &format!(" --out {}", relative(directory, root));
    }
    Origin { command, flashlet: relative(root, directory) }
}

/// Writes the files of a crate. What it had that is no more is removed, where only it can have written that.
fn write(root: &Path, directory: PathBuf, files: &[File]) -> Result<Emitted, BuildError> {
    tree::mend(&directory, "src", files)?;
    for place in ["", "runner", "probe"] {
        let directory = directory.join(place);
        if directory.join("Cargo.toml").exists() {
            seed_lock(root, &directory)?;
        }
    }
    Ok(Emitted { directory, target: target() })
}

/// Where cargo compiles.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The absolute paths of a directory that is there, and of one that is made if it is not.
pub(crate) fn directories(there: &Path, made: &Path) -> Result<(PathBuf, PathBuf), BuildError> {
    fs::create_dir_all(made).map_err(unusable(made))?;
    let [there, made] = [there, made].map(|path| path.canonicalize().map_err(unusable(path)));
    Ok((there?, made?))
}

/// Files in `src` that the crate does not have are removed: never those of somebody else's crate.
fn check_ours(directory: &Path) -> Result<(), BuildError> {
    let is_empty = fs::read_dir(directory).map_err(unusable(directory))?.next().is_none();
    let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
    if is_empty || manifest.starts_with(package::MARK) {
        return Ok(());
    }
    Err(BuildError::NotOurs { directory: directory.to_owned() })
}

/// Gives a crate the workspace's versions of what it depends on: they are at hand, and tested.
/// cargo drops those that the crate does not need.
pub(crate) fn seed_lock(root: &Path, directory: &Path) -> Result<(), BuildError> {
    let (own, ours) = (directory.join("Cargo.lock"), root.join("Cargo.lock"));
    if !ours.exists() {
        return Ok(());
    }
    fs::copy(&ours, &own).map(drop).map_err(unusable(&own))
}

/// A path as seen from a directory, with `/`; as it is, where there is no such way.
pub(crate) fn relative(path: &Path, from: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let relative = pathdiff::diff_paths(&absolute, from).unwrap_or(absolute);
    relative.to_string_lossy().replace('\\', "/")
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> BuildError {
    move |source| BuildError::Directory { path: path.to_owned(), source }
}

impl Emitted {
    /// Where it is compiled.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Compiles the crate in release mode, and returns its machine code.
    ///
    /// # Errors
    /// What the compiler says; a library that cannot be looked into.
    pub fn compile(&self, spec: &Spec) -> Result<Text, BuildError> {
        let manifest = self.directory.join("Cargo.toml");
        let library = compile::release(&spec.name, &manifest, &self.target)?.library()?;
        Ok(Text::of_library(&library)?)
    }

    /// Compiles the runner, runs it, and returns its rows with the size of each entry's code.
    ///
    /// # Errors
    /// What the compiler says; a runner that fails.
    pub fn run(&self, spec: &Spec) -> Result<Vec<Row>, BuildError> {
        let manifest = self.directory.join("runner/Cargo.toml");
        let program = compile::release(&spec.name, &manifest, &self.target)?.program()?;
        let sizes = Text::of_program(&program)?.functions;
        let spinner = ProgressBar::new_spinner().with_message("measuring");
        spinner.enable_steady_tick(Duration::from_millis(100));
        let failed = |source| BuildError::Run { program: program.clone(), source };
        let mut command = Command::new(&program);
        let mut rows = Vec::new();
        let mut fault = None;
        let on_line = |line: &str| match serde_json::from_str::<Row>(line) {
            Ok(row) => {
                spinner.set_message(format!("measured {} on {}", row.entry, row.case));
                rows.push(Row { text_bytes: sizes.get(&row.entry).copied(), ..row });
            }
            Err(source) => fault = Some(BuildError::Line { line: line.to_owned(), source }),
        };
        let success = compile::listen(command.args(spec.captured_paths()), on_line);
        spinner.finish_and_clear();
        match (success.map_err(failed)?, fault) {
            (false, _) => Err(BuildError::Runner { program }),
            (true, Some(fault)) => Err(fault),
            (true, None) => Ok(rows),
        }
    }

    /// Draws where one captured head looks.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn draw(&self, spec: &Spec, captured: &[Captured]) -> Result<PathBuf, BuildError> {
        let path = self.directory.join("attention.svg");
        if let Some(captured) = captured.first() {
            tree::write(&path, &map::svg(spec, captured)?)?;
        }
        Ok(path)
    }
}

/// The machine code of flashlet itself: the default build for this host, compiled if it is stale.
///
/// # Errors
/// What the compiler says; a library that cannot be looked into.
pub fn library_text() -> Result<Text, BuildError> {
    let manifest = workspace().join("Cargo.toml");
    let library = compile::release("flashlet", &manifest, &target())?.library()?;
    Ok(Text::of_library(&library)?)
}

/// Reads the captured heads that a preset names.
///
/// # Errors
/// An error that points at the line: no heads, a file that cannot be read, heads of another width.
pub fn captured(spec: &Spec) -> Result<Vec<Captured>, SpecError> {
    if spec.captured.is_empty() {
        let help = "add [run] with heads = [\"FILE.safetensors\", ..], paths from the preset";
        return Err(spec.error("this preset names no captured heads to run on", help));
    }
    let load = |(named, path): (&crate::spec::Captured, PathBuf)| {
        let check = |captured: Captured| heads::check(&captured, spec.heads).map(|()| captured);
        heads::load(&path).and_then(check).map_err(|error| {
            let help = match &error {
                HeadsError::Width { .. } => "the heads must be as wide as [heads] says",
                _ => "paths start at the preset's own directory",
            };
            spec.captured_error(named, chain(&error), help)
        })
    };
    spec.captured.iter().zip(spec.captured_paths()).map(load).collect()
}
