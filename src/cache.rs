//! Keys and values kept from call to call: memory of the caller's, in any [`Format`](crate::Format).
//!
//! ```text
//! shape     CacheShape: how many tokens, how they lie, how many bytes
//! tokens    what is appended: as it is, or turned by a rope on its way
//! hadamard  the rotation of keys and queries that spreads outliers
//! scales    what codes are multiplied by
//! groups    scales that tokens side by side share
//! store     the memory of all keys, or of all values: rows are rounded on their way in, widened on their way out
//! codes     products of codes in integers
//! kv        KvCache: one sequence, straight or in a ring behind sinks
//! pages     PagedCache: sequences that share blocks
//! runs      tokens that lie behind each other
//! read      what attention asks of either
//! ```
//! Where a token lies depends on its index alone, never on how many came at once. Attention reads tokens in order, a canonical tile at a
//! time: a wrapped ring, a straight cache and a paged one give the same bits, and the bits are those of attention on the same numbers in
//! f32 tensors.

mod codes;
mod groups;
mod hadamard;
mod kv;
mod paged_read;
mod pages;
mod read;
mod runs;
mod scales;
mod shape;
mod store;
mod tokens;

pub use groups::Groups;
pub use hadamard::hadamard;
pub use kv::KvCache;
pub use paged_read::PagedRead;
pub use pages::{PagedCache, Pages};
pub(crate) use read::Read;
pub use read::{Cached, Side};
pub use scales::{Given, Scales};
pub use shape::{CacheShape, Order};
pub use tokens::NewKeys;
