//! Planning, binding and running allocate nothing.

use flashlet::{
    Attention, Family, Form, Heads, Inputs, Level, LinearAttention, LinearHeads, LinearInputs,
    LinearOutputs, LinearShape, Mask, Memory, Offset, Outputs, Shape, State, View, ViewMut, Window,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn nothing_is_allocated_from_plan_to_merged_state() {
    let shape = Shape { batch: 2, q_len: 37, kv_len: 150, heads: Heads::new(6, 2, 64) };
    let len = |dims: [usize; 4]| dims.iter().product::<usize>();
    let (q, k, v) =
        (vec![0.1; len(shape.q())], vec![0.2; len(shape.k())], vec![0.3; len(shape.v())]);
    let (mut o, mut lse) = (vec![0.0; len(shape.o())], vec![0.0; shape.rows()]);
    let mut storage = vec![0.0; 2 * State::storage_len(&shape).unwrap()];
    let (one, two) = storage.split_at_mut(State::storage_len(&shape).unwrap());
    let levels: Vec<_> = Level::available().collect();
    let scratch_len = levels.iter().map(|level| shape.heads.scratch_len(*level)).max().unwrap();
    let mut scratch = vec![0.0; 3 * scratch_len];
    let lens = [150, 33];

    let before = ALLOCATIONS.with(Cell::get);
    for &level in &levels {
        let mask = Mask::causal(Offset::BOTTOM_RIGHT) & Window::keys(50);
        let plan = Attention::new(shape, mask.sinks(2)).unwrap().level(level).unwrap();
        let inputs = Inputs::new(
            View::packed(&q, shape.q()).unwrap(),
            View::packed(&k, shape.k()).unwrap(),
            View::packed(&v, shape.v()).unwrap(),
        )
        .kv_lens(&lens[..]);
        let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o()).unwrap()).lse(&mut lse[..]);
        for part in plan.bind(inputs, outputs, &mut scratch).unwrap().parts(3).unwrap() {
            part.run();
        }
        let mut front = State::empty(one, &shape).unwrap();
        let mut back = State::empty(two, &shape).unwrap();
        plan.keys(0..96).unwrap().bind_state(inputs, &mut front, &mut scratch).unwrap().run();
        plan.keys(96..150).unwrap().bind_state(inputs, &mut back, &mut scratch).unwrap().run();
        front.merge(&back).unwrap();
        front.finish(ViewMut::packed(&mut o, shape.o()).unwrap(), Some(&mut lse)).unwrap();
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);

    let shape = LinearShape { batch: 1, len: 37, heads: LinearHeads::new(2, 64) };
    let mut state = vec![0.0_f32; Memory::len(&shape).unwrap()];
    let before = ALLOCATIONS.with(Cell::get);
    for form in [Form::Recurrent, Form::Chunked] {
        let plan = LinearAttention::new(shape, Family::RETNET).unwrap().form(form);
        let view = View::packed(&q, shape.q()).unwrap();
        let inputs = LinearInputs::new(view, view, view).decay(&[-0.1, -0.2]);
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, shape.o()).unwrap());
        let memory = Memory::new(&mut state, &shape).unwrap();
        plan.bind(inputs, outputs, memory, &mut scratch).unwrap().run();
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);

    let counted = ALLOCATIONS.with(Cell::get);
    drop(std::hint::black_box(vec![0_u8; 1]));
    assert_eq!(ALLOCATIONS.with(Cell::get) - counted, 1, "the counter counts");
}
