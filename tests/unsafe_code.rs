//! Where `unsafe` is, and how much of it: a list that no change passes unseen.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Blocks, functions, and implementations or traits that are unsafe. Types of functions are none of them.
type Counts = [usize; 3];

/// Every file of `src/` that may hold some. A number that grows wants a review, one that shrinks a new line here.
const ALLOWED: &[(&str, Counts)] = &[
    ("dispatch.rs", [3, 2, 0]),
    ("dispatch/claim.rs", [7, 3, 1]),
    ("dispatch/integers.rs", [8, 0, 0]),
    ("dispatch/lent.rs", [7, 1, 1]),
    ("dispatch/linear.rs", [1, 1, 0]),
    ("dispatch/lookups.rs", [1, 0, 0]),
    ("dispatch/modifiers.rs", [2, 0, 0]),
    ("dispatch/moves.rs", [9, 0, 0]),
    ("dispatch/sinks.rs", [1, 0, 0]),
    ("dispatch/task.rs", [2, 0, 0]),
    ("dispatch/turns.rs", [3, 0, 0]),
    ("generated/avx2.rs", [1, 0, 0]),
    ("generated/avx512.rs", [3, 0, 0]),
    ("simd.rs", [2, 0, 0]),
    ("simd/blocks.rs", [4, 3, 0]),
    ("simd/columns.rs", [9, 2, 0]),
    ("simd/hints.rs", [2, 0, 0]),
    ("simd/pairs.rs", [2, 0, 0]),
    ("simd/quads.rs", [11, 0, 0]),
    ("simd/quads_avx2.rs", [6, 0, 0]),
    ("simd/quads_values.rs", [3, 0, 0]),
    ("simd/rows.rs", [5, 2, 0]),
    ("simd/scaled.rs", [0, 1, 0]),
    ("simd/squares.rs", [4, 0, 0]),
    ("simd/steps.rs", [3, 3, 0]),
    ("simd/x86.rs", [3, 0, 0]),
];

/// What follows an `unsafe`, macros' bodies included; comments are no tokens.
fn count(tokens: TokenStream, counts: &mut Counts) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => count(group.stream(), counts),
            TokenTree::Ident(word) if word == "unsafe" => {
                if let Some(kind) = kind(&tokens[at + 1..]) {
                    counts[kind] += 1;
                }
            }
            _ => {}
        }
    }
}

/// Which of [`Counts`] begins with `unsafe` and these.
fn kind(next: &[TokenTree]) -> Option<usize> {
    match next {
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => Some(0),
        [TokenTree::Ident(word), TokenTree::Group(_), ..] if word == "fn" => None,
        [TokenTree::Ident(word), ..] if word == "fn" => Some(1),
        [TokenTree::Ident(word), TokenTree::Literal(_), rest @ ..] if word == "extern" => {
            if let [TokenTree::Group(_), ..] = rest { Some(0) } else { kind(rest) }
        }
        // `unsafe impl`, `unsafe trait`, `#[unsafe(..)]`.
        _ => Some(2),
    }
}

fn counts_of(text: &str) -> Counts {
    let mut counts = Counts::default();
    count(text.parse().expect("Rust"), &mut counts);
    counts
}

/// Those of every file below a directory that has any.
fn files(directory: &Path, below: &str, found: &mut BTreeMap<String, Counts>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), format!("{below}{}", entry.file_name().display()));
        if path.is_dir() {
            files(&path, &format!("{name}/"), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let counts = counts_of(&fs::read_to_string(path).unwrap());
            if counts != Counts::default() {
                found.insert(name, counts);
            }
        }
    }
}

#[test]
fn unsafe_code_is_where_and_as_much_as_the_list_says() {
    let mut found = BTreeMap::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    let allowed: BTreeMap<String, Counts> =
        ALLOWED.iter().map(|(file, counts)| (file.to_string(), *counts)).collect();
    let mut faults = Vec::new();
    for (file, counts) in &found {
        match allowed.get(file) {
            None => faults.push(format!("(\"{file}\", {counts:?}), is not in the list")),
            Some(listed) if listed != counts => {
                faults.push(format!("(\"{file}\", {counts:?}), the list says {listed:?}"));
            }
            Some(_) => {}
        }
    }
    let gone = allowed.keys().filter(|file| !found.contains_key(*file));
    faults.extend(gone.map(|file| format!("{file} has none any more")));
    assert!(faults.is_empty(), "[blocks, functions, implementations]\n{}", faults.join("\n"));
}

#[test]
fn the_counter_counts() {
    let text = r#"
        // unsafe { nothing }
        /// unsafe fn nothing()
        type Call = unsafe fn(u8);
        const SAID: &str = "unsafe { }";
        unsafe fn one() { let call: unsafe fn() = one; unsafe { call() } }
        unsafe extern "C" fn two() {}
        unsafe impl Send for Three {}
        macro_rules! four { () => { unsafe { one(); unsafe { one() } } } }
        five!(unsafe { one() });
    "#;
    assert_eq!(counts_of(text), [4, 2, 1]);
}
