//! Attention of real models, whose results were computed in f64 elsewhere: `data/real-heads`.

use oracle::{Arithmetic, Form, Format, Pair, Problem, Shape, attend_row, certify};
use safetensors::{SafeTensors, tensor::TensorView};

use crate::model::Model;
use crate::narrow::{stored, to_bf16};

/// A file of the collection and how its scores and mask are defined (its README).
struct Head {
    file: &'static str,
    scale: f64,
    causal: bool,
}

const HEADS: [Head; 3] = [
    Head { file: "smollm2-l0", scale: 0.125, causal: true },
    Head { file: "smollm2-l18", scale: 0.125, causal: true },
    Head { file: "minilm-l0", scale: 0.176_776_695_296_636_87, causal: false },
];

fn f32s(tensor: &TensorView) -> Vec<f32> {
    tensor.data().chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
}

fn f64s(tensor: &TensorView) -> Vec<f64> {
    tensor.data().chunks_exact(8).map(|x| f64::from_le_bytes(x.try_into().unwrap())).collect()
}

/// Hands the problem of a file, its numbers rounded, and the expected `o [len, q_heads, v_dim]` and
/// `lse [q_heads, len]` of the unrounded one, to `check`.
fn with(head: &Head, round: fn(f32) -> f32, check: impl FnOnce(&Problem, &[f64], &[f64])) {
    let path =
        format!("{}/../data/real-heads/{}.safetensors", env!("CARGO_MANIFEST_DIR"), head.file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |name| file.tensor(name).unwrap();
    let (q, k, v) = (tensor("q"), tensor("k"), tensor("v"));
    let rounded = |tensor: &TensorView| f32s(tensor).into_iter().map(round).collect::<Vec<_>>();
    let [len, q_heads, head_dim] = *q.shape() else { panic!("{path}: q {:?}", q.shape()) };
    let [_, kv_heads, v_dim] = *v.shape() else { panic!("{path}: v {:?}", v.shape()) };
    let problem = Problem {
        shape: Shape { batch: 1, q_len: len, kv_len: len, q_heads, kv_heads, head_dim, v_dim },
        scale: head.scale,
        q: &rounded(&q),
        k: &rounded(&k),
        v: &rounded(&v),
        visible: &|Pair { i, j, .. }| !head.causal || j <= i,
        sinks: &[],
        modify: None,
        beside: None,
    };
    check(&problem, &f64s(&tensor("o")), &f64s(&tensor("lse")));
}

#[test]
fn definition_agrees_with_numpy() {
    for head in &HEADS {
        with(
            head,
            |x| x,
            |problem, o, lse| {
                let Shape { q_len, q_heads, v_dim, .. } = problem.shape;
                let mut worst = [0.0_f64; 2];
                for i in 0..q_len {
                    for h in 0..q_heads {
                        let row = attend_row(problem, 0, i, h);
                        for (c, got) in row.o.iter().enumerate() {
                            worst[0] = worst[0].max((got - o[(i * q_heads + h) * v_dim + c]).abs());
                        }
                        worst[1] = worst[1].max((row.lse - lse[h * q_len + i]).abs());
                    }
                }
                println!("{}: o {:.1e}, lse {:.1e}", head.file, worst[0], worst[1]);
                assert!(worst.iter().all(|worst| *worst <= 1e-13), "{}: {worst:?}", head.file);
            },
        );
    }
}

#[test]
fn model_stays_within_both_bounds() {
    for head in &HEADS {
        for (arithmetic, round) in [
            (Arithmetic::fused(96), (|x| x) as fn(f32) -> f32),
            (Arithmetic::unfused(96), |x| x),
            (Arithmetic::fused(16), |x| x),
            (Arithmetic::fused(96).stored_as(Format::F16), |x| stored(x, Format::F16)),
            (Arithmetic::bf16_products(96).stored_as(Format::Bf16), to_bf16),
            (Arithmetic::bf16_products(96), to_bf16),
        ] {
            with(head, round, |problem, _, _| {
                let (o, lse) = Model::new(arithmetic).run(problem);
                for form in [Form::Gamma, Form::Running] {
                    let verdict = certify(problem, &arithmetic, form, &o, Some(&lse));
                    println!("{}, {arithmetic:?}, {form:?}: {:.4}", head.file, verdict.worst_ratio);
                    assert!(
                        verdict.holds() && verdict.uncertified == 0,
                        "{}: {verdict}",
                        head.file
                    );
                }
            });
        }
    }
}
