//! Attention heads of real models and their rotary positions, checked on any host by certified bound.
//!
//! Each [`Case`] carries its inputs, the exact result in f64 and the error that a correct kernel
//! cannot exceed; the build script worked them out with the oracle and they are constants here.
//! [`run`] computes a case at one instruction-set level, measures it against the bound and takes a
//! digest of the output's bits. So do a [`Model`]'s frequencies and tables, a [`Rotation`] of
//! heads, a [`Recurrence`] over their tokens, and what a small [`device`] does with them. [`check_all`] does all of it at every level of the host.
//!
//! Nothing is allocated and std is not needed: the same code runs on a desktop (`main.rs`), in a
//! WASM engine (`wasm.rs`) and on a microcontroller (`firmware/`), and all print the same lines.
#![no_std]
#![deny(unsafe_code)]

mod case;
pub mod device;
mod digest;
mod embedded;
mod outcome;
mod recurrence;
mod report;
mod rotary;
mod run;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use case::{CASES, Case, Exact, Limits};
pub use digest::Fnv1a;
pub use outcome::Outcome;
pub use recurrence::{RECURRENCES, Recurrence};
pub use report::{Kind, Line, Verdict, check_all};
pub use rotary::{MODELS, Model, Names, ROTATIONS, Rotation, Storage};
pub use run::{Workspace, run};
