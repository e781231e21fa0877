//! Rows without keys, NaN, Inf, underflow and overflow.

use oracle::{Arithmetic, Form, Verdict, attend_row, bound_row, certify};

use crate::families::{Case, Family, Rng, small};
use crate::model::Model;

const FUSED: Arithmetic = Arithmetic::fused(4);

/// The verdict on the model's own output, after `spoil` has changed it.
fn verdict(case: &Case, spoil: impl FnOnce(&mut [f32], &mut [f32])) -> Verdict {
    case.problem(|problem| {
        let (mut o, mut lse) = Model::new(FUSED).run(problem);
        spoil(&mut o, &mut lse);
        certify(problem, &FUSED, Form::Running, &o, Some(&lse))
    })
}

#[test]
fn a_row_without_keys_is_zero_and_minus_infinity_exactly() {
    let mut case = Family::Normal.case(small(2, 5, 3), 1).with_holes(0.0, 0);
    case.hidden[..5].fill(true); // query 0 sees nothing
    case.problem(|problem| {
        let (row, bound) = bound_row(problem, &FUSED, 0, 0, 0);
        assert_eq!((row.o, row.lse), (vec![0.0; 3], f64::NEG_INFINITY));
        assert_eq!((bound.o, bound.lse), (vec![0.0; 3], 0.0));
    });
    assert!(verdict(&case, |_, _| {}).holds());
    assert!(!verdict(&case, |o, _| o[2] = -0.0).holds());
    assert!(!verdict(&case, |o, _| o[2] = 1e-45).holds());
    assert!(!verdict(&case, |o, _| o[2] = f32::NAN).holds());
    assert!(!verdict(&case, |_, lse| lse[0] = f32::MIN).holds());
    assert!(!verdict(&case, |_, lse| lse[0] = f32::NAN).holds());
    assert!(!verdict(&case, |_, lse| lse[0] = f32::INFINITY).holds());
}

#[test]
fn no_keys_at_all() {
    let case = Family::Normal.case(small(3, 0, 2), 1);
    let verdict = verdict(&case, |_, _| {});
    assert!(verdict.holds() && verdict.elements == 9 && verdict.uncertified == 0, "{verdict}");
}

#[test]
fn hidden_keys_may_hold_anything() {
    let clean = Family::Normal.case(small(1, 6, 2), 3).with_holes(0.5, 3);
    let mut poisoned = clean.clone();
    for (j, hidden) in clean.hidden.iter().enumerate() {
        if *hidden {
            poisoned.k[2 * j..][..2].fill(f32::NAN);
            poisoned.v[2 * j..][..2].fill(f32::INFINITY);
        }
    }
    let row = |case: &Case| case.problem(|problem| bound_row(problem, &FUSED, 0, 0, 0));
    assert_eq!(row(&clean), row(&poisoned));
    assert!(clean.hidden.contains(&true) && row(&clean).0.o[0] != 0.0);
}

#[test]
fn nan_must_come_out_where_it_goes_in() {
    let clean = Family::Normal.case(small(1, 6, 3), 1);

    let mut case = clean.clone();
    case.v[7] = f32::NAN; // key 2, channel 1
    let of_v = verdict(&case, |o, _| assert!(o[1].is_nan() && o[0].is_finite()));
    assert!(of_v.holds() && of_v.uncertified == 0, "{of_v}");
    assert_eq!(verdict(&case, |o, _| o[1] = 0.5).worst_ratio, f64::INFINITY);
    assert_eq!(verdict(&case, |o, _| o[0] = f32::NAN).worst_ratio, f64::INFINITY);

    let spoils: [fn(&mut Case); 3] = [
        |case| case.q[0] = f32::NAN,
        |case| case.k[4] = f32::NAN,
        |case| (case.q[0], case.k[3]) = (1.0, f32::INFINITY), // a score of +inf
    ];
    for spoil in spoils {
        let mut case = clean.clone();
        spoil(&mut case);
        let whole_row = verdict(&case, |o, lse| assert!(o.iter().chain(&*lse).all(|x| x.is_nan())));
        assert!(whole_row.holds() && whole_row.uncertified == 0, "{whole_row}");
        assert!(!verdict(&case, |o, _| o[2] = 0.0).holds());
        assert!(!verdict(&case, |_, lse| lse[0] = 0.0).holds());
    }
}

#[test]
fn infinite_values_come_out_infinite_or_nan() {
    let mut case = Family::Flushed.case(small(1, 10, 3), 1);
    case.v[0] = f32::NEG_INFINITY; // key 0, whose weight the kernel flushes: 0 * inf
    assert_eq!(case.problem(|problem| attend_row(problem, 0, 0, 0)).o[0], f64::NEG_INFINITY);
    assert!(verdict(&case, |_, _| {}).holds());
    assert!(verdict(&case, |o, _| o[0] = f32::NEG_INFINITY).holds());
    assert!(verdict(&case, |o, _| o[0] = f32::NAN).holds());
    assert!(!verdict(&case, |o, _| o[0] = f32::INFINITY).holds());
    assert!(!verdict(&case, |o, _| o[0] = f32::MIN).holds());
}

#[test]
fn scores_that_may_overflow_are_uncertified() {
    for (q, k) in [(1e25, 1e25), (f32::MAX, 1e-30), (1e20, f32::NEG_INFINITY)] {
        let mut case = Family::Normal.case(small(1, 6, 3), 1);
        case.scale = 4.0;
        case.q.fill(q);
        case.k[3..6].fill(k);
        let verdict = verdict(&case, |_, _| {});
        assert_eq!(verdict.uncertified, verdict.elements, "q {q:e}, k {k:e}: {verdict}");
    }
}

/// Every key but the last weighs about 2^-90 in the end. While the maximum is low they weigh 1, and their sum
/// overflows: small final weights do not protect the accumulator.
#[test]
fn values_that_may_overflow_on_the_way_are_uncertified() {
    let mut case = Family::Normal.case(small(1, 9, 1), 1);
    case.q.fill(1.0);
    case.k = [vec![0.0; 8], vec![62.0]].concat();
    case.v = [vec![1e38; 8], vec![1.0]].concat();
    assert!(case.problem(|problem| attend_row(problem, 0, 0, 0)).o[0] < 1e13);
    let overflown = verdict(&case, |o, _| assert_eq!(o[0], f32::INFINITY));
    assert_eq!((overflown.uncertified, overflown.elements), (1, 2), "{overflown}");

    case.v = [vec![1e37; 8], vec![1.0]].concat();
    let large = verdict(&case, |_, _| {});
    assert!(large.holds() && large.uncertified == 0, "{large}");
}

/// Subnormal scale, q, k, V, and products of large and small: the absolute terms of the bound.
#[test]
fn underflow_is_inside_the_bound() {
    let (mut elements, mut uncertified) = (0, 0);
    for seed in 0..4_000 {
        let rng = &mut Rng(seed);
        let mut case = Family::Normal.case(small(1, 1 + rng.below(6), 1 + rng.below(4)), seed);
        let mut powers = [0; 3].map(|_| rng.below(100) as i32 - 50);
        if seed % 2 == 0 {
            powers[0] = -130 - rng.below(19) as i32; // c_hat is subnormal
            powers[1] = -powers[0] / 2;
            powers[2] = -powers[0] / 2;
        } else {
            powers[1] = -130 - rng.below(19) as i32; // q' is subnormal
            powers[0] = 0;
            powers[2] = 124;
        }
        let v_power = -(rng.below(150) as i32);
        case.scale = f64::from(powers[0]).exp2();
        case.q.iter_mut().for_each(|q| *q = (f64::from(*q) * f64::from(powers[1]).exp2()) as f32);
        case.k.iter_mut().for_each(|k| *k = (f64::from(*k) * f64::from(powers[2]).exp2()) as f32);
        case.v.iter_mut().for_each(|v| *v = (f64::from(*v) * f64::from(v_power).exp2()) as f32);
        for arithmetic in [Arithmetic::fused(4), Arithmetic::unfused(4)] {
            case.problem(|problem| {
                let (o, lse) = Model::new(arithmetic).run(problem);
                for form in [Form::Gamma, Form::Running] {
                    let verdict = certify(problem, &arithmetic, form, &o, Some(&lse));
                    assert!(verdict.holds(), "seed {seed}\n{verdict}");
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
