//! Tables for people and JSON lines: their form, and the table of what was measured.

use crate::render::thousands;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use measure::trial::Row;
use serde::Serialize;
use std::ops::Range;

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
            known(row.text_bytes),
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

/// A number of bytes, if it is known.
#[must_use]
pub fn known(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), thousands)
}

/// A share of a bound; how far one that is exceeded is, hardly matters.
pub(crate) fn ratio(share: f64) -> String {
    if share < 100.0 { format!("{share:.3}") } else { format!("{share:.0e}") }
}

/// Three significant digits of a time.
pub(crate) fn digits(ms: f64) -> String {
    match ms {
        ms if ms < 0.1 => format!("{ms:.4}"),
        ms if ms < 1.0 => format!("{ms:.3}"),
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms => format!("{ms:.1}"),
    }
}

/// A table whose columns of numbers stand flush right.
pub(crate) fn table<const COLUMNS: usize>(header: [&str; COLUMNS], numbers: Range<usize>) -> Table {
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
