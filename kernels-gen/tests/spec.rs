//! Presets: the good ones are read, and a wrong one gets a report that shows its line. The reports
//! are in `spec/`; `UPDATE_EXPECT=1 cargo test` rewrites them.

use expect_test::expect_file;
use flashlet::{Family, Form, HeadMap, LinearAttention, LinearHeads, LinearShape};
use kernels_gen::build::{captured, workspace};
use kernels_gen::spec::{REFERENCE, Spec, SpecError, SpecFamily};
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::fs;

const GOOD: &str = r#"name = "tiny"
levels = ["scalar"]
heads = { q = 4, kv = 2, dim = 16 }
mask = { kind = "causal" }
lengths = { queries = 64, keys = 64 }
"#;

/// The report for the good preset with one change is `spec/NAME.txt`.
fn report(name: &str, from: &str, to: &str) {
    assert!(GOOD.contains(from), "{from}");
    let error = Spec::parse("tiny.toml", &GOOD.replace(from, to)).expect_err(to);
    expect_file![format!("spec/{name}.txt")].assert_eq(&render(&error));
}

fn render(error: &SpecError) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_width(100);
    let mut text = String::new();
    handler.render_report(&mut text, error).unwrap();
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn presets_are_read() {
    let mut found = 0;
    for preset in fs::read_dir(workspace().join("presets")).unwrap() {
        let path = preset.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let spec = Spec::parse(&path.to_string_lossy(), &text).unwrap();
        assert_eq!(Some(spec.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        if !spec.captured.is_empty() {
            captured(&spec).unwrap();
            found += 1;
        }
    }
    assert!(found >= 2, "presets to try on captured heads");
}

#[test]
fn the_reference_says_what_is_read() {
    let spec = Spec::parse("reference.toml", REFERENCE).unwrap();
    let mask = "causal, window of 512 keys, first 4 keys always visible, one key of 2, chunks of 8192 tokens, \
                first 16 tokens seen by all, 2 global tokens";
    assert_eq!((spec.mask.to_string().as_str(), spec.max_kv, spec.captured.len()), (mask, 4096, 1));
}

#[test]
fn query_heads_must_be_a_multiple_of_key_value_heads() {
    report("head_groups", "q = 4, kv = 2", "q = 9, kv = 2");
}

#[test]
fn there_must_be_heads() {
    report("no_heads", "kv = 2", "kv = 0");
}

#[test]
fn a_head_has_a_width_in_range() {
    report("head_dim_too_large", "dim = 16", "dim = 577");
    report("v_dim_zero", "dim = 16", "dim = 16, v_dim = 0");
}

#[test]
fn register_tiles_must_divide_the_key_tile() {
    report("tile_k_no_multiple", "name", "tile_k = 100\nname");
    report("tile_k_too_large", "name", "tile_k = 216\nname");
}

#[test]
fn an_unknown_level_gets_the_nearest() {
    report("unknown_level", "\"scalar\"", "\"scalar\", \"avx51\"");
}

#[test]
fn an_unknown_key_gets_the_nearest() {
    report("unknown_key", "heads", "haeds");
    report("unknown_kind", "causal", "casual");
}

#[test]
fn a_level_is_named_once_and_at_least_once() {
    report("level_twice", "\"scalar\"", "\"scalar\", \"scalar\"");
    report("no_level", "\"scalar\"", "");
}

#[test]
fn a_window_holds_a_key() {
    report("window_of_no_keys", "\"causal\"", "\"causal\", window = { keys = 0 }");
}

#[test]
fn a_window_says_its_convention() {
    report("half_a_window", "\"causal\"", "\"causal\", window = { left = 3 }");
    report("bare_window", "\"causal\"", "\"causal\", window = 512");
}

#[test]
fn a_causal_window_has_nothing_to_the_right() {
    report("causal_right", "\"causal\"", "\"causal\", window = { left = 3, right = 1 }");
}

#[test]
fn sinks_need_a_window() {
    report("sinks_without_window", "\"causal\"", "\"causal\", sinks = 4");
}

#[test]
fn chunks_and_steps_hold_a_token() {
    report("chunk_of_nothing", "\"causal\"", "\"causal\", chunk = 0");
    report("step_of_nothing", "\"causal\"", "\"causal\", dilation = 0");
}

#[test]
fn global_tokens_ascend_and_are_there() {
    report("globals_out_of_order", "\"causal\"", "\"causal\", globals = [3, 5, 5]");
    report("global_of_no_key", "\"causal\"", "\"causal\", globals = [3, 64]");
}

#[test]
fn what_all_see_anyway_needs_no_prefix() {
    report("prefix_of_all", "\"causal\"", "\"full\", prefix = 4");
    report("globals_of_all", "\"causal\"", "\"full\", globals = [0]");
}

#[test]
fn lengths_fit_each_other_and_the_memory() {
    report("more_queries_than_keys", "queries = 64", "queries = 65");
    report("keys_overflow", "keys = 64", "keys = 9_000_000_000_000_000_000");
    report("no_queries", "queries = 64", "queries = 0");
}

#[test]
fn a_cache_has_a_format_for_its_heads_and_room_for_what_is_seen() {
    let with = |lines: &str| format!("cache = {{ {lines} }}\nlengths");
    report("cache_format_unknown", "lengths", &with("format = \"q8\""));
    report("cache_format_of_blocks", "lengths", &with("format = \"q4_0\""));
    report("cache_of_no_layers", "lengths", &with("layers = 0"));
    report("cache_too_small", "lengths", &with("tokens = 32"));
    let good = GOOD.replace("\"causal\"", "\"causal\", window = { keys = 8 }");
    let text = good.replace("queries = 64", "queries = 4").replace("lengths", &with("tokens = 10"));
    let error = Spec::parse("tiny.toml", &text).unwrap_err();
    expect_file!["spec/cache_smaller_than_the_window.txt"].assert_eq(&render(&error));
    for tokens in [11, 64] {
        let spec = Spec::parse("tiny.toml", &text.replace("10", &tokens.to_string())).unwrap();
        assert_eq!(spec.cache.tokens, Some(tokens));
    }
}

#[test]
fn a_scale_is_finite() {
    report("scale_nan", "name", "scale = nan\nname");
}

#[test]
fn the_name_must_do_for_a_crate() {
    report("name_with_a_space", "\"tiny\"", "\"Tiny model\"");
    report("name_of_a_keyword", "\"tiny\"", "\"match\"");
}

#[test]
fn a_model_has_a_name_of_one_line() {
    report("model_of_two_lines", "name", "model = \"a\\nb\"\nname");
}

#[test]
fn types_and_syntax_are_checked() {
    report("negative", "q = 4", "q = -4");
    report("text_for_a_number", "q = 4", "q = \"four\"");
    report("syntax", "q = 4", "q = 4 4");
    report("missing_table", "mask = { kind = \"causal\" }\n", "");
}

#[test]
fn running_without_heads_says_what_to_add() {
    let spec = Spec::parse("tiny.toml", GOOD).unwrap();
    let report = render(&captured(&spec).unwrap_err());
    expect_file!["spec/no_captured_heads.txt"].assert_eq(&report);
}

#[test]
fn captured_heads_are_as_wide_as_the_model() {
    let text = GOOD.to_owned() + "run = { heads = [\"data/real-heads/minilm-l0.safetensors\"] }\n";
    let file = workspace().join("tiny.toml");
    let spec = Spec::parse(&file.to_string_lossy(), &text).unwrap();
    let report = render(&captured(&spec).unwrap_err());
    assert!(report.contains("keys of 32 and values of 32 channels"), "{report}");
}

#[test]
fn a_missing_file_of_heads_is_shown_where_it_is_named() {
    let text = GOOD.to_owned() + "run = { heads = [\"nowhere.safetensors\"] }\n";
    let spec = Spec::parse("tiny.toml", &text).unwrap();
    let report = render(&captured(&spec).unwrap_err());
    assert!(report.contains("cannot read nowhere.safetensors"), "{report}");
    assert!(report.contains("6 | run = ") && report.contains("named here"), "{report}");
}

/// The good preset with a rope.
fn roped(rope: &str) -> String {
    format!("{GOOD}rope = {{ theta_base = 10000.0, pairing = \"halves\", {rope} }}\n")
}

#[test]
fn rotary_positions_are_read_with_what_their_scaling_makes_of_them() {
    let spec = Spec::parse("reference.toml", REFERENCE).unwrap();
    let rope = spec.rope.unwrap();
    let words = "64 channels (halves), exact angles in a table of 2048 positions";
    assert_eq!((rope.to_string().as_str(), rope.bytes()), (words, 2048 * 64 * 4));
    let yarn = "scaling = { kind = \"yarn\", factor = 40.0, original_len = 4096, mscale = 1.0, mscale_all_dim = 1.0 }";
    let spec = Spec::parse("yarn.toml", &roped(&format!("rot_dim = 8, {yarn}"))).unwrap();
    assert!((spec.scale() - 0.25 * 1.873_854_2).abs() < 1e-7, "{}", spec.scale());
    let rope = spec.rope.unwrap();
    assert_eq!((rope.amplitude, rope.bytes(), rope.rot_dim()), (1.0, 4 * 8, 8));
    let spec = Spec::parse("compatible.toml", &roped("phase = \"f32-compatible\"")).unwrap();
    assert_eq!(spec.rope.unwrap().bytes(), 8 * 4);
}

#[test]
fn what_turns_lies_within_a_head_and_its_parameters_in_their_ranges() {
    let report = |name: &str, rope: &str| {
        let error = Spec::parse("tiny.toml", &roped(rope)).expect_err(rope);
        expect_file![format!("spec/{name}.txt")].assert_eq(&render(&error));
    };
    report("rot_dim_too_large", "rot_dim = 16, first = 2");
    report("rot_dim_odd", "rot_dim = 7");
    report("table_of_nothing", "table = 0");
    report("scaling_out_of_range", "scaling = { kind = \"linear\", factor = 0.0 }");
    report("scaling_unknown", "scaling = { kind = \"linaer\", factor = 2.0 }");
    report(
        "factors_too_few",
        "scaling = { kind = \"longrope\", factor = 2.0, original_len = 16, short_factor = [1.0], long_factor = [2.0] }",
    );
}

/// The good preset with linear attention.
fn linear(linear: &str) -> String {
    format!("{GOOD}linear = {{ {linear} }}\n")
}

#[test]
fn linear_attention_is_read_with_its_defaults_and_its_room() {
    let spec = Spec::parse("reference.toml", REFERENCE).unwrap();
    let linear = spec.linear.unwrap();
    let words = "gated-delta, 16 query, 16 key and 32 value heads of 128 channels";
    assert_eq!((linear.to_string().as_str(), linear.state_len), (words, 32 * 128 * 128));
    assert_eq!((linear.scale, linear.l2_eps), (Some(1.0), Some(1e-6)));
    let text = self::linear(
        "family = \"rwkv7\", q_heads = 4, head_dim = 16, v_dim = 24, head_map = \"modulo\"",
    );
    let linear = Spec::parse("rwkv.toml", &text).unwrap().linear.unwrap();
    let heads = LinearHeads { v_dim: 24, map: HeadMap::Modulo, ..LinearHeads::new(4, 16) };
    assert_eq!((linear.heads, linear.family.family()), (heads, Family::RWKV7));
    assert_eq!((linear.scale(), linear.l2_eps), (0.25, None));
    let shape = LinearShape { batch: 1, len: 1, heads };
    for form in [Form::Recurrent, Form::Chunked] {
        assert!(linear.forms.contains(&form));
        let plan = LinearAttention::new(shape, Family::RWKV7).unwrap().form(form);
        assert_eq!(linear.scratch_len(form), plan.scratch_len());
    }
}

#[test]
fn every_family_has_a_name() {
    for (name, family) in [
        ("linear", Family::LINEAR),
        ("retnet", Family::RETNET),
        ("lightning", Family::LIGHTNING),
        ("simple-gla", Family::SIMPLE_GLA),
        ("mamba2", Family::MAMBA2),
        ("gla", Family::GLA),
        ("hgrn2", Family::HGRN2),
        ("rwkv6", Family::RWKV6),
        ("rwkv7", Family::RWKV7),
        ("delta", Family::DELTA_NET),
        ("gated-delta", Family::GATED_DELTA_NET),
        ("kda", Family::KDA),
    ] {
        let text = linear(&format!("family = \"{name}\", q_heads = 4, head_dim = 16"));
        let linear = Spec::parse("tiny.toml", &text).unwrap().linear.unwrap();
        assert_eq!((linear.family.family(), linear.family.to_string().as_str()), (family, name));
        assert!(SpecFamily::ALL.contains(&linear.family));
        assert_eq!(SpecFamily::of(family).unwrap().family(), family);
    }
}

#[test]
fn linear_attention_that_cannot_be_is_shown_at_its_line() {
    let report = |name: &str, text: &str| {
        let error = Spec::parse("tiny.toml", &linear(text)).expect_err(text);
        expect_file![format!("spec/linear_{name}.txt")].assert_eq(&render(&error));
    };
    let delta = |text: &str| format!("family = \"delta\", {text}");
    report("family_unknown", "family = \"gated-dleta\", q_heads = 4, head_dim = 16");
    report("no_heads", &delta("q_heads = 4, v_heads = 0, head_dim = 16"));
    report("value_heads", &delta("q_heads = 4, v_heads = 6, head_dim = 16"));
    report("query_heads", &delta("q_heads = 3, k_heads = 2, v_heads = 4, head_dim = 16"));
    report("head_dim_too_large", &delta("q_heads = 4, head_dim = 577"));
    report("v_dim_zero", &delta("q_heads = 4, head_dim = 16, v_dim = 0"));
    report(
        "heads_overflow",
        &delta("q_heads = 4, v_heads = 4_000_000_000_000_000_000, head_dim = 16"),
    );
    report("l2_eps_negative", &delta("q_heads = 4, head_dim = 16, l2_eps = -1e-6"));
    report("scale_nan", &delta("q_heads = 4, head_dim = 16, scale = nan"));
    report("form_twice", &delta("q_heads = 4, head_dim = 16, forms = [\"step\", \"step\"]"));
    report("no_form", &delta("q_heads = 4, head_dim = 16, forms = []"));
    report("form_unknown", &delta("q_heads = 4, head_dim = 16, forms = [\"steps\"]"));
}
