//! Statistics and weights of rows: certified as the attention over unit vectors that they are.

use crate::case::{Case, Rule, arithmetic_of, normal, shape};
use crate::certified::rules;
use flashlet::{
    Attention, BiasTensor, Error, Heads, Level, Mask, RowStatistics, Shape, Softcap, Tensor, View,
};
use oracle::{Form, Modified, Pair, Problem};

/// What a score becomes, by its formula.
type Formula<'a> = &'a dyn Fn(Pair, f64) -> Modified;

/// Inspects every row of a case and judges what it says. `bias(i, j)` of -inf hides.
fn check(case: &Case, plan: &Attention, formula: Formula<'_>, what: &str) {
    let Shape { batch, q_len, kv_len, heads } = case.shape;
    let mut scratch = vec![f32::NAN; plan.scratch_len()];
    let mut inspector = plan.inspect(case.inputs(), &mut scratch).unwrap();
    if !case.sinks.is_empty() {
        inspector = inspector.sinks(&case.sinks).unwrap();
    }
    let mut weights = vec![f32::NAN; batch * q_len * heads.q * kv_len];
    let mut lse = vec![f32::NAN; case.shape.rows()];
    for row in 0..case.shape.rows() {
        let (b, i, h) = (row / heads.q / q_len, row / heads.q % q_len, row % heads.q);
        let weights = &mut weights[row * kv_len..][..kv_len];
        let statistics = inspector.weights(b, i, h, weights).unwrap();
        assert_eq!(inspector.statistics(b, i, h), Ok(statistics), "{what}: in one pass");
        lse[(b * heads.q + h) * q_len + i] = statistics.lse;
        check_row(case, formula, (b, i, h), weights, &statistics);
    }
    // Values that are unit vectors give the weights.
    let v_dim = kv_len;
    let mut units = vec![0.0; batch * kv_len * heads.kv * v_dim];
    for (row, unit) in units.chunks_mut(v_dim.max(1)).enumerate() {
        unit[row / heads.kv % kv_len] = 1.0;
    }
    let visible =
        |pair: Pair| case.sees(pair.b, pair.i, pair.j) && formula(pair, 0.0).s > f64::NEG_INFINITY;
    let modify = |pair: Pair, _: usize, s: f64| formula(pair, s);
    let problem = case.problem(&visible);
    let shape = oracle::Shape { v_dim, ..problem.shape };
    let problem = Problem { shape, v: &units, modify: Some(&modify), ..problem };
    let arithmetic = arithmetic_of(plan.entry());
    let verdict = oracle::certify(&problem, &arithmetic, Form::Gamma, &weights, Some(&lse));
    assert!(verdict.holds() && verdict.uncertified == 0, "{what} {:?}: {verdict}", case.rule);
}

/// Judges what is said of one row beside its weights.
fn check_row(
    case: &Case,
    formula: Formula<'_>,
    (b, i, h): (usize, usize, usize),
    weights: &[f32],
    statistics: &RowStatistics,
) {
    let (heads, u) = (case.shape.heads, f64::from(f32::EPSILON) / 2.0);
    let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
    let sink = f64::from(statistics.sink_weight);
    let nothing = statistics.lse == f32::NEG_INFINITY;
    let total = if nothing { 0.0 } else { 1.0 };
    assert!((sum + sink - total).abs() <= 8.0 * u, "weights sum to {sum} and a sink of {sink}");
    let all = weights.iter().map(|w| f64::from(*w)).chain([sink]).filter(|w| *w > 0.0);
    let entropy: f64 = all.map(|w| -w * w.ln()).sum();
    let got = f64::from(statistics.entropy);
    assert!((got - entropy).abs() <= 8.0 * u * (1.0 + entropy), "{got} {entropy}");

    let problem_scale = case.scale.unwrap_or(1.0 / (heads.dim as f64).sqrt());
    let row = |x: &[f32], at: usize| x[at * heads.dim..][..heads.dim].to_vec();
    let q = row(&case.q, (b * case.shape.q_len + i) * heads.q + h);
    let (mut max, mut error) = (f64::NEG_INFINITY, 0.0_f64);
    for j in (0..case.shape.kv_len).filter(|j| case.sees(b, i, *j)) {
        let k = row(&case.k, (b * case.shape.kv_len + j) * heads.kv + h / heads.group());
        let products = || q.iter().zip(&k).map(|(q, k)| f64::from(*q) * f64::from(*k));
        let size: f64 = problem_scale * products().map(f64::abs).sum::<f64>();
        let score = formula(Pair { b, i, j }, problem_scale * products().sum::<f64>());
        max = max.max(score.s);
        let of_score = (heads.dim as f64 + 6.0) * u * size * score.slope + score.error;
        error = error.max(of_score + 4.0 * u * score.s.abs());
    }
    let got = f64::from(statistics.max_logit);
    assert!(got == max || (got - max).abs() <= error, "{got} {max} within {error}");
}

const PLAIN: Formula<'static> = &|_, s| Modified { s, slope: 1.0, error: 0.0 };

#[test]
fn rows_are_certified_on_every_level_under_every_mask() {
    let heads = Heads { q: 6, kv: 2, dim: 12, v_dim: 5 };
    for (seed, (q_len, kv_len)) in (1..).zip([(1, 1), (3, 100), (40, 37), (9, 131)]) {
        for rule in rules(q_len, kv_len) {
            let mut case = Case::random(shape(q_len, kv_len, heads), rule, seed);
            for level in Level::available() {
                check(&case, &case.plan().level(level).unwrap(), PLAIN, "plain");
            }
            case.sinks = normal(6, seed);
            check(&case, &case.plan(), PLAIN, "with sinks");
        }
    }
}

#[test]
fn what_changes_scores_is_seen() {
    let heads = Heads { q: 2, kv: 1, dim: 64, v_dim: 64 };
    let (q_len, kv_len, u) = (20, 70, f64::from(f32::EPSILON) / 2.0);
    let mut case = Case::random(Shape { batch: 2, q_len, kv_len, heads }, Rule::causal(45), 9);
    case.kv_lens = Some(vec![70, 52]);
    let mut biases = normal(q_len * kv_len, 10);
    biases.iter_mut().step_by(5).for_each(|x| *x = f32::NEG_INFINITY);
    let strides = flashlet::Strides { batch: 0, token: kv_len, head: 0 };
    let tensor = View::strided(&biases, [2, q_len, 2, kv_len], strides).unwrap();
    let (tensor, cap) = (BiasTensor::new(tensor), Softcap::new(3.0).unwrap());
    let formula = |Pair { i, j, .. }: Pair, score: f64| {
        let capped = 3.0 * (score / 3.0).tanh();
        let bias = f64::from(biases[i * kv_len + j]);
        let s = capped + bias;
        let error = 12.0 * u * capped.abs() + 4.0 * u * bias.abs() + 2.0 * u * s.abs();
        Modified { s, slope: 1.0, error }
    };
    for level in Level::available() {
        let plan = case.plan().level(level).unwrap();
        check(&case, &plan.modify(&cap).unwrap().bias(&tensor).unwrap(), &formula, "changed");
    }
}

#[test]
fn every_width_fits_the_scratch_of_its_plan() {
    for dim in [1, 2, 7, 8, 9, 64, 100, 192, 575, 576] {
        for q_len in [1, 40] {
            for v_dim in [1, dim] {
                let heads = Heads { q: 1, kv: 1, dim, v_dim };
                let case = Case::random(shape(q_len, 100, heads), Rule::full(), dim as u64);
                for level in Level::available() {
                    let plan = case.plan().level(level).unwrap();
                    let mut scratch = vec![0.0; plan.scratch_len_in_place()];
                    let mut inspector = plan.inspect(case.inputs(), &mut scratch).unwrap();
                    let lse = inspector.statistics(0, 0, 0).unwrap().lse;
                    assert!((lse - case.run(&plan).lse[0]).abs() < 1e-3, "{dim} {level}");
                }
            }
        }
    }
}

#[test]
fn what_is_hidden_is_not_read_and_nan_is_not_dropped() {
    let mut case = Case::random(shape(4, 60, Heads::new(2, 1, 16)), Rule::causal(20), 11);
    case.k[24 * 16..].fill(f32::NAN);
    let plan = case.plan();
    let mut scratch = vec![0.0; plan.scratch_len()];
    let mut weights = [0.5; 60];
    let mut inspector = plan.inspect(case.inputs(), &mut scratch).unwrap();
    let row = inspector.weights(0, 3, 1, &mut weights).unwrap();
    assert!(row.lse.is_finite() && weights[24..].iter().all(|w| *w == 0.0));
    case.k[5] = f32::NAN;
    let mut inspector = plan.inspect(case.inputs(), &mut scratch).unwrap();
    let row = inspector.weights(0, 3, 1, &mut weights).unwrap();
    assert!(row.lse.is_nan() && row.entropy.is_nan() && weights[..24].iter().all(|w| w.is_nan()));
}

#[test]
fn scores_of_minus_infinity_and_far_below_the_largest_weigh_nothing() {
    let mut case = Case::random(shape(1, 4, Heads::new(1, 1, 1)), Rule::full(), 14);
    let plan = case.plan();
    let mut scratch = vec![0.0; plan.scratch_len()];
    case.q[0] = 1.0;
    for (k, expected) in [
        ([f32::NEG_INFINITY, 0.0, 0.0, f32::NEG_INFINITY], [0.0, 0.5, 0.5, 0.0]),
        ([-5000.0, 5.0, -5000.0, -5000.0], [0.0, 1.0, 0.0, 0.0]),
        ([f32::NEG_INFINITY; 4], [0.0; 4]),
    ] {
        case.k = k.to_vec();
        let (mut inspector, mut weights) =
            (plan.inspect(case.inputs(), &mut scratch).unwrap(), [7.0; 4]);
        let row = inspector.weights(0, 0, 0, &mut weights).unwrap();
        assert_eq!(weights, expected, "{k:?}");
        let entropy = if expected[1] == 0.5 { std::f32::consts::LN_2 } else { 0.0 };
        assert!((row.entropy - entropy).abs() < 1e-6, "{k:?}: {row:?}");
        assert_eq!(row.lse == f32::NEG_INFINITY, expected == [0.0; 4], "{k:?}: {row:?}");
    }
}

#[test]
fn there_must_be_such_a_row_and_room_for_its_weights() {
    let case = Case::random(shape(4, 6, Heads::new(2, 1, 16)), Rule::full(), 12);
    let plan = case.plan();
    let mut scratch = vec![0.0; plan.scratch_len()];
    let given = 5;
    let refused = Error::Scratch { needed: plan.scratch_len_in_place(), given };
    assert_eq!(plan.inspect(case.inputs(), &mut scratch[..5]).err(), Some(refused));
    let mut inspector = plan.inspect(case.inputs(), &mut scratch).unwrap();
    for row in [[1, 0, 0], [0, 4, 0], [0, 0, 2]] {
        let [b, i, h] = row;
        assert_eq!(inspector.statistics(b, i, h), Err(Error::Row { row, limits: [1, 4, 2] }));
    }
    let mut weights = [0.5; 5];
    let refused = Error::Length { tensor: Tensor::Weights, needed: 6, given: 5 };
    assert_eq!(inspector.weights(0, 0, 0, &mut weights), Err(refused));
    assert_eq!(weights, [0.5; 5]);
    let refused = Error::Length { tensor: Tensor::Sinks, needed: 2, given: 3 };
    assert_eq!(inspector.sinks(&[0.0; 3]).err(), Some(refused));
    let empty = Case::random(shape(1, 0, Heads::new(1, 1, 8)), Rule::full(), 13);
    let plan = Attention::new(empty.shape, Mask::full()).unwrap();
    let mut inspector = plan.inspect(empty.inputs(), &mut scratch).unwrap();
    let row = inspector.weights(0, 0, 0, &mut []).unwrap();
    assert_eq!([row.max_logit, row.lse], [f32::NEG_INFINITY; 2]);
    assert_eq!([row.entropy, row.sink_weight], [0.0; 2]);
    let row = inspector.smooth_softmax().statistics(0, 0, 0).unwrap();
    assert_eq!([row.lse, row.entropy, row.sink_weight], [0.0, 0.0, 1.0]);
}

#[test]
fn an_entry_of_short_tiles_is_asked_for_scratch_enough() {
    use flashlet::entry::{Entry, Fixed, Job, Lanes, Tiling, attend};
    use flashlet::simd::Scalar;
    fn short(job: Job<'_>) {
        attend::<Scalar, Fixed<8>, Fixed<8>, 1, 8, 24>(Scalar, job);
    }
    let tiling = Tiling { lanes: Lanes::Queries, vectors: 1, scalars: 8, rows: 4 };
    let entry = Entry::new("short", Level::Scalar, [8, 8], 24, tiling, short);
    let case = Case::random(shape(3, 60, Heads::new(1, 1, 8)), Rule::full(), 18);
    let plan = case.plan_of(entry);
    let given = plan.scratch_len_in_place();
    let mut scratch = vec![f32::NAN; 112];
    let refused = Error::Scratch { needed: 112, given };
    assert_eq!(plan.inspect(case.inputs(), &mut scratch[..given]).err(), Some(refused));
    let mut inspector = plan.inspect(case.inputs(), &mut scratch).unwrap();
    let lse = inspector.statistics(0, 2, 0).unwrap().lse;
    assert!((lse - case.run(&plan).lse[2]).abs() < 1e-5);
}
