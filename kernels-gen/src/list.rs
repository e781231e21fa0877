//! Every entry that the manifest asks for, and what it takes: registers, scratch, machine code.

use crate::manifest::ROPES;
use crate::plan::{Planned, elements, entries, pairs, rope_name};
use crate::render::thousands;
use crate::table::{json, known, table as table_of};
use crate::text::Text;
use crate::tiles::Tiles;
use flashlet::Level;
use serde::Serialize;

/// The machine code that the default build for x86-64 may have, in bytes.
pub const LIMIT: u64 = 1_000_000;

/// Every entry, by level.
#[derive(Debug)]
pub struct List {
    entries: Vec<Row>,
    ropes: Vec<RopeRow>,
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
        let totals = text.map_or_else(Vec::new, |text| totals(&entries, &ropes, text));
        List { entries, ropes, totals }
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
        let totals: String = self.totals.iter().map(Total::line).collect();
        format!("{}\n\n{}\n{totals}", table.trim_fmt(), ropes.trim_fmt())
    }

    /// One JSON object a line: the entries, the functions for rotary positions, then the totals.
    ///
    /// # Errors
    /// None in practice: there is nothing that JSON cannot say.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(json(&self.entries)? + &json(&self.ropes)? + &json(&self.totals)?)
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

fn totals(entries: &[Row], ropes: &[RopeRow], text: &Text) -> Vec<Total> {
    let of_level = |level: Level| {
        let entries = entries.iter().map(|row| (row.level, row.text_bytes));
        let all = entries.chain(ropes.iter().map(|row| (row.level, row.text_bytes)));
        let sizes: Vec<u64> =
            all.filter(|row| row.0 == level.name()).filter_map(|row| row.1).collect();
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
        let list = List::new(&Tiles::default(), Some(&Text { functions, total: 250_000 }));
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
