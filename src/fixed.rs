//! Attention in integers, for processors that have no floating point.

mod code;
mod exp2;
mod factor;
mod logits;
mod plan;
mod state;
mod sums;
mod tile;

pub use code::Code;
pub use factor::Factor;
pub use plan::Plan;
pub use state::State;
pub use tile::TILE;
