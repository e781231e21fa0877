//! One token: what the state gives it, what it learns, and what is read, while the state goes by once.
//!
//! (Twice where what is learnt depends on what the state holds.) The same function serves every size of heads, since the
//! time is that of reading and writing the state.

use super::chunk::Chunk;
use super::family::{Family, Gate, Known, Rule};
use super::panel::{self, Panel, Work, put_vectors, vectors};
use crate::simd::{Items, Rows, Simd, Steps};
use core::mem::take;

/// Learns and reads the first token of a chunk. To be called from a function that enables the instructions of `S`.
#[inline(always)]
pub(crate) fn run<S: Simd, F: Known, const N: usize>(simd: S, mut chunk: Chunk<'_>) {
    let family = F::of(chunk.family);
    let ([d_k, d_v], stride) = (chunk.dims, chunk.stride);
    let (state, tail) = (take(&mut chunk.state), take(&mut chunk.tail));
    let work = Step::<F, N> { family, chunk };
    panel::all(simd, work, (state, stride), tail, [d_k, d_v, N * S::LANES]);
}

/// Works on `N` vectors of value channels.
struct Step<'a, F, const N: usize> {
    family: F,
    chunk: Chunk<'a>,
}

impl<F: Known, const N: usize> Work for Step<'_, F, N> {
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, panel: &mut Panel<'_>, first: usize) {
        channels::<S, N>(simd, self.family.family(), &mut self.chunk, panel, first);
    }
}

/// The value channels from `first` on.
#[inline(always)]
fn channels<S: Simd, const N: usize>(
    simd: S,
    Family { gate, rule }: Family,
    chunk: &mut Chunk<'_>,
    panel: &mut Panel<'_>,
    first: usize,
) {
    let is_kept = gate == Gate::Never;
    let (d_k, room, wide) = (chunk.dims[0], chunk.room, N * S::LANES);
    let heads = chunk.heads(rule);
    let Chunk { asks, keys, decay, beta, own, values, out, .. } = chunk;
    let asks = Part { rows: asks, of: room * chunk.deep, len: d_k };
    let keys = Part { rows: keys, of: room * chunk.deep, len: d_k };
    let values = Part { rows: values, of: room * chunk.width, len: chunk.width };
    let value = vectors::<S, N>(simd, values.row(0).get(first..).unwrap_or(&[]));
    let mut outs = Outs { out, of: room * chunk.width, first };
    let own = |h: usize| own.get(h * room).copied().unwrap_or(0.0);

    // Whoever reads the state as it is: before this token is learnt, or after.
    let before = if !chunk.learns {
        0..heads
    } else if rule.reads_before() {
        1..heads
    } else {
        0..0
    };
    let looks = usize::from(rule.looks() && chunk.learns);
    let mut learnt = value;
    for asker in before.chain(heads..heads + looks) {
        let Some(state) = panel.rows(d_k, first, wide) else { return };
        let mut found = sums::<S, N>(simd, asks.row(asker), state);
        if asker == heads {
            learnt = found;
            continue;
        }
        if chunk.learns {
            found = learn(simd, found, own(asker), &value);
        }
        outs.put(simd, asker, found);
    }
    if !chunk.learns {
        return;
    }
    if rule == Rule::Delta {
        let beta = simd.splat(beta.first().copied().unwrap_or(0.0));
        for (learnt, value) in learnt.iter_mut().zip(value) {
            *learnt = simd.mul(beta, simd.sub(value, *learnt));
        }
    }

    let numbers = asks.row(0).iter().zip(decay.iter()).zip(keys.row(0));
    let rows = panel.rows_mut(first, wide).zip(numbers);
    let mut read = if rule == Rule::LowRank {
        let given = vectors::<S, N>(simd, values.row(1).get(first..).unwrap_or(&[]));
        low_rank(simd, rows.zip(keys.row(1)), &learnt, &given)
    } else if rule.reads_before() {
        one_key::<S, N, false, true>(simd, rows, &learnt)
    } else if is_kept {
        one_key::<S, N, true, false>(simd, rows, &learnt)
    } else {
        one_key::<S, N, false, false>(simd, rows, &learnt)
    };
    if rule.reads_before() {
        read = learn(simd, read, own(0), &value);
    }
    outs.put(simd, 0, read);
    if !rule.reads_before() {
        let Some(state) = panel.rows(d_k, first, wide) else { return };
        for h in 1..heads {
            outs.put(simd, h, sums::<S, N>(simd, asks.row(h), state));
        }
    }
}

/// The first token's row in each part of a chunk's rows.
#[derive(Clone, Copy)]
struct Part<'a> {
    rows: &'a [f32],
    /// Floats of a part, and of a row.
    of: usize,
    len: usize,
}

impl<'a> Part<'a> {
    #[inline(always)]
    fn row(&self, part: usize) -> &'a [f32] {
        self.rows.get(part * self.of..).and_then(|rows| rows.get(..self.len)).unwrap_or(&[])
    }
}

/// Outputs of the first token.
struct Outs<'a> {
    out: &'a mut [f32],
    /// Floats from one head to the next.
    of: usize,
    first: usize,
}

impl Outs<'_> {
    #[inline(always)]
    fn put<S: Simd, const N: usize>(&mut self, simd: S, h: usize, x: [S::F32; N]) {
        let at = h * self.of + self.first;
        put_vectors(simd, &x, self.out.get_mut(at..).unwrap_or(&mut []));
    }
}

/// A row of the state; the query's channel and what is left of the row; the key's channel.
type Row<'s, 'n> = (&'s mut [f32], ((&'n f32, &'n f32), &'n f32));

/// The state goes by: each row decays, unless it is `KEPT`, learns, and is read, `BEFORE` or after that.
#[inline(always)]
fn one_key<'s, 'n, S: Simd, const N: usize, const KEPT: bool, const BEFORE: bool>(
    simd: S,
    mut rows: impl Iterator<Item = Row<'s, 'n>>,
    learnt: &[S::F32; N],
) -> [S::F32; N] {
    let mut sums = [[simd.splat(-0.0); N]; 2];
    'all: loop {
        for sum in &mut sums {
            let Some((row, ((q, a), k))) = rows.next() else { break 'all };
            let before = vectors::<S, N>(simd, row);
            let left = if KEPT { before } else { decayed(simd, before, *a) };
            let after = learn(simd, left, *k, learnt);
            *sum = learn(simd, *sum, *q, if BEFORE { &before } else { &after });
            put_vectors(simd, &after, row);
        }
    }
    joined(simd, sums)
}

/// As [`one_key`], with two keys a row: `learnt` for the first, `given` for the second.
#[inline(always)]
fn low_rank<'s, 'n, S: Simd, const N: usize>(
    simd: S,
    mut rows: impl Iterator<Item = (Row<'s, 'n>, &'n f32)>,
    learnt: &[S::F32; N],
    given: &[S::F32; N],
) -> [S::F32; N] {
    let mut sums = [[simd.splat(-0.0); N]; 2];
    'all: loop {
        for sum in &mut sums {
            let Some(((row, ((q, a), b)), k)) = rows.next() else { break 'all };
            let left = decayed(simd, vectors::<S, N>(simd, row), *a);
            let after = learn(simd, learn(simd, left, *b, learnt), *k, given);
            *sum = learn(simd, *sum, *q, &after);
            put_vectors(simd, &after, row);
        }
    }
    joined(simd, sums)
}

/// `sum_c x_c S_c`.
#[inline(always)]
fn sums<S: Simd, const N: usize>(simd: S, x: &[f32], state: Rows<'_>) -> [S::F32; N] {
    let mut sums = [[simd.splat(-0.0); N]; 2];
    let mut steps = Items::of(x).and(state.wide::<S, N>(simd, 0, state.walk(0)));
    'all: loop {
        for sum in &mut sums {
            let Some((x, row)) = steps.next() else { break 'all };
            *sum = learn(simd, *sum, x, &row);
        }
    }
    joined(simd, sums)
}

/// The sum over even rows and that over odd ones: twice as many chains, which wait for each other half as long.
#[inline(always)]
fn joined<S: Simd, const N: usize>(simd: S, [even, odd]: [[S::F32; N]; 2]) -> [S::F32; N] {
    let mut sum = even;
    for (sum, odd) in sum.iter_mut().zip(odd) {
        *sum = simd.add(*sum, odd);
    }
    sum
}

/// `state + x * value`.
#[inline(always)]
fn learn<S: Simd, const N: usize>(
    simd: S,
    state: [S::F32; N],
    x: f32,
    value: &[S::F32; N],
) -> [S::F32; N] {
    let (mut sum, x) = (state, simd.splat(x));
    for (sum, value) in sum.iter_mut().zip(value) {
        *sum = simd.mul_add(x, *value, *sum);
    }
    sum
}

#[inline(always)]
fn decayed<S: Simd, const N: usize>(simd: S, state: [S::F32; N], a: f32) -> [S::F32; N] {
    let (mut left, a) = (state, simd.splat(a));
    for x in &mut left {
        *x = simd.mul(*x, a);
    }
    left
}
