//! Hunts numeric instability: each module turns bytes into a case of one kind, runs it on every level, and judges it by
//! the certified bound of the f64 oracle. A wrong result is a panic that names the case.
//!
//! The targets in `fuzz/` hand over what libFuzzer finds; `cargo test` replays the corpora and runs seeded random bytes.
//!
//! | module | what it decodes | what must hold |
//! |---|---|---|
//! | [`attend`] | shapes, masks, storage, data; with extras patterns, modifiers and sinks | the bound, on every level; the same bits on all levels of a class |
//! | [`linear`] | every gate with every rule, heads, features, storage; a stream cut into calls of either form | the bound of each call, from the state that it was given; the same bits on all levels of a class, in parts, and in one call where cuts are those of chunks |
//! | [`rope`] | bases, scalings, pairings, positions, axes, tables, storage, and parameters that cannot be | the turns of the formula to the last bit, the bound, the same bits on all levels of a class and with a table; errors that leave all as it is |
//! | [`state_merge`] | a row cut into parts, in any order of merging | the bound of the whole; a merged empty part changes no bit |

pub mod attend;
mod extras;
pub mod feedback;
mod floats;
pub mod linear;
pub mod rope;
pub mod state_merge;
mod tensor;

pub use floats::mutate;
