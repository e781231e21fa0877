//! Caps and biases of scores: certified by their formulas, in their order.

use crate::case::{Case, Output, Rule, arithmetic_of, entries_for, shape};
use crate::certified::rules;
use flashlet::entry::Entry;
use flashlet::math::TANH_ULPS;
use flashlet::simd::{ROUND, Simd};
use flashlet::{
    Alibi, At, Attention, Bias, Error, Heads, Mask, Modifier, Natural, Offset, Shape, Softcap,
    Temperature, Tensor,
};
use oracle::{Form, Modified, Pair, Problem};

const U: f64 = 1.0 / 16_777_216.0;

/// A modifier by its formula: of the query's position and that minus the key's, the query head and the score.
type Formula = Box<dyn Fn((i64, i64), usize, f64) -> Modified>;

fn cap(cap: f64) -> Formula {
    Box::new(move |_, _, score| {
        let s = cap * (score / cap).tanh();
        // Two products and two constants, rounded, and tanh itself, whose ulps are two roundings each.
        Modified { s, slope: 1.0, error: (2.0 * TANH_ULPS + 5.0) * U * s.abs() }
    })
}

fn alibi(slopes: Vec<f32>) -> Formula {
    Box::new(move |(_, distance), h, score| {
        let bias = -f64::from(slopes[h]) * distance.abs() as f64;
        let s = score + bias;
        Modified { s, slope: 1.0, error: 4.0 * U * bias.abs() + 2.0 * U * s.abs() }
    })
}

/// One after the other.
fn both(first: Formula, second: Formula) -> Formula {
    Box::new(move |at, h, score| {
        let one = first(at, h, score);
        let two = second(at, h, one.s);
        let slope = one.slope * two.slope;
        Modified { s: two.s, slope, error: two.slope * one.error + two.error * (1.0 + 2.0 * U) }
    })
}

/// A user's own: keys that are far count less, in units of the formula.
struct Far;

impl Modifier for Far {
    fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32 {
        let near = simd.lt(at.distance, simd.splat(7.0));
        simd.select(near, score, simd.sub(simd.mul(score, simd.splat(0.5)), simd.splat(2.0)))
    }
    fn needs_positions(&self) -> bool {
        true
    }
}

impl Bias for Far {}

fn far() -> Formula {
    Box::new(|(_, distance), _, score| {
        let (s, slope) = if distance < 7 { (score, 1.0) } else { (0.5 * score - 2.0, 0.5) };
        Modified { s, slope, error: 6.0 * U * (score.abs() + s.abs()) }
    })
}

/// Llama 4's, by its own words.
fn temperature(step: i64, scale: f64) -> Formula {
    Box::new(move |(position, _), _, score| {
        let passed = (position + 1).max(0) / step;
        let factor = 1.0 + scale * (1.0 + passed as f64).ln();
        let s = score * factor;
        // The factor and the product, rounded.
        Modified { s, slope: factor.abs(), error: 3.0 * U * s.abs() }
    })
}

/// A user's own of the query's position: odd ones see scores doubled.
struct Odd;

impl Modifier for Odd {
    fn modify<S: Simd>(&self, simd: S, score: S::F32, at: At<S::F32>) -> S::F32 {
        let half = simd.mul(at.position, simd.splat(0.5));
        let whole = simd.sub(simd.add(half, simd.splat(ROUND)), simd.splat(ROUND));
        simd.select(simd.eq(half, whole), score, simd.add(score, score))
    }
    fn needs_positions(&self) -> bool {
        true
    }
}

fn odd() -> Formula {
    Box::new(|(position, _), _, score| {
        let factor = if position % 2 == 0 { 1.0 } else { 2.0 };
        Modified { s: factor * score, slope: factor, error: 0.0 }
    })
}

fn slopes(heads: usize) -> Vec<f32> {
    let mut slopes = vec![0.0; heads];
    Alibi::slopes(&mut slopes);
    slopes
}

fn assert_certified(case: &Case, entry: &Entry, formula: &Formula, output: &Output, what: &str) {
    let q_len = case.shape.q_len as i64;
    let offset = |b: usize| case.rule.offset.unwrap_or(case.visible_len(b) as i64 - q_len);
    let visible = |Pair { b, i, j }: Pair| case.sees(b, i, j);
    let modify = |Pair { b, i, j }: Pair, h: usize, s: f64| {
        let position = i as i64 + offset(b);
        formula((position, position - j as i64), h, s)
    };
    let problem = Problem { modify: Some(&modify), ..case.problem(&visible) };
    let arithmetic = arithmetic_of(entry);
    let verdict =
        oracle::certify(&problem, &arithmetic, Form::Running, &output.o, Some(&output.lse));
    let name = entry.name();
    assert!(
        verdict.holds() && verdict.uncertified == 0,
        "{what} on {name} {:?}: {verdict}",
        case.rule
    );
}

/// Runs a modifier on every entry, judges it, and compares the bits.
fn check(case: &Case, what: &str, modifier: &impl Modifier, formula: &Formula) {
    let mut same: [Option<Output>; 2] = [None, None];
    for entry in entries_for(case.shape.heads) {
        let output = case.run(&case.plan_of(entry).modify(modifier).unwrap());
        assert_certified(case, &entry, formula, &output, what);
        let same = &mut same[usize::from(entry.level().is_fused())];
        output.assert_same(same.get_or_insert_with(|| output.clone()), entry.name());
    }
}

#[test]
fn every_modifier_is_certified_on_every_entry_under_every_mask() {
    let heads = Heads { q: 6, kv: 2, dim: 8, v_dim: 6 };
    let slopes = slopes(6);
    for (seed, kv_len) in (1..).zip([1, 17, 96, 131]) {
        for q_len in [1, 3, 9, 70] {
            for rule in rules(q_len, kv_len) {
                let case = Case::random(shape(q_len, kv_len, heads), rule, seed);
                let case = Case { q: case.q.iter().map(|q| 4.0 * q).collect(), ..case };
                check(&case, "cap of 5", &Softcap::new(5.0).unwrap(), &cap(5.0));
                check(&case, "cap of 50", &Softcap::new(50.0).unwrap(), &cap(50.0));
                check(&case, "alibi", &Alibi::new(&slopes), &alibi(slopes.clone()));
                let capped = Softcap::new(5.0).unwrap().then(Alibi::new(&slopes));
                check(&case, "capped", &capped, &both(cap(5.0), alibi(slopes.clone())));
                check(&case, "own", &Natural(Far), &far());
                check(&case, "odd", &Odd, &odd());
                let hot = Temperature::new(7, 0.3).unwrap();
                check(&case, "temperature", &hot, &temperature(7, 0.3));
                let all = both(temperature(7, 0.3), both(cap(5.0), alibi(slopes.clone())));
                check(&case, "all", &hot.then(capped), &all);
            }
        }
    }
}

#[test]
fn modifiers_and_sinks_and_batches_meet() {
    let heads = Heads { q: 4, kv: 4, dim: 64, v_dim: 64 };
    let shape = Shape { batch: 2, q_len: 33, kv_len: 140, heads };
    let rule = Rule { offset: None, causal: true, ..Rule::default() };
    let mut case = Case::random(shape, rule, 7);
    case.kv_lens = Some(vec![140, 61]);
    case.sinks = vec![0.5, -2.0, 3.0, 0.0];
    let slopes = slopes(4);
    let capped = Softcap::new(20.0).unwrap().then(Alibi::new(&slopes));
    check(&case, "capped with sinks", &capped, &both(cap(20.0), alibi(slopes.clone())));
}

#[test]
fn a_key_that_is_not_seen_changes_no_bit_whatever_its_score_becomes() {
    let heads = Heads { q: 2, kv: 1, dim: 8, v_dim: 8 };
    let case = Case::random(shape(50, 120, heads), Rule::causal(70), 8);
    let slopes = slopes(2);
    let modifier = Softcap::new(3.0).unwrap().then(Alibi::new(&slopes));
    for entry in entries_for(heads) {
        let plan = case.plan_of(entry).modify(&modifier).unwrap();
        let clean = case.run(&plan);
        let mut poisoned = case.clone();
        poisoned.k[100 * 8..].fill(f32::NAN);
        poisoned.v[100 * 8..].fill(f32::INFINITY);
        let output = poisoned.run(&plan);
        let rows = 30 * 16;
        for (a, b) in output.o[..rows].iter().zip(&clean.o) {
            assert_eq!(a.to_bits(), b.to_bits(), "{}", entry.name());
        }
    }
}

#[test]
fn slopes_are_those_of_the_paper_for_any_number_of_heads() {
    let log2 = |heads: usize| slopes(heads).iter().map(|slope| slope.log2()).collect::<Vec<f32>>();
    assert_eq!(log2(6), [-2.0, -4.0, -6.0, -8.0, -1.0, -3.0]);
    let twelve = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -0.5, -1.5, -2.5, -3.5];
    assert!(log2(12).iter().zip(twelve).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", log2(12));
    assert_eq!(log2(8), [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0]);
    assert_eq!(slopes(1), [1.0 / 256.0]);
    assert!(slopes(0).is_empty());
}

#[test]
fn wrong_modifiers_are_refused() {
    for cap in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e60, 1e-60] {
        let refused = Softcap::new(cap).unwrap_err();
        assert_eq!(refused, Error::Cap { cap_bits: cap.to_bits() }, "{refused}");
    }
    let plan = Attention::new(shape(2, 2, Heads::new(4, 2, 8)), Mask::full()).unwrap();
    assert_eq!(plan.modify(&Alibi::new(&[1.0; 4])).err(), Some(Error::Offset));
    let plan =
        Attention::new(shape(2, 2, Heads::new(4, 2, 8)), Mask::at(Offset::TOP_LEFT)).unwrap();
    let refused = Error::Length { tensor: Tensor::Slopes, needed: 4, given: 3 };
    assert_eq!(plan.modify(&Alibi::new(&[1.0; 3])).err(), Some(refused));
    assert!(plan.modify(&Alibi::new(&[1.0; 4])).is_ok());
}

#[test]
fn a_temperature_is_that_of_llama_4() {
    // log(floor((p + 1) / 8192) + 1) * 0.1 + 1, as transformers' Llama4TextAttention has it.
    let temperature = Temperature::new(8192, 0.1).unwrap();
    for (position, factor) in [
        (i64::MIN, 1.0),
        (-5, 1.0),
        (0, 1.0),
        (8190, 1.0),
        (8191, 1.069_314_7),
        (131_071, 1.283_321_4),
    ] {
        assert_eq!(temperature.at(position), factor, "{position}");
    }
    assert!(temperature.at(i64::MAX) > 1.0);
    let refused = |step, scale: f64| Error::Temperature { step, scale_bits: scale.to_bits() };
    assert_eq!(Temperature::new(0, 0.1).err(), Some(refused(0, 0.1)));
    for scale in [f64::INFINITY, f64::NAN, 1e38, -1e38] {
        assert_eq!(Temperature::new(1, scale).err(), Some(refused(1, scale)));
    }
    assert!(Temperature::new(1, 1e36).unwrap().at(i64::MAX).is_finite());
    let plan = Attention::new(shape(1, 1, Heads::new(1, 1, 8)), Mask::full()).unwrap();
    assert_eq!(plan.modify(&temperature).err(), Some(Error::Offset));
}

#[test]
fn caps_that_f32_cannot_hold_are_refused() {
    // The last but one are normal numbers, but one over them is none.
    for cap in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-39, 1e38, 2e38, 1e39] {
        let error = Error::Cap { cap_bits: cap.to_bits() };
        assert_eq!(Softcap::new(cap).err(), Some(error), "{cap}");
    }
    assert!([1e-37, 50.0, 5e37].into_iter().all(|cap| Softcap::new(cap).is_ok()));
}
