//! The templates, and how they see a level.

use super::thousands;
use crate::manifest::{LinearLine, ROPES, RopeLine};
use crate::plan::{
    ELEMENTS, Op, Planned, elements as of_level, linear_lines, linear_name, linear_step_vectors,
    linear_tile, rope_name,
};
use crate::spec::SpecFamily;
use flashlet::entry::{Lanes, Tiling, class};
use flashlet::{Form, Level};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use std::collections::BTreeSet;

const TEMPLATES: &[(&str, &str)] = &[
    ("generated.rs", include_str!("../../templates/generated.rs.jinja")),
    ("level.rs", include_str!("../../templates/level.rs.jinja")),
    ("tilings.rs", include_str!("../../templates/tilings.rs.jinja")),
    ("function.rs", include_str!("../../templates/function.rs.jinja")),
    ("emitted/Cargo.toml", include_str!("../../templates/emitted/Cargo.toml.jinja")),
    ("emitted/rustfmt.toml", include_str!("../../templates/emitted/rustfmt.toml.jinja")),
    ("emitted/call.rs", include_str!("../../templates/emitted/call.rs.jinja")),
    ("emitted/lib.rs", include_str!("../../templates/emitted/lib.rs.jinja")),
    ("emitted/memory.rs", include_str!("../../templates/emitted/memory.rs.jinja")),
    ("probe/Cargo.toml", include_str!("../../templates/probe/Cargo.toml.jinja")),
    ("probe/main.rs", include_str!("../../templates/probe/main.rs.jinja")),
    ("emitted/rope.rs", include_str!("../../templates/emitted/rope.rs.jinja")),
    ("emitted/rope_table.rs", include_str!("../../templates/emitted/rope_table.rs.jinja")),
    ("emitted/linear.rs", include_str!("../../templates/emitted/linear.rs.jinja")),
    ("emitted/linear_level.rs", include_str!("../../templates/emitted/linear_level.rs.jinja")),
    ("emitted/error.rs", include_str!("../../templates/emitted/error.rs.jinja")),
    ("emitted/level.rs", include_str!("../../templates/emitted/level.rs.jinja")),
    ("runner/Cargo.toml", include_str!("../../templates/runner/Cargo.toml.jinja")),
    ("runner/main.rs", include_str!("../../templates/runner/main.rs.jinja")),
    ("tune/Cargo.toml", include_str!("../../templates/tune/Cargo.toml.jinja")),
    ("tune/main.rs", include_str!("../../templates/tune/main.rs.jinja")),
    ("tune/level.rs", include_str!("../../templates/tune/level.rs.jinja")),
];

/// Why nothing can be rendered.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RenderError {
    /// This build of the generator has other portable vectors than the names say.
    #[error("the generator was built with portable vectors of {lanes} lanes; the names say 4")]
    #[diagnostic(help(
        "build it without `-C target-cpu` and `-C target-feature`, say with RUSTFLAGS= (empty)"
    ))]
    Vectors {
        /// Their lanes.
        lanes: usize,
    },
    /// Rotary positions that no table holds.
    #[error("the rope cannot be rendered")]
    Rope(#[from] flashlet::Error),
    /// A template asks for something that is not there.
    #[error(transparent)]
    Template(#[from] minijinja::Error),
}

/// Renders one template.
pub(crate) fn render(template: &str, view: impl Serialize) -> Result<String, RenderError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    // A line with nothing but a tag leaves no line.
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment.get_template(template)?.render(Serde(view))?)
}

/// A level and its entries.
#[derive(Serialize)]
pub(crate) struct LevelView {
    header: String,
    /// `avx512`.
    pub(crate) level: &'static str,
    /// `Avx512`: the variant of `Level`, and the token's type.
    backend: &'static str,
    /// An expression for the token.
    token: &'static str,
    /// What entries enable.
    features: Option<&'static str>,
    /// Whether the tiles are chosen where the generated code is compiled.
    by_target: bool,
    lanes: usize,
    registers: usize,
    tilings: Vec<TilingView>,
    /// `[attend, decode]` for each head size, and their functions, each once.
    pairs: Vec<[EntryView; 2]>,
    functions: Vec<EntryView>,
    /// Entries that multiply bf16 pairs, and what they enable.
    bf16: Vec<EntryView>,
    bf16_features: Option<String>,
    /// Functions for rotary positions, for each element.
    ropes: Vec<ElementView>,
    /// Entries for linear attention.
    linear: Vec<LinearView>,
}

/// An entry for linear attention.
#[derive(Serialize)]
pub(crate) struct LinearView {
    name: String,
    /// `Family::SIMPLE_GLA`, and the type that stands for its class.
    family: String,
    class: String,
    dim: usize,
    v_dim: usize,
    tile: String,
    models: String,
    /// Of steps: their function, and the vectors that it takes at once.
    step: String,
    step_vectors: usize,
}

impl LinearView {
    pub(crate) fn new(line: &LinearLine<'_>, level: Level) -> Self {
        let &LinearLine { family, dim, v_dim, models } = line;
        let ([gate, rule], [vectors, tokens]) = (class(family), linear_tile(level));
        let constant = SpecFamily::of(family).expect("lines are of families with a name");
        LinearView {
            name: linear_name(line, Form::Chunked, level),
            family: format!("Family::{}", constant.constant()),
            class: format!("Class<{gate}, {rule}>"),
            dim,
            v_dim,
            tile: format!("{vectors}, {tokens}"),
            models: models.to_owned(),
            step: linear_name(line, Form::Recurrent, level),
            step_vectors: linear_step_vectors(level),
        }
    }
}

/// An element, and its functions for rotary positions on a level.
#[derive(Clone, Serialize)]
pub(crate) struct ElementView {
    /// `bf16`.
    element: &'static str,
    /// `ROPES_BF16`.
    table: String,
    functions: Vec<RopeView>,
}

/// Rotary positions.
#[derive(Clone, Serialize)]
pub(crate) struct RopeView {
    name: String,
    rot_dim: usize,
    /// `Halves`: the variant of `Pairing`, and the type that stands for it.
    pairing: String,
    models: &'static str,
}

impl RopeView {
    fn new(line: &RopeLine, name: String) -> Self {
        let &RopeLine { rot_dim, pairing, models } = line;
        RopeView { name, rot_dim, pairing: format!("{pairing:?}"), models }
    }
}

/// The lines of the manifest, of no level.
pub(crate) fn ropes() -> Vec<RopeView> {
    ROPES.iter().map(|line| RopeView::new(line, String::new())).collect()
}

/// The elements, of no level.
pub(crate) fn elements() -> Vec<ElementView> {
    let of = |element: &'static str| ElementView {
        element,
        table: format!("ROPES_{}", element.to_uppercase()),
        functions: Vec::new(),
    };
    ELEMENTS.map(of).into()
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct TilingView {
    name: String,
    /// `Queries` or `Keys`.
    in_lanes: String,
    vectors: usize,
    scalars: usize,
    rows: usize,
    registers: usize,
}

/// An entry.
#[derive(Clone, Serialize)]
struct EntryView {
    name: String,
    dim: usize,
    v_dim: usize,
    tile_q: usize,
    scratch_bytes: String,
    /// Its tiling, as an expression.
    tiling: String,
    /// The algorithm: `attend` or `decode`.
    algorithm: &'static str,
    /// The const arguments that name its register tile, if the target does not decide them.
    tile: String,
    /// Who wants it, and what was derived for it.
    facts: String,
}

/// A level's variant, which is also its token's type; an expression for the token; what its entries
/// enable.
pub(crate) fn backend(level: Level) -> (&'static str, &'static str, Option<&'static str>) {
    match level {
        Level::Scalar => ("Scalar", "Scalar", None),
        Level::Portable => ("Portable", "Portable", None),
        Level::Avx2 => ("Avx2", "Avx2::here()", Some("avx2,fma,f16c")),
        Level::Avx512 => ("Avx512", "Avx512::here()", Some("avx512f,avx512bw,avx512dq,avx512vl")),
    }
}

impl LevelView {
    pub(crate) fn new(
        header: String,
        level: Level,
        pairs: Vec<[Planned<'_>; 2]>,
        bf16: Vec<Planned<'_>>,
    ) -> Result<Self, RenderError> {
        if Level::Portable.lanes() != 4 {
            return Err(RenderError::Vectors { lanes: Level::Portable.lanes() });
        }
        let (backend, token, features) = backend(level);
        let by_target = level == Level::Portable;
        let mut tilings: Vec<TilingView> = Vec::new();
        if !by_target {
            tilings = pairs.iter().flatten().chain(&bf16).map(TilingView::new).collect();
            tilings.sort_unstable();
            tilings.dedup();
        }
        let pairs: Vec<[EntryView; 2]> =
            pairs.iter().map(|pair| pair.each_ref().map(EntryView::new)).collect();
        let mut names = BTreeSet::new();
        let functions = pairs.iter().flatten().filter(|entry| names.insert(entry.name.clone()));
        Ok(LevelView {
            header,
            level: level.name(),
            backend,
            token,
            features,
            by_target,
            lanes: level.lanes(),
            registers: level.registers(),
            tilings,
            functions: functions.cloned().collect(),
            pairs,
            bf16: bf16.iter().map(EntryView::new).collect(),
            bf16_features: features
                .filter(|_| !bf16.is_empty())
                .map(|features| format!("{features},avx512bf16")),
            ropes: Vec::new(),
            linear: Vec::new(),
        })
    }

    /// With the functions for rotary positions.
    pub(crate) fn with_ropes(self, level: Level) -> Self {
        let functions = |element| {
            let lines = if of_level(level).contains(&element) { ROPES } else { &[] };
            let view = |line| RopeView::new(line, rope_name(line, element, level));
            lines.iter().map(view).collect()
        };
        let with = |view: ElementView| ElementView { functions: functions(view.element), ..view };
        LevelView { ropes: elements().into_iter().map(with).collect(), ..self }
    }

    /// With the entries for linear attention.
    pub(crate) fn with_linear(self, level: Level) -> Self {
        let linear = linear_lines(level).map(|line| LinearView::new(line, level)).collect();
        LevelView { linear, ..self }
    }
}

impl TilingView {
    fn new(entry: &Planned<'_>) -> Self {
        let Tiling { lanes, vectors, scalars, rows } = entry.tiling;
        let in_lanes = format!("{lanes:?}");
        let name = format!("{}_{vectors}X{scalars}_Q{rows}", in_lanes.to_uppercase());
        TilingView { name, in_lanes, vectors, scalars, rows, registers: entry.registers() }
    }
}

impl EntryView {
    fn new(entry: &Planned<'_>) -> Self {
        let &Planned {
            op,
            level,
            dim,
            v_dim,
            tiling: Tiling { lanes, vectors, scalars, .. },
            models,
            ..
        } = entry;
        let scratch_bytes = thousands(entry.scratch_bytes() as u64);
        let (tiling, tile, facts) = match (level, op) {
            (Level::Portable, op) => {
                let tiling = match op {
                    Op::Attend | Op::Pairs => {
                        format!("Tiling::attend(Level::Portable, {dim}, {v_dim})")
                    }
                    Op::Decode => "Tiling::decode(Level::Portable)".to_owned(),
                };
                let whose = if entry.serves_any_head() { "Any head" } else { models };
                (tiling, String::new(), format!("{whose}."))
            }
            _ => {
                let registers = format!("{} of {} registers", entry.registers(), level.registers());
                let tile = format!("{vectors} x {scalars} tile");
                let facts = if entry.serves_any_head() {
                    format!("Any head. {tile}, {registers}.")
                } else {
                    format!("{models}. {tile}, {registers}, {scratch_bytes} B of scratch.")
                };
                (TilingView::new(entry).name, format!("{vectors}, {scalars}"), facts)
            }
        };
        let algorithm = match lanes {
            Lanes::Queries => "attend",
            Lanes::Keys => "decode",
        };
        EntryView {
            name: entry.name(),
            algorithm,
            dim,
            v_dim,
            tile_q: entry.tile_q(),
            scratch_bytes,
            tiling,
            tile,
            facts,
        }
    }
}
