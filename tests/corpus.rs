//! The fuzzers' corpora, replayed: every input that ever found something, and those that reach far.

use hunt::{attend, linear, rope};

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
fn a_thousand_random_inputs_with_extras_are_certified() {
    let mut random = fastrand::Rng::with_seed(2);
    for number in 0..1000 {
        println!("input {number}");
        let len = random.usize(60..3000);
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        attend::run(&data, true);
    }
}

#[test]
fn a_thousand_random_inputs_of_attend_are_certified() {
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..1000 {
        println!("input {number}");
        let len = random.usize(20..3000);
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        attend::run(&data, false);
    }
}

#[test]
fn a_thousand_random_inputs_of_linear_are_certified() {
    let mut random = fastrand::Rng::with_seed(3);
    for number in 0..1000 {
        println!("input {number}");
        let len = random.usize(40..3000);
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        linear::run(&data);
    }
}

#[test]
fn a_thousand_random_inputs_of_rope_are_certified() {
    let mut random = fastrand::Rng::with_seed(4);
    for number in 0..1000 {
        println!("input {number}");
        let len = random.usize(40..2000);
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        rope::run(&data);
    }
}
