//! The fuzzers' corpora, replayed: every input that ever found something, and those that reach far. And a thousand inputs of
//! random bytes for each target.

/// Hands every file of `fuzz/corpus/<target>`, and of `fuzz/found/<target>` if something was found, to `body`.
fn replay(target: &str, body: impl Fn(&[u8])) {
    let files = |kind: &str| {
        let folder = format!("{}/fuzz/{kind}/{target}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path())
    };
    assert!(files("corpus").next().is_some(), "{target} has no corpus");
    for path in files("corpus").chain(files("found")) {
        println!("{}", path.display());
        body(&std::fs::read(&path).unwrap());
    }
}

/// Hands a thousand inputs of at most `most` random bytes to `body`.
fn a_thousand(seed: u64, most: usize, body: impl Fn(&[u8])) {
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..1000 {
        println!("input {number}");
        let len = random.usize(20..most);
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        body(&data);
    }
}

/// Both for a target, each a test.
macro_rules! targets {
    ($($target:ident, $seed:literal, $most:literal, $body:expr;)*) => { $(
        mod $target {
            use super::{a_thousand, replay};

            #[test]
            fn the_corpus_is_certified() {
                replay(stringify!($target), $body);
            }

            #[test]
            fn a_thousand_random_inputs_are_certified() {
                a_thousand($seed, $most, $body);
            }
        }
    )* };
}
targets! {
    attend, 1, 3000, |data: &[u8]| hunt::attend::run(data, false);
    extras, 2, 3000, |data: &[u8]| hunt::attend::run(data, true);
    state_merge, 3, 3000, |data: &[u8]| hunt::state_merge::run(data);
    linear, 4, 3000, |data: &[u8]| hunt::linear::run(data);
    rope, 5, 2000, |data: &[u8]| hunt::rope::run(data);
    formats, 6, 800, |data: &[u8]| hunt::formats::run(data);
    cache, 7, 1200, |data: &[u8]| hunt::cache::run(data);
}
