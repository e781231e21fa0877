//! Crates for devices: what a cache has kept gives what tensors give, they link for the device, and are formatted.

use kernels_gen::build::{emit_for, target};
use kernels_gen::device::{Budget, Core, Plan, measure, plan};
use kernels_gen::spec::{CacheFormat, Kind, Spec};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A ring behind sinks, several queries at once.
const RING: &str = r#"name = "ring"
    levels = ["avx2"]
    heads = { q = 4, kv = 2, dim = 16, v_dim = 8 }
    mask = { kind = "causal", window = { keys = 12 }, sinks = 2 }
    rope = { theta_base = 10000.0, pairing = "interleaved", table = 40 }
    cache = { format = "f32" }
    lengths = { queries = 3, keys = 40 }"#;

/// Room for all, layers that differ, chunks of a context.
const LAYERS: &str = r#"name = "layers"
    levels = ["scalar"]
    scale = 0.3
    heads = { q = 3, kv = 1, dim = 20 }
    mask = { kind = "causal", chunk = 16 }
    rope = { theta_base = 500.0, pairing = "halves", no_rope_every = 4 }
    cache = { format = "f32", layers = 4 }
    lengths = { queries = 1, keys = 40 }"#;

/// Every query sees every token so far.
const FULL: &str = r#"name = "full"
    levels = ["scalar"]
    tile_k = 48
    heads = { q = 2, kv = 2, dim = 8 }
    mask = { kind = "full" }
    cache = { format = "f32" }
    lengths = { queries = 40, keys = 40 }"#;

/// A format of each kind, and how far results may be from those of f32 for numbers up to 1.
const FORMATS: [(&str, f32); 4] = [("f16", 2e-3), ("e4m3", 0.2), ("i8", 2e-2), ("q8_0", 2e-2)];

fn formats() -> impl Iterator<Item = (String, f32)> {
    FORMATS.into_iter().map(|(format, tolerance)| {
        let text = format!(
            r#"name = "kept-in-{}"
            levels = ["scalar"]
            heads = {{ q = 4, kv = 2, dim = 32 }}
            mask = {{ kind = "causal", window = {{ keys = 20 }} }}
            rope = {{ theta_base = 10000.0, pairing = "halves" }}
            cache = {{ format = "{format}" }}
            lengths = {{ queries = 1, keys = 40 }}"#,
            format.replace('_', "-")
        );
        (text, tolerance)
    })
}

fn all() -> impl Iterator<Item = (Spec, f32)> {
    let exact = [RING, LAYERS, FULL].map(|text| (text.to_owned(), 0.0));
    let parse =
        |(text, tolerance): (String, f32)| (Spec::parse("spec.toml", &text).unwrap(), tolerance);
    exact.into_iter().chain(formats()).map(parse)
}

fn budget() -> Budget {
    Budget { core: Core::CortexM4, sram: 256 * 1024, flash: None }
}

fn planned(spec: &Spec) -> Plan {
    plan(spec, budget()).unwrap()
}

#[test]
fn what_a_cache_has_kept_gives_what_tensors_give() {
    let directory = tempfile::tempdir().unwrap();
    for (spec, tolerance) in all() {
        let place = directory.path().join(&spec.name);
        let emitted = emit_for(&spec, &planned(&spec), budget(), Some(&place)).unwrap();
        let text = fs::read_to_string(emitted.directory.join("src/memory.rs")).unwrap();
        for word in ["static mut", "unsafe", "alloc::", "Vec<", "Box<"] {
            assert!(!text.contains(word), "{word}");
        }
        let tests = emitted.directory.join("tests");
        fs::create_dir(&tests).unwrap();
        fs::write(tests.join("keeps.rs"), keeps(&spec, tolerance)).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--quiet", "--offline"]).current_dir(&emitted.directory);
        let cargo = cargo.env("CARGO_TARGET_DIR", directory.path().join("target"));
        // Forty tokens: most of the time is the compiler's.
        let cargo = cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
        succeed(cargo.env("RUSTFLAGS", "-D warnings"));
    }
}

/// A test of an emitted crate: each step of a cache, and each chunk, against the same tokens as tensors.
fn keeps(spec: &Spec, tolerance: f32) -> String {
    let (name, queries) = (spec.name.replace('-', "_"), spec.max_q);
    let by_layer = spec.rope.as_ref().is_some_and(|rope| rope.no_rope_every.is_some());
    let layers = if by_layer { "[0, 3]" } else { "[0]" };
    let (number, turns) = if by_layer { ("layer", "layer != 3") } else { ("", "true") };
    let rotate = match spec.rope {
        Some(_) => format!("if {turns} {{ scalar::rotate(&mut turned, &mut all, 0).unwrap(); }}"),
        None => "_ = (&mut turned, &mut all);".to_owned(),
    };
    let chunks = match (queries, spec.mask.kind) {
        (1, _) => String::new(),
        (_, kind) => {
            // Where all see all, each token's own step saw fewer.
            let seen = if kind == Kind::Full { "TOKENS - 1" } else { "first + i" };
            let size = if kind == Kind::Full { "TOKENS" } else { "MAX_Q" };
            format!(
                r"
        cache.clear();
        for first in (0..TOKENS).step_by({size}) {{
            let chunk = first..TOKENS.min(first + {size});
            cache.extend(&keys[chunk.clone()], &values[chunk.clone()]).unwrap();
            let mut out = vec![[[0.0; V_DIM]; Q_HEADS]; chunk.len()];
            cache.prefill(&queries[chunk.clone()], &mut out, &mut memory.scratch).unwrap();
            for (i, out) in out.iter().enumerate() {{
                near(out, &expected(first + i, {seen}));
            }}
            let refused = cache.prefill(&queries[chunk], &mut out[1..], &mut memory.scratch);
            assert!(matches!(refused, Err(Error::Outputs {{ .. }})));
        }}"
            )
        }
    };
    format!(
        r"use core::array::from_fn;
use {name}::{{scalar, Error, HEAD_DIM, KV_HEADS, Key, MAX_KV, MAX_Q, Memory, Output, Q_HEADS, Query, SRAM_BYTES, V_DIM, Value}};
use {name}::memory::{{KEYS_BYTES, SCALES_BYTES, SCRATCH_BYTES, VALUES_BYTES}};

const TOKENS: usize = MAX_KV;

fn near(ours: &Output, theirs: &Output) {{
    for (ours, theirs) in ours.as_flattened().iter().zip(theirs.as_flattened()) {{
        assert!((ours - theirs).abs() <= {tolerance:?}, `{{ours}} for {{theirs}}`);
    }}
}}

#[test]
fn a_cache_gives_what_tensors_give() {{
    let number = |n: usize| ((n * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
    let queries: Vec<Query> =
        (0..TOKENS).map(|i| from_fn(|h| from_fn(|c| number(i * 977 + h * 31 + c)))).collect();
    let keys: Vec<Key> =
        (0..TOKENS).map(|j| from_fn(|h| from_fn(|c| number(j * 613 + h * 17 + c + 5)))).collect();
    let values: Vec<Value> =
        (0..TOKENS).map(|j| from_fn(|h| from_fn(|c| number(j * 389 + h * 13 + c + 9)))).collect();
    let mut memory = Box::new(Memory::new());
    assert!(size_of::<Memory>() < SRAM_BYTES && MAX_Q > 0);
    assert_eq!(size_of::<Memory>().next_multiple_of(16), (KEYS_BYTES + VALUES_BYTES + SCALES_BYTES + SCRATCH_BYTES).next_multiple_of(16));
    for layer in {layers} {{
        _ = layer;
        let (mut turned, mut all) = (queries.clone(), keys.clone());
        {rotate}
        let expected = |i: usize, last: usize| {{
            let (mut out, mut scratch) = ([[0.0; V_DIM]; Q_HEADS], scalar::Scratch::new());
            scalar::decode(&turned[i], &all[..=last], &values[..=last], &mut out, &mut scratch).unwrap();
            out
        }};
        let mut cache = memory.layers[layer].cache({number}).unwrap();
        let mut out = [[0.0; V_DIM]; Q_HEADS];
        let refused = cache.decode(&queries[0], &mut out, &mut memory.scratch);
        assert_eq!(refused, Err(Error::Queries {{ queries: 1, max: 0 }}));
        for i in 0..TOKENS {{
            assert_eq!(cache.len(), i);
            cache.append(&keys[i], &values[i]).unwrap();
            cache.decode(&queries[i], &mut out, &mut memory.scratch).unwrap();
            near(&out, &expected(i, i));
        }}
        let refused = cache.append(&[[0.0; HEAD_DIM]; KV_HEADS], &values[0]);
        assert_eq!(refused, Err(Error::Keys {{ keys: MAX_KV + 1, max: MAX_KV }}));
        assert_eq!(cache.extend(&keys[..1], &[]), Err(Error::Values {{ values: 0, keys: 1 }}));{chunks}
    }}
}}
"
    )
    .replace('`', "\"")
}

#[test]
fn the_plan_is_as_large_as_the_crate_and_links_for_the_device() {
    let directory = tempfile::tempdir().unwrap();
    for (spec, _) in all().filter(|(spec, _)| ["ring", "kept-in-i8"].contains(&&*spec.name)) {
        let plan = planned(&spec);
        let place = directory.path().join(&spec.name);
        let emitted = emit_for(&spec, &plan, budget(), Some(&place)).unwrap();
        let names = plan.entry_names(&spec);
        let Some(flash) = measure(&emitted, &plan.spec(&spec), &names, budget()).unwrap() else {
            eprintln!("skipped: there is no std for {}", budget().core.triple());
            return;
        };
        let measured: Vec<_> = flash.parts.iter().map(|(name, _)| name.clone()).collect();
        assert!(names.iter().all(|name| measured.contains(name)), "{names:?}: {measured:?}");
        let small = Budget { flash: Some(flash.total() - 1), ..budget() };
        let refused = measure(&emitted, &plan.spec(&spec), &names, small).unwrap_err();
        assert!(refused.to_string().contains("bytes of flash on cortex-m4"), "{refused}");
    }
    assert!(target().join("cross").is_dir());
}

#[test]
fn a_crate_for_this_machine_again_has_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let spec = Spec::parse("spec.toml", FULL).unwrap();
    let place = Some(directory.path());
    emit_for(&spec, &planned(&spec), budget(), place).unwrap();
    let command = fs::read_to_string(directory.path().join("Cargo.toml")).unwrap();
    assert!(command.contains("--target cortex-m4 --sram 256K"), "{command}");
    kernels_gen::build::emit(&spec, place).unwrap();
    assert!(!directory.path().join("src/memory.rs").exists());
}

#[test]
fn rustfmt_changes_nothing() {
    if Command::new("rustfmt").arg("--version").output().is_err() {
        eprintln!("skipped: there is no rustfmt");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (spec, _) in all() {
        let place = directory.path().join(&spec.name);
        let emitted = emit_for(&spec, &planned(&spec), budget(), Some(&place)).unwrap();
        let mut rustfmt = Command::new("rustfmt");
        rustfmt.args(["--check", "--edition", "2024", "src/lib.rs", "probe/src/main.rs"]);
        succeed(rustfmt.current_dir(&emitted.directory));
    }
}

#[test]
fn the_level_is_scalar_whatever_the_preset_says() {
    let spec = Spec::parse("spec.toml", RING).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let plan = planned(&spec);
    assert_eq!(plan.format, CacheFormat::F32);
    let emitted = emit_for(&spec, &plan, budget(), Some(directory.path())).unwrap();
    let has = |path: &str| emitted.directory.join(Path::new(path)).exists();
    assert!(has("src/scalar.rs") && !has("src/avx2.rs"));
}

/// Runs a command and shows what it said if it failed.
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}{err}");
}
