//! Numerics shared by kernels.

mod exp2;
mod tanh;
pub use exp2::{exp2, exp2_bf16};
pub use tanh::{TANH_ULPS, tanh};
