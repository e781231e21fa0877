//! Where states lie, and who reads them, changes no bit.

use crate::case::{assert_same_bits, normal};
use flashlet::{
    CHUNK, Error, Family, Form, HeadMap, LinearAttention, LinearHeads, LinearInputs, LinearOutputs,
    LinearShape, Memory, Snapshots, Tensor, View, ViewMut,
};
use half::bf16;

const FORMS: [Form; 2] = [Form::Recurrent, Form::Chunked];

/// Simple GLA over random tokens.
struct Case {
    shape: LinearShape,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    gates: Vec<f32>,
}

fn len(dims: [usize; 4]) -> usize {
    dims.iter().product()
}

impl Case {
    fn new(tokens: usize, heads: LinearHeads) -> Case {
        let shape = LinearShape { batch: 1, len: tokens, heads };
        let gates = normal(len(shape.per_state(1)), 4).iter().map(|x| -0.1 * x.abs()).collect();
        let [q, k, v] = [(shape.q(), 1), (shape.k(), 2), (shape.v(), 3)]
            .map(|(dims, seed)| normal(len(dims), seed));
        Case { shape, q, k, v, gates }
    }

    fn inputs(&self) -> LinearInputs<'_> {
        let view = |data, dims| View::packed(data, dims).unwrap();
        let shape = self.shape;
        LinearInputs::new(
            view(&self.q, shape.q()),
            view(&self.k, shape.k()),
            view(&self.v, shape.v()),
        )
        .gates(view(&self.gates, shape.per_state(1)))
    }

    fn run(&self, form: Form, memory: Memory<'_>, parts: usize) -> Vec<f32> {
        let plan = LinearAttention::new(self.shape, Family::SIMPLE_GLA).unwrap().form(form);
        let mut o = vec![f32::NAN; len(self.shape.o())];
        let mut scratch = vec![f32::NAN; parts * (plan.scratch_len() + plan.staging_len())];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, self.shape.o()).unwrap());
        let call = plan.bind(self.inputs(), outputs, memory, &mut scratch).unwrap();
        std::thread::scope(|scope| {
            for part in call.parts(parts).unwrap() {
                scope.spawn(move || part.run());
            }
        });
        o
    }
}

#[test]
fn states_in_other_storage_give_the_same_outputs_and_are_rounded_once() {
    for (dim, v_dim) in [(1, 3), (16, 17), (17, 64), (5, 65)] {
        let case = Case::new(21, LinearHeads { v_dim, ..LinearHeads::new(2, dim) });
        let start: Vec<bf16> = normal(Memory::len(&case.shape).unwrap(), 9)
            .iter()
            .map(|x| bf16::from_f32(*x))
            .collect();
        for form in FORMS {
            let mut plain: Vec<f32> = start.iter().map(|x| x.to_f32()).collect();
            let mut transposed = vec![0.0; plain.len()];
            for (from, to) in
                plain.chunks_exact(dim * v_dim).zip(transposed.chunks_exact_mut(dim * v_dim))
            {
                for (at, to) in to.iter_mut().enumerate() {
                    *to = from[at % dim * v_dim + at / dim];
                }
            }
            let mut narrow = start.clone();
            let o = case.run(form, Memory::new(&mut plain, &case.shape).unwrap(), 1);
            for parts in [2, 3] {
                let mut again: Vec<f32> = start.iter().map(|x| x.to_f32()).collect();
                let memory = Memory::new(&mut again, &case.shape).unwrap();
                assert_same_bits(&case.run(form, memory, parts), &o, "parts");
            }
            let memory = Memory::transposed(&mut transposed, &case.shape).unwrap();
            assert_same_bits(&case.run(form, memory, 1), &o, "transposed");
            let memory = Memory::new(&mut narrow, &case.shape).unwrap();
            assert_same_bits(&case.run(form, memory, 1), &o, "bf16");
            let rounded: Vec<bf16> = plain.iter().map(|x| bf16::from_f32(*x)).collect();
            assert_eq!(narrow, rounded, "{dim} {v_dim} {form:?}");
            for (from, to) in
                plain.chunks_exact(dim * v_dim).zip(transposed.chunks_exact(dim * v_dim))
            {
                for (at, to) in to.iter().enumerate() {
                    assert_eq!(to.to_bits(), from[at % dim * v_dim + at / dim].to_bits());
                }
            }
        }
    }
}

#[test]
fn heads_that_share_are_heads_that_are_repeated() {
    for (q, k, v) in [(8, 2, 2), (2, 2, 8), (4, 2, 8)] {
        for map in [HeadMap::Grouped, HeadMap::Modulo] {
            let heads = LinearHeads { q, k, v, dim: 9, v_dim: 5, map };
            let case = Case::new(20, heads);
            let (states, outputs) = (heads.states(), heads.outputs());
            let serves = |h: usize, many: usize, few: usize| match map {
                HeadMap::Grouped => h / (many / few),
                HeadMap::Modulo => h % few,
            };
            let one = |data: &[f32], heads: usize, h: usize, width: usize| -> Vec<f32> {
                (0..20).flat_map(|t| data[(t * heads + h) * width..][..width].to_vec()).collect()
            };
            for form in FORMS {
                let mut state = vec![0.0_f32; Memory::len(&case.shape).unwrap()];
                let o = case.run(form, Memory::new(&mut state, &case.shape).unwrap(), 1);
                for h in 0..outputs {
                    let s = serves(h, outputs, states);
                    let shape = LinearShape {
                        heads: LinearHeads { v_dim: 5, ..LinearHeads::new(1, 9) },
                        ..case.shape
                    };
                    let single = Case {
                        shape,
                        q: one(&case.q, q, serves(h, outputs, q), 9),
                        k: one(&case.k, k, serves(s, states, k), 9),
                        v: one(&case.v, v, serves(s, states, v), 5),
                        gates: one(&case.gates, states, s, 1),
                    };
                    let mut state = vec![0.0_f32; 45];
                    let expected = single.run(form, Memory::new(&mut state, &shape).unwrap(), 1);
                    assert_same_bits(&one(&o, outputs, h, 5), &expected, format!("{map:?} {h}"));
                }
            }
        }
    }
}

#[test]
fn a_stream_in_calls_of_whole_chunks_is_the_stream_in_one() {
    let heads = LinearHeads::new(1, 7);
    let whole = Case::new(4 * CHUNK, heads);
    for form in FORMS {
        let mut state = vec![0.0_f32; 49];
        let expected = whole.run(form, Memory::new(&mut state, &whole.shape).unwrap(), 1);
        let (mut state, mut found) = (vec![0.0_f32; 49], Vec::new());
        for first in (0..4 * CHUNK).step_by(2 * CHUNK) {
            let part =
                |data: &[f32], width: usize| data[first * width..][..2 * CHUNK * width].to_vec();
            let case = Case {
                shape: LinearShape { len: 2 * CHUNK, ..whole.shape },
                q: part(&whole.q, 7),
                k: part(&whole.k, 7),
                v: part(&whole.v, 7),
                gates: part(&whole.gates, 1),
            };
            found.extend(case.run(form, Memory::new(&mut state, &case.shape).unwrap(), 1));
        }
        assert_same_bits(&found, &expected, form == Form::Chunked);
    }
}

#[test]
fn what_is_missing_or_of_no_use_is_named() {
    let case = Case::new(3, LinearHeads::new(1, 4));
    let bind = |family, inputs: LinearInputs<'_>, scratch: usize| {
        let plan = LinearAttention::new(case.shape, family).unwrap();
        let (mut o, mut state) = (vec![0.0; 12], vec![0.0_f32; 16]);
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, case.shape.o()).unwrap());
        let memory = Memory::new(&mut state, &case.shape).unwrap();
        let mut scratch = vec![0.0; scratch];
        plan.bind(inputs, outputs, memory, &mut scratch).map(|_| ()).unwrap_err()
    };
    let inputs = case.inputs();
    let missing = |tensor| Error::Missing { tensor };
    assert_eq!(bind(Family::GATED_DELTA_NET, inputs, 0), missing(Tensor::Beta));
    assert_eq!(bind(Family::LINEAR, inputs, 0), Error::Unwanted { tensor: Tensor::Gates });
    assert!(matches!(bind(Family::SIMPLE_GLA, inputs, 0), Error::Scratch { given: 0, .. }));
    let plan = LinearAttention::new(case.shape, Family::DELTA_NET).unwrap();
    assert!(matches!(plan.normalised(0.0), Err(Error::Normalised { .. })));
    assert!(matches!(plan.l2_normalised(f32::NAN), Err(Error::Epsilon { .. })));
    let heads = LinearHeads { k: 3, ..LinearHeads::new(2, 4) };
    let shape = LinearShape { heads, ..case.shape };
    assert!(matches!(LinearAttention::new(shape, Family::LINEAR), Err(Error::LinearHeads { .. })));
    let (mut storage, mut state) = ([0.0; 4], [1.0; 2]);
    let mut snapshots = Snapshots::new(&mut storage, 2).unwrap();
    snapshots.push(&state).unwrap();
    assert_eq!(snapshots.restore(2, &mut state), Err(Error::Rollback { back: 2, held: 1 }));
}
