//! Attention over integer codes, for processors without a floating-point unit: Cortex-M0, RV32IMAC.
//!
//! Queries, keys and values are codes of 8 or 16 bits ([`Code`]). What a product of a query's and a key's code is worth is said once, as a
//! [`Factor`]. With `t_j = <q, k_j> scale log2(e)`, over the keys j that a token has seen,
//! ```text
//! o_c = sum_j p_j v_jc / sum_j p_j,     p_j = 2^(t_j - m)
//! ```
//! Everything is an integer, products of inner loops have 32 bits, and no float is touched or linked. (64 bits have the scores of `i16` while they
//! are summed, and one product a tile.)
//! - `m` is the largest `t_j` rounded up to a **whole** number, so sums over different keys become sums over all of them by shifts;
//! - `p` is a polynomial of 16-bit factors, within 7.7e-6, rounded to 19 bits (`i8`) or 16 (`i16`);
//! - a tile of [`TILE`] keys is summed exactly (for `i16` products drop 5 bits), and then joins the running sums like any other
//!   [`State`]. When those would pass `2^30`, `m` grows by one. Nothing overflows, whatever the codes, the factor and the number of keys are.
//!
//! Outputs are in units of 2^-15 of the values' full scale, as `i16`: for `i16` values a code, for `i8` values 1/256 of a step. They are
//! within a bound that `oracle/src/fixed.rs` derives and the tests check. Random heads of 32 and 64 channels over 128 to 16384 keys are off by
//! 0.67 of a unit at most with `i8`, where the bound is 0.8 to 2.8, and by 1.5 with `i16`, where it is 1 to 11; most of it is the rounding of the output.
//!
//! **Bits** depend on where tiles begin, and on nothing else: a run of tokens is cut into tiles from its first token on. Runs that are cut at multiples
//! of [`TILE`] give the bits of the whole run, in any layout; other cuts, and [`State::merge`], may round elsewhere.
//!
//! A ring is two runs, a paged cache is a run a block, and a prompt is a token after the other, each over the keys up to its own:
//! ```
//! use flashlet::fixed::{Factor, Plan, State};
//! use flashlet::{Error, Heads, View, ViewMut};
//!
//! const HEADS: Heads = Heads::new(4, 1, 32); // four query heads on one key/value head
//! const LEN: usize = 8;
//! // Steps of 1/32 and 1/16, and a softmax scale of about 1/sqrt(32).
//! const FACTOR: Factor = match Factor::new(0.177 / 32.0 / 16.0) {
//!     Ok(factor) => factor,
//!     Err(_) => panic!("no scale"),
//! };
//! const PLAN: Plan<i8> = match Plan::new(HEADS, FACTOR) {
//!     Ok(plan) => plan,
//!     Err(_) => panic!("no heads"),
//! };
//!
//! /// Causal attention of a prompt.
//! fn prefill(q: &[i8], k: &[i8], v: &[i8], o: &mut [i16]) -> Result<(), Error> {
//!     let mut words = [0; State::storage_len(HEADS)];
//!     let mut scratch = [0; PLAN.scratch_len()];
//!     let keys = View::packed(k, [1, LEN, 1, 32])?;
//!     let values = View::packed(v, [1, LEN, 1, 32])?;
//!     for (i, (q, o)) in q.chunks(4 * 32).zip(o.chunks_mut(4 * 32)).enumerate() {
//!         let mut state = State::empty(&mut words, HEADS)?;
//!         let (q, seen) = (View::packed(q, [1, 1, 4, 32])?, 0..i + 1);
//!         PLAN.absorb(&mut state, q, [keys.tokens(seen.clone())?, values.tokens(seen)?], &mut scratch)?;
//!         state.finish(ViewMut::packed(o, [1, 1, 4, 32])?, None)?;
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let (q, k) = ([3; LEN * 4 * 32], [5; LEN * 32]);
//! let v: Vec<i8> = (0..LEN * 32).map(|at| (at / 32) as i8).collect();
//! let mut o = [0; LEN * 4 * 32];
//! prefill(&q, &k, &v, &mut o)?;
//! // Equal keys: each token gets the mean of the values up to its own, 0, 1/2, 1, ..
//! assert_eq!([o[0], o[4 * 32], o[8 * 32]], [0, 128, 256]);
//! # Ok(())
//! # }
//! ```
//!
//! # Cost
//! On a Cortex-M0, four query heads on one key/value head of 32 channels, 128 keys of `i8`, where no weight is 0: 8.9 instructions for each of the
//! `2 * 128 * 32` multiply-accumulates of a row, everything included; 7.8 for 64 channels and 64 keys, and 14 for 32 channels of `i16`. Two keys
//! without weight are passed over: about 7 where most have none. Below `opt-level = 3` it is more: 14 at `"s"`. On RV32IMAC it is less than 7.
//!
//! # In reading order
//! `factor` and `code` (what goes in), `logits` and `exp2` (from scores to weights), `tile` (the inner loops), `sums` (the online softmax),
//! `state` and `plan` (the caller's side).

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
