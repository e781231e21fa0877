//! Devices: what a plan chooses, what it takes, and what is said of a preset that does not fit. Tables and reports are in `device/`;
//! `UPDATE_EXPECT=1 cargo test` rewrites them.

use expect_test::expect_file;
use kernels_gen::build::workspace;
use kernels_gen::device::{Budget, Core, Plan, bytes, plan, sram_table};
use kernels_gen::spec::{CacheFormat, Spec};
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::fs;

const KIB: usize = 1024;

fn preset(name: &str) -> String {
    fs::read_to_string(workspace().join(format!("presets/{name}.toml"))).unwrap()
}

fn parsed(text: &str) -> Spec {
    Spec::parse("spec.toml", text).unwrap()
}

fn budget(sram: usize) -> Budget {
    Budget { core: Core::CortexM4, sram, flash: None }
}

fn planned(text: &str, sram: usize) -> Option<Plan> {
    plan(&parsed(text), budget(sram)).ok()
}

/// What a preset becomes with the lines of TOML that a refusal proposes.
fn with_lines(text: &str, lines: &str) -> String {
    fn merge(into: &mut toml::Table, from: toml::Table) {
        for (key, value) in from {
            match (into.get_mut(&key), value) {
                (Some(toml::Value::Table(into)), toml::Value::Table(from)) if key != "window" => {
                    merge(into, from);
                }
                (_, value) => drop(into.insert(key, value)),
            }
        }
    }
    let mut table: toml::Table = text.parse().unwrap();
    merge(&mut table, lines.parse().unwrap());
    table.to_string()
}

/// Presets of several shapes: rings with and without sinks, without a window, with several queries at once, for wide heads,
/// with a cache that says its format.
fn shapes() -> Vec<String> {
    let sinks = r#"name = "sinks"
        levels = ["scalar"]
        heads = { q = 8, kv = 2, dim = 64 }
        mask = { kind = "causal", window = { left = 300, right = 0 }, sinks = 4 }
        lengths = { queries = 4, keys = 100000 }
        cache = { layers = 3 }"#;
    let straight = r#"name = "straight"
        levels = ["scalar"]
        heads = { q = 2, kv = 2, dim = 24 }
        mask = { kind = "causal" }
        rope = { theta_base = 10000.0, pairing = "halves", table = 500 }
        lengths = { queries = 8, keys = 500 }"#;
    let fixed = r#"name = "fixed"
        levels = ["scalar"]
        tile_k = 48
        heads = { q = 4, kv = 4, dim = 128, v_dim = 64 }
        mask = { kind = "causal", window = { keys = 40 } }
        cache = { format = "q8_0", tokens = 80 }
        lengths = { queries = 1, keys = 1000 }"#;
    let presets = ["tiny-window", "minilm-l6", "smollm2-135m", "qwen3-next"].map(preset);
    presets.into_iter().chain([sinks, straight, fixed].map(str::to_owned)).collect()
}

#[test]
fn sizes_are_read_and_wrong_ones_say_what_is_wrong() {
    for (text, size) in [("131072", 128 * KIB), ("128K", 128 * KIB), ("2m", 2048 * KIB)] {
        assert_eq!(bytes(text), Ok(size));
    }
    for (text, wrong) in [
        ("", "nothing"),
        ("0", "no memory"),
        ("K", "no whole number"),
        ("1.5K", "`1.5` is no whole number"),
        ("-1K", "no whole number"),
        ("128G", "`G` is no unit"),
        ("128µ", "`µ` is no unit"),
        ("4096M", "beyond addresses"),
        ("99999999999999999999K", "beyond addresses"),
    ] {
        let error = bytes(text).unwrap_err();
        assert!(error.contains(wrong), "{text}: {error}");
    }
}

#[test]
fn a_window_of_128_keys_fits_16_kib_with_an_int8_cache() {
    let plan = planned(&preset("tiny-window"), 16 * KIB).unwrap();
    assert_eq!((plan.format, plan.tokens, plan.is_ring), (CacheFormat::I8, 128, true));
    expect_file!["device/tiny_window_16k.txt"].assert_eq(&sram_table(&plan));
}

#[test]
fn plans_are_shown_line_by_line() {
    let plan = planned(&preset("tiny-window"), 64 * KIB).unwrap();
    expect_file!["device/tiny_window_64k.txt"].assert_eq(&sram_table(&plan));
    let texts = shapes();
    let [sinks, straight] = ["sinks", "straight"]
        .map(|name| texts.iter().find(|text| parsed(text).name == name).unwrap());
    let table = |text: &str| sram_table(&planned(text, 192 * KIB).unwrap());
    expect_file!["device/sinks_192k.txt"].assert_eq(&table(sinks));
    expect_file!["device/straight_192k.txt"].assert_eq(&table(straight));
}

#[test]
fn what_is_shown_adds_up_and_fits() {
    for (text, kib) in shapes().iter().flat_map(|text| [16, 64, 256, 1024].map(|kib| (text, kib))) {
        let Some(plan) = planned(text, kib * KIB) else { continue };
        let sum: usize = plan.memory.parts.iter().map(|part| part.bytes).sum();
        assert_eq!(plan.memory.total(), sum);
        assert!(sum <= kib * KIB && plan.fits(), "{}", sram_table(&plan));
    }
}

#[test]
fn more_memory_never_gives_a_less_accurate_format_or_more_passes() {
    for text in shapes() {
        let spec = parsed(&text);
        let rank = |format| CacheFormat::by_accuracy(spec.heads).iter().position(|f| *f == format);
        let mut before: Option<Plan> = None;
        for sram in (4..2048).step_by(4).map(|kib| kib * KIB) {
            let now = plan(&spec, budget(sram)).ok();
            assert!(before.is_none() || now.is_some(), "{}: {sram} bytes are too many", spec.name);
            if let (Some(before), Some(now)) = (&before, &now) {
                assert!(rank(now.format) <= rank(before.format), "{} {sram}", spec.name);
                let rows =
                    |plan: &Plan| (plan.tiles.decode.rows, plan.tiles.prefill.map(|t| t.rows));
                if now.format == before.format {
                    assert!(rows(now) >= rows(before), "{} {sram}", spec.name);
                }
            }
            before = now;
        }
    }
}

#[test]
fn a_format_that_the_preset_says_is_kept() {
    let text = preset("tiny-window");
    for name in ["f32", "f16", "bf16", "e4m3", "e5m2", "i8", "q8_0", "q4_0"] {
        let text = with_lines(&text, &format!("[cache]\nformat = \"{name}\""));
        assert_eq!(planned(&text, 256 * KIB).unwrap().format.to_string(), name);
    }
}

#[test]
fn formats_are_taken_in_the_order_of_their_accuracy() {
    let formats = |kib: &[usize]| -> Vec<String> {
        let of = |kib: &usize| planned(&preset("tiny-window"), kib * KIB).unwrap().format;
        kib.iter().map(|kib| of(kib).to_string()).collect()
    };
    assert_eq!(formats(&[16, 28, 64]), ["i8", "f16", "f32"]);
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let refused = |name: &str, sram| {
        let error =
            plan(&Spec::parse(&format!("{name}.toml"), &preset(name)).unwrap(), budget(sram));
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_width(100);
        let mut text = String::new();
        handler.render_report(&mut text, &error.unwrap_err()).unwrap();
        text.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>()
    };
    expect_file!["device/tiny_window_8k.txt"].assert_eq(&refused("tiny-window", 8 * KIB));
    expect_file!["device/smollm2_128k.txt"].assert_eq(&refused("smollm2-135m", 128 * KIB));
    expect_file!["device/tiny_window_4k.txt"].assert_eq(&refused("tiny-window", 4 * KIB));
}

#[test]
fn what_is_proposed_fits_and_one_more_token_would_not() {
    let mut proposed = 0;
    for text in shapes() {
        for sram in (6..512).step_by(14).map(|kib| kib * KIB) {
            let Err(refusal) = plan(&parsed(&text), budget(sram)) else { continue };
            assert!(refusal.needed() > sram);
            for near in refusal.nearest() {
                let nearest = with_lines(&text, &near.to_string());
                let spec = parsed(&nearest);
                let fitting =
                    plan(&spec, budget(sram)).unwrap_or_else(|error| panic!("{error}: {nearest}"));
                assert!(fitting.fits() && near.bytes <= sram);
                let own = parsed(&text);
                if (own.mask.window, own.max_kv) == (spec.mask.window, spec.max_kv) {
                    continue; // It sees all that the preset wants to.
                }
                let more = one_more(&spec, &nearest);
                assert!(
                    plan(&parsed(&more), budget(sram)).is_err(),
                    "{sram} bytes hold more than\n{nearest}"
                );
                proposed += 1;
            }
        }
    }
    assert!(proposed > 50, "{proposed}");
}

/// The preset with one token more in sight.
fn one_more(spec: &Spec, text: &str) -> String {
    use kernels_gen::spec::{Kind, SpecWindow};
    let lines = match spec.mask.window {
        Some(SpecWindow::Keys(keys)) => format!("[mask]\nwindow = {{ keys = {} }}\n", keys + 1),
        Some(SpecWindow::Span { left, right }) => {
            format!("[mask]\nwindow = {{ left = {}, right = {right} }}\n", left + 1)
        }
        None => {
            let grows =
                spec.mask.kind == Kind::Causal && spec.max_q == spec.max_kv && spec.max_q > 1;
            let queries = spec.max_q + usize::from(grows);
            format!("[lengths]\nkeys = {}\nqueries = {queries}\n", spec.max_kv + 1)
        }
    };
    let mut table: toml::Table = with_lines(text, &lines).parse().unwrap();
    if let Some(toml::Value::Table(cache)) = table.get_mut("cache") {
        cache.remove("tokens");
    }
    table.to_string()
}
