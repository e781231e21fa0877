//! How close attention comes to what this machine can do at most: `cargo bench --bench peak`.
//!
//! Times every case, and just before and after it what limits it: multiply-adds in registers, products of
//! bf16, reading caches and memory. What was timed is judged by the oracle; an error above its certified
//! bound, or without one, makes the program fail at its end.
//!
//! ```text
//! cargo bench --bench peak -- --quick
//! cargo bench --bench peak -- --json --case 'prefill_f32_hd128.*full' --level avx2
//! ```

mod caches;
#[path = "../shared/call.rs"]
mod call;
mod cases;
mod linear;
mod modified;
mod probes;
mod report;
mod run;
mod sparse;
mod tensors;
mod turns;

use cases::Case;
use clap::{CommandFactory, Parser, error::ErrorKind};
use flashlet::Level;
use linear::Linear;
use probes::Probes;
use regex::Regex;
use report::{Row, table};
use run::{Bench, Effort};
use std::error::Error;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::time::Duration;
use tensors::Tensors;
use turns::Turning;

/// How close attention comes to what this machine can do at most.
#[derive(Parser)]
#[command(name = "cargo bench --bench peak --", bin_name = "cargo bench --bench peak --")]
struct Cli {
    /// One JSON object a line, each as soon as it is known, instead of a table.
    #[arg(long)]
    json: bool,
    /// Fewer samples: a few minutes for everything.
    #[arg(long)]
    quick: bool,
    /// Only cases whose name matches this regular expression somewhere.
    #[arg(long, value_name = "REGEX")]
    case: Option<Regex>,
    /// Every case on this level [default: the best one, and one case on every level].
    #[arg(long, value_name = "NAME", value_parser = level, conflicts_with = "all_levels")]
    level: Option<Level>,
    /// Every case on every level of this machine.
    #[arg(long)]
    all_levels: bool,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A level that this machine has.
fn level(name: &str) -> Result<Level, String> {
    let names: Vec<&str> = Level::available().map(Level::name).collect();
    Level::available()
        .find(|level| level.name() == name)
        .ok_or_else(|| format!("this machine has {}", names.join(", ")))
}

impl Cli {
    /// The cases asked for. None is an error of the command line.
    fn cases(&self) -> (Vec<Case>, Vec<Turning>, Vec<Linear>) {
        let asked = |name: &str| self.case.as_ref().is_none_or(|regex| regex.is_match(name));
        let cases: Vec<_> = cases::all().into_iter().filter(|case| asked(&case.name)).collect();
        let turns: Vec<_> = turns::all().into_iter().filter(|case| asked(&case.name)).collect();
        let linear: Vec<_> = linear::all().into_iter().filter(|case| asked(&case.name)).collect();
        if cases.is_empty() && turns.is_empty() && linear.is_empty() {
            let message = "--case matches no case";
            Cli::command().error(ErrorKind::InvalidValue, message).exit();
        }
        (cases, turns, linear)
    }

    /// The levels that a case is timed on, which may ask for all of them.
    fn levels(&self, on_every_level: bool) -> Vec<Level> {
        match self.level {
            Some(level) => vec![level],
            None if self.all_levels || on_every_level => Level::available().collect(),
            None => vec![Level::detect()],
        }
    }

    fn effort(&self) -> Effort {
        let (millis, fewest) = if self.quick { (250, 3) } else { (1000, 5) };
        Effort { budget: Duration::from_millis(millis), fewest }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let cli = Cli::parse();
    let (tensors, probes) = (Tensors::default(), Probes::default());
    let mut bench = Bench { effort: cli.effort(), tensors, probes };
    let (mut rows, mut failures, mut skipped) = (Vec::new(), Vec::new(), 0);
    let (cases, turns, linear) = cli.cases();
    for case in cases {
        for level in cli.levels(case.on_every_level) {
            if !cli.json && stderr().is_terminal() {
                eprintln!("{} {level}", case.name);
            }
            let Some(plan) = case.plan(level)? else {
                skipped += 1;
                continue;
            };
            let (row, failure) = bench.run(&case, &plan)?;
            failures.extend(failure.map(|verdict| format!("{} {level}: {verdict}", case.name)));
            if cli.json {
                print_json(&row)?;
            }
            rows.push(row);
        }
    }
    let levels = cli.levels(false);
    let runs = turns.iter().map(Timed::Turning);
    for case in runs.chain(linear.iter().map(Timed::Linear)) {
        for &level in &levels {
            let row = case.run(level, bench.effort, &mut bench.probes)?;
            let share = row.err_over_bound();
            if share > 1.0 {
                failures.push(format!("{} {level}: {share} of the bound", case.name()));
            }
            if cli.json {
                print_json(&row)?;
            }
            rows.push(row);
        }
    }
    if !cli.json {
        stdout().write_all(table(&rows).as_bytes())?;
    }
    if skipped > 0 {
        eprintln!("skipped {skipped} cases: no entry multiplies bf16 there");
    }
    for failure in &failures {
        eprintln!("{failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is no softmax attention.
enum Timed<'c> {
    Turning(&'c Turning),
    Linear(&'c Linear),
}

impl Timed<'_> {
    fn name(&self) -> &str {
        match self {
            Timed::Turning(case) => &case.name,
            Timed::Linear(case) => &case.name,
        }
    }

    fn run(
        &self,
        level: Level,
        effort: Effort,
        probes: &mut Probes,
    ) -> Result<Row, flashlet::Error> {
        match self {
            Timed::Turning(case) => case.run(level, effort, probes),
            Timed::Linear(case) => case.run(level, effort, probes),
        }
    }
}

fn print_json(row: &Row) -> Result<(), Box<dyn Error>> {
    let mut stdout = stdout().lock();
    serde_json::to_writer(&mut stdout, row)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}
