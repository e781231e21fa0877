//! A search for inputs whose error comes close to the bound: it shows that the bound is nearly attained, and tries,
//! harder than random data can, to break it. (Ten times the steps and eight times the starts reach 0.84, no more.)

use oracle::{Arithmetic, Form, Format, Shape, certify};

use crate::families::{Case, Family, Rng};
use crate::model::Model;

/// One query, four keys, four channels: everything the algorithm does, and little room for errors to cancel.
const SHAPE: Shape =
    Shape { batch: 1, q_len: 1, kv_len: 4, q_heads: 1, kv_heads: 1, head_dim: 4, v_dim: 1 };

/// What the climb maximises, and where it must not arrive above 1.
fn ratio(model: &Model, case: &Case, of_lse: bool) -> f64 {
    case.clone().for_kernel(&model.arithmetic).problem(|problem| {
        let (o, lse) = model.run(problem);
        let verdict = if of_lse {
            certify(problem, &model.arithmetic, Form::Running, &o, Some(&lse))
        } else {
            certify(problem, &model.arithmetic, Form::Running, &o, None)
        };
        assert!(verdict.holds(), "{case:?}\n{model:?}\n{verdict}");
        verdict.worst_ratio
    })
}

/// Changes a few numbers a little or much.
fn mutate(case: &mut Case, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        let array = match rng.below(3) {
            0 => &mut case.q,
            1 => &mut case.k,
            _ => &mut case.v,
        };
        let at = rng.below(array.len());
        let other = array[rng.below(array.len())];
        let x = &mut array[at];
        *x = match rng.below(8) {
            0 => rng.normal() as f32,
            1 => -*x,
            2 => other,
            3 => *x * 2.0_f32.powi(rng.below(3) as i32 - 1),
            // The rest: from a few ulp up to a third, evenly on a logarithmic scale.
            _ => *x * (1.0 + (rng.normal() * (-(rng.below(22) as f64) - 1.5).exp2()) as f32),
        };
        *x = x.clamp(-64.0, 64.0); // the range of ordinary data
    }
}

/// Climbs from several random starts and returns the best ratio.
fn climb(model: &Model, of_lse: bool, starts: u64, steps: usize) -> f64 {
    let mut best_of_all = 0.0_f64;
    for seed in 0..starts {
        let rng = &mut Rng(seed);
        let mut case = Family::Normal.case(SHAPE, seed);
        let mut best = ratio(model, &case, of_lse);
        for _ in 0..steps {
            let mut next = case.clone();
            mutate(&mut next, rng);
            let ratio = ratio(model, &next, of_lse);
            if ratio >= best {
                (best, case) = (ratio, next);
            }
        }
        best_of_all = best_of_all.max(best);
    }
    best_of_all
}

#[test]
fn climbing_nearly_reaches_the_bound() {
    let f32_kernels = [
        Arithmetic::fused(4),
        Arithmetic::fused(2),
        Arithmetic::unfused(4),
        Arithmetic::unfused(2),
    ];
    let bf16_kernels = [4, 2].map(Arithmetic::bf16_products);
    let storing = [
        Arithmetic::fused(4).stored_as(Format::F16),
        Arithmetic::bf16_products(4).stored_as(Format::Bf16),
    ];
    for (kernels, steps, at_least) in [
        (&f32_kernels[..], 20_000, 0.6),
        (&bf16_kernels, 2_000, 0.95), // few roundings are large: they are soon found
        (&storing, 2_000, 0.9),
    ] {
        for &arithmetic in kernels {
            let model = Model::new(arithmetic);
            let o = climb(&model, false, 8, steps);
            let lse = climb(&model, true, 4, steps / 2);
            println!("{arithmetic:?}: o {o:.3}, with lse {lse:.3}");
            assert!(o > at_least, "{arithmetic:?}: only {o}");
        }
    }
}
