//! From what models store to what linear attention reads: log decays, betas, keys and values.
//!
//! A gate `g` is the natural logarithm of what a state keeps of itself, `S = exp(g) S + ..`, so never above 0; models project
//! something else, and each has a formula of its own. All are computed in f32 from tensors of any element. Gates are written
//! as f32: rounded to 8 or 11 bits they would forget at another rate.
//!
//! ```text
//! functions     softplus, sigmoid ...: numbers of one channel
//! mamba2        steps, values, and what follows the scan
//! delta         Gated DeltaNet and KDA: gates and betas
//! channels      GLA, HGRN-2, RWKV: gates of channels
//! decay         RetNet and Lightning: one number a head, known beforehand
//! ```

mod channels;
mod decay;
mod delta;
mod functions;
mod mamba2;

pub use channels::{Gla, Hgrn2, rwkv6_gates, rwkv7_gates};
pub use decay::{Lightning, retention_decay, retention_decays};
pub use delta::{GatedDelta, KimiDelta};
pub use functions::{log_sigmoid, sigmoid, silu, softplus};
pub use mamba2::Mamba2;

use crate::dispatch::check_len;
use crate::elem::Elem;
use crate::error::{Error, Knob, Tensor};
use crate::simd::Scalar;
use crate::view::{View, ViewMut};

/// What a missing bias adds: `x + -0 = x`, bit for bit.
const NO_BIAS: f32 = -0.0;

/// The same number in f32.
#[inline(always)]
fn widen<T: Elem>(x: T) -> f32 {
    T::load(Scalar, &[x])
}

/// The nearest number that can be stored.
#[inline(always)]
fn narrow<T: Elem>(x: f32) -> T {
    let mut to = [T::default()];
    T::store(Scalar, x, &mut to);
    let [x] = to;
    x
}

/// The only number of a row that is one channel wide.
#[inline(always)]
fn number<T: Elem>(row: &[T]) -> f32 {
    row.first().map_or(f32::NAN, |x| widen(*x))
}

/// Whether a tensor has the shape it must have.
fn check_dims(tensor: Tensor, expected: [usize; 4], given: [usize; 4]) -> Result<(), Error> {
    if expected == given { Ok(()) } else { Err(Error::Shape { tensor, expected, given }) }
}

/// Whether a list has one number a head, or none at all.
fn check_heads(tensor: Tensor, heads: usize, given: usize) -> Result<(), Error> {
    if given == 0 { Ok(()) } else { check_len(tensor, heads, given) }
}

/// Numbers a head has in a list of `[heads, channels]`, 0 of an empty one.
fn channels_of(tensor: Tensor, heads: usize, given: usize) -> Result<usize, Error> {
    match given.checked_div(heads) {
        Some(channels) if given.is_multiple_of(heads) => Ok(channels),
        Some(channels) => {
            Err(Error::Length { tensor, needed: (channels + 1).saturating_mul(heads), given })
        }
        None => check_len(tensor, 0, given).map(|()| 0),
    }
}

/// The numbers of one head in a list of `[heads, channels]`, then `otherwise`.
#[inline(always)]
fn of_head(list: &[f32], h: usize, channels: usize, otherwise: f32) -> impl Iterator<Item = f32> {
    let own = list.get(h.saturating_mul(channels)..).unwrap_or(&[]);
    own.iter().copied().chain(core::iter::repeat(otherwise))
}

/// A number of a gate, if it is one that makes sense.
const fn in_range(knob: Knob, number: f32, makes_sense: bool) -> Result<f32, Error> {
    if makes_sense { Ok(number) } else { Err(Error::Gates { knob, bits: number.to_bits() }) }
}

/// Sequence and token of all rows of a head.
fn tokens(dims: [usize; 4]) -> impl Iterator<Item = (usize, usize)> {
    let [batch, len] = if dims.contains(&0) { [0; 2] } else { [dims[0], dims[1]] };
    (0..batch).flat_map(move |b| (0..len).map(move |i| (b, i)))
}

/// Writes `f` of each channel.
#[inline(always)]
fn map_channels<T: Elem, U: Elem>(from: &[T], to: &mut [U], f: impl Fn(f32) -> f32) {
    for (from, to) in from.iter().zip(to) {
        *to = narrow(f(widen(*from)));
    }
}

/// Gates of the same shape as what they are computed from, each by itself.
fn map<T: Elem>(
    raw: &View<'_, T>,
    gates: &mut ViewMut<'_>,
    f: impl Fn(f32) -> f32,
) -> Result<(), Error> {
    let dims = raw.dims();
    check_dims(Tensor::Gates, dims, gates.dims())?;
    for (b, i) in tokens(dims) {
        for h in 0..dims[2] {
            map_channels(raw.row(b, i, h), gates.row_mut(b, i, h), &f);
        }
    }
    Ok(())
}
