//! Where states lie, how tensors are stored, who reads them and who works on what changes no bit.

use crate::case::{FORMATS, Layout, Scattered, Tensor, assert_same_bits};
use crate::linear_case::{Case, FORMS, assert_same, each, families, rows_of, ways};
use flashlet::{
    AnyView, CHUNK, Family, Form, HeadMap, Level, LinearHeads, LinearInputs, LinearOutputs,
    LinearShape, Memory, Rule, Strides, ViewMut,
};
use oracle::Format;

/// Widths of keys and values that fill no vector or block, just fill one, or go beyond.
const RAGGED: [[usize; 2]; 7] = [[1, 3], [3, 1], [16, 17], [17, 64], [65, 63], [64, 65], [63, 16]];

/// A packed tensor laid out anew and rounded.
fn stored(x: &[f32], dims: [usize; 4], layout: Layout, format: Format) -> (Tensor, Strides) {
    let Scattered { data, strides } = Scattered::of(x, dims, layout);
    (Tensor::rounded(&data, format), strides)
}

/// Each state turned about.
fn turned(states: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let turn = |x: &[f32]| -> Vec<f32> {
        (0..rows * columns).map(|at| x[at % rows * columns + at / rows]).collect()
    };
    states.chunks_exact(rows * columns).flat_map(turn).collect()
}

/// Memory as it lies, or where each state is turned about.
fn memory_of<'a>(stored: &'a mut Tensor, shape: &LinearShape, is_turned: bool) -> Memory<'a> {
    let memory = match (stored, is_turned) {
        (Tensor::F32(x), false) => Memory::new(x, shape),
        (Tensor::F16(x), false) => Memory::new(x, shape),
        (Tensor::Bf16(x), false) => Memory::new(x, shape),
        (Tensor::F32(x), true) => Memory::transposed(x, shape),
        (Tensor::F16(x), true) => Memory::transposed(x, shape),
        (Tensor::Bf16(x), true) => Memory::transposed(x, shape),
    };
    memory.unwrap()
}

#[test]
fn linear_states_in_any_storage_give_the_same_outputs_and_are_rounded_once() {
    let families = [Family::SIMPLE_GLA, Family::GATED_DELTA_NET, Family::RWKV6, Family::RWKV7];
    let layouts = [(0, [0; 3]), (0, [2, 5, 1]), (1, [0, 3, 2]), (4, [1, 0, 7])];
    for (n, (dims @ [dim, v_dim], family)) in
        RAGGED.into_iter().flat_map(|dims| families.map(|family| (dims, family))).enumerate()
    {
        let heads = LinearHeads { v_dim, ..LinearHeads::new(2, dim) };
        let mut case = Case::new(family, [2, 21], heads);
        let shape = case.shape;
        for (format, way) in FORMATS.into_iter().flat_map(|f| ways().map(move |way| (f, way))) {
            case.state = Tensor::rounded(&case.state, format).widened();
            let what = format!("{family:?} {dims:?} {way:?} {format:?}");
            let (plan, [o, state]) = (case.plan(way), case.run(way));
            for is_turned in [false, true] {
                let lay = |x: &[f32]| if is_turned { turned(x, dims) } else { x.to_vec() };
                let mut laid = Tensor::rounded(&lay(&case.state), format);
                let memory = memory_of(&mut laid, &shape, is_turned);
                assert_same_bits(&case.output(&plan, memory, 1), &o, &what);
                let expected = Tensor::rounded(&lay(&state), format).widened();
                assert_same_bits(&laid.widened(), &expected, format!("{what} {is_turned}"));
            }
            // `[batch, head_dim, states, v_dim]` in some order, with gaps that must stay as they are.
            let dims = [2, dim, 2, v_dim];
            let (order, gaps) = layouts[n % layouts.len()];
            let scatter = |x: &[f32]| {
                let by_row: Vec<f32> = (0..2 * dim * 2)
                    .map(|row| (row / (2 * dim) * 2 + row % 2) * dim + row / 2 % dim)
                    .flat_map(|at| x[at * v_dim..][..v_dim].to_vec())
                    .collect();
                stored(&by_row, dims, Layout { order, gaps }, format)
            };
            let (mut laid, strides) = scatter(&case.state);
            let memory = Memory::view(laid.view_mut(dims, strides), &shape).unwrap();
            assert_same_bits(&case.output(&plan, memory, 1), &o, &what);
            let expected = scatter(&state).0.widened();
            assert_same_bits(&laid.widened(), &expected, format!("{what} {strides:?}"));
        }
    }
}

#[test]
fn a_state_that_is_only_read_stays_as_it_is_wherever_it_lies() {
    let heads = LinearHeads { v_dim: 5, ..LinearHeads::new(2, 7) };
    for (family, way) in each() {
        let case = Case::new(family, [2, 5], heads);
        let (shape, plan, [q, ..]) = (case.shape, case.plan(way), case.views());
        let read = |memory: Memory<'_>| {
            let mut o = vec![f32::NAN; shape.o().iter().product()];
            let mut scratch = vec![f32::NAN; plan.scratch_len() + plan.staging_len()];
            let outputs = LinearOutputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
            plan.bind(LinearInputs::read(q), outputs, memory, &mut scratch).unwrap().run();
            o
        };
        for format in FORMATS {
            let state = Tensor::rounded(&case.state, format).widened();
            let expected = read(Memory::new(&mut state.clone(), &shape).unwrap());
            for is_turned in [false, true] {
                let laid = if is_turned { turned(&state, [7, 5]) } else { state.clone() };
                let mut stored = Tensor::rounded(&laid, format);
                let o = read(memory_of(&mut stored, &shape, is_turned));
                let what = format!("{family:?} {way:?} {format:?} {is_turned}");
                assert_same_bits(&o, &expected, &what);
                assert_same_bits(&stored.widened(), &laid, &what);
            }
        }
    }
}

#[test]
fn a_stream_in_several_calls_is_the_stream_in_one_and_goes_on_from_a_saved_state() {
    let heads = LinearHeads { v_dim: 5, ..LinearHeads::new(2, 7) };
    for (family, way) in each() {
        let case = Case::new(family, [1, 4 * CHUNK + 3], heads);
        let [o, end] = case.run(way);
        let cuts = match way.1 {
            Form::Recurrent => vec![1, 2, 19, 20, 66],
            Form::Chunked => vec![CHUNK, 3 * CHUNK, 4 * CHUNK],
        };
        let (mut first, mut state, mut found) = (0, case.state.clone(), Vec::new());
        for cut in cuts.into_iter().chain([case.shape.len]) {
            let part = case.tokens(first..cut, state);
            let [o, after] = part.run(way);
            // A call that saves its state, is followed by others, and is done again.
            let saved = part.state.clone();
            assert_same_bits(&part.tokens(0..part.shape.len, saved).run(way)[0], &o, "again");
            found.extend(o);
            (first, state) = (cut, after);
        }
        assert_same(&[found, state], &[o, end], &format!("{family:?} {way:?}"));
    }
}

#[test]
fn linear_heads_that_share_are_heads_that_are_repeated() {
    let counts =
        [[8, 8, 8], [8, 2, 2], [2, 2, 8], [4, 2, 8], [1, 8, 2], [12, 2, 6], [1, 1, 3], [2, 4, 1]];
    for ([q, k, v], map) in
        counts.into_iter().flat_map(|n| [HeadMap::Grouped, HeadMap::Modulo].map(|map| (n, map)))
    {
        let heads = LinearHeads { q, k, v, dim: 9, v_dim: 5, map };
        for family in families() {
            let case = Case::new(family, [2, 20], heads);
            for way in ways() {
                let [o, state] = case.run(way);
                for (b, h) in (0..2).flat_map(|b| (0..heads.outputs()).map(move |h| (b, h))) {
                    let (one, s) = case.one(b, h);
                    let [expected, after] = one.run(way);
                    let what = format!("{family:?} {way:?} {heads:?} {b} {h}");
                    assert_same_bits(&rows_of(&o, case.shape.o(), b, h), &expected, &what);
                    assert_same_bits(&state[s * 45..][..45], &after, format!("{what}: state"));
                }
            }
        }
    }
}

#[test]
fn linear_tensors_in_any_storage_are_widened_and_outputs_rounded_once() {
    for (n, family) in families().enumerate() {
        for (dim, v_dim) in [(17, 33), (64, 16)] {
            let heads = LinearHeads { q: 4, v_dim, ..LinearHeads::new(2, dim) };
            let mut case = Case::new(family, [2, 19], heads);
            for (m, way) in ways().enumerate() {
                let formats: [Format; 7] = std::array::from_fn(|t| FORMATS[(n + m + t * t) % 3]);
                let layout = |t: usize| Layout { order: n + m + t, gaps: [t % 3, m, (n + t) % 4] };
                let dims = case.dims();
                for (x, format) in case.tensors.iter_mut().zip(formats) {
                    *x = Tensor::rounded(x, format).widened();
                }
                let all: [_; 7] = std::array::from_fn(|t| {
                    stored(&case.tensors[t], dims[t], layout(t), formats[t])
                });
                let views @ [q, k, v, ..]: [AnyView<'_>; 7] =
                    std::array::from_fn(|t| all[t].0.view(dims[t], all[t].1));
                let (plan, [o, end]) = (case.plan(way), case.run(way));
                for format in FORMATS {
                    let place = |o: &[f32]| stored(o, case.shape.o(), layout(7), format);
                    let (mut found, strides) = place(&vec![0.0; o.len()]);
                    let mut state = case.state.clone();
                    let mut scratch = vec![f32::NAN; plan.scratch_len()];
                    let inputs = case.with(LinearInputs::new(q, k, v), views);
                    let outputs = LinearOutputs::new(found.view_mut(case.shape.o(), strides));
                    let memory = Memory::new(&mut state, &case.shape).unwrap();
                    plan.bind(inputs, outputs, memory, &mut scratch).unwrap().run();
                    let what = format!("{family:?} {way:?} {formats:?} to {format:?}");
                    assert_same_bits(&found.widened(), &place(&o).0.widened(), &what);
                    assert_same_bits(&state, &end, &what);
                }
            }
        }
    }
}

#[test]
fn linear_attention_has_the_same_bits_on_levels_that_round_alike() {
    for (family, [dim, v_dim]) in families().flat_map(|family| RAGGED.map(|dims| (family, dims))) {
        let heads = LinearHeads { q: 2, v_dim, ..LinearHeads::new(1, dim) };
        let case = Case::new(family, [1, 37], heads);
        for (form, is_fused) in FORMS.into_iter().flat_map(|f| [(f, false), (f, true)]) {
            let alike = Level::available().filter(|level| level.is_fused() == is_fused);
            let runs: Vec<_> = alike.map(|level| case.run((level, form))).collect();
            for pair in runs.windows(2) {
                assert_same(&pair[1], &pair[0], &format!("{family:?} [{dim}, {v_dim}] {form:?}"));
            }
        }
    }
}

#[test]
fn parts_of_linear_attention_have_the_bits_of_the_whole() {
    let heads = LinearHeads { q: 6, v_dim: 3, ..LinearHeads::new(3, 5) };
    let zeros = [0.0; 2 * 3 * 11];
    for (family, way) in each() {
        let mut case = Case::new(family, [2, 21], heads);
        for is_nan in [false, true] {
            // Divisors that cancel: of state 1 at token 4, of state 2 at token 0.
            for (s, token) in [(1, 4), (2, 0)] {
                for i in 0..=token {
                    let at = (i * 3 + s) * 5;
                    let key = if i == token { [1.0, f32::EPSILON - 1.0] } else { [0.0; 2] };
                    case.tensors[1][at..at + 5].fill(0.0);
                    case.tensors[1][at..at + 2].copy_from_slice(&key);
                }
                let query = if is_nan && s == 1 { f32::NAN } else { 1.0 };
                case.tensors[0][(token * 6 + 2 * s) * 5..][..5].fill(query);
            }
            let run = |parts| case.learn_and_read(way, case.inputs(), [&case.state, &zeros], parts);
            let (whole, conditioning) = run(1);
            let [o, state] = case.run(way);
            assert_same_bits(&whole[2], &state, "in one");
            if family.rule != Rule::Add {
                assert_same_bits(&whole[0], &o, "in one");
            } else {
                assert_eq!(conditioning.uncertified().unwrap().0, [0, 0, 4]);
                assert_eq!(conditioning.worst().is_nan(), is_nan);
            }
            for parts in [2, 3, 7] {
                let (shares, together) = run(parts);
                let what = format!("{family:?} {way:?} {parts}");
                assert_same(&shares, &whole, &what);
                assert_eq!(together.worst().to_bits(), conditioning.worst().to_bits(), "{what}");
                assert_eq!(together.uncertified(), conditioning.uncertified(), "{what}");
            }
        }
    }
}
