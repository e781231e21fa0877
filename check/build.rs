//! Works out what every case must give, and embeds it.
//!
//! For each case of the list below: reads the head from `data/real-heads`, asks the oracle for the
//! exact result and for the certified bound of both arithmetics, and writes one file of numbers for
//! each array and `cases.rs`, the table that refers to them. The same for rotary positions and linear
//! attention, of which `build/rotary.rs` and `build/recurrence.rs` have the lists. The crate that runs the cases computes nothing of this, so it fits
//! a microcontroller.

#[path = "build/device.rs"]
mod device;
#[path = "build/embed.rs"]
mod embed;
#[path = "build/expect.rs"]
mod expect;
#[path = "build/head.rs"]
mod head;
#[path = "build/numbers.rs"]
mod numbers;
#[path = "build/recurrence.rs"]
mod recurrence;
#[path = "build/rotary.rs"]
mod rotary;

use std::path::PathBuf;

use embed::Embedder;
use expect::Expected;
use head::{Head, Part};

/// Keys of a tile, in the sums of every flashlet kernel; the table asserts that it is the crate's.
const TILE_K: usize = 96;

/// One line of the table of cases.
struct Spec {
    name: &'static str,
    /// Stem of the file under `data/real-heads`.
    file: &'static str,
    queries: Queries,
    /// How often the keys and values stand one after another: two are more than a tile.
    repeat: usize,
    sight: Sight,
}

/// One of the cases that fit the smallest device: a part of a head.
struct Small {
    name: &'static str,
    file: &'static str,
    part: Part,
    repeat: usize,
    sight: Sight,
}

#[rustfmt::skip]
const SMALL: &[Small] = &[
    Small { name: "prompt", file: "smollm2-l0", part: Part { tokens: 32, q_heads: 3, dim: 64 }, repeat: 1, sight: Sight::Causal },
    Small { name: "encoder", file: "minilm-l0", part: Part { tokens: 32, q_heads: 2, dim: 32 }, repeat: 1, sight: Sight::All },
    // One head, every pair: what other libraries are measured on.
    Small { name: "dense-d32-n64", file: "smollm2-l18", part: Part { tokens: 64, q_heads: 1, dim: 32 }, repeat: 1, sight: Sight::All },
    Small { name: "dense-d64-n128", file: "smollm2-l18", part: Part { tokens: 64, q_heads: 1, dim: 64 }, repeat: 2, sight: Sight::All },
];

/// Which rows of the file's queries take part.
#[derive(Clone, Copy)]
enum Queries {
    All,
    /// A decoder's step.
    Last,
}

/// Which keys a query sees. The last query stands at the last key.
#[derive(Clone, Copy)]
enum Sight {
    All,
    Causal,
    Window { keys: usize, sinks: usize },
}

#[rustfmt::skip]
const CASES: &[Spec] = &[
    // Whole prompts, as captured.
    Spec { name: "smollm2-l0", file: "smollm2-l0", queries: Queries::All, repeat: 1, sight: Sight::Causal },
    Spec { name: "smollm2-l18", file: "smollm2-l18", queries: Queries::All, repeat: 1, sight: Sight::Causal },
    Spec { name: "minilm-l0", file: "minilm-l0", queries: Queries::All, repeat: 1, sight: Sight::All },
    // The second chunk of a prompt that says everything twice: 146 keys are two tiles.
    Spec { name: "smollm2-l18-chunk", file: "smollm2-l18", queries: Queries::All, repeat: 2, sight: Sight::Causal },
    // The window slides over the border of the tiles, which are then partial at both ends.
    Spec { name: "smollm2-l0-window", file: "smollm2-l0", queries: Queries::All, repeat: 2, sight: Sight::Window { keys: 32, sinks: 4 } },
    // A decoder's step: one query a head. The window leaves a gap between the sinks and itself.
    Spec { name: "smollm2-l0-decode", file: "smollm2-l0", queries: Queries::Last, repeat: 2, sight: Sight::Causal },
    Spec { name: "smollm2-l18-decode", file: "smollm2-l18", queries: Queries::Last, repeat: 2, sight: Sight::Causal },
    Spec { name: "smollm2-l18-decode-window", file: "smollm2-l18", queries: Queries::Last, repeat: 2, sight: Sight::Window { keys: 64, sinks: 4 } },
    Spec { name: "minilm-l0-decode", file: "minilm-l0", queries: Queries::Last, repeat: 2, sight: Sight::All },
];

impl Sight {
    /// Whether the query at position `p` sees key `j`.
    fn shows(self, p: usize, j: usize) -> bool {
        match self {
            Sight::All => true,
            Sight::Causal => j <= p,
            Sight::Window { keys, sinks } => j <= p && (j + keys > p || j < sinks),
        }
    }
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let dir = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    rotary::embed(&dir);
    recurrence::embed(&dir);
    device::embed(&dir);
    let mut embedder = Embedder::new(dir);
    for Small { name, file, part, repeat, sight } in SMALL {
        let head = Head::read(file).part(*part, *repeat);
        embedder.small(name, *sight, &head, &Expected::of(&head, *sight));
    }
    for spec in CASES {
        let file = Head::read(spec.file);
        if spec.repeat == 1 && matches!(spec.queries, Queries::All) {
            expect::agrees_with_file(&file, spec.sight);
        }
        let head = file.cut(spec.queries, spec.repeat);
        let expected = Expected::of(&head, spec.sight);
        embedder.case(spec, &head, &expected);
    }
    embedder.finish();
}
