//! A plan bound to tensors: checked, ready to run, in one piece or in parts.

use crate::cache::{Cached, Side};
use crate::error::{Error, Tensor};
use crate::job::Job;
use crate::shape::Shape;
use crate::sinks::Sinks;
use crate::staged::Source;
use crate::view::{AnyView, AnyViewMut};
use core::num::NonZero;
use core::slice::ChunksExactMut;

/// What attention reads: tensors, or queries and a cache. Each tensor is stored as f32, `half::f16` or `half::bf16`, in any mix; the
/// arithmetic is f32.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    pub(crate) q: AnyView<'a>,
    pub(crate) k: Source<'a>,
    pub(crate) v: Source<'a>,
    pub(crate) lens: Lens<'a>,
    /// What turns a row of queries, if the keys of a cache are turned.
    pub(crate) turn: Option<RowTurn>,
}

/// Turns a row in place.
pub(crate) type RowTurn = fn(&mut [f32]);

/// How many keys of each sequence are visible: as many as a list says, and no more than a cache has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lens<'a> {
    list: Option<&'a [usize]>,
    pub(crate) cache: Option<&'a dyn Cached>,
}

impl<'a> Inputs<'a> {
    /// Queries `[batch, q_len, q_heads, head_dim]`, not scaled; keys `[batch, kv_len, kv_heads,
    /// head_dim]`; values `[batch, kv_len, kv_heads, v_dim]`.
    #[must_use]
    pub fn new(
        q: impl Into<AnyView<'a>>,
        k: impl Into<AnyView<'a>>,
        v: impl Into<AnyView<'a>>,
    ) -> Self {
        let [k, v] = [k.into(), v.into()].map(Source::Tensor);
        Inputs { q: q.into(), k, v, lens: Lens::default(), turn: None }
    }

    /// Queries `[batch, q_len, q_heads, head_dim]`, not scaled, and the keys and values that caches keep of as many sequences. The plan's
    /// `kv_len` is that of the longest; of each sequence its own tokens are visible.
    #[must_use]
    pub fn cached(q: impl Into<AnyView<'a>>, cache: &'a dyn Cached) -> Self {
        let inputs = match cache.views() {
            Some([k, v]) => Inputs::new(q, k, v),
            None => {
                let [k, v] = [Side::Keys, Side::Values].map(|side| Source::Cache(cache, side));
                let lens = Lens { list: None, cache: Some(cache) };
                Inputs { q: q.into(), k, v, lens, turn: None }
            }
        };
        Inputs { turn: cache.turn(), ..inputs }
    }

    /// How many keys of each sequence are visible, where a batch is padded: later ones are neither
    /// seen nor read. Caches know their own lengths, and show no more than they have.
    #[must_use]
    pub fn kv_lens(self, kv_lens: impl Into<Option<&'a [usize]>>) -> Self {
        Inputs { lens: Lens { list: kv_lens.into(), ..self.lens }, ..self }
    }
}

impl Lens<'_> {
    /// That of a sequence, of `kv_len` keys.
    pub(crate) fn of(&self, b: usize, kv_len: usize) -> usize {
        let cached = self.cache.map_or(kv_len, |cache| cache.len(b).min(kv_len));
        self.list.and_then(|lens| lens.get(b)).map_or(cached, |len| cached.min(*len))
    }
}

impl Inputs<'_> {
    /// Whether queries have the shape that the plan says.
    pub(crate) fn check_queries(&self, shape: &Shape) -> Result<(), Error> {
        let (tensor, expected, given) = (Tensor::Q, shape.q(), self.q.dims());
        if expected == given { Ok(()) } else { Err(Error::Shape { tensor, expected, given }) }
    }

    /// Whether they have the shape that the plan says.
    pub(crate) fn check(&self, shape: &Shape) -> Result<(), Error> {
        self.check_queries(shape)?;
        for (tensor, expected, given) in
            [(Tensor::K, shape.k(), self.k.dims()), (Tensor::V, shape.v(), self.v.dims())]
        {
            if expected != given {
                return Err(Error::Shape { tensor, expected, given });
            }
        }
        let Some(lens) = self.lens.list else {
            return Ok(());
        };
        if lens.len() != shape.batch {
            return Err(Error::KvLens { batch: shape.batch, given: lens.len() });
        }
        for (sequence, &visible) in lens.iter().enumerate() {
            if visible > shape.kv_len {
                return Err(Error::KvLen { sequence, visible, kv_len: shape.kv_len });
            }
        }
        Ok(())
    }
}

/// What attention writes.
#[derive(Debug)]
pub struct Outputs<'a> {
    pub(crate) o: AnyViewMut<'a>,
    pub(crate) lse: Option<&'a mut [f32]>,
    pub(crate) sinks: Option<Sinks<'a>>,
}

impl<'a> Outputs<'a> {
    /// Output `[batch, q_len, q_heads, v_dim]`, stored as f32, `half::f16` or `half::bf16`: rounded
    /// once from f32.
    #[must_use]
    pub fn new(o: impl Into<AnyViewMut<'a>>) -> Self {
        Outputs { o: o.into(), lse: None, sinks: None }
    }

    /// Also the natural log-sum-exp of each row's scaled scores, `[batch, q_heads, q_len]`.
    #[must_use]
    pub fn lse(self, lse: impl Into<Option<&'a mut [f32]>>) -> Self {
        Outputs { lse: lse.into(), ..self }
    }

    /// A learned sink for each query head: its logit, neither scaled nor masked, takes part in the softmax as that of
    /// one more key, whose value is 0. (gpt-oss.) It is part of the
    /// log-sum-exp; a row that sees no key gives 0 and the logit. Where keys are split, the sink joins the
    /// merged state: [`State::sink`](crate::State::sink).
    #[must_use]
    pub fn sinks(self, logits: &'a [f32]) -> Self {
        Outputs { sinks: Some(Sinks::new(logits)), ..self }
    }

    /// A sink of logit 0 for every head: `exp(s_j) / (1 + sum exp(s_r))`, so that a head may attend to nothing. (Smooth
    /// softmax in ONNX Runtime, softmax-off-by-one elsewhere.)
    #[must_use]
    pub fn smooth_softmax(self) -> Self {
        Outputs { sinks: Some(Sinks::smooth()), ..self }
    }
}

/// A checked attention. Running it cannot fail, panic or allocate.
#[derive(Debug)]
pub struct Call<'a>(pub(crate) Job<'a>);

impl<'a> Call<'a> {
    /// Does all the work.
    pub fn run(self) {
        // Not by way of a part: a job is half a kilobyte, and firmware has little stack for copies.
        let entry = self.0.entry;
        entry.call(self.0);
    }

    /// The `index`-th of `parts` shares of the work, to be run by itself, say between interrupts.
    /// When all have run, in any order, the output is the same to the bit as after [`Call::run`].
    ///
    /// # Errors
    /// [`Error::Part`] unless `index < parts`.
    pub fn part(&mut self, index: usize, parts: usize) -> Result<Part<'_>, Error> {
        let count = match NonZero::new(parts) {
            Some(count) if index < parts => count,
            _ => return Err(Error::Part { index, parts }),
        };
        let Job { bound, out, scratch } = &mut self.0;
        let (bound, out) = (bound.clone(), out.share(index, count));
        Ok(Part(Job { bound, out, scratch }))
    }

    /// All `parts` shares at once, to be run on as many threads. Each gets a scratch of its own, cut
    /// from the call's, which must hold `parts` times [`crate::Attention::scratch_len`] floats. The
    /// output is the same to the bit for any number of parts.
    ///
    /// ```
    /// # use flashlet::{Attention, Heads, Inputs, Mask, Outputs, Shape, View, ViewMut};
    /// # fn main() -> Result<(), flashlet::Error> {
    /// # let shape = Shape { batch: 1, q_len: 9, kv_len: 9, heads: Heads::new(2, 2, 8) };
    /// # let attention = Attention::new(shape, Mask::full())?;
    /// # let (x, mut o) = ([0.5; 144], [0.0; 144]);
    /// # let view = View::packed(&x, shape.q())?;
    /// # let inputs = Inputs::new(view, view, view);
    /// # let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o())?);
    /// let mut scratch = vec![0.0; 3 * attention.scratch_len()];
    /// let parts = attention.bind(inputs, outputs, &mut scratch)?.parts(3)?;
    /// std::thread::scope(|scope| {
    ///     for part in parts {
    ///         scope.spawn(move || part.run());
    ///     }
    /// });
    /// # assert!(o.iter().all(|x| (x - 0.5).abs() < 1e-6));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Part`] for no parts, [`Error::Scratch`] unless the scratch holds `parts` times
    /// [`crate::Attention::scratch_len`].
    pub fn parts(
        self,
        parts: usize,
    ) -> Result<impl ExactSizeIterator<Item = Part<'a>> + Send, Error> {
        let Job { bound, out, scratch } = self.0;
        let (count, scratches) = cut_scratch(scratch, bound.scratch_len(), parts)?;
        let shares = out.shares(count).zip(scratches);
        Ok(shares.map(move |(out, scratch)| Part(Job { bound: bound.clone(), out, scratch })))
    }
}

/// As many scratches of `each` floats as there are parts.
pub(crate) fn cut_scratch(
    scratch: &mut [f32],
    each: usize,
    parts: usize,
) -> Result<(NonZero<usize>, ChunksExactMut<'_, f32>), Error> {
    let Some(count) = NonZero::new(parts) else {
        return Err(Error::Part { index: 0, parts });
    };
    match (each.checked_mul(parts), scratch.len()) {
        (Some(needed), given) if needed <= given => {
            Ok((count, scratch.chunks_exact_mut(each.max(1))))
        }
        (needed, given) => Err(Error::Scratch { needed: needed.unwrap_or(usize::MAX), given }),
    }
}

/// A share of a call's work, with the right to write its rows of the output.
#[derive(Debug)]
pub struct Part<'a>(Job<'a>);

impl<'a> Part<'a> {
    pub(crate) const fn new(job: Job<'a>) -> Self {
        Part(job)
    }
}

impl Part<'_> {
    /// Does this share of the work.
    pub fn run(self) {
        let entry = self.0.entry;
        entry.call(self.0);
    }
}
