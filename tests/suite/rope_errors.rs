//! What cannot turn gets an error that names its numbers, and stays as it is.

use crate::case::{assert_same_bits, normal};
use crate::rope::Turned;
use flashlet::{
    Axes, Error, Level, Llama3, Onto, Pairing, Phase, Positions, Rope, Scaling, Spacing, Strides,
    Theta, View, ViewMut, Yarn,
};

#[test]
fn what_cannot_turn_is_refused_and_left_alone() {
    let turned = Turned::new(1e4, 8, Pairing::Halves, 4);
    let rope = turned.rope(Level::Scalar);
    let refuse = |positions: Positions<'_>, dims: [usize; 4], error: Error| {
        let before = normal(dims.iter().product(), 12);
        let mut after = before.clone();
        let mut view = ViewMut::packed(&mut after, dims).unwrap();
        assert_eq!(rope.rotate(positions, &mut [&mut view]).unwrap_err(), error);
        assert_same_bits(&after, &before, error);
    };
    let fits = [2, 3, 1, 12];
    refuse(Positions::from(0), [2, 3, 1, 11], Error::Rotary { first: 4, rot_dim: 8, head_dim: 11 });
    let list = flashlet::List::Positions;
    refuse(Positions::list(&[1, 2]), fits, Error::ListLength { list, needed: 6, given: 2 });
    let list = flashlet::List::Starts;
    refuse(Positions::starts(&[1]), fits, Error::ListLength { list, needed: 2, given: 1 });
    let beyond = Error::Position { position: 1 << 32, start: 0, end: 1 << 32 };
    refuse(Positions::from(u32::MAX - 1), fits, beyond);
    refuse(Positions::starts(&[0, u32::MAX - 1]), fits, beyond);

    let (mut a, mut b) = ([0.0_f32; 36], [0.0_f32; 24]);
    let mut a = ViewMut::packed(&mut a, [1, 3, 1, 12]).unwrap();
    let mut b = ViewMut::packed(&mut b, [1, 2, 1, 12]).unwrap();
    let error = rope.rotate(0, &mut [&mut a, &mut b]).unwrap_err();
    assert_eq!(error, Error::Tokens { expected: [1, 3], given: [1, 2] });
    assert_eq!(error.to_string(), "a tensor has [1, 2] tokens, the first one [1, 3] (batch, len)");

    let none = Rope::new(Phase::Exact(&[]), 1.0, Pairing::Halves).unwrap_err();
    assert_eq!(none, Error::RotDim { pairs: 0, max: 288 });
    assert!(Rope::new(Phase::Exact(&[0; 289]), 1.0, Pairing::Halves).is_err());
    let axes = Axes::<5>::sections(&[2, 3]).unwrap();
    assert!(matches!(rope.axes(&axes).unwrap_err(), Error::ListLength { needed: 4, given: 5, .. }));
    let list = flashlet::List::Sections;
    let length = |needed, given| Some(Error::ListLength { list, needed, given });
    assert_eq!(Axes::<5>::sections(&[]).err(), length(1, 0));
    assert_eq!(Axes::<5>::sections(&[1; 5]).err(), length(4, 5));
    assert_eq!(Axes::<5>::sections(&[0, 0]).err(), Some(Error::ZeroBlock { list }));
    let rotated = |pairs| Some(Error::RotDim { pairs, max: 1 << 14 });
    assert_eq!(Theta::new(1e4).fill(&mut []).err(), rotated(0));
    assert_eq!(Theta::new(1e4).fill(&mut vec![0; (1 << 14) + 1]).err(), rotated((1 << 14) + 1));
    let axes = Axes::<4>::halves();
    let rope = rope.axes(&axes).unwrap();
    assert_eq!(rope.fill_table(0, &mut [0.0; 8]).unwrap_err(), Error::Axes { axes: 2 });
}

#[test]
fn appending_beyond_a_cache_is_refused() {
    let k = [0.0_f32; 2 * 3 * 8];
    let mut cache = [0.0_f32; 2 * 5 * 8];
    let keys = View::packed(&k, [2, 3, 1, 8]).unwrap();
    let mut append = |slots: &[u32]| {
        let cache = ViewMut::packed(&mut cache, [2, 5, 1, 8]).unwrap();
        Onto::append(keys, cache, slots).map(|_| ())
    };
    let list = flashlet::List::Slots;
    assert_eq!(append(&[0, 2]), Ok(()));
    assert_eq!(append(&[0, 3]), Err(Error::Entry { list, index: 1, value: 3, limit: 3 }));
    assert_eq!(append(&[0]), Err(Error::ListLength { list, needed: 2, given: 1 }));
    let other = ViewMut::packed(&mut cache, [1, 10, 1, 8]).unwrap();
    assert!(matches!(Onto::append(keys, other, &[0, 0]), Err(Error::Shape { .. })));
    let (expected, given) = ([2, 3, 1, 8], [2, 5, 1, 8]);
    let error = Error::Shape { tensor: flashlet::Tensor::Turned, expected, given };
    let longer = ViewMut::packed(&mut cache, given).unwrap();
    assert_eq!(Onto::new(keys, longer).err(), Some(error));
}

#[test]
fn empty_tensors_turn_in_no_time() {
    let turned = Turned::new(1e4, 8, Pairing::Halves, 0);
    let rope = turned.rope(Level::detect());
    let mut view = ViewMut::<f32>::packed(&mut [], [usize::MAX >> 8, 4, 0, 8]).unwrap();
    rope.rotate(0, &mut [&mut view]).unwrap();
    rope.rotate(0, &mut []).unwrap();
}

#[test]
fn a_single_pair_turns_by_a_radian_however_pairs_are_spaced() {
    let [open, closed] = [Spacing::Open, Spacing::Closed]
        .map(|spacing| Theta::new(1e4).spaced(spacing).turns::<1>().unwrap());
    assert_eq!(open, closed);
}

#[test]
fn a_softmax_factor_of_what_is_no_number_is_none() {
    let yarn = |factor, mscale_all_dim| Yarn { mscale_all_dim, ..Yarn::new(factor, 4096) };
    assert!(yarn(f64::NAN, Some(1.0)).softmax_factor().is_nan());
    assert!(yarn(40.0, Some(f64::INFINITY)).softmax_factor().is_nan());
    for factor in [f64::NAN, 40.0] {
        assert_eq!(yarn(factor, Some(0.0)).softmax_factor(), 1.0);
        assert_eq!(yarn(factor, None).softmax_factor(), 1.0);
    }
    assert!(yarn(40.0, Some(1.0)).softmax_factor() > 1.0);
}

#[test]
fn a_table_has_no_axes() {
    let turned = Turned::new(1e4, 8, Pairing::Halves, 0);
    let rope = turned.rope(Level::Scalar);
    let table = [0.0; 16];
    let tabled = rope.table(0, &table).unwrap();
    assert_eq!(tabled.axes(&Axes::<4>::halves()).unwrap_err(), Error::Axes { axes: 2 });
    let odd = Theta::new(1e4).turns_of_halves::<5>().unwrap_err();
    assert_eq!(odd, Error::OddPairs { pairs: 5 });
}

#[test]
fn parameters_of_any_size_give_finite_frequencies_or_an_error() {
    let numbers = [1e-310, 1e-300, 1e-3, 0.999, 1.0, 1.000_000_1, 3.0, 1e39, 1e300, f64::MAX];
    let odd = [0.0, -1.0, f64::NAN, f64::INFINITY];
    let all = || numbers.into_iter().chain(odd);
    let mut taken = 0;
    for base in [1.000_000_000_1, 1.001, 2.0, 1e4, 1e39, f64::MAX].into_iter().chain(odd) {
        for x in all() {
            for y in all() {
                let yarn =
                    Yarn { beta_fast: x, beta_slow: y, truncate: false, ..Yarn::new(2.0, 4096) };
                let scales = Yarn { mscale: Some(x), mscale_all_dim: Some(y), ..Yarn::new(x, 1) };
                let dynamic = Scaling::DynamicNtk { factor: x, original_len: 1, len: u32::MAX };
                let llama = Llama3 {
                    factor: x,
                    low_freq_factor: x,
                    high_freq_factor: y,
                    original_len: u32::MAX,
                };
                for scaling in [
                    Scaling::Linear { factor: x },
                    Scaling::Ntk { factor: x },
                    dynamic,
                    Scaling::Yarn(yarn),
                    Scaling::Yarn(scales),
                    Scaling::Yarn(Yarn { attention_factor: Some(x), ..yarn }),
                    Scaling::Llama3(llama),
                ] {
                    let theta = Theta::new(base).scaled(scaling);
                    let (mut turns, mut inv_freq) = ([0; 288], [0.0; 288]);
                    if let Ok(amplitude) = theta.fill(&mut turns) {
                        taken += 1;
                        assert!(amplitude.is_finite() && amplitude > 0.0, "{theta:?}");
                    }
                    if theta.fill_inv_freq(&mut inv_freq).is_ok() {
                        assert!(inv_freq.iter().all(|f| f.is_finite()), "{theta:?}");
                    } else {
                        assert_eq!(inv_freq, [0.0; 288], "{theta:?}: nothing is written");
                    }
                }
            }
        }
    }
    assert!(taken > 500, "{taken}");
    let mut many = vec![0; 1 << 14];
    let yarn = Yarn { beta_fast: 1e300, beta_slow: 1e-300, ..Yarn::new(2.0, u32::MAX) };
    Theta::new(1.0 + 1e-12).scaled(Scaling::Yarn(yarn)).fill(&mut many).unwrap();
}

#[test]
fn lengths_beyond_any_memory_are_refused_where_there_is_nothing_to_turn() {
    let turned = Turned::new(1e4, 8, Pairing::Halves, 0);
    let strides = Strides { batch: 0, token: 0, head: 0 };
    let dims = [1, usize::MAX, 0, 8];
    let mut empty = ViewMut::<f32>::strided(&mut [], dims, strides).unwrap();
    let refused = turned.rope(Level::Scalar).rotate(5, &mut [&mut empty]);
    assert!(matches!(refused, Err(Error::Position { .. })));
    let keys = View::<f32>::strided(&[], [0, 1, 1, 8], strides).unwrap();
    let cache = ViewMut::<f32>::strided(&mut [], [0, usize::MAX, 1, 8], strides).unwrap();
    assert!(Onto::append(keys, cache, &[]).is_ok());
}
