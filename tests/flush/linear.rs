//! Linear attention: states, gates, condition numbers.

use crate::{Against, Fence, Number, assert_written, len, numbers, on_both_sides};
use flashlet::{
    AnyView, AnyViewMut, Family, Form, Gate, Level, LinearAttention, LinearHeads, LinearInputs,
    LinearOutputs, LinearShape, Memory, Rule, View, ViewMut,
};
use half::{bf16, f16};

/// The same numbers, all below 0: what gates are.
fn below<T: Number>(len: usize, against: Against) -> Fence<T> {
    Fence::repeat(T::of(-0.125), len, against)
}

fn run<T: Number>(
    shape: LinearShape,
    family: Family,
    (level, form): (Level, Form),
    against: Against,
) where
    for<'v> AnyView<'v>: From<View<'v, T>>,
    for<'v> AnyViewMut<'v>: From<ViewMut<'v, T>>,
{
    let heads = shape.heads;
    let (one, wide) = (shape.per_state(1), shape.per_state(heads.dim));
    let [q, k, v] = [shape.q(), shape.k(), shape.v()].map(|dims| numbers::<T>(len(dims), against));
    let gates = below::<T>(len(shape.gates(family)), against);
    let [beta, a, b] = [one, wide, wide].map(|dims| below::<T>(len(dims), against));
    let [decay, bonus] =
        [heads.states(), heads.states() * heads.dim].map(|n| below::<f32>(n, against));
    let inputs = LinearInputs::new(
        View::packed(&q, shape.q()).unwrap(),
        View::packed(&k, shape.k()).unwrap(),
        View::packed(&v, shape.v()).unwrap(),
    );
    let inputs = match family.gate {
        Gate::Never => inputs,
        Gate::Head => inputs.decay(&decay),
        _ => inputs.gates(View::packed(&gates, shape.gates(family)).unwrap()),
    };
    let inputs = match family.rule {
        Rule::Add => inputs,
        Rule::Bonus => inputs.bonus(&bonus),
        Rule::Delta => inputs.beta(View::packed(&beta, one).unwrap()),
        Rule::LowRank => {
            inputs.low_rank(View::packed(&a, wide).unwrap(), View::packed(&b, wide).unwrap())
        }
    };
    let mut state = Fence::repeat(T::of(0.5), Memory::len(&shape).unwrap(), against);
    let mut sums = Fence::repeat(0.5, Memory::normaliser_len(&shape).unwrap(), against);
    let mut o = Fence::repeat(T::of(f32::NAN), len(shape.o()), against);
    let mut condition = Fence::repeat(f32::NAN, o.len() / heads.v_dim, against);
    let plan = LinearAttention::new(shape, family).unwrap().level(level).unwrap().form(form);
    let memory = Memory::new(&mut state, &shape).unwrap();
    let outputs = LinearOutputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
    let (plan, memory, outputs) = match plan.normalised(0.0) {
        Ok(plan) => {
            let memory = memory.normaliser(&mut sums, &shape).unwrap();
            (plan, memory, outputs.condition(&mut condition))
        }
        Err(_) => (plan, memory, outputs),
    };
    let room = plan.scratch_len() + plan.staging_len();
    let mut scratch = Fence::repeat(f32::NAN, room, against);
    plan.bind(inputs, outputs, memory, &mut scratch).unwrap().run();
    assert_written(&o, "linear attention");
    assert_written(&state, "a state");
}

#[test]
fn linear_attention_stays_within_tensors_of_any_length() {
    let gates = [Gate::Never, Gate::Head, Gate::Token, Gate::Channel];
    let rules = [Rule::Add, Rule::Bonus, Rule::Delta, Rule::LowRank];
    let families = gates.iter().flat_map(|gate| rules.map(|rule| Family { gate: *gate, rule }));
    for (n, family) in families.enumerate() {
        for (dim, v_dim) in [(64, 64), (13, 7), (1, 3), (33, 100)] {
            let heads = LinearHeads { q: 4, v_dim, ..LinearHeads::new(2, dim) };
            for (len, form) in [(1, Form::Recurrent), (5, Form::Recurrent), (37, Form::Chunked)] {
                let shape = LinearShape { batch: 1 + n % 2, len, heads };
                for way in Level::available().map(|level| (level, form)) {
                    let what = format!("linear {family:?} {shape:?} {way:?}");
                    on_both_sides(&what, |against| {
                        run::<f32>(shape, family, way, against);
                        run::<f16>(shape, family, way, against);
                        run::<bf16>(shape, family, way, against);
                    });
                }
            }
        }
    }
}
