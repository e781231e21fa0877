//! Emitted crates: they compile, are formatted, and hold what was asked for alone.

use kernels_gen::build::emit;
use kernels_gen::package::MARK;
use kernels_gen::spec::Spec;
use std::fs;
use std::path::Path;
use std::process::Command;

const SPECS: [&str; 10] = [
    r#"name = "causal"
       levels = ["scalar"]
       heads = { q = 6, kv = 2, dim = 16 }
       mask = { kind = "causal" }
       lengths = { queries = 40, keys = 40 }"#,
    r#"name = "window-and-sinks"
       levels = ["scalar", "portable", "avx2", "avx512"]
       scale = 0.3
       tile_k = 48
       heads = { q = 4, kv = 4, dim = 24, v_dim = 8 }
       mask = { kind = "causal", window = { keys = 12 }, sinks = 2 }
       lengths = { queries = 1, keys = 512 }"#,
    r#"name = "full"
       levels = ["portable"]
       heads = { q = 2, kv = 1, dim = 32 }
       mask = { kind = "full" }
       lengths = { queries = 64, keys = 32 }"#,
    r#"name = "both-ways"
       levels = ["scalar"]
       heads = { q = 2, kv = 1, dim = 32 }
       mask = { kind = "full", window = { left = 1, right = 0 } }
       lengths = { queries = 64, keys = 64 }
       linear = { family = "rwkv7", q_heads = 2, head_dim = 24, forms = ["chunk"] }"#,
    r#"name = "chunks"
       levels = ["portable"]
       heads = { q = 2, kv = 1, dim = 32 }
       mask = { kind = "causal", chunk = 16 }
       lengths = { queries = 64, keys = 200 }"#,
    r#"name = "longformer"
       levels = ["scalar", "avx2"]
       heads = { q = 2, kv = 2, dim = 16 }
       mask = { kind = "full", window = { left = 8, right = 8 }, dilation = 2, globals = [0, 33] }
       lengths = { queries = 200, keys = 200 }"#,
    r#"name = "prefix"
       levels = ["scalar"]
       heads = { q = 4, kv = 2, dim = 16 }
       mask = { kind = "causal", window = { keys = 8 }, sinks = 1, chunk = 50, prefix = 3 }
       lengths = { queries = 200, keys = 200 }"#,
    r#"name = "roped"
       levels = ["scalar", "portable", "avx2", "avx512"]
       heads = { q = 6, kv = 2, dim = 24 }
       mask = { kind = "causal" }
       lengths = { queries = 40, keys = 40 }
       [rope]
       theta_base = 10000.0
       pairing = "interleaved"
       rot_dim = 16
       first = 4
       table = 40
       no_rope_every = 4
       [rope.scaling]
       kind = "yarn"
       factor = 40.0
       original_len = 4096
       mscale = 1.0
       mscale_all_dim = 1.0"#,
    r#"name = "compatible"
       levels = ["portable"]
       heads = { q = 2, kv = 1, dim = 32 }
       mask = { kind = "full" }
       lengths = { queries = 64, keys = 64 }
       rope = { theta_base = 500000.0, pairing = "halves", phase = "f32-compatible" }
       linear = { family = "lightning", q_heads = 2, head_dim = 32, forms = ["step"] }"#,
    r#"name = "deltas"
       levels = ["scalar", "portable", "avx2", "avx512"]
       heads = { q = 2, kv = 1, dim = 16 }
       mask = { kind = "causal" }
       lengths = { queries = 8, keys = 8 }
       [linear]
       family = "gated-delta"
       q_heads = 2
       v_heads = 4
       head_dim = 24
       v_dim = 72
       head_map = "modulo"
       scale = 0.3
       l2_eps = 1e-5"#,
];

fn specs() -> impl Iterator<Item = Spec> {
    SPECS.into_iter().map(|text| Spec::parse("spec.toml", text).unwrap())
}

/// Runs a command and shows what it said if it failed.
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}{err}");
}

fn cargo(arguments: &[&str], crate_: &Path, target: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).args(["--quiet", "--offline"]).current_dir(crate_);
    succeed(cargo.env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", "-D warnings"));
}

#[test]
fn an_emitted_crate_compiles_without_std_and_sees_what_its_preset_says() {
    let directory = tempfile::tempdir().unwrap();
    for spec in specs() {
        let emitted = emit(&spec, Some(&directory.path().join(&spec.name))).unwrap();
        let text = fs::read_to_string(emitted.directory.join("src/lib.rs")).unwrap();
        assert!(text.contains("#![no_std]") && !text.contains("extern crate"), "{text}");
        if let Some((sees, takes_position)) = definition(&spec.name) {
            let tests = emitted.directory.join("tests");
            fs::create_dir(&tests).unwrap();
            let text = means(&spec.name, spec.levels[0].name(), sees, takes_position);
            fs::write(tests.join("sight.rs"), text).unwrap();
        }
        if spec.rope.is_some() {
            let tests = emitted.directory.join("tests");
            fs::create_dir(&tests).unwrap();
            fs::write(tests.join("rope.rs"), turns(&spec)).unwrap();
        }
        if spec.linear.as_ref().is_some_and(|linear| linear.forms.len() == 2) {
            let tests = emitted.directory.join("tests");
            fs::create_dir(&tests).unwrap();
            fs::write(tests.join("learns.rs"), learns(&spec)).unwrap();
        }
        cargo(&["test"], &emitted.directory, &directory.path().join("target"));
    }
}

/// A test of an emitted crate: with equal keys, and values that are their positions, an output is the mean of what its
/// query sees.
fn means(name: &str, level: &str, sees: &str, takes_position: bool) -> String {
    let (position, last) = if takes_position { ("0, ", "i, ") } else { ("0, ", "") };
    format!(
        r"use {name}::{{HEAD_DIM, KV_HEADS, MAX_Q, Q_HEADS, V_DIM, {level}}};

#[test]
fn a_query_sees_what_the_preset_says() {{
    let sees = |i: usize, j: usize| {sees};
    let mean = |i: usize, len: usize| {{
        let seen: Vec<usize> = (0..len).filter(|j| sees(i, *j)).collect();
        seen.iter().sum::<usize>() as f32 / seen.len().max(1) as f32
    }};
    let queries = vec![[[0.5; HEAD_DIM]; Q_HEADS]; MAX_Q];
    let keys = vec![[[0.25; HEAD_DIM]; KV_HEADS]; MAX_Q];
    let values: Vec<_> = (0..MAX_Q).map(|j| [[j as f32; V_DIM]; KV_HEADS]).collect();
    let mut out = vec![[[0.0; V_DIM]; Q_HEADS]; MAX_Q];
    let mut scratch = {level}::Scratch::new();
    {level}::prefill(&queries, &keys, &values, {position}&mut out, &mut scratch).unwrap();
    for (i, out) in out.iter().enumerate() {{
        assert!((out[0][0] - mean(i, MAX_Q)).abs() < 1e-4, `{{i}}: {{}}`, out[0][0]);
        let mut step = [[0.0; V_DIM]; Q_HEADS];
        let len = if {takes_position} {{ MAX_Q }} else {{ i + 1 }};
        {level}::decode(&queries[i], &keys[..len], &values[..len], {last}&mut step, &mut scratch).unwrap();
        assert!((step[0][0] - mean(i, len)).abs() < 1e-4, `{{i}}: {{}}`, step[0][0]);
    }}
}}
"
    )
    .replace('`', "\"")
}

/// A test of an emitted crate: queries that turn inside give the bits of queries that turned before, appended keys those of keys
/// turned in place, on each of its levels.
fn turns(spec: &Spec) -> String {
    let levels = spec.levels.iter().filter(|level| level.is_available());
    let causal = spec.mask.kind == kernels_gen::spec::Kind::Causal;
    let (position, last) = if causal { ("0, ", "") } else { ("", "39, ") };
    let of_level = |level| {
        format!(
            r"
#[test]
fn {level}_turns() {{
    let mut scratch = {level}::Scratch::new();
    let numbers = |n: usize| ((n * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
    let queries: Vec<Query> =
        (0..40).map(|i| from_fn(|h| from_fn(|c| numbers(i * 977 + h * 31 + c)))).collect();
    let keys: Vec<Key> =
        (0..40).map(|j| from_fn(|h| from_fn(|c| numbers(j * 613 + h * 17 + c + 5)))).collect();
    let values: Vec<Value> = (0..40).map(|j| [[numbers(j); V_DIM]; KV_HEADS]).collect();
    let (mut turned, mut all, mut cache) = (queries.clone(), keys.clone(), keys.clone());
    {level}::rotate(&mut turned, &mut all, 0).unwrap();
    {level}::append(&keys[..30], &mut cache, 0).unwrap();
    {level}::append(&keys[30..], &mut cache, 30).unwrap();
    assert_eq!(cache, all);
    assert!({level}::append(&keys[..1], &mut cache, 40).is_err());
    let (mut before, mut inside) = ([[[0.0; V_DIM]; Q_HEADS]; 40], [[[1.0; V_DIM]; Q_HEADS]; 40]);
    {level}::prefill(&turned, &all, &values, {position}&mut before, &mut scratch).unwrap();
    {level}::prefill_turned(&queries, &all, &values, 0, &mut inside, &mut scratch).unwrap();
    assert_eq!(before, inside);
    let mut step = [[0.0; V_DIM]; Q_HEADS];
    {level}::decode_turned(&queries[39], &all, &values, {last}&mut step, &mut scratch).unwrap();
    assert_eq!(step, before[39]);
}}
"
        )
    };
    let modules: Vec<_> = levels.clone().map(|level| level.name()).collect();
    let tests: String = levels.map(|level| of_level(level.name())).collect();
    let (name, modules) = (&spec.name, modules.join(", "));
    let mut text = format!(
        "use core::array::from_fn;\nuse {name}::{{KV_HEADS, Key, Q_HEADS, Query, V_DIM, Value, {modules}}};\n{tests}"
    );
    if spec.rope.as_ref().is_some_and(|rope| rope.no_rope_every.is_some()) {
        text += "\n#[test]\nfn every_fourth_layer_has_no_positions() {\n    let all: Vec<_> = (0..8).map(";
        text += &format!(
            "{name}::rope::rotates).collect();\n    assert_eq!(all, [true, true, true, false].repeat(2));\n}}\n"
        );
    }
    text
}

/// A test of an emitted crate: its steps and chunks give the bits of a plan made when running, output and state, on each of
/// its levels.
fn learns(spec: &Spec) -> String {
    let of_level = |level: &flashlet::Level| {
        format!(
            r"
#[test]
fn {level}_learns() {{
    same(
        Level::{level:?},
        |len, inputs, outputs, state| {{
            let (mut scratch, mut step) = ([0.0; CHUNK_SCRATCH], [0.0; STEP_SCRATCH]);
            if len == 1 {{
                linear::{level}::step(inputs, outputs, state, &mut step).unwrap();
            }} else {{
                linear::{level}::chunk(len, inputs, outputs, state, &mut scratch).unwrap();
            }}
        }},
    );
    assert_eq!((linear::{level}::STEP.form(), linear::{level}::CHUNK.form()), (Form::Recurrent, Form::Chunked));
    let (mut state, mut scratch) = ([0.0; STATE_LEN], [0.0; STEP_SCRATCH]);
    let q = [0.0; 3];
    let inputs = LinearInputs::read(View::packed(&q, [1, 1, 1, 3]).unwrap());
    assert!(linear::{level}::step(inputs, LinearOutputs::none(), &mut state, &mut scratch).is_err());
}}
"
        )
    };
    let tests: String =
        spec.levels.iter().filter(|level| level.is_available()).map(of_level).collect();
    format!(
        r"use flashlet::{{Form, Level, LinearAttention, LinearInputs, LinearOutputs, Memory, View, ViewMut}};
use {name}::linear::{{self, CHUNK_SCRATCH, FAMILY, HEADS, STATE_LEN, STEP_SCRATCH, State}};

/// The same tokens by the crate and by a plan: one, then as many as make chunks and a part of one, then one again.
fn same(level: Level, run: impl Fn(usize, LinearInputs<'_>, LinearOutputs<'_>, &mut State)) {{
    let (mut ours, mut theirs) = ([0.0; STATE_LEN], [0.0; STATE_LEN]);
    for (round, len) in [1, 37, 1].into_iter().enumerate() {{
        let shape = linear::shape(len);
        let numbers = |seed: usize, [_, len, heads, width]: [usize; 4]| -> Vec<f32> {{
            let number = |i: usize| ((i * 2_654_435_761 + seed * 40_503 + round * 977) % 1000) as f32;
            (0..len * heads * width).map(|i| number(i) / 500.0 - 1.0).collect()
        }};
        let (q, k, v) = (numbers(1, shape.q()), numbers(2, shape.k()), numbers(3, shape.v()));
        let per_state = shape.per_state(1);
        let gates: Vec<_> = numbers(4, per_state).iter().map(|x| -0.1 * x.abs()).collect();
        let beta: Vec<_> = numbers(5, per_state).iter().map(|x| x.abs()).collect();
        let inputs = LinearInputs::new(
            View::packed(&q, shape.q()).unwrap(),
            View::packed(&k, shape.k()).unwrap(),
            View::packed(&v, shape.v()).unwrap(),
        );
        let inputs = inputs.gates(View::packed(&gates, per_state).unwrap());
        let inputs = inputs.beta(View::packed(&beta, per_state).unwrap());
        let mut o = [0, 1].map(|_| vec![0.0_f32; len * HEADS.outputs() * HEADS.v_dim]);
        let [by_crate, by_plan] = &mut o;
        let outputs = LinearOutputs::new(ViewMut::packed(by_crate, shape.o()).unwrap());
        run(len, inputs, outputs, &mut ours);

        let form = if len == 1 {{ Form::Recurrent }} else {{ Form::Chunked }};
        let plan = LinearAttention::new(shape, FAMILY).unwrap().scale({scale:?});
        let plan = plan.l2_normalised({eps:?}).unwrap().level(level).unwrap().form(form);
        let room = if len == 1 {{ STEP_SCRATCH }} else {{ CHUNK_SCRATCH }};
        assert_eq!(plan.scratch_len(), room);
        let mut scratch = vec![0.0; room];
        let outputs = LinearOutputs::new(ViewMut::packed(by_plan, shape.o()).unwrap());
        let memory = Memory::new(&mut theirs, &shape).unwrap();
        plan.bind(inputs, outputs, memory, &mut scratch).unwrap().run();
        assert!(o[0].iter().any(|x| *x != 0.0));
        let bits = |floats: &[f32]| floats.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&o[0]), bits(&o[1]), `{{level:?}}, {{len}} tokens`);
        assert_eq!(bits(&ours), bits(&theirs), `{{level:?}}, {{len}} tokens`);
    }}
}}
{tests}",
        name = spec.name,
        scale = spec.linear.as_ref().map_or(1.0, |linear| linear.scale()),
        eps = spec.linear.as_ref().and_then(|linear| linear.l2_eps).unwrap_or(0.0),
    )
    .replace('`', "\"")
}

/// The mask of a preset by its definition, and whether a step says its position.
fn definition(name: &str) -> Option<(&'static str, bool)> {
    match name {
        "chunks" => Some(("j <= i && i / 16 == j / 16", false)),
        "longformer" => Some((
            "i.abs_diff(j) <= 8 && i.abs_diff(j) % 2 == 0 || [0, 33].contains(&i) || [0, 33].contains(&j)",
            true,
        )),
        "prefix" => Some(("j <= i && (j + 8 > i || j < 1) && i / 50 == j / 50 || j < 3", false)),
        _ => None,
    }
}

#[test]
fn levels_without_intrinsics_forbid_unsafe_code() {
    let directory = tempfile::tempdir().unwrap();
    for spec in specs() {
        let emitted = emit(&spec, Some(&directory.path().join(&spec.name))).unwrap();
        let text = fs::read_to_string(emitted.directory.join("src/lib.rs")).unwrap();
        let safe = spec.levels.iter().all(|level| ["scalar", "portable"].contains(&level.name()));
        assert_eq!(text.contains("#![forbid(unsafe_code)]"), safe, "{}", spec.name);
    }
}

#[test]
fn a_crate_holds_the_levels_of_its_preset_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("crate");
    let files = |spec: &Spec| {
        let emitted = emit(spec, Some(&out)).unwrap();
        let names = fs::read_dir(emitted.directory.join("src")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        names
    };
    let mut specs = specs();
    let (few, many) = (specs.next().unwrap(), specs.next().unwrap());
    let all = ["avx2.rs", "avx512.rs", "call.rs", "error.rs", "lib.rs", "portable.rs", "scalar.rs"];
    assert_eq!(files(&many), all);
    assert_eq!(files(&few), ["call.rs", "error.rs", "lib.rs", "scalar.rs"], "others are removed");
    let linear = specs.last().unwrap();
    assert!(files(&linear).contains(&"linear.rs".into()));
    assert_eq!(fs::read_dir(out.join("src/linear")).unwrap().count(), linear.levels.len());
    files(&few);
    assert_eq!(fs::read_dir(out.join("src/linear")).unwrap().count(), 0, "those of levels too");
}

#[test]
fn the_crate_of_somebody_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let theirs = directory.path().join("src/main.rs");
    fs::create_dir(directory.path().join("src")).unwrap();
    fs::write(&theirs, "fn main() {}").unwrap();
    for spec in specs() {
        let error = emit(&spec, Some(directory.path())).unwrap_err();
        assert!(error.to_string().contains("did not write"), "{error}");
    }
    assert_eq!(fs::read_to_string(theirs).unwrap(), "fn main() {}");
}

#[test]
fn an_emitted_crate_is_written_again_in_place() {
    let directory = tempfile::tempdir().unwrap();
    for spec in specs() {
        emit(&spec, Some(directory.path())).unwrap();
        let manifest = fs::read_to_string(directory.path().join("Cargo.toml")).unwrap();
        assert!(manifest.starts_with(MARK) && manifest.contains(&spec.name), "{manifest}");
    }
}

#[test]
fn rustfmt_changes_nothing() {
    if Command::new("rustfmt").arg("--version").output().is_err() {
        eprintln!("skipped: there is no rustfmt");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for spec in specs() {
        let emitted = emit(&spec, Some(&directory.path().join(&spec.name))).unwrap();
        let mut rustfmt = Command::new("rustfmt");
        rustfmt.args(["--check", "--edition", "2024", "src/lib.rs", "runner/src/main.rs"]);
        succeed(rustfmt.current_dir(&emitted.directory));
    }
}
