//! Queries of several sequences one behind the other: prompts of any lengths and decoders' steps in one call, each sequence by the entry
//! that its own length asks for.

use crate::call::{Inputs, Outputs, Part, cut_scratch};
use crate::dispatch::{Claim, Grid};
use crate::error::{Error, List};
use crate::job::{Bound, Job};
use crate::mask::ascending;
use crate::plan::Attention;
use crate::shape::Shape;
use crate::sinks::Sinks;
use core::ops::Range;

/// A checked attention over sequences of different lengths. Running it cannot fail, panic or allocate.
#[derive(Debug)]
pub struct Varlen<'a> {
    sequences: Sequences<'a>,
    claim: Claim<'a>,
    scratch: &'a mut [f32],
}

/// What its parts have in common.
#[derive(Clone, Debug)]
struct Sequences<'a> {
    plan: Attention<'a>,
    inputs: Inputs<'a>,
    /// Sequence `b` has the queries `starts[b]..starts[b + 1]`.
    starts: &'a [u32],
    sinks: Option<Sinks<'a>>,
}

impl<'m> Attention<'m> {
    /// As [`Attention::bind`], of sequences one behind the other: sequence `b` has the queries `starts[b]..starts[b + 1]` (`cu_seqlens_q` of
    /// FlashAttention), of `[1, tokens, q_heads, head_dim]`, and outputs at the same places of `[1, tokens, q_heads, v_dim]`; log-sum-exps are
    /// `[q_heads, tokens]`. Keys and values are those of a batch of `starts.len() - 1` sequences: a cache, or tensors. The plan's `q_len` is the most queries that a sequence
    /// may have, and what it was given by query is padded to as many. A row has the same bits as in a call for its sequence alone.
    ///
    /// ```
    /// use flashlet::{Attention, CacheShape, Heads, Inputs, Mask, Offset, Outputs, PagedCache, Pages, Shape, View, ViewMut};
    /// # fn main() -> Result<(), flashlet::Error> {
    /// let heads = Heads::new(4, 2, 16);
    /// const SHAPE: CacheShape = CacheShape::paged(Heads::new(4, 2, 16), 8, 16);
    /// # let (mut keys, mut values, mut counts) = ([0.0_f32; SHAPE.key_len::<f32>()], [0.0_f32; SHAPE.value_len::<f32>()], [0; 8]);
    /// # let mut cache = PagedCache::new(SHAPE, &mut keys, &mut values, &mut counts)?;
    /// # let (mut tables, tokens) = ([[0; 4]; 3], [0.5; 40 * 2 * 16]);
    /// # let tokens = View::packed(&tokens, [1, 40, 2, 16])?;
    /// # let [a, b, c] = &mut tables;
    /// # let [mut a, mut b, mut c] = [a, b, c].map(|table| Pages::new(table));
    /// # cache.append(&mut a, tokens.tokens(0..21)?, tokens.tokens(0..21)?)?;
    /// # cache.append(&mut b, tokens.tokens(0..13)?, tokens.tokens(0..13)?)?;
    /// # cache.append(&mut c, tokens, tokens)?;
    /// // A prompt of 21 tokens, and a token each of two sequences that hold 13 and 40.
    /// let (q, mut o, starts) = ([0.5; 23 * 4 * 16], [0.0; 23 * 4 * 16], [0, 21, 22, 23]);
    /// let shape = Shape { batch: 3, q_len: 21, kv_len: 40, heads };
    /// let plan = Attention::new(shape, Mask::causal(Offset::BOTTOM_RIGHT))?;
    /// let mut scratch = vec![0.0; plan.varlen_scratch_len()];
    /// let (pages, q) = ([&a, &b, &c], View::packed(&q, [1, 23, 4, 16])?);
    /// let sequences = cache.read(&pages);
    /// let outputs = Outputs::new(ViewMut::packed(&mut o, [1, 23, 4, 16])?);
    /// plan.bind_varlen(Inputs::cached(q, &sequences), &starts, outputs, &mut scratch)?.run();
    /// # assert!(o.iter().all(|x| (x - 0.5).abs() < 1e-6));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Attention::bind`]; [`Error::ListLength`], [`Error::Order`] and [`Error::Entry`] of the starts: they begin at 0, do not descend, end at the number of
    /// tokens, and lie at most `q_len` apart.
    #[inline]
    pub fn bind_varlen<'a>(
        &self,
        inputs: Inputs<'a>,
        starts: &'a [u32],
        outputs: Outputs<'a>,
        scratch: &'a mut [f32],
    ) -> Result<Varlen<'a>, Error>
    where
        'm: 'a,
    {
        let (shape, Outputs { o, lse, sinks }) = (*self.shape(), outputs);
        if let Some(sinks) = sinks {
            sinks.check(shape.heads.q)?;
        }
        let tokens = inputs.q.dims()[1];
        check_starts(starts, &shape, tokens)?;
        let packed = Shape { batch: 1, q_len: tokens, ..shape };
        inputs.check_queries(&packed)?;
        let claim = Claim::output(packed, self.entry().level(), self.grid(), o, lse)?;
        let (needed, given) = (self.varlen_scratch_len(), scratch.len());
        if given < needed {
            return Err(Error::Scratch { needed, given });
        }
        let sequences = Sequences { plan: self.clone(), inputs, starts, sinks };
        for (b, tokens) in sequences.all() {
            let (bound, _) = sequences.bound(&tokens, given)?;
            bound.check_evicted(b..b + 1)?;
        }
        Ok(Varlen { sequences, claim, scratch })
    }

    /// Floats of scratch that [`Attention::bind_varlen`] wants.
    #[must_use]
    #[inline]
    pub const fn varlen_scratch_len(&self) -> usize {
        let (heads, level) = (self.shape().heads, self.entry().level());
        let room = if self.is_relative() { heads.relative_scratch_len(level) } else { 0 };
        heads.scratch_len(level).saturating_add(room)
    }
}

/// Whether they cut so many tokens into sequences that are short enough.
#[inline]
fn check_starts(starts: &[u32], shape: &Shape, tokens: usize) -> Result<(), Error> {
    let (list, needed, given) = (List::QueryEnds, shape.batch.saturating_add(1), starts.len());
    if given != needed {
        return Err(Error::ListLength { list, needed, given });
    }
    ascending(list, starts, false)?;
    let entry = |index, value, limit| Err(Error::Entry { list, index, value, limit });
    match (starts.first(), starts.last()) {
        (Some(&first), _) if first != 0 => return entry(0, first, 1),
        (_, Some(&last)) if last as usize != tokens => {
            return entry(shape.batch, last, tokens.saturating_add(1));
        }
        _ => {}
    }
    for (index, [start, end]) in starts.array_windows().enumerate() {
        let limit = (*start as usize).saturating_add(shape.q_len).saturating_add(1);
        if *end as usize >= limit {
            return entry(index + 1, *end, limit);
        }
    }
    Ok(())
}

impl<'a> Sequences<'a> {
    /// Those that have queries, and their tokens.
    fn all(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<'a> {
        let all = self.starts.array_windows().enumerate();
        let all = all.map(|(b, [start, end])| (b, *start as usize..*end as usize));
        all.filter(|(_, tokens)| !tokens.is_empty())
    }

    /// The work of a sequence alone, and how its rows are cut.
    #[inline]
    fn bound(&self, tokens: &Range<usize>, given: usize) -> Result<(Bound<'a>, Grid), Error> {
        let Shape { batch, q_len: longest, .. } = *self.plan.shape();
        let inputs = Inputs { q: self.inputs.q.sequence(tokens, batch), ..self.inputs };
        let plan = self.plan.of_sequence(tokens.len()).suited(&inputs);
        let bound = plan.bind_inputs(inputs, self.sinks, given)?;
        Ok((Bound { longest, ..bound }, plan.grid()))
    }

    /// Does a share of the work of each sequence.
    #[inline]
    fn run(&self, claim: &mut Claim<'_>, scratch: &mut [f32]) {
        for (b, tokens) in self.all() {
            let bound = self.bound(&tokens, scratch.len());
            debug_assert!(bound.is_ok(), "it was checked when it was bound");
            let Ok((bound, grid)) = bound else { continue };
            let Some(out) = claim.sequence(bound.shape, b, &tokens, grid) else { continue };
            Part::new(Job { bound, out, scratch }).run();
        }
    }
}

impl<'a> Varlen<'a> {
    /// Does all the work.
    #[inline]
    pub fn run(self) {
        let Varlen { sequences, mut claim, scratch } = self;
        sequences.run(&mut claim, scratch);
    }

    /// All `parts` shares at once, to be run on as many threads: each has a share of every sequence. As [`Call::parts`](crate::Call::parts), with as much
    /// scratch as [`Attention::varlen_scratch_len`] for each.
    ///
    /// # Errors
    /// [`Error::Part`] for no parts, [`Error::Scratch`].
    #[inline]
    pub fn parts(
        self,
        parts: usize,
    ) -> Result<impl ExactSizeIterator<Item = VarlenPart<'a>> + Send, Error> {
        let Varlen { sequences, claim, scratch } = self;
        let each = sequences.plan.varlen_scratch_len();
        let (count, scratches) = cut_scratch(scratch, each, parts)?;
        Ok(claim.shares(count).zip(scratches).map(move |(claim, scratch)| {
            VarlenPart(Varlen { sequences: sequences.clone(), claim, scratch })
        }))
    }
}

/// A share of a call's work, with the right to write its rows of the output.
#[derive(Debug)]
pub struct VarlenPart<'a>(Varlen<'a>);

impl VarlenPart<'_> {
    /// Does this share of the work.
    #[inline]
    pub fn run(self) {
        self.0.run();
    }
}
