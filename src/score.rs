//! Scores of one key tile, `s = q . k`, queries in lanes.

use crate::decode::rounding::Rounding;
use crate::products::Products;
use crate::sight::{Run, Seen, live_vectors, with_lo};
use crate::simd::{Rows, Simd};

/// One block of queries.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a, V, const N: usize> {
    /// `[steps, N vectors]`, a step being a channel or a pair of them; or what [`Rounding::round`] makes of a row.
    pub(crate) q: &'a [[V; N]],
    /// How they are rounded, if they are.
    pub(crate) rounding: Option<Rounding>,
    /// What multiplies their scores, if they do not hold it themselves.
    pub(crate) scale: Option<f32>,
}

/// Scores of the keys of a tile against one block of queries.
///
/// Shapes: `keys [keys, steps]`; `s [keys, N vectors]`. A vector of rows none of which sees a key gets no
/// score for it.
#[inline(always)]
pub(crate) fn tile<S, P, const N: usize, const R: usize>(
    simd: S,
    products: P,
    queries: Queries<'_, S::F32, N>,
    keys: Rows<'_>,
    seen: Seen<'_>,
    s: &mut [[S::F32; N]],
) where
    S: Simd,
    P: Products<S>,
{
    for run in seen.runs {
        with_lo!(run.lo, live_vectors::<S, N>(), LO => {
            let start = start_of::<N, LO>(run);
            let Some(s) = s.get_mut(start..run.end) else {
                continue;
            };
            let mut j = start;
            live::<S, P, N, LO, R>(simd, products, queries, keys, s, &mut j);
        });
    }
}

/// Keys at once where only a part of the vectors is live: enough to hide the latency of a chain.
const NARROW: usize = 8;

/// Where to begin with a run. A few keys that are left over, one after the other, would each wait for
/// a chain of their own; where few vectors are live it is faster to do some keys before the run again,
/// to the same bits, and to end with a whole register tile.
#[inline(always)]
const fn start_of<const N: usize, const LO: usize>(run: &Run) -> usize {
    let left_over = (run.end - run.start) % NARROW;
    let again = NARROW - left_over;
    if LO > 0 && left_over > 2 * (N - LO) && run.start >= again {
        run.start - again
    } else {
        run.start
    }
}

/// The keys of one run, from key `j` on, for the vectors `LO..N`.
#[inline(always)]
fn live<S, P, const N: usize, const LO: usize, const R: usize>(
    simd: S,
    products: P,
    queries: Queries<'_, S::F32, N>,
    keys: Rows<'_>,
    s: &mut [[S::F32; N]],
    j: &mut usize,
) where
    S: Simd,
    P: Products<S>,
{
    if LO > 0 {
        let rest = blocks::<S, P, N, LO, NARROW>(simd, products, queries, keys, s, j);
        blocks::<S, P, N, LO, 1>(simd, products, queries, keys, rest, j);
        return;
    }
    let rest = blocks::<S, P, N, LO, R>(simd, products, queries, keys, s, j);
    let rest =
        if R > 4 { blocks::<S, P, N, LO, 4>(simd, products, queries, keys, rest, j) } else { rest };
    let rest = if R > 3 && rest.len() == 3 {
        blocks::<S, P, N, LO, 3>(simd, products, queries, keys, rest, j)
    } else if R > 2 {
        blocks::<S, P, N, LO, 2>(simd, products, queries, keys, rest, j)
    } else {
        rest
    };
    blocks::<S, P, N, LO, 1>(simd, products, queries, keys, rest, j);
}

/// As many whole blocks of `R` keys as `s` holds; returns what is left of `s`.
#[inline(always)]
fn blocks<'a, S, P, const N: usize, const LO: usize, const R: usize>(
    simd: S,
    products: P,
    queries: Queries<'_, S::F32, N>,
    keys: Rows<'_>,
    s: &'a mut [[S::F32; N]],
    j: &mut usize,
) -> &'a mut [[S::F32; N]]
where
    S: Simd,
    P: Products<S>,
{
    let (blocks, rest) = s.as_chunks_mut::<R>();
    for block in blocks {
        let mut scores = products.scores::<N, LO, R>(simd, queries, keys, *j);
        if let Some(scale) = queries.scale {
            for s in scores.as_flattened_mut() {
                *s = simd.mul(*s, simd.splat(scale));
            }
        }
        for (to, s) in block.iter_mut().zip(scores) {
            to[LO..].copy_from_slice(&s[LO..]);
        }
        *j += R;
    }
    rest
}
