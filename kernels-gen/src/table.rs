//! What was planned and what was measured, as tables for people and as JSON lines.

use crate::plan::{Planned, entries, pairs};
use crate::render::thousands;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use flashlet::Level;
use measure::trial::Row;
use serde::Serialize;
use std::ops::Range;

/// One entry as `cargo kernels list --json` prints it.
#[derive(Serialize)]
struct Entry<'a> {
    entry: String,
    level: &'static str,
    tile_q: usize,
    tile_k: usize,
    vectors: usize,
    scalars: usize,
    lanes: String,
    registers: usize,
    registers_of: usize,
    scratch_bytes: usize,
    why: &'a str,
}

fn all() -> impl Iterator<Item = Planned<'static>> {
    Level::ALL.into_iter().flat_map(|level| entries(level).flatten().chain(pairs(level)))
}

/// A table of every entry that the manifest asks for.
#[must_use]
pub fn planned() -> String {
    let mut table = table(["entry", "tile q x k", "registers", "scratch, B", "why"], 1..4);
    for entry in all() {
        table.add_row([
            entry.name(),
            format!("{} x {}", entry.tile_q(), entry.tile_k),
            format!("{} of {}", entry.registers(), entry.level.registers()),
            thousands(entry.scratch_bytes() as u64),
            entry.models.to_owned(),
        ]);
    }
    table.trim_fmt() + "\n"
}

/// The same, one JSON object a line.
///
/// # Errors
/// None in practice: an entry has nothing that JSON cannot say.
pub fn planned_json() -> serde_json::Result<String> {
    let entry = |entry: Planned<'static>| Entry {
        entry: entry.name(),
        level: entry.level.name(),
        tile_q: entry.tile_q(),
        tile_k: entry.tile_k,
        vectors: entry.tiling.vectors,
        scalars: entry.tiling.scalars,
        lanes: format!("{:?}", entry.tiling.lanes).to_lowercase(),
        registers: entry.registers(),
        registers_of: entry.level.registers(),
        scratch_bytes: entry.scratch_bytes(),
        why: entry.models,
    };
    json(&all().map(entry).collect::<Vec<_>>())
}

/// One JSON object a line.
///
/// # Errors
/// A row with something that JSON cannot say.
pub fn json(rows: &[impl Serialize]) -> serde_json::Result<String> {
    rows.iter().map(|row| serde_json::to_string(row).map(|line| line + "\n")).collect()
}

/// A table of what was measured.
#[must_use]
pub fn measured(rows: &[Row]) -> String {
    let header = [
        "entry",
        "level",
        "case",
        "tile q x k",
        "scratch, B",
        "text, B",
        "|error|",
        "err/bound",
        "ms",
        "naive ms",
        "GFLOP/s",
        "of peak",
    ];
    let mut table = table(header, 3..header.len());
    for row in rows {
        table.add_row([
            row.entry.clone(),
            row.level.clone(),
            row.case.clone(),
            format!("{} x {}", row.tile_q, row.tile_k),
            thousands(row.scratch_bytes as u64),
            row.text_bytes.map_or_else(|| "-".to_owned(), thousands),
            format!("{:.1e}", row.max_error),
            ratio(row.err_over_bound),
            digits(row.ms),
            digits(row.naive_ms),
            format!("{:.1}", row.gflops),
            format!("{:.0} %", 100.0 * row.share_of_peak),
        ]);
    }
    table.trim_fmt() + "\n"
}

/// A share of a bound; how far one that is exceeded is, hardly matters.
fn ratio(share: f64) -> String {
    if share < 100.0 { format!("{share:.3}") } else { format!("{share:.0e}") }
}

/// Three significant digits of a time.
fn digits(ms: f64) -> String {
    match ms {
        ms if ms < 0.1 => format!("{ms:.4}"),
        ms if ms < 1.0 => format!("{ms:.3}"),
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms => format!("{ms:.1}"),
    }
}

/// A table whose columns of numbers stand flush right.
fn table<const COLUMNS: usize>(header: [&str; COLUMNS], numbers: Range<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')));
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
