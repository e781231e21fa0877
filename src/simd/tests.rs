//! What is not there is neither read nor written: the checks that `unsafe` relies on.

use super::squares::{Strip, StripMut};
use super::{MAX_LANES, Portable, Rows, Scalar, Simd, Steps};
use half::{bf16, f16};

/// Three rows of five numbers, seven apart.
fn rows(data: &[f32]) -> Rows<'_> {
    Rows::new(data, 7, 3, 5).unwrap()
}

#[test]
fn rows_beyond_their_data_are_none() {
    let data = [1.0; 19];
    assert!(Rows::new(&data, 7, 3, 5).is_some() && Rows::new(&data, 7, 0, 99).is_some());
    assert_eq!(Rows::inside(&data, 7, 3, 5).len(), 3);
    assert_eq!(Rows::inside(&data, 7, 3, 6).len(), 0);
    assert!(Rows::new(&data, 7, 3, 6).is_none());
    assert!(Rows::new(&data, 7, 4, 1).is_none());
    assert!(Rows::new(&data, usize::MAX, 3, 1).is_none());
    assert!(Rows::new(&data, usize::MAX, 2, 1).is_none());
}

#[test]
fn steps_beyond_the_rows_are_none() {
    let data = [1.0; 19];
    let rows = rows(&data);
    let across = |first, steps| rows.across::<2>(first, steps).left();
    assert_eq!(
        [across(1, 5), across(1, 6), across(2, 5), across(3, 0), across(9, 5)],
        [5, 0, 0, 0, 0]
    );
    assert_eq!(rows.across::<0>(0, 5).left(), 0);
    let down = |first, range| rows.down::<2>(first, &range).left();
    assert_eq!([down(3, 0..3), down(3, 1..2), down(4, 0..3), down(5, 0..3)], [3, 1, 0, 0]);
    assert_eq!([down(0, 1..4), down(0, 2..2), down(0, 3..4)], [0, 0, 0]);
    assert_eq!(rows.down::<0>(0, &(0..3)).left(), 0);
    assert_eq!(rows.down_column::<2>(4, 1), Some([1.0; 2]));
    assert_eq!((rows.down_column::<2>(5, 1), rows.down_column::<2>(4, 2)), (None, None));
}

#[test]
fn blocks_of_rows_that_are_not_there_are_none() {
    let data = [1.0; 3 * 16];
    let rows = Rows::new(&data, 16, 3, 16).unwrap();
    let deep = |first| rows.across_deep::<2>(first).left();
    assert_eq!([deep(0), deep(1), deep(2), deep(3)], [2, 2, 0, 0]);
    assert_eq!(rows.across_deep::<0>(0).left(), 0);
    let blocks = |first| rows.blocks::<Scalar>(first).left();
    assert_eq!([blocks(0), blocks(2), blocks(3)], [2, 2, 0]);
    assert_eq!(rows.blocks::<Portable>(0).left(), 0, "more lanes than rows");
    let codes = [1_i8; 3 * 64];
    let rows = Rows::new(&codes, 64, 3, 64).unwrap();
    let coded = |first| rows.coded::<Scalar>(first).left();
    assert_eq!([coded(0), coded(2), coded(3)], [2, 2, 0]);
    assert_eq!(rows.coded::<Portable>(0).left(), 0, "more lanes than rows");
    let few = |first| rows.coded_few::<Portable>(first).left();
    assert_eq!([few(0), few(2), few(3)], [2, 2, 0]);
}

#[test]
fn pairs_are_none_where_they_do_not_lie_as_f32_do() {
    // Where an f32 may begin, and where it may not.
    let data = [bf16::ONE; 32];
    let at = data.as_ptr().addr() % 4 / 2;
    let (even, odd) = (&data[at..at + 24], &data[1 - at..25 - at]);
    let pairs = |data, stride, width| Rows::new(data, stride, 2, width).unwrap().pairs();
    assert_eq!(
        pairs(even, 8, 6).map(|rows| (rows.stride(), rows.width(), rows.len())),
        Some((4, 3, 2))
    );
    assert!(pairs(odd, 8, 6).is_none());
    assert!(pairs(even, 7, 6).is_none());
    assert!(pairs(even, 8, 5).is_none());
}

/// What a slice too short for a vector gives and takes.
fn takes_whole_vectors<S: Simd>(simd: S) {
    let short = S::LANES - 1;
    let is_zero = |x: S::F32| simd.floats_of(&mut [x]).iter().all(|x| x.to_bits() == 0);
    assert!(is_zero(simd.load_f16(&[f16::ONE; MAX_LANES][..short])));
    assert!(is_zero(simd.load_bf16(&[bf16::ONE; MAX_LANES][..short])));
    assert!(is_zero(simd.load_i8(&[1; MAX_LANES][..short])));
    let one = simd.splat(1.0);
    let (mut x, mut half, mut brain) =
        ([7.0; MAX_LANES], [f16::NAN; MAX_LANES], [bf16::NAN; MAX_LANES]);
    simd.store(one, &mut x[..short]);
    simd.store_f16(one, &mut half[..short]);
    simd.store_bf16(one, &mut brain[..short]);
    assert!(x == [7.0; MAX_LANES] && half.iter().all(|x| x.is_nan()));
    assert!(brain.iter().all(|x| x.is_nan()));
    simd.store(one, &mut x);
    simd.store_f16(one, &mut half);
    simd.store_bf16(one, &mut brain);
    assert!(x[..S::LANES].iter().all(|x| *x == 1.0));
    assert!(half[..S::LANES].iter().all(|x| *x == f16::ONE));
    assert!(brain[..S::LANES].iter().all(|x| *x == bf16::ONE));
}

#[test]
fn slices_too_short_for_a_vector_give_zeros_and_take_nothing() {
    takes_whole_vectors(Scalar);
    takes_whole_vectors(Portable);
}

#[test]
fn squares_that_are_not_all_there_are_none() {
    let rows: [[f32; 6]; MAX_LANES] = core::array::from_fn(|r| [r as f32; 6]);
    let slices = rows.each_ref().map(|row| &row[..]);
    let strip = Strip::new::<Scalar>(&slices);
    let there = [0, 5, 6, usize::MAX].map(|first| strip.square(Scalar, first).is_some());
    assert_eq!(there, [true, true, false, false]);
    assert!(strip.square(Portable, 0).is_none(), "more lanes than it was made for");
    let mut rows = rows;
    let mut slices = rows.each_mut().map(|row| &mut row[..]);
    let mut strip = StripMut::new::<Scalar>(&mut slices);
    let there = [0, 5, 6, usize::MAX].map(|first| strip.store(Scalar, Scalar.square(), first));
    assert_eq!(there, [true, true, false, false]);
    assert!(!strip.store(Portable, Portable.square(), 0), "more lanes than it was made for");
}
