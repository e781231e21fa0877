//! The command line.

use flashlet::Level;
use kernels_gen::manifest::{LINEAR, MANIFEST, PAIRS, ROPES};
use kernels_gen::plan::linear_lines;
use serde_json::Value;
use std::process::{Command, Output};

fn kernels(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kernels"));
    command.args(arguments).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn check_is_content_with_the_tree() {
    let output = kernels(&["--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn list_prints_one_json_object_an_entry() {
    let output = kernels(&["list", "--json", "--no-build"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let (ropes, rows): (Vec<_>, Vec<_>) = rows.partition(|row: &Value| row["rope"].is_string());
    let (linear, rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row: &Value| row["linear"].is_string());
    let lines = Level::ALL.into_iter().flat_map(linear_lines).count();
    assert!(linear.len() == lines && lines > 2 * LINEAR.len(), "{lines}");
    for key in ["linear", "level", "dim", "v_dim", "chunk", "scratch_bytes", "state_bytes", "why"] {
        assert!(linear.iter().all(|row| !row[key].is_null()), "{key}");
    }
    // One for many queries on each of four levels, and one for few; on three of them one for few that
    // serves any head; and those of bf16 pairs.
    assert_eq!(rows.len(), 5 * MANIFEST.len() + 3 + PAIRS.len());
    // Rotary positions of one element on each of two levels, of three on the others.
    assert_eq!(ropes.len(), (2 + 2 * 3) * ROPES.len());
    for key in ["rope", "level", "rot_dim", "why"] {
        assert!(ropes.iter().all(|row| !row[key].is_null()), "{key}");
    }
    for key in ["entry", "level", "tile_q", "tile_k", "registers", "scratch_bytes", "why"] {
        assert!(rows.iter().all(|row| !row[key].is_null()), "{key}");
    }
    let names = kernels(&["list", "--no-build"]).stdout;
    let names = String::from_utf8(names).unwrap();
    let listed = |row: &Value, key| names.contains(row[key].as_str().unwrap());
    for (rows, key) in [(rows, "entry"), (ropes, "rope"), (linear, "linear")] {
        assert!(rows.iter().all(|row| listed(row, key)), "{key}");
    }
}

#[test]
fn a_wrong_preset_shows_its_line_and_fails() {
    let directory = tempfile::tempdir().unwrap();
    let preset = directory.path().join("wrong.toml");
    std::fs::write(&preset, "name = \"wrong\"\nlevels = [\"mmx\"]\n").unwrap();
    let output = kernels(&["build", preset.to_str().unwrap()]);
    let report = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(report.contains("wrong.toml:2:11") && report.contains("`mmx`"), "{report}");
}

#[test]
fn tune_refuses_what_it_cannot_measure_and_says_what_it_can() {
    for (arguments, help) in [
        (["--width", "7"], "32, 64, 80, 96, 128, 192x128, 256"),
        (["--level", "mmx"], "this processor has scalar, portable"),
        (["--op", "transpose"], "there are attend and decode"),
    ] {
        let output = kernels(&[&["tune"], &arguments[..]].concat());
        let report = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(report.contains(help), "{report}");
    }
}

#[test]
fn stress_draws_prints_and_names_what_it_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let preset = format!("{}/../presets/minilm-l6.toml", env!("CARGO_MANIFEST_DIR"));
    let out = path("out");
    let output = kernels(&["stress", &preset, "--cases", "3", "--keys", "8", "--out", &out]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.contains("close race") && table.contains("8 keys"), "{table}");
    for name in ["errors.svg", "worst.json"] {
        assert!(directory.path().join("out").join(name).exists(), "{name}");
    }
    let output = kernels(&["stress", &preset, "--format", "f64"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are f32, f16 and bf16"));
}

#[test]
fn a_device_gets_a_plan_and_a_crate_or_what_would_fit() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let preset = format!("{}/../presets/tiny-window.toml", env!("CARGO_MANIFEST_DIR"));
    let build = |sram: &str, flash: &str| {
        let device = ["--target", "cortex-m4", "--sram", sram, "--flash", flash];
        let out = ["--out", out.to_str().unwrap()];
        let output = kernels(&[&["build", &preset], &device[..], &out].concat());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, plan, said) = build("16K", "1M");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        plan.contains("i8, a ring of 128 tokens") && plan.contains("weights excluded"),
        "{plan}"
    );
    assert!(plan.contains("decode_f32") && out.join("src/memory.rs").exists(), "{plan}");
    assert!(plan.contains("left of 1,048,576") || said.contains("no std"), "{plan}{said}");
    let (code, plan, said) = build("8K", "1M");
    assert_eq!((code, plan.as_str()), (Some(1), ""));
    assert!(said.contains("of 8,192") && said.contains("window = { keys = "), "{said}");
}

#[test]
fn devices_and_sizes_that_are_none_are_refused() {
    let preset = format!("{}/../presets/tiny-window.toml", env!("CARGO_MANIFEST_DIR"));
    for (arguments, help) in [
        (&["--target", "cortex-m4"][..], "--sram <SIZE>"),
        (&["--sram", "16K"], "--target <TARGET>"),
        (&["--target", "cortex-m8", "--sram", "16K"], "cortex-m33"),
        (&["--target", "cortex-m4", "--sram", "16G"], "`G` is no unit"),
        (&["--target", "cortex-m4", "--sram", "16K", "--flash", "lots"], "`s` is no unit"),
        (&["--target", "cortex-m4", "--sram", "16K", "--json"], "cannot be used with"),
    ] {
        let output = kernels(&[&["build", &preset], arguments].concat());
        let report = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{report}");
        assert!(report.contains(help), "{report}");
    }
}
