//! What the picture of angles shows, and that it is up to date.

use flashlet::math::SIN_COS_ERROR;
use kernels_gen::angles::{Angles, AnglesError, Method, SAMPLES};
use kernels_gen::build::workspace;
use kernels_gen::tree;

/// Llama 3's, as in docs.
fn angles() -> Angles {
    Angles::new(500_000.0, 128).unwrap()
}

/// The error of a method among those of all.
fn of(method: Method, errors: [f64; Method::ALL.len()]) -> f64 {
    errors[Method::ALL.iter().position(|other| *other == method).unwrap()]
}

#[test]
fn exact_phases_keep_their_promise_from_the_first_position_to_the_last() {
    for angles in [angles(), Angles::new(10_000.0, 64).unwrap()] {
        let curve = angles.curve(4).unwrap();
        let ends = [curve[0].positions[0], curve[curve.len() - 1].positions[1]];
        assert_eq!(ends, [1, u32::MAX]);
        for point in curve {
            let error = of(Method::Exact, point.errors);
            assert!(error <= SIN_COS_ERROR, "{error:e} among {:?}", point.positions);
        }
    }
}

#[test]
fn angles_in_f32_are_off_where_contexts_are_long_and_mean_nothing_in_the_end() {
    for method in [Method::Tables, Method::Recurrence] {
        for (position, least) in [(131_071, 1e-3), (u32::MAX, 1.0)] {
            let error = of(method, angles().errors(position).unwrap());
            assert!(error > least && error <= 2.0, "{method:?} at {position}: {error:e}");
        }
    }
}

#[test]
fn every_method_is_right_to_a_few_last_bits_at_the_first_position() {
    for (method, error) in Method::ALL.iter().zip(angles().errors(1).unwrap()) {
        assert!(error <= 2e-7, "{method:?}: {error:e}");
    }
}

#[test]
fn the_picture_names_its_lines_and_its_frequencies() {
    let angles = Angles::new(10_000.0, 64).unwrap();
    let svg = angles.svg(&angles.curve(1).unwrap()).unwrap();
    for method in Method::ALL {
        assert!(svg.contains(method.name()), "{method:?}: {svg}");
    }
    for text in ["all 32 pairs; base 10000, rot_dim 64", "--base 10000 --rot-dim 64", "128K"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
}

#[test]
fn the_picture_in_docs_is_what_the_command_draws() {
    let angles = angles();
    let drawn = angles.svg(&angles.curve(SAMPLES).unwrap()).unwrap();
    let picture = tree::text(&workspace().join("docs/angles.svg")).unwrap();
    assert!(picture == drawn, "docs/angles.svg is stale; to mend it: cargo kernels angles");
}

#[test]
fn channels_that_do_not_pair_and_bases_up_to_1_are_refused() {
    assert!(matches!(Angles::new(1e4, 63), Err(AnglesError::Odd { rot_dim: 63 })));
    for (base, rot_dim) in [(1.0, 64), (f64::NAN, 64), (1e4, 0), (1e4, 1 << 14)] {
        let refused = Angles::new(base, rot_dim);
        assert!(matches!(refused, Err(AnglesError::Frequencies(_))), "{base} {rot_dim}");
    }
}
