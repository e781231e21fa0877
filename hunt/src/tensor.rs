//! Numbers as they are stored, whatever in.

use crate::layout::Layout;
use flashlet::{AnyView, AnyViewMut, View, ViewMut};
use half::{bf16, f16};
use oracle::Format;

/// What a tensor may be stored in.
pub(crate) const FORMATS: [Format; 3] = [Format::F32, Format::F16, Format::Bf16];

/// Numbers, as they are stored.
#[derive(Clone)]
pub(crate) enum Tensor {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

/// Bits, all NaNs alike: which NaN comes out is not promised.
pub(crate) fn canonical(x: f32) -> u32 {
    if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }
}

impl Tensor {
    pub(crate) fn rounded(x: &[f32], format: Format) -> Self {
        let x = x.iter().copied();
        match format {
            Format::F32 => Tensor::F32(x.collect()),
            Format::F16 => Tensor::F16(x.map(f16::from_f32).collect()),
            Format::Bf16 => Tensor::Bf16(x.map(bf16::from_f32).collect()),
        }
    }

    pub(crate) fn format(&self) -> Format {
        match self {
            Tensor::F32(_) => Format::F32,
            Tensor::F16(_) => Format::F16,
            Tensor::Bf16(_) => Format::Bf16,
        }
    }

    pub(crate) fn widened(&self) -> Vec<f32> {
        match self {
            Tensor::F32(x) => x.clone(),
            Tensor::F16(x) => x.iter().map(|x| x.to_f32()).collect(),
            Tensor::Bf16(x) => x.iter().map(|x| x.to_f32()).collect(),
        }
    }

    /// A packed tensor, laid out: NaN in all gaps.
    pub(crate) fn spread(&self, dims: [usize; 4], layout: Layout) -> Self {
        match self {
            Tensor::F32(x) => Tensor::F32(layout.spread(dims, x, f32::NAN)),
            Tensor::F16(x) => Tensor::F16(layout.spread(dims, x, f16::NAN)),
            Tensor::Bf16(x) => Tensor::Bf16(layout.spread(dims, x, bf16::NAN)),
        }
    }

    /// The other way.
    ///
    /// # Panics
    /// If something was written between the rows.
    pub(crate) fn gathered(&self, dims: [usize; 4], layout: Layout) -> Self {
        let packed = match self {
            Tensor::F32(x) => Tensor::F32(layout.gather(dims, x)),
            Tensor::F16(x) => Tensor::F16(layout.gather(dims, x)),
            Tensor::Bf16(x) => Tensor::Bf16(layout.gather(dims, x)),
        };
        let is_whole = packed.spread(dims, layout).bits() == self.bits();
        assert!(is_whole, "written between the rows of {dims:?}, {layout:?}");
        packed
    }

    fn bits(&self) -> Vec<u32> {
        match self {
            Tensor::F32(x) => x.iter().map(|x| x.to_bits()).collect(),
            Tensor::F16(x) => x.iter().map(|x| x.to_bits().into()).collect(),
            Tensor::Bf16(x) => x.iter().map(|x| x.to_bits().into()).collect(),
        }
    }

    pub(crate) fn view(&self, dims: [usize; 4], layout: Layout) -> AnyView<'_> {
        let strides = layout.strides(dims);
        match self {
            Tensor::F32(x) => View::strided(x, dims, strides).expect("long enough").into(),
            Tensor::F16(x) => View::strided(x, dims, strides).expect("long enough").into(),
            Tensor::Bf16(x) => View::strided(x, dims, strides).expect("long enough").into(),
        }
    }

    pub(crate) fn view_mut(&mut self, dims: [usize; 4], layout: Layout) -> AnyViewMut<'_> {
        let strides = layout.strides(dims);
        match self {
            Tensor::F32(x) => ViewMut::strided(x, dims, strides).expect("rows apart").into(),
            Tensor::F16(x) => ViewMut::strided(x, dims, strides).expect("rows apart").into(),
            Tensor::Bf16(x) => ViewMut::strided(x, dims, strides).expect("rows apart").into(),
        }
    }
}

/// The format alone: the input that a replay needs is the file.
impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, len) = match self {
            Tensor::F32(x) => ("f32", x.len()),
            Tensor::F16(x) => ("f16", x.len()),
            Tensor::Bf16(x) => ("bf16", x.len()),
        };
        write!(f, "{len} x {name}")
    }
}
