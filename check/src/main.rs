//! `check [--json] [--host NAME]`: the real heads on this machine, and their rotary positions.
//!
//! Prints a table, or with `--json` a line a run, and fails if an error is above its certified
//! bound or if two levels differ by a bit where they must not.

use std::process::ExitCode;

use check::{Line, Verdict, Workspace, check_all};
use flashlet::Level;

const USAGE: &str = "usage: check [--json] [--host NAME]";

struct Options {
    json: bool,
    host: String,
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if !options.json {
        println!("{:25} {:8} {:8} {:>11}  digest", "case", "level", "class", "err/bound");
    }
    let show = |line: Line<'_>| {
        if options.json { println!("{line}") } else { print_row(&line) }
    };
    match check_all(&options.host, &mut Workspace::new(), show) {
        Ok(verdict) => {
            // The lines may go to a file or a pipe; the verdict is for who watches.
            eprintln!("{}: {}", options.host, summary(&verdict));
            if verdict.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{}: {error}", options.host);
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    use std::env::consts::{ARCH, OS};
    let mut options = Options { json: false, host: format!("{ARCH}-{OS}") };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => options.json = true,
            "--host" => options.host = arguments.next()?,
            _ => return None,
        }
    }
    Some(options)
}

fn print_row(line: &Line<'_>) {
    let level = line.level.map_or("-", Level::name);
    let ratio = line.outcome.err_over_bound.map_or("-".into(), |ratio| format!("{ratio:.3e}"));
    let (class, digest) = (line.class(), line.outcome.digest);
    println!("{:25} {level:8} {class:8} {ratio:>11}  {digest:016x}", line.case);
}

fn summary(verdict: &Verdict) -> String {
    let Verdict { runs, over_bound, differing } = verdict;
    format!("{runs} runs, {over_bound} above the bound, {differing} with other bits")
}
