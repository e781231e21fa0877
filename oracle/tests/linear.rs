//! Linear attention: the recurrence against its definition, and the bound against plain f32 kernels, good and bad ones.

use oracle::Format;
use oracle::linear::{Arithmetic, Features, Gate, Normaliser, Problem, Rule, certify, definition};

/// Everything that a problem borrows.
struct Case {
    d_k: usize,
    d_v: usize,
    n: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    gates: Vec<f32>,
    beta: Vec<f32>,
    bonus: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
    state: Vec<f32>,
    gate: u8,
    rule: u8,
}

impl Case {
    fn new(random: &mut fastrand::Rng, [n, d_k, d_v]: [usize; 3], gate: u8, rule: u8) -> Self {
        let strength = [0.05, 1.0, 5.0, 60.0][random.usize(..4)];
        let mut row = |len: usize, scale: f32| -> Vec<f32> {
            (0..len).map(|_| (random.f32() * 2.0 - 1.0) * scale).collect()
        };
        let gates = row(n * d_k, 1.0);
        let unit = 1.0 / (d_k as f32).sqrt();
        Case {
            q: row(n * d_k, 1.0),
            k: row(n * d_k, 1.5 * unit),
            v: row(n * d_v, 2.0),
            beta: row(n, 0.5).iter().map(|x| x + 0.5).collect(),
            bonus: row(d_k, 1.0),
            a: row(n * d_k, unit),
            b: row(n * d_k, unit),
            state: row(d_k * d_v, 1.0),
            gates: gates
                .iter()
                .map(|x| if *x > 0.97 { f32::NEG_INFINITY } else { (x - 1.0) * strength })
                .collect(),
            d_k,
            d_v,
            n,
            gate,
            rule,
        }
    }

    fn problem(&self) -> Problem<'_> {
        Problem {
            d_k: self.d_k,
            d_v: self.d_v,
            q: &self.q,
            k: &self.k,
            v: &self.v,
            gate: match self.gate {
                0 => Gate::None,
                1 => Gate::Head(self.gates[0]),
                2 => Gate::Token(&self.gates[..self.n]),
                _ => Gate::Channel(&self.gates),
            },
            rule: match self.rule {
                0 => Rule::Add,
                1 => Rule::Bonus(&self.bonus),
                2 => Rule::Delta(&self.beta),
                _ => Rule::LowRank { a: &self.a, b: &self.b },
            },
            features: Features::Identity,
            l2: None,
            scale: 0.25,
            state: &self.state,
            normaliser: None,
        }
    }

    fn factor(&self, i: usize, c: usize) -> f32 {
        match self.gate {
            0 => 1.0,
            1 => self.gates[0].exp(),
            2 => self.gates[i].exp(),
            _ => self.gates[i * self.d_k + c].exp(),
        }
    }
}

/// What a kernel does wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Defect {
    None,
    NoDecay,
    DecayAfter,
    NoScale,
    ReadTooEarly,
    ReadTooLate,
}

/// One token after the other, in f32.
fn recurrent(case: &Case, fused: bool, defect: Defect) -> (Vec<f32>, Vec<f32>) {
    let fma = |a: f32, b: f32, c: f32| if fused { a.mul_add(b, c) } else { a * b + c };
    let (d_k, d_v) = (case.d_k, case.d_v);
    let (mut s, mut o) = (case.state.clone(), Vec::new());
    let scale = if defect == Defect::NoScale { 1.0 } else { 0.25 };
    for i in 0..case.n {
        let row = |x: &[f32]| x[i * d_k..(i + 1) * d_k].to_vec();
        let (q, k) = (row(&case.q).iter().map(|q| q * scale).collect::<Vec<_>>(), row(&case.k));
        let before = s.clone();
        let decays = defect != Defect::NoDecay;
        for c in 0..d_k {
            let a = if decays { case.factor(i, c) } else { 1.0 };
            s[c * d_v..(c + 1) * d_v].iter_mut().for_each(|s| *s *= a);
        }
        let own: f32 = q.iter().zip(&k).zip(&case.bonus).map(|((q, k), u)| q * (u * k)).sum();
        for j in 0..d_v {
            let of =
                |x: &[f32], s: &[f32]| (0..d_k).fold(0.0, |sum, c| fma(x[c], s[c * d_v + j], sum));
            let v = case.v[i * d_v + j];
            let looked = if defect == Defect::DecayAfter { of(&k, &before) } else { of(&k, &s) };
            let w = if case.rule == 2 { case.beta[i] * (v - looked) } else { v };
            let p = of(&row(&case.a), &before);
            for (c, (k, b)) in k.iter().zip(row(&case.b)).enumerate() {
                let at = c * d_v + j;
                if case.rule == 3 {
                    s[at] = fma(b, p, s[at]);
                }
                s[at] = fma(*k, w, s[at]);
            }
            let early =
                (case.rule == 1) != matches!(defect, Defect::ReadTooEarly | Defect::ReadTooLate);
            let mut read = if early { of(&q, &before) } else { of(&q, &s) };
            if case.rule == 1 {
                read = fma(own, v, read);
            }
            o.push(read);
        }
    }
    (o, s)
}

/// The largest share of the bounds that errors take.
fn worst(found: &[f32], exact: &[f64], bounds: &[f64]) -> f64 {
    found.iter().zip(exact).zip(bounds).fold(0.0, |worst: f64, ((found, exact), bound)| {
        let error = (f64::from(*found) - exact).abs();
        worst.max(if error == 0.0 { 0.0 } else { error / bound })
    })
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

#[test]
fn a_plain_recurrence_stays_within_the_bound_and_near_it() {
    let mut random = fastrand::Rng::with_seed(2);
    for rule in 0..4 {
        let mut most = 0.0_f64;
        for round in 0..120 {
            let size = [1 + random.usize(..40), 1 + random.usize(..20), 1 + random.usize(..6)];
            let case = Case::new(&mut random, size, round % 4, rule);
            for fused in [true, false] {
                let (o, s) = recurrent(&case, fused, Defect::None);
                let exact = certify(&case.problem(), Arithmetic { fused, ..EXACT });
                let share = worst(&o, &exact.o, &exact.o_bound);
                let of_state = worst(&s, &exact.state, &exact.state_bound);
                assert!(share <= 1.0 && of_state <= 1.0, "{rule} {fused}: {share} {of_state}");
                most = most.max(share).max(of_state);
            }
        }
        assert!(most > 0.02, "rule {rule}: a bound that nothing comes near: {most}");
    }
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
            let (o, _) = recurrent(&case, true, defect);
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
