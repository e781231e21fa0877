//! Whether the check of rotary positions would notice.

use check::{MODELS, ROTATIONS};
use flashlet::Level;

/// The best that an f32 kernel could do.
fn rounded(exact: &[f64]) -> Vec<f32> {
    exact.iter().map(|&x| x as f32).collect()
}

#[test]
fn one_cosine_or_sine_outside_its_bound_is_noticed() {
    for model in &MODELS {
        let mut table = rounded(model.rows);
        assert!(model.err_over_bound(&table, model.rows) < 1.0, "{}", model.names.table);
        let last = table.len() - 1;
        table[last] += 3.0 * model.limit;
        assert!(model.err_over_bound(&table, model.rows) > 1.0, "{}", model.names.table);
    }
}

#[test]
fn a_position_beside_the_right_one_is_noticed() {
    for model in &MODELS {
        let row = 2 * model.pairs;
        let (table, beside) = (rounded(&model.rows[..row]), &model.rows[row..2 * row]);
        assert!(model.err_over_bound(&table, beside) > 1.0, "{}", model.names.table);
    }
}

#[test]
fn one_element_outside_its_bound_is_noticed() {
    for rotation in &ROTATIONS {
        let mut turned = rounded(rotation.exact);
        let first = rotation.limits.iter().position(|limit| *limit > 0.0).expect("some turn");
        turned[first] += 3.0 * rotation.limits[first];
        assert!(rotation.err_over_bound(&turned) > 1.0, "{}", rotation.name);
    }
}

#[test]
fn a_channel_that_passes_through_may_not_change() {
    let rotation = ROTATIONS.iter().find(|rotation| rotation.first > 0).expect("a part that turns");
    let mut turned = rounded(rotation.exact);
    assert_eq!(rotation.limits[0], 0.0);
    assert!(rotation.err_over_bound(&turned) < 1.0);
    turned[0] = turned[0].next_up();
    assert_eq!(rotation.err_over_bound(&turned), f32::MAX);
}

#[test]
fn what_is_not_a_number_or_not_there_is_noticed() {
    for rotation in &ROTATIONS {
        let mut turned = rounded(rotation.exact);
        assert_eq!(rotation.err_over_bound(&turned[1..]), f32::MAX, "{}", rotation.name);
        turned[0] = f32::NAN;
        assert_eq!(rotation.err_over_bound(&turned), f32::MAX, "{}", rotation.name);
    }
}

#[test]
fn other_models_have_other_bits() {
    let mut digests: Vec<u64> = MODELS
        .iter()
        .flat_map(|model| {
            [
                model.turns(),
                model.inv_freq(),
                model.table(Level::Scalar),
                model.compatible_table(Level::Scalar),
            ]
        })
        .chain(ROTATIONS.iter().map(|rotation| rotation.run(Level::Scalar)))
        .map(|outcome| outcome.expect("every case runs").digest)
        .collect();
    let all = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all);
}
