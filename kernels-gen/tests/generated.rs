//! The generated files: fresh, clean, and watched.

use flashlet::Level;
use kernels_gen::manifest::MANIFEST;
use kernels_gen::plan::entries;
use kernels_gen::tree::{Fault, faults, mend};
use kernels_gen::{build, render};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_tree_holds_what_the_generator_renders() {
    let files = render::files().unwrap();
    assert_eq!(files, render::files().unwrap(), "rendering is deterministic");
    let faults = faults(&build::workspace().join("src"), "generated", &files).unwrap();
    assert!(faults.is_empty(), "{faults:?}: run `cargo kernels`");
}

#[test]
fn a_file_edited_deleted_or_added_is_reported_by_name_and_mended() {
    let directory = tempfile::tempdir().unwrap();
    let (src, files) = (directory.path(), render::files().unwrap());
    assert_eq!(mend(src, "generated", &files).unwrap().len(), files.len());
    assert!(mend(src, "generated", &files).unwrap().is_empty(), "twice changes nothing");

    fs::write(src.join("generated/avx2.rs"), "// edited").unwrap();
    fs::remove_file(src.join("generated/scalar.rs")).unwrap();
    fs::write(src.join("generated/mmx.rs"), "").unwrap();
    let expected = [
        (src.join("generated/avx2.rs"), Fault::Stale),
        (src.join("generated/mmx.rs"), Fault::Unexpected),
        (src.join("generated/scalar.rs"), Fault::Missing),
    ];
    assert_eq!(faults(src, "generated", &files).unwrap(), expected);
    assert_eq!(mend(src, "generated", &files).unwrap(), expected);
    assert_eq!(faults(src, "generated", &files).unwrap(), []);
}

#[test]
fn every_file_names_the_command_that_rewrites_it_first() {
    for file in render::files().unwrap() {
        let first = file.text.lines().next();
        assert_eq!(first, Some("// Written by `cargo kernels`: do not edit."), "{}", file.path);
    }
}

#[test]
fn rustfmt_changes_nothing() {
    if Command::new("rustfmt").arg("--version").output().is_err() {
        eprintln!("skipped: there is no rustfmt");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let files = render::files().unwrap();
    mend(directory.path(), "generated", &files).unwrap();
    for heuristics in ["Default", "Max"] {
        assert_formatted(&directory.path().join("generated.rs"), heuristics);
    }
}

/// rustfmt follows the modules of a file.
fn assert_formatted(file: &Path, heuristics: &str) {
    let config = format!("use_small_heuristics={heuristics}");
    let mut rustfmt = Command::new("rustfmt");
    let output =
        rustfmt.args(["--check", "--edition", "2024", "--config", &config]).arg(file).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn no_entry_needs_more_registers_than_its_level_has() {
    for entry in Level::ALL.into_iter().flat_map(entries).flatten() {
        let (needed, there) = (entry.registers(), entry.level.registers());
        assert!(needed <= there, "{}: {needed} of {there} registers", entry.name());
    }
}

#[test]
fn no_entry_needs_more_scratch_than_256_kib() {
    for entry in Level::ALL.into_iter().flat_map(entries).flatten() {
        assert!(entry.scratch_bytes() <= 256 * 1024, "{}: {}", entry.name(), entry.scratch_bytes());
    }
}

#[test]
fn names_tell_entries_apart_and_say_their_parameters() {
    let all: Vec<_> = Level::ALL.into_iter().flat_map(entries).flatten().collect();
    let names: BTreeSet<String> = all.iter().map(|entry| entry.name()).collect();
    assert_eq!(names.len(), all.len());
    assert!(names.contains("attend_f32_hd64_q64_k96_avx512"));
    assert!(names.contains("decode_f32_hd192x128_q16_k96_avx2"));
}

#[test]
fn the_manifest_is_sorted_and_says_why() {
    let sizes: Vec<_> = MANIFEST.iter().map(|line| (line.dim, line.v_dim)).collect();
    assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
    assert!(MANIFEST.iter().all(|line| !line.models.is_empty()));
    for size in [(32, 32), (64, 64), (80, 80), (96, 96), (128, 128), (192, 128), (256, 256)] {
        assert!(sizes.contains(&size), "{size:?}");
    }
}
