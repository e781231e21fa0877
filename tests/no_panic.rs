//! A binary that does all that a caller can do holds no panic, no allocation, and no intrinsic or
//! closure that the kernels call instead of melting into their code.

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSymbol};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Builds `tests/fixtures/caller` and returns every symbol that its own code defines or needs.
fn symbols() -> &'static [String] {
    static SYMBOLS: OnceLock<Vec<String>> = OnceLock::new();
    SYMBOLS.get_or_init(build)
}

fn build() -> Vec<String> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/caller");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("caller");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--offline", "--manifest-path"])
        .arg(fixture.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the fixture builds");
    let bytes = std::fs::read(target.join("release/libcaller.a")).expect("the library is there");
    let archive = ArchiveFile::parse(&*bytes).expect("it is an archive");
    let mut symbols = Vec::new();
    for member in archive.members().map(Result::unwrap) {
        // Fat LTO leaves all that is used in one object of ours, beside the compiler's own.
        if member.name().starts_with(b"caller") {
            let file = object::File::parse(member.data(&*bytes).unwrap()).unwrap();
            symbols
                .extend(file.symbols().filter_map(|symbol| symbol.name().ok().map(String::from)));
        }
    }
    symbols
}

/// One intrinsic called as a function makes a kernel fifty times slower, and no other test sees it.
#[test]
fn kernels_hold_their_intrinsics_inline() {
    let symbols = symbols();
    // Detecting levels is no kernel.
    let detection =
        |name: &&String| ["xgetbv", "cpuid", "simd5level"].iter().any(|part| name.contains(part));
    // Modules, as symbols spell them; a function's name may end like one.
    for word in
        ["core_arch", "flashlet6online", "flashlet5score", "8products", "4simd", "8position4turn"]
    {
        let found: Vec<_> =
            symbols.iter().filter(|name| name.contains(word) && !detection(name)).collect();
        assert!(found.is_empty(), "{word}: {found:?}");
    }
}

#[test]
fn a_callers_binary_holds_no_panic_and_no_allocation() {
    let symbols = symbols();
    for function in [
        "attend",
        "modified",
        "sparse",
        "split",
        "inspected",
        "turned",
        "embedded",
        "gated",
        "streamed",
        "learnt",
        "cached",
        "paged",
        "grouped",
        "packed",
        "counted",
    ] {
        assert!(symbols.iter().any(|name| name == function), "{function} is there");
    }
    assert!(symbols.iter().any(|name| name.contains("attend_f32_hd64")), "the kernels are there");
    for word in ["panic", "unwrap_failed", "expect_failed", "__rust_alloc", "malloc", "slice_index"]
    {
        let found: Vec<_> = symbols.iter().filter(|name| name.contains(word)).collect();
        assert!(found.is_empty(), "{word}: {found:?}");
    }
}
