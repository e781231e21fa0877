//! The tiles of generated entries: the rule of flashlet's `src/tiling.rs`, and `tiles.toml`, which
//! has what was measured to be faster.
//!
//! A cell there is one line: `decode-64 = { vectors = 2, scalars = 4, rows = 32, why = ".." }` under
//! `[avx512]`; `pairs-64` is that of bf16 pairs. The levels scalar and portable always have the rule's tiles: they serve processors on
//! which nobody tunes, and what is portable is known only where it is compiled.

use crate::plan::{Op, has_pairs, width};
use flashlet::Level;
use flashlet::entry::{TILE_K, Tiling};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Scratch that an entry may need for heads of up to 256 channels, in bytes.
pub const SCRATCH_BYTES: usize = 256 * 1024;

const OWN: &str = include_str!("../tiles.toml");

/// Where an entry stands in the list: `[avx512]`, `decode-64`.
type Place = (Level, Op, [usize; 2]);

/// What was measured to be better than the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiles {
    choices: BTreeMap<Place, Choice>,
    /// What the memory of a device leaves.
    given: BTreeMap<Place, Tiling>,
}

/// A tile, and why it is here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    vectors: usize,
    scalars: usize,
    rows: usize,
    why: String,
}

/// A line of the list that is no tile.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TilesError {
    /// No TOML, or not of this form.
    #[error("cannot read kernels-gen/tiles.toml")]
    Toml(#[from] toml::de::Error),
    /// A level that is not tuned.
    #[error("tiles of `{level}` in kernels-gen/tiles.toml")]
    #[diagnostic(help("`avx2` and `avx512` have tiles of their own"))]
    Level {
        /// As it is written.
        level: String,
    },
    /// A key that names no entry.
    #[error("`{key}` in kernels-gen/tiles.toml names no entry")]
    #[diagnostic(help(
        "an operation and a head size: `attend-64`, `decode-192x128`; on avx512 also `pairs-64`"
    ))]
    Key {
        /// As it is written.
        key: String,
    },
    /// A tile that does not fit.
    #[error("the tile of `{key}` on {level} does not fit registers, blocks or scratch")]
    Tile {
        /// Its key.
        key: String,
        /// Its level.
        level: Level,
    },
}

impl Tiles {
    /// Those of `tiles.toml`, as this program was compiled with it.
    ///
    /// # Errors
    /// A line that is no tile.
    pub fn own() -> Result<Tiles, TilesError> {
        Tiles::parse(OWN)
    }

    /// Reads and checks a list.
    ///
    /// # Errors
    /// A line that is no tile.
    pub fn parse(text: &str) -> Result<Tiles, TilesError> {
        let raw: BTreeMap<String, BTreeMap<String, Choice>> = toml::from_str(text)?;
        let mut tiles = Tiles::default();
        for (name, choices) in raw {
            let is_named = |level: &Level| is_tuned(*level) && level.name() == name;
            let Some(level) = Level::ALL.into_iter().find(is_named) else {
                return Err(TilesError::Level { level: name });
            };
            for (key, choice) in choices {
                let Some((op, dims)) = entry_of(level, &key) else {
                    return Err(TilesError::Key { key });
                };
                if !fits(choice.tiling(level, op), level, dims) {
                    return Err(TilesError::Tile { key, level });
                }
                tiles.choices.insert((level, op, dims), choice);
            }
        }
        Ok(tiles)
    }

    /// The tile of an entry.
    #[must_use]
    pub fn of(&self, level: Level, op: Op, dims: [usize; 2]) -> Tiling {
        let place = (level, op, dims);
        match (self.given.get(&place), self.choices.get(&place)) {
            (Some(tiling), _) => *tiling,
            (None, Some(choice)) => choice.tiling(level, op),
            (None, None) => rule(level, op, dims),
        }
    }

    /// The same with a tile that is given, whatever the list says. It is no line of the text.
    #[must_use]
    pub fn with(mut self, place: Place, tiling: Tiling) -> Self {
        self.given.insert(place, tiling);
        self
    }

    /// Gives an entry another tile; that of the rule needs no line.
    pub fn set(&mut self, (level, op, dims): Place, tiling: Tiling, why: String) {
        if tiling == rule(level, op, dims) {
            self.choices.remove(&(level, op, dims));
            return;
        }
        let Tiling { vectors, scalars, rows, .. } = tiling;
        self.choices.insert((level, op, dims), Choice { vectors, scalars, rows, why });
    }

    /// The text of `tiles.toml`: the comment at its head, then a line for each entry.
    #[must_use]
    pub fn text(&self) -> String {
        let comment = OWN.lines().take_while(|line| line.starts_with('#'));
        let mut text: String = comment.map(|line| line.to_owned() + "\n").collect();
        let mut section = None;
        for (&(level, op, dims), Choice { vectors, scalars, rows, why }) in &self.choices {
            if section.replace(level) != Some(level) {
                text += &format!("\n[{level}]\n");
            }
            let (width, why) = (width(dims), toml::Value::from(why.as_str()));
            text += &format!(
                "{op}-{width} = {{ vectors = {vectors}, scalars = {scalars}, rows = {rows}, why = {why} }}\n"
            );
        }
        text
    }
}

impl Choice {
    fn tiling(&self, level: Level, op: Op) -> Tiling {
        let &Choice { vectors, scalars, rows, .. } = self;
        Tiling { lanes: rule(level, op, [1, 1]).lanes, vectors, scalars, rows }
    }
}

/// Whether entries of a level may have tiles that the rule does not give them.
#[must_use]
pub fn is_tuned(level: Level) -> bool {
    matches!(level, Level::Avx2 | Level::Avx512)
}

/// What flashlet says without a measurement.
#[must_use]
pub fn rule(level: Level, op: Op, [dim, v_dim]: [usize; 2]) -> Tiling {
    match op {
        Op::Attend | Op::Pairs => Tiling::attend(level, dim, v_dim),
        Op::Decode => Tiling::decode(level),
    }
}

/// Whether a tile is one at all, and within the level's registers and the promised scratch.
#[must_use]
pub fn fits(tiling: Tiling, level: Level, [dim, v_dim]: [usize; 2]) -> bool {
    let floats = tiling.scratch_len(level, dim, v_dim, TILE_K);
    tiling.is_sound(level)
        && tiling.registers(level) <= level.registers()
        && floats.saturating_mul(size_of::<f32>()) <= SCRATCH_BYTES
}

/// `decode-192x128` as an operation and a head size.
fn entry_of(level: Level, key: &str) -> Option<(Op, [usize; 2])> {
    let (op, width) = key.split_once('-')?;
    let is_named = |known: &Op| known.to_string() == op;
    let op = [Op::Attend, Op::Decode, Op::Pairs].into_iter().find(is_named)?;
    if op == Op::Pairs && !has_pairs(level) {
        return None;
    }
    let (dim, v_dim) = width.split_once('x').unwrap_or((width, width));
    Some((op, [dim.parse().ok()?, v_dim.parse().ok()?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &str = r#"
[avx2]
attend-192x128 = { vectors = 2, scalars = 4, rows = 32, why = "5 % over 2 x 6 of 64 rows" }

[avx512]
decode-64 = { vectors = 1, scalars = 8, rows = 16, why = "a reason" }
pairs-64 = { vectors = 4, scalars = 6, rows = 64, why = "another" }
"#;

    #[test]
    fn what_is_written_is_read_and_its_own_text_is_as_written() {
        let tiles = Tiles::parse(SOME).unwrap();
        assert!(tiles.text().ends_with(SOME), "{}", tiles.text());
        assert_eq!(Tiles::parse(&tiles.text()).unwrap(), tiles);
        assert_eq!(Tiles::own().unwrap().text(), OWN, "tiles.toml has the form that is written");
    }

    #[test]
    fn an_entry_without_a_line_has_the_tile_of_the_rule() {
        let tiles = Tiles::parse(SOME).unwrap();
        assert_eq!(tiles.of(Level::Avx512, Op::Decode, [64, 64]).scalars, 8);
        assert_eq!(tiles.of(Level::Avx512, Op::Pairs, [64, 64]).scalars, 6);
        for (level, op, dims) in [
            (Level::Avx512, Op::Decode, [80, 80]),
            (Level::Avx512, Op::Attend, [64, 64]),
            (Level::Avx512, Op::Pairs, [80, 80]),
            (Level::Avx2, Op::Attend, [64, 64]),
        ] {
            assert_eq!(tiles.of(level, op, dims), rule(level, op, dims));
        }
    }

    #[test]
    fn the_tile_of_the_rule_takes_no_line() {
        let (mut tiles, place) =
            (Tiles::parse(SOME).unwrap(), (Level::Avx512, Op::Decode, [64, 64]));
        tiles.set(place, rule(place.0, place.1, place.2), String::new());
        assert!(!tiles.text().contains("decode"), "{}", tiles.text());
    }

    #[test]
    fn lines_that_are_no_tiles_are_refused() {
        let line = |level, key, vectors: &str| {
            let tile = "scalars = 4, rows = 128, why = \"\"";
            Tiles::parse(&format!("[{level}]\n{key} = {{ vectors = {vectors}, {tile} }}"))
        };
        assert!(
            line("avx512", "attend-64", "4").is_ok() && line("avx512", "pairs-64", "4").is_ok()
        );
        assert!(matches!(line("avx2", "pairs-64", "2"), Err(TilesError::Key { .. })));
        assert!(matches!(line("portable", "attend-64", "4"), Err(TilesError::Level { .. })));
        assert!(matches!(line("avx512", "attend_64", "4"), Err(TilesError::Key { .. })));
        assert!(matches!(line("avx512", "attend-64", "8"), Err(TilesError::Tile { .. })));
        assert!(matches!(line("avx2", "attend-64", "4"), Err(TilesError::Tile { .. })));
        assert!(matches!(line("avx512", "attend-64", "\"4\""), Err(TilesError::Toml(_))));
    }
}
