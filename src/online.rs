//! The online softmax: all the mathematics of flash attention on one screen.
//!
//! Over the keys seen so far, with scores `s_j` in units of log2 (the scale already holds log2 e),
//! a row keeps
//! ```text
//! m = max s_j        l = sum 2^(s_j - m)        o = sum 2^(s_j - m) v_j
//! ```
//! and the attention of the row is `o / l`. A further tile of keys joins by
//! ```text
//! m'         = max(m, max of the tile)
//! correction = 2^(m - m')                        p_j = 2^(s_j - m')
//! l          = l * correction + sum p_j          o   = o * correction + sum p_j v_j
//! ```
//! (Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867; Dao et
//! al., "FlashAttention", arXiv 2205.14135.) What differs here, and why:
//!
//! 1. A tile's sums start at zero and join the running ones in one step, so an element passes
//!    through `TILE_K + kv_len / TILE_K` additions instead of `kv_len`: a tighter error bound.
//! 2. They start at **-0.0**, since `x + -0.0 == x` to the bit even for `x = -0.0`: a tile in which a
//!    row sees nothing is an exact no-op. For the same reason an empty row holds `o = -0.0`.
//! 3. A row that has seen no key has `m = -inf`, and `-inf - -inf` is NaN. Where `m'` is -inf, 0
//!    stands in for it: every weight is `2^-inf = 0`.
//! 4. NaN scores never enter `m` (see [`Simd::max`]), but their weight is NaN, so `l` and `o` are.

use crate::math::exp2;
use crate::outer::{outer, outer_where};
use crate::sight::{Seen, with_lo};
use crate::simd::{Rows, Simd};

/// The running state of `N` vectors of query rows, one row a lane. `o` is `[v_dim, N vectors]`.
#[derive(Debug)]
pub(crate) struct Online<'a, S: Simd, const N: usize> {
    /// Largest score so far; -inf before the first.
    pub(crate) m: &'a mut [S::F32; N],
    /// Sum of weights.
    pub(crate) l: &'a mut [S::F32; N],
    /// Weighted sum of values, not yet divided by `l`.
    pub(crate) o: &'a mut [[S::F32; N]],
}

impl<S: Simd, const N: usize> Online<'_, S, N> {
    /// No key seen yet: the identity of [`Online::merge`].
    #[inline(always)]
    pub(crate) fn clear(&mut self, simd: S) {
        *self.m = [simd.splat(f32::NEG_INFINITY); N];
        *self.l = [simd.splat(0.0); N];
        self.o.fill([simd.splat(-0.0); N]);
    }

    /// Joins one tile of keys. `s [keys, N vectors]` holds its scores and receives its weights; `max`
    /// is the larger of `m` and the tile's maximum; `values` are those of the keys. The value of a
    /// key is not added to a row that may not see it, not even times 0, so it may be NaN.
    #[inline(always)]
    pub(crate) fn absorb<const C: usize>(
        &mut self,
        simd: S,
        max: [S::F32; N],
        s: &mut [[S::F32; N]],
        values: Rows<'_>,
        seen: Seen<'_>,
    ) {
        let correction = self.raise(simd, &max);
        self.weigh(simd, &correction, s, seen);
        // Where one vector is live, more channels hide the latency.
        if N > 1 && seen.lo() == N - 1 {
            channels::<S, N, 8>(simd, self.o, &correction, s, values, seen);
        } else {
            channels::<S, N, C>(simd, self.o, &correction, s, values, seen);
        }
    }

    /// Turns the scores of a tile into weights, and joins their sum.
    #[inline(always)]
    fn weigh(&mut self, simd: S, correction: &[S::F32; N], s: &mut [[S::F32; N]], seen: Seen<'_>) {
        let mut l = [simd.splat(-0.0); N];
        let mut m = *self.m;
        for m in &mut m {
            *m = finite(simd, *m);
        }
        for run in seen.runs {
            let Some(s) = s.get_mut(run.start..run.end) else {
                continue;
            };
            with_lo!(run.lo, N, LO => {
                for p in s {
                    for n in LO..N {
                        p[n] = exp2(simd, simd.sub(p[n], m[n]));
                        l[n] = simd.add(l[n], p[n]);
                    }
                }
            });
        }
        for n in 0..N {
            self.l[n] = simd.mul_add(self.l[n], correction[n], l[n]);
        }
    }

    /// Joins the state `(m, l, o)` of the same rows over other keys. A state that has seen no key
    /// changes no bit.
    #[inline(always)]
    pub(crate) fn merge(&mut self, simd: S, m: &[S::F32; N], l: &[S::F32; N], o: &[[S::F32; N]]) {
        let mut max = *self.m;
        for n in 0..N {
            max[n] = simd.max(m[n], max[n]);
        }
        let mine = self.raise(simd, &max);
        let mut theirs = mine;
        for n in 0..N {
            theirs[n] = exp2(simd, simd.sub(m[n], finite(simd, max[n])));
            self.l[n] = simd.mul_add(self.l[n], mine[n], simd.mul(l[n], theirs[n]));
        }
        for (mine_o, o) in self.o.iter_mut().zip(o) {
            for n in 0..N {
                mine_o[n] = simd.mul_add(mine_o[n], mine[n], simd.mul(o[n], theirs[n]));
            }
        }
    }

    /// Divides `o` by `l`, once: `o / l`, or +0.0 for a row that has seen no key.
    #[inline(always)]
    pub(crate) fn finish(&mut self, simd: S) {
        let zero = simd.splat(0.0);
        let one = simd.splat(1.0);
        let mut r = *self.l;
        for r in &mut r {
            *r = simd.select(simd.eq(*r, zero), zero, simd.div(one, *r));
        }
        for o in self.o.iter_mut() {
            for n in 0..N {
                o[n] = simd.add(simd.mul(o[n], r[n]), zero);
            }
        }
    }

    /// Moves `m` up to `max`; returns what the sums must be multiplied by.
    #[inline(always)]
    pub(crate) fn raise(&mut self, simd: S, max: &[S::F32; N]) -> [S::F32; N] {
        let mut correction = *max;
        for n in 0..N {
            correction[n] = exp2(simd, simd.sub(self.m[n], finite(simd, max[n])));
        }
        *self.m = *max;
        correction
    }
}

/// `m`, or 0 where no key has been seen.
#[inline(always)]
pub(crate) fn finite<S: Simd>(simd: S, m: S::F32) -> S::F32 {
    simd.select(simd.eq(m, simd.splat(f32::NEG_INFINITY)), simd.splat(0.0), m)
}

/// `o[c] = o[c] * correction + sum p_j v_j[c]` for all channels, `C` at a time.
#[inline(always)]
fn channels<S: Simd, const N: usize, const C: usize>(
    simd: S,
    o: &mut [[S::F32; N]],
    correction: &[S::F32; N],
    p: &[[S::F32; N]],
    values: Rows<'_>,
    seen: Seen<'_>,
) {
    let mut c = 0;
    let o = join::<S, N, C>(simd, o, correction, p, values, seen, &mut c);
    let o = if C > 4 { join::<S, N, 4>(simd, o, correction, p, values, seen, &mut c) } else { o };
    let o = if C > 2 { join::<S, N, 2>(simd, o, correction, p, values, seen, &mut c) } else { o };
    join::<S, N, 1>(simd, o, correction, p, values, seen, &mut c);
}

/// As many whole blocks of `C` channels as `o` holds, from channel `c` on; returns the rest of `o`.
#[inline(always)]
fn join<'a, S: Simd, const N: usize, const C: usize>(
    simd: S,
    o: &'a mut [[S::F32; N]],
    correction: &[S::F32; N],
    p: &[[S::F32; N]],
    values: Rows<'_>,
    seen: Seen<'_>,
    c: &mut usize,
) -> &'a mut [[S::F32; N]] {
    let (blocks, rest) = o.as_chunks_mut::<C>();
    for block in blocks {
        let mut sum = [[simd.splat(-0.0); N]; C];
        for run in seen.runs {
            let p = p.get(run.start..run.end).unwrap_or(&[]);
            let steps = values.down::<C>(*c, &(run.start..run.end)).zip(p.iter().copied());
            if run.masked {
                let steps = steps.zip(seen.bits(run));
                with_lo!(run.lo, N, LO => sum = outer_where::<S, N, LO, C>(simd, sum, steps));
            } else {
                with_lo!(run.lo, N, LO => sum = outer::<S, N, LO, C>(simd, sum, steps));
            }
        }
        for (o, sum) in block.iter_mut().zip(sum) {
            for n in 0..N {
                o[n] = simd.mul_add(o[n], correction[n], sum[n]);
            }
        }
        *c += C;
    }
    rest
}
