//! Queries that turn inside of attention: the bits of queries that were turned before it.

use crate::case::{Case, FORMATS, Rule, Tensor, entries_for, normal, pair_entries, shape};
use crate::rope::Turned;
use flashlet::{
    Attention, Error, Heads, Inputs, Level, Pairing, Positions, RelativeKeys, Shape, Strides,
    TurnedQueries, View, ViewMut,
};
use oracle::Format;

/// The same case with queries that are turned before.
fn turned_before(case: &Case, turned: &Turned, level: Level, positions: Positions<'_>) -> Case {
    let mut case = case.clone();
    let mut q = ViewMut::packed(&mut case.q, case.shape.q()).unwrap();
    turned.rope(level).rotate(positions, &mut [&mut q]).unwrap();
    case
}

fn agrees(plan: &Attention<'_>, case: &Case, turned: &Turned, positions: Positions<'_>) {
    let entry = *plan.entry();
    let queries = TurnedQueries::new(turned.rope(entry.level()), positions);
    let inside = case.run(&plan.turn_queries(&queries).unwrap());
    let before = turned_before(case, turned, entry.level(), positions);
    inside.assert_same(&before.run(plan), format_args!("{} {:?}", entry.name(), case.shape));
}

#[test]
fn attention_over_turned_queries_has_the_bits_of_turning_them_before() {
    let small = Heads { q: 6, kv: 2, dim: 20, v_dim: 12 };
    // Values that are much narrower than what turns.
    let narrow = Heads { q: 4, kv: 1, dim: 70, v_dim: 1 };
    for (heads, first) in
        [(Heads::new(6, 2, 64), 0), (small, 4), (narrow, 6), (Heads::new(3, 3, 128), 64)]
    {
        let (rot_dim, pairing) = match heads.dim {
            20 => (16, Pairing::Interleaved),
            128 => (64, Pairing::Interleaved),
            dim => (dim - first, Pairing::Halves),
        };
        let turned = Turned::new(1e4, rot_dim, pairing, first);
        for q_len in [1, 3, 70, 130] {
            let shape = Shape { batch: 2, ..shape(q_len, 200, heads) };
            let case = Case::random(shape, Rule::causal(200 - q_len as i64), 21);
            let list: Vec<u32> = (0..2 * q_len as u32).map(|n| n * 7919 % 100_003).collect();
            for entry in entries_for(heads) {
                let plan = case.plan_of(entry);
                agrees(&plan, &case, &turned, Positions::from(131_000));
                agrees(&plan, &case, &turned, Positions::starts(&[5, 1 << 30]));
                agrees(&plan, &case, &turned, Positions::list(&list));
            }
        }
    }
}

#[test]
fn queries_that_become_bf16_pairs_turn_before_they_are_rounded() {
    for entry in pair_entries() {
        let [dim, v_dim] = entry.dims().unwrap();
        let case =
            Case::random(shape(90, 90, Heads { q: 4, kv: 2, dim, v_dim }), Rule::causal(0), 22);
        let turned = Turned::new(1e4, dim, Pairing::Halves, 0);
        agrees(&case.plan_of(entry), &case, &turned, Positions::from(40));
    }
}

#[test]
fn stored_queries_are_not_rounded_between_turn_and_product() {
    let heads = Heads::new(4, 2, 64);
    let turned = Turned::new(1e4, 64, Pairing::Halves, 0);
    for q_len in [1, 40] {
        let case = Case::random(shape(q_len, 60, heads), Rule::full(), 23);
        for format in FORMATS {
            let q = Tensor::rounded(&case.q, format);
            let wide = Case { q: q.widened(), ..case.clone() };
            for entry in entries_for(heads) {
                let plan = case.plan_of(entry);
                let queries = TurnedQueries::new(turned.rope(entry.level()), Positions::from(9));
                let plan = plan.turn_queries(&queries).unwrap();
                let (mut output, mut scratch) =
                    (case.unwritten(), vec![f32::NAN; plan.scratch_len()]);
                let (_, k, v) = case.views();
                let strides = Strides::by_token(case.shape.q()).unwrap();
                let inputs = Inputs::new(q.view(case.shape.q(), strides), k, v);
                plan.bind(inputs, output.as_outputs(case.shape), &mut scratch).unwrap().run();
                output.assert_same(&wide.run(&plan), format_args!("{} {format:?}", entry.name()));
            }
        }
    }
    assert_eq!(FORMATS[0], Format::F32);
}

#[test]
fn relative_keys_see_the_queries_that_the_keys_see() {
    let heads = Heads::new(2, 1, 16);
    let turned = Turned::new(1e4, 16, Pairing::Halves, 0);
    let case = Case::random(shape(30, 30, heads), Rule::causal(0), 24);
    let table = normal(9 * 16, 25);
    let keys = RelativeKeys::new(View::packed(&table, [1, 9, 1, 16]).unwrap(), -4);
    for level in Level::available() {
        let plan = case.plan().level(level).unwrap().relative_keys(&keys).unwrap();
        agrees(&plan, &case, &turned, Positions::from(3));
    }
}

#[test]
fn queries_that_cannot_turn_are_refused() {
    let turned = Turned::new(1e4, 16, Pairing::Halves, 0);
    let rope = turned.rope(Level::detect());
    let plan =
        |dim| Attention::new(shape(3, 3, Heads::new(2, 1, dim)), flashlet::Mask::full()).unwrap();
    let queries = TurnedQueries::new(rope, Positions::list(&[1, 2]));
    let list = flashlet::List::Positions;
    assert_eq!(
        plan(16).turn_queries(&queries).unwrap_err(),
        Error::ListLength { list, needed: 3, given: 2 }
    );
    let queries = TurnedQueries::new(rope, Positions::from(0));
    let error = Error::Rotary { first: 0, rot_dim: 16, head_dim: 15 };
    assert_eq!(plan(15).turn_queries(&queries).unwrap_err(), error);
    let beyond = TurnedQueries::new(rope, Positions::from(u32::MAX));
    assert!(matches!(plan(16).turn_queries(&beyond), Err(Error::Position { .. })));
}

#[test]
fn a_table_of_angles_serves_turned_queries_and_a_shift_does_without_it() {
    let heads = Heads::new(4, 2, 16);
    let turned = Turned::new(1e4, 16, Pairing::Halves, 0);
    let list: Vec<u32> = (0..2 * 9_u32).map(|n| 100 + n * 5 % 27).collect();
    for q_len in [1, 9] {
        let shape = Shape { batch: 2, ..shape(q_len, 12, heads) };
        let case = Case::random(shape, Rule::full(), 26);
        for level in Level::available() {
            let computed = turned.rope(level);
            let mut table = vec![0.0; computed.table_len(30).unwrap()];
            computed.fill_table(100, &mut table).unwrap();
            let tabled = computed.table(100, &table).unwrap();
            let plan = case.plan().level(level).unwrap();
            for positions in [
                Positions::from(120),
                Positions::starts(&[100, 121]),
                Positions::list(&list[..2 * q_len]),
                Positions::shift(-3),
                Positions::shift(104),
                Positions::shift(i64::MIN),
            ] {
                let [with, without] = [tabled, computed].map(|rope| {
                    let queries = TurnedQueries::new(rope, positions);
                    case.run(&plan.turn_queries(&queries).unwrap())
                });
                with.assert_same(&without, format_args!("{level} {positions:?}"));
            }
            let before = TurnedQueries::new(tabled, Positions::from(99));
            let error = Error::Position { position: 99, start: 100, end: 130 };
            assert_eq!(plan.turn_queries(&before).unwrap_err(), error);
        }
    }
}
