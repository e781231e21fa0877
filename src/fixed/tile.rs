//! A tile of keys for some heads: the inner loops.

use super::code::Code;
use super::logits::Logits;
use super::sums::{FULL, Sums, UNIT_BITS};
use crate::view::{Strides, View};

/// Keys that are summed at once, in 32 bits.
pub const TILE: usize = 16;

/// Why a tile's sums fit.
struct Fits<C>(core::marker::PhantomData<C>);

impl<C: Code> Fits<C> {
    /// A weight is at most `2^WEIGHT_BITS`, a value `2^MAGNITUDE_BITS`, and their product loses `DROPPED_BITS`: `|o| <= l <= 2^30`. The product is
    /// `2^31` at most before that, and only below 0, where i32 has it.
    const IN_32_BITS: () = {
        let product_bits = C::WEIGHT_BITS + C::MAGNITUDE_BITS;
        assert!(product_bits <= 31 && product_bits - C::DROPPED_BITS == UNIT_BITS);
        assert!((TILE as i64) << UNIT_BITS <= FULL as i64);
    };
}

/// Channels that are worked through without looking for the end.
const UNROLLED: usize = 8;

/// Rows of one head, token after token.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, C> {
    /// From the next row on.
    codes: &'a [C],
    /// Codes from one row to the next.
    stride: usize,
    /// Codes of a row.
    dim: usize,
}

impl<'a, C: Code> Rows<'a, C> {
    /// All tokens of key/value head `g`.
    pub(super) fn new(view: &View<'a, C>, g: usize) -> Self {
        let Strides { token, head, .. } = view.strides();
        let codes = view.from(0, 0).get(g * head..).unwrap_or(&[]);
        Rows { codes, stride: token, dim: view.dims()[3] }
    }

    /// From another token on.
    pub(super) fn skip(self, tokens: usize) -> Self {
        Rows { codes: self.codes.get(tokens * self.stride..).unwrap_or(&[]), ..self }
    }

    /// The next row; empty where there is none.
    #[inline(always)]
    fn next(&mut self) -> &'a [C] {
        let row = self.codes.get(..self.dim).unwrap_or(&[]);
        self.codes = self.codes.get(self.stride..).unwrap_or(&[]);
        row
    }
}

/// Adds the next `count` tokens, at most [`TILE`], to the rows of `R` heads; `o` is scratch of a value's width.
///
/// ```text
/// s_j = <q, k_j>
/// m2  = ceil(max t_j)                     t_j = s_j factor, a logarithm of base 2
/// p_j = 2^(t_j - m2)
/// l2  = sum p_j 2^V,  o2_c = sum p_j v_jc
/// (m, l, o) join (m2, l2, o2)             as if the tile had been a row of its own
/// ```
/// Each step is a function of its own: with eight registers none of them has one to spare for the others.
pub(super) fn absorb<'r, 's: 'r, C: Code, const R: usize>(
    logits: &Logits,
    q: &[[i32; R]],
    [k, v]: [Rows<'_, C>; 2],
    count: usize,
    o: &mut [i32],
    rows: impl Iterator<Item = &'r mut Sums<'s>>,
) {
    const { Fits::<C>::IN_32_BITS }
    let mut p = [[0; TILE]; R];
    score(&mut p, count, q, k, logits.dropped);
    for (p, row) in p.iter_mut().zip(rows) {
        let Some(tile) = p.get_mut(..count) else { return };
        let top = tile.iter().fold(i32::MIN, |top, s| top.max(*s));
        let (m, rest) = logits.ceil(top);
        let l = logits.weigh(tile, top, rest);
        add_values(o, p, v);
        row.join(m, l << (C::MAGNITUDE_BITS - C::DROPPED_BITS), o);
    }
}

/// Scores of the next keys: a key is read once for all rows.
#[inline(never)]
fn score<C: Code, const R: usize>(
    s: &mut [[i32; TILE]; R],
    count: usize,
    q: &[[i32; R]],
    mut k: Rows<'_, C>,
    dropped: u32,
) {
    for j in 0..count {
        for (s, dot) in s.iter_mut().zip(dots(q, k.next())) {
            if let Some(s) = s.get_mut(j) {
                *s = C::narrow(dot, dropped);
            }
        }
    }
}

/// `o = sum p v` of the next values, two at a time: a sum is loaded and stored half as often. Behind the last one weights are 0.
#[inline(never)]
fn add_values<C: Code>(o: &mut [i32], p: &[i32; TILE], mut v: Rows<'_, C>) {
    o.fill(0);
    for &p in p.as_chunks().0 {
        let (first, second) = (v.next(), v.next());
        if p != [0; 2] {
            add_weighted(o, p, [first, if second.is_empty() { first } else { second }]);
        }
    }
}

/// `<q, k>` of each row.
#[inline(always)]
fn dots<C: Code, const R: usize>(q: &[[i32; R]], k: &[C]) -> [C::Dot; R] {
    let ((q, q_rest), (k, k_rest)) = (q.as_chunks::<UNROLLED>(), k.as_chunks::<UNROLLED>());
    let mut sums = [C::Dot::default(); R];
    let mut add = |q: &[i32; R], k: C| {
        for (sum, q) in sums.iter_mut().zip(q) {
            *sum = C::add_product(*sum, *q, k);
        }
    };
    for (q, k) in q.iter().zip(k) {
        for (q, k) in q.iter().zip(k) {
            add(q, *k);
        }
    }
    for (q, k) in q_rest.iter().zip(k_rest) {
        add(q, *k);
    }
    sums
}

/// `o += p v`, of two tokens in one pass.
#[inline(always)]
fn add_weighted<C: Code>(o: &mut [i32], [p0, p1]: [i32; 2], [v0, v1]: [&[C]; 2]) {
    let add = |o: &mut i32, v0: C, v1: C| {
        *o = C::add_weighted(C::add_weighted(*o, p0, v0), p1, v1);
    };
    let (o, o_rest) = o.as_chunks_mut::<UNROLLED>();
    let ((v0, v0_rest), (v1, v1_rest)) = (v0.as_chunks::<UNROLLED>(), v1.as_chunks::<UNROLLED>());
    for ((o, v0), v1) in o.iter_mut().zip(v0).zip(v1) {
        for ((o, v0), v1) in o.iter_mut().zip(v0).zip(v1) {
            add(o, *v0, *v1);
        }
    }
    for ((o, v0), v1) in o_rest.iter_mut().zip(v0_rest).zip(v1_rest) {
        add(o, *v0, *v1);
    }
}
