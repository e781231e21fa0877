//! Attention, states and biases.

use crate::{Against, Fence, Number, assert_written, len, numbers, on_both_sides};
use flashlet::entry::Entry;
use flashlet::{
    AnyView, Attention, BiasTensor, Heads, Inputs, Level, Lse, Mask, Offset, Outputs, Shape, State,
    Strides, View, ViewMut, Window,
};
use half::{bf16, f16};

/// Every width class: vectors, their tails, one channel, those of generated entries.
const WIDTHS: [[usize; 2]; 9] =
    [[1, 1], [3, 5], [13, 7], [17, 33], [64, 64], [80, 80], [100, 31], [192, 128], [256, 256]];
/// Queries and keys: few and many, a tile and its tail.
const LENGTHS: [[usize; 2]; 5] = [[1, 103], [3, 31], [2, 1], [21, 97], [70, 5]];

fn entries(heads: Heads) -> Vec<Entry> {
    let of_level = |level: Level| {
        let pairs = Entry::generated_pairs(level).iter().filter(move |entry| entry.fits(heads));
        let generated = Entry::generated(level).iter().filter(move |pair| pair[0].fits(heads));
        let generated = generated.flatten().chain(pairs).copied();
        generated.chain(Entry::generic(level, heads)).filter(Entry::is_available)
    };
    Level::available().flat_map(of_level).collect()
}

fn view<T: Number>(x: &[T], dims: [usize; 4], by_head: bool) -> View<'_, T>
where
    for<'v> AnyView<'v>: From<View<'v, T>>,
{
    let strides = if by_head { Strides::by_head(dims) } else { Strides::by_token(dims) };
    View::strided(x, dims, strides.unwrap()).unwrap()
}

fn attend<T: Number>(shape: Shape, mask: Mask, entry: Entry, by_head: bool, against: Against) {
    let [q, k, v] = [shape.q(), shape.k(), shape.v()];
    let plan = Attention::with_entry(shape, mask, entry).unwrap();
    let [q_data, k_data, v_data] = [q, k, v].map(|dims| numbers::<T>(len(dims), against));
    let inputs = Inputs::new(
        view(&q_data, q, by_head),
        view(&k_data, k, by_head),
        view(&v_data, v, by_head),
    );
    let lens = Fence::new(&[shape.kv_len, shape.kv_len / 2][..shape.batch], against);
    let sinks = numbers::<f32>(shape.heads.q, against);
    let mut o = Fence::repeat(T::of(f32::NAN), len(shape.o()), against);
    let mut lse = Fence::repeat(f32::NAN, shape.rows(), against);
    let mut scratch = Fence::repeat(f32::NAN, plan.scratch_len(), against);
    let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
    let outputs = outputs.lse(&mut lse[..]).sinks(&sinks);
    plan.bind(inputs.kv_lens(&lens[..]), outputs, &mut scratch).unwrap().run();
    assert_written(&o, entry.name());
    assert_written(&lse, entry.name());
}

#[test]
fn entries_stay_within_tensors_of_any_length() {
    for [dim, v_dim] in WIDTHS {
        let heads = Heads { q: 4, kv: 2, dim, v_dim };
        for (n, [q_len, kv_len]) in LENGTHS.into_iter().enumerate() {
            let shape = Shape { batch: 1 + n % 2, q_len, kv_len, heads };
            let causal = Mask::causal(Offset::BOTTOM_RIGHT);
            let mask = if n == 3 { (causal & Window::keys(9)).sinks(2) } else { causal };
            for entry in entries(heads) {
                let what = format!("{} {shape:?}", entry.name());
                let by_head = n % 2 == 1;
                on_both_sides(&format!("f32 {what}"), |against| {
                    attend::<f32>(shape, mask, entry, by_head, against);
                });
                on_both_sides(&format!("f16 {what}"), |against| {
                    attend::<f16>(shape, mask, entry, by_head, against);
                });
                on_both_sides(&format!("bf16 {what}"), |against| {
                    attend::<bf16>(shape, mask, entry, by_head, against);
                });
            }
        }
    }
}

/// A state over some keys, with a bias; its output, and that output joined to it.
fn merge(shape: Shape, level: Level, against: Against) {
    let plan = Attention::new(shape, Mask::full()).unwrap().level(level).unwrap();
    let dims = [1, shape.q_len, shape.heads.q, shape.kv_len];
    let bias = numbers::<f32>(len(dims), against);
    let bias = BiasTensor::new(View::packed(&bias, dims).unwrap());
    let plan = plan.bias(&bias).unwrap();
    let [q, k, v] =
        [shape.q(), shape.k(), shape.v()].map(|dims| numbers::<f32>(len(dims), against));
    let inputs = Inputs::new(
        View::packed(&q, shape.q()).unwrap(),
        View::packed(&k, shape.k()).unwrap(),
        View::packed(&v, shape.v()).unwrap(),
    );
    let mut scratch = Fence::repeat(f32::NAN, plan.scratch_len(), against);
    let storage_len = State::storage_len(&shape).unwrap();
    let mut storages = [(); 2].map(|()| Fence::repeat(f32::NAN, storage_len, against));
    let cut = shape.kv_len / 3;
    let mut states = Vec::new();
    for (storage, keys) in storages.iter_mut().zip([0..cut, cut..shape.kv_len]) {
        let mut state = State::empty(storage, &shape).unwrap();
        let plan = plan.keys(keys).unwrap();
        plan.bind_state(inputs, &mut state, &mut scratch).unwrap().run();
        states.push(state);
    }
    State::merge_tree(&mut states).unwrap();
    let mut o = Fence::repeat(f32::NAN, len(shape.o()), against);
    let mut lse = Fence::repeat(f32::NAN, shape.rows(), against);
    states[0].finish(ViewMut::packed(&mut o, shape.o()).unwrap(), Some(&mut lse)).unwrap();
    states[0].join(View::packed(&o, shape.o()).unwrap(), Lse::nats(&lse)).unwrap();
    states[0].finish(ViewMut::packed(&mut o, shape.o()).unwrap(), Some(&mut lse)).unwrap();
    assert_written(&o, "a state");
    assert_written(&lse, "a state");
}

#[test]
fn states_stay_within_their_storage() {
    for [dim, v_dim] in WIDTHS {
        for [q_len, kv_len] in LENGTHS {
            let shape = Shape { batch: 1, q_len, kv_len, heads: Heads { q: 4, kv: 2, dim, v_dim } };
            for level in Level::available() {
                let what = format!("state {level} {shape:?}");
                on_both_sides(&what, |against| merge(shape, level, against));
            }
        }
    }
}
