//! `cargo run --release -p certify`: every input through the parts that the bound is made of.
//!
//! Fails if an error is above what the bound allows for, above what `certify/measured.tsv` records, or below it: then the record
//! is stale.

use certify::{AnyPart, PARTS, Row, Scope, Sweep, faults, json, parse, table, tsv};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Every input through the parts that the bound is made of, on every level of this machine.
#[derive(Parser)]
struct Cli {
    /// These parts alone, by what the table calls them.
    #[arg(value_name = "PART", value_parser = part)]
    parts: Vec<Name>,
    /// Try every N-th input only. Then what is below the record is no fault.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    stride: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Record what is measured, instead of comparing it.
    #[arg(long, conflicts_with = "stride")]
    write: bool,
    /// The record.
    #[arg(long, default_value_os_t = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/measured.tsv")))]
    table: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => measure::exit::code(Err(error)),
    }
}

/// What the table calls a part.
type Name = &'static str;

fn part(name: &str) -> Result<Name, String> {
    let names = || PARTS.iter().map(|part| part.name());
    let found = names().find(|known| *known == name);
    found.ok_or_else(|| format!("there are {}", names().collect::<Vec<_>>().join("; ")))
}

fn run(cli: &Cli) -> Result<ExitCode, Box<dyn Error>> {
    let start = Instant::now();
    let is_meant = |name: &str| cli.parts.is_empty() || cli.parts.contains(&name);
    let parts = PARTS.iter().copied().filter(|part| is_meant(part.name())).collect::<Vec<_>>();
    let rows = measured(&parts, Sweep { stride: cli.stride })?;
    print!("{}", if cli.json { json(&rows)? } else { table(&rows) });
    let all = if cli.write && cli.parts.is_empty() {
        Vec::new()
    } else {
        parse(&std::fs::read_to_string(&cli.table)?)?
    };
    let (recorded, others): (Vec<Row>, Vec<Row>) =
        all.into_iter().partition(|row| is_meant(&row.part));
    let recorded = if cli.write { rows.clone() } else { recorded };
    let scope = if cli.stride == 1 { Scope::All } else { Scope::Some };
    let faults = faults(&rows, &recorded, scope);
    for fault in &faults {
        eprintln!("{fault}");
    }
    eprintln!("{} rows, {} faults, {} s", rows.len(), faults.len(), start.elapsed().as_secs());
    if !faults.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if cli.write {
        let of = |part: &&dyn AnyPart| -> Vec<Row> {
            rows.iter().chain(&others).filter(|row| row.part == part.name()).cloned().collect()
        };
        std::fs::write(&cli.table, tsv(&PARTS.iter().flat_map(of).collect::<Vec<_>>()))?;
        eprintln!("wrote {}", cli.table.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows of some parts, with a bar for those who watch.
fn measured(parts: &[&dyn AnyPart], sweep: Sweep) -> Result<Vec<Row>, Box<dyn Error>> {
    let work = |part: &dyn AnyPart| sweep.inputs(part) * part.each();
    let bar = ProgressBar::new(parts.iter().map(|part| work(*part)).sum());
    bar.set_style(ProgressStyle::with_template("{bar:30} {percent:>3} % {msg} ({eta} left)")?);
    let mut rows = Vec::new();
    for part in parts {
        bar.set_message(part.name());
        rows.extend(sweep.run(*part, &|inputs| bar.inc(inputs * part.each())));
    }
    bar.finish_and_clear();
    Ok(rows)
}
