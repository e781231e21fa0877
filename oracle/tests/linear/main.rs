//! Linear attention: the recurrence against its definition, and the bound against plain f32 kernels, good and bad ones.

mod case;
mod kernels;

use case::Case;
use kernels::{Defect, Results, chunked, recurrent};
use oracle::Format;
use oracle::linear::{
    Arithmetic, Certificate, Features, Gate, Normaliser, Problem, Rule, certify, definition,
};

/// The largest share of the bounds that errors take; nothing is too far from what is not certified.
fn worst(found: &[f32], exact: &[f64], bounds: &[f64]) -> f64 {
    found.iter().zip(exact).zip(bounds).fold(0.0, |worst: f64, ((found, exact), bound)| {
        let error = (f64::from(*found) - exact).abs();
        assert!(*bound >= 0.0, "{bound} is no bound");
        worst.max(match error {
            _ if *bound == f64::INFINITY => 0.0,
            0.0 => 0.0,
            error if error.is_nan() => f64::INFINITY,
            error => error / bound,
        })
    })
}

/// The same of all that a kernel leaves.
fn worst_of([o, state, z]: &Results, certificate: &Certificate) -> f64 {
    let z_share = worst(z, &certificate.z, &certificate.z_bound);
    worst(o, &certificate.o, &certificate.o_bound)
        .max(worst(state, &certificate.state, &certificate.state_bound))
        .max(z_share)
}

const EXACT: Arithmetic =
    Arithmetic { fused: true, chunk: 1, output: Format::F32, state: Format::F32 };

#[test]
fn the_recurrence_is_the_definition() {
    let mut random = fastrand::Rng::with_seed(1);
    for (gate, rule) in (0..4).flat_map(|gate| (0..4).map(move |rule| (gate, rule))) {
        for size in [[1, 1, 1], [7, 3, 5], [20, 8, 4]] {
            let case = Case::new(&mut random, size, gate, rule);
            let (o, exact) = (certify(&case.problem(), EXACT).o, definition(&case.problem()));
            for (o, exact) in o.iter().zip(&exact) {
                assert!(
                    (o - exact).abs() <= 1e-11 * (1.0 + exact.abs()),
                    "{gate} {rule}: {o} {exact}"
                );
            }
        }
    }
}

/// A kernel's share of its bound: tokens at once, or 1.
fn share(case: &Case, fused: bool, chunk: usize) -> f64 {
    let found =
        if chunk == 1 { recurrent(case, fused, Defect::None) } else { chunked(case, fused, chunk) };
    worst_of(&found, &certify(&case.problem(), Arithmetic { fused, chunk, ..EXACT }))
}

#[test]
fn plain_kernels_stay_within_the_bound_and_near_it() {
    let mut random = fastrand::Rng::with_seed(2);
    for (rule, chunk) in (0..4).flat_map(|rule| [1, 4, 16].map(|chunk| (rule, chunk))) {
        let mut most = 0.0_f64;
        for round in 0..120 {
            let size = [1 + random.usize(..40), 1 + random.usize(..20), 1 + random.usize(..6)];
            let case = Case::new(&mut random, size, round % 4, rule);
            for fused in [true, false] {
                let share = share(&case, fused, chunk);
                assert!(share <= 1.0, "{rule} {fused} {chunk}: {share}");
                most = most.max(share);
            }
        }
        assert!(most > 0.02, "{rule} {chunk}: a bound that nothing comes near: {most}");
    }
}

#[test]
fn features_lengths_and_divisors_stay_within_the_bound_and_near_it() {
    use Features::{EluPlusOne, Exp, Identity, Relu, SquaredRelu};
    let mut random = fastrand::Rng::with_seed(5);
    for (features, chunk) in
        [Identity, EluPlusOne, Relu, SquaredRelu, Exp].into_iter().flat_map(|f| [(f, 1), (f, 8)])
    {
        let mut most = 0.0_f64;
        for round in 0..160 {
            let size = [1 + random.usize(..30), 1 + random.usize(..20), 1 + random.usize(..4)];
            let is_short = round & 1 == 1;
            // Corrections by long keys grow without end.
            let rule = if is_short { random.u8(..4) } else { random.u8(..2) };
            let gate = random.u8(..4);
            let case = Case::new(&mut random, size, gate, rule);
            let is_divided = rule == 0 && round & 2 == 2;
            let case = Case {
                features,
                l2: is_short.then_some(1e-6),
                eps: is_divided.then_some(1e-3),
                state: if is_divided { vec![0.0; case.state.len()] } else { case.state },
                ..case
            };
            let share = share(&case, round & 4 == 4, chunk);
            assert!(share <= 1.0, "{features:?} {chunk} {case:?}: {share}");
            most = most.max(share);
        }
        assert!(most > 0.02, "{features:?} {chunk}: a bound that nothing comes near: {most}");
    }
}

/// Products that leave the range of f32 between numbers that do not.
#[test]
fn what_overflows_or_underflows_on_its_way_is_in_the_bound() {
    let narrow = |rule, q: f32, k: f32, v: f32| Case::narrow(rule, [&[q; 3], &[k; 3], &[v; 3]]);
    let cases = [
        // Scores, of values that are almost nothing: infinity, and nothing at all of large values.
        narrow(0, 3e20, 3e20, 1e-30),
        narrow(0, 1e-20, 1e-25, 1e30),
        narrow(1, 1e-20, 1e-25, 1e30),
        narrow(2, 1e-20, 1e-25, 1e30),
        narrow(3, 1e-22, 1e-23, 1e36),
        // A look at keys that are large, while what is learnt of them is nothing.
        Case { beta: vec![1e-30; 3], ..narrow(2, 1e-10, 2e20, 1e-10) },
        // Differences, factors above 1, features and sums of keys.
        Case { beta: vec![1e-20; 3], state: vec![-3e38], ..narrow(2, 1.0, 1.0, 3e38) },
        Case { gate: 1, gates: vec![70.0; 3], ..narrow(0, 1e-30, 1e-30, 1.0) },
        Case { features: Features::SquaredRelu, ..narrow(0, 1e20, 0.0, 0.0) },
        Case { features: Features::Exp, ..narrow(0, 90.0, -200.0, 1.0) },
        Case { eps: Some(0.0), ..narrow(0, 1e-3, 1.5e38, 1e-10) },
        Case { eps: Some(0.0), ..narrow(0, 1e-25, 1e-25, 1e20) },
        Case { l2: Some(0.0), ..narrow(0, 1e-30, 1e20, 1.0) },
        // Sums of keys that are infinite before a query of 0, by a factor of nothing, or for a while.
        Case { features: Features::SquaredRelu, eps: Some(0.0), ..narrow(0, -1.0, 1e30, 1.0) },
        Case { eps: Some(0.0), gate: 2, gates: vec![100.0, 0.0, 0.0], ..narrow(0, 1.0, 1.0, 1.0) },
        Case {
            eps: Some(0.0),
            gate: 2,
            gates: vec![0.0, 80.0, -90.0],
            ..narrow(0, 1.0, 1e10, 1.0)
        },
    ];
    for (n, case) in cases.into_iter().enumerate() {
        for (chunk, fused) in [(1, true), (1, false), (2, true), (3, false)] {
            let share = share(&case, fused, chunk);
            assert!(share <= 1.0, "{n} {chunk} {fused}: {share}");
        }
    }
}

/// A kernel may look with a key times what is left, at a state that is nothing.
#[test]
fn a_look_that_may_be_infinite_is_not_certified() {
    let (q, k, v) = ([1.0; 3], [1e3; 3], [0.0; 3]);
    let case = Case { gate: 2, gates: vec![0.0, 0.0, 86.0], ..Case::narrow(2, [&q, &k, &v]) };
    let bounds = certify(&case.problem(), EXACT).o_bound;
    assert!(bounds[1].is_finite() && bounds[2] == f64::INFINITY, "{bounds:?}");
}

/// A kernel may let keys grow on their way to a query of 0, with values of nothing.
#[test]
fn a_key_that_grows_beyond_the_range_is_not_certified() {
    let (q, k, v) = ([-1.0; 3], [1e38, 1.0, 1.0], [0.0; 3]);
    let case = Case { gate: 2, gates: vec![0.0, 1.0, 1.0], ..Case::narrow(0, [&q, &k, &v]) };
    let case = Case { features: Features::Relu, ..case };
    let bounds = certify(&case.problem(), Arithmetic { chunk: 3, ..EXACT }).o_bound;
    assert!(bounds[0].is_finite() && bounds[2] == f64::INFINITY, "{bounds:?}");
}

#[test]
fn features_of_nan_are_nan() {
    use Features::{EluPlusOne, Exp, Identity, Relu, SquaredRelu};
    for features in [Identity, EluPlusOne, Relu, SquaredRelu, Exp] {
        let (nan, ones) = ([1.0, f32::NAN, 1.0], [1.0; 3]);
        let case = Case { features, ..Case::narrow(0, [&nan, &ones, &ones]) };
        let certificate = certify(&case.problem(), EXACT);
        let is_certified: Vec<bool> = certificate.o_bound.iter().map(|b| b.is_finite()).collect();
        assert!(certificate.o[1].is_nan(), "{features:?}");
        assert_eq!(is_certified, [true, false, true], "{features:?}");
    }
}

/// As above, by chance: each kind of number has a magnitude of its own.
#[test]
fn any_magnitudes_stay_within_the_bound() {
    let mut random = fastrand::Rng::with_seed(6);
    let mut certified = 0;
    for round in 0..4000_u32 {
        let size = [1 + random.usize(..6), 1 + random.usize(..3), 1 + random.usize(..2)];
        let (gate, rule) = (random.u8(..4), random.u8(..4));
        let mut case = Case::new(&mut random, size, gate, rule);
        let mut scale = |row: &mut Vec<f32>, most: f32| {
            let by = (most * (random.f32() * 2.0 - 1.0)).exp2();
            row.iter_mut().for_each(|x| *x *= by);
        };
        for row in [&mut case.q, &mut case.k, &mut case.v, &mut case.state] {
            scale(row, 100.0);
        }
        for row in [&mut case.a, &mut case.b, &mut case.beta] {
            scale(row, 40.0);
        }
        for chunk in [1, 3] {
            let share = share(&case, round & 8 == 8, chunk);
            assert!(share <= 1.0, "{chunk} {case:?}: {share}");
        }
        let certificate = certify(&case.problem(), Arithmetic { chunk: 3, ..EXACT });
        certified += usize::from(certificate.o_bound.iter().all(|bound| bound.is_finite()));
    }
    assert!(certified > 1000, "of 4000: {certified}");
}

#[test]
fn defects_exceed_the_bound() {
    let mut random = fastrand::Rng::with_seed(3);
    let seeded = [
        (0, Defect::NoDecay),
        (2, Defect::NoDecay),
        (2, Defect::DecayAfter),
        (0, Defect::NoScale),
        (0, Defect::ReadTooEarly),
        (1, Defect::ReadTooLate),
        (3, Defect::NoDecay),
    ];
    for (rule, defect) in seeded {
        let mut caught = 0;
        for round in 0..20 {
            let case = Case::new(&mut random, [12, 8, 4], 1 + round % 3, rule);
            let [o, ..] = recurrent(&case, true, defect);
            let exact = certify(&case.problem(), EXACT);
            caught += usize::from(worst(&o, &exact.o, &exact.o_bound) > 1.0);
        }
        assert!(caught >= 18, "{rule} {defect:?}: {caught} of 20");
    }
}

#[test]
fn a_long_stream_of_corrections_stays_certified() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut case = Case::new(&mut random, [2000, 16, 4], 0, 2);
    case.beta.iter_mut().for_each(|beta| *beta = beta.clamp(0.0, 1.0));
    let problem = Problem { l2: Some(1e-6), ..case.problem() };
    let certificate = certify(&problem, Arithmetic { chunk: 16, ..EXACT });
    let most = certificate.o_bound.iter().fold(0.0, |most: f64, bound| most.max(*bound));
    assert!(most < 1e-2, "{most}");
}

#[test]
fn a_divisor_that_cancels_is_not_certified() {
    let (q, k, v) = ([1.0, 1.0], [1.0, -1.0 + 1e-6], [1.0, 2.0]);
    let zeros = [0.0; 2];
    let problem = Problem {
        d_k: 2,
        d_v: 2,
        q: &q,
        k: &k,
        v: &v,
        gate: Gate::None,
        rule: Rule::Add,
        features: Features::Identity,
        l2: None,
        scale: 1.0,
        state: &[0.0; 4],
        normaliser: Some(Normaliser { eps: 0.0, z: &zeros, z_abs: &zeros }),
    };
    let certificate = certify(&problem, EXACT);
    assert!(certificate.condition[0] > 1e5 && certificate.o_bound[0] > 0.05);
    let problem = Problem { features: Features::EluPlusOne, ..problem };
    let certificate = certify(&problem, EXACT);
    assert!((certificate.condition[0] - 1.0).abs() < 1e-9 && certificate.o_bound[0] < 1e-5);
}
