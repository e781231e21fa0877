//! Some value channels of a chunk: each is a recurrence of its own, so a few at a time stay near.
//!
//! Look, read, update: in each, a register tile of `R` tokens or key channels by `N` vectors of value channels. Tokens
//! of one tile that need each other come last, one after the other, so that no token has any part in an earlier one's.

use super::chunk::{CHUNK, Chunk};
use super::family::{Gate, Known, Rule};
use super::panel::{self, BLOCK, Panel, Work, put_vectors, vectors};
use crate::outer::{RegisterTile, outer};
use crate::products::F32Products;
use crate::simd::{Rows, Simd, Steps};
use core::mem::take;

/// All value channels.
#[inline(always)]
pub(super) fn all<S, F, const N: usize, const R: usize>(simd: S, family: F, chunk: &mut Chunk<'_>)
where
    S: Simd,
    F: Known,
{
    const { assert!(CHUNK.is_multiple_of(R) && R > 0 && N > 0, "whole register tiles") };
    const { assert!(BLOCK.is_multiple_of(N * S::LANES), "values are whole blocks") };
    let ([d_k, d_v], stride) = (chunk.dims, chunk.stride);
    let (state, tail) = (take(&mut chunk.state), take(&mut chunk.tail));
    let work = Blocks::<F, N, R> { family, chunk };
    panel::all(simd, work, (state, stride), tail, [d_k, d_v, N * S::LANES]);
}

/// Works on `N` vectors of value channels.
struct Blocks<'c, 'a, F, const N: usize, const R: usize> {
    family: F,
    chunk: &'c mut Chunk<'a>,
}

impl<F: Known, const N: usize, const R: usize> Work for Blocks<'_, '_, F, N, R> {
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, panel: &mut Panel<'_>, first: usize) {
        Block { chunk: self.chunk, first }.run::<S, F, N, R>(simd, self.family, panel);
    }
}

/// The value channels from `first` on.
struct Block<'c, 'a> {
    chunk: &'c mut Chunk<'a>,
    first: usize,
}

impl Block<'_, '_> {
    #[inline(always)]
    fn run<S, F, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        family: F,
        panel: &mut Panel<'_>,
    ) where
        S: Simd,
        F: Known,
    {
        let (d_k, rule, learns) = (self.chunk.dims[0], family.family().rule, self.chunk.learns);
        let Some(state) = panel.rows(d_k, self.first, N * S::LANES) else { return };
        // The looks first: the outputs depend on what is learnt.
        let heads = self.chunk.heads(rule);
        let looks = usize::from(rule.looks() && learns);
        for asker in (0..heads + looks).rev() {
            let mut i = 0;
            while i < self.chunk.len {
                self.rows::<S, N, R>(simd, rule, state, [asker, heads], i);
                i += R;
            }
        }
        if !learns {
            return;
        }
        let is_kept = family.family().gate == Gate::Never;
        let mut c = 0;
        while c < d_k {
            self.update::<S, N, R>(simd, rule, panel, c, is_kept);
            c += R;
        }
    }

    /// What `R` tokens from token `i` on find in the state, and in what tokens before token `i` learnt.
    #[inline(always)]
    fn before<S: Simd, const N: usize, const R: usize>(
        &self,
        simd: S,
        rows: Rows<'_>,
        scores: Rows<'_>,
        state: Rows<'_>,
        i: usize,
    ) -> RegisterTile<S::F32, N, R> {
        let still = state.walk(0);
        let zero = [[simd.splat(-0.0); N]; R];
        let steps = rows.across::<R>(i, state.len()).and(state.wide::<S, N>(simd, 0, still));
        let mut sum = outer::<S, F32Products, N, 0, R>(simd, F32Products, zero, steps);
        for part in 0..scores.width() / CHUNK {
            if i == 0 || !self.chunk.learns {
                return sum;
            }
            let Some(values) = self.values(part, i) else { return sum };
            let scores = scores.behind(part * CHUNK).across::<R>(i, i);
            let steps = scores.and(values.wide::<S, N>(simd, self.first, still));
            sum = outer::<S, F32Products, N, 0, R>(simd, F32Products, sum, steps);
        }
        sum
    }

    /// The first rows of a part of the values.
    #[inline(always)]
    fn values(&self, part: usize, len: usize) -> Option<Rows<'_>> {
        let width = self.chunk.width;
        Rows::new(self.chunk.values.get(part * CHUNK * width..)?, width, len, width)
    }

    #[inline(always)]
    fn value<S: Simd, const N: usize>(&self, simd: S, row: usize) -> [S::F32; N] {
        let at = row * self.chunk.width + self.first;
        vectors(simd, self.chunk.values.get(at..).unwrap_or(&[]))
    }

    /// `R` tokens from token `i` on: what a query head reads, or what is learnt where that depends on what there is.
    #[inline(always)]
    fn rows<S: Simd, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        rule: Rule,
        state: Rows<'_>,
        [asker, heads]: [usize; 2],
        i: usize,
    ) {
        let (rows, scores) = (self.chunk.asked(asker), self.chunk.scored(asker));
        let (Some(rows), Some(scores)) = (rows, scores) else { return };
        let sum = self.before::<S, N, R>(simd, rows, scores, state, i);
        if asker < heads {
            self.read(simd, rule, sum, asker, i);
        } else {
            self.look(simd, rule, sum, asker, i);
        }
    }

    /// What tokens learn depends on what the state holds, and so on the tokens before them.
    #[inline(always)]
    fn look<S: Simd, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        rule: Rule,
        mut sum: RegisterTile<S::F32, N, R>,
        asker: usize,
        i: usize,
    ) {
        let is_low = rule == Rule::LowRank;
        for r in 0..R {
            let token = i + r;
            let mut learnt = sum[r];
            if !is_low {
                let beta = simd.splat(self.chunk.beta.get(token).copied().unwrap_or(0.0));
                let value = self.value::<S, N>(simd, token);
                for (learnt, value) in learnt.iter_mut().zip(value) {
                    *learnt = simd.mul(beta, simd.sub(value, *learnt));
                }
            }
            let at = token * self.chunk.width + self.first;
            put_vectors(simd, &learnt, self.chunk.values.get_mut(at..).unwrap_or(&mut []));
            let Some(scores) = self.chunk.scored(asker) else { return };
            add_later(simd, &mut sum, r + 1, scores, [i, token], &learnt);
            if is_low {
                let given = self.value::<S, N>(simd, CHUNK + token);
                add_later(simd, &mut sum, r + 1, scores, [i, CHUNK + token], &given);
            }
        }
    }

    /// Outputs of a query head.
    #[inline(always)]
    fn read<S: Simd, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        rule: Rule,
        mut sum: RegisterTile<S::F32, N, R>,
        h: usize,
        i: usize,
    ) {
        let parts = if self.chunk.learns { rule.writes() } else { 0 };
        let Some(scores) = self.chunk.scored(h) else { return };
        for part in 0..parts {
            for r in 0..R {
                let token = part * CHUNK + i + r;
                let value = self.value::<S, N>(simd, token);
                add_later(simd, &mut sum, r, scores, [i, token], &value);
            }
        }
        for (r, sum) in sum.iter().enumerate() {
            let at = (h * CHUNK + i + r) * self.chunk.width + self.first;
            put_vectors(simd, sum, self.chunk.out.get_mut(at..).unwrap_or(&mut []));
        }
    }

    /// The state after the chunk, `R` key channels of it. Behind the last one keys are zero, and there is no state.
    #[inline(always)]
    fn update<S: Simd, const N: usize, const R: usize>(
        &mut self,
        simd: S,
        rule: Rule,
        panel: &mut Panel<'_>,
        c: usize,
        is_kept: bool,
    ) {
        let (deep, len) = (self.chunk.deep, self.chunk.len);
        let mut sum = [[simd.splat(0.0); N]; R];
        for (r, sum) in sum.iter_mut().enumerate() {
            *sum = vectors(simd, panel.row(c + r, self.first, N * S::LANES));
            if !is_kept {
                let left = simd.splat(self.chunk.left.get(c + r).copied().unwrap_or(0.0));
                sum.iter_mut().for_each(|x| *x = simd.mul(*x, left));
            }
        }
        for part in 0..rule.writes() {
            let keys = self.chunk.keys.get(part * CHUNK * deep..).unwrap_or(&[]);
            let (keys, values) = (Rows::new(keys, deep, CHUNK, deep), self.values(part, len));
            let (Some(keys), Some(values)) = (keys, values) else { return };
            let values = values.wide::<S, N>(simd, self.first, keys.walk(0));
            let steps = keys.down::<R>(c, &(0..len)).and(values);
            sum = outer::<S, F32Products, N, 0, R>(simd, F32Products, sum, steps);
        }
        for (r, sum) in sum.iter().enumerate() {
            put_vectors(simd, sum, panel.row(c + r, self.first, N * S::LANES));
        }
    }
}

/// `sum[r] += score[i + r] * value` for the rows from `from` on.
#[inline(always)]
fn add_later<S: Simd, const N: usize, const R: usize>(
    simd: S,
    sum: &mut RegisterTile<S::F32, N, R>,
    from: usize,
    scores: Rows<'_>,
    [i, token]: [usize; 2],
    value: &[S::F32; N],
) {
    if let Some(score) = scores.down_column::<R>(token, i) {
        for r in from..R {
            let score = simd.splat(score[r]);
            for n in 0..N {
                sum[r][n] = simd.mul_add(score, value[n], sum[r][n]);
            }
        }
    }
}
