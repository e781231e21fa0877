//! Every entry that the manifest asks for, and what it takes: registers, scratch, machine code.

use crate::manifest::{LinearLine, ROPES};
use crate::plan::{Planned, elements, entries, linear_lines, linear_name, pairs, rope_name};
use crate::render::thousands;
use crate::table::{json, known, table as table_of};
use crate::text::Text;
use crate::tiles::Tiles;
use flashlet::{CHUNK, Form, Level, LinearAttention, LinearHeads, LinearShape};
use serde::Serialize;

/// The machine code that the default build for x86-64 may have, in bytes.
pub const LIMIT: u64 = 1_000_000;

/// Every entry, by level.
#[derive(Debug)]
pub struct List {
    entries: Vec<Row>,
    ropes: Vec<RopeRow>,
    linear: Vec<LinearRow>,
    totals: Vec<Total>,
}

/// One entry.
#[derive(Debug, Serialize)]
struct Row {
    entry: String,
    level: &'static str,
    tile_q: usize,
    tile_k: usize,
    vectors: usize,
    scalars: usize,
    lanes: String,
    registers: usize,
    registers_of: usize,
    /// For the widest head that it serves.
    scratch_bytes: usize,
    /// `None`: not compiled, or not for this target.
    text_bytes: Option<u64>,
    why: &'static str,
}

/// One function for rotary positions.
#[derive(Debug, Serialize)]
struct RopeRow {
    rope: String,
    level: &'static str,
    rot_dim: usize,
    /// As [`Row::text_bytes`].
    text_bytes: Option<u64>,
    why: &'static str,
}

/// One entry for linear attention.
#[derive(Debug, Serialize)]
struct LinearRow {
    linear: String,
    level: &'static str,
    dim: usize,
    v_dim: usize,
    chunk: usize,
    scratch_bytes: usize,
    state_bytes: usize,
    /// As [`Row::text_bytes`].
    text_bytes: Option<u64>,
    why: &'static str,
}

/// The machine code of a level's entries, or of all of flashlet.
#[derive(Debug, Serialize)]
struct Total {
    total: &'static str,
    entries: usize,
    text_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<u64>,
}

impl List {
    /// The list, with sizes out of flashlet's machine code if it is given.
    #[must_use]
    pub fn new(tiles: &Tiles, text: Option<&Text>) -> List {
        let of_level = |level| entries(level, tiles).flatten().chain(pairs(level, tiles));
        let planned = Level::ALL.into_iter().flat_map(of_level);
        let mut entries: Vec<Row> = Vec::new();
        for row in planned.map(|entry| Row::new(&entry, text)) {
            match entries.iter_mut().find(|known| known.entry == row.entry) {
                Some(known) => known.scratch_bytes = known.scratch_bytes.max(row.scratch_bytes),
                None => entries.push(row),
            }
        }
        let ropes: Vec<_> = Level::ALL.into_iter().flat_map(|level| ropes(level, text)).collect();
        let linear: Vec<_> = Level::ALL.into_iter().flat_map(|level| linear(level, text)).collect();
        let known = entries.iter().map(|row| (row.level, row.text_bytes));
        let known = known.chain(ropes.iter().map(|row| (row.level, row.text_bytes)));
        let known: Vec<_> =
            known.chain(linear.iter().map(|row| (row.level, row.text_bytes))).collect();
        let totals = text.map_or_else(Vec::new, |text| totals(&known, text));
        List { entries, ropes, linear, totals }
    }

    /// As a table, with the totals below it.
    #[must_use]
    pub fn table(&self) -> String {
        let header =
            ["entry", "tile q x k", "in lanes", "registers", "scratch, B", "text, B", "why"];
        let mut table = table_of(header, 1..6);
        for row in &self.entries {
            table.add_row([
                row.entry.clone(),
                format!("{} x {}", row.tile_q, row.tile_k),
                format!("{} {} x {}", row.lanes, row.vectors, row.scalars),
                format!("{} of {}", row.registers, row.registers_of),
                thousands(row.scratch_bytes as u64),
                known(row.text_bytes),
                row.why.to_owned(),
            ]);
        }
        let mut ropes = table_of(["rotary positions", "channels", "text, B", "why"], 1..3);
        for row in &self.ropes {
            let (channels, text) = (row.rot_dim.to_string(), known(row.text_bytes));
            ropes.add_row([row.rope.clone(), channels, text, row.why.to_owned()]);
        }
        let header = ["linear attention", "chunk", "scratch, B", "state, B", "text, B", "why"];
        let mut linear = table_of(header, 1..5);
        for row in &self.linear {
            linear.add_row([
                row.linear.clone(),
                row.chunk.to_string(),
                thousands(row.scratch_bytes as u64),
                thousands(row.state_bytes as u64),
                known(row.text_bytes),
                row.why.to_owned(),
            ]);
        }
        let totals: String = self.totals.iter().map(Total::line).collect();
        let tables = [table, ropes, linear].map(|table| table.trim_fmt());
        format!("{}\n{totals}", tables.join("\n\n"))
    }

    /// One JSON object a line: the entries, the functions for rotary positions, the entries for linear attention, then the totals.
    ///
    /// # Errors
    /// None in practice: there is nothing that JSON cannot say.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(json(&self.entries)? + &json(&self.ropes)? + &json(&self.linear)? + &json(&self.totals)?)
    }
}

impl Row {
    fn new(entry: &Planned<'static>, text: Option<&Text>) -> Row {
        let name = entry.name();
        Row {
            level: entry.level.name(),
            tile_q: entry.tile_q(),
            tile_k: entry.tile_k,
            vectors: entry.tiling.vectors,
            scalars: entry.tiling.scalars,
            lanes: format!("{:?}", entry.tiling.lanes).to_lowercase(),
            registers: entry.registers(),
            registers_of: entry.level.registers(),
            scratch_bytes: entry.scratch_bytes(),
            text_bytes: text.and_then(|text| text.functions.get(&name).copied()),
            why: if entry.serves_any_head() { "any head" } else { entry.models },
            entry: name,
        }
    }
}

/// The functions of a level for rotary positions.
fn ropes(level: Level, text: Option<&Text>) -> impl Iterator<Item = RopeRow> {
    let lines =
        elements(level).iter().flat_map(|element| ROPES.iter().map(move |line| (line, element)));
    lines.map(move |(line, element)| {
        let rope = rope_name(line, element, level);
        let text_bytes = text.and_then(|text| text.functions.get(&rope).copied());
        RopeRow { level: level.name(), rot_dim: line.rot_dim, text_bytes, why: line.models, rope }
    })
}

/// The entries of a level for linear attention.
fn linear(level: Level, text: Option<&Text>) -> impl Iterator<Item = LinearRow> {
    linear_lines(level).map(move |line| {
        let &LinearLine { family, dim, v_dim, models } = line;
        let name = linear_name(line, Form::Chunked, level);
        let heads = LinearHeads { v_dim, ..LinearHeads::new(1, dim) };
        let shape = LinearShape { batch: 1, len: CHUNK, heads };
        let plan = LinearAttention::new(shape, family).map(|plan| plan.form(Form::Chunked));
        LinearRow {
            level: level.name(),
            dim,
            v_dim,
            chunk: CHUNK,
            scratch_bytes: plan.map_or(0, |plan| plan.scratch_len()) * size_of::<f32>(),
            state_bytes: dim * v_dim * size_of::<f32>(),
            text_bytes: text.and_then(|text| text.functions.get(&name).copied()),
            why: models,
            linear: name,
        }
    })
}

/// Of the sizes of entries, each with its level, if it is known.
fn totals(known: &[(&str, Option<u64>)], text: &Text) -> Vec<Total> {
    let of_level = |level: Level| {
        let all = known.iter().filter(|row| row.0 == level.name());
        let sizes: Vec<u64> = all.filter_map(|row| row.1).collect();
        let (entries, text_bytes) = (sizes.len(), sizes.iter().sum());
        Total { total: level.name(), entries, text_bytes, limit_bytes: None }
    };
    let mut totals: Vec<Total> = Level::ALL.into_iter().map(of_level).collect();
    totals.retain(|total| total.entries > 0);
    totals.push(Total {
        total: "flashlet",
        entries: totals.iter().map(|total| total.entries).sum(),
        text_bytes: text.total,
        limit_bytes: cfg!(target_arch = "x86_64").then_some(LIMIT),
    });
    totals
}

impl Total {
    fn line(&self) -> String {
        let Total { total, entries, text_bytes, limit_bytes } = self;
        let text = thousands(*text_bytes);
        match limit_bytes {
            Some(limit) => {
                let share = 100.0 * *text_bytes as f64 / *limit as f64;
                let limit = thousands(*limit);
                format!("{total:>9}: {text:>9} B of text in all, {share:.0} % of {limit}\n")
            }
            None => format!("{total:>9}: {text:>9} B of text in {entries} entries\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_count_the_entries_that_are_there_and_all_code() {
        let sizes = [
            ("attend_f32_hd64_q128_k96_avx2", 7),
            ("decode_f32_q32_k96_avx2", 5),
            ("attend_bf16_hd64_q128_k96_avx512", 3),
        ];
        let functions = sizes.map(|(name, size)| (name.to_owned(), size)).into();
        let list =
            List::new(&Tiles::default(), Some(&Text { functions, total: 250_000, constants: 0 }));
        let found = list.entries.iter().filter_map(|row| row.text_bytes).sum::<u64>();
        let totals: Vec<_> =
            list.totals.iter().map(|t| (t.total, t.entries, t.text_bytes)).collect();
        let expected = vec![("avx2", 2, 12), ("avx512", 1, 3), ("flashlet", 3, 250_000)];
        assert_eq!((found, totals), (15, expected));
        if cfg!(target_arch = "x86_64") {
            let last = list.table();
            assert!(last.ends_with("250,000 B of text in all, 25 % of 1,000,000\n"), "{last}");
        }
    }

    #[test]
    fn without_a_build_no_size_is_known() {
        let list = List::new(&Tiles::default(), None);
        assert!(list.totals.is_empty() && list.entries.iter().all(|row| row.text_bytes.is_none()));
    }
}
