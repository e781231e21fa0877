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

use crate::defect::planted;
use crate::math::exp2;
use crate::outer::{RegisterTile, outer, outer_where};
use crate::products::Products;
use crate::sight::{Run, Seen, live_vectors, with_lo};
use crate::simd::{Hint, Hinting, Items, Rows, Simd, Steps};

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
        let none = if planted!("max_from_zero") { 0.0 } else { f32::NEG_INFINITY };
        *self.m = [simd.splat(none); N];
        *self.l = [simd.splat(0.0); N];
        self.o.fill([simd.splat(-0.0); N]);
    }

    /// Joins one tile of keys. `s [keys, N vectors]` holds their scores and is overwritten. `values [steps, v_dim]` are those of the keys,
    /// a step being a key or a pair of them. The value of a key is not added to a row that may not
    /// see it, not even times 0, so it may be NaN.
    #[inline(always)]
    pub(crate) fn absorb<P: Products<S>, const C: usize>(
        &mut self,
        simd: S,
        products: P,
        s: &mut [[S::F32; N]],
        values: Rows<'_>,
        seen: Seen<'_>,
        hints: Hints,
    ) {
        let max = self.largest(simd, s, seen);
        let correction = self.raise(simd, &max);
        self.weigh(simd, products, &correction, s, seen);
        let sums = Sums { p: &*s, correction, values, seen, hints };
        sums.join::<S, P, C>(simd, products, self.o);
    }

    /// The larger of `m` and the scores of a tile, whose hidden ones become -inf: nothing of them is
    /// left.
    #[inline(always)]
    fn largest(&self, simd: S, s: &mut [[S::F32; N]], seen: Seen<'_>) -> [S::F32; N] {
        let mut max = *self.m;
        for run in seen.runs {
            let Some(s) = s.get_mut(run.start..run.end) else {
                continue;
            };
            if run.masked {
                hide(simd, s, seen.bits(run));
            }
            if run.lo == 0 {
                for s in s {
                    for n in 0..N {
                        max[n] = simd.max(s[n], max[n]);
                    }
                }
            } else {
                for (n, max) in max.iter_mut().enumerate() {
                    for s in s.iter().filter(|_| is_live::<S, N>(run, n)) {
                        *max = simd.max(s[n], *max);
                    }
                }
            }
        }
        // Of two zeros either may come first; for every order of the keys it is +0 from here on.
        for max in &mut max {
            *max = simd.add(*max, simd.splat(0.0));
        }
        max
    }

    /// Turns the scores of a tile into weights, and joins their sum.
    #[inline(always)]
    fn weigh<P: Products<S>>(
        &mut self,
        simd: S,
        products: P,
        correction: &[S::F32; N],
        s: &mut [[S::F32; N]],
        seen: Seen<'_>,
    ) {
        // Vector by vector: their chains are short beside an exponential.
        for (n, correction) in correction.iter().enumerate() {
            let m = finite(simd, self.m[n]);
            let mut l = simd.splat(-0.0);
            for run in seen.runs.iter().filter(|run| is_live::<S, N>(run, n)) {
                let steps = run.steps(P::DEPTH);
                for (step, start) in steps.zip((run.start..run.end).step_by(P::DEPTH)) {
                    let odd = (start + 1 < run.end).then_some(start + 1);
                    l = weigh_step::<S, P, N>(simd, products, s, n, (step, start, odd), m, l);
                }
            }
            self.l[n] = simd.mul_add(self.l[n], *correction, l);
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
            let m_or_0 = if planted!("merge_of_empty") { max[n] } else { finite(simd, max[n]) };
            theirs[n] = exp2(simd, simd.sub(m[n], m_or_0));
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
            if planted!("missing_rescale") {
                correction[n] = simd.splat(1.0);
            }
            if planted!("l_in_bf16") {
                // Veltkamp's splitting: the upper 8 bits.
                let high = simd.mul(self.l[n], simd.splat(65_537.0));
                self.l[n] = simd.sub(high, simd.sub(high, self.l[n]));
            }
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

/// Whether vector `n` sees a key of the run.
#[inline(always)]
const fn is_live<S: Simd, const N: usize>(run: &Run, n: usize) -> bool {
    if live_vectors::<S, N>() == 1 { run.lo == 0 } else { run.lo <= n }
}

/// What hidden scores become.
#[inline(always)]
pub(crate) fn hidden() -> f32 {
    // A cap of 30 makes that of -inf.
    if planted!("mask_before_softcap") {
        -30.0 * core::f32::consts::LOG2_E
    } else {
        f32::NEG_INFINITY
    }
}

/// [`hidden`] wherever a row may not see the key.
#[inline(always)]
fn hide<S: Simd, const N: usize>(simd: S, s: &mut [[S::F32; N]], bits: &[u64]) {
    for (s, bits) in s.iter_mut().zip(bits) {
        for (n, s) in s.iter_mut().enumerate() {
            let mask = simd.mask(bits >> (n * S::LANES));
            *s = simd.select(mask, *s, simd.splat(hidden()));
        }
    }
}

/// The weights of vector `n` in one step, of a key or a pair of keys: written to `s[step]`, and their
/// rounded values added to `l`.
#[inline(always)]
fn weigh_step<S: Simd, P: Products<S>, const N: usize>(
    simd: S,
    products: P,
    s: &mut [[S::F32; N]],
    n: usize,
    (step, even, odd): (usize, usize, Option<usize>),
    m: S::F32,
    l: S::F32,
) -> S::F32 {
    let Some(score) = s.get(even) else {
        return l;
    };
    let even = products.exp2(simd, simd.sub(score[n], m));
    let mut weights = (even, simd.add(l, even));
    if P::DEPTH > 1 {
        let mut weight = simd.splat(0.0);
        if let Some(score) = odd.and_then(|odd| s.get(odd)) {
            weight = products.exp2(simd, simd.sub(score[n], m));
        }
        let (pair, [even, odd]) = products.weights(simd, even, weight);
        weights = (pair, simd.add(simd.add(l, even), odd));
    }
    if let Some(to) = s.get_mut(step) {
        to[n] = weights.0;
    }
    weights.1
}

/// What the values of a tile are multiplied and joined with.
struct Sums<'a, V, const N: usize> {
    /// Weights, `[steps, N vectors]`.
    p: &'a [[V; N]],
    correction: [V; N],
    /// `[steps, v_dim]`.
    values: Rows<'a>,
    seen: Seen<'a>,
    hints: Hints,
}

/// Where the keys and values of the next tile lie, which come nearer while those of this one are added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hints {
    /// Channel 0 of its keys and of its values.
    pub(crate) next: [Hint; 2],
    /// Bytes of a channel.
    pub(crate) channel: [usize; 2],
}

/// How many of some channels to take in blocks of `C`: as many as there are, but where one block fewer
/// leaves a multiple of four, that, for blocks of four are next. (Of 128, blocks of six take 120.)
const fn in_blocks_of<const C: usize>(channels: usize) -> usize {
    let rest = channels % C;
    let fewer = C > 4 && channels >= C && !rest.is_multiple_of(4) && (rest + C).is_multiple_of(4);
    channels - rest - if fewer { C } else { 0 }
}

impl Hints {
    /// Nothing to ask for: what is at hand anyway.
    #[inline(always)]
    pub(crate) fn idle<T>(at: &[T]) -> Self {
        Hints { next: [Hint::still(at); 2], channel: [0; 2] }
    }

    /// What the block of `C` channels from channel `c` on asks for: a line a step, never a burst. A line
    /// has room for several blocks, which take turns between keys and values. Where nothing is to be asked
    /// for, a loop of its own would cost more than asking in vain.
    #[inline(always)]
    fn of_block<const C: usize>(self, c: usize) -> Hint {
        let which = c / C % 2;
        let ([keys, values], [key_bytes, value_bytes]) = (self.next, self.channel);
        if which == 0 { keys.offset(c * key_bytes) } else { values.offset(c * value_bytes) }
    }
}

impl<V: Copy, const N: usize> Sums<'_, V, N> {
    /// `o[c] = o[c] * correction + sum p_j v_j[c]` for all channels, `C` at a time.
    #[inline(always)]
    fn join<S, P, const C: usize>(&self, simd: S, products: P, o: &mut [[V; N]])
    where
        S: Simd<F32 = V>,
        P: Products<S>,
    {
        // Where one vector is live, more channels hide the latency of a chain.
        if live_vectors::<S, N>() == 4 && self.seen.lo() == 3 {
            let mut c = 0;
            let o = self.blocks::<S, P, 8, 3>(simd, products, o, &mut c);
            self.blocks::<S, P, 1, 3>(simd, products, o, &mut c);
            return;
        }
        let mut c = 0;
        let Some((whole, rest)) = o.split_at_mut_checked(in_blocks_of::<C>(o.len())) else {
            return;
        };
        self.blocks::<S, P, C, 0>(simd, products, whole, &mut c);
        let rest =
            if C > 4 { self.blocks::<S, P, 4, 0>(simd, products, rest, &mut c) } else { rest };
        self.blocks::<S, P, 1, 0>(simd, products, rest, &mut c);
    }

    /// As many whole blocks of `C` channels as `o` holds, from channel `c` on; returns the rest of `o`.
    /// No vector below `LO` is live in any run.
    #[inline(always)]
    fn blocks<'o, S, P, const C: usize, const LO: usize>(
        &self,
        simd: S,
        products: P,
        o: &'o mut [[V; N]],
        c: &mut usize,
    ) -> &'o mut [[V; N]]
    where
        S: Simd<F32 = V>,
        P: Products<S>,
    {
        let (blocks, rest) = o.as_chunks_mut::<C>();
        for block in blocks {
            let mut sum = [[simd.splat(-0.0); N]; C];
            for run in self.seen.runs {
                if LO == 0 {
                    with_lo!(run.lo, live_vectors::<S, N>(), LIVE => {
                        sum = self.add::<S, P, C, LIVE>(simd, products, sum, run, *c);
                    });
                } else if run.lo == LO {
                    sum = self.add::<S, P, C, LO>(simd, products, sum, run, *c);
                }
            }
            for (o, sum) in block.iter_mut().zip(sum) {
                for n in 0..N {
                    o[n] = simd.mul_add(o[n], self.correction[n], sum[n]);
                }
            }
            *c += C;
        }
        rest
    }

    /// Adds `sum p_j v_j[c]` over one run, for the `C` channels from channel `c` on.
    #[inline(always)]
    fn add<S, P, const C: usize, const LO: usize>(
        &self,
        simd: S,
        products: P,
        sum: RegisterTile<V, N, C>,
        run: &Run,
        c: usize,
    ) -> RegisterTile<V, N, C>
    where
        S: Simd<F32 = V>,
        P: Products<S>,
    {
        let p = self.p.get(run.steps(P::DEPTH)).unwrap_or(&[]);
        let steps = self.values.down::<C>(c, &run.steps(P::DEPTH)).and(Items::of(p));
        if !run.masked {
            if S::LANES > 4 {
                let hint = self.hints.of_block::<C>(c);
                outer::<S, P, N, LO, C>(simd, products, sum, Hinting::new(steps, hint))
            } else {
                outer::<S, P, N, LO, C>(simd, products, sum, steps)
            }
        } else if P::DEPTH == 1 {
            let steps = steps.and(Items::of(self.seen.bits_of_steps::<1>(run)));
            outer_where::<S, P, N, LO, C, 1>(simd, products, sum, steps)
        } else {
            let steps = steps.and(Items::of(self.seen.bits_of_steps::<2>(run)));
            outer_where::<S, P, N, LO, C, 2>(simd, products, sum, steps)
        }
    }
}
