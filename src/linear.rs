//! Linear attention.

mod gates;

pub use gates::{
    GatedDelta, Gla, Hgrn2, KimiDelta, Lightning, Mamba2, log_sigmoid, retention_decay,
    retention_decays, rwkv6_gates, rwkv7_gates, sigmoid, silu, softplus,
};
