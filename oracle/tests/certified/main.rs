//! The bound against a plain f32 model of the kernel: never exceeded, nearly reached, and exceeded by wrong kernels.

mod adversary;
mod climb;
mod defects;
mod families;
mod instruction;
mod model;
mod narrow;
mod never_exceeded;
mod real_heads;
mod special_values;
