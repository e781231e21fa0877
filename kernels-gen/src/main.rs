//! `cargo kernels`: writes, checks and lists flashlet's kernels, and builds a crate for one model.

mod build_command;

use clap::{Args, Parser, Subcommand};
use flashlet::Level;
use kernels_gen::plan::{Op, width};
use kernels_gen::spec::Spec;
use kernels_gen::tiles::Tiles;
use kernels_gen::tree::{self, Fault};
use kernels_gen::{angles, build, list, render, stress, tune};
use miette::IntoDiagnostic;
use oracle::Format;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes flashlet's specialised kernels: src/generated.rs and src/generated/.
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
    /// Print every entry: tile, registers, scratch, machine code, and the models that want it.
    List(List),
    /// Time other tiles on this machine; say which are faster. Entries of bf16 pairs are not timed.
    Tune(Tune),
    /// Write and compile a no_std crate for one model: its types, its scratch, its entries alone.
    Build(build_command::Build),
    /// Draw how far cosines and sines of rotary positions are off, by position.
    Angles(Angles),
    /// Try what makes attention lose digits on one query head of a model: inputs, condition, error, bound.
    Stress(Stress),
}

#[derive(Args)]
struct List {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Do not compile flashlet: no sizes of machine code.
    #[arg(long)]
    no_build: bool,
}

#[derive(Args)]
struct Tune {
    /// A level [default: all that this processor has].
    #[arg(long, value_parser = level)]
    level: Vec<Level>,
    /// An operation: attend or decode [default: both].
    #[arg(long, value_parser = op)]
    op: Vec<Op>,
    /// A head size of the list, as 64 or 192x128 [default: all].
    #[arg(long, value_parser = dims)]
    width: Vec<[usize; 2]>,
    /// Fewer rounds, and other register tiles only.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Put what is faster beyond noise into kernels-gen/tiles.toml, and render it.
    #[arg(long, conflicts_with = "quick")]
    write: bool,
}

#[derive(Args)]
struct Angles {
    /// The base of the frequencies.
    #[arg(long, default_value_t = 500_000.0)]
    base: f64,
    /// Channels that turn, two a frequency.
    #[arg(long, default_value_t = 128)]
    rot_dim: usize,
    /// Where the picture goes [default: docs/angles.svg of the workspace].
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct Stress {
    /// A preset, such as presets/smollm2-135m.toml.
    spec: PathBuf,
    /// How tensors are stored: f32, f16 or bf16.
    #[arg(long, default_value = "f32", value_parser = format)]
    format: Format,
    /// A level [default: the widest of this processor].
    #[arg(long, value_parser = level)]
    level: Option<Level>,
    /// Most keys that the query sees: fewer if its mask says so.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=65536))]
    keys: u32,
    /// Cases of each trouble.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cases: u32,
    /// Of all numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Where errors.svg and worst.json go [default: out/NAME].
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> miette::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command {
        None if cli.check => check(),
        None => write(&Tiles::own()?),
        Some(Command::List(arguments)) => list(&arguments),
        Some(Command::Tune(arguments)) => tune(&arguments),
        Some(Command::Build(arguments)) => build_command::build(&arguments),
        Some(Command::Angles(arguments)) => angles(arguments),
        Some(Command::Stress(arguments)) => stress(arguments),
    }
}

fn write(tiles: &Tiles) -> miette::Result<ExitCode> {
    let src = build::workspace().join("src");
    for (path, fault) in tree::mend(&src, "generated", &render::files(tiles)?)? {
        let done = if fault == Fault::Unexpected { "removed" } else { "wrote" };
        eprintln!("{done} {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn check() -> miette::Result<ExitCode> {
    let src = build::workspace().join("src");
    let faults = tree::faults(&src, "generated", &render::files(&Tiles::own()?)?)?;
    for (path, fault) in &faults {
        eprintln!("{fault}: {}", path.display());
    }
    if faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\nto mend it: cargo kernels");
    Ok(ExitCode::FAILURE)
}

fn list(arguments: &List) -> miette::Result<ExitCode> {
    let text = if arguments.no_build { None } else { Some(build::library_text()?) };
    let list = list::List::new(&Tiles::own()?, text.as_ref());
    print(&if arguments.json { list.json().into_diagnostic()? } else { list.table() })?;
    Ok(ExitCode::SUCCESS)
}

fn tune(arguments: &Tune) -> miette::Result<ExitCode> {
    let wish = tune::Wish {
        levels: given_or(&arguments.level, Level::available().collect()),
        ops: given_or(&arguments.op, tune::OPS.to_vec()),
        dims: given_or(&arguments.width, tune::all_dims()),
        quick: arguments.quick,
    };
    let mut tiles = Tiles::own()?;
    let findings = tune::run(&wish, &tiles)?;
    print(&if arguments.json {
        tune::json(&findings).into_diagnostic()?
    } else {
        tune::table(&findings)
    })?;
    let wrong: usize = findings.iter().map(|finding| finding.wrong().count()).sum();
    if wrong > 0 {
        eprintln!("{wrong} tiles give other bits than the present ones: nothing is written");
        return Ok(ExitCode::FAILURE);
    }
    match (tune::adopt(&mut tiles, &findings), arguments.write) {
        (0, _) => Ok(ExitCode::SUCCESS),
        (proposed, false) => {
            eprintln!("to put {proposed} better tiles in place: the same with --write");
            Ok(ExitCode::SUCCESS)
        }
        (_, true) => {
            tree::write(&build::workspace().join("kernels-gen/tiles.toml"), &tiles.text())?;
            write(&tiles)
        }
    }
}

fn given_or<T: Clone>(given: &[T], all: Vec<T>) -> Vec<T> {
    if given.is_empty() { all } else { given.to_vec() }
}

fn level(name: &str) -> Result<Level, String> {
    let names = || Level::available().map(Level::name).collect::<Vec<_>>().join(", ");
    let level = Level::available().find(|level| level.name() == name);
    level.ok_or_else(|| format!("this processor has {}", names()))
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "f32" => Ok(Format::F32),
        "f16" => Ok(Format::F16),
        "bf16" => Ok(Format::Bf16),
        _ => Err("there are f32, f16 and bf16".to_owned()),
    }
}

fn op(name: &str) -> Result<Op, String> {
    let op = tune::OPS.into_iter().find(|op| op.to_string() == name);
    op.ok_or_else(|| "there are attend and decode".to_owned())
}

fn dims(name: &str) -> Result<[usize; 2], String> {
    let all = tune::all_dims();
    let names = || all.iter().map(|dims| width(*dims)).collect::<Vec<_>>().join(", ");
    let dims = all.iter().find(|dims| width(**dims) == name).copied();
    dims.ok_or_else(|| format!("the list has {}", names()))
}

fn angles(arguments: Angles) -> miette::Result<ExitCode> {
    let angles = angles::Angles::new(arguments.base, arguments.rot_dim)?;
    let out = arguments.out.unwrap_or_else(|| build::workspace().join("docs/angles.svg"));
    tree::write(&out, &angles.svg(&angles.curve(angles::SAMPLES)?)?)?;
    eprintln!("drew {}", out.display());
    Ok(ExitCode::SUCCESS)
}

fn stress(arguments: Stress) -> miette::Result<ExitCode> {
    let spec = Spec::parse(&arguments.spec.to_string_lossy(), &tree::text(&arguments.spec)?)?;
    let wish = stress::Wish {
        level: arguments.level.unwrap_or_else(Level::detect),
        stored: arguments.format,
        keys: arguments.keys as usize,
        cases: arguments.cases as usize,
        seed: arguments.seed,
    };
    let stress = stress::run(&spec, &wish);
    let out = arguments.out.unwrap_or_else(|| build::workspace().join("out").join(&spec.name));
    tree::write(&out.join("errors.svg"), &stress.svg()?)?;
    tree::write(&out.join("worst.json"), &stress.replay().into_diagnostic()?)?;
    print(&if arguments.json { stress.json().into_diagnostic()? } else { stress.table() })?;
    eprintln!("drew {}; the worst case is in worst.json", out.join("errors.svg").display());
    if stress.exceeded() > 0 {
        eprintln!("{} cases exceed their certified bound", stress.exceeded());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a report. A reader that wants no more of it, such as `head`, is no error.
fn print(report: &str) -> miette::Result<()> {
    match std::io::stdout().write_all(report.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.into_diagnostic(),
    }
}
