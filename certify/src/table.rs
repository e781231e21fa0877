//! What was measured beside what is recorded and what is allowed.

use crate::part::{AnyPart, Worst};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use flashlet::Level;
use serde::Serialize;

/// What one part misses on one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the part.
    pub part: String,
    /// Name of the level; `any` if all give the same bits.
    pub level: String,
    /// `fused` or `unfused`: bits agree within.
    pub class: String,
    /// Inputs tried.
    pub inputs: u64,
    /// The largest error.
    pub largest: f64,
    /// What it is counted in.
    pub unit: String,
    /// Bits of the first input that has it.
    pub at: String,
    /// What the bound allows for.
    pub limit: f64,
}

impl Row {
    pub(crate) fn new(part: &dyn AnyPart, level: Level, inputs: u64, worst: Worst) -> Row {
        let (level, class) = match part.by_level() {
            true => (level.name(), if level.is_fused() { "fused" } else { "unfused" }),
            false => ("any", "any"),
        };
        Row {
            part: part.name().to_owned(),
            level: level.to_owned(),
            class: class.to_owned(),
            inputs,
            largest: worst.error,
            unit: part.unit().to_owned(),
            at: format!("{:08x}", worst.at),
            limit: part.limit(class == "fused"),
        }
    }

    fn cells(&self) -> [String; 8] {
        [
            self.part.clone(),
            self.level.clone(),
            self.class.clone(),
            self.inputs.to_string(),
            digits(self.largest),
            self.unit.clone(),
            self.at.clone(),
            // As short as it is written, so that it comes back as it is.
            format!("{:?}", self.limit),
        ]
    }

    fn of_cells(cells: &[&str]) -> Option<Row> {
        let &[part, level, class, inputs, largest, unit, at, limit] = cells else {
            return None;
        };
        let [part, level, class, unit, at] = [part, level, class, unit, at].map(str::to_owned);
        let (inputs, largest) = (inputs.parse().ok()?, largest.parse().ok()?);
        Some(Row { part, level, class, inputs, largest, unit, at, limit: limit.parse().ok()? })
    }

    /// The entry that this must agree with: its own, or, on a machine of another kind, one of its class.
    fn recorded<'a>(&self, table: &'a [Row]) -> Option<&'a Row> {
        let mut class = table.iter().filter(|row| row.part == self.part && row.class == self.class);
        let own = class.clone().find(|row| row.level == self.level);
        own.or_else(|| class.next())
    }
}

/// Six digits, rounded up: nothing that was measured is above what is written.
fn digits(x: f64) -> String {
    let text = format!("{x:.5e}");
    match text.parse::<f64>() {
        Ok(written) if written < x && x.is_finite() => {
            // One unit of the last digit more.
            let power = 10.0_f64.powi(x.log10().floor() as i32 - 5);
            format!("{:.5e}", written + power)
        }
        _ => text,
    }
}

const HEADER: [&str; 8] =
    ["part", "level", "class", "inputs", "largest error", "unit", "at", "limit"];

/// The first line says what this is; then a line a row, its cells between tabs.
#[must_use]
pub fn tsv(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| row.cells().join("\t") + "\n");
    let head = "# cargo run --release -p certify -- --write: do not edit\n";
    head.to_owned() + &HEADER.join("\t") + "\n" + &lines.collect::<String>()
}

/// A line that is not one of a table.
#[derive(Debug, thiserror::Error)]
#[error("line {number} is none of a table: {line}")]
pub struct Reading {
    number: usize,
    line: String,
}

/// The rows of what [`tsv`] wrote.
///
/// # Errors
/// A line that it does not write.
pub fn parse(text: &str) -> Result<Vec<Row>, Reading> {
    let lines = text.lines().enumerate().skip(2);
    let row = |(number, line): (usize, &str)| {
        let cells: Vec<&str> = line.split('\t').collect();
        Row::of_cells(&cells).ok_or_else(|| Reading { number: number + 1, line: line.to_owned() })
    };
    lines.map(row).collect()
}

/// One JSON object a line. An infinite error is null.
///
/// # Errors
/// None that is known.
pub fn json(rows: &[Row]) -> serde_json::Result<String> {
    rows.iter().map(|row| serde_json::to_string(row).map(|line| line + "\n")).collect()
}

/// For people.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')));
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(HEADER);
    for row in rows {
        table.add_row(row.cells());
    }
    for column in [3, 4, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

/// Which inputs were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All: what is below the recorded is wrong too, since the record is stale.
    All,
    /// Some.
    Some,
}

/// What is wrong with a row.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The bound does not allow for it.
    #[error("{part} on {level}: {largest:e} at {at} is above its limit {limit}")]
    Limit {
        /// Name of the part.
        part: String,
        /// Name of the level.
        level: String,
        /// The largest error.
        largest: f64,
        /// Bits of the input.
        at: String,
        /// What the bound allows for.
        limit: f64,
    },
    /// It was better.
    #[error("{part} on {level}: {largest:e} at {at} is above the recorded {recorded}")]
    Above {
        /// Name of the part.
        part: String,
        /// Name of the level.
        level: String,
        /// The largest error.
        largest: f64,
        /// Bits of the input.
        at: String,
        /// What it was, to six digits.
        recorded: String,
    },
    /// The record is not what is measured.
    #[error("{part} on {level}: the recorded {what} {recorded} is stale, it is {measured}")]
    Stale {
        /// Name of the part.
        part: String,
        /// Name of the level.
        level: String,
        /// What of the row.
        what: &'static str,
        /// What it was.
        recorded: String,
        /// What it is.
        measured: String,
    },
    /// Nothing is recorded of a row, or something of a part that there is no more.
    #[error("{part} on {level}: {missing}")]
    Missing {
        /// Name of the part.
        part: String,
        /// Name of the level.
        level: String,
        /// Where it is not.
        missing: &'static str,
    },
}

/// All that is wrong with what was measured, beside a record.
#[must_use]
pub fn faults(measured: &[Row], recorded: &[Row], scope: Scope) -> Vec<Fault> {
    let mut faults: Vec<Fault> = measured.iter().filter_map(limit).collect();
    for row in measured {
        let (part, level) = (row.part.clone(), row.level.clone());
        match row.recorded(recorded) {
            Some(record) => faults.extend(differences(row, record, scope)),
            None => faults.push(Fault::Missing { part, level, missing: "not recorded" }),
        }
    }
    let is_gone = |record: &&Row| !measured.iter().any(|row| row.part == record.part);
    faults.extend(recorded.iter().filter(is_gone).map(|record| {
        let (part, level) = (record.part.clone(), record.level.clone());
        Fault::Missing { part, level, missing: "recorded, not measured" }
    }));
    faults
}

fn limit(row: &Row) -> Option<Fault> {
    let Row { part, level, largest, at, limit, .. } = row.clone();
    (largest > limit).then_some(Fault::Limit { part, level, largest, at, limit })
}

fn differences(row: &Row, record: &Row, scope: Scope) -> Vec<Fault> {
    let Row { part, level, largest, at, .. } = row.clone();
    let stale = |what, recorded: String, measured: String| {
        let is_stale = recorded != measured;
        let (part, level) = (part.clone(), level.clone());
        is_stale.then_some(Fault::Stale { part, level, what, recorded, measured })
    };
    let mut faults = Vec::new();
    faults.extend(stale("limit", record.limit.to_string(), row.limit.to_string()));
    faults.extend(stale("unit", record.unit.clone(), row.unit.clone()));
    let recorded = digits(record.largest);
    if largest > record.largest {
        let (part, level) = (part.clone(), level.clone());
        faults.push(Fault::Above { part, level, largest, at, recorded });
    } else if scope == Scope::All {
        faults.extend(stale("error", recorded, digits(largest)));
    }
    if scope == Scope::All {
        faults.extend(stale("count", record.inputs.to_string(), row.inputs.to_string()));
    }
    faults
}
