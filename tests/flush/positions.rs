//! Rotary positions: in place, onto another tensor, from a table, and of queries inside of attention.

use crate::{Against, Fence, Number, assert_written, len, numbers, on_both_sides};
use flashlet::{
    Attention, Heads, Inputs, Level, Mask, Offset, Onto, Outputs, Pairing, Phase, Positions, Rope,
    Shape, Theta, TurnedQueries, View, ViewMut,
};
use half::{bf16, f16};

const TOKENS: usize = 7;

/// Heads of so many channels, of which those from `first` on turn.
#[derive(Clone, Copy, Debug)]
struct Turning {
    dim: usize,
    rot_dim: usize,
    first: usize,
    pairing: Pairing,
    level: Level,
}

fn turn<T: Number, U: Number>(turning: Turning, against: Against) {
    let Turning { dim, rot_dim, first, pairing, level } = turning;
    let mut turns = Fence::repeat(0_u64, rot_dim / 2, against);
    Theta::new(10_000.0).fill(&mut turns).unwrap();
    let rope = Rope::new(Phase::Exact(&turns), 1.0, pairing).unwrap();
    let rope = rope.first_channel(first).level(level).unwrap();
    let mut table = Fence::repeat(f32::NAN, rope.table_len(TOKENS + 3).unwrap(), against);
    rope.fill_table(5, &mut table).unwrap();
    assert_written(&table, "a table");
    let dims = [1, TOKENS, 3, dim];
    let list: Vec<u32> = (5..5 + TOKENS as u32).collect();
    let list = Fence::new(&list, against);
    for rope in [rope, rope.table(5, &table).unwrap()] {
        let mut x = numbers::<T>(len(dims), against);
        let mut view = ViewMut::packed(&mut x, dims).unwrap();
        rope.rotate(Positions::list(&list), &mut [&mut view]).unwrap();
        assert_written(&x, "turned in place");
        let mut onto = Fence::repeat(U::of(f32::NAN), len(dims), against);
        let to = ViewMut::packed(&mut onto, dims).unwrap();
        let mut to = Onto::new(View::packed(&x, dims).unwrap(), to).unwrap();
        rope.rotate(Positions::from(6), &mut [&mut to]).unwrap();
        assert_written(&onto, "turned onto another");
    }
    let shape = Shape { batch: 1, q_len: TOKENS, kv_len: 9, heads: Heads::new(3, 1, dim) };
    let [q, k, v] =
        [shape.q(), shape.k(), shape.v()].map(|dims| numbers::<f32>(len(dims), against));
    let queries = TurnedQueries::new(rope, 2);
    let plan = Attention::new(shape, Mask::causal(Offset::BOTTOM_RIGHT)).unwrap();
    let plan = plan.level(level).unwrap().turn_queries(&queries).unwrap();
    let mut o = Fence::repeat(f32::NAN, len(shape.o()), against);
    let mut scratch = Fence::repeat(f32::NAN, plan.scratch_len(), against);
    let inputs = Inputs::new(
        View::packed(&q, shape.q()).unwrap(),
        View::packed(&k, shape.k()).unwrap(),
        View::packed(&v, shape.v()).unwrap(),
    );
    let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
    plan.bind(inputs, outputs, &mut scratch).unwrap().run();
    assert_written(&o, "turned queries");
}

#[test]
fn ropes_stay_within_tensors_and_tables() {
    let widths = [(2, 2, 0), (13, 10, 3), (34, 34, 0), (64, 64, 0), (100, 62, 38), (128, 128, 0)];
    for (dim, rot_dim, first) in widths {
        for pairing in [Pairing::Halves, Pairing::Interleaved] {
            for level in Level::available() {
                let turning = Turning { dim, rot_dim, first, pairing, level };
                on_both_sides(&format!("{turning:?}"), |against| {
                    turn::<f32, bf16>(turning, against);
                    turn::<f16, f32>(turning, against);
                    turn::<bf16, f16>(turning, against);
                });
            }
        }
    }
}
