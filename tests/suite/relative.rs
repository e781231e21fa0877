//! Keys and values by distance: certified by their definition, pair by pair.

use crate::case::{
    Case, FORMATS, Output, Rule, Tensor as Stored, arithmetic_of, entries_for, normal,
    pair_entries, shape,
};
use crate::certified::rules;
use crate::states::{merge_in_order, pieces_of};
use flashlet::entry::Entry;
use flashlet::{
    Alibi, Attention, Error, Heads, Level, Mask, Precision, RelativeKeys, RelativeValues, Shape,
    Softcap, State, Strides, Tensor, View,
};
use oracle::{Arithmetic, Form, Format, Modified, Pair, Problem};

const U: f64 = 1.0 / 16_777_216.0;

/// A table `[distances, kv_heads, dim]`, or one that all heads share.
#[derive(Debug)]
pub(crate) struct Table {
    stored: Stored,
    numbers: Vec<f32>,
    first: i64,
    distances: usize,
    heads: Option<usize>,
    dim: usize,
}

impl Table {
    pub(crate) fn new(
        first: i64,
        distances: usize,
        heads: Option<usize>,
        dim: usize,
        format: Format,
    ) -> Self {
        let numbers = normal(distances * heads.unwrap_or(1) * dim, distances as u64);
        let stored = Stored::rounded(&numbers, format);
        Table { numbers: stored.widened(), stored, first, distances, heads, dim }
    }

    fn view(&self, kv_heads: usize) -> flashlet::AnyView<'_> {
        let head = if self.heads.is_some() { self.dim } else { 0 };
        let strides = Strides { batch: 0, token: self.heads.unwrap_or(1) * self.dim, head };
        self.stored.view([1, self.distances, kv_heads, self.dim], strides)
    }

    /// By the definition: the row of a key `distance` after its query.
    fn row(&self, distance: i64, kv_head: usize) -> &[f32] {
        let t = distance.saturating_sub(self.first).clamp(0, self.distances as i64 - 1) as usize;
        let head = self.heads.map_or(0, |_| kv_head);
        &self.numbers[(t * self.heads.unwrap_or(1) + head) * self.dim..][..self.dim]
    }
}

/// Tables of keys and values, and queries of their own.
#[derive(Default)]
pub(crate) struct Terms {
    pub(crate) keys: Option<Table>,
    pub(crate) values: Option<Table>,
    pub(crate) queries: Option<Vec<f32>>,
}

impl Terms {
    pub(crate) fn verdict(
        &self,
        case: &Case,
        arithmetic: &Arithmetic,
        then: &dyn Fn(Pair, i64, usize, f64) -> Modified,
        output: &Output,
    ) -> oracle::Verdict {
        let Shape { q_len, heads, .. } = case.shape;
        let offset =
            |b: usize| case.rule.offset.unwrap_or(case.visible_len(b) as i64 - q_len as i64);
        let distance = |Pair { b, i, j }: Pair| j as i64 - i as i64 - offset(b);
        let visible = |Pair { b, i, j }: Pair| case.sees(b, i, j);
        let scale = case.scale.unwrap_or(1.0 / (heads.dim as f64).sqrt());
        let queries = self.queries.as_ref().unwrap_or(&case.q);
        let modify = |pair: Pair, h: usize, s: f64| {
            let (mut relative, mut size) = (0.0, 0.0);
            if let Some(keys) = &self.keys {
                let q = &queries[((pair.b * q_len + pair.i) * heads.q + h) * heads.dim..];
                for (q, a) in q.iter().zip(keys.row(distance(pair), h / heads.group())) {
                    relative += scale * f64::from(*q) * f64::from(*a);
                    size += scale * (f64::from(*q) * f64::from(*a)).abs();
                }
            }
            // The scale, the query, the chain, and the sum of both products.
            let error = (heads.dim as f64 + 3.0) * U * size + 1.0001 * U * (s + relative).abs();
            let after = then(pair, distance(pair), h, s + relative);
            Modified { s: after.s, slope: after.slope, error: after.slope * error + after.error }
        };
        let beside = |pair: Pair, h: usize| {
            self.values.as_ref().unwrap().row(distance(pair), h / heads.group()).to_vec()
        };
        let beside: Option<&dyn Fn(Pair, usize) -> Vec<f32>> =
            if self.values.is_some() { Some(&beside) } else { None };
        let problem = Problem { modify: Some(&modify), beside, ..case.problem(&visible) };
        oracle::certify(&problem, arithmetic, Form::Running, &output.o, Some(&output.lse))
    }

    /// Calls `each` with the terms as a plan takes them.
    pub(crate) fn with(
        &self,
        shape: &Shape,
        each: impl FnOnce(Option<&RelativeKeys>, Option<&RelativeValues>),
    ) {
        let kv = shape.heads.kv;
        let keys = self.keys.as_ref().map(|table| {
            let keys = RelativeKeys::new(table.view(kv), table.first);
            match &self.queries {
                Some(queries) => keys.queries(View::packed(queries, shape.q()).unwrap()),
                None => keys,
            }
        });
        let values = self.values.as_ref();
        let values = values.map(|table| RelativeValues::new(table.view(kv), table.first).unwrap());
        each(keys.as_ref(), values.as_ref());
    }
}

pub(crate) fn plan_with<'m>(
    plan: &Attention<'m>,
    keys: Option<&'m RelativeKeys<'m>>,
    values: Option<&'m RelativeValues<'m>>,
) -> Attention<'m> {
    let mut plan = plan.clone();
    if let Some(keys) = keys {
        plan = plan.relative_keys(keys).unwrap();
    }
    if let Some(values) = values {
        plan = plan.relative_values(values).unwrap();
    }
    plan
}

const AS_IT_IS: &dyn Fn(Pair, i64, usize, f64) -> Modified =
    &|_, _, _, s| Modified { s, slope: 1.0, error: 0.0 };

/// Runs the terms on every entry, judges them, and compares the bits.
fn check(case: &Case, terms: &Terms, what: &str) {
    terms.with(&case.shape, |keys, values| {
        let mut same: [Option<Output>; 2] = [None, None];
        for entry in entries_for(case.shape.heads) {
            let output = case.run(&plan_with(&case.plan_of(entry), keys, values));
            assert_holds(case, terms, &entry, &output, what);
            let same = &mut same[usize::from(entry.level().is_fused())];
            output.assert_same(same.get_or_insert_with(|| output.clone()), entry.name());
        }
    });
}

fn assert_holds(case: &Case, terms: &Terms, entry: &Entry, output: &Output, what: &str) {
    let verdict = terms.verdict(case, &arithmetic_of(entry), AS_IT_IS, output);
    let (name, Case { shape, rule, .. }) = (entry.name(), case);
    assert!(
        verdict.holds() && verdict.uncertified == 0,
        "{what} on {name} {shape:?} {rule:?}: {verdict}"
    );
}

/// Shaw's tables of `2 * clip + 1` distances for the given widths.
fn shaw(clip: i64, heads: Option<usize>, dims: [usize; 2], format: Format) -> Terms {
    let table = |dim| Table::new(-clip, 2 * clip as usize + 1, heads, dim, format);
    Terms { keys: Some(table(dims[0])), values: Some(table(dims[1])), queries: None }
}

#[test]
fn keys_and_values_by_distance_are_certified_on_every_entry_under_every_mask() {
    let heads = Heads { q: 6, kv: 2, dim: 12, v_dim: 7 };
    for (seed, (q_len, kv_len)) in (1..).zip([(1, 1), (1, 131), (3, 96), (9, 40), (70, 131)]) {
        for rule in rules(q_len, kv_len).into_iter().filter(|rule| rule.mask() != Mask::full()) {
            let case = Case::random(shape(q_len, kv_len, heads), rule, seed);
            let both = shaw(4, None, [12, 7], Format::F32);
            check(&case, &both, "both");
            check(&case, &Terms { values: None, ..both }, "keys");
            let both = shaw(16, Some(2), [12, 7], Format::F32);
            check(&case, &Terms { keys: None, ..both }, "values");
        }
    }
}

#[test]
fn any_table_will_do() {
    let heads = Heads { q: 2, kv: 2, dim: 64, v_dim: 64 };
    let case = Case::random(shape(50, 200, heads), Rule::causal(150), 3);
    let distances: [(i64, usize); 7] =
        [(0, 1), (-3, 1), (-500, 1000), (-190, 20), (7, 9), (i64::MAX, 2), (i64::MIN, 3)];
    for (first, count) in distances {
        for format in FORMATS {
            let table = |heads| Some(Table::new(first, count, heads, 64, format));
            let terms = Terms { keys: table(Some(2)), values: table(None), queries: None };
            check(&case, &terms, "table");
        }
    }
    let few = Case::random(shape(5, 40, heads), Rule::causal(-3), 4);
    check(&few, &shaw(2, None, [64, 64], Format::Bf16), "before the keys");
}

#[test]
fn the_terms_of_transformer_xl_are_certified() {
    // (q + u) k + (q + w) R, R by i - j: a table whose rows descend from the furthest key before the query.
    for (q_len, kv_len, heads) in [
        (70, 130, Heads::new(3, 3, 32)),
        (5, 300, Heads::new(2, 2, 16)),
        (33, 33, Heads { q: 4, kv: 1, dim: 20, v_dim: 8 }),
    ] {
        let rule = Rule::causal((kv_len - q_len) as i64);
        let case = Case::random(shape(q_len, kv_len, heads), rule, 5);
        let (first, count) = (1 - kv_len as i64, kv_len);
        let keys = Some(Table::new(first, count, Some(heads.kv), heads.dim, Format::F32));
        let queries = Some(normal(case.q.len(), 6));
        check(&case, &Terms { keys, values: None, queries }, "xl");
    }
}

#[test]
fn batches_parts_and_states_meet_them() {
    let heads = Heads { q: 4, kv: 2, dim: 8, v_dim: 8 };
    let rule = Rule { offset: None, causal: true, ..Rule::default() };
    let mut case = Case::random(Shape { batch: 2, q_len: 37, kv_len: 220, heads }, rule, 7);
    case.kv_lens = Some(vec![220, 101]);
    let terms = shaw(8, Some(2), [8, 8], Format::F16);
    check(&case, &terms, "batch");
    terms.with(&case.shape, |keys, values| {
        for level in Level::available() {
            let plan = plan_with(&case.plan().level(level).unwrap(), keys, values);
            let whole = case.run(&plan);
            let mut output = case.unwritten();
            let mut scratch = vec![f32::NAN; 3 * plan.scratch_len()];
            let outputs = output.as_outputs(case.shape);
            let call = plan.bind(case.inputs(), outputs, &mut scratch).unwrap();
            call.parts(3).unwrap().for_each(|part| part.run());
            output.assert_same(&whole, level);
            let merged = merge_in_order(&case, pieces_of(&case, &plan, &[50, 120]));
            let arithmetic = Arithmetic { splits: 3, ..arithmetic_of(plan.entry()) };
            let verdict = terms.verdict(&case, &arithmetic, AS_IT_IS, &merged);
            assert!(verdict.holds() && verdict.uncertified == 0, "{level}: {verdict}");
        }
    });
}

#[test]
fn relative_keys_come_before_a_cap_and_a_bias() {
    let heads = Heads { q: 2, kv: 1, dim: 16, v_dim: 16 };
    let case = Case::random(shape(30, 90, heads), Rule::causal(60), 8);
    let terms = shaw(16, None, [16, 16], Format::F32);
    let slopes = [0.5, 0.25];
    let modifier = Softcap::new(2.0).unwrap().then(Alibi::new(&slopes));
    let then = |_: Pair, distance: i64, h: usize, score: f64| {
        let capped = 2.0 * (score / 2.0).tanh();
        let bias = -f64::from(slopes[h]) * distance.abs() as f64;
        let error =
            12.0 * U * capped.abs() + 4.0 * U * bias.abs() + 2.0 * U * (capped + bias).abs();
        Modified { s: capped + bias, slope: 1.0, error }
    };
    terms.with(&case.shape, |keys, values| {
        for entry in entries_for(heads) {
            let plan = plan_with(&case.plan_of(entry), keys, values).modify(&modifier).unwrap();
            let verdict = terms.verdict(&case, &arithmetic_of(&entry), &then, &case.run(&plan));
            assert!(verdict.holds() && verdict.uncertified == 0, "{}: {verdict}", entry.name());
        }
    });
}

#[test]
fn a_key_that_is_not_seen_changes_no_bit() {
    let heads = Heads { q: 2, kv: 1, dim: 8, v_dim: 8 };
    let clean = Case::random(shape(50, 150, heads), Rule::causal(60), 9);
    let mut poisoned = clean.clone();
    poisoned.k[90 * 8..].fill(f32::NAN);
    poisoned.v[90 * 8..].fill(f32::INFINITY);
    let terms = shaw(5, None, [8, 8], Format::F32);
    terms.with(&clean.shape, |keys, values| {
        for entry in entries_for(heads) {
            let plan = plan_with(&clean.plan_of(entry), keys, values);
            let (one, two) = (clean.run(&plan), poisoned.run(&plan));
            let rows = 30 * 16;
            assert_eq!(one.o[..rows], two.o[..rows], "{}", entry.name());
            assert!(two.o[rows..].iter().all(|x| x.is_nan()), "{}", entry.name());
        }
    });
}

#[test]
fn their_products_are_in_f32() {
    let heads = Heads::new(2, 1, 64);
    let case = Case::random(shape(80, 80, heads), Rule::causal(0), 10);
    let terms = shaw(5, None, [64, 64], Format::F32);
    terms.with(&case.shape, |keys, values| {
        let expected = case.run(&plan_with(&case.plan(), keys, values));
        let pairs = case.plan().precision(Precision::Bf16Products);
        case.run(&plan_with(&pairs, keys, values)).assert_same(&expected, "before");
        let plan = plan_with(&case.plan(), keys, values).precision(Precision::Bf16Products);
        case.run(&plan).assert_same(&expected, "after");
        for entry in pair_entries().into_iter().filter(|entry| entry.fits(heads)) {
            let plan = plan_with(&case.plan_of(entry), keys, values);
            case.run(&plan).assert_same(&expected, entry.name());
        }
    });
}

#[test]
fn wrong_tables_are_refused() {
    let x = [0.5; 256];
    let at = |mask| Attention::new(shape(2, 3, Heads::new(4, 2, 8)), mask).unwrap();
    let causal = at(Mask::causal(flashlet::Offset::TOP_LEFT));
    let keys = |dims| RelativeKeys::new(View::packed(&x, dims).unwrap(), 0);
    let values = |dims| RelativeValues::new(View::packed(&x, dims).unwrap(), 0).unwrap();
    assert_eq!(at(Mask::full()).relative_keys(&keys([1, 3, 2, 8])).err(), Some(Error::Offset));
    assert!(causal.relative_keys(&keys([1, 3, 2, 8])).is_ok());
    for given in [[1, 3, 4, 8], [2, 3, 2, 8], [1, 3, 2, 9], [1, 0, 2, 8]] {
        let expected = [1, given[1].max(1), 2, 8];
        let refused = |tensor| Some(Error::Shape { tensor, expected, given });
        let [k, v] = [Tensor::RelativeKeys, Tensor::RelativeValues];
        assert_eq!(causal.relative_keys(&keys(given)).err(), refused(k));
        assert_eq!(causal.relative_values(&values(given)).err(), refused(v));
    }
    let (expected, given) = ([1, 2, 4, 8], [1, 2, 4, 4]);
    let other = keys([1, 3, 2, 8]).queries(View::packed(&x, given).unwrap());
    let refused = Error::Shape { tensor: Tensor::Q, expected, given };
    assert_eq!(causal.relative_keys(&other).err(), Some(refused));
    let mut bad = [0.0; 48];
    bad[16 + 8 + 3] = f32::NAN;
    let refused = RelativeValues::new(View::packed(&bad, [1, 3, 2, 8]).unwrap(), 0).err();
    let at = [0, 1, 1, 3];
    assert_eq!(refused, Some(Error::NotFinite { tensor: Tensor::RelativeValues, at }));
}

#[test]
fn a_longer_tile_of_keys_takes_them_too() {
    use flashlet::entry::{Fixed, Job, Lanes, Tiling, attend, decode};
    use flashlet::simd::Scalar;
    const TILE_K: usize = 192;
    fn many(job: Job<'_>) {
        attend::<Scalar, Fixed<8>, Fixed<6>, 4, 4, TILE_K>(Scalar, job);
    }
    fn few(job: Job<'_>) {
        decode::<Scalar, TILE_K>(Scalar, job);
    }
    let tiling = Tiling { lanes: Lanes::Queries, vectors: 4, scalars: 4, rows: 16 };
    let many = Entry::new("many", Level::Scalar, [8, 6], TILE_K, tiling, many);
    let tiling = Tiling { lanes: Lanes::Keys, vectors: 2, scalars: 4, rows: 32 };
    let few = Entry::new("few", Level::Scalar, [8, 6], TILE_K, tiling, few);
    let heads = Heads { q: 4, kv: 2, dim: 8, v_dim: 6 };
    let case = Case::random(shape(33, 400, heads), Rule::causal(367), 15);
    let terms = shaw(150, Some(2), [8, 6], Format::F32);
    terms.with(&case.shape, |keys, values| {
        let run = |entry: &Entry| case.run(&plan_with(&case.plan_of(*entry), keys, values));
        let output = run(&many);
        assert_holds(&case, &terms, &many, &output, "a long tile");
        run(&few).assert_same(&output, "few");
    });
}

#[test]
fn a_row_that_sees_nothing_stays_empty_to_the_bit() {
    let heads = Heads::new(1, 1, 8);
    let case = Case::random(shape(2, 3, heads), Rule::causal(0), 16);
    let mut terms = shaw(1, None, [8, 8], Format::F32);
    let ones = vec![1.0; 24];
    let table = terms.values.as_mut().unwrap();
    (table.stored, table.numbers) = (Stored::rounded(&ones, Format::F32), ones);
    terms.with(&case.shape, |keys, values| {
        for entry in entries_for(heads) {
            let plan = plan_with(&case.plan_of(entry), keys, values).keys(1..2).unwrap();
            let mut storage = vec![f32::NAN; State::storage_len(&case.shape).unwrap()];
            let mut scratch = vec![0.0; plan.scratch_len()];
            let mut state = State::empty(&mut storage, &case.shape).unwrap();
            plan.bind_state(case.inputs(), &mut state, &mut scratch).unwrap().run();
            let nothing = (-0.0_f32).to_bits();
            // m, l and o of query 0, and of query 1 behind each.
            assert_eq!([storage[0], storage[2]], [f32::NEG_INFINITY, 0.0], "{}", entry.name());
            assert!(storage[4..12].iter().all(|x| x.to_bits() == nothing), "{}", entry.name());
            assert!(storage[12..].iter().all(|x| x.to_bits() != nothing), "{}", entry.name());
        }
    });
}

#[test]
fn scratch_beside_that_of_heads_is_enough() {
    let heads = Heads { q: 4, kv: 2, dim: 20, v_dim: 12 };
    let case = Case::random(shape(30, 100, heads), Rule::causal(70), 17);
    shaw(3, None, [20, 12], Format::F16).with(&case.shape, |keys, values| {
        for level in Level::available() {
            let plan = plan_with(&case.plan().level(level).unwrap(), keys, values);
            let enough = heads.scratch_len(level) + heads.relative_scratch_len(level);
            assert!(plan.scratch_len() <= enough, "{level}");
            let mut scratch = vec![0.0; plan.scratch_len() - 1];
            let (needed, given) = (plan.scratch_len_in_place(), scratch.len());
            let mut output = case.unwritten();
            let refused =
                plan.bind(case.inputs(), output.as_outputs(case.shape), &mut scratch[..9]);
            assert_eq!(refused.err(), Some(Error::Scratch { needed, given: 9 }), "{given}");
        }
    });
}
