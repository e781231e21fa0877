//! A crate for one model, and the program that tries it: the text of their files.

mod device;
mod linear;
mod rope;

pub use linear::linear_names;

use crate::device::Plan;
use crate::manifest::Line;
use crate::plan::{Planned, pair};
use crate::render::{File, LevelView, RenderError, header, render, thousands};
use crate::spec::{Kind, Spec};
use crate::tiles::Tiles;
use device::DeviceView;
use flashlet::Level;
use linear::{LinearAttentionView, LinearFile};
use rope::RopeView;
use serde::Serialize;

/// How the manifest of an emitted crate starts.
pub const MARK: &str = "# Written by `cargo kernels build ";

/// Where a crate comes from and what it depends on, as its files say it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The command that writes it.
    pub command: String,
    /// flashlet's directory, as a path from the crate's own.
    pub flashlet: String,
}

/// Every file of the crate, by path under its directory; its runner is under `runner/`. A crate for a device, of which the
/// preset is as the plan has it, also holds its memory, and a program that links what a device links.
///
/// # Errors
/// [`RenderError::Vectors`].
pub fn files(
    spec: &Spec,
    origin: &Origin,
    tiles: &Tiles,
    plan: Option<&Plan>,
) -> Result<Vec<File>, RenderError> {
    let view = PackageView::new(spec, origin, tiles, plan)?;
    let file = |path: &str, template| {
        render(template, &view).map(|text| File { path: path.to_owned(), text })
    };
    let mut files = vec![
        file("Cargo.toml", "emitted/Cargo.toml")?,
        file("rustfmt.toml", "emitted/rustfmt.toml")?,
        file("src/lib.rs", "emitted/lib.rs")?,
        file("src/call.rs", "emitted/call.rs")?,
        file("src/error.rs", "emitted/error.rs")?,
        file("runner/Cargo.toml", "runner/Cargo.toml")?,
        file("runner/rustfmt.toml", "emitted/rustfmt.toml")?,
        file("runner/src/main.rs", "runner/main.rs")?,
    ];
    if plan.is_some() {
        files.push(file("src/memory.rs", "emitted/memory.rs")?);
        files.push(file("probe/Cargo.toml", "probe/Cargo.toml")?);
        files.push(file("probe/src/main.rs", "probe/main.rs")?);
    }
    if let Some(rope) = &spec.rope {
        files.push(file("src/rope.rs", "emitted/rope.rs")?);
        if rope.table.is_some() {
            files.push(file("src/rope_table.rs", "emitted/rope_table.rs")?);
        }
    }
    if let Some(linear) = &spec.linear {
        files.push(file("src/linear.rs", "emitted/linear.rs")?);
        for &level in &spec.levels {
            let view = LinearFile::new(spec, linear, view.header.clone(), level);
            let text = render("emitted/linear_level.rs", view)?;
            files.push(File { path: format!("src/linear/{level}.rs"), text });
        }
    }
    for &level in &spec.levels {
        let view = ModuleFile {
            level: LevelView::new(
                view.header.clone(),
                level,
                vec![entries(spec, level, tiles)],
                vec![],
            )?,
            positional: view.positional,
            causal: view.causal,
            rope: view.rope.is_some(),
            scratch_bytes: scratch_bytes(spec, level, tiles),
        };
        let text = render("emitted/level.rs", view)?;
        files.push(File { path: format!("src/{level}.rs"), text });
    }
    Ok(files)
}

/// The entries of one level: `[prefill, decode]`.
#[must_use]
pub fn entries<'a>(spec: &'a Spec, level: Level, tiles: &Tiles) -> [Planned<'a>; 2] {
    let line = Line { dim: spec.heads.dim, v_dim: spec.heads.v_dim, models: &spec.model };
    pair(level, &line, spec.tile_k, tiles)
}

/// The crate's name as Rust writes it.
#[must_use]
pub fn crate_name(spec: &Spec) -> String {
    spec.name.replace('-', "_")
}

fn scratch_bytes(spec: &Spec, level: Level, tiles: &Tiles) -> String {
    let bytes = entries(spec, level, tiles).map(|entry| entry.scratch_bytes());
    thousands(bytes.into_iter().max().unwrap_or(0) as u64)
}

/// What the templates of a crate may name.
#[derive(Serialize)]
struct PackageView {
    header: String,
    command: String,
    name: String,
    #[serde(rename = "crate")]
    crate_name: String,
    model: String,
    description: String,
    rust_version: &'static str,
    /// Paths to flashlet from the crate and from its runner, as TOML strings.
    flashlet: [String; 2],
    /// The path to `measure` from the runner, as a TOML string.
    measure: String,
    heads: HeadsView,
    max_q: usize,
    max_kv: usize,
    tile_k: usize,
    /// The factor of the scores; `own_scale` if it is not the default.
    scale: String,
    own_scale: bool,
    mask: String,
    mask_statements: Vec<String>,
    /// What makes the pattern beside the mask, step by step, and its global tokens.
    pattern_steps: Vec<String>,
    globals: Vec<u32>,
    /// Whether it matters where a query stands, and whether it sees nothing after itself.
    positional: bool,
    causal: bool,
    sight: SightView,
    /// What the crate's call takes from flashlet.
    imports: String,
    rope: Option<RopeView>,
    linear: Option<LinearAttentionView>,
    device: Option<DeviceView>,
    /// Whether there is no unsafe code.
    is_safe: bool,
    modules: Vec<ModuleView>,
    /// Outputs of the example in the crate's documentation, one a token.
    example: Vec<String>,
}

#[derive(Serialize)]
struct HeadsView {
    q: usize,
    kv: usize,
    dim: usize,
    v_dim: usize,
    group: usize,
    /// `64`, or `192/128`.
    width: String,
}

#[derive(Serialize)]
struct SightView {
    left: String,
    right: String,
    sinks: usize,
    dilation: String,
    chunk: String,
    prefix: usize,
    globals: String,
}

/// A module as the rest of the crate sees it.
#[derive(Serialize)]
struct ModuleView {
    level: &'static str,
    backend: &'static str,
    is_x86: bool,
    needs: &'static str,
    tiles: Vec<String>,
    scratch_bytes: String,
}

/// A module's own file.
#[derive(Serialize)]
struct ModuleFile {
    level: LevelView,
    positional: bool,
    causal: bool,
    rope: bool,
    scratch_bytes: String,
}

impl PackageView {
    fn new(
        spec: &Spec,
        origin: &Origin,
        tiles: &Tiles,
        plan: Option<&Plan>,
    ) -> Result<Self, RenderError> {
        let quoted = |text: String| toml::Value::String(text).to_string();
        let sight = spec.mask.sight();
        let heads = HeadsView::new(spec);
        let description = format!(
            "Attention of {}: {} query heads on {} key/value heads of {} channels; {}",
            spec.model, heads.q, heads.kv, heads.width, spec.mask
        );
        Ok(PackageView {
            header: header(&origin.command),
            command: origin.command.clone(),
            name: spec.name.clone(),
            crate_name: crate_name(spec),
            model: spec.model.clone(),
            description: quoted(description),
            rust_version: env!("CARGO_PKG_RUST_VERSION"),
            flashlet: ["", "../"].map(|up| quoted(format!("{up}{}", origin.flashlet))),
            measure: quoted(format!("../{}/measure", origin.flashlet)),
            heads,
            max_q: spec.max_q,
            max_kv: spec.max_kv,
            tile_k: spec.tile_k,
            scale: format!("{:?}", spec.scale()),
            own_scale: spec.scale() != 1.0 / (spec.heads.dim as f64).sqrt(),
            mask: spec.mask.to_string(),
            mask_statements: spec.mask.statements(),
            pattern_steps: spec.mask.pattern_steps(),
            globals: spec.mask.pattern.globals.clone(),
            positional: spec.mask.is_positional(),
            causal: spec.mask.kind == Kind::Causal,
            sight: SightView {
                left: format!("{:?}", sight.left),
                right: format!("{:?}", sight.right),
                sinks: sight.sinks,
                dilation: format!("{:?}", sight.dilation),
                chunk: format!("{:?}", sight.chunk),
                prefix: sight.prefix,
                globals: format!("&{:?}", sight.globals),
            },
            imports: imports(spec),
            rope: spec.rope.as_ref().map(RopeView::new).transpose()?,
            linear: spec.linear.as_ref().map(LinearAttentionView::new),
            device: plan.map(|plan| DeviceView::new(spec, plan)),
            is_safe: spec.levels.iter().all(|level| !is_x86(*level)),
            modules: spec.levels.iter().map(|level| ModuleView::new(spec, *level, tiles)).collect(),
            example: example(spec),
        })
    }
}

impl HeadsView {
    fn new(spec: &Spec) -> Self {
        let flashlet::Heads { q, kv, dim, v_dim } = spec.heads;
        let width = if dim == v_dim { dim.to_string() } else { format!("{dim}/{v_dim}") };
        HeadsView { q, kv, dim, v_dim, group: spec.heads.group(), width }
    }
}

impl ModuleView {
    fn new(spec: &Spec, level: Level, tiles: &Tiles) -> Self {
        let (backend, needs) = match level {
            Level::Scalar => ("Scalar", "nothing"),
            Level::Portable => ("Portable", "nothing"),
            Level::Avx2 => ("Avx2", "AVX2, FMA, F16C"),
            Level::Avx512 => ("Avx512", "AVX-512 F, BW, DQ, VL"),
        };
        let tile = |entry: &Planned<'_>| format!("{} x {}", entry.tile_q(), entry.tile_k);
        ModuleView {
            level: level.name(),
            backend,
            is_x86: is_x86(level),
            needs,
            tiles: entries(spec, level, tiles).iter().map(tile).collect(),
            scratch_bytes: scratch_bytes(spec, level, tiles),
        }
    }
}

fn is_x86(level: Level) -> bool {
    matches!(level, Level::Avx2 | Level::Avx512)
}

/// What stands between the braces of the import, as rustfmt has it.
fn imports(spec: &Spec) -> String {
    let mut names = vec!["Attention", "Inputs", "Outputs", "Shape", "View", "ViewMut"];
    names.extend(spec.mask.names());
    // A step is over any pattern.
    let has_pattern = !spec.mask.pattern.is_empty();
    names.extend((has_pattern && !names.contains(&"Pattern")).then_some("Pattern"));
    names.extend(spec.rope.as_ref().map(|_| "TurnedQueries"));
    braces(names)
}

/// Names between the braces of an import from flashlet, as rustfmt has them.
fn braces(mut names: Vec<&str>) -> String {
    const WIDTH: usize = 100;
    names.sort_unstable();
    let line = names.join(", ");
    if "use flashlet::{};".len() + line.len() <= WIDTH {
        return line;
    }
    let mut lines = vec![String::new()];
    for name in names {
        let last = lines.last_mut().expect("there is one from the start");
        if last.len() + name.len() + 1 > WIDTH - 4 {
            lines.push(format!("{name}, "));
        } else {
            last.push_str(&format!("{name}, "));
        }
    }
    let lines: Vec<_> = lines.iter().map(|line| format!("    {}\n", line.trim_end())).collect();
    format!("\n{}", lines.concat())
}

/// Two tokens with equal keys and the values 1 and 2, or one where no more fit: each output is the
/// mean of what its query sees.
fn example(spec: &Spec) -> Vec<String> {
    let (sight, tokens) = (spec.mask.sight(), spec.max_q.min(spec.max_kv).min(2));
    let output = |p| {
        let seen = (0..tokens).filter(|j| sight.sees(p, *j)).map(|j| (j + 1) as f64);
        let (sum, count) = seen.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        format!("{:?}", sum / f64::max(count, 1.0))
    };
    (0..tokens).map(output).collect()
}
