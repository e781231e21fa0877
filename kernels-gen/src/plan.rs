//! From a head size and a level to an entry: its tile, its registers, its scratch, its name.

use crate::manifest::{LINEAR, Line, LinearLine, MANIFEST, PAIRS, RopeLine};
use crate::tiles::Tiles;
use flashlet::entry::{Lanes, TILE_K, Tiling};
use flashlet::{CHUNK, Family, Form, Gate, Level, Pairing, Rule};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an entry is tiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Many queries.
    Attend,
    /// Few queries.
    Decode,
    /// Many queries, with products of bf16 pairs.
    Pairs,
}

/// One entry to be generated.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// What it is tiled for.
    pub op: Op,
    /// Its instruction set.
    pub level: Level,
    /// Width of a query and of a key.
    pub dim: usize,
    /// Width of a value.
    pub v_dim: usize,
    /// Keys in a tile.
    pub tile_k: usize,
    /// Its tiles.
    pub tiling: Tiling,
    /// The models that want it.
    pub models: &'a str,
}

/// Every entry of a level, `[attend, decode]` for each line of the manifest.
pub fn entries(level: Level, tiles: &Tiles) -> impl Iterator<Item = [Planned<'static>; 2]> {
    MANIFEST.iter().map(move |line| pair(level, line, TILE_K, tiles))
}

/// The entries of a level that multiply bf16 pairs.
pub fn pairs(level: Level, tiles: &Tiles) -> impl Iterator<Item = Planned<'static>> {
    let lines = if has_pairs(level) { MANIFEST } else { &[] };
    let wanted = |line: &&Line<'_>| PAIRS.contains(&[line.dim, line.v_dim]);
    lines.iter().filter(wanted).map(move |&Line { dim, v_dim, models }| {
        let tiling = tiles.of(level, Op::Pairs, [dim, v_dim]);
        Planned { op: Op::Pairs, level, dim, v_dim, tile_k: TILE_K, tiling, models }
    })
}

/// Whether a level has entries that multiply bf16 pairs.
#[must_use]
pub fn has_pairs(level: Level) -> bool {
    level == Level::Avx512
}

/// `[attend, decode]` for one head size.
#[must_use]
pub fn pair<'a>(level: Level, line: &Line<'a>, tile_k: usize, tiles: &Tiles) -> [Planned<'a>; 2] {
    let &Line { dim, v_dim, models } = line;
    [Op::Attend, Op::Decode].map(|op| {
        let tiling = tiles.of(level, op, [dim, v_dim]);
        Planned { op, level, dim, v_dim, tile_k, tiling, models }
    })
}

/// A head size as names have it: `64`, or `192x128` where values have another width.
#[must_use]
pub fn width([dim, v_dim]: [usize; 2]) -> String {
    if dim == v_dim { dim.to_string() } else { format!("{dim}x{v_dim}") }
}

/// The elements that functions for rotary positions are generated for.
pub const ELEMENTS: [&str; 3] = ["f32", "f16", "bf16"];

/// The elements that a level has functions for. Where stored numbers of 16 bits are widened by several instructions, those take the
/// time, and knowing the width saves none.
#[must_use]
pub fn elements(level: Level) -> &'static [&'static str] {
    match level {
        Level::Scalar | Level::Portable => &ELEMENTS[..1],
        Level::Avx2 | Level::Avx512 => &ELEMENTS,
    }
}

/// The name of the function that turns heads of an element: its parameters in a fixed order.
#[must_use]
pub fn rope_name(line: &RopeLine, element: &str, level: Level) -> String {
    let pairing = match line.pairing {
        Pairing::Interleaved => "interleaved",
        Pairing::Halves => "halves",
    };
    format!("rope_{element}_r{}_{pairing}_{level}", line.rot_dim)
}

/// The linear attentions that have entries on a level. The widest of an architecture has them: elsewhere the functions of any
/// head are as fast within 4 %, and lines would only be more machine code. So are they where AVX-512 works on a low rank.
pub fn linear_lines(level: Level) -> impl Iterator<Item = &'static LinearLine<'static>> {
    LINEAR.iter().filter(move |line| match level {
        Level::Scalar | Level::Portable => true,
        Level::Avx2 => false,
        Level::Avx512 => line.family.rule != Rule::LowRank,
    })
}

/// `[vectors, tokens]` of the register tiles of linear attention.
#[must_use]
pub fn linear_tile(level: Level) -> [usize; 2] {
    match level {
        Level::Avx512 => [4, 4],
        Level::Scalar | Level::Portable | Level::Avx2 => [2, 4],
    }
}

/// Vectors that a step of linear attention takes at once.
#[must_use]
pub fn linear_step_vectors(level: Level) -> usize {
    match level {
        Level::Scalar | Level::Avx2 => 4,
        Level::Portable | Level::Avx512 => 2,
    }
}

/// The name of the function that learns and reads in a form: its parameters in a fixed order. Widths shape no step.
#[must_use]
pub fn linear_name(line: &LinearLine<'_>, form: Form, level: Level) -> String {
    let LinearLine { family: Family { gate, rule }, dim, v_dim, .. } = line;
    let gate = match gate {
        Gate::Never => "kept",
        Gate::Head | Gate::Token => "token",
        Gate::Channel => "channel",
    };
    let rule = match rule {
        Rule::Add => "add",
        Rule::Bonus => "bonus",
        Rule::Delta => "delta",
        Rule::LowRank => "low_rank",
    };
    match form {
        Form::Recurrent => format!("linear_step_{gate}_{rule}_{level}"),
        Form::Chunked => format!("linear_{gate}_{rule}_k{dim}_v{v_dim}_c{CHUNK}_{level}"),
    }
}

impl Planned<'_> {
    /// The function's name: its parameters in a fixed order. Entries of the same name are the same
    /// function.
    #[must_use]
    pub fn name(&self) -> String {
        let &Planned { op, level, dim, v_dim, tile_k, .. } = self;
        let (stem, rows) = (op.stem(), self.tile_q());
        if self.serves_any_head() {
            return format!("{stem}_q{rows}_k{tile_k}_{level}");
        }
        format!("{stem}_hd{}_q{rows}_k{tile_k}_{level}", width([dim, v_dim]))
    }

    /// Whether its function is that of all head sizes: with keys in lanes their width shapes nothing.
    #[must_use]
    pub fn serves_any_head(&self) -> bool {
        self.tiling.lanes == Lanes::Keys
    }

    /// Rows of a query tile.
    #[must_use]
    pub fn tile_q(&self) -> usize {
        self.tiling.rows
    }

    /// Registers that the inner loops fill.
    #[must_use]
    pub fn registers(&self) -> usize {
        self.tiling.registers(self.level)
    }

    /// Bytes of scratch for keys and values in f32. Those of pairs are copied in any case.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let &Planned { op, level, dim, v_dim, tile_k, tiling, .. } = self;
        let floats = match op {
            Op::Attend | Op::Decode => tiling.scratch_len_in_place(level, dim, v_dim, tile_k),
            Op::Pairs => tiling.scratch_len(level, dim, v_dim, tile_k),
        };
        floats * size_of::<f32>()
    }
}

impl Op {
    /// How names of entries start.
    fn stem(self) -> &'static str {
        match self {
            Op::Attend => "attend_f32",
            Op::Decode => "decode_f32",
            Op::Pairs => "attend_bf16",
        }
    }
}

/// As command lines and `tiles.toml` have it.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Op::Attend => "attend",
            Op::Decode => "decode",
            Op::Pairs => "pairs",
        })
    }
}
