//! Bad input gets an error that names the numbers that disagree, and nothing is written.

use crate::case::{Case, Rule, shape};
use flashlet::entry::{Entry, Lanes, Tiling};
use flashlet::{
    Attention, Error, Heads, Inputs, Level, Mask, Outputs, Shape, State, Strides, Tensor, View,
    ViewMut, Window,
};

fn plan(heads: Heads) -> Result<Attention<'static>, Error> {
    Attention::new(shape(2, 3, heads), Mask::full())
}

#[test]
fn zero_heads_are_refused() {
    for (q, kv) in [(0, 1), (1, 0), (0, 0)] {
        assert_eq!(
            plan(Heads::new(q, kv, 8)).unwrap_err(),
            Error::ZeroHeads { q_heads: q, kv_heads: kv }
        );
    }
}

#[test]
fn heads_that_do_not_divide_are_refused() {
    let error = plan(Heads::new(9, 4, 8)).unwrap_err();
    assert_eq!(error, Error::HeadGroups { q_heads: 9, kv_heads: 4 });
    assert_eq!([(9, 4), (1, 2), (1, 0)].map(|(q, kv)| Heads::new(q, kv, 8).group()), [2, 1, 1]);
    assert_eq!(error.to_string(), "9 query heads are no multiple of 4 key/value heads");
}

#[test]
fn windows_without_positions_are_refused() {
    let unbounded = Window::UNBOUNDED;
    for window in [Window::keys(4), Window::span(4, unbounded), Window::span(unbounded, 4)] {
        let windowed = Mask::full() & window;
        let refused = Attention::new(shape(1, 9, Heads::new(1, 1, 8)), windowed).unwrap_err();
        assert_eq!(refused, Error::Offset, "{window:?}");
    }
    let refused = Error::Offset;
    assert!(refused.to_string().contains("Mask::window(offset, window)"));
}

#[test]
fn widths_out_of_range_are_refused() {
    for dim in [0, 577, usize::MAX] {
        assert_eq!(
            plan(Heads::new(1, 1, dim)).unwrap_err(),
            Error::HeadDim { head_dim: dim, max: 576 }
        );
        let heads = Heads { q: 1, kv: 1, dim: 8, v_dim: dim };
        assert_eq!(plan(heads).unwrap_err(), Error::ValueDim { v_dim: dim, max: 576 });
    }
}

#[test]
fn sizes_that_overflow_are_refused() {
    let huge = [usize::MAX, usize::MAX / 8, 1 << (usize::BITS - 4)];
    for len in huge {
        let heads = Heads::new(2, 1, 8);
        for shape in [
            Shape { batch: 1, q_len: len, kv_len: 1, heads },
            Shape { batch: 1, q_len: 1, kv_len: len, heads },
            Shape { batch: len, q_len: 1, kv_len: 1, heads },
            Shape { batch: len, q_len: 0, kv_len: 0, heads },
        ] {
            let error = Attention::new(shape, Mask::full()).unwrap_err();
            assert!(matches!(error, Error::Overflow { dims } if dims.contains(&len)), "{error}");
        }
    }
    let strides = Strides { batch: 0, token: usize::MAX / 2, head: 8 };
    let dims = [1, 4, 1, 8];
    assert_eq!(View::strided(&[0.0; 8], dims, strides).unwrap_err(), Error::Overflow { dims });
    assert_eq!(
        View::packed(&[0.0; 8], [1, usize::MAX, 2, 8]).unwrap_err(),
        Error::Overflow { dims: [1, usize::MAX, 2, 8] }
    );
}

#[test]
fn slices_too_short_for_their_strides_are_refused() {
    let error = View::packed(&[0.0; 23], [1, 3, 2, 4]).unwrap_err();
    assert_eq!(error, Error::TooShort { needed: 24, given: 23 });
    let strides = Strides { batch: 1000, token: 10, head: 4 };
    assert!(View::strided(&[0.0; 28], [1, 3, 2, 4], strides).is_ok());
    let error = View::strided(&[0.0; 27], [1, 3, 2, 4], strides).unwrap_err();
    assert_eq!(error, Error::TooShort { needed: 28, given: 27 });
    assert!(View::<f32>::packed(&[], [0, 3, 2, 4]).is_ok(), "an empty view needs nothing");
}

#[test]
fn outputs_whose_rows_overlap_are_refused() {
    let dims = [1, 3, 2, 4];
    let mut o = [0.0; 64];
    let cases = [
        (Strides { batch: 0, token: 8, head: 3 }, Error::Overlap { stride: 3, extent: 4 }),
        (Strides { batch: 0, token: 7, head: 4 }, Error::Overlap { stride: 7, extent: 8 }),
        (Strides { batch: 0, token: 0, head: 4 }, Error::Overlap { stride: 0, extent: 4 }),
        (Strides { batch: 0, token: 4, head: 11 }, Error::Overlap { stride: 11, extent: 12 }),
    ];
    for (strides, error) in cases {
        assert_eq!(ViewMut::strided(&mut o, dims, strides).unwrap_err(), error);
    }
    assert!(ViewMut::strided(&mut o, dims, Strides { batch: 0, token: 4, head: 12 }).is_ok());
    assert!(
        View::strided(&o, dims, Strides { batch: 0, token: 0, head: 0 }).is_ok(),
        "inputs may repeat"
    );
}

/// A good case, a plan for it, and scratch.
fn good() -> (Case, Attention<'static>, Vec<f32>) {
    let case = Case::random(shape(3, 10, Heads { q: 4, kv: 2, dim: 8, v_dim: 6 }), Rule::full(), 1);
    let plan = case.plan();
    let scratch = vec![0.0; plan.scratch_len()];
    (case, plan, scratch)
}

#[test]
fn views_of_another_shape_are_refused() {
    let (case, plan, mut scratch) = good();
    let mut output = case.unwritten();
    let wrong = View::packed(&case.q, [1, 4, 3, 8]).unwrap();
    let good = case.inputs();
    let (q, k, v) = case.views();
    let bad = [
        (Tensor::Q, case.shape.q(), Inputs::new(wrong, k, v)),
        (Tensor::K, case.shape.k(), Inputs::new(q, wrong, v)),
        (Tensor::V, case.shape.v(), Inputs::new(q, k, wrong)),
    ];
    for (tensor, expected, inputs) in bad {
        let error = plan.bind(inputs, output.as_outputs(case.shape), &mut scratch).unwrap_err();
        assert_eq!(error, Error::Shape { tensor, expected, given: [1, 4, 3, 8] });
    }
    let mut o = vec![0.0; 72];
    let outputs = Outputs::new(ViewMut::packed(&mut o, [1, 3, 3, 8]).unwrap());
    let error = plan.bind(good, outputs, &mut scratch).unwrap_err();
    assert_eq!(
        error,
        Error::Shape { tensor: Tensor::O, expected: [1, 3, 4, 6], given: [1, 3, 3, 8] }
    );
    assert!(output.o.iter().all(|x| x.is_nan()), "nothing was written");
}

#[test]
fn a_log_sum_exp_of_another_length_is_refused() {
    let (case, plan, mut scratch) = good();
    let mut output = case.unwritten();
    output.lse.push(0.0);
    let error = plan.bind(case.inputs(), output.as_outputs(case.shape), &mut scratch).unwrap_err();
    assert_eq!(error, Error::Length { tensor: Tensor::Lse, needed: 12, given: 13 });
}

#[test]
fn visible_lengths_that_do_not_fit_are_refused() {
    let (mut case, plan, mut scratch) = good();
    let mut output = case.unwritten();
    for (lens, error) in [
        (vec![1, 2], Error::KvLens { batch: 1, given: 2 }),
        (vec![], Error::KvLens { batch: 1, given: 0 }),
        (vec![11], Error::KvLen { sequence: 0, visible: 11, kv_len: 10 }),
    ] {
        case.kv_lens = Some(lens);
        let refused = plan.bind(case.inputs(), output.as_outputs(case.shape), &mut scratch);
        assert_eq!(refused.unwrap_err(), error);
    }
    assert!(output.o.iter().all(|x| x.is_nan()), "nothing was written");
}

#[test]
fn scratch_too_small_is_refused() {
    let (case, plan, mut scratch) = good();
    let mut output = case.unwritten();
    let needed = plan.scratch_len();
    let short = &mut scratch[1..];
    let error = plan.bind(case.inputs(), output.as_outputs(case.shape), short).unwrap_err();
    assert_eq!(error, Error::Scratch { needed, given: needed - 1 });
    let call = plan.bind(case.inputs(), output.as_outputs(case.shape), &mut scratch).unwrap();
    let error = call.parts(2).err().unwrap();
    assert_eq!(error, Error::Scratch { needed: 2 * needed, given: needed });
    assert!(output.o.iter().all(|x| x.is_nan()), "nothing was written");
}

#[test]
fn parts_that_do_not_exist_are_refused() {
    let (case, plan, mut scratch) = good();
    let mut output = case.unwritten();
    let mut call = plan.bind(case.inputs(), output.as_outputs(case.shape), &mut scratch).unwrap();
    assert_eq!(call.part(2, 2).unwrap_err(), Error::Part { index: 2, parts: 2 });
    assert_eq!(call.part(0, 0).unwrap_err(), Error::Part { index: 0, parts: 0 });
    assert_eq!(call.parts(0).err().unwrap(), Error::Part { index: 0, parts: 0 });
}

#[test]
fn key_ranges_out_of_bounds_are_refused() {
    let (_, plan, _) = good();
    #[expect(clippy::reversed_empty_ranges, reason = "a reversed range is what is refused")]
    for range in [5..11, 7..3, 11..11] {
        let std::ops::Range { start, end } = range;
        assert_eq!(plan.keys(start..end).unwrap_err(), Error::KeyRange { start, end, kv_len: 10 });
    }
}

#[test]
fn tokens_that_a_view_does_not_have_are_refused() {
    let x = [0.0; 24];
    let view = View::packed(&x, [1, 3, 2, 4]).unwrap();
    assert_eq!(view.tokens(1..3).unwrap().dims(), [1, 2, 2, 4]);
    assert_eq!(view.tokens(3..3).unwrap().dims(), [1, 0, 2, 4]);
    #[expect(clippy::reversed_empty_ranges, reason = "a reversed range is what is refused")]
    for range in [2..1, 1..4, 4..4] {
        let std::ops::Range { start, end } = range;
        assert_eq!(view.tokens(range).unwrap_err(), Error::KeyRange { start, end, kv_len: 3 });
    }
}

#[test]
fn levels_this_processor_lacks_are_refused() {
    let (_, plan, _) = good();
    for level in Level::ALL {
        let refused = plan.clone().level(level).err();
        assert_eq!(refused, (!level.is_available()).then_some(Error::Level { level }));
    }
}

#[test]
fn entries_made_for_another_width_are_refused() {
    let (case, ..) = good();
    for [entry, _] in Entry::generated(Level::Scalar) {
        let expected = entry.dims().unwrap();
        let refused = Attention::with_entry(case.shape, Mask::full(), *entry).unwrap_err();
        assert_eq!(refused, Error::EntryDims { expected, given: [8, 6] });
    }
    fn never(_: flashlet::entry::Job<'_>) {}
    let tiling = Tiling::attend(Level::Scalar, 8, 8);
    for (expected, fits) in [([8, 6], true), ([8, 8], false), ([6, 6], false)] {
        let entry = Entry::new("mine", Level::Scalar, expected, 64, tiling, never);
        let refused = Attention::with_entry(case.shape, Mask::full(), entry).err();
        let error = Error::EntryDims { expected, given: [8, 6] };
        assert_eq!(refused, (!fits).then_some(error));
    }
}

#[test]
fn tiles_of_nothing_or_of_more_rows_than_bits_are_unsound() {
    let good = Tiling::attend(Level::Portable, 64, 64);
    assert!(good.is_sound(Level::Portable));
    let lanes = Level::Portable.lanes();
    for tiling in [
        Tiling { vectors: 0, ..good },
        Tiling { scalars: 0, ..good },
        Tiling { rows: 0, ..good },
        Tiling { rows: good.vectors * lanes + 1, ..good },
        Tiling { vectors: 64 / lanes + 1, rows: 64 + lanes, ..good },
        Tiling { lanes: Lanes::Keys, rows: 65, ..good },
    ] {
        assert!(!tiling.is_sound(Level::Portable), "{tiling:?}");
    }
}

#[test]
fn states_of_another_size_are_refused() {
    let (case, plan, mut scratch) = good();
    let needed = State::storage_len(&case.shape).unwrap();
    let mut storage = vec![0.0; needed + 1];
    let error = State::empty(&mut storage, &case.shape).unwrap_err();
    assert_eq!(error, Error::Length { tensor: Tensor::State, needed, given: needed + 1 });

    let other = shape(2, 10, case.shape.heads);
    let mut small = vec![0.0; State::storage_len(&other).unwrap()];
    let mut small = State::empty(&mut small, &other).unwrap();
    let mut state = State::empty(&mut storage[1..], &case.shape).unwrap();
    let error = Error::Shape { tensor: Tensor::State, expected: case.shape.o(), given: other.o() };
    assert_eq!(state.merge(&small).unwrap_err(), error);
    let refused = plan.bind_state(case.inputs(), &mut small, &mut scratch).unwrap_err();
    assert!(matches!(refused, Error::Shape { tensor: Tensor::State, .. }));

    let mut output = case.unwritten();
    let o = ViewMut::packed(&mut output.o, case.shape.o()).unwrap();
    let error = state.finish(o, Some(&mut output.lse[1..])).unwrap_err();
    assert_eq!(error, Error::Length { tensor: Tensor::Lse, needed: 12, given: 11 });
    let other = ViewMut::packed(&mut output.o[..48], other.o()).unwrap();
    let (tensor, expected, given) = (Tensor::O, case.shape.o(), other.dims());
    let error = state.finish(other, None).unwrap_err();
    assert_eq!(error, Error::Shape { tensor, expected, given });
    assert!(output.o.iter().all(|x| x.is_nan()), "nothing was written");
}

#[test]
fn a_plain_entry_takes_nothing_that_changes_scores() {
    use flashlet::entry::{Fixed, Job, TILE_K, attend, attend_plain, decode, decode_plain};
    use flashlet::simd::Scalar;
    use flashlet::{Alibi, Level, Softcap, T5Bias};
    fn changing(job: Job<'_>) {
        attend::<Scalar, Fixed<8>, Fixed<8>, 4, 4, TILE_K>(Scalar, job);
    }
    fn plain(job: Job<'_>) {
        attend_plain::<Scalar, Fixed<8>, Fixed<8>, 4, 4, TILE_K>(Scalar, job);
    }
    fn changing_step(job: Job<'_>) {
        decode::<Scalar, TILE_K>(Scalar, job);
    }
    fn plain_step(job: Job<'_>) {
        decode_plain::<Scalar, TILE_K>(Scalar, job);
    }
    let entry = |call: fn(Job<'_>)| {
        let tiling = Tiling { lanes: Lanes::Queries, vectors: 4, scalars: 4, rows: 16 };
        Entry::new("attend", Level::Scalar, [8, 8], TILE_K, tiling, call)
    };
    let step = |call: fn(Job<'_>)| {
        let tiling = Tiling { lanes: Lanes::Keys, vectors: 2, scalars: 4, rows: 32 };
        Entry::new("decode", Level::Scalar, [8, 8], TILE_K, tiling, call)
    };
    let case = Case::random(shape(20, 100, Heads::new(2, 1, 8)), Rule::causal(80), 2);
    let expected = case.run_entry(entry(changing));
    case.run_entry(entry(plain).plain()).assert_same(&expected, "attend");
    case.run_entry(step(changing_step)).assert_same(&expected, "decode");
    case.run_entry(step(plain_step).plain()).assert_same(&expected, "plain decode");
    let plan = case.plan_of(entry(plain).plain());
    let (table, slopes) = ([0.0; 64], [0.5; 2]);
    assert_eq!(plan.modify(&Softcap::new(1.0).unwrap()).err(), Some(Error::PlainEntry));
    assert_eq!(plan.modify(&Alibi::new(&slopes)).err(), Some(Error::PlainEntry));
    assert_eq!(plan.bias(&T5Bias::causal(&table)).err(), Some(Error::PlainEntry));
    let view = View::packed(&table, [1, 8, 1, 8]).unwrap();
    let keys = flashlet::RelativeKeys::new(view, 0);
    assert_eq!(plan.relative_keys(&keys).err(), Some(Error::PlainEntry));
}
