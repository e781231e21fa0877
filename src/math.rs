//! Numerics shared by kernels.

mod exp2;
pub use exp2::{exp2, exp2_bf16};
