//! Learned sinks: certified, once, and nothing where there is none.

use crate::case::{Case, Rule, arithmetic_of, entries_for, shape};
use crate::certified::rules;
use crate::states::pieces_of;
use flashlet::{Attention, Error, Heads, Level, Mask, Outputs, Shape, State, Tensor, ViewMut};

fn with_sinks(case: Case, sinks: &[f32]) -> Case {
    Case { sinks: sinks.to_vec(), ..case }
}

const LOGITS: [f32; 3] = [0.7, -3.0, 11.5];

#[test]
fn sinks_are_certified_on_every_entry_under_every_mask() {
    let heads = Heads { q: 3, kv: 1, dim: 8, v_dim: 6 };
    for (seed, kv_len) in (1..).zip([0, 1, 17, 95, 96, 131]) {
        for q_len in [1, 2, 7, 70] {
            for rule in rules(q_len, kv_len) {
                let case =
                    with_sinks(Case::random(shape(q_len, kv_len, heads), rule, seed), &LOGITS);
                let mut same: [Option<_>; 2] = [None, None];
                for entry in entries_for(heads) {
                    let output = case.run_entry(entry);
                    case.assert_certified(&entry, &output);
                    let same = &mut same[usize::from(entry.level().is_fused())];
                    output.assert_same(same.get_or_insert_with(|| output.clone()), entry.name());
                }
            }
        }
    }
}

#[test]
fn a_sink_takes_its_share_and_gives_nothing() {
    // Two keys of score 0 and a sink of ln 2: weights 1/4, 1/4 and 1/2.
    let mut case = Case::random(shape(1, 2, Heads::new(1, 1, 2)), Rule::full(), 1);
    case.q.fill(0.0);
    case.v = vec![4.0, 8.0, 12.0, -8.0];
    let case = with_sinks(case, &[core::f32::consts::LN_2]);
    for entry in entries_for(case.shape.heads) {
        let output = case.run_entry(entry);
        assert!((output.o[0] - 4.0).abs() < 1e-6 && output.o[1].abs() < 1e-6, "{:?}", output.o);
        assert!((output.lse[0] - 4.0_f32.ln()).abs() < 1e-6, "{:?}", output.lse);
    }
}

#[test]
fn a_row_that_sees_only_its_sink_gives_zeros_and_the_logit() {
    let heads = Heads { q: 3, kv: 3, dim: 4, v_dim: 4 };
    let case = with_sinks(Case::random(shape(2, 5, heads), Rule::causal(-7), 2), &LOGITS);
    let output = case.run(&case.plan());
    assert!(output.o.iter().all(|x| x.to_bits() == 0), "{:?}", output.o);
    for (h, logit) in LOGITS.into_iter().enumerate() {
        assert!(output.lse[2 * h..][..2].iter().all(|x| (x - logit).abs() <= 2e-7 * logit.abs()));
    }
}

#[test]
fn no_weight_is_no_sink_and_nan_is_its_own_heads() {
    let heads = Heads { q: 4, kv: 2, dim: 16, v_dim: 16 };
    let case = Case::random(shape(40, 60, heads), Rule::causal(20), 3);
    for entry in entries_for(heads) {
        let without = case.run_entry(entry);
        let never = with_sinks(case.clone(), &[f32::NEG_INFINITY; 4]);
        never.run_entry(entry).assert_same(&without, entry.name());
        let wrong = with_sinks(
            case.clone(),
            &[f32::NEG_INFINITY, f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
        );
        let output = wrong.run_entry(entry);
        for (at, (x, y)) in output.o.iter().zip(&without.o).enumerate() {
            match at / 16 % 4 {
                1 | 2 => assert!(x.is_nan(), "{} {at}", entry.name()),
                _ => assert_eq!(x.to_bits(), y.to_bits(), "{} {at}", entry.name()),
            }
        }
    }
}

#[test]
fn a_sink_joins_merged_states_once() {
    let heads = Heads { q: 3, kv: 1, dim: 8, v_dim: 6 };
    let case = with_sinks(Case::random(shape(20, 200, heads), Rule::causal(180), 4), &LOGITS);
    let plan = case.plan();
    let mut pieces = pieces_of(&case, &plan, &[60, 96]);
    let mut merged = pieces.remove(0);
    let mut state = State::from_storage(&mut merged, &case.shape).unwrap();
    for piece in &mut pieces {
        state.merge(&State::from_storage(piece, &case.shape).unwrap()).unwrap();
    }
    state.sink(&LOGITS).unwrap();
    let mut output = case.unwritten();
    let o = ViewMut::packed(&mut output.o, case.shape.o()).unwrap();
    state.finish(o, Some(&mut output.lse)).unwrap();
    let arithmetic = arithmetic_of(plan.entry()).split(4);
    case.assert_certified_as(plan.entry(), arithmetic, &output);
}

#[test]
fn sinks_of_the_wrong_count_are_refused() {
    let shape = Shape { batch: 1, q_len: 1, kv_len: 2, heads: Heads::new(4, 2, 8) };
    let case = Case::random(shape, Rule::full(), 5);
    let plan = Attention::new(shape, Mask::full()).unwrap().level(Level::Scalar).unwrap();
    let (mut o, mut scratch) = ([0.5; 32], vec![0.0; plan.scratch_len()]);
    let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap()).sinks(&[0.0; 2]);
    let refused = Error::Length { tensor: Tensor::Sinks, needed: 4, given: 2 };
    assert_eq!(plan.bind(case.inputs(), outputs, &mut scratch).err(), Some(refused));
    assert!(o.iter().all(|x| *x == 0.5));
    let mut storage = vec![0.0; State::storage_len(&shape).unwrap()];
    assert_eq!(
        State::empty(&mut storage, &shape).unwrap().sink(&[0.0; 3]).err(),
        Some(Error::Length { tensor: Tensor::Sinks, needed: 4, given: 3 })
    );
}

#[test]
fn a_smooth_softmax_is_a_sink_of_zero_for_every_head() {
    let heads = Heads { q: 6, kv: 2, dim: 8, v_dim: 6 };
    let case = with_sinks(Case::random(shape(70, 130, heads), Rule::causal(50), 4), &[0.0; 6]);
    for entry in entries_for(heads) {
        let expected = case.run_entry(entry);
        case.assert_certified(&entry, &expected);
        let plan = case.plan_of(entry);
        let (mut output, mut scratch) = (case.unwritten(), vec![0.0; plan.scratch_len()]);
        let outputs = output.as_outputs(case.shape).smooth_softmax();
        plan.bind(case.inputs(), outputs, &mut scratch).unwrap().run();
        output.assert_same(&expected, entry.name());
    }
}

#[test]
fn the_softmax_of_gpt_oss_is_the_one_with_the_sink_dropped() {
    // softmax([1, 2, 3, z = 2.5]) without its last weight, in f64: concatenate, normalise, drop.
    let mut case = Case::random(shape(1, 3, Heads::new(1, 1, 1)), Rule::full(), 5);
    case.scale = Some(1.0);
    (case.q, case.k, case.v) = (vec![1.0], vec![1.0, 2.0, 3.0], vec![1.0, 10.0, 100.0]);
    let case = with_sinks(case, &[2.5]);
    let all = [1.0_f64, 2.0, 3.0, 2.5].map(f64::exp);
    let sum: f64 = all.iter().sum();
    let exact = (all[0] + 10.0 * all[1] + 100.0 * all[2]) / sum;
    for entry in entries_for(case.shape.heads) {
        let output = case.run_entry(entry);
        assert!((f64::from(output.o[0]) - exact).abs() < 2e-5 && (exact - 49.206_9).abs() < 1e-3);
        assert!((f64::from(output.lse[0]) - sum.ln()).abs() < 1e-6);
        case.assert_certified(&entry, &output);
    }
}
