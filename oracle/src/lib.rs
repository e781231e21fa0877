//! Exact attention, and the error that a kernel is allowed.
//!
//! ```text
//! s_ij = scale * <q_i, k_j>        for the keys j that query i sees
//! p_ij = exp(s_ij - lse_i),        lse_i = ln sum_j exp(s_ij)
//! o_i  = sum_j p_ij v_j
//! ```
//!
//! Two things live here, both in f64, in plain loops, without dependencies:
//!
//! - [`attend_row`]: the definition above, one row at a time. The inputs are the numbers that the kernel sees, as
//!   f32, which holds every f16 and bf16 exactly: rounding *to* what is stored is nobody's error.
//! - [`bound_row`], [`running_bound_row`]: for every output of that row a number that the error of a correct
//!   kernel cannot exceed. Not a tolerance somebody found agreeable: a theorem about the kernel's algorithm,
//!   derived at the head of `src/bound.rs`, evaluated for this very input.
//!
//! [`certify`] compares a kernel's output with both and says how close it came.
//!
//! [`rope`] is the same for rotary positions: frequencies to 30 digits, rotated rows, and a bound for their elements.
//!
//! The files, in reading order: `problem.rs` (the data of one call), `attend.rs` (the definition),
//! `arithmetic.rs` (what a kernel may choose), `rounding.rs` (what one operation may do to a number and a chain of
//! them to a sum), `bound.rs` (the theorem; its sections 1 to 3 in `bound/`), `certify.rs` (the verdict).
//! `tests/certified` tries to break the theorem.
//! Apart from these, `fixed.rs` (codes, in integers throughout), `integers.rs` (queries and weights in 8 bits), `double.rs` (numbers of 106 bits) and `rope.rs`.
//!
//! # Example
//! Two keys with equal scores share the weight. The kernel returned 1.5 and ln 2, rounded to f32:
//! ```
//! use oracle::{Arithmetic, Form, Problem, Shape, certify};
//!
//! let shape = Shape { batch: 1, q_len: 1, kv_len: 2, q_heads: 1, kv_heads: 1, head_dim: 1, v_dim: 1 };
//! let problem = Problem { shape, scale: 1.0, q: &[1.0], k: &[0.5, 0.5], v: &[1.0, 2.0], visible: &|_| true, sinks: &[], modify: None, beside: None };
//!
//! let (o, lse) = ([1.5_f32], [0.5 + core::f32::consts::LN_2]);
//! let verdict = certify(&problem, &Arithmetic::fused(96), Form::Running, &o, Some(&lse));
//! assert!(verdict.holds(), "{verdict}");
//!
//! let verdict = certify(&problem, &Arithmetic::fused(96), Form::Running, &[1.500_002], None);
//! assert!(!verdict.holds());
//! ```

mod arithmetic;
mod attend;
mod bound;
mod certify;
mod double;
pub mod fixed;
mod integers;
pub mod linear;
mod problem;
pub mod rope;
mod rounding;
mod sensitivity;

pub use arithmetic::{Arithmetic, CUBIC_ERROR, Format, Products};
pub use attend::{Row, attend_row};
pub use bound::{Bound, Form, bound_row, running_bound_row};
pub use certify::{Place, Verdict, certify, certify_rows};
pub use integers::{certify_integers, rounded_queries};
pub use problem::{Modified, Pair, Problem, Shape};
pub use rounding::LN_ERROR;
pub use sensitivity::sensitivity_row;
