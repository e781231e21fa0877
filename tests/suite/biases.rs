//! Biases that are looked up: certified, and -inf hides.

use crate::case::{Case, Output, Rule, arithmetic_of, entries_for, normal, shape};
use crate::certified::rules;
use flashlet::entry::Entry;
use flashlet::math::TANH_ULPS;
use flashlet::{
    AnyView, Attention, BiasTensor, Error, Heads, Lookup, Mask, Offset, Shape, Softcap, Strides,
    T5Bias, Tensor, View,
};
use half::{bf16, f16};
use oracle::{Form, Modified, Pair, Problem};

const U: f64 = 1.0 / 16_777_216.0;

/// The bias of a pair for a head.
type Bias<'a> = &'a dyn Fn(Pair, usize) -> f64;

fn assert_certified(case: &Case, entry: &Entry, bias: Bias<'_>, cap: Option<f64>, output: &Output) {
    let Shape { batch, q_len, heads, .. } = case.shape;
    // -inf hides for one head and not for another: a head at a time.
    for h in 0..heads.q {
        let modify = |pair: Pair, _: usize, score: f64| {
            let (mut s, mut error) = (score, 0.0);
            if let Some(cap) = cap {
                s = cap * (s / cap).tanh();
                error = (2.0 * TANH_ULPS + 5.0) * U * s.abs();
            }
            let bias = bias(pair, h);
            s += bias;
            Modified { s, slope: 1.0, error: error + 4.0 * U * bias.abs() + 2.0 * U * s.abs() }
        };
        let visible =
            |pair: Pair| case.sees(pair.b, pair.i, pair.j) && bias(pair, h) > f64::NEG_INFINITY;
        let problem = Problem { modify: Some(&modify), ..case.problem(&visible) };
        let rows = (0..batch).flat_map(|b| (0..q_len).map(move |i| (b, i, h)));
        let verdict = oracle::certify_rows(
            &problem,
            &arithmetic_of(entry),
            Form::Running,
            rows,
            &output.o,
            Some(&output.lse),
        );
        let name = entry.name();
        assert!(
            verdict.holds() && verdict.uncertified == 0,
            "{name} {:?} {h}: {verdict}",
            case.rule
        );
    }
}

/// Runs a bias on every entry, judges it, and compares the bits.
fn check(case: &Case, lookup: &dyn Lookup, bias: Bias<'_>) {
    for cap in [None, Some(4.0)] {
        let softcap = cap.map(|cap| Softcap::new(cap).unwrap());
        let mut same: [Option<Output>; 2] = [None, None];
        for entry in entries_for(case.shape.heads) {
            let plan = case.plan_of(entry).bias(&lookup).unwrap();
            let output = match &softcap {
                Some(softcap) => case.run(&plan.modify(softcap).unwrap()),
                None => case.run(&plan),
            };
            assert_certified(case, &entry, bias, cap, &output);
            let same = &mut same[usize::from(entry.level().is_fused())];
            output.assert_same(same.get_or_insert_with(|| output.clone()), entry.name());
        }
    }
}

#[test]
fn tensors_of_biases_are_certified_in_any_format_and_shared_by_strides() {
    let heads = Heads { q: 4, kv: 2, dim: 8, v_dim: 6 };
    let all = Shape { batch: 2, q_len: 37, kv_len: 110, heads };
    for (seed, alike) in
        [[false, false], [true, false], [false, true], [true, true]].into_iter().enumerate()
    {
        let Shape { batch, q_len, kv_len, .. } = all;
        let dims = [batch, q_len, heads.q, kv_len];
        let head = if alike[1] { 0 } else { kv_len };
        let token = if alike[1] { kv_len } else { heads.q * kv_len };
        let strides = Strides { batch: if alike[0] { 0 } else { token * q_len }, token, head };
        let mut x = normal(batch * q_len * heads.q * kv_len, seed as u64);
        // Some keys are hidden, and a whole row.
        x.iter_mut().step_by(7).for_each(|x| *x = f32::NEG_INFINITY);
        x[5 * token..][..kv_len].fill(f32::NEG_INFINITY);
        let halves: Vec<f16> = x.iter().map(|x| f16::from_f32(*x)).collect();
        let brains: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
        let at = |Pair { b, i, j }: Pair, h: usize| {
            b * strides.batch + i * strides.token + h * strides.head + j
        };
        let case = Case::random(all, Rule::causal(73), seed as u64);
        let view: AnyView<'_> = match seed % 3 {
            0 => View::strided(&x, dims, strides).unwrap().into(),
            1 => View::strided(&halves, dims, strides).unwrap().into(),
            _ => View::strided(&brains, dims, strides).unwrap().into(),
        };
        let bias = |pair: Pair, h: usize| match seed % 3 {
            0 => f64::from(x[at(pair, h)]),
            1 => halves[at(pair, h)].to_f64(),
            _ => brains[at(pair, h)].to_f64(),
        };
        check(&case, &BiasTensor::new(view), &bias);
    }
}

#[test]
fn a_tensor_is_certified_for_any_lengths_and_masks() {
    let heads = Heads { q: 3, kv: 1, dim: 8, v_dim: 8 };
    for (seed, (q_len, kv_len)) in (1..).zip([(1, 1), (1, 200), (3, 95), (65, 97), (130, 40)]) {
        let x = normal(q_len * kv_len * 3, seed);
        let view = View::packed(&x, [1, q_len, 3, kv_len]).unwrap();
        for rule in rules(q_len, kv_len) {
            let case = Case::random(shape(q_len, kv_len, heads), rule, seed);
            let bias = |Pair { i, j, .. }: Pair, h: usize| f64::from(x[(i * 3 + h) * kv_len + j]);
            check(&case, &BiasTensor::new(view), &bias);
        }
    }
}

#[test]
fn t5_buckets_are_those_of_the_paper_and_are_certified() {
    let table = normal(32 * 6, 5);
    let (both, one) = (T5Bias::bidirectional(&table), T5Bias::causal(&table));
    let exact = |distance: i64, after: usize, buckets: f64, one_each: i64| {
        let d = distance.abs();
        let log = ((d as f64 / one_each as f64).ln() / (128.0 / one_each as f64).ln()
            * (buckets - one_each as f64)) as usize;
        let bucket = if d < one_each { d as usize } else { one_each as usize + log };
        after + bucket.min(buckets as usize - 1)
    };
    for distance in -300..300_i64 {
        let after = if distance > 0 { 16 } else { 0 };
        assert_eq!(both.bucket(distance), exact(distance, after, 16.0, 8), "{distance}");
        assert_eq!(one.bucket(distance), exact(distance.min(0), 0, 32.0, 16), "{distance}");
    }
    assert_eq!([both.bucket(i64::MIN), both.bucket(i64::MAX), one.bucket(i64::MIN)], [15, 31, 31]);
    let heads = Heads { q: 6, kv: 2, dim: 8, v_dim: 6 };
    for (seed, (q_len, kv_len, offset)) in (1..).zip([(70, 150, 80), (1, 300, 299), (5, 40, -3)]) {
        for (bias, causal) in [(both, false), (one, true)] {
            let rule = Rule { causal, offset: Some(offset), ..Rule::full() };
            let case = Case::random(shape(q_len, kv_len, heads), rule, seed);
            let of_pair = |Pair { i, j, .. }: Pair, h: usize| {
                f64::from(table[bias.bucket(j as i64 - i as i64 - offset) * 6 + h])
            };
            check(&case, &bias, &of_pair);
        }
    }
}

#[test]
fn a_bias_of_minus_infinity_hides_even_nan() {
    let heads = Heads { q: 2, kv: 1, dim: 8, v_dim: 8 };
    let (q_len, kv_len) = (40, 100);
    let mut x = vec![0.0; q_len * kv_len];
    x.chunks_mut(kv_len).for_each(|row| row[60] = f32::NEG_INFINITY);
    let strides = Strides { batch: 0, token: kv_len, head: 0 };
    let view = View::strided(&x, [1, q_len, 2, kv_len], strides).unwrap();
    let bias = BiasTensor::new(view);
    let clean = Case::random(shape(q_len, kv_len, heads), Rule::full(), 3);
    let mut poisoned = clean.clone();
    poisoned.k[60 * 8..][..8].fill(f32::NAN);
    poisoned.v[60 * 8..][..8].fill(f32::INFINITY);
    for entry in entries_for(heads) {
        let run = |case: &Case| case.run(&case.plan_of(entry).bias(&bias).unwrap());
        run(&poisoned).assert_same(&run(&clean), entry.name());
    }
}

#[test]
fn wrong_biases_are_refused() {
    let plan = |mask| Attention::new(shape(2, 3, Heads::new(4, 2, 8)), mask).unwrap();
    let x = [0.0; 32];
    let tensor = BiasTensor::new(View::packed(&x, [1, 2, 4, 4]).unwrap());
    let (expected, given) = ([1, 2, 4, 3], [1, 2, 4, 4]);
    let refused = Error::Shape { tensor: Tensor::Bias, expected, given };
    assert_eq!(plan(Mask::full()).bias(&tensor).err(), Some(refused));
    let short = T5Bias::causal(&x);
    assert_eq!(plan(Mask::full()).bias(&short).err(), Some(Error::Offset));
    let refused = Error::Length { tensor: Tensor::Bias, needed: 128, given: 32 };
    assert_eq!(plan(Mask::at(Offset::TOP_LEFT)).bias(&short).err(), Some(refused));
}
