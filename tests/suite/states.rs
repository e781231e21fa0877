//! Partial states: merging over disjoint keys equals attention over their union.

use crate::case::{Case, Output, Rule, arithmetic_of, assert_same_bits, shape};
use flashlet::{Attention, Heads, Level, Shape, State, TILE_K, ViewMut};
use oracle::Arithmetic;

/// Storage of the states over the pieces of `0..kv_len` that `cuts` make.
fn pieces(case: &Case, level: Level, cuts: &[usize]) -> Vec<Vec<f32>> {
    pieces_of(case, &case.plan().level(level).unwrap(), cuts)
}

/// The same for a given plan.
pub(crate) fn pieces_of(case: &Case, plan: &Attention, cuts: &[usize]) -> Vec<Vec<f32>> {
    let mut scratch = vec![0.0; plan.scratch_len()];
    let ends = cuts.iter().copied().chain([case.shape.kv_len]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let piece = |(start, end)| {
        let mut storage = vec![f32::NAN; State::storage_len(&case.shape).unwrap()];
        let mut state = State::empty(&mut storage, &case.shape).unwrap();
        let plan = plan.keys(start..end).unwrap();
        plan.bind_state(case.inputs(), &mut state, &mut scratch).unwrap().run();
        storage
    };
    starts.zip(ends).map(piece).collect()
}

fn state<'a>(storage: &'a mut [f32], shape: &Shape) -> State<'a> {
    State::from_storage(storage, shape).unwrap()
}

fn finish(case: &Case, state: &State<'_>) -> Output {
    let mut output = case.unwritten();
    let o = ViewMut::packed(&mut output.o, case.shape.o()).unwrap();
    state.finish(o, Some(&mut output.lse)).unwrap();
    output
}

/// Merges all states into the first, left to right.
pub(crate) fn merge_in_order(case: &Case, mut storages: Vec<Vec<f32>>) -> Output {
    let (first, rest) = storages.split_first_mut().unwrap();
    let mut total = state(first, &case.shape);
    for other in rest {
        total.merge(&state(other, &case.shape)).unwrap();
    }
    finish(case, &total)
}

fn cases() -> Vec<Case> {
    let heads = Heads { q: 6, kv: 2, dim: 64, v_dim: 40 };
    let mut padded = Case::random(
        Shape { batch: 2, q_len: 3, kv_len: 200, heads },
        Rule { offset: None, causal: true, ..Rule::default() },
        3,
    );
    padded.kv_lens = Some(vec![150, 20]);
    vec![
        Case::random(shape(1, 1000, heads), Rule::full(), 1),
        Case::random(shape(70, 130, heads), Rule::causal(10), 2),
        padded,
    ]
}

#[test]
fn merged_splits_equal_one_pass_within_the_bound() {
    for case in cases() {
        for level in Level::available() {
            for cuts in [vec![40], vec![1, 2, 96], vec![13, 50, 51, 80, 129]] {
                let output = merge_in_order(&case, pieces(&case, level, &cuts));
                let whole = arithmetic_of(case.plan().level(level).unwrap().entry());
                let verdict =
                    case.certify(&Arithmetic { splits: cuts.len() + 1, ..whole }, &output);
                assert!(
                    verdict.holds() && verdict.uncertified == 0,
                    "{level} cut at {cuts:?}: {verdict}"
                );
            }
        }
    }
}

#[test]
fn a_state_over_all_keys_finishes_to_the_bits_of_a_plain_call() {
    for case in cases() {
        for level in Level::available() {
            let output = merge_in_order(&case, pieces(&case, level, &[]));
            output.assert_same(&case.run_on(level), level);
        }
    }
}

#[test]
fn the_empty_state_is_the_identity_of_merge() {
    for case in cases() {
        let full = pieces(&case, Level::detect(), &[]).remove(0);
        let empty = || {
            let mut storage = vec![0.0; full.len()];
            State::empty(&mut storage, &case.shape).unwrap();
            storage
        };

        let mut left = full.clone();
        state(&mut left, &case.shape).merge(&state(&mut empty(), &case.shape)).unwrap();
        assert_same_bits(&left, &full, "state + empty");

        let mut right = empty();
        state(&mut right, &case.shape).merge(&state(&mut full.clone(), &case.shape)).unwrap();
        assert_same_bits(&right, &full, "empty + state");

        let mut nothing = empty();
        state(&mut nothing, &case.shape).merge(&state(&mut empty(), &case.shape)).unwrap();
        assert_same_bits(&nothing, &empty(), "empty + empty");
        let output = finish(&case, &state(&mut nothing, &case.shape));
        assert!(output.o.iter().all(|x| x.to_bits() == 0));
        assert!(output.lse.iter().all(|&x| x == f32::NEG_INFINITY));
    }
}

#[test]
fn empty_splits_change_no_bit() {
    let case = &cases()[0];
    for level in Level::available() {
        let expected = merge_in_order(case, pieces(case, level, &[300, 700]));
        let with_empty = merge_in_order(case, pieces(case, level, &[0, 300, 300, 700, 700, 1000]));
        with_empty.assert_same(&expected, level);
    }
}

#[test]
fn a_split_at_a_tile_touches_only_its_own_tiles() {
    // Keys outside the range are never read: poison them.
    let clean = Case::random(shape(2, 4 * TILE_K, Heads::new(2, 1, 32)), Rule::full(), 5);
    let mut poisoned = clean.clone();
    let range = TILE_K..2 * TILE_K + 5;
    for j in (0..clean.shape.kv_len).filter(|j| !range.contains(j)) {
        poisoned.k[j * 32..(j + 1) * 32].fill(f32::NAN);
        poisoned.v[j * 32..(j + 1) * 32].fill(f32::NAN);
    }
    for level in Level::available() {
        let run =
            |case: &Case| case.run(&case.plan().level(level).unwrap().keys(range.clone()).unwrap());
        run(&poisoned).assert_same(&run(&clean), level);
    }
}

#[test]
fn nan_survives_a_merge() {
    let mut case = Case::random(shape(2, 50, Heads::new(1, 1, 8)), Rule::full(), 6);
    case.k[45 * 8] = f32::NAN;
    let output = merge_in_order(&case, pieces(&case, Level::detect(), &[40]));
    assert!(output.o.iter().chain(&output.lse).all(|x| x.is_nan()));
}
