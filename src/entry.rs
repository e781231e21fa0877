//! What generated code names: entries, their tiles, and the head sizes they are made for.
//!
//! An entry is a function that runs one algorithm for one head size on one instruction set. It only
//! names a combination:
//! ```
//! use flashlet::entry::{Entry, Fixed, Job, Lanes, Tiling, attend};
//! use flashlet::{Level, simd::Scalar};
//!
//! fn attend_f32_hd8_q16_k48_scalar(job: Job<'_>) {
//!     attend::<Scalar, Fixed<8>, Fixed<8>, 4, 4, 48>(Scalar, job);
//! }
//! const ENTRY: Entry = Entry::new(
//!     "attend_f32_hd8_q16_k48_scalar",
//!     Level::Scalar,
//!     [8, 8],
//!     48,
//!     Tiling { lanes: Lanes::Queries, vectors: 4, scalars: 4, rows: 16 },
//!     attend_f32_hd8_q16_k48_scalar,
//! );
//! assert_eq!(ENTRY.level(), Level::Scalar);
//! ```

pub use crate::dispatch::{Entry, LinearEntry};
pub use crate::job::Job;
pub use crate::linear::{Chunk, Class, Known, class};
pub use crate::position::{Halves, Interleaved, Pairs, Turning};
pub use crate::tiling::{Lanes, TILE_K, Tiling};

use crate::change::{Any, Plain};
use crate::elem::Elem;
use crate::position::Own;
use crate::products::{ByteSums, CodeProducts, F32Products, Products};
use crate::simd::Simd;

/// The width of a head, known when compiling ([`Fixed`]) or when running ([`Dynamic`]).
pub trait Dim: Copy {
    /// The width, given what the plan says.
    fn of(width: usize) -> Self;
    /// The width.
    fn width(self) -> usize;
}

/// A width known when compiling.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<const WIDTH: usize>;

/// A width known when running.
#[derive(Clone, Copy, Debug)]
pub struct Dynamic(usize);

impl<const WIDTH: usize> Dim for Fixed<WIDTH> {
    #[inline(always)]
    fn of(width: usize) -> Self {
        const { assert!(WIDTH > 0, "a head has channels") };
        debug_assert_eq!(width, WIDTH, "dispatch chooses an entry by its widths");
        Fixed
    }
    #[inline(always)]
    fn width(self) -> usize {
        WIDTH
    }
}

impl Dim for Dynamic {
    #[inline(always)]
    fn of(width: usize) -> Self {
        Dynamic(width)
    }
    #[inline(always)]
    fn width(self) -> usize {
        // The plan refuses 0; saying so here removes the division checks.
        self.0.max(1)
    }
}

/// Attention for the query tiles of a job: `N` vectors of rows by `R` keys are one register tile,
/// `TILE_K` keys one tile. To be called from a function that enables the instructions of `S`.
#[inline(always)]
pub fn attend<S, K, V, const N: usize, const R: usize, const TILE_K: usize>(simd: S, job: Job<'_>)
where
    S: Simd,
    K: Dim,
    V: Dim,
{
    const { assert!(N > 0 && R > 0 && TILE_K > 0, "a tile holds something") };
    const { assert!(N * S::LANES <= 64, "a block has a bit a row in a u64") };
    crate::attend::run::<S, F32Products, Any, K, V, N, R, TILE_K>(simd, F32Products, Any, job);
}

/// As [`attend`], for plans that change no score, by no modifier, bias or relative key, and no value: a few hundred bytes
/// less. The entry must say so: [`Entry::plain`].
#[inline(always)]
pub fn attend_plain<S, K, V, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    job: Job<'_>,
) where
    S: Simd,
    K: Dim,
    V: Dim,
{
    const { assert!(N > 0 && R > 0 && TILE_K > 0, "a tile holds something") };
    const { assert!(N * S::LANES <= 64, "a block has a bit a row in a u64") };
    let (products, plain) = (F32Products, Plain);
    crate::attend::run::<S, F32Products, Plain, K, V, N, R, TILE_K>(simd, products, plain, job);
}

/// As [`attend`], with products of bf16 pairs: [`crate::Precision::Bf16Products`].
#[inline(always)]
pub fn attend_pairs<S, P, K, V, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    products: P,
    job: Job<'_>,
) where
    S: Simd,
    P: Products<S>,
    K: Dim,
    V: Dim,
{
    const { assert!(N > 0 && R > 0 && TILE_K > 0, "a tile holds something") };
    const { assert!(N * S::LANES <= 64, "a block has a bit a row in a u64") };
    const { assert!(P::DEPTH == 2 && TILE_K.is_multiple_of(2), "keys come in pairs") };
    crate::attend::run::<S, P, Any, K, V, N, R, TILE_K>(simd, products, Any, job);
}

/// As [`attend`], with scores of codes in integers: [`crate::Precision::Int8Products`].
#[inline(always)]
pub(crate) fn attend_integers<S, B, K, V, const N: usize, const R: usize, const TILE_K: usize>(
    simd: S,
    bytes: B,
    job: Job<'_>,
) where
    S: Simd,
    B: ByteSums<S>,
    K: Dim,
    V: Dim,
{
    const { assert!(N > 0 && R > 0 && TILE_K > 0, "a tile holds something") };
    const { assert!(N * S::LANES <= 64, "a block has a bit a row in a u64") };
    let products = CodeProducts(bytes);
    crate::attend::run::<S, _, Any, K, V, N, R, TILE_K>(simd, products, Any, job);
}

/// As [`attend`] for few queries, with keys in the lanes. The same bits. One function serves every head
/// size, since its inner loops are functions of their own, one for each element.
#[inline(always)]
pub fn decode<S: Simd, const TILE_K: usize>(simd: S, job: Job<'_>) {
    const { assert!(TILE_K > 0, "a tile holds something") };
    crate::decode::run::<S, Any, TILE_K>(simd, Any, job);
}

/// As [`decode`], for plans that change no score and no value: see [`attend_plain`].
#[inline(always)]
pub fn decode_plain<S: Simd, const TILE_K: usize>(simd: S, job: Job<'_>) {
    const { assert!(TILE_K > 0, "a tile holds something") };
    crate::decode::run::<S, Plain, TILE_K>(simd, Plain, job);
}

/// Turns the heads of a token in place: rotary positions for `R` channels. To be called from a function that enables the
/// instructions of `S`.
#[inline(always)]
pub fn rotate<S: Simd, P: Pairs, R: Dim, T: Elem>(simd: S, turning: Turning<'_, T>) {
    crate::position::run::<S, P, R, T, Own>(simd, turning);
}

/// Linear attention, [`CHUNK`](crate::CHUNK) tokens at once: register tiles of `R` tokens by `N` vectors of value channels. To be
/// called from a function that enables the instructions of `S`.
#[inline(always)]
pub fn linear_chunk<S, F, K, V, const N: usize, const R: usize>(simd: S, chunk: Chunk<'_>)
where
    S: Simd,
    F: Known,
    K: Dim,
    V: Dim,
{
    crate::linear::chunk::<S, F, K, V, N, R>(simd, chunk);
}

/// Linear attention, one token, `N` vectors of value channels at once.
#[inline(always)]
pub fn linear_step<S: Simd, F: Known, const N: usize>(simd: S, chunk: Chunk<'_>) {
    crate::linear::step::<S, F, N>(simd, chunk);
}
