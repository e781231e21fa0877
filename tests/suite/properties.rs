//! Random shapes, strides, masks and lengths: certified on every level, equal within its class.

use crate::case::{Case, Layout, Reach, Rule, Storage, entries_for};
use flashlet::{Heads, Level, Shape};
use oracle::Format;
use proptest::prelude::*;

fn windows() -> impl Strategy<Value = Option<Reach>> {
    prop_oneof![
        Just(None),
        (0_usize..80).prop_map(|keys| Some(Reach::Keys(keys))),
        (0_usize..60, 0_usize..60).prop_map(|(left, right)| Some(Reach::Span(left, right))),
    ]
}

prop_compose! {
    fn rules()(
        offset in prop::option::of(-40_i64..200),
        causal: bool,
        window in windows(),
        sinks in prop_oneof![Just(0), 0_usize..120],
    ) -> Rule {
        Rule { offset, causal, window, sinks }
    }
}

prop_compose! {
    fn heads()(kv in 1_usize..4, group in 1_usize..6, dim in 1_usize..40, v_dim in 1_usize..40) -> Heads {
        Heads { q: kv * group, kv, dim, v_dim }
    }
}

prop_compose! {
    fn cases()(
        heads in heads(),
        batch in 1_usize..3,
        q_len in prop_oneof![Just(1), 0_usize..20, 20_usize..100],
        kv_len in prop_oneof![0_usize..40, 40_usize..300],
        rule in rules(),
        lens in prop::option::of(prop::collection::vec(0.0_f64..=1.0, 2)),
        scale in prop_oneof![Just(None), (1e-3_f64..20.0).prop_map(Some)],
        seed: u64,
    ) -> Case {
        let mut case = Case::random(Shape { batch, q_len, kv_len, heads }, rule, seed);
        case.scale = scale;
        case.kv_lens = lens.map(|lens| lens[..batch].iter().map(|part| (part * kv_len as f64) as usize).collect());
        case
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_problems_are_certified_and_agree(case in cases()) {
        for fused in [false, true] {
            let mut first = None;
            for entry in entries_for(case.shape.heads).filter(|entry| entry.level().is_fused() == fused) {
                let output = case.run_entry(entry);
                match &first {
                    None => {
                        case.assert_certified(&entry, &output);
                        first = Some(output);
                    }
                    Some(first) => output.assert_same(first, entry.name()),
                }
            }
        }
    }

    #[test]
    fn random_strides_change_no_bit(case in cases(), axes in 0_usize..6, gaps in prop::array::uniform3(0_usize..9)) {
        let expected = case.run_on(Level::detect());
        let plan = case.plan();
        let layouts = [0, 1, 2, 3].map(|t| Layout { order: axes + t, gaps });
        let storage = Storage { layouts, ..Storage::packed([Format::F32; 4]) };
        case.run_stored(&plan, storage, plan.scratch_len()).assert_same(&expected, format_args!("{layouts:?}"));
    }
}
