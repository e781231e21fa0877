//! Random shapes, strides, masks and lengths: certified on every level, equal within its class.

use crate::case::{Case, Reach, Rule, entries_for};
use flashlet::{Heads, Inputs, Level, Outputs, Shape, Strides, View, ViewMut};
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
                    Some(first) => prop_assert_eq!(first.bits(), output.bits(), "{}", entry.name()),
                }
            }
        }
    }

    #[test]
    fn random_strides_change_no_bit(case in cases(), axes in 0_usize..6, gaps in prop::array::uniform3(0_usize..9)) {
        let expected = case.run_on(Level::detect());
        let q = Scattered::of(&case.q, case.shape.q(), axes, gaps);
        let k = Scattered::of(&case.k, case.shape.k(), (axes + 1) % 6, gaps);
        let v = Scattered::of(&case.v, case.shape.v(), (axes + 2) % 6, gaps);
        let mut o = Scattered::of(&expected.o, case.shape.o(), (axes + 3) % 6, gaps);
        let wanted = o.data.clone();
        o.data.fill(f32::NAN);
        let plan = case.plan();
        let mut scratch = vec![0.0; plan.scratch_len()];
        let inputs = Inputs::new(View::strided(&q.data, case.shape.q(), q.strides).unwrap(), View::strided(&k.data, case.shape.k(), k.strides).unwrap(), View::strided(&v.data, case.shape.v(), v.strides).unwrap()).kv_lens(case.kv_lens.as_deref());
        let outputs = Outputs::new(ViewMut::strided(&mut o.data, case.shape.o(), o.strides).unwrap());
        plan.bind(inputs, outputs, &mut scratch).unwrap().run();
        // Gaps hold NaN in both: nothing but the output was written.
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&o.data), bits(&wanted));
    }
}

/// A packed tensor laid out anew: its axes in another order, with gaps of NaN.
struct Scattered {
    data: Vec<f32>,
    strides: Strides,
}

impl Scattered {
    fn of(packed: &[f32], dims: [usize; 4], axes: usize, gaps: [usize; 3]) -> Self {
        const ORDERS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let mut strides = [0; 3];
        let mut extent = dims[3];
        for (axis, gap) in ORDERS[axes].into_iter().rev().zip(gaps) {
            strides[axis] = extent + gap;
            extent = strides[axis] * dims[axis].max(1);
        }
        let mut data = vec![f32::NAN; extent];
        for (at, row) in packed.chunks_exact(dims[3]).enumerate() {
            let (h, i, b) = (at % dims[2], at / dims[2] % dims[1], at / dims[2] / dims[1]);
            data[b * strides[0] + i * strides[1] + h * strides[2]..][..dims[3]]
                .copy_from_slice(row);
        }
        Scattered {
            data,
            strides: Strides { batch: strides[0], token: strides[1], head: strides[2] },
        }
    }
}
