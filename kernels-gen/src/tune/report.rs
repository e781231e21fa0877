//! What was found, as a table for people and as JSON lines.

use super::{Contest, Finding, Verdict};
use crate::plan::{Op, width};
use crate::table;
use crate::tiles::is_tuned;
use flashlet::entry::Tiling;
use serde::Serialize;

/// One entry as `cargo kernels tune --json` prints it.
#[derive(Serialize)]
struct Row {
    level: &'static str,
    op: Op,
    head: String,
    candidates: usize,
    present: Tile,
    present_ms: f64,
    best: Tile,
    best_ms: f64,
    gain: f64,
    beyond_noise: bool,
    proposed: bool,
    wrong: Vec<Tile>,
}

#[derive(Serialize)]
struct Tile {
    vectors: usize,
    scalars: usize,
    rows: usize,
}

impl From<Tiling> for Tile {
    fn from(Tiling { vectors, scalars, rows, .. }: Tiling) -> Self {
        Tile { vectors, scalars, rows }
    }
}

/// A tile as tables have it.
pub(super) fn tile(tiling: &Tiling) -> String {
    format!("{} x {}, {} rows", tiling.vectors, tiling.scalars, tiling.rows)
}

/// A table of what was found.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let header =
        ["level", "entry", "head", "present tile", "ms", "best of", "tile", "ms", "gain", ""];
    let mut table = table::table(header, 2..9);
    for finding in findings {
        let Contest { level, op, dims, candidates } = &finding.contest;
        let [present, best] = finding.tilings();
        let Verdict { ms, gain, .. } = finding.verdict;
        table.add_row([
            level.to_string(),
            op.to_string(),
            width(*dims),
            tile(&present),
            table::digits(ms[0]),
            candidates.len().to_string(),
            tile(&best),
            table::digits(ms[1]),
            format!("{:.1} %", 100.0 * gain),
            remark(finding),
        ]);
    }
    table.trim_fmt() + "\n"
}

fn remark(finding: &Finding) -> String {
    let Verdict { best, is_clear, .. } = finding.verdict;
    let found = match (best, is_clear) {
        (0, _) => "the best is in place",
        (_, false) => "within the noise",
        (_, true) if is_tuned(finding.contest.level) => "proposed",
        (_, true) => "faster here; the rule stays",
    };
    let wrong: Vec<String> = finding.wrong().map(|tiling| tile(&tiling)).collect();
    match wrong.is_empty() {
        true => found.to_owned(),
        false => format!("{found}; WRONG: {}", wrong.join("; ")),
    }
}

/// The same, one JSON object a line.
///
/// # Errors
/// None in practice: a finding has nothing that JSON cannot say.
pub fn json(findings: &[Finding]) -> serde_json::Result<String> {
    table::json(&findings.iter().map(Row::new).collect::<Vec<_>>())
}

impl Row {
    fn new(finding: &Finding) -> Row {
        let Contest { level, op, dims, candidates } = &finding.contest;
        let ([present, best], Verdict { ms, gain, is_clear, .. }) =
            (finding.tilings(), finding.verdict);
        Row {
            level: level.name(),
            op: *op,
            head: width(*dims),
            candidates: candidates.len(),
            present: present.into(),
            present_ms: ms[0],
            best: best.into(),
            best_ms: ms[1],
            gain,
            beyond_noise: is_clear,
            proposed: finding.is_proposed(),
            wrong: finding.wrong().map(Tile::from).collect(),
        }
    }
}
