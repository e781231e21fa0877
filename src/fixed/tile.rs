//! A tile of keys for one row: the inner loops.

use super::code::Code;
use super::logits::Logits;
use super::sums::Sums;

/// Keys whose sums are made at once, in 32 bits: `2^TILE_BITS weights of 2^WEIGHT_BITS, times codes of 2^MAGNITUDE_BITS` are `2^30`.
pub const TILE: usize = 16;

/// `|o| <= l <= TILE 2^WEIGHT_BITS 2^MAGNITUDE_BITS / 2^DROPPED_BITS = 2^30`.
struct Fits<C>(core::marker::PhantomData<C>);

impl<C: Code> Fits<C> {
    const TILE: () = {
        let bits = C::WEIGHT_BITS + C::MAGNITUDE_BITS - C::DROPPED_BITS;
        assert!((TILE as u64) << bits == super::sums::FULL as u64);
        // A single product, before bits are dropped, is at most 2^31, and that only below 0.
        assert!(C::WEIGHT_BITS + C::MAGNITUDE_BITS <= 31);
    };
}

/// Channels that are worked through without looking for the end.
const UNROLLED: usize = 8;

/// Adds some tokens, at most [`TILE`], to a row. `tokens` gives the key and the value of each; `o` is scratch of a value's width.
///
/// ```text
/// s_j = <q, k_j>
/// m2  = ceil(max t_j)                     t_j = s_j factor, a logarithm of base 2
/// p_j = 2^(t_j - m2)
/// l2  = sum p_j 2^V,  o2_c = sum p_j v_jc
/// (m, l, o) join (m2, l2, o2)             as if the tile had been a row of its own
/// ```
pub(super) fn absorb<'a, C: Code + 'a>(
    logits: &Logits,
    q: &[i32],
    tokens: impl Iterator<Item = (&'a [C], &'a [C])> + Clone,
    o: &mut [i32],
    row: &mut Sums<'_>,
) {
    const { Fits::<C>::TILE }
    let mut p = [[0; 2]; TILE / 2];
    let scores = tokens.clone().map(|(k, _)| C::narrow(dot(q, k), logits.dropped));
    let mut top = i32::MIN;
    for (to, s) in p.as_flattened_mut().iter_mut().zip(scores) {
        *to = s;
        top = top.max(s);
    }
    let (m, rest) = logits.ceil(top);
    let mut l = 0;
    for (p, _) in p.as_flattened_mut().iter_mut().zip(tokens.clone()) {
        *p = logits.weight(top.abs_diff(*p), rest);
        l += *p;
    }
    o.fill(0);
    let mut tokens = tokens.map(|(_, v)| v);
    for p in p {
        let Some(v) = tokens.next() else { break };
        // Of an odd last token the second weight is 0.
        let v = [v, tokens.next().unwrap_or(v)];
        if p != [0; 2] {
            add_weighted(o, p, v);
        }
    }
    row.join(m, l << (C::MAGNITUDE_BITS - C::DROPPED_BITS), o);
}

/// `<q, k>`.
#[inline(always)]
fn dot<C: Code>(q: &[i32], k: &[C]) -> C::Dot {
    let ((q, q_rest), (k, k_rest)) = (q.as_chunks::<UNROLLED>(), k.as_chunks::<UNROLLED>());
    let mut sum = C::Dot::default();
    for (q, k) in q.iter().zip(k) {
        for (q, k) in q.iter().zip(k) {
            sum = C::add_product(sum, *q, *k);
        }
    }
    for (q, k) in q_rest.iter().zip(k_rest) {
        sum = C::add_product(sum, *q, *k);
    }
    sum
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
