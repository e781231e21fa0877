//! Rows without keys, NaN, Inf, underflow and overflow.

use oracle::{Arithmetic, Form, Format, Verdict, attend_row, bound_row, certify};

use crate::families::{Case, Family, Rng, small};
use crate::model::{Model, Steps};

const FUSED: Arithmetic = Arithmetic::fused(4);
const BF16: Arithmetic = Arithmetic::bf16_products(4);
const KERNELS: [Arithmetic; 5] = [
    FUSED,
    Arithmetic::unfused(4),
    FUSED.stored_as(Format::F16),
    BF16,
    BF16.stored_as(Format::Bf16),
];

/// The verdict on the model's own output, after `spoil` has changed it.
fn verdict(
    arithmetic: &Arithmetic,
    case: &Case,
    spoil: impl FnOnce(&mut [f32], &mut [f32]),
) -> Verdict {
    case.clone().for_kernel(arithmetic).problem(|problem| {
        let (mut o, mut lse) = Model::new(*arithmetic).run(problem);
        spoil(&mut o, &mut lse);
        certify(problem, arithmetic, Form::Running, &o, Some(&lse))
    })
}

#[test]
fn a_row_without_keys_is_zero_and_minus_infinity_exactly() {
    for kernel in KERNELS {
        let mut case = Family::Normal.case(small(2, 5, 3), 1).with_holes(0.0, 0);
        case.hidden[..5].fill(true); // query 0 sees nothing
        case.problem(|problem| {
            let (row, bound) = bound_row(problem, &kernel, 0, 0, 0);
            assert_eq!((row.o, row.lse), (vec![0.0; 3], f64::NEG_INFINITY));
            assert_eq!((bound.o, bound.lse), (vec![0.0; 3], 0.0));
        });
        assert!(verdict(&kernel, &case, |_, _| {}).holds());
        assert!(!verdict(&kernel, &case, |o, _| o[2] = -0.0).holds());
        assert!(!verdict(&kernel, &case, |o, _| o[2] = 1e-45).holds());
        assert!(!verdict(&kernel, &case, |o, _| o[2] = f32::NAN).holds());
        assert!(!verdict(&kernel, &case, |_, lse| lse[0] = f32::MIN).holds());
        assert!(!verdict(&kernel, &case, |_, lse| lse[0] = f32::NAN).holds());
        assert!(!verdict(&kernel, &case, |_, lse| lse[0] = f32::INFINITY).holds());
    }
}

#[test]
fn no_keys_at_all() {
    for kernel in KERNELS {
        let case = Family::Normal.case(small(3, 0, 2), 1);
        let verdict = verdict(&kernel, &case, |_, _| {});
        assert!(verdict.holds() && verdict.elements == 9 && verdict.uncertified == 0, "{verdict}");
    }
}

#[test]
fn hidden_keys_may_hold_anything() {
    for kernel in KERNELS {
        let clean = Family::Normal.case(small(1, 6, 2), 3).with_holes(0.5, 3).for_kernel(&kernel);
        let mut poisoned = clean.clone();
        for (j, _) in clean.hidden.iter().enumerate().filter(|(_, hidden)| **hidden) {
            poisoned.k[2 * j..][..2].copy_from_slice(&[f32::NAN, 0.1]); // 0.1 is no bf16 either
            poisoned.v[2 * j..][..2].fill(f32::INFINITY);
        }
        let row = |case: &Case| case.problem(|problem| bound_row(problem, &kernel, 0, 0, 0));
        assert_eq!(row(&clean), row(&poisoned));
        assert!(clean.hidden.contains(&true) && row(&clean).0.o[0] != 0.0);
        let verdict = verdict(&kernel, &poisoned, |_, _| {});
        assert!(verdict.holds() && verdict.uncertified == 0, "{verdict}");
    }
}

#[test]
fn nan_must_come_out_where_it_goes_in() {
    for kernel in KERNELS {
        let clean = Family::Normal.case(small(1, 6, 3), 1);

        let mut case = clean.clone();
        case.v[7] = f32::NAN; // key 2, channel 1
        let of_v = verdict(&kernel, &case, |o, _| assert!(o[1].is_nan() && o[0].is_finite()));
        assert!(of_v.holds() && of_v.uncertified == 0, "{of_v}");
        assert_eq!(verdict(&kernel, &case, |o, _| o[1] = 0.5).worst_ratio, f64::INFINITY);
        assert_eq!(verdict(&kernel, &case, |o, _| o[0] = f32::NAN).worst_ratio, f64::INFINITY);

        let spoils: [fn(&mut Case); 3] = [
            |case| case.q[0] = f32::NAN,
            |case| case.k[4] = f32::NAN,
            |case| (case.q[0], case.k[3]) = (1.0, f32::INFINITY), // a score of +inf
        ];
        for spoil in spoils {
            let mut case = clean.clone();
            spoil(&mut case);
            let whole_row = verdict(&kernel, &case, |o, lse| {
                assert!(o.iter().chain(&*lse).all(|x| x.is_nan()))
            });
            assert!(whole_row.holds() && whole_row.uncertified == 0, "{whole_row}");
            assert!(!verdict(&kernel, &case, |o, _| o[2] = 0.0).holds());
            assert!(!verdict(&kernel, &case, |_, lse| lse[0] = 0.0).holds());
        }
    }
}

#[test]
fn infinite_values_come_out_infinite_or_nan() {
    for kernel in KERNELS {
        let mut case = Family::Flushed.case(small(1, 10, 3), 1);
        case.v[0] = f32::NEG_INFINITY; // key 0, whose weight the kernel flushes: 0 * inf
        assert_eq!(case.problem(|problem| attend_row(problem, 0, 0, 0)).o[0], f64::NEG_INFINITY);
        assert!(verdict(&kernel, &case, |_, _| {}).holds());
        assert!(verdict(&kernel, &case, |o, _| o[0] = f32::NEG_INFINITY).holds());
        assert!(verdict(&kernel, &case, |o, _| o[0] = f32::NAN).holds());
        assert!(!verdict(&kernel, &case, |o, _| o[0] = f32::INFINITY).holds());
        assert!(!verdict(&kernel, &case, |o, _| o[0] = f32::MIN).holds());
    }
}

#[test]
fn scores_that_may_overflow_are_uncertified() {
    let (f32_kernels, bf16_kernels) = KERNELS.split_at(3);
    for (scale, q, k, kernels) in [
        (4.0, 1e25, 1e25, &KERNELS[..]),
        (4.0, 1e20, f32::NEG_INFINITY, &KERNELS),
        (4.0, 3e38, 2e-38, f32_kernels), // c q; nobody computes it if c comes last
        (1e-38, 1e20, 1e20, bf16_kernels), // <q, k>; nobody computes it if c comes first
    ] {
        let mut case = Family::Normal.case(small(1, 6, 3), 1);
        case.scale = scale;
        case.q.fill(q);
        case.k.fill(0.0);
        case.k[3..6].fill(k);
        for kernel in KERNELS {
            let verdict = verdict(&kernel, &case, |_, _| {});
            let expected = if kernels.contains(&kernel) { verdict.elements } else { 0 };
            assert_eq!(verdict.uncertified, expected, "q {q:e}, k {k:e}: {verdict}");
            assert!(verdict.holds(), "q {q:e}, k {k:e}: {verdict}");
        }
    }
}

/// Every key but the last weighs about 2^-90 in the end. While the maximum is low they weigh 1, and their sum
/// overflows: small final weights do not protect the accumulator.
#[test]
fn values_that_may_overflow_on_the_way_are_uncertified() {
    for kernel in KERNELS {
        let mut case = Family::Normal.case(small(1, 9, 1), 1);
        case.q.fill(1.0);
        case.k = [vec![0.0; 8], vec![62.0]].concat();
        case.v = [vec![1e38; 8], vec![1.0]].concat();
        assert!(case.problem(|problem| attend_row(problem, 0, 0, 0)).o[0] < 1e13);
        let overflown = verdict(&kernel, &case, |o, _| assert_eq!(o[0], f32::INFINITY));
        assert_eq!((overflown.uncertified, overflown.elements), (1, 2), "{overflown}");

        case.v = [vec![1e37; 8], vec![1.0]].concat();
        let large = verdict(&kernel, &case, |_, _| {});
        let too_large_for_f16 = usize::from(kernel.output == Format::F16);
        assert!(large.holds() && large.uncertified == too_large_for_f16, "{large}");
    }
}

#[test]
fn outputs_that_f16_may_not_hold_are_uncertified() {
    let kernel = FUSED.stored_as(Format::F16);
    let mut case = Family::Normal.case(small(1, 6, 1), 1);
    for (v, expected, uncertified) in
        [(65_519.0, 65_504.0, 0), (65_521.0, f32::INFINITY, 1), (-1e9, f32::NEG_INFINITY, 1)]
    {
        case.v.fill(v);
        let verdict = verdict(&kernel, &case, |o, _| assert_eq!(o[0], expected));
        assert!(verdict.holds() && verdict.uncertified == uncertified, "{v}: {verdict}");
    }
}

#[test]
#[should_panic(expected = "q, k and v must be bf16 numbers")]
fn numbers_that_are_not_bf16_have_no_bf16_products() {
    let case = Family::Normal.case(small(1, 6, 1), 1);
    case.problem(|problem| bound_row(problem, &BF16, 0, 0, 0));
}

/// Subnormal scale, q, k, V, products of large and small, and products of two small ones that only the scale makes
/// visible: the absolute terms of the bound.
#[test]
fn underflow_is_inside_the_bound() {
    let (mut elements, mut uncertified) = (0, 0);
    let (f32_kernels, bf16_kernels) = KERNELS.split_at(3);
    for seed in 0..4_000 {
        let rng = &mut Rng(seed);
        let mut case = Family::Normal.case(small(1, 1 + rng.below(6), 1 + rng.below(4)), seed);
        let ([scale, q, k], kernels) = match seed % 4 {
            // c_hat is subnormal, and a score that shows it needs a <q, k> beyond f32,
            0 => {
                let scale = -130 - rng.below(19) as i32;
                ([scale, -scale / 2, -scale / 2], f32_kernels)
            }
            // or the largest that f32 holds, and the lse of a single key,
            1 => ([-130 - rng.below(19) as i32, 62, 62], bf16_kernels),
            // q', or q itself in bf16, is subnormal,
            2 => ([0, -130 - rng.below(19) as i32, 124], &KERNELS[..]),
            // <q, k> is near 2^-126.
            _ => {
                let q = -40 - rng.below(40) as i32;
                ([122, q, -125 - q + rng.below(6) as i32], &KERNELS[..])
            }
        };
        let v = -(rng.below(150) as i32);
        case.scale = f64::from(scale).exp2();
        for (array, power) in [(&mut case.q, q), (&mut case.k, k), (&mut case.v, v)] {
            let power = f64::from(power).exp2();
            array.iter_mut().for_each(|x| *x = (f64::from(*x) * power) as f32);
        }
        for kernel in kernels {
            case.clone().for_kernel(kernel).problem(|problem| {
                let model = Model { steps: Steps::pick(seed / 4), ..Model::new(*kernel) };
                let (o, lse) = model.run(problem);
                for form in [Form::Gamma, Form::Running] {
                    let verdict = certify(problem, kernel, form, &o, Some(&lse));
                    assert!(verdict.holds(), "seed {seed}\n{model:?}\n{verdict}");
                    elements += verdict.elements;
                    uncertified += verdict.uncertified;
                }
            });
        }
    }
    // A scale of 2^-149 has one bit left: its error may be as large as the scores.
    println!("{uncertified} of {elements} uncertified");
    assert!(20 * uncertified < elements, "{uncertified} of {elements} uncertified");
}
