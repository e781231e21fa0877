//! `cargo kernels`: writes, checks and lists flashlet's specialised kernels.

use clap::{Parser, Subcommand};
use kernels_gen::tree::{self, Fault};
use kernels_gen::{render, table};
use miette::IntoDiagnostic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes flashlet's specialised kernels, src/generated.rs and src/generated/.
#[derive(Parser)]
#[command(name = "cargo kernels", bin_name = "cargo kernels", version)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    /// Write nothing: say what is stale, and exit with 1 if anything is.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print every entry: name, tile, registers, scratch, and the models that want it.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> miette::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command {
        None if cli.check => check(&sources()),
        None => write(&sources()),
        Some(Command::List { json: true }) => {
            print!("{}", table::json().into_diagnostic()?);
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::List { json: false }) => {
            println!("{}", table::people());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// flashlet's `src/`.
fn sources() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).join("src")
}

fn write(src: &Path) -> miette::Result<ExitCode> {
    for (path, fault) in tree::mend(src, &render::files())? {
        let done = if fault == Fault::Unexpected { "removed" } else { "wrote" };
        eprintln!("{done} {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn check(src: &Path) -> miette::Result<ExitCode> {
    let faults = tree::faults(src, &render::files())?;
    for (path, fault) in &faults {
        let what = match fault {
            Fault::Stale => "stale",
            Fault::Missing => "missing",
            Fault::Unexpected => "unexpected",
        };
        eprintln!("{what}: {}", path.display());
    }
    if faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\nto mend it: cargo kernels");
    Ok(ExitCode::FAILURE)
}
