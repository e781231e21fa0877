//! Hunts numeric instability: each module turns bytes into a case of one kind, runs it on every level, and judges it by
//! the certified bound of the f64 oracle. A wrong result is a panic that names the case.
//!
//! The targets in `fuzz/` hand over what libFuzzer finds; `cargo test` replays the corpora and runs seeded random bytes.
//!
//! | module | what it decodes | what must hold |
//! |---|---|---|
//! | [`attend`] | shapes, masks, strides, storage, data; with extras patterns, modifiers and sinks | the bound, on every level; the same bits on all levels of a class |
//! | [`state_merge`] | a row cut into parts, in any order of merging | the bound of the whole; a merged empty part changes no bit |
//! | [`linear`] | every gate with every rule, heads, features, storage; a stream cut into calls of either form | the bound of each call, from the state that it was given; the same bits on all levels of a class, in parts, and in one call where cuts are those of chunks |
//! | [`rope`] | bases, scalings, pairings, positions, axes, tables, storage, and parameters that cannot be | the turns of the formula to the last bit, the bound, the same bits on all levels of a class and with a table; errors that leave all as it is |
//! | [`formats`] | a format, its scales, rows of any class | numbers within half a step of what they were; the bound of what is kept, in integers too |
//! | [`cache`] | what is done to caches, step by step | one block, a ring and shared blocks have the bits of a list of tokens |
//!
//! Beside libFuzzer, [`climb`] looks for the largest error there is, and [`stress`] for what makes attention lose digits;
//! [`subject`] is what they judge: this crate's kernels, or any other implementation.

pub mod attend;
pub mod cache;
mod calls;
pub mod climb;
mod dues;
mod extras;
pub mod feedback;
mod floats;
pub mod formats;
mod layout;
pub mod linear;
mod machine;
mod memory;
pub mod rope;
pub mod state_merge;
pub mod stress;
pub mod subject;
mod tensor;
mod told;

pub use floats::mutate;
