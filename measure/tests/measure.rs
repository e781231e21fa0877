//! What measurements rest on.

use flashlet::{Heads, Level};
use measure::heads::{Captured, HeadsError, fill, load};
use measure::problem::{Model, Sight, Tokens};
use measure::time::time;
use measure::{bandwidth, naive, peak};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/real-heads").join(name)
}

fn smollm2() -> [Captured; 2] {
    ["smollm2-l0.safetensors", "smollm2-l18.safetensors"].map(|name| load(&file(name)).unwrap())
}

#[test]
fn captured_heads_say_what_they_are() {
    let [first, _] = smollm2();
    assert_eq!((first.len, first.heads), (73, Heads::new(3, 1, 64)));
    assert!(first.about["model"].contains("SmolLM2"));
}

#[test]
fn captured_heads_fill_a_model_in_turn() {
    let captured = smollm2();
    let filled = fill(&captured, Heads::new(9, 3, 64), 100).unwrap();
    let row = |data: &[f32], heads: usize, t: usize, h: usize| {
        data[(t * heads + h) * 64..][..64].to_vec()
    };
    for (g, source) in [(0, &captured[0]), (1, &captured[1]), (2, &captured[0])] {
        for t in [0, 72, 73, 99] {
            assert_eq!(row(&filled.k, 3, t, g), row(&source.k, 1, t % 73, 0), "key head {g}");
            assert_eq!(row(&filled.v, 3, t, g), row(&source.v, 1, t % 73, 0), "value head {g}");
            for r in 0..3 {
                let queries = row(&filled.q, 9, t, 3 * g + r);
                assert_eq!(queries, row(&source.q, 3, t % 73, r), "query head {}", 3 * g + r);
            }
        }
    }
}

#[test]
fn heads_of_another_width_are_refused() {
    let error = fill(&smollm2(), Heads::new(4, 4, 32), 1).unwrap_err();
    assert!(matches!(error, HeadsError::Width { dim: 64, want_dim: 32, .. }), "{error}");
    assert!(matches!(fill(&[], Heads::new(1, 1, 8), 1), Err(HeadsError::None)));
    assert!(matches!(load(Path::new("nowhere")), Err(HeadsError::Read { .. })));
    let readme = load(&file("README.md"));
    assert!(matches!(readme, Err(HeadsError::Format { .. })));
}

#[test]
fn sight_is_what_it_says() {
    let window = Sight { left: Some(2), right: Some(1), sinks: 1, ..Sight::FULL };
    let seen: Vec<usize> = (0..12).filter(|j| window.sees(6, *j)).collect();
    assert_eq!(seen, [0, 4, 5, 6, 7]);
    assert!((0..9).all(|j| Sight::CAUSAL.sees(4, j) == (j <= 4)));
    let seen = |sight: Sight, p| (0..12).filter(|j| sight.sees(p, *j)).collect::<Vec<_>>();
    let every = |step| Sight { dilation: Some(step), ..window };
    assert_eq!(seen(every(2), 6), [0, 4, 6]);
    assert_eq!(seen(Sight { chunk: Some(4), ..Sight::CAUSAL }, 6), [4, 5, 6]);
    assert_eq!(seen(Sight { prefix: 3, globals: &[9], ..window }, 6), [0, 1, 2, 4, 5, 6, 7, 9]);
    let global = Sight { globals: &[6], ..window };
    assert_eq!((seen(global, 6).len(), global.count(6, 12), global.count(5, 12)), (12, 12, 5));
}

#[test]
fn keys_are_counted_as_they_are_seen() {
    let sides = [None, Some(0), Some(2), Some(usize::MAX)];
    for (left, right) in sides.into_iter().flat_map(|left| sides.map(|right| (left, right))) {
        for (sinks, p) in (0..4).flat_map(|sinks| (0..14).map(move |p| (sinks, p))) {
            let sight = Sight { left, right, sinks, ..Sight::FULL };
            let seen = (0..9).filter(|j| sight.sees(p, *j)).count();
            assert_eq!(sight.count(p, 9), seen, "{sight:?} at {p}");
        }
    }
}

#[test]
fn naive_attention_is_attention() {
    let [captured, _] = smollm2();
    let sight = Sight::CAUSAL;
    let model = Model { heads: captured.heads, scale: 0.125, sight, max_q: 73, max_kv: 73 };
    let tokens = Tokens { position: 0, q: &captured.q, k: &captured.k, v: &captured.v };
    let mut o = vec![f32::NAN; 73 * 3 * 64];
    naive::attend(&model, &tokens, &mut o);
    // Row 0 sees itself alone; a step gives the row that the whole call gave.
    assert_eq!(o[..64], captured.v[..64]);
    let mut step = vec![f32::NAN; 3 * 64];
    naive::attend(&model, &model.step(&tokens, 40), &mut step);
    let row = &o[40 * 3 * 64..][..3 * 64];
    assert!(step.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn operations_are_those_of_visible_pairs() {
    let model = Model {
        heads: Heads::new(3, 1, 64),
        scale: 1.0,
        sight: Sight::CAUSAL,
        max_q: 73,
        max_kv: 73,
    };
    let [captured, _] = smollm2();
    let tokens = Tokens { position: 0, q: &captured.q, k: &captured.k, v: &captured.v };
    let pairs = (73 * 74 / 2) as f64;
    assert_eq!(model.flops(&tokens), pairs * 3.0 * 2.0 * 128.0);
    assert_eq!(model.flops(&model.step(&tokens, 9)), 10.0 * 3.0 * 2.0 * 128.0);
}

#[test]
fn every_level_of_this_processor_has_a_peak() {
    for level in Level::ALL {
        let peak = peak::gflops(level);
        assert_eq!(peak.is_some(), level.is_available(), "{level}");
        assert!(peak.is_none_or(|peak| (0.01..100_000.0).contains(&peak)), "{level}: {peak:?}");
    }
}

#[test]
fn bf16_products_have_a_peak_where_there_are_any() {
    let peak = peak::bf16_gflops();
    assert!(peak.is_none_or(|peak| (0.01..100_000.0).contains(&peak)), "{peak:?}");
}

#[test]
fn memory_is_read_at_some_speed() {
    for floats in [1, 1000, 1 << 20] {
        let speed = bandwidth::read_gbs(&vec![1.0; floats]);
        assert!((0.001..100_000.0).contains(&speed), "{floats}: {speed}");
    }
}

#[test]
fn times_are_of_one_run() {
    let pause = Duration::from_millis(2);
    let time = time(Duration::from_millis(30), || std::thread::sleep(pause));
    assert!(time.best >= pause.as_secs_f64() && time.median >= time.best, "{time:?}");
}

#[test]
fn entrants_take_turns_and_are_held_to_the_bits_of_the_first() {
    use flashlet::entry::Entry;
    use measure::race::{Work, run};
    let entries: Vec<Entry> = [Level::Scalar, Level::Portable]
        .iter()
        .flat_map(|level| Entry::generic(*level, Heads::new(1, 1, 8)))
        .collect();
    let race = run(Work::Step, [8, 8], &entries, 3).unwrap();
    assert!(race.ms.iter().all(|ms| ms.len() == 3 && ms.iter().all(|ms| *ms > 0.0)), "{race:?}");
    // Levels of two classes differ in bits, those of one do not.
    let same = Level::Scalar.is_fused() == Level::Portable.is_fused();
    assert_eq!(race.is_right, [true, true, same, same]);
    assert!(race.is_right[race.finalist]);
}

#[test]
fn an_entry_is_judged_by_the_arithmetic_that_it_has() {
    use flashlet::entry::Entry;
    use measure::case::arithmetic;
    use oracle::{Arithmetic, Format};
    let heads = Heads::new(1, 1, 64);
    for level in Level::ALL {
        let [entry, _] = Entry::generic(level, heads);
        let found = arithmetic(&entry, Format::F16);
        assert_eq!((found.fused, found.output), (level.is_fused(), Format::F16), "{level}");
        for entry in Entry::generated_pairs(level) {
            let expected = Arithmetic::bf16_products(entry.tile_k()).stored_as(Format::Bf16);
            assert_eq!(arithmetic(entry, Format::Bf16), expected);
        }
    }
}
