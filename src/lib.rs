//! Attention kernels without an allocator.
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

mod attend;
mod call;
mod dispatch;
pub mod entry;
mod error;
#[cfg(feature = "specialised")]
mod generated;
mod mask;
pub mod math;
pub mod online;
mod plan;
mod score;
mod shape;
pub mod simd;
mod state;
mod tiling;
mod view;

pub use call::{Call, Inputs, Outputs, Part};
pub use error::{Error, Tensor};
pub use mask::{Mask, Offset, Window};
pub use plan::Attention;
pub use shape::{Heads, Shape};
pub use simd::Level;
pub use state::State;
pub use tiling::TILE_K;
pub use view::{Strides, View, ViewMut};
