//! Scores of one key tile: `s = q . k`, queries in lanes, and their running maximum.

use crate::simd::{Rows, Simd};
use core::ops::Range;

/// `s[r][n] = q[n] . k[j + r]` for `R` keys: one chain of multiply-adds a lane, in channel order.
///
/// A key's element is broadcast and meets `N` vectors of queries; nothing is ever summed across
/// lanes, so a score's bits know nothing of the lane count.
#[inline(always)]
fn dot<'a, S: Simd, const N: usize, const R: usize>(
    simd: S,
    q: &'a [[S::F32; N]],
    keys: Rows<'a>,
    j: usize,
) -> [[S::F32; N]; R] {
    let mut s = [[simd.splat(0.0); N]; R];
    for (k, q) in keys.across::<R, _>(j, q) {
        for r in 0..R {
            let k = simd.splat(k[r]);
            for n in 0..N {
                s[r][n] = simd.mul_add(k, q[n], s[r][n]);
            }
        }
    }
    s
}

/// Scores of the keys of `range` against one block of queries, and the maximum with `m`.
///
/// Shapes: `q [head_dim, N vectors]`, pre-scaled by `scale * log2(e)`; `s [range.len(), N vectors]`.
/// `seen[j - range.start]` has bit `i` set if row `i` of the block may see key `j`; where it may
/// not, the score is replaced by -inf, so nothing of the key is left. `None`: all see all.
#[inline(always)]
pub(crate) fn tile<S: Simd, const N: usize, const R: usize>(
    simd: S,
    q: &[[S::F32; N]],
    keys: Rows<'_>,
    range: &Range<usize>,
    seen: Option<&[u64]>,
    s: &mut [[S::F32; N]],
    m: &[S::F32; N],
) -> [S::F32; N] {
    let mut max = *m;
    let mut j = range.start;
    let mut seen = seen;
    let rest = blocks::<S, N, R>(simd, q, keys, &mut j, &mut seen, s, &mut max);
    let rest = if R > 4 {
        blocks::<S, N, 4>(simd, q, keys, &mut j, &mut seen, rest, &mut max)
    } else {
        rest
    };
    let rest = if R > 2 {
        blocks::<S, N, 2>(simd, q, keys, &mut j, &mut seen, rest, &mut max)
    } else {
        rest
    };
    blocks::<S, N, 1>(simd, q, keys, &mut j, &mut seen, rest, &mut max);
    max
}

/// As many whole blocks of `R` keys as `s` holds; returns what is left of `s`.
#[inline(always)]
fn blocks<'a, S: Simd, const N: usize, const R: usize>(
    simd: S,
    q: &[[S::F32; N]],
    keys: Rows<'_>,
    j: &mut usize,
    seen: &mut Option<&[u64]>,
    s: &'a mut [[S::F32; N]],
    max: &mut [S::F32; N],
) -> &'a mut [[S::F32; N]] {
    let (blocks, rest) = s.as_chunks_mut::<R>();
    for block in blocks {
        *block = dot::<S, N, R>(simd, q, keys, *j);
        if let Some(bits) = seen
            && let Some((now, later)) = bits.split_first_chunk::<R>()
        {
            for (s, bits) in block.iter_mut().zip(now) {
                hide(simd, s, *bits);
            }
            *bits = later;
        }
        for s in block.iter() {
            for (max, &s) in max.iter_mut().zip(s) {
                *max = simd.max(s, *max);
            }
        }
        *j += R;
    }
    rest
}

/// -inf wherever a row may not see the key.
#[inline(always)]
fn hide<S: Simd, const N: usize>(simd: S, s: &mut [S::F32; N], bits: u64) {
    for (n, s) in s.iter_mut().enumerate() {
        let mask = simd.mask(bits >> (n * S::LANES));
        *s = simd.select(mask, *s, simd.splat(f32::NEG_INFINITY));
    }
}
