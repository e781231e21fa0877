//! Attention kernels for firmware, WASM and inference engines: `no_std`, no allocation, no panic.
//!
//! For every query head `h` and its key/value head `g = h / group`, over the keys `j` that query `i`
//! may see:
//! ```text
//! s_ij = scale * <q_i, k_j>        p_ij = exp(s_ij - lse_i),  lse_i = ln sum_j exp(s_ij)
//! o_i  = sum_j p_ij v_j
//! ```
//! computed in one pass over tiles of keys (flash attention), in memory that does not grow with the
//! context.
//!
//! ```
//! use flashlet::{Attention, Heads, Inputs, Mask, Offset, Outputs, Shape, View, ViewMut};
//!
//! # fn main() -> Result<(), flashlet::Error> {
//! let shape = Shape { batch: 1, q_len: 4, kv_len: 4, heads: Heads::new(6, 2, 64) };
//! let attention = Attention::new(shape, Mask::causal(Offset::TOP_LEFT))?;
//!
//! let (q, k, v) = ([0.1; 4 * 6 * 64], [0.2; 4 * 2 * 64], [0.3; 4 * 2 * 64]);
//! let mut o = [0.0; 4 * 6 * 64];
//! let mut scratch = vec![0.0; attention.scratch_len()];
//! let inputs = Inputs::new(
//!     View::packed(&q, shape.q())?, // [batch, q_len, q_heads, head_dim]
//!     View::packed(&k, shape.k())?, // [batch, kv_len, kv_heads, head_dim]
//!     View::packed(&v, shape.v())?, // [batch, kv_len, kv_heads, v_dim]
//! );
//! let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o())?);
//! attention.bind(inputs, outputs, &mut scratch)?.run();
//! assert!((o[0] - 0.3).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//! - **Error.** Every element of the output is within a bound computed from the inputs, not within a
//!   tolerance; the tests check it on every entry of every instruction set.
//! - **Bits.** A row's bits depend on its inputs, on [`TILE_K`] and on whether the level fuses
//!   multiply-add ([`Level::is_fused`]); not on lanes, threads, batch, or how a prompt is cut into chunks.
//!   (Products of bf16 pairs, if a plan allows them, also depend on which keys are paired; products of integers on nothing else.)
//! - **Containment.** A key that a query may not see changes no bit of its row, even if it is NaN.
//!   A query that sees no key gives zeros, and a log-sum-exp of -inf.
//! - **Failure.** [`Attention::new`] and [`Attention::bind`] check every number and name the ones that
//!   disagree. What they return runs without a way to fail.
//!
//! # The house
//! Data flow downwards; each line is a file.
//! ```text
//! shape view mask error    what the caller says; `mask/` holds the patterns that a band cannot say
//! plan call varlen job     checked once, then run, whole or in parts, of sequences as long or of any lengths
//! tiling dispatch entry    which function, specialised for which head size and instruction set
//! elem moves pairs staged  how numbers are stored, and how a tile of them becomes f32; `room` for a row on the stack
//! cache                    keys and values from call to call: straight, in a ring, in blocks
//! attend                   for each query tile, for each key tile that its mask names:
//!   sight                      who of a block sees which keys of the tile
//!   score                      s = q . k
//!   change                     and what becomes of it: relative, temperature modifier, bias
//!   online                     m, l, o: the mathematics of flash attention on one screen
//! decode                   the same for few queries, with keys in the lanes; `integers` for products of codes
//! outer products           the one inner loop, and what it multiplies
//! position                 rotary positions: theta real    how fast each pair turns, to a hundred bits
//!                                            phase         from positions to angles, exact or as trained
//!                                            rope turn     tokens, and the rotation itself
//!                          and what is added to embeddings: absolute
//! state lse sinks          partial results that merge, and logits that join them
//! linear                   a state of fixed size instead of keys: gates, rules, steps and chunks
//! fixed                    attention over codes in integers alone: a house of its own, for processors without floats
//! inspect                  what a row looks at
//! math simd                2^x, sines, and the lanes it is computed in: the only home of intrinsics
//! generated                entries written by `cargo kernels`
//! ```
//!
//! # Features
//! - `std` (default): detects instruction sets through std's macros, otherwise through `cpufeatures`.
//! - `specialised` (default): the generated entries. Without them every head size takes the generic
//!   path: smaller, somewhat slower, the same bits.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(
        dead_code,
        unused_imports,
        reason = "codes of many queries: only x86-64 has instructions for them here"
    )
)]

#[cfg(feature = "std")]
extern crate std;

mod attend;
mod bias;
mod cache;
mod call;
mod change;
mod decode;
mod defect;
mod dispatch;
mod elem;
pub mod entry;
mod error;
pub mod fixed;
#[cfg(feature = "specialised")]
mod generated;
mod inspect;
mod job;
mod linear;
mod lse;
mod mask;
pub mod math;
mod modifier;
mod moves;
mod online;
mod outer;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod plan;
mod position;
mod products;
mod relative;
mod room;
mod score;
mod shape;
mod sight;
pub mod simd;
mod sinks;
mod staged;
mod state;
mod temperature;
mod tiling;
mod varlen;
mod view;

pub use bias::{BiasTensor, Lookup, T5Bias};
pub use cache::{
    CacheShape, Cached, Given, Groups, KvCache, NewKeys, Order, PagedCache, PagedRead, Pages,
    Scales, Side, hadamard,
};
pub use call::{Call, Inputs, Outputs, Part};
pub use change::Row;
pub use elem::{BLOCK, E4m3, E5m2, Elem, Format, Overflow, Q4_0, Q8_0};
pub use error::{Error, Knob, List, Tensor};
pub use inspect::{Inspector, RowStatistics};
pub use linear::{
    CHUNK, Conditioning, EluPlusOne, ExpFeatures, Family, FeatureMap, Form, Gate, GatedDelta, Gla,
    HeadMap, Hgrn2, KimiDelta, Lightning, LinearAttention, LinearCall, LinearHeads, LinearInputs,
    LinearOutputs, LinearShape, Mamba2, Memory, Relu, Rule, Snapshots, SquaredRelu, log_sigmoid,
    retention_decay, retention_decays, rwkv6_gates, rwkv7_gates, sigmoid, silu, softplus,
};
pub use lse::{Base, Bits, Lse, Nats};
pub use mask::{
    And, BigBird, BlockSparse, Cell, Chunks, Classify, Coverage, Dilation, Documents, Globals,
    Mask, Offset, Or, Pattern, Place, Predicate, Prefix, Table, Unknown, Window,
};
pub use modifier::{Alibi, At, Bias, Capped, Modifier, Natural, Softcap};
pub use plan::Attention;
pub use position::{
    Angles, Axes, InvFreq, Learned, Llama3, LongRope, Onto, Pairing, Phase, Positions, Rope,
    Rotated, Scaling, Sinusoidal, Sinusoids, Spacing, Theta, TurnedKeys, TurnedQueries, Turns,
    Yarn,
};
pub use products::{Precision, Products};
pub use relative::{RelativeKeys, RelativeValues};
pub use shape::{Heads, Shape};
pub use simd::Level;
pub use state::State;
pub use temperature::{Temperature, Tempered, Untempered};
pub use tiling::TILE_K;
pub use varlen::{Varlen, VarlenPart};
pub use view::{AnyView, AnyViewMut, Strides, View, ViewMut};

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
