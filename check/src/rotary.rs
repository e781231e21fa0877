//! Rotary positions: what models turn by, and heads that turn.

mod model;
mod rotation;

use flashlet::{Llama3, Pairing, Scaling, Theta, Yarn};
pub use model::{Model, Names};
pub use rotation::{Rotation, Storage};

use crate::embedded::numbers;

include!(concat!(env!("OUT_DIR"), "/rotary.rs"));
