//! Queries, keys and values, stored as a case says.

use crate::caches;
use crate::call::numbers;
use crate::cases::{Case, Element, Kept, Layout};
use flashlet::{AnyView, Cached, Elem, Inputs, Outputs, Shape, Side, Strides, View, ViewMut};
use half::{bf16, f16};

/// A number that can be made from f32 and told as f32.
pub(crate) trait Number: Elem {
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

/// A tensor of one sequence.
pub(crate) struct Data {
    stored: Stored,
    /// `[batch, len, heads, dim]`, and how it lies.
    dims: [usize; 4],
    strides: Strides,
}

/// Plain vectors, of pages as the system hands them out.
enum Stored {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

/// `$body` with the vector of any element as `$data`.
macro_rules! of_any {
    ($stored:expr, $data:ident => $body:expr) => {
        match $stored {
            Stored::F32($data) => $body,
            Stored::F16($data) => $body,
            Stored::Bf16($data) => $body,
        }
    };
}

impl Data {
    fn new(case: &Case, dims: [usize; 4], numbers: impl Iterator<Item = f32>) -> Self {
        let strides = match case.layout {
            Layout::ByHead => Strides::by_head(dims),
            Layout::ByToken | Layout::Latent => Strides::by_token(dims),
        };
        let stored = match case.element {
            Element::F32 => Stored::F32(numbers.map(Number::round).collect()),
            Element::F16 => Stored::F16(numbers.map(Number::round).collect()),
            Element::Bf16 => Stored::Bf16(numbers.map(Number::round).collect()),
        };
        Data { stored, dims, strides: strides.expect("dimensions of benches are small") }
    }

    /// An output that nothing was written to.
    pub(crate) fn nan(case: &Case, dims: [usize; 4]) -> Self {
        Data::new(case, dims, std::iter::repeat_n(f32::NAN, dims.iter().product()))
    }

    /// To be written to.
    pub(crate) fn outputs(&mut self) -> Outputs<'_> {
        let (dims, strides) = (self.dims, self.strides);
        of_any!(&mut self.stored, data => {
            Outputs::new(ViewMut::strided(data, dims, strides).expect("made of these dimensions"))
        })
    }

    fn view(&self) -> AnyView<'_> {
        self.prefix(self.dims[3])
    }

    /// The first channels of each row.
    fn prefix(&self, width: usize) -> AnyView<'_> {
        let ([batch, len, heads, _], strides) = (self.dims, self.strides);
        let dims = [batch, len, heads, width];
        of_any!(&self.stored, data => {
            View::strided(data, dims, strides).expect("made of these dimensions").into()
        })
    }

    /// The same numbers as f32, token after token.
    pub(crate) fn widened(&self) -> Vec<f32> {
        self.prefix_widened(self.dims[3])
    }

    fn prefix_widened(&self, dim: usize) -> Vec<f32> {
        let ([_, len, heads, _], Strides { token, head, .. }) = (self.dims, self.strides);
        let starts = (0..len).flat_map(|t| (0..heads).map(move |h| t * token + h * head));
        of_any!(&self.stored, data => {
            starts.flat_map(|at| &data[at..at + dim]).map(|x| x.widen()).collect()
        })
    }
}

/// The inputs of a case. They stay until a case of another shape, element or layout comes.
#[derive(Default)]
pub(crate) struct Tensors {
    made: Option<(Shape, Element, Option<Kept>, Layout)>,
    data: Vec<Data>,
    /// Keys and values, if they are in a cache.
    cache: Option<Box<dyn Cached>>,
}

impl Tensors {
    /// Makes sure that they are those of this case.
    pub(crate) fn prepare(&mut self, case: &Case) {
        let shape = case.call.shape;
        let wanted = Some((shape, case.element, case.kept, case.layout));
        if self.made == wanted {
            return;
        }
        // The old ones go first, or both would count as memory taken.
        self.data.clear();
        self.cache = None;
        let dims = [(shape.q(), 1), (shape.k(), 2), (shape.v(), 3)];
        self.data.extend(dims.map(|(dims, seed)| Data::new(case, dims, numbers(dims, seed))));
        if let [_, k, v] = &self.data[..] {
            self.cache = caches::of(case, [k.view(), v.view()]);
        }
        self.made = wanted;
    }

    /// Those of the last [`Tensors::prepare`].
    pub(crate) fn inputs(&self) -> Inputs<'_> {
        let [q, k, v] = &self.data[..] else { unreachable!("prepared first") };
        if let Some(cache) = &self.cache {
            return Inputs::cached(q.view(), &**cache);
        }
        let values = match self.made {
            Some((shape, .., Layout::Latent)) => k.prefix(shape.heads.v_dim),
            _ => v.view(),
        };
        Inputs::new(q.view(), k.view(), values)
    }

    /// The same numbers as f32, token after token, for the oracle.
    pub(crate) fn widened(&self) -> [Vec<f32>; 3] {
        let [q, k, v] = &self.data[..] else { unreachable!("prepared first") };
        if let Some(cache) = &self.cache {
            let [k, v] =
                [Side::Keys, Side::Values].map(|side| caches::widened(&**cache, side, k.dims));
            return [q.widened(), k, v];
        }
        let values = match self.made {
            Some((shape, .., Layout::Latent)) => k.prefix_widened(shape.heads.v_dim),
            _ => v.widened(),
        };
        [q.widened(), k.widened(), values]
    }
}
