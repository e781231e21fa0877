//! Partial states: merging over disjoint keys equals attention over their union.

use crate::case::{Case, Output, Rule, arithmetic_of, assert_same_bits, shape};
use flashlet::{
    Attention, Error, Heads, Inputs, Level, Lse, Mask, Offset, Shape, State, Strides, TILE_K,
    Tensor, View, ViewMut,
};
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

/// With log-sum-exps and without.
fn finish(case: &Case, state: &State<'_>) -> Output {
    let mut output = case.unwritten();
    let o = ViewMut::packed(&mut output.o, case.shape.o()).unwrap();
    state.finish(o, Some(&mut output.lse)).unwrap();
    let mut alone = case.unwritten().o;
    state.finish(ViewMut::packed(&mut alone, case.shape.o()).unwrap(), None).unwrap();
    assert_same_bits(&alone, &output.o, "without log-sum-exps");
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

#[test]
fn a_tree_of_merges_is_certified_and_fixed_by_the_number_of_states_alone() {
    for case in cases() {
        for level in Level::available() {
            let plan = case.plan().level(level).unwrap();
            for count in [1, 2, 3, 5, 8, 13] {
                let cuts: Vec<usize> = (1..count).map(|n| n * case.shape.kv_len / count).collect();
                let merged = |storages: &mut [Vec<f32>]| {
                    let mut states: Vec<State<'_>> =
                        storages.iter_mut().map(|storage| state(storage, &case.shape)).collect();
                    State::merge_tree(&mut states).unwrap();
                    finish(&case, &states[0])
                };
                let mut storages = pieces(&case, level, &cuts);
                let by_hand = tree(&case, storages.clone());
                let output = merged(&mut storages);
                output.assert_same(&by_hand, format_args!("{level} {count}"));
                let whole = arithmetic_of(plan.entry());
                let verdict = case.certify(&Arithmetic { splits: count, ..whole }, &output);
                assert!(verdict.holds() && verdict.uncertified == 0, "{level} {count}: {verdict}");
            }
        }
    }
    assert_eq!(State::merge_tree(&mut []), Ok(()));
}

/// The tree by its definition: the left half is the largest power of two below the count.
fn tree(case: &Case, storages: Vec<Vec<f32>>) -> Output {
    fn merged(shape: &Shape, mut storages: Vec<Vec<f32>>) -> Vec<f32> {
        if storages.len() == 1 {
            return storages.remove(0);
        }
        let right = storages.split_off(storages.len().next_power_of_two() / 2);
        let (mut left, mut right) = (merged(shape, storages), merged(shape, right));
        state(&mut left, shape).merge(&state(&mut right, shape)).unwrap();
        left
    }
    finish(case, &state(&mut merged(&case.shape, storages), &case.shape))
}

#[test]
fn a_tree_of_states_of_different_shapes_is_refused_whole() {
    let [one, two] = [shape(1, 0, Heads::new(1, 1, 4)), shape(1, 0, Heads::new(1, 1, 5))];
    let mut storages = [vec![0.5; 6], vec![0.25; 6], vec![0.125; 7]];
    let [a, b, c] = &mut storages;
    let mut states = [state(a, &one), state(b, &one), state(c, &two)];
    let (expected, given) = (one.o(), two.o());
    let refused = Error::Shape { tensor: Tensor::State, expected, given };
    assert_eq!(State::merge_tree(&mut states), Err(refused));
    assert_eq!(storages, [vec![0.5; 6], vec![0.25; 6], vec![0.125; 7]]);
}

#[test]
fn a_prefix_that_sequences_share_is_attended_to_once_for_all_and_merged() {
    // Two sequences of 40 keys behind a common prefix of 130, whose keys and values a stride of 0 repeats.
    let heads = Heads { q: 4, kv: 2, dim: 16, v_dim: 12 };
    let (prefix, own) = (130, 40);
    let shape = |kv_len| Shape { batch: 2, q_len: 3, kv_len, heads };
    let mut whole = Case::random(shape(prefix + own), Rule::causal((prefix + own) as i64 - 3), 8);
    let (k_row, v_row) = (heads.kv * heads.dim, heads.kv * heads.v_dim);
    let copy = |x: &mut [f32], row: usize| {
        let (one, two) = x.split_at_mut((prefix + own) * row);
        two[..prefix * row].copy_from_slice(&one[..prefix * row]);
    };
    copy(&mut whole.k, k_row);
    copy(&mut whole.v, v_row);
    for level in Level::available() {
        let view = |x, dims: [usize; 4], batch| {
            View::strided(x, dims, Strides { batch, token: dims[2] * dims[3], head: dims[3] })
                .unwrap()
        };
        let q = View::packed(&whole.q, whole.shape.q()).unwrap();
        let mut storage = [0, 1].map(|_| vec![0.0; State::storage_len(&whole.shape).unwrap()]);
        let [first, second] = &mut storage;
        let mut first = State::empty(first, &whole.shape).unwrap();
        let mut second = State::empty(second, &whole.shape).unwrap();
        let shared = shape(prefix);
        let inputs = Inputs::new(q, view(&whole.k, shared.k(), 0), view(&whole.v, shared.v(), 0));
        let plan = Attention::new(shared, Mask::full()).unwrap().level(level).unwrap();
        let mut scratch = vec![0.0; plan.scratch_len()];
        plan.bind_state(inputs, &mut first, &mut scratch).unwrap().run();
        let suffix = shape(own);
        let inputs = Inputs::new(
            q,
            view(&whole.k[prefix * k_row..], suffix.k(), (prefix + own) * k_row),
            view(&whole.v[prefix * v_row..], suffix.v(), (prefix + own) * v_row),
        );
        // Positions that count from the first key of the suffix.
        let mask = Mask::causal(Offset::at(own as i64 - 3));
        let plan = Attention::new(suffix, mask).unwrap().level(level).unwrap();
        plan.bind_state(inputs, &mut second, &mut scratch).unwrap().run();
        first.merge(&second).unwrap();
        let arithmetic = Arithmetic { splits: 2, ..arithmetic_of(plan.entry()) };
        let verdict = whole.certify(&arithmetic, &finish(&whole, &first));
        assert!(verdict.holds() && verdict.uncertified == 0, "{level}: {verdict}");
    }
}

#[test]
fn a_finished_output_joins_by_its_log_sum_exp_in_either_base() {
    for case in cases() {
        let level = Level::detect();
        let mut storages = pieces(&case, level, &[40, 90]);
        let outputs: Vec<Output> = storages
            .iter_mut()
            .map(|storage| finish(&case, &state(storage, &case.shape)))
            .collect();
        let mut storage = vec![0.0; storages[0].len()];
        let mut total = State::empty(&mut storage, &case.shape).unwrap();
        for (output, in_bits) in outputs.iter().zip([false, true, true]) {
            let mut o = output.o.clone();
            // An output of a row that has seen nothing is not read.
            let [batch, q_len, q_heads, v_dim] = case.shape.o();
            for (row, o) in o.chunks_mut(v_dim).enumerate() {
                let (b, i, h) = (row / q_heads / q_len, row / q_heads % q_len, row % q_heads);
                assert!(b < batch);
                if output.lse[(b * q_heads + h) * q_len + i] == f32::NEG_INFINITY {
                    o.fill(f32::NAN);
                }
            }
            let o = View::packed(&o, case.shape.o()).unwrap();
            if in_bits {
                let bits: Vec<f32> =
                    output.lse.iter().map(|x| (f64::from(*x) / 2f64.ln()) as f32).collect();
                total.join(o, Lse::bits(&bits)).unwrap();
            } else {
                total.join(o, Lse::nats(&output.lse)).unwrap();
            }
        }
        let joined = finish(&case, &total);
        assert_merged(&case, &outputs, &joined);
    }
}

/// Judges a merge of finished outputs by f64: each log-sum-exp is at most four roundings off on its way into a weight,
/// a weight 2 ulp, and each of three sums and the quotient a few more.
fn assert_merged(case: &Case, parts: &[Output], joined: &Output) {
    let [_, q_len, q_heads, v_dim] = case.shape.o();
    for (row, got) in joined.o.chunks(v_dim).enumerate() {
        let (b, i, h) = (row / q_heads / q_len, row / q_heads % q_len, row % q_heads);
        let at = (b * q_heads + h) * q_len + i;
        let lses: Vec<f64> = parts.iter().map(|part| f64::from(part.lse[at])).collect();
        let max = lses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max == f64::NEG_INFINITY {
            assert!(got.iter().all(|x| x.to_bits() == 0) && joined.lse[at] == f32::NEG_INFINITY);
            continue;
        }
        let weights: Vec<f64> = lses.iter().map(|lse| (lse - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let widest = lses.iter().filter(|x| x.is_finite()).fold(1.0, |a: f64, x| a.max(x.abs()));
        let relative = (8.0 * widest + 40.0) * f64::from(f32::EPSILON) / 2.0;
        for (c, got) in got.iter().enumerate() {
            let part = |n: usize| f64::from(parts[n].o[row * v_dim + c]);
            let exact: f64 = (0..parts.len()).map(|n| weights[n] / sum * part(n)).sum();
            let size: f64 = (0..parts.len()).map(|n| weights[n] / sum * part(n).abs()).sum();
            let error = (f64::from(*got) - exact).abs();
            assert!(error <= 2.0 * relative * size, "row {row} channel {c}: {got} {exact}");
        }
        let error = (f64::from(joined.lse[at]) - (max + sum.ln())).abs();
        assert!(error <= 2.0 * relative, "row {row}: {}", joined.lse[at]);
    }
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let shape = shape(2, 0, Heads::new(2, 1, 4));
    let mut storage = vec![0.0; State::storage_len(&shape).unwrap()];
    let mut state = State::empty(&mut storage, &shape).unwrap();
    let (o, lse) = ([0.0; 16], [0.0; 4]);
    let wrong = View::packed(&o, [1, 2, 1, 4]).unwrap();
    let (expected, given) = (shape.o(), [1, 2, 1, 4]);
    let refused = Error::Shape { tensor: Tensor::O, expected, given };
    assert_eq!(state.join(wrong, Lse::nats(&lse)), Err(refused));
    let right = View::packed(&o, shape.o()).unwrap();
    let refused = Error::Length { tensor: Tensor::Lse, needed: 4, given: 3 };
    assert_eq!(state.join(right, Lse::bits(&lse[..3])), Err(refused));
}
