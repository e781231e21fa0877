//! Scores of one key tile: `s = q . k`, queries in lanes, and their running maximum.

use crate::outer::outer;
use crate::sight::{Run, Seen, with_lo};
use crate::simd::{Rows, Simd};

/// Scores of the keys of a tile against one block of queries, and the maximum with `m`.
///
/// Shapes: `q [head_dim, N vectors]`, pre-scaled by `scale * log2(e)`; `s [keys, N vectors]`. Where a
/// row may not see a key its score is replaced by -inf, so nothing of the key is left; a vector of rows
/// none of which sees a key gets no score for it.
#[inline(always)]
pub(crate) fn tile<S: Simd, const N: usize, const R: usize>(
    simd: S,
    q: &[[S::F32; N]],
    keys: Rows<'_>,
    seen: Seen<'_>,
    s: &mut [[S::F32; N]],
    m: &[S::F32; N],
) -> [S::F32; N] {
    let mut max = *m;
    for run in seen.runs {
        let Some(s) = s.get_mut(run.start..run.end) else {
            continue;
        };
        with_lo!(run.lo, N, LO => max = live::<S, N, LO, R>(simd, q, keys, seen, run, s, max));
    }
    // Of two zeros either may come first; for every order of the keys it is +0 from here on.
    for max in &mut max {
        *max = simd.add(*max, simd.splat(0.0));
    }
    max
}

/// The keys of one run, for the vectors `LO..N`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the registers of one inner loop")]
fn live<S: Simd, const N: usize, const LO: usize, const R: usize>(
    simd: S,
    q: &[[S::F32; N]],
    keys: Rows<'_>,
    seen: Seen<'_>,
    run: &Run,
    s: &mut [[S::F32; N]],
    max: [S::F32; N],
) -> [S::F32; N] {
    let mut at = At { j: run.start, bits: if run.masked { seen.bits(run) } else { &[] }, max };
    // Enough chains to hide the latency of one; then the rest, in as few bodies as pay.
    let rest = if LO == 0 || (N - LO) * R >= 8 {
        blocks::<S, N, LO, R>(simd, q, keys, s, &mut at)
    } else if (N - LO) * 4 >= 8 {
        blocks::<S, N, LO, 4>(simd, q, keys, s, &mut at)
    } else {
        blocks::<S, N, LO, 8>(simd, q, keys, s, &mut at)
    };
    let rest =
        if R > 4 || LO > 0 { blocks::<S, N, LO, 4>(simd, q, keys, rest, &mut at) } else { rest };
    let rest = if R > 3 && LO == 0 && rest.len() == 3 {
        blocks::<S, N, LO, 3>(simd, q, keys, rest, &mut at)
    } else if R > 2 && LO == 0 {
        blocks::<S, N, LO, 2>(simd, q, keys, rest, &mut at)
    } else {
        rest
    };
    blocks::<S, N, LO, 1>(simd, q, keys, rest, &mut at);
    at.max
}

/// How far the keys of a run have come.
struct At<'a, V, const N: usize> {
    j: usize,
    /// The lanes that may see each key from `j` on; empty where all may.
    bits: &'a [u64],
    max: [V; N],
}

/// As many whole blocks of `R` keys as `s` holds; returns what is left of `s`.
#[inline(always)]
fn blocks<'a, S: Simd, const N: usize, const LO: usize, const R: usize>(
    simd: S,
    q: &[[S::F32; N]],
    keys: Rows<'_>,
    s: &'a mut [[S::F32; N]],
    at: &mut At<'_, S::F32, N>,
) -> &'a mut [[S::F32; N]] {
    let (blocks, rest) = s.as_chunks_mut::<R>();
    for block in blocks {
        let zero = [[simd.splat(0.0); N]; R];
        let steps = keys.across::<R>(at.j, q.len()).zip(q.iter().copied());
        let mut scores = outer::<S, N, LO, R>(simd, zero, steps);
        if let Some((now, later)) = at.bits.split_first_chunk::<R>() {
            for (s, bits) in scores.iter_mut().zip(now) {
                hide::<S, N, LO>(simd, s, *bits);
            }
            at.bits = later;
        }
        for (to, s) in block.iter_mut().zip(scores) {
            for n in LO..N {
                at.max[n] = simd.max(s[n], at.max[n]);
                to[n] = s[n];
            }
        }
        at.j += R;
    }
    rest
}

/// -inf wherever a row may not see the key.
#[inline(always)]
fn hide<S: Simd, const N: usize, const LO: usize>(simd: S, s: &mut [S::F32; N], bits: u64) {
    for (n, s) in s.iter_mut().enumerate().skip(LO) {
        let mask = simd.mask(bits >> (n * S::LANES));
        *s = simd.select(mask, *s, simd.splat(f32::NEG_INFINITY));
    }
}
