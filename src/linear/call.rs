//! A plan bound to tensors: head by head, chunk by chunk, rows come in as f32 and go out as they are stored.

use super::chunk::{CHUNK, Chunk};
use super::dot::weighted;
use super::family::{Gate, Rule};
use super::features::{ExpFeatures, normalise};
use super::inputs::LinearInputs;
use super::normaliser::{Conditioning, Normaliser, divide};
use super::plan::{Form, LinearAttention};
use super::room::{Cuts, Room};
use crate::call::cut_scratch;
use crate::dispatch::{AnyFeatures, Head, Lent};
use crate::elem::{Elem, Sealed};
use crate::error::Error;
use crate::simd::Scalar;
use crate::view::{AnyView, Stored, of_any};
use core::ops::Range;

/// A checked linear attention. Running it cannot fail, panic or allocate.
#[derive(Debug)]
pub struct LinearCall<'a> {
    pub(crate) plan: LinearAttention<'a>,
    pub(crate) inputs: LinearInputs<'a>,
    pub(crate) lent: Lent<'a>,
    pub(crate) scratch: &'a mut [f32],
}

impl<'a> LinearCall<'a> {
    /// Learns and reads all tokens. Tells how well the divisors are known, if outputs are normalised.
    pub fn run(self) -> Conditioning {
        let LinearCall { plan, inputs, mut lent, scratch } = self;
        let room = Room::new(&plan.shape.heads, plan.family, plan.entry.form());
        let staging = if lent.is_in_place() { 0 } else { plan.shape.heads.dim * room.width };
        let Some(mut cuts) = Cuts::new(scratch, &room, staging) else { return Conditioning::BEST };
        let mut conditioning = Conditioning::BEST;
        for [b, s] in lent.states() {
            let work = Work { plan: &plan, inputs: &inputs, room: &room, b, s };
            if let Some(head) = lent.head([b, s]) {
                work.run(head, &mut cuts, &mut conditioning);
            }
        }
        conditioning
    }

    /// What it needs of scratch.
    pub(crate) fn scratch_len(&self) -> usize {
        let staging = if self.lent.is_in_place() { 0 } else { self.plan.staging_len() };
        self.plan.scratch_len().saturating_add(staging)
    }

    /// All `parts` shares of the heads at once, to be run on as many threads. Each gets a scratch of its own, cut
    /// from the call's, which must hold `parts` times [`LinearAttention::scratch_len`] floats. The output is the same to the
    /// bit for any number of parts.
    ///
    /// # Errors
    /// [`Error::Part`] for no parts, [`Error::Scratch`] for too little scratch.
    pub fn parts(
        self,
        parts: usize,
    ) -> Result<impl ExactSizeIterator<Item = LinearCall<'a>> + Send, Error> {
        let each = self.scratch_len();
        let LinearCall { plan, inputs, lent, scratch } = self;
        let (count, scratches) = cut_scratch(scratch, each, parts)?;
        Ok(lent.shares(count).zip(scratches).map(move |(lent, scratch)| LinearCall {
            plan,
            inputs,
            lent,
            scratch,
        }))
    }
}

/// The first number of a row.
fn widened<T: Elem>(row: &[T]) -> f32 {
    T::load(Scalar, row)
}

/// The tokens of one state of one sequence.
struct Work<'w, 'a> {
    plan: &'w LinearAttention<'a>,
    inputs: &'w LinearInputs<'a>,
    room: &'w Room,
    b: usize,
    s: usize,
}

impl Work<'_, '_> {
    fn run(&self, mut head: Head<'_>, cuts: &mut Cuts<'_>, conditioning: &mut Conditioning) {
        let (width, heads) = (self.room.width, self.plan.shape.heads);
        let eps = self.plan.eps.unwrap_or(0.0);
        let mut normaliser =
            head.normaliser().and_then(|floats| Normaliser::new(floats, heads.dim, eps));
        let staged = core::mem::take(&mut cuts.state);
        let (state, stride, is_staged) = match head.in_place() {
            Some(state) => (state, heads.v_dim, false),
            None => {
                head.load(staged, width);
                (&mut *staged, width, true)
            }
        };
        let len = self.plan.shape.len;
        for first in (0..len).step_by(self.room.tokens.max(1)) {
            let tokens = first..len.min(first + self.room.tokens);
            self.queries(cuts.asks, &tokens);
            if let Some(kv) = &self.inputs.kv {
                self.keys(cuts, kv, &tokens);
            }
            if let Some(normaliser) = &mut normaliser {
                self.divisors(&mut head, cuts, &tokens, normaliser, conditioning);
            }
            if let Some(u) = self.inputs.bonus {
                self.own(cuts, tokens.len(), u);
            }
            self.learn(cuts, tokens.len(), state, stride);
            let is_divided = normaliser.is_some();
            self.write(&mut head, cuts, &tokens, is_divided);
        }
        if is_staged && self.inputs.kv.is_some() {
            head.store(staged, width);
        }
        cuts.state = staged;
    }

    /// Rows of some tokens as f32, `width` apart. Meanwhile those of the next tokens come nearer.
    #[inline(never)]
    fn rows(
        &self,
        view: &AnyView<'_>,
        h: usize,
        tokens: &Range<usize>,
        scale: f32,
        to: &mut [f32],
        width: usize,
    ) {
        of_any!(Stored, view.0, (view, moves) => {
            let rows = view.rows(self.b, h).slice(tokens.clone());
            let ahead = (self.room.tokens * view.strides().token).cast_signed();
            moves.of(self.plan.level).flat(rows, ahead, scale, to, width);
        });
    }

    /// The one number of each token that comes with the state.
    fn numbers(&self, view: &AnyView<'_>, tokens: &Range<usize>, to: &mut [f32]) {
        of_any!(Stored, view.0, (view, _) => {
            for (token, to) in tokens.clone().zip(to) {
                *to = widened(view.row(self.b, token, self.s));
            }
        });
    }

    /// Queries of all heads that read the state: features, length, scale.
    #[inline(never)]
    fn queries(&self, asks: &mut [f32], tokens: &Range<usize>) {
        let LinearAttention { shape, features, scale, .. } = *self.plan;
        let (heads, deep) = (shape.heads, self.room.deep);
        let Some(view) = &self.inputs.q else { return asks.fill(0.0) };
        let is_plain = features.map.is_none() && features.l2.is_none();
        let of_heads = asks.chunks_exact_mut((self.room.tokens * deep).max(1));
        for (n, q) in of_heads.take(heads.readers()).enumerate() {
            let h = heads.serves(heads.output_of(self.s, n), heads.outputs(), heads.q);
            self.rows(view, h, tokens, if is_plain { scale } else { 1.0 }, q, deep);
            if is_plain {
                continue;
            }
            self.map(q, tokens.len());
            q.iter_mut().for_each(|x| *x *= scale);
        }
    }

    /// Features of the first rows, and their length.
    #[inline(never)]
    fn map(&self, rows: &mut [f32], count: usize) {
        let LinearAttention { shape, features, level, .. } = *self.plan;
        if features.map.is_none() && features.l2.is_none() {
            return;
        }
        for row in rows.chunks_exact_mut(self.room.deep.max(1)).take(count) {
            let row = row.get_mut(..shape.heads.dim).unwrap_or(&mut []);
            if let Some(map) = features.map {
                map.apply(level, row);
            }
            if let Some(eps) = features.l2 {
                normalise(row, eps);
            }
        }
    }

    /// All that is learnt of some tokens.
    #[inline(never)]
    fn keys(&self, cuts: &mut Cuts<'_>, [k, v]: &[AnyView<'_>; 2], tokens: &Range<usize>) {
        let heads = self.plan.shape.heads;
        let (deep, width, states) = (self.room.deep, self.room.width, heads.states());
        // Keys and values are the last parts: the first are what the rule finds.
        let (key_part, value_part) = (self.room.tokens * deep, self.room.tokens * width);
        let keys = cuts.keys.len().saturating_sub(key_part);
        let values = cuts.values.len().saturating_sub(value_part);
        let (found_keys, keys) = cuts.keys.split_at_mut(keys);
        let (_, values) = cuts.values.split_at_mut(values);
        let looks = cuts.asks.get_mut(heads.readers() * key_part..).unwrap_or(&mut []);
        self.rows(k, heads.serves(self.s, states, heads.k), tokens, 1.0, keys, deep);
        self.map(keys, tokens.len());
        self.rows(v, heads.serves(self.s, states, heads.v), tokens, 1.0, values, width);
        if let Some([a, b]) = &self.inputs.low_rank {
            self.rows(a, self.s, tokens, 1.0, looks, deep);
            self.rows(b, self.s, tokens, 1.0, found_keys, deep);
        }
        self.gates(cuts.decay, tokens);
        if self.plan.family.rule == Rule::Delta {
            for (look, key) in looks.iter_mut().zip(&*keys) {
                *look = *key;
            }
            if self.plan.entry.form() == Form::Recurrent {
                looks.iter_mut().zip(&*cuts.decay).for_each(|(look, a)| *look *= a);
            }
        }
        if let Some(beta) = &self.inputs.beta {
            self.numbers(beta, tokens, cuts.beta);
        }
    }

    /// What each token leaves of the state.
    #[inline(never)]
    fn gates(&self, decay: &mut [f32], tokens: &Range<usize>) {
        let LinearAttention { family, level, .. } = *self.plan;
        let deep = self.room.deep.max(1);
        let decay = decay.get_mut(..tokens.len() * deep).unwrap_or(&mut []);
        match (family.gate, self.inputs.decay, &self.inputs.gates) {
            (Gate::Head, Some(gates), _) => {
                let mut gate = [gates.get(self.s).copied().unwrap_or(0.0)];
                ExpFeatures.apply(level, &mut gate);
                decay.fill(gate[0]);
            }
            (Gate::Token, _, Some(gates)) => {
                let mut by_token = [0.0; CHUNK];
                self.numbers(gates, tokens, &mut by_token);
                ExpFeatures.apply(level, by_token.get_mut(..tokens.len()).unwrap_or(&mut []));
                for (row, gate) in decay.chunks_exact_mut(deep).zip(by_token) {
                    row.fill(gate);
                }
            }
            (Gate::Channel, _, Some(gates)) => {
                self.rows(gates, self.s, tokens, 1.0, decay, deep);
                ExpFeatures.apply(level, decay);
            }
            _ => decay.fill(1.0),
        }
    }

    /// What outputs will be divided by: it comes before queries and keys decay where they lie.
    #[inline(never)]
    fn divisors(
        &self,
        head: &mut Head<'_>,
        cuts: &mut Cuts<'_>,
        tokens: &Range<usize>,
        normaliser: &mut Normaliser<'_>,
        conditioning: &mut Conditioning,
    ) {
        let (heads, deep, room) = (self.plan.shape.heads, self.room.deep.max(1), self.room.tokens);
        let queries = cuts.asks.chunks_exact((room * deep).max(1)).take(heads.readers());
        let learnt = cuts.decay.chunks_exact(deep).zip(cuts.keys.chunks_exact(deep));
        let mut learnt = if self.inputs.kv.is_some() { Some(learnt) } else { None };
        for (i, token) in tokens.clone().enumerate() {
            if let Some((decay, key)) = learnt.as_mut().and_then(Iterator::next) {
                normaliser.learn(decay, key);
            }
            if self.inputs.q.is_none() {
                continue;
            }
            for (n, queries) in queries.clone().enumerate() {
                let query = queries.get(i * deep..(i + 1) * deep).unwrap_or(&[]);
                let divisor = normaliser.divisor(query);
                head.write_condition(token, n, divisor.condition);
                conditioning.note([self.b, token, heads.output_of(self.s, n)], &divisor);
                *cuts.divisors.get_mut(n * room + i).unwrap_or(&mut 0.0) = divisor.value;
            }
        }
    }

    /// What tokens add to their own outputs where they are read before they are learnt: `q^T diag(u) k`.
    #[inline(never)]
    fn own(&self, cuts: &mut Cuts<'_>, len: usize, u: &[f32]) {
        let (dim, deep) = (self.plan.shape.heads.dim, self.room.deep.max(1));
        let u = u.get(self.s * dim..).and_then(|u| u.get(..dim)).unwrap_or(&[]);
        let heads = cuts.asks.chunks_exact((self.room.tokens * deep).max(1));
        for (queries, own) in heads.zip(cuts.own.chunks_exact_mut(self.room.tokens.max(1))) {
            let pairs = queries.chunks_exact(deep).zip(cuts.keys.chunks_exact(deep)).take(len);
            for (own, (q, k)) in own.iter_mut().zip(pairs) {
                *own = weighted(q, k, u);
            }
        }
    }

    #[inline(never)]
    fn learn(&self, cuts: &mut Cuts<'_>, len: usize, state: &mut [f32], stride: usize) {
        let LinearAttention { shape, family, entry, .. } = *self.plan;
        let dim = shape.heads.dim;
        let chunk = Chunk {
            family,
            len,
            room: self.room.tokens,
            learns: self.inputs.kv.is_some(),
            dims: [dim, shape.heads.v_dim],
            // With as many lanes as the entry has.
            moves: f32::MOVES.at(entry.level()),
            deep: self.room.deep,
            width: self.room.width,
            asks: cuts.asks,
            keys: cuts.keys,
            decay: cuts.decay,
            beta: cuts.beta,
            own: cuts.own,
            values: cuts.values,
            out: cuts.out,
            panels: cuts.panels,
            scores: cuts.scores,
            tail: cuts.tail,
            left: cuts.left,
            state,
            stride,
        };
        entry.call(chunk);
    }

    /// Outputs, divided and rounded.
    #[inline(never)]
    fn write(
        &self,
        head: &mut Head<'_>,
        cuts: &mut Cuts<'_>,
        tokens: &Range<usize>,
        divided: bool,
    ) {
        if self.inputs.q.is_none() {
            return;
        }
        let (room, width) = (self.room.tokens, self.room.width.max(1));
        let v_dim = self.plan.shape.heads.v_dim;
        for (n, out) in cuts.out.chunks_exact_mut((room * width).max(1)).enumerate() {
            let divisors = cuts.divisors.get(n * room..).unwrap_or(&[]);
            for ((token, row), divisor) in
                tokens.clone().zip(out.chunks_exact_mut(width)).zip(divisors)
            {
                let row = row.get_mut(..v_dim).unwrap_or(&mut []);
                if divided {
                    divide(row, *divisor);
                }
                head.write(token, n, row);
            }
        }
    }
}
