//! Queries, keys and values, stored as a case says.

use crate::call::numbers;
use crate::cases::Element;
use flashlet::{AnyView, Elem, Inputs, Outputs, Shape, View, ViewMut};
use half::{bf16, f16};

/// A number that can be made from f32 and told as f32.
trait Number: Elem {
    fn round(x: f32) -> Self;
    fn widen(self) -> f32;
}

impl Number for f32 {
    fn round(x: f32) -> Self {
        x
    }
    fn widen(self) -> f32 {
        self
    }
}

impl Number for f16 {
    fn round(x: f32) -> Self {
        f16::from_f32(x)
    }
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Number for bf16 {
    fn round(x: f32) -> Self {
        bf16::from_f32(x)
    }
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

/// Plain vectors, of pages as the system hands them out.
pub(crate) enum Data {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Data {
    fn new(element: Element, numbers: impl Iterator<Item = f32>) -> Self {
        match element {
            Element::F32 => Data::F32(numbers.map(Number::round).collect()),
            Element::F16 => Data::F16(numbers.map(Number::round).collect()),
            Element::Bf16 => Data::Bf16(numbers.map(Number::round).collect()),
        }
    }

    /// An output that nothing was written to.
    pub(crate) fn nan(element: Element, dims: [usize; 4]) -> Self {
        Data::new(element, std::iter::repeat_n(f32::NAN, dims.iter().product()))
    }

    /// To be written to.
    pub(crate) fn outputs(&mut self, dims: [usize; 4]) -> Outputs<'_> {
        fn packed<T: Elem>(data: &mut [T], dims: [usize; 4]) -> ViewMut<'_, T> {
            ViewMut::packed(data, dims).expect("made of these dimensions")
        }
        match self {
            Data::F32(data) => Outputs::new(packed(data, dims)),
            Data::F16(data) => Outputs::new(packed(data, dims)),
            Data::Bf16(data) => Outputs::new(packed(data, dims)),
        }
    }

    fn view(&self, dims: [usize; 4]) -> AnyView<'_> {
        fn packed<T: Elem>(data: &[T], dims: [usize; 4]) -> AnyView<'_> {
            View::packed(data, dims).expect("made of these dimensions").into()
        }
        match self {
            Data::F32(data) => packed(data, dims),
            Data::F16(data) => packed(data, dims),
            Data::Bf16(data) => packed(data, dims),
        }
    }

    /// The same numbers as f32.
    pub(crate) fn widened(&self) -> Vec<f32> {
        fn widened<T: Number>(data: &[T]) -> Vec<f32> {
            data.iter().map(|x| x.widen()).collect()
        }
        match self {
            Data::F32(data) => widened(data),
            Data::F16(data) => widened(data),
            Data::Bf16(data) => widened(data),
        }
    }
}

/// The inputs of a case. They stay until a case of another shape or element comes.
#[derive(Default)]
pub(crate) struct Tensors {
    made: Option<(Shape, Element)>,
    data: Vec<Data>,
}

impl Tensors {
    /// Makes sure that they have this shape and element.
    pub(crate) fn prepare(&mut self, shape: Shape, element: Element) {
        if self.made == Some((shape, element)) {
            return;
        }
        // The old ones go first, or both would count as memory taken.
        self.data.clear();
        let dims = [(shape.q(), 1), (shape.k(), 2), (shape.v(), 3)];
        self.data.extend(dims.map(|(dims, seed)| Data::new(element, numbers(dims, seed))));
        self.made = Some((shape, element));
    }

    /// Those of the last [`Tensors::prepare`].
    pub(crate) fn inputs(&self) -> Inputs<'_> {
        let (Some((shape, _)), [q, k, v]) = (self.made, &self.data[..]) else {
            unreachable!("prepared first")
        };
        Inputs::new(q.view(shape.q()), k.view(shape.k()), v.view(shape.v()))
    }

    /// The same numbers as f32, for the oracle.
    pub(crate) fn widened(&self) -> [Vec<f32>; 3] {
        [0, 1, 2].map(|tensor| self.data[tensor].widened())
    }
}
