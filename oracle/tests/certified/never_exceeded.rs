//! The model's error against both bounds, on every family.

use oracle::{Arithmetic, Form, Format, Shape, certify};

use crate::families::{Case, Family, Rng, small};
use crate::model::{Model, Steps};

/// The kernels: those of f32, and the one that multiplies bf16 (whose cases are rounded to bf16).
const KERNELS: [&str; 3] = ["fused", "unfused", "bf16"];

fn arithmetics(tile_k: usize) -> [Arithmetic; 3] {
    [Arithmetic::fused(tile_k), Arithmetic::unfused(tile_k), Arithmetic::bf16_products(tile_k)]
}

/// Largest error / bound: of o in gamma and in running form, and with lse in the same two.
type Ratios = [f64; 4];

/// Runs a model on a case and certifies it.
fn ratios(model: &Model, case: &Case, replay: &str) -> Ratios {
    case.clone().for_kernel(&model.arithmetic).problem(|problem| {
        let (o, lse) = model.run(problem);
        [
            (Form::Gamma, None),
            (Form::Running, None),
            (Form::Gamma, Some(&*lse)),
            (Form::Running, Some(&*lse)),
        ]
        .map(|(form, lse)| {
            let verdict = certify(problem, &model.arithmetic, form, &o, lse);
            assert!(verdict.holds() && verdict.uncertified == 0, "{replay}\n{model:?}\n{verdict}");
            verdict.worst_ratio
        })
    })
}

fn raise(worst: &mut Ratios, ratios: Ratios) {
    for (worst, ratio) in worst.iter_mut().zip(ratios) {
        *worst = worst.max(ratio);
    }
}

/// n and d from 1 to 16 and tiles from 1 to 8: where the bound is tight.
#[test]
fn small_shapes() {
    for family in Family::ALL {
        let mut worst = [[0.0; 4]; 3];
        for seed in 0..2_000 {
            let rng = &mut Rng(seed ^ 0x5eed);
            let case =
                family.case(small(1 + rng.below(3), 1 + rng.below(16), 1 + rng.below(16)), seed);
            let tile_k = 1 + rng.below(8);
            for (worst, arithmetic) in worst.iter_mut().zip(arithmetics(tile_k)) {
                let model = Model { steps: Steps::pick(seed), ..Model::new(arithmetic) };
                raise(worst, ratios(&model, &case, &format!("{family:?}, seed {seed}")));
            }
        }
        report(&format!("{family:?}, n d <= 16"), worst);
    }
}

/// Lengths that no tile divides, the tile of the kernels, and holes in the mask.
#[test]
fn ragged_lengths_and_holes() {
    for family in Family::ALL {
        let mut worst = [[0.0; 4]; 3];
        for seed in 0..60 {
            let rng = &mut Rng(seed ^ 0xda7a);
            let holes = [0.0, 0.1, 0.9, 0.99][rng.below(4)];
            let shape = small(2, 1 + rng.below(300), [3, 32, 64][rng.below(3)]);
            let case = family.case(shape, seed).with_holes(holes, seed);
            let tile_k = [96, 48, 7][rng.below(3)];
            for (worst, arithmetic) in worst.iter_mut().zip(arithmetics(tile_k)) {
                let model = Model { steps: Steps::pick(seed), ..Model::new(arithmetic) };
                raise(worst, ratios(&model, &case, &format!("{family:?}, seed {seed}")));
            }
        }
        report(&format!("{family:?}, ragged n <= 300"), worst);
    }
}

/// The shape of table 1.5 in numerics.md: n = 512, d = 64, 60 rows.
#[test]
fn tightness_at_512_keys() {
    for family in Family::ALL {
        let case = family.case(small(60, 512, 64), 1);
        let worst = arithmetics(96)
            .map(|arithmetic| ratios(&Model::new(arithmetic), &case, &format!("{family:?}")));
        report(&format!("{family:?}, n 512 d 64"), worst);
    }
}

/// Cuts anywhere, inside tiles too, empty ranges included.
#[test]
fn splits() {
    for family in Family::ALL {
        let mut worst = [[0.0; 4]; 3];
        for seed in 0..300 {
            let rng = &mut Rng(seed ^ 0x0511_7000);
            let kv_len = 1 + rng.below(if seed % 10 == 0 { 200 } else { 20 });
            let case = family.case(small(1, kv_len, 1 + rng.below(8)), seed).with_holes(0.1, seed);
            let splits = 2 + rng.below(4);
            let mut cuts: Vec<usize> = (1..splits).map(|_| rng.below(kv_len + 1)).collect();
            cuts.sort_unstable();
            let tile_k = 1 + rng.below(8);
            for (worst, arithmetic) in worst.iter_mut().zip(arithmetics(tile_k)) {
                let model = Model {
                    cuts: cuts.clone(),
                    steps: Steps::pick(seed),
                    ..Model::new(arithmetic.split(splits))
                };
                raise(worst, ratios(&model, &case, &format!("{family:?}, seed {seed}")));
            }
        }
        report(&format!("{family:?}, splits"), worst);
    }
}

/// Several heads on one key head, several batch entries, v_dim != head_dim.
#[test]
fn grouped_heads_and_batches() {
    let shape =
        Shape { batch: 2, q_len: 3, kv_len: 11, q_heads: 6, kv_heads: 2, head_dim: 5, v_dim: 4 };
    for seed in 0..50 {
        let case = Family::Normal.case(shape, seed).with_holes(0.3, seed);
        for arithmetic in arithmetics(4) {
            ratios(&Model::new(arithmetic), &case, &format!("seed {seed}"));
        }
    }
}

/// `o` in 16 bits, ordinary and near the subnormals of the format.
#[test]
fn stored_outputs() {
    for (format, smallest) in [(Format::F16, 2.0_f32.powi(-24)), (Format::Bf16, 1e-40)] {
        let mut worst = [[0.0; 4]; 3];
        for seed in 0..2_000 {
            let rng = &mut Rng(seed ^ 0x57_04ed);
            let mut case = Family::Normal.case(small(1, 1 + rng.below(12), 1 + rng.below(8)), seed);
            if seed % 2 == 0 {
                case.v.iter_mut().for_each(|v| *v *= 100.0 * smallest);
            }
            for (worst, arithmetic) in worst.iter_mut().zip(arithmetics(1 + rng.below(8))) {
                let model = Model::new(arithmetic.stored_as(format));
                raise(worst, ratios(&model, &case, &format!("{format:?}, seed {seed}")));
            }
        }
        report(&format!("stored as {format:?}"), worst);
        let of_f32 = worst[..2].iter().flatten().copied().fold(0.0, f64::max);
        assert!(of_f32 > 0.99, "{format:?}: half an ulp was never reached, only {of_f32}");
    }
}

fn report(what: &str, worst: [Ratios; 3]) {
    for (arithmetic, [o_gamma, o_running, gamma, running]) in KERNELS.iter().zip(worst) {
        println!(
            "{what:32} {arithmetic:8} gamma / running: o {o_gamma:.3} / {o_running:.3}, \
             with lse {gamma:.3} / {running:.3}"
        );
    }
}
