//! The generated files: fresh, clean, and watched.

use flashlet::Level;
use kernels_gen::manifest::MANIFEST;
use kernels_gen::plan::{Planned, entries, pairs};
use kernels_gen::tiles::Tiles;
use kernels_gen::tree::{Fault, faults, mend};
use kernels_gen::{build, render};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn files() -> Vec<render::File> {
    render::files(&Tiles::own().unwrap()).unwrap()
}

fn all() -> Vec<Planned<'static>> {
    let tiles = Tiles::own().unwrap();
    let of_level = |level| entries(level, &tiles).flatten().chain(pairs(level, &tiles));
    Level::ALL.into_iter().flat_map(of_level).collect()
}

#[test]
fn the_tree_holds_what_the_generator_renders() {
    let files = files();
    assert_eq!(files, self::files(), "rendering is deterministic");
    let faults = faults(&build::workspace().join("src"), "generated", &files).unwrap();
    assert!(faults.is_empty(), "{faults:?}: run `cargo kernels`");
}

#[test]
fn a_file_edited_deleted_or_added_is_reported_by_name_and_mended() {
    let directory = tempfile::tempdir().unwrap();
    let (src, files) = (directory.path(), files());
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
    for file in files() {
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
    let files = files();
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
    for entry in all() {
        let (needed, there) = (entry.registers(), entry.level.registers());
        assert!(needed <= there, "{}: {needed} of {there} registers", entry.name());
    }
}

#[test]
fn no_entry_needs_more_scratch_than_256_kib() {
    for entry in all() {
        assert!(entry.scratch_bytes() <= 256 * 1024, "{}: {}", entry.name(), entry.scratch_bytes());
    }
}

#[test]
fn names_tell_entries_apart_and_say_their_parameters() {
    let all = all();
    let names: BTreeSet<String> = all.iter().map(|entry| entry.name()).collect();
    let shared = all.iter().filter(|entry| entry.serves_any_head()).count();
    let vector_levels = Level::ALL.iter().filter(|level| level.lanes() > 1).count();
    assert_eq!(names.len(), all.len() - shared + vector_levels);
    for (start, end) in [
        ("attend_f32_hd64_q", "_k96_avx512"),
        ("attend_bf16_hd64_q", "_k96_avx512"),
        ("decode_f32_hd192x128_q", "_k96_scalar"),
        ("decode_f32_q", "_k96_avx2"),
    ] {
        let named = |name: &&String| name.starts_with(start) && name.ends_with(end);
        assert_eq!(names.iter().filter(named).count(), 1, "{start}*{end}");
    }
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
