//! What rotations are: lengths stay, turns add up, scores depend on distances; each within its certified bound.

use crate::rope::{Turned, turn};
use flashlet::{Level, Pairing, Positions};
use oracle::{Format, rope as exact};
use proptest::prelude::*;

fn norm(row: impl IntoIterator<Item = f64>) -> f64 {
    row.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().copied().map(f64::from).collect()
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)))
}

prop_compose! {
    fn turned()(
        base in prop_oneof![Just(1e4), Just(5e5), 2.0_f64..1e7],
        pairs in 1_usize..70,
        pairing in prop_oneof![Just(Pairing::Interleaved), Just(Pairing::Halves)],
    ) -> (Turned, exact::Rope) {
        let of_oracle = match pairing {
            Pairing::Interleaved => exact::Pairing::Interleaved,
            Pairing::Halves => exact::Pairing::Halves,
        };
        let exact = exact::Rope::new(of_oracle, base, 2 * pairs, &exact::Scaling::None);
        (Turned::new(base, 2 * pairs, pairing, 0), exact)
    }
}

/// How far a turned row may be from the exact one, as a length.
fn bound(exact: &exact::Rope, row: &[f32], position: i64) -> f64 {
    norm(exact.bound(&wide(row), |_| position, exact::TABLE_ERROR, Format::F32))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lengths_stay((turned, exact) in turned(), position: u32, numbers in prop::collection::vec(-1e3_f32..1e3, 140)) {
        let row = &numbers[..2 * exact.frequencies.len()];
        for level in Level::available() {
            let after = turn(&turned.rope(level), row, Positions::from(position));
            let error = (norm(wide(&after)) - norm(wide(row))).abs();
            let bound = bound(&exact, row, position.into());
            prop_assert!(error <= bound, "{level}: {error:e} > {bound:e}");
        }
    }

    #[test]
    fn turns_add_up((turned, exact) in turned(), a: u32, b: u32, numbers in prop::collection::vec(-1e3_f32..1e3, 140)) {
        let row = &numbers[..2 * exact.frequencies.len()];
        let (a, b) = (a / 2, b / 2);
        for level in Level::available() {
            let rope = turned.rope(level);
            let once = turn(&rope, row, Positions::from(b));
            let twice = turn(&rope, &once, Positions::from(a));
            let at_once = turn(&rope, row, Positions::from(a + b));
            // A rotation keeps the error of the row that it turns, and adds its own.
            let errors = bound(&exact, row, b.into()) + bound(&exact, &once, a.into())
                + bound(&exact, row, i64::from(a) + i64::from(b));
            let error = apart(&twice, &at_once);
            prop_assert!(error <= errors, "{level}: {error:e} > {errors:e}");
            // And back again.
            let back = turn(&rope, &twice, Positions::shift(-i64::from(a)));
            let errors = bound(&exact, &once, a.into()) + bound(&exact, &twice, -i64::from(a));
            let error = apart(&back, &once);
            prop_assert!(error <= errors, "{level}: {error:e} > {errors:e}");
        }
    }

    #[test]
    fn scores_depend_on_distances((turned, exact) in turned(), p in 0_u32..1 << 30, q in 0_u32..1 << 30, further in 0_u32..1 << 31, numbers in prop::collection::vec(-10_f32..10.0, 280)) {
        let dim = 2 * exact.frequencies.len();
        let (query, key) = (&numbers[..dim], &numbers[140..][..dim]);
        let dot = |a: &[f32], b: &[f32]| wide(a).iter().zip(wide(b)).map(|(a, b)| a * b).sum::<f64>();
        for level in Level::available() {
            let rope = turned.rope(level);
            let score = |add: u32| {
                let [query, key] = [(query, p + add), (key, q + add)]
                    .map(|(row, position)| turn(&rope, row, Positions::from(position)));
                dot(&query, &key)
            };
            // |<q + e, k + f> - <q, k>| <= |e| |k| + |q| |f| + |e| |f|
            let allowed = |add: u32| {
                let (e, f) = (bound(&exact, query, (p + add).into()), bound(&exact, key, (q + add).into()));
                e * norm(wide(key)) + norm(wide(query)) * f + e * f
            };
            let (error, errors) = ((score(0) - score(further)).abs(), allowed(0) + allowed(further) + 1e-9);
            prop_assert!(error <= errors, "{level}: {error:e} > {errors:e}");
        }
    }
}
