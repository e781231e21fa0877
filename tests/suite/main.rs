//! Every promise of the crate, as a property that a test can break.

mod biases;
mod bits;
mod case;
mod certified;
mod compositions;
mod errors;
mod frequencies;
mod golden;
mod heads;
mod inspect;
mod masks;
mod math;
mod mixtures;
mod modifiers;
mod patterns;
mod properties;
mod real_heads;
mod relative;
mod scratch;
mod sinks;
mod special;
mod states;
mod storage;
