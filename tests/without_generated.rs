//! Deleting every generated file leaves a correct, slower crate: the same bits.

use flashlet::{Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Shape, View, ViewMut};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs one shape for each level and prints a digest a line. The same text is compiled here, with
/// the generated entries, and into a program of its own, without them.
macro_rules! digests {
    () => {{
        let mut lines = String::new();
        for (q_len, dim) in [(40, 64), (1, 128), (9, 48)] {
            let shape = Shape { batch: 1, q_len, kv_len: 203, heads: Heads::new(4, 2, dim) };
            let numbers = |dims: [usize; 4], step: u32| -> Vec<f32> {
                let mut x = step;
                let len = dims.iter().product();
                let next = || {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (x >> 8) as f32 / 4_194_304.0 - 2.0
                };
                std::iter::repeat_with(next).take(len).collect()
            };
            let (q, k, v) = (numbers(shape.q(), 1), numbers(shape.k(), 2), numbers(shape.v(), 3));
            for level in Level::available() {
                let mask = Mask::causal(Offset::BOTTOM_RIGHT);
                let plan = Attention::new(shape, mask).unwrap().level(level).unwrap();
                let mut o = vec![0.0; shape.o().iter().product()];
                let mut scratch = vec![0.0; plan.scratch_len()];
                let inputs = Inputs::new(
                    View::packed(&q, shape.q()).unwrap(),
                    View::packed(&k, shape.k()).unwrap(),
                    View::packed(&v, shape.v()).unwrap(),
                );
                let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
                plan.bind(inputs, outputs, &mut scratch).unwrap().run();
                let digest = o.iter().fold(0_u64, |digest, x| {
                    (digest ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
                });
                lines += &format!("{q_len} {dim} {level} {digest:016x}\n");
            }
        }
        lines
    }};
}

const MANIFEST: &str = r#"
[package]
name = "probe"
edition = "2024"

[dependencies]
flashlet = { path = "../flashlet", default-features = false, features = ["std"] }

[profile.dev]
opt-level = 2

[workspace]
"#;

/// The text of the macro above, as the program's `main`.
fn program() -> String {
    let this = include_str!("without_generated.rs");
    let start = this.find("macro_rules! digests").unwrap();
    let end = this.find("const MANIFEST").unwrap();
    let uses = "use flashlet::{Attention, Heads, Inputs, Level, Mask, Offset, Outputs, Shape, View, ViewMut};";
    format!("{uses}\n{}\nfn main() {{ print!(\"{{}}\", digests!()); }}\n", &this[start..end])
}

/// The manifest without the targets that are not copied.
fn library_manifest(root: &Path) -> String {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (before, targets) = manifest.split_once("[[bench]]").unwrap();
    let (_, after) = targets.split_once("[lints]").unwrap();
    format!("{before}[lints]{after}")
}

/// Copies hand-written sources only.
fn copy_without_generated(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("generated") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy_without_generated(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

#[test]
fn the_crate_without_its_generated_files_gives_the_same_bits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without_generated");
    let _ = fs::remove_dir_all(work.join("flashlet"));
    copy_without_generated(&root.join("src"), &work.join("flashlet/src"));
    fs::write(work.join("flashlet/Cargo.toml"), library_manifest(root)).unwrap();
    fs::create_dir_all(work.join("probe/src")).unwrap();
    fs::write(work.join("probe/Cargo.toml"), MANIFEST).unwrap();
    fs::write(work.join("probe/src/main.rs"), program()).unwrap();
    assert!(!work.join("flashlet/src/generated.rs").exists());
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--manifest-path"])
        .arg(work.join("probe/Cargo.toml"))
        .arg("--target-dir")
        .arg(work.join("target"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let here = digests!();
    assert!(here.lines().count() >= 6, "{here}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), here);
}
