//! Positions that are added to embeddings.

use crate::case::{assert_same_bits, normal};
use crate::golden::Golden;
use crate::rope::Number;
use flashlet::math::SIN_COS_ERROR;
use flashlet::{
    Error, Learned, Phase, Positions, Sinusoidal, Sinusoids, Spacing, Theta, View, ViewMut,
};
use half::{bf16, f16};

/// What a token of zeros becomes: the sinusoids of a position.
fn sinusoids(d: usize, spacing: Spacing, layout: Sinusoids, position: u32) -> Vec<f32> {
    let mut turns = vec![0; d / 2];
    Theta::new(1e4).spaced(spacing).fill(&mut turns).unwrap();
    let mut x = vec![0.0; d];
    let mut view = ViewMut::packed(&mut x, [1, 1, 1, d]).unwrap();
    Sinusoidal::new(Phase::Exact(&turns), layout).add(position, &mut view).unwrap();
    x
}

#[test]
fn sinusoids_are_the_golden_ones_in_both_spacings_and_layouts() {
    let golden = Golden::read();
    assert!(golden.sinusoidal.len() > 20);
    for one in &golden.sinusoidal {
        let (sin, cos): (f64, f64) = (one.sin.parse().unwrap(), one.cos.parse().unwrap());
        let spacing = match one.spacing.as_str() {
            "interleaved" => Spacing::Open,
            "endpoint" => Spacing::Closed,
            spacing => panic!("no such spacing: {spacing}"),
        };
        let places = [
            (Sinusoids::Interleaved, 2 * one.i, 2 * one.i + 1),
            (Sinusoids::Concatenated, one.i, one.d / 2 + one.i),
        ];
        for (layout, of_sin, of_cos) in places {
            let x = sinusoids(one.d, spacing, layout, one.position);
            let errors = [f64::from(x[of_sin]) - sin, f64::from(x[of_cos]) - cos];
            assert!(errors.iter().all(|error| error.abs() <= SIN_COS_ERROR), "{errors:?}");
        }
    }
}

fn sums_are_rounded_once<T: Number>() {
    // More channels than are added at once, and a rest.
    let (d, tokens) = (300, 5);
    let x: Vec<T> = normal(2 * tokens * d, 1).into_iter().map(T::round).collect();
    let mut turns = vec![0; d / 2];
    Theta::new(1e4).fill(&mut turns).unwrap();
    let sinusoidal = Sinusoidal::new(Phase::Exact(&turns), Sinusoids::Interleaved);
    let mut got = x.clone();
    let mut view = ViewMut::packed(&mut got, [2, tokens, 1, d]).unwrap();
    sinusoidal.add(Positions::starts(&[3, 70_000]), &mut view).unwrap();
    for (n, (got, x)) in got.chunks(d).zip(x.chunks(d)).enumerate() {
        let position = [3, 70_000][n / tokens] + (n % tokens) as u32;
        let added = sinusoids(d, Spacing::Open, Sinusoids::Interleaved, position);
        let expected: Vec<f32> =
            x.iter().zip(added).map(|(x, a)| T::round(x.widen() + a).widen()).collect();
        let got: Vec<f32> = got.iter().map(|x| x.widen()).collect();
        assert_same_bits(&got, &expected, format!("{:?} token {n}", T::FORMAT));
    }
}

#[test]
fn sinusoids_are_added_in_f32_and_rounded_once() {
    sums_are_rounded_once::<f32>();
    sums_are_rounded_once::<f16>();
    sums_are_rounded_once::<bf16>();
}

#[test]
fn learned_positions_add_the_rows_that_tokens_ask_for() {
    let (table, x) = (normal(7 * 2 * 150, 2), normal(4 * 2 * 150, 3));
    let stored: Vec<f16> = table.iter().copied().map(f16::from_f32).collect();
    let learned = Learned::new(View::packed(&stored, [1, 7, 2, 150]).unwrap()).unwrap();
    let mut got = x.clone();
    let mut view = ViewMut::packed(&mut got, [1, 4, 2, 150]).unwrap();
    learned.add(Positions::list(&[6, 0, 3, 3]), &mut view).unwrap();
    let rows = [6, 0, 3, 3].into_iter().flat_map(|row| stored[row * 300..][..300].to_vec());
    let expected: Vec<f32> = x.iter().zip(rows).map(|(x, row)| x + row.to_f32()).collect();
    assert_same_bits(&got, &expected, "learned");
}

#[test]
fn positions_that_a_table_lacks_are_refused_and_nothing_is_added() {
    let (table, before) = (normal(7 * 4, 4), normal(3 * 4, 5));
    let learned = Learned::new(View::packed(&table, [1, 7, 1, 4]).unwrap()).unwrap();
    let mut x = before.clone();
    let beyond = |position| Err(Error::Position { position, start: 0, end: 7 });
    for (positions, expected) in [
        (Positions::from(5), beyond(7)),
        (Positions::list(&[0, 7, 1]), beyond(7)),
        (Positions::shift(-1), beyond(u64::MAX)),
        (Positions::from(4), Ok(())),
    ] {
        let mut view = ViewMut::packed(&mut x, [1, 3, 1, 4]).unwrap();
        let is_refused = expected.is_err();
        assert_eq!(learned.add(positions, &mut view), expected, "{positions:?}");
        assert_eq!(x == before, is_refused, "{positions:?}");
    }
    let mut view = ViewMut::packed(&mut x, [1, 1, 1, 12]).unwrap();
    assert!(matches!(learned.add(0, &mut view), Err(Error::Shape { .. })));
    let turns = [0; 3];
    let sinusoidal = Sinusoidal::new(Phase::Exact(&turns), Sinusoids::Concatenated);
    let mut view = ViewMut::packed(&mut x, [1, 3, 1, 4]).unwrap();
    assert!(matches!(sinusoidal.add(0, &mut view), Err(Error::Shape { .. })));
}

#[test]
fn embeddings_without_tokens_stay_empty_and_tables_have_one_sequence() {
    let mut turns = [0; 4];
    Theta::new(1e4).fill(&mut turns).unwrap();
    let sinusoidal = Sinusoidal::new(Phase::Exact(&turns), Sinusoids::Interleaved);
    let table = [1.0_f32; 16];
    let learned = Learned::new(View::packed(&table, [1, 2, 1, 8]).unwrap()).unwrap();
    for dims in [[0, 3, 1, 8], [3, 0, 1, 8]] {
        let mut view = ViewMut::<f32>::packed(&mut [], dims).unwrap();
        assert_eq!(sinusoidal.add(0, &mut view), Ok(()));
        // Three tokens would ask for a row that there is not.
        assert_eq!(learned.add(0, &mut view), Ok(()));
    }
    let (expected, given) = ([1, 1, 1, 8], [2, 1, 1, 8]);
    let error = Error::Shape { tensor: flashlet::Tensor::Learned, expected, given };
    assert_eq!(Learned::new(View::packed(&table, given).unwrap()).err(), Some(error));
}
