//! Numerics shared by kernels.

mod exp;
mod exp2;
mod radians;
mod sin_cos;
mod tanh;
pub use exp::exp;
pub use exp2::{exp2, exp2_bf16};
pub use radians::sin_cos_of_radians;
pub use sin_cos::{SIN_COS_ERROR, sin_cos};
pub use tanh::{TANH_ULPS, tanh};
