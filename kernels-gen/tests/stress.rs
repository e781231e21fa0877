//! What makes attention lose digits: flashlet keeps its bound, and what is wrong is caught.

use flashlet::Level;
use kernels_gen::spec::Spec;
use kernels_gen::stress::{Stress, Wish, run};
use oracle::Format;
use serde_json::Value;

const SPEC: &str = r#"name = "tiny"
levels = ["scalar"]
heads = { q = 4, kv = 2, dim = 16 }
mask = { kind = "causal", window = { keys = 40 } }
lengths = { queries = 64, keys = 64 }
"#;

fn stress(level: Level, stored: Format) -> Stress {
    let spec = Spec::parse("tiny.toml", SPEC).unwrap();
    run(&spec, &Wish { level, stored, keys: 256, cases: 40, seed: 1 })
}

fn lines(stress: &Stress) -> Vec<Value> {
    let json = stress.json().unwrap();
    json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn flashlet_keeps_its_bound_under_every_trouble_and_others_are_caught() {
    for level in Level::available() {
        for stored in [Format::F32, Format::F16, Format::Bf16] {
            let stress = stress(level, stored);
            assert_eq!(stress.exceeded(), 0, "{}", stress.table());
            let beyond = |name: &str| -> u64 {
                let lines = lines(&stress);
                let of = lines.iter().filter(|line| line["implementation"] == name);
                of.map(|line| line["exceeded"].as_u64().unwrap()).sum()
            };
            assert!(beyond("one pass without a maximum") > 0, "{}", stress.table());
            assert!(beyond("sums in bf16") > 0, "{}", stress.table());
        }
    }
}

/// Else the table would be of ordinary cases.
#[test]
fn troubles_are_ill_conditioned_and_cost_digits() {
    let stress = stress(Level::Scalar, Format::F32);
    let lines = lines(&stress);
    let of = |trouble: &str, key: &str| {
        let is = |line: &&Value| {
            line["trouble"] == trouble
                && line["implementation"].as_str().is_some_and(|name| name.starts_with("flashlet"))
        };
        lines.iter().find(is).unwrap()[key].as_f64().unwrap()
    };
    for trouble in ["close race", "outlier channel", "cancelling scores", "cancelling values"] {
        assert!(of(trouble, "condition") > 30.0 * of("none", "condition"), "{trouble}");
        assert!(of(trouble, "relative_error") > 10.0 * of("none", "relative_error"), "{trouble}");
    }
    assert!(of("common value", "condition") < 4.0);
    assert!(of("common value", "relative_error") < 1e-6);
}

#[test]
fn the_mask_says_how_many_keys_are_seen_and_the_worst_case_is_kept_whole() {
    let stress = stress(Level::Scalar, Format::F32);
    assert!(stress.table().starts_with("tiny: flashlet scalar f32; 40 keys, head_dim 16"));
    let worst: Value = serde_json::from_str(&stress.replay().unwrap()).unwrap();
    let len = |key: &str| worst[key].as_array().unwrap().len();
    assert_eq!([len("q"), len("k"), len("v")], [16, 40 * 16, 40 * 16]);
    // A number that could not be read back would be null.
    assert!(worst["k"].as_array().unwrap().iter().all(Value::is_number));
    let svg = stress.svg().unwrap();
    assert!(svg.contains("Where attention loses digits"));
    assert!(svg.matches("<circle").count() > 4 * 8 * 40 / 2, "a point for each case");
}
