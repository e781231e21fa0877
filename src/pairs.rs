//! Rows of stored numbers into scratch as pairs of bf16, each in the bits of an f32: what
//! [`crate::products`] multiplies two at a time.

use crate::elem::Elem;
use crate::simd::Rows;

/// As [`crate::moves::flat`]: `to[j * width + c]` is the pair of the channels `2c` and `2c + 1` of
/// row `j`.
#[inline(always)]
pub(crate) fn flat<T: Elem>(rows: Rows<'_, T>, to: &mut [f32], width: usize) {
    for (j, to) in to.chunks_mut(width.max(1)).enumerate().take(rows.len()) {
        pair(rows.row(j), to);
    }
}

/// Pairs of bf16 from neighbouring rows: `to[t * width + c]` is the pair of channel `c` of the rows
/// `2t` and `2t + 1`; 0 for a row that is not there.
#[inline(always)]
pub(crate) fn weave<T: Elem>(rows: Rows<'_, T>, to: &mut [f32], width: usize) {
    for (t, to) in to.chunks_mut(width.max(1)).enumerate().take(rows.len().div_ceil(2)) {
        let (even, odd) = (rows.row(2 * t), rows.row(2 * t + 1));
        if odd.is_empty() {
            for (to, even) in to.iter_mut().zip(even) {
                *to = f32::from_bits(u32::from(even.to_bf16().to_bits()));
            }
        }
        for ((to, even), odd) in to.iter_mut().zip(even).zip(odd) {
            *to = join(*even, *odd);
        }
    }
}

/// `to[c]` is the pair of `from[2c]` and `from[2c + 1]`; zeros follow the last number.
#[inline(always)]
fn pair<T: Elem>(from: &[T], to: &mut [f32]) {
    let (pairs, last) = from.as_chunks::<2>();
    for (to, [low, high]) in to.iter_mut().zip(pairs) {
        *to = join(*low, *high);
    }
    if let (Some(to), [last]) = (to.get_mut(pairs.len()), last) {
        *to = f32::from_bits(u32::from(last.to_bf16().to_bits()));
    }
}

/// The bits of a pair.
#[inline(always)]
fn join<T: Elem>(low: T, high: T) -> f32 {
    let bits = |x: T| u32::from(x.to_bf16().to_bits());
    f32::from_bits(bits(low) | bits(high) << 16)
}
