//! A chunk of tokens at once: what the state before it gives each of them, and what they give each other.
//!
//! ```text
//! o_i = sum_c (q_i P_i)_c S_c  +  sum_(j <= i) M_ij u_j           P_i  what is left of the state at token i
//! M_ij = sum_c q_ic k_jc D_ijc                                     D_ij what is left at token i of token j
//! u_i = v_i                                                        Add, Bonus
//!     = beta_i (v_i - sum_c (k_i P_i)_c S_c - sum_(j < i) A_ij u_j)      Delta: forward substitution
//! S   = P S + sum_j (k_j D_last,j) u_j^T
//! ```
//! The same numbers as one token after the other, in another order of sums. Every decay is a product of the tokens' own
//! factors, each in `[0, 1]`: no logarithm is ever summed, subtracted or exponentiated again. So nothing overflows, however
//! strong the decay, a factor of 0 resets, and a long product errs no more than the recurrence does.

use super::family::{Family, Gate, Known, Rule};
use super::panel::BLOCK;
use super::{block, scores};
use crate::dispatch::Mover;
use crate::entry::Dim;
use crate::simd::{MAX_LANES, Rows, Simd};

/// Tokens of a chunk. Its quadratic part takes time in proportion, its passes over the state in inverse proportion;
/// on processors, whose state lies in a near cache, few are best.
pub const CHUNK: usize = 16;

/// Some tokens of one head, in f32: what a [`LinearEntry`](crate::entry::LinearEntry) is called with. Only a plan makes one. Rows are whole vectors, zero behind their last channel: those of queries and keys
/// `deep` apart, those of values and outputs `width`.
#[derive(Debug)]
pub struct Chunk<'a> {
    pub(crate) family: Family,
    /// Tokens, at most [`CHUNK`]; rows behind the last one hold anything.
    pub(crate) len: usize,
    /// Tokens that there is room for: [`CHUNK`], or 1 for a step.
    pub(crate) room: usize,
    /// Whether anything is learnt: otherwise queries read the state as it is.
    pub(crate) learns: bool,
    pub(crate) dims: [usize; 2],
    /// Moves rows on the level.
    pub(crate) moves: Mover<f32>,
    pub(crate) deep: usize,
    pub(crate) width: usize,
    /// What the state is asked for, `[askers, CHUNK, deep]`: by each query head that reads it, and by the looks of a rule whose
    /// learning depends on what there is.
    pub(crate) asks: &'a mut [f32],
    /// `[writes, CHUNK, deep]`.
    pub(crate) keys: &'a mut [f32],
    /// What each token leaves of the state, `[CHUNK, deep]`; equal in all channels unless the gate is by channel.
    pub(crate) decay: &'a mut [f32],
    pub(crate) beta: &'a [f32],
    /// What each token adds to its own output where it is read before it is learnt, `[query heads, CHUNK]`.
    pub(crate) own: &'a [f32],
    /// `[writes, CHUNK, width]`.
    pub(crate) values: &'a mut [f32],
    /// `[query heads, CHUNK, width]`.
    pub(crate) out: &'a mut [f32],
    /// Keys in lanes: for each vector of tokens `[d_k, lanes]`; as many floats as `keys`.
    pub(crate) panels: &'a mut [f32],
    /// `[askers, CHUNK, writes * CHUNK]`.
    pub(crate) scores: &'a mut [f32],
    /// Channels of the state that are no whole block: `[d_k, BLOCK]`.
    pub(crate) tail: &'a mut [f32],
    /// What is left of the state by now, `[deep]`.
    pub(crate) left: &'a mut [f32],
    /// `[d_k, d_v]`, rows `stride` apart.
    pub(crate) state: &'a mut [f32],
    pub(crate) stride: usize,
}

/// Learns and reads the tokens of a chunk. To be called from a function that enables the instructions of `S`.
#[inline(always)]
pub(crate) fn run<S, F, K, V, const N: usize, const R: usize>(simd: S, chunk: Chunk<'_>)
where
    S: Simd,
    F: Known,
    K: Dim,
    V: Dim,
{
    let family = F::of(chunk.family);
    let [d_k, d_v] = chunk.dims;
    let dims = [K::of(d_k).width(), V::of(d_v).width()];
    let [deep, width] = padded(dims);
    let chunk = &mut Chunk { dims, deep, width, room: CHUNK, ..chunk };
    if !chunk.is_exact(family.family().rule) {
        return;
    }
    if chunk.learns {
        scores::all::<S, F, R>(simd, family, chunk);
        decay_rows(simd, family, chunk);
    }
    block::all::<S, F, N, R>(simd, family, chunk);
}

impl<'a> Chunk<'a> {
    /// Query heads that read this state; the looks, if any, are the asker behind them.
    #[inline(always)]
    pub(super) fn heads(&self, rule: Rule) -> usize {
        let askers = self.asks.len() / (self.room * self.deep).max(1);
        if rule.looks() { askers.saturating_sub(1) } else { askers }
    }

    /// The rows of an asker.
    #[inline(always)]
    pub(super) fn asked(&self, asker: usize) -> Option<Rows<'_>> {
        let deep = self.deep;
        Rows::new(self.asks.get(asker * CHUNK * deep..)?, deep, CHUNK, self.dims[0])
    }

    /// Its scores.
    #[inline(always)]
    pub(super) fn scored(&self, asker: usize) -> Option<Rows<'_>> {
        let wide = self.keys.len() / self.deep.max(1);
        Rows::new(self.scores.get(asker * CHUNK * wide..)?, wide, CHUNK, wide)
    }

    /// Whether all slices are as long as the dimensions say. They always are; saying so here removes checks.
    #[inline(always)]
    fn is_exact(&self, rule: Rule) -> bool {
        self.len <= CHUNK
            && self.keys.len() == rule.writes() * CHUNK * self.deep
            && self.panels.len() == self.keys.len()
            && self.values.len() == rule.writes() * CHUNK * self.width
            && self.decay.len() == CHUNK * self.deep
            && self.left.len() == self.deep
    }
}

/// Floats from one row to the next: of queries and keys, of values and outputs.
#[inline(always)]
pub(crate) const fn padded([d_k, d_v]: [usize; 2]) -> [usize; 2] {
    [d_k.next_multiple_of(MAX_LANES), d_v.next_multiple_of(BLOCK)]
}

/// Multiplies queries by what is left of the state when they read it, and keys by what will be left of them at the end.
/// Leaves in `left` what is left of the state at the end.
#[inline(always)]
fn decay_rows<S: Simd, F: Known>(simd: S, family: F, chunk: &mut Chunk<'_>) {
    let (rule, len) = (family.family().rule, chunk.len);
    let heads = chunk.heads(rule);
    let Chunk { asks, keys, decay, left, deep, .. } = chunk;
    left.fill(1.0);
    if family.family().gate == Gate::Never {
        return;
    }
    // `panels` are free by now.
    let Some(next) = chunk.panels.get_mut(..*deep) else { return };
    for i in 0..len {
        copy(left, next);
        times(simd, next, row(decay, i, *deep));
        for (asker, rows) in asks.chunks_exact_mut((CHUNK * *deep).max(1)).enumerate() {
            let is_before = if asker == heads { rule.looks_before() } else { rule.reads_before() };
            let by = if is_before { &**left } else { &*next };
            times(simd, rows.get_mut(i * *deep..(i + 1) * *deep).unwrap_or(&mut []), by);
        }
        copy(next, left);
    }
    // What will be left of each key, from the last one backwards.
    let ahead = next;
    ahead.fill(1.0);
    for j in (0..len).rev() {
        for rows in keys.chunks_exact_mut((CHUNK * *deep).max(1)) {
            times(simd, rows.get_mut(j * *deep..(j + 1) * *deep).unwrap_or(&mut []), ahead);
        }
        times(simd, ahead, row(decay, j, *deep));
    }
}

#[inline(always)]
fn row(rows: &[f32], i: usize, width: usize) -> &[f32] {
    rows.get(i * width..).and_then(|rows| rows.get(..width)).unwrap_or(&[])
}

/// As `copy_from_slice`, without a panic.
#[inline(always)]
pub(super) fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// Multiplies whole vectors.
#[inline(always)]
pub(super) fn times<S: Simd>(simd: S, row: &mut [f32], by: &[f32]) {
    for (x, by) in row.chunks_exact_mut(S::LANES).zip(by.chunks_exact(S::LANES)) {
        simd.store(simd.mul(simd.load(x), simd.load(by)), x);
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Chunk};
    use crate::elem::Sealed;
    use crate::linear::{Family, Rule};
    use crate::simd::Level;
    use std::vec;

    /// Whether a chunk is exact whose slices are so long: keys, panels, values, decay, left.
    fn is_exact(len: usize, [keys, panels, values, decay, left]: [usize; 5]) -> bool {
        let mut floats = [keys, panels, values, decay, left].map(|len| vec![0.0; len]);
        let [keys, panels, values, decay, left] = floats.each_mut().map(|floats| &mut floats[..]);
        let chunk = Chunk {
            family: Family::LINEAR,
            len,
            room: CHUNK,
            learns: true,
            dims: [3, 5],
            moves: f32::MOVES.at(Level::Scalar),
            deep: 16,
            width: 64,
            asks: &mut [],
            keys,
            decay,
            beta: &[],
            own: &[],
            values,
            out: &mut [],
            panels,
            scores: &mut [],
            tail: &mut [],
            left,
            state: &mut [],
            stride: 5,
        };
        chunk.is_exact(Rule::Add)
    }

    #[test]
    fn a_chunk_has_slices_as_long_as_its_dimensions_say() {
        let exact = [CHUNK * 16, CHUNK * 16, CHUNK * 64, CHUNK * 16, 16];
        assert!(is_exact(CHUNK, exact) && is_exact(0, exact) && !is_exact(CHUNK + 1, exact));
        for n in 0..5 {
            let mut shorter = exact;
            shorter[n] -= 1;
            assert!(!is_exact(CHUNK, shorter), "{n}");
        }
    }
}
