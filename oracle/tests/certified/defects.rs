//! Wrong kernels: what the bound notices, and how often.

use oracle::{Arithmetic, Form, Format, certify};

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
            let case = family.case(small(1, kv_len, 8), seed).for_kernel(&arithmetic);
            case.problem(|problem| {
                let (o, lse) = model.run(problem);
                !certify(problem, &arithmetic, form, &o, Some(&lse)).holds()
            })
        });
        flagged.count() as f64 / SEEDS as f64
    };
    [Form::Gamma, Form::Running].map(rows)
}

const F32: [Arithmetic; 2] = [Arithmetic::fused(4), Arithmetic::unfused(4)];
const BF16: [Arithmetic; 1] = [Arithmetic::bf16_products(4)];

/// `at_least`: the share of rows that must be flagged. Below 1 because some rows hide the defect: a dropped key may
/// have had no weight, and a maximum that is found in the first tile needs no rescaling.
fn assert_caught(arithmetics: &[Arithmetic], defect: Defect, family: Family, at_least: f64) {
    for &arithmetic in arithmetics {
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
    assert_caught(&BF16, Defect::LastKeyDropped, Family::Normal, 0.5);
    assert_caught(&F32, Defect::LastKeyDropped, Family::Normal, 0.99);
}

#[test]
fn a_missing_rescale_is_caught() {
    assert_caught(&BF16, Defect::LNotRescaled, Family::Ascending, 0.9);
    // With 7 keys in tiles of 4, the first tile holds the maximum in 4 rows of 7.
    assert_caught(&F32, Defect::LNotRescaled, Family::Normal, 0.35);
    assert_caught(&F32, Defect::LNotRescaled, Family::Ascending, 0.9);
}

#[test]
fn bf16_weights_are_caught() {
    assert_caught(&F32, Defect::WeightsInBf16, Family::Normal, 0.99);
}

/// Where they are due, l must sum them too. A constant V shows it, because then their errors cancel.
#[test]
fn weights_that_only_o_sums_in_bf16_are_caught() {
    assert_caught(&BF16, Defect::WeightsInBf16, Family::ConstantV, 0.99);
}

#[test]
fn an_output_cut_off_to_bf16_is_caught() {
    let stored = F32.map(|arithmetic| arithmetic.stored_as(Format::Bf16));
    assert_caught(&stored, Defect::OutputCutOff, Family::Normal, 0.9);
}

/// Invisible in ordinary data, where only the exponents' range changes; fatal when every exponent underflows.
#[test]
fn a_maximum_that_starts_at_zero_is_caught() {
    assert_caught(&F32, Defect::MaxStartsAtZero, Family::VeryNegative, 1.0);
}
