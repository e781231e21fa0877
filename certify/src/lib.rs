//! Every input through the parts that the bound is made of, on every level, and a table of what they miss.
//!
//! The bound of [`oracle`] is a theorem about sums and products, given what the parts may miss: `exp2`, `tanh`, `ln`,
//! division, sine and cosine, conversions. A part takes one number of at most 32 bits, so *for all inputs* is a matter
//! of minutes, and no argument about polynomials is needed.
//!
//! ```text
//! part       what a part is: its inputs, what it must give, what it may miss
//! parts/     the parts: functions of one number, angles, formats
//! definition formats of 8 and 16 bits, and rounding to them, as the standards say
//! sweep      inputs through parts on all levels, by all cores
//! table      what was measured beside what is recorded and what is allowed
//! ```
//!
//! # What is exact enough
//! Functions are compared with those of f64, which the platform's libm has within a relative error of 2^-51, 2^-27 of a unit in
//! the last place of f32: eight digits of an entry are right, and six are recorded. `tests/reference.rs` compares these
//! references with numbers of 106 bits. Conversions are compared with their definition in f64, where nothing is rounded.

mod definition;
mod part;
mod parts;
mod sweep;
mod table;

pub use part::AnyPart;
pub use parts::PARTS;
pub use sweep::{Sweep, at};
pub use table::{Fault, Reading, Row, Scope, faults, json, parse, table, tsv};
