//! Emitted crates: they compile, are formatted, and hold what was asked for alone.

use kernels_gen::build::emit;
use kernels_gen::package::MARK;
use kernels_gen::spec::Spec;
use std::fs;
use std::path::Path;
use std::process::Command;

const SPECS: [&str; 4] = [
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
       lengths = { queries = 64, keys = 64 }"#,
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
fn an_emitted_crate_compiles_without_std_and_its_example_runs() {
    let directory = tempfile::tempdir().unwrap();
    for spec in specs() {
        let emitted = emit(&spec, Some(&directory.path().join(&spec.name))).unwrap();
        let text = fs::read_to_string(emitted.directory.join("src/lib.rs")).unwrap();
        assert!(text.contains("#![no_std]") && !text.contains("extern crate"), "{text}");
        cargo(&["test"], &emitted.directory, &directory.path().join("target"));
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
