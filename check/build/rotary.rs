//! Rotary positions: models with their frequencies and tables, and heads of which positions turn.

use std::fmt::Write;
use std::path::Path;

use half::{bf16, f16};
use oracle::Format;
use oracle::rope::{self, Pairing, Rope, Scaling, TABLE_ERROR, Yarn};

use crate::head::{Head, Projections};
use crate::numbers::{numbers, round_up, write};

/// First positions of the tables: a prompt's, two of long contexts, and the last that there are.
const STARTS: [u32; 4] = [0, 131_000, 1 << 20, u32::MAX - (POSITIONS - 1)];
/// Positions from each start on.
const POSITIONS: u32 = 32;
/// Positions that are computed at once. Exact numbers are embedded for the last of them.
const BLOCK: u32 = 8;

struct Model {
    name: &'static str,
    theta_base: f64,
    rot_dim: usize,
    scaling: Scaling,
}

#[rustfmt::skip]
const MODELS: [Model; 4] = [
    Model { name: "smollm2", theta_base: 100_000.0, rot_dim: 64, scaling: Scaling::None },
    Model { name: "llama31", theta_base: 500_000.0, rot_dim: 128, scaling: Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original_len: 8192 } },
    // An amplitude that is not 1.
    Model { name: "gpt-oss", theta_base: 150_000.0, rot_dim: 64, scaling: Scaling::Yarn(Yarn { truncate: false, ..Yarn::new(32.0, 4096) }) },
    // A vector of pairs and a part of one.
    Model { name: "linear", theta_base: 10_000.0, rot_dim: 40, scaling: Scaling::Linear { factor: 4.0 } },
];

/// The first tokens of a head of SmolLM2, turned as another model would.
struct Rotation {
    /// Index in [`MODELS`].
    model: usize,
    pairing: Pairing,
    /// The first channel that turns.
    first: usize,
    /// Position of the first token.
    start: u32,
    storage: Format,
}

const FILE: &str = "smollm2-l0";
const TOKENS: usize = 9;

#[rustfmt::skip]
const ROTATIONS: [Rotation; 8] = [
    Rotation { model: 0, pairing: Pairing::Halves, first: 0, start: 131_000, storage: Format::F32 },
    Rotation { model: 0, pairing: Pairing::Interleaved, first: 0, start: 131_000, storage: Format::F32 },
    Rotation { model: 2, pairing: Pairing::Halves, first: 0, start: u32::MAX - 8, storage: Format::F16 },
    Rotation { model: 2, pairing: Pairing::Interleaved, first: 0, start: u32::MAX - 8, storage: Format::F16 },
    Rotation { model: 2, pairing: Pairing::Halves, first: 0, start: 1 << 20, storage: Format::Bf16 },
    Rotation { model: 2, pairing: Pairing::Interleaved, first: 0, start: 1 << 20, storage: Format::Bf16 },
    // Channels before and behind those that turn.
    Rotation { model: 3, pairing: Pairing::Halves, first: 8, start: 4000, storage: Format::F32 },
    Rotation { model: 3, pairing: Pairing::Interleaved, first: 8, start: 4000, storage: Format::F32 },
];

/// Writes `rotary.rs`, the table of models and rotations, and the numbers that it refers to.
pub(crate) fn embed(dir: &Path) {
    agrees_with_file();
    let (mut models, mut rotations) = (String::new(), String::new());
    for model in &MODELS {
        element(&mut models, "Model", &model.lines(dir));
    }
    let projections = Projections::read(FILE);
    for rotation in &ROTATIONS {
        element(&mut rotations, "Rotation", &rotation.lines(dir, &projections));
    }
    let pairs = MODELS.iter().map(|model| model.rot_dim / 2).max().expect("models");
    let turned = TOKENS * (projections.q_heads + projections.kv_heads) * projections.head_dim;
    let text = format!(
        "/// Every model, in the order of the list in `build/rotary.rs`.\n\
         pub static MODELS: [Model; {}] = [\n{models}];\n\n\
         /// Every rotation, in the order of its list.\n\
         pub static ROTATIONS: [Rotation; {}] = [\n{rotations}];\n\n\
         pub(crate) const STARTS: [u32; {}] = {STARTS:?};\n\
         pub(crate) const POSITIONS: u32 = {POSITIONS};\n\
         pub(crate) const BLOCK: u32 = {BLOCK};\n\
         pub(crate) const MAX_PAIRS: usize = {pairs};\n\
         pub(crate) const MAX_TURNED: usize = {turned};\n",
        MODELS.len(),
        ROTATIONS.len(),
        STARTS.len(),
    );
    write(&dir.join("rotary.rs"), text.as_bytes());
}

fn element(table: &mut String, name: &str, lines: &[String]) {
    writeln!(table, "    {name} {{\n        {},\n    }},", lines.join(",\n        "))
        .expect("a String takes all");
}

impl Model {
    fn rope(&self, pairing: Pairing) -> Rope {
        Rope::new(pairing, self.theta_base, self.rot_dim, &self.scaling)
    }

    fn lines(&self, dir: &Path) -> [String; 6] {
        let Self { name, theta_base, rot_dim, scaling } = self;
        let Rope { frequencies, amplitude, .. } = self.rope(Pairing::Halves);
        let turns: Vec<u64> = frequencies.iter().map(|&f| rope::turns_q64(f)).collect();
        let mut rows = Vec::new();
        for start in STARTS {
            for end in (BLOCK..=POSITIONS).step_by(BLOCK.try_into().expect("a few")) {
                let position = i64::from(start) + i64::from(end) - 1;
                let (cos, sin): (Vec<f64>, Vec<f64>) =
                    frequencies.iter().map(|&f| rope::cos_sin(f, position)).unzip();
                rows.extend(cos.iter().chain(&sin).map(|x| amplitude * x));
            }
        }
        // The oracle's cosines are within 1e-15.
        let limit = round_up(rope::table_bound(amplitude, TABLE_ERROR) + 2e-15 * amplitude);
        [
            format!(
                "names: Names {{ turns: \"{name}-turns\", inv_freq: \"{name}-inv-freq\", \
                 table: \"{name}-table\", compatible: \"{name}-table-f32\" }}"
            ),
            format!("theta: Theta::new({theta_base:?}).scaled({})", expression(scaling)),
            format!("pairs: {}", rot_dim / 2),
            format!("turns: {}", numbers(dir, &format!("{name}.turns"), &turns)),
            format!("rows: {}", numbers(dir, &format!("{name}.rows"), &rows)),
            format!("limit: {limit:?}"),
        ]
    }
}

/// The same in the words of the crate.
fn expression(scaling: &Scaling) -> String {
    match scaling {
        Scaling::None => "Scaling::None".into(),
        Scaling::Linear { factor } => format!("Scaling::Linear {{ factor: {factor:?} }}"),
        Scaling::Llama3 { factor, low, high, original_len } => format!(
            "Scaling::Llama3(Llama3 {{ factor: {factor:?}, low_freq_factor: {low:?}, \
             high_freq_factor: {high:?}, original_len: {original_len} }})"
        ),
        Scaling::Yarn(Yarn { factor, original_len, truncate, .. }) => format!(
            "Scaling::Yarn(Yarn {{ truncate: {truncate}, ..Yarn::new({factor:?}, {original_len}) }})"
        ),
        other => panic!("no model of the list has {other:?}"),
    }
}

impl Rotation {
    fn lines(&self, dir: &Path, projections: &Projections) -> [String; 11] {
        let Self { model, pairing, first, start, storage } = self;
        let Projections { q, k, q_heads, kv_heads, head_dim } = projections;
        let rope = Rope { offset: *first, ..MODELS[*model].rope(*pairing) };
        let (mut input, mut exact, mut limits) = (Vec::new(), Vec::new(), Vec::new());
        for (tensor, heads) in [(q, q_heads), (k, kv_heads)] {
            for (n, row) in tensor.chunks_exact(*head_dim).take(TOKENS * heads).enumerate() {
                let position = |_| i64::from(*start) + (n / heads) as i64;
                let row: Vec<f32> = row.iter().map(|&x| stored(*storage, x)).collect();
                let wide: Vec<f64> = row.iter().map(|&x| x.into()).collect();
                exact.extend(rope.rotate(&wide, position));
                let bounds = rope.bound(&wide, position, TABLE_ERROR, *storage);
                // What passes through is exact.
                limits.extend(bounds.iter().map(|&x| if x == 0.0 { 0.0 } else { round_up(x) }));
                input.extend(row);
            }
        }
        let name = format!("{}-{pairing:?}-{storage:?}", MODELS[*model].name).to_lowercase();
        [
            format!("name: {name:?}"),
            format!("model: &MODELS[{model}]"),
            format!("pairing: Pairing::{pairing:?}"),
            format!("first: {first}"),
            format!("start: {start}"),
            format!("storage: Storage::{storage:?}"),
            format!("q: [1, {TOKENS}, {q_heads}, {head_dim}]"),
            format!("k: [1, {TOKENS}, {kv_heads}, {head_dim}]"),
            format!("input: {}", numbers(dir, &format!("{name}.input"), &input)),
            format!("exact: {}", numbers(dir, &format!("{name}.exact"), &exact)),
            format!("limits: {}", numbers(dir, &format!("{name}.limits"), &limits)),
        ]
    }
}

/// The nearest number of a format.
fn stored(storage: Format, x: f32) -> f32 {
    match storage {
        Format::F32 => x,
        Format::F16 => f16::from_f32(x).to_f32(),
        Format::Bf16 => bf16::from_f32(x).to_f32(),
    }
}

/// The file has its heads before and after, turned by another program. The oracle must agree.
fn agrees_with_file() {
    let (head, before) = (Head::read(FILE), Projections::read(FILE));
    let rope = MODELS[0].rope(Pairing::Interleaved);
    for (n, row) in before.q.chunks_exact(before.head_dim).enumerate() {
        let wide: Vec<f64> = row.iter().map(|&x| x.into()).collect();
        let ours = rope.rotate(&wide, |_| (n / before.q_heads) as i64);
        for (ours, &file) in ours.iter().zip(&head.q[n * before.head_dim..]) {
            // Half an ulp, and what f64 loses of 73 radians.
            let limit = f64::from(file.abs()) * f64::from(f32::EPSILON) / 2.0 + 1e-12;
            assert!((ours - f64::from(file)).abs() <= limit, "row {n}: {ours} and {file}");
        }
    }
}
