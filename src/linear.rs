//! Linear attention: a state of fixed size that forgets, learns and is read.
//!
//! ```text
//! family             what there is: a gate and a rule
//! shape features memory inputs plan      what the caller says
//! room               scratch
//! call               head by head, chunk by chunk: rows come in as f32, and go out
//! step | chunk       one token, or several at once:
//!          scores      what tokens have to do with each other
//!          block       what they find, read and learn
//! gates              from what models store to gates, and back to outputs
//! normaliser         what outputs are divided by, and how well that is known
//! ```

mod block;
mod call;
mod chunk;
mod dot;
mod family;
mod features;
mod gates;
mod inputs;
mod memory;
mod normaliser;
mod panel;
mod plan;
mod room;
mod scores;
mod shape;
mod step;

pub use call::LinearCall;
pub use chunk::CHUNK;
pub use chunk::Chunk;
pub(crate) use chunk::run as chunk;
pub use family::{Class, Family, Gate, Known, Rule, class};
pub(crate) use features::apply;
pub use features::{EluPlusOne, ExpFeatures, FeatureMap, Relu, SquaredRelu};
pub use gates::{
    GatedDelta, Gla, Hgrn2, KimiDelta, Lightning, Mamba2, log_sigmoid, retention_decay,
    retention_decays, rwkv6_gates, rwkv7_gates, sigmoid, silu, softplus,
};
pub use inputs::LinearInputs;
pub use memory::{Memory, Snapshots};
pub use normaliser::Conditioning;
pub use plan::{Form, LinearAttention, LinearOutputs};
pub use shape::{HeadMap, LinearHeads, LinearShape};
pub(crate) use step::run as step;
