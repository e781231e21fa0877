//! What linear attention refuses it leaves alone; tokens that are not finite leave alone what is not theirs.

use crate::case::assert_same_bits;
use crate::linear_case::{Case, assert_same, each, families, len};
use flashlet::entry::{Chunk, LinearEntry};
use flashlet::{
    AnyView, CHUNK, Error, Family, Form, Gate, Level, LinearAttention, LinearHeads, LinearInputs,
    LinearOutputs, LinearShape, Memory, Rule, Snapshots, Tensor, View, ViewMut,
};
use half::bf16;
use proptest::prelude::*;

const BEST: (Level, Form) = (Level::Scalar, Form::Chunked);

/// One head of three tokens, 4 wide, values 2 wide.
fn small(family: Family) -> Case {
    Case::new(family, [2, 3], LinearHeads { v_dim: 2, ..LinearHeads::new(1, 4) })
}

/// Binds with all else in order; nothing is written.
fn refusal<'a>(
    case: &Case,
    plan: &LinearAttention<'_>,
    inputs: LinearInputs<'a>,
    scratch: usize,
) -> Option<Error> {
    let (mut o, mut state) = (vec![7.0; len(case.shape.o())], case.state.clone());
    let mut scratch = vec![7.0; scratch];
    let outputs = LinearOutputs::new(ViewMut::packed(&mut o, case.shape.o()).unwrap());
    let memory = Memory::new(&mut state, &case.shape).unwrap();
    let error = plan.bind(inputs, outputs, memory, &mut scratch).err();
    assert!(o.iter().chain(&scratch).all(|x| *x == 7.0) && state == case.state);
    error
}

#[test]
fn linear_inputs_are_all_there_are_no_more_and_fit() {
    use Tensor::{Beta, Bonus, Decay, Gates, K, LowRankA, LowRankB, Q, V};
    const NAMES: [Tensor; 7] = [Q, K, V, Gates, Beta, LowRankA, LowRankB];
    for family in families() {
        let (case, Family { gate, rule }, data) = (small(family), family, [0.0; 100]);
        let (plan, views) = (case.plan(BEST), case.views());
        let [q, k, v, gates, beta, a, b] = views;
        let refuse = |inputs| refusal(&case, &plan, inputs, plan.scratch_len());
        let (bare, inputs) = (LinearInputs::new(q, k, v), case.inputs());
        assert_eq!(refuse(inputs), None);
        let list = [-0.5; 4];
        // What a gate or a rule needs, and what it has no use for.
        let given = [
            (Gates, matches!(gate, Gate::Token | Gate::Channel), inputs.gates(gates)),
            (Beta, rule == Rule::Delta, inputs.beta(beta)),
            (LowRankA, rule == Rule::LowRank, inputs.low_rank(a, b)),
            (Decay, gate == Gate::Head, inputs.decay(&list[..1])),
            (Bonus, rule == Rule::Bonus, inputs.bonus(&list)),
        ];
        let mut needed = Vec::new();
        for (tensor, is_needed, inputs) in given {
            let expected = (!is_needed).then_some(Error::Unwanted { tensor });
            assert_eq!(refuse(inputs), expected, "{family:?}");
            needed.extend(is_needed.then_some(tensor));
        }
        let missing = needed.first().map(|tensor| Error::Missing { tensor: *tensor });
        assert_eq!(refuse(bare), missing, "{family:?}");
        // Queries that only read need none of it.
        assert_eq!(refuse(LinearInputs::read(q)), None);
        let extra = needed.first().map(|tensor| Error::Unwanted { tensor: *tensor });
        assert_eq!(refuse(case.with(LinearInputs::read(q), views)), extra);
        // Views of one token, head, channel or sequence more.
        for (t, axis) in (0..7).flat_map(|t| (0..4).map(move |axis| (t, axis))) {
            let expected = case.dims()[t];
            let mut given = expected;
            given[axis] += 1;
            let mut views = views;
            views[t] = AnyView::from(View::packed(&data, given).unwrap());
            let [q, k, v, ..] = views;
            let error = refuse(case.with(LinearInputs::new(q, k, v), views));
            let is_used = t < 3 || needed.contains(&NAMES[t]) || (t == 6 && rule == Rule::LowRank);
            let wrong = Error::Shape { tensor: NAMES[t], expected, given };
            assert_eq!(error, is_used.then_some(wrong), "{family:?}");
        }
        for (tensor, inputs, [long, given]) in
            [(Decay, inputs.decay(&list[..2]), [1, 2]), (Bonus, inputs.bonus(&list[1..]), [4, 3])]
        {
            let wrong = Error::Length { tensor, needed: long, given };
            assert!(!needed.contains(&tensor) || refuse(inputs) == Some(wrong));
        }
        let needed = plan.scratch_len();
        let short = refusal(&case, &plan, inputs, needed - 1);
        assert_eq!(short, Some(Error::Scratch { needed, given: needed - 1 }));
    }
}

#[test]
fn outputs_and_memories_that_do_not_fit_are_refused() {
    let case = small(Family::LINEAR);
    let (plan, shape) = (case.plan(BEST), case.shape);
    let normalised = plan.normalised(0.0).unwrap();
    let (mut state, mut sums) = ([0.0_f32; 16], [0.0; 18]);
    let wrong = |needed, given| Error::Length { tensor: Tensor::State, needed, given };
    assert_eq!(Memory::new(&mut state[..15], &shape).unwrap_err(), wrong(16, 15));
    assert_eq!(Memory::transposed(&mut state[1..], &shape).unwrap_err(), wrong(16, 15));
    let other = ViewMut::packed(&mut state, [2, 2, 1, 4]).unwrap();
    let (tensor, expected) = (Tensor::State, [2, 4, 1, 2]);
    let turned = Error::Shape { tensor, expected, given: [2, 2, 1, 4] };
    assert_eq!(Memory::view(other, &shape).unwrap_err(), turned);
    let memory = Memory::new(&mut state, &shape).unwrap();
    let tensor = Tensor::Normaliser;
    let short = Error::Length { tensor, needed: 18, given: 17 };
    assert_eq!(memory.normaliser(&mut sums[1..], &shape).unwrap_err(), short);

    let mut bind = |plan: &LinearAttention<'_>, sums: Option<&mut [f32]>, scratch: usize| {
        let (mut o, mut scratch) = ([7.0; 12], vec![7.0; scratch]);
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
        let memory = Memory::transposed(&mut state, &shape).unwrap();
        let memory = match sums {
            Some(sums) => memory.normaliser(sums, &shape).unwrap(),
            None => memory,
        };
        let error = plan.bind(case.inputs(), outputs, memory, &mut scratch).err();
        assert!(o.iter().chain(&scratch).all(|x| *x == 7.0) && state == [0.0; 16]);
        error
    };
    let needed = plan.scratch_len() + plan.staging_len();
    let scratch = Error::Scratch { needed, given: needed - 1 };
    assert_eq!(bind(&plan, None, needed - 1), Some(scratch));
    assert_eq!(bind(&plan, None, needed), None);
    assert_eq!(bind(&plan, Some(&mut sums), needed), Some(Error::Unwanted { tensor }));
    assert_eq!(bind(&normalised, None, needed), Some(Error::Missing { tensor }));
    assert_eq!(bind(&normalised, Some(&mut sums), needed), None);

    // Memories in 16 bits, and those with gaps, need room for a state too.
    let (mut narrow, mut o) = ([bf16::ZERO; 16], [7.0; 13]);
    let (mut few, needed) = (vec![0.0; plan.scratch_len()], needed);
    let given = few.len();
    let outputs = LinearOutputs::none();
    let memory = Memory::new(&mut narrow, &shape).unwrap();
    let error = plan.bind(case.inputs(), outputs, memory, &mut few).unwrap_err();
    assert_eq!(error, Error::Scratch { needed, given });
    // Outputs and condition numbers of other shapes; states and normalisers of other plans.
    let given = [2, 3, 2, 1];
    let outputs = LinearOutputs::new(ViewMut::packed(&mut o, given).unwrap());
    let memory = Memory::new(&mut state, &shape).unwrap();
    let error = plan.bind(case.inputs(), outputs, memory, &mut few).unwrap_err();
    assert_eq!(error, Error::Shape { tensor: Tensor::O, expected: shape.o(), given });
    let memory = Memory::new(&mut state, &shape).unwrap().normaliser(&mut sums, &shape).unwrap();
    let outputs = LinearOutputs::none().condition(&mut o[..5]);
    let error = normalised.bind(case.inputs(), outputs, memory, &mut few).unwrap_err();
    assert_eq!(error, Error::Length { tensor: Tensor::Condition, needed: 6, given: 5 });
    // Nothing is divided, so nothing has a condition number.
    let memory = Memory::new(&mut state, &shape).unwrap();
    let outputs = LinearOutputs::none().condition(&mut o[..6]);
    let error = plan.bind(case.inputs(), outputs, memory, &mut few).unwrap_err();
    assert_eq!(error, Error::Unwanted { tensor: Tensor::Condition });
    let half = LinearShape { batch: 1, ..shape };
    let memory = Memory::new(&mut state[..8], &half).unwrap();
    let error = plan.bind(case.inputs(), LinearOutputs::none(), memory, &mut few).unwrap_err();
    let tensor = Tensor::State;
    assert_eq!(error, Error::Shape { tensor, expected: [2, 4, 1, 2], given: [1, 4, 1, 2] });
}

#[test]
fn linear_plans_that_cannot_be_are_refused() {
    let shape = |heads| LinearShape { batch: 1, len: 1, heads };
    let new = |heads| LinearAttention::new(shape(heads), Family::LINEAR).map(|_| ());
    let plain = LinearHeads::new(2, 4);
    for [q, k, v] in
        [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 2, 3], [3, 2, 2], [2, 2, 3], [4, 6, 3], [3, 3, 2]]
    {
        let heads = LinearHeads { q, k, v, ..plain };
        assert_eq!(new(heads), Err(Error::LinearHeads { q, k, v }));
    }
    for dim in [0, 577] {
        let heads = LinearHeads { dim, ..plain };
        assert_eq!(new(heads), Err(Error::HeadDim { head_dim: dim, max: 576 }));
        let heads = LinearHeads { v_dim: dim, ..plain };
        assert_eq!(new(heads), Err(Error::ValueDim { v_dim: dim, max: 576 }));
    }
    let huge = LinearShape { batch: usize::MAX / 16, len: 2, heads: plain };
    let refused = LinearAttention::new(huge, Family::LINEAR).unwrap_err();
    assert_eq!(refused, Error::Overflow { dims: huge.q() });
    assert!(matches!(Memory::len(&huge), Err(Error::Overflow { .. })));
    assert!(matches!(Memory::normaliser_len(&huge), Err(Error::Overflow { .. })));

    for rule in [Rule::Bonus, Rule::Delta, Rule::LowRank] {
        let family = Family { gate: Gate::Never, rule };
        let plan = LinearAttention::new(shape(plain), family).unwrap();
        assert_eq!(plan.normalised(0.0).unwrap_err(), Error::Normalised { rule });
    }
    let plan = LinearAttention::new(shape(plain), Family::LINEAR).unwrap();
    for eps in [-1e-9, f32::NAN, f32::INFINITY] {
        let error = Error::Epsilon { bits: eps.to_bits() };
        assert_eq!(plan.normalised(eps).unwrap_err(), error);
        assert_eq!(plan.l2_normalised(eps).unwrap_err(), error);
    }
    for level in Level::ALL.into_iter().filter(|level| !level.is_available()) {
        assert_eq!(plan.level(level).unwrap_err(), Error::Level { level });
    }

    fn nothing(_: Chunk<'_>) {}
    let (made_for, dims) = (Family::RETNET, [4, 4]);
    let entry = LinearEntry::new("none", Level::Scalar, Form::Recurrent, made_for, dims, nothing);
    let with = |family, heads| LinearAttention::with_entry(shape(heads), family, entry).map(|_| ());
    // To an entry a gate a head is a gate a token.
    assert_eq!([made_for, Family::MAMBA2].map(|family| with(family, plain)), [Ok(()); 2]);
    let given = Family::GLA;
    assert_eq!(with(given, plain), Err(Error::EntryFamily { expected: made_for, given }));
    let wide = LinearHeads { v_dim: 5, ..plain };
    assert_eq!(with(made_for, wide), Err(Error::EntryDims { expected: dims, given: [4, 5] }));
}

proptest! {
    #[test]
    fn snapshots_are_a_list_that_forgets_its_oldest(
        len in 1_usize..4,
        capacity in 1_usize..5,
        spare in 0_usize..3,
        // Whether to push; how far to go back; 0: the state has a wrong length.
        steps in proptest::collection::vec((any::<bool>(), 0_usize..7, 0_usize..8), 0..40),
    ) {
        let mut storage = vec![0_u32; len * capacity + spare.min(len - 1)];
        let mut snapshots = Snapshots::new(&mut storage, len).unwrap();
        let mut list: Vec<Vec<u32>> = Vec::new();
        prop_assert_eq!(snapshots.capacity(), capacity);
        for (n, (is_push, back, wrong)) in (0_u32..).zip(steps) {
            let (held, given) = (list.len(), len + usize::from(wrong == 0));
            let mut state: Vec<u32> = (0..given as u32).map(|i| 10 * n + i).collect();
            let (mut expected, tensor) = (state.clone(), Tensor::State);
            let outcome = if given != len {
                Err(Error::Length { tensor, needed: len, given })
            } else if is_push {
                list.push(state.clone());
                list.drain(..list.len().saturating_sub(capacity));
                Ok(())
            } else if back == 0 || back > held {
                Err(Error::Rollback { back, held })
            } else {
                expected = list.drain(held - back..).next().unwrap();
                Ok(())
            };
            let push_or_restore =
                if is_push { snapshots.push(&state) } else { snapshots.restore(back, &mut state) };
            prop_assert_eq!(push_or_restore, outcome);
            prop_assert_eq!(state, expected);
            prop_assert_eq!(snapshots.held(), list.len());
        }
        for needed in [0, storage.len() + 1] {
            let error = Error::TooShort { needed: needed.max(1), given: storage.len() };
            prop_assert_eq!(Snapshots::new(&mut storage, needed).unwrap_err(), error);
        }
    }
}

/// Panics unless only those numbers differ that `may`, by sequence, token, head and channel.
#[track_caller]
fn assert_contained(
    [found, expected]: [&[f32]; 2],
    [_, len, heads, width]: [usize; 4],
    may: impl Fn([usize; 4]) -> bool,
    what: &str,
) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let row = i / width;
        let at = [row / heads / len, row / heads % len, row % heads, i % width];
        let is_same = found.to_bits() == expected.to_bits();
        assert!(is_same || may(at), "{what}: {at:?} became {found}, was {expected}");
    }
}

#[test]
fn what_is_not_finite_stays_in_its_head_its_channel_and_its_future() {
    let heads = LinearHeads { q: 4, v_dim: 19, ..LinearHeads::new(2, 5) };
    for (family, way) in each() {
        let case = Case::new(family, [2, 2 * CHUNK + 5], heads);
        let (outcome, dims) = (case.run(way), case.dims());
        for ((t, token), value) in (0..7)
            .flat_map(|t| [0, 3, 6, 15, 16, 29, 36].map(|token| (t, token)))
            .zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().cycle())
        {
            let mut poisoned = case.clone();
            // Sequence 0, the last head, the last channel.
            let [_, _, of, width] = dims[t];
            poisoned.tensors[t][(token + 1) * of * width - 1] = value;
            let what = format!("{family:?} {way:?}: {value} in tensor {t} at token {token}");
            let [o, state] = poisoned.run(way);
            let may = |[b, i, h, c]: [usize; 4]| {
                let is_own = b == 0 && if t == 0 { h == 3 && i == token } else { h / 2 == 1 };
                is_own && i >= token && (t != 2 || c == 18)
            };
            assert_contained([&o, &outcome[0]], case.shape.o(), may, &what);
            let may = |[b, s, _, c]: [usize; 4]| b == 0 && s == 1 && t != 0 && (t != 2 || c == 18);
            assert_contained([&state, &outcome[1]], [2, 2, 5, 19], may, &what);
        }
    }
}

#[test]
fn a_gate_of_minus_infinity_is_a_fresh_start() {
    let heads = LinearHeads { v_dim: 19, ..LinearHeads::new(1, 5) };
    // Zeros of either sign are alike.
    let plus_zero = |x: Vec<f32>| -> Vec<f32> { x.into_iter().map(|x| x + 0.0).collect() };
    let forgets = |family: &Family| {
        matches!(family.gate, Gate::Token | Gate::Channel) && family.rule != Rule::LowRank
    };
    for (family, way) in each().filter(|(family, _)| forgets(family)) {
        // Sums begin where chunks do; a reset inside of the only chunk is none either.
        for (len, token) in [(2 * CHUNK + 7, CHUNK), (CHUNK, 5), (13, 6)] {
            let mut case = Case::new(family, [1, len], heads);
            let gates = case.dims()[3][3];
            case.tensors[3][token * gates..][..gates].fill(f32::NEG_INFINITY);
            let ([o, state], fresh) = (case.run(way), case.tokens(token..len, vec![0.0; 5 * 19]));
            // A token that is read before the state forgets still sees it.
            let seen = usize::from(family.rule == Rule::Bonus);
            let [expected, after] = fresh.run(way).map(plus_zero);
            let what = format!("{family:?} {way:?} {len} {token}");
            let found = [o[(token + seen) * 19..].to_vec(), state].map(plus_zero);
            assert_same(&found, &[expected[seen * 19..].to_vec(), after], &what);
        }
    }
}

#[test]
fn no_sequences_and_no_tokens_are_no_work() {
    for (family, way) in each() {
        for of in [[0, 3], [2, 0], [0, 0]] {
            let case = Case::new(family, of, LinearHeads { v_dim: 3, ..LinearHeads::new(2, 5) });
            let [o, state] = case.run(way);
            assert!(o.is_empty());
            assert_same_bits(&state, &case.state, "state");
            let mut narrow: Vec<bf16> = case.state.iter().map(|x| bf16::from_f32(*x)).collect();
            let before = narrow.clone();
            let memory = Memory::transposed(&mut narrow, &case.shape).unwrap();
            case.output(&case.plan(way), memory, 3);
            assert_eq!(narrow, before);
        }
    }
}

#[test]
fn what_was_learnt_is_read_as_it_is() {
    for (family, way) in each() {
        let case = Case::new(family, [1, 21], LinearHeads { v_dim: 19, ..LinearHeads::new(1, 5) });
        let run = |inputs, before| case.learn_and_read(way, inputs, before, 1).0;
        let (views @ [q, k, v, ..], what) = (case.views(), format!("{family:?} {way:?}"));
        let start: [&[f32]; 2] = [&case.state, &[0.0; 11]];
        let [causal, _, state, sums] = run(case.inputs(), start);
        let kept = [state, sums];
        let [o, condition, learnt @ ..] = run(case.with(LinearInputs::learn(k, v), views), start);
        assert!(o.iter().chain(&condition).all(|x| x.is_nan()), "{what}: nothing is read");
        assert_same(&learnt, &kept, &what);
        let [o, _, after @ ..] = run(LinearInputs::read(q), [&kept[0], &kept[1]]);
        assert_same(&after, &kept, &what);
        if way.1 == Form::Recurrent && family.rule != Rule::Bonus {
            assert_same_bits(&o[20 * 19..], &causal[20 * 19..], format!("{what}: the last row"));
        }
        for (i, found) in o.iter().map(|x| f64::from(*x)).enumerate() {
            let query = &case.tensors[0][i / 19 * 5..][..5];
            let sum = |x: &[f32], step: usize| -> [f64; 2] {
                let terms = query.iter().zip(x.iter().step_by(step));
                let terms = terms.map(|(q, x)| f64::from(*q) * f64::from(*x));
                terms.fold([0.0; 2], |[sum, size], x| [sum + x, size + x.abs()])
            };
            let [read, size] = sum(&kept[0][i % 19..], 19);
            let is_normalised = family.rule == Rule::Add;
            let [by, weight] = if is_normalised { sum(&kept[1], 1) } else { [5_f64.sqrt(); 2] };
            let bound = 1e-6 * (size + weight * found.abs());
            assert!((found * by - read).abs() <= bound, "{what}: {found}, {read} / {by}");
        }
    }
}

#[test]
fn generated_entries_of_linear_attention_have_the_bits_of_those_of_any_size() {
    for entry in Level::available().flat_map(LinearEntry::generated) {
        let mut runs = 0;
        for family in families() {
            // An entry tells what it was made for when it is asked for something else.
            let odd = LinearShape { batch: 1, len: 37, heads: LinearHeads::new(1, 1) };
            let dims = match LinearAttention::with_entry(odd, family, *entry) {
                Err(Error::EntryDims { expected, .. }) => expected,
                Err(Error::EntryFamily { .. }) => continue,
                other => panic!("{}: {other:?}", entry.name()),
            };
            let heads = LinearHeads { q: 2, v_dim: dims[1], ..LinearHeads::new(1, dims[0]) };
            let case = Case::new(family, [1, 37], heads);
            let any = LinearAttention::new(odd, family).unwrap().level(entry.level()).unwrap();
            let any = any.form(entry.form()).entry();
            assert_ne!(any.name(), entry.name());
            let [found, expected] = [*entry, any].map(|entry| {
                let plan = LinearAttention::with_entry(case.shape, family, entry).unwrap();
                assert_eq!(plan.entry().name(), entry.name());
                case.run_plan(&plan)
            });
            assert_same(&found, &expected, entry.name());
            runs += 1;
        }
        assert!(runs > 0, "{} serves no family", entry.name());
    }
}
