//! The fuzzers' corpora, replayed: every input that ever found something, and those that reach far.

use hunt::{attend, cache, formats};

/// Hands every file of `fuzz/corpus/<target>` to `body`; returns how many there are.
fn replay(target: &str, body: impl Fn(&[u8])) -> usize {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut count = 0;
    for path in files.map(|file| file.unwrap().path()) {
        println!("{}", path.display());
        body(&std::fs::read(&path).unwrap());
        count += 1;
    }
    count
}

#[test]
fn the_corpus_of_attend_is_certified() {
    assert!(replay("attend", |data| attend::run(data, false)) > 0);
}

#[test]
fn the_corpus_with_extras_is_certified() {
    assert!(replay("extras", |data| attend::run(data, true)) > 0);
}

#[test]
fn the_corpus_of_state_merge_is_certified() {
    assert!(replay("state_merge", state_merge::run) > 0);
}

/// Hands a thousand inputs of random bytes to `body`.
fn a_thousand(seed: u64, body: impl Fn(&[u8])) {
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..1000 {
        println!("input {number}");
        let len = random.usize(20..3000);
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        body(&data);
    }
}

#[test]
fn a_thousand_random_inputs_of_attend_are_certified() {
    a_thousand(1, |data| attend::run(data, false));
}

#[test]
fn a_thousand_random_inputs_with_extras_are_certified() {
    a_thousand(2, |data| attend::run(data, true));
}

#[test]
fn a_thousand_random_inputs_of_state_merge_are_certified() {
    a_thousand(3, state_merge::run);
}

#[test]
fn a_thousand_random_inputs_of_formats_are_certified() {
    let mut random = fastrand::Rng::with_seed(3);
    for number in 0..1000 {
        println!("input {number}");
        let len = random.usize(20..800);
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        formats::run(&data);
    }
}

#[test]
fn a_thousand_random_inputs_of_cache_are_certified() {
    let mut random = fastrand::Rng::with_seed(4);
    for number in 0..1000 {
        println!("input {number}");
        let len = random.usize(20..1200);
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        cache::run(&data);
    }
}
