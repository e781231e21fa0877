//! The parts: all that the bound takes for granted, and the functions of gates.

mod angles;
mod formats;
mod functions;
mod gates;

use crate::part::AnyPart;
use flashlet::{E4m3, E5m2};
use half::{bf16, f16};
use std::marker::PhantomData;

/// All of them, in the order of the table.
pub const PARTS: &[&dyn AnyPart] = &[
    &functions::Exp2,
    &functions::Exp2Bf16,
    &functions::Exp,
    &functions::Tanh,
    &functions::Ln,
    &functions::Reciprocal,
    &gates::Scalar::<gates::Softplus>(PhantomData),
    &gates::Scalar::<gates::Sigmoid>(PhantomData),
    &gates::Scalar::<gates::Silu>(PhantomData),
    &angles::Phase,
    &angles::Radians,
    &formats::Narrow::<f16>(PhantomData),
    &formats::Narrow::<bf16>(PhantomData),
    &formats::Nearest::<E4m3>(PhantomData),
    &formats::Nearest::<E5m2>(PhantomData),
    &formats::Widen::<f16>(PhantomData),
    &formats::Widen::<bf16>(PhantomData),
    &formats::Widen::<E4m3>(PhantomData),
    &formats::Widen::<E5m2>(PhantomData),
    &formats::Decode::<E4m3>(PhantomData),
    &formats::Decode::<E5m2>(PhantomData),
];
