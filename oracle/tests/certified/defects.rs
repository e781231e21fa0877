//! Wrong kernels: what the bound notices, and how often.

use oracle::{Arithmetic, Form, certify};

use crate::families::{Family, small};
use crate::model::{Defect, Model};

const SEEDS: u64 = 400;

/// Share of random rows that the bound flags, in either form.
fn flagged(
    family: Family,
    kv_len: usize,
    arithmetic: Arithmetic,
    defect: Option<Defect>,
) -> [f64; 2] {
    let model = Model { defect, ..Model::new(arithmetic) };
    let rows = |form| {
        let flagged = (0..SEEDS).filter(|&seed| {
            family.case(small(1, kv_len, 8), seed).problem(|problem| {
                let (o, lse) = model.run(problem);
                !certify(problem, &arithmetic, form, &o, Some(&lse)).holds()
            })
        });
        flagged.count() as f64 / SEEDS as f64
    };
    [Form::Gamma, Form::Running].map(rows)
}

/// `at_least`: the share of rows that must be flagged. Below 1 because some rows hide the defect: a dropped key may
/// have had no weight, and a maximum that is found in the first tile needs no rescaling.
fn assert_caught(defect: Defect, family: Family, at_least: f64) {
    for arithmetic in [Arithmetic::fused(4), Arithmetic::unfused(4)] {
        for kv_len in [7, 16, 61] {
            let right = flagged(family, kv_len, arithmetic, None);
            let wrong = flagged(family, kv_len, arithmetic, Some(defect));
            println!("{defect:?}, {family:?}, n {kv_len:2}, {arithmetic:?}: {wrong:?}");
            assert_eq!(right, [0.0; 2]);
            assert!(
                wrong.iter().all(|share| *share >= at_least),
                "{defect:?}, n {kv_len}: {wrong:?} < {at_least}"
            );
        }
    }
}

#[test]
fn a_dropped_key_is_caught() {
    assert_caught(Defect::LastKeyDropped, Family::Normal, 0.99);
}

#[test]
fn a_missing_rescale_is_caught() {
    // With 7 keys in tiles of 4, the first tile holds the maximum in 4 rows of 7.
    assert_caught(Defect::LNotRescaled, Family::Normal, 0.35);
    assert_caught(Defect::LNotRescaled, Family::Ascending, 0.9);
}

#[test]
fn bf16_weights_are_caught() {
    assert_caught(Defect::WeightsInBf16, Family::Normal, 0.99);
}

/// Invisible in ordinary data, where only the exponents' range changes; fatal when every exponent underflows.
#[test]
fn a_maximum_that_starts_at_zero_is_caught() {
    assert_caught(Defect::MaxStartsAtZero, Family::VeryNegative, 1.0);
}
