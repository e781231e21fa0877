//! Partial attention: the state of rows that have seen some of their keys, to be merged with others.

use crate::dispatch::check_len;
use crate::error::{Error, Tensor};
use crate::lse::{Base, Lse};
use crate::online::Online;
use crate::shape::{Shape, len_of};
use crate::simd::Scalar;
use crate::sinks;
use crate::view::{Strides, View, ViewMut};

/// The natural log-sum-exp of a row: `m ln 2 + ln l`; -inf for a row that has seen no key.
pub(crate) fn lse(m: f32, l: f32) -> f32 {
    m * core::f32::consts::LN_2 + libm::logf(l)
}

/// Attention over some of the keys, not yet divided: `(m, l, o)` for every row of output.
///
/// States over disjoint sets of keys merge into the state over their union, so a long context can be
/// split over threads, caches or machines. The empty state is the identity: merging it changes no
/// bit of a number, and NaN stays NaN. Merging rounds, so another order of merges may give other last bits: where bits matter, fix it, or let
/// [`State::merge_tree`] do so. All of a state lies in one slice of floats, to be stored or sent as it is.
///
/// ```
/// use flashlet::{Attention, Heads, Inputs, Mask, Shape, State, View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// let shape = Shape { batch: 1, q_len: 1, kv_len: 4, heads: Heads::new(1, 1, 2) };
/// let attention = Attention::new(shape, Mask::full())?;
/// let (q, k, v) = ([1.0, 0.5], [0.1; 8], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
/// let inputs = Inputs::new(
///     View::packed(&q, shape.q())?,
///     View::packed(&k, shape.k())?,
///     View::packed(&v, shape.v())?,
/// );
/// let mut scratch = vec![0.0; attention.scratch_len()];
/// let mut storage = vec![0.0; 2 * State::storage_len(&shape)?];
/// let (front, back) = storage.split_at_mut(State::storage_len(&shape)?);
/// let mut front = State::empty(front, &shape)?;
/// let mut back = State::empty(back, &shape)?;
/// attention.keys(0..3)?.bind_state(inputs, &mut front, &mut scratch)?.run();
/// attention.keys(3..4)?.bind_state(inputs, &mut back, &mut scratch)?.run();
/// front.merge(&back)?;
/// let mut o = [0.0; 2];
/// front.finish(ViewMut::packed(&mut o, shape.o())?, None)?;
/// assert!((o[0] - 4.0).abs() < 1e-6 && (o[1] - 5.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct State<'a> {
    m: &'a mut [f32],
    l: &'a mut [f32],
    o: &'a mut [f32],
    dims: [usize; 4],
}

impl<'a> State<'a> {
    /// Floats of storage: two more a row than the output has.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub const fn storage_len(shape: &Shape) -> Result<usize, Error> {
        let dims = shape.o();
        match dims[3].checked_add(2) {
            Some(row) => len_of([dims[0], dims[1], dims[2], row]),
            None => Err(Error::Overflow { dims }),
        }
    }

    /// The empty state. Overwrites `storage`.
    ///
    /// # Errors
    /// [`Error::Overflow`]; [`Error::Length`] if `storage` has not [`State::storage_len`] floats.
    pub fn empty(storage: &'a mut [f32], shape: &Shape) -> Result<Self, Error> {
        let state = Self::from_storage(storage, shape)?;
        state.m.fill(f32::NEG_INFINITY);
        state.l.fill(0.0);
        state.o.fill(-0.0);
        Ok(state)
    }

    /// A state as it was stored or received: all `m`, then all `l`, then all `o`, rows in the order
    /// of the output.
    ///
    /// # Errors
    /// As [`State::empty`].
    pub fn from_storage(storage: &'a mut [f32], shape: &Shape) -> Result<Self, Error> {
        let (needed, given) = (Self::storage_len(shape)?, storage.len());
        check_len(Tensor::State, needed, given)?;
        let rows = shape.rows();
        let parts = storage.split_at_mut_checked(rows).and_then(|(m, rest)| {
            let (l, o) = rest.split_at_mut_checked(rows)?;
            Some(State { m, l, o, dims: shape.o() })
        });
        parts.ok_or(Error::Length { tensor: Tensor::State, needed, given })
    }

    /// Joins the state of the same rows over other keys.
    ///
    /// # Errors
    /// [`Error::Shape`] if the states have different shapes; nothing is changed then.
    pub fn merge(&mut self, other: &State<'_>) -> Result<(), Error> {
        if self.dims != other.dims {
            let (expected, given) = (self.dims, other.dims);
            return Err(Error::Shape { tensor: Tensor::State, expected, given });
        }
        let v_dim = self.dims[3].max(1);
        let theirs = singles(other.m).iter().zip(singles(other.l)).zip(other.o.chunks_exact(v_dim));
        let mine = singles_mut(self.m).iter_mut().zip(singles_mut(self.l));
        for (((m, l), o), ((m2, l2), o2)) in mine.zip(self.o.chunks_exact_mut(v_dim)).zip(theirs) {
            Online { m, l, o: singles_mut(o) }.merge(Scalar, m2, l2, singles(o2));
        }
        Ok(())
    }

    /// Merges all states into the first, two neighbours at a time, then two such pairs, and so on. The tree depends on how
    /// many states there are and on nothing else, so the bits do not depend on who computed which of them, or when. The
    /// other states hold what was merged on the way.
    ///
    /// # Errors
    /// [`Error::Shape`] if the states have different shapes; nothing is changed then.
    pub fn merge_tree(states: &mut [State<'_>]) -> Result<(), Error> {
        let dims = states.first().map_or([0; 4], |first| first.dims);
        if let Some(other) = states.iter().find(|other| other.dims != dims) {
            let (expected, given) = (dims, other.dims);
            return Err(Error::Shape { tensor: Tensor::State, expected, given });
        }
        let mut apart = 1;
        while apart < states.len() {
            for pair in states.chunks_mut(2 * apart) {
                if let Some((low, high)) = pair.split_at_mut_checked(apart)
                    && let (Some(low), Some(high)) = (low.first_mut(), high.first())
                {
                    low.merge(high)?;
                }
            }
            apart *= 2;
        }
        Ok(())
    }

    /// Joins a finished output of the same rows over other keys, and its log-sum-exp: what another engine, or an earlier
    /// call, has left of them. `o [batch, q_len, q_heads, v_dim]`, `lse [batch, q_heads, q_len]`.
    ///
    /// ```
    /// use flashlet::{Heads, Lse, Shape, State, View, ViewMut};
    /// # fn main() -> Result<(), flashlet::Error> {
    /// let shape = Shape { batch: 1, q_len: 1, kv_len: 0, heads: Heads::new(1, 1, 2) };
    /// let mut storage = vec![0.0; State::storage_len(&shape)?];
    /// let mut state = State::empty(&mut storage, &shape)?;
    /// state.join(View::packed(&[1.0, 2.0], shape.o())?, Lse::nats(&[0.0]))?; // FlashAttention
    /// state.join(View::packed(&[4.0, 5.0], shape.o())?, Lse::bits(&[1.0]))?; // FlashInfer: twice the weight
    /// let mut o = [0.0; 2];
    /// state.finish(ViewMut::packed(&mut o, shape.o())?, None)?;
    /// assert!((o[0] - 3.0).abs() < 1e-6 && (o[1] - 4.0).abs() < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Length`]; nothing is changed then.
    pub fn join<B: Base>(&mut self, o: View<'_>, lse: Lse<'_, B>) -> Result<(), Error> {
        let [_, q_len, q_heads, v_dim] = self.dims;
        if o.dims() != self.dims {
            return Err(Error::Shape { tensor: Tensor::O, expected: self.dims, given: o.dims() });
        }
        check_len(Tensor::Lse, self.m.len(), lse.len())?;
        let places = places(self.dims);
        let sums = self.m.iter_mut().zip(self.l.iter_mut());
        let rows = sums.zip(self.o.chunks_exact_mut(v_dim.max(1)));
        for ((b, i, h), ((m, l), channels)) in places.zip(rows) {
            let at = (b * q_heads + h) * q_len + i;
            // What has seen nothing holds nothing, whatever its output is.
            let Some(m2) = lse.in_bits(at).filter(|m2| *m2 != f32::NEG_INFINITY) else { continue };
            let [m, l] = [m, l].map(core::array::from_mut);
            let mut mine = Online { m, l, o: singles_mut(channels) };
            mine.merge(Scalar, &[m2], &[1.0], singles(o.row(b, i, h)));
        }
        Ok(())
    }

    /// Joins a learned sink for each query head: see [`Outputs::sinks`](crate::Outputs::sinks). Once, whatever number
    /// of states was merged.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a logit for each query head; nothing is changed then.
    pub fn sink(&mut self, logits: &[f32]) -> Result<(), Error> {
        let [_, _, q_heads, v_dim] = self.dims;
        check_len(Tensor::Sinks, q_heads, logits.len())?;
        let rows = self.m.iter_mut().zip(self.l.iter_mut());
        let rows = rows.zip(self.o.chunks_exact_mut(v_dim.max(1)));
        for (((m, l), o), logit) in rows.zip(logits.iter().cycle()) {
            let (m, l) = (core::slice::from_mut(m), core::slice::from_mut(l));
            sinks::join(Scalar, &[logit * core::f32::consts::LOG2_E], m, l, o);
        }
        Ok(())
    }

    /// Divides by the sums of weights and writes the output, and the natural log-sum-exp
    /// `[batch, q_heads, q_len]` if it is wanted. Rows that have seen no key give 0 and -inf.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Length`]; nothing is written then.
    pub fn finish(&self, mut o: ViewMut<'_>, mut lse_out: Option<&mut [f32]>) -> Result<(), Error> {
        let [batch, q_len, q_heads, v_dim] = self.dims;
        if o.dims() != self.dims {
            return Err(Error::Shape { tensor: Tensor::O, expected: self.dims, given: o.dims() });
        }
        if let Some(out) = &lse_out {
            check_len(Tensor::Lse, batch * q_len * q_heads, out.len())?;
        }
        let places = places(self.dims);
        let sums = self.m.iter().zip(self.l.iter());
        let rows = sums.zip(self.o.chunks_exact(v_dim.max(1)));
        for ((b, i, h), ((&m, &l), channels)) in places.zip(rows) {
            let row = o.row_mut(b, i, h);
            for (to, from) in row.iter_mut().zip(channels) {
                *to = *from;
            }
            Online { m: &mut [m], l: &mut [l], o: singles_mut(row) }.finish(Scalar);
            let at = (b * q_heads + h) * q_len + i;
            if let Some(out) = lse_out.as_deref_mut().and_then(|out| out.get_mut(at)) {
                *out = lse(m, l);
            }
        }
        Ok(())
    }

    /// The state as an output of a call: `o`, `m`, `l`.
    pub(crate) fn outputs(&mut self) -> Result<(ViewMut<'_>, &mut [f32], &mut [f32]), Error> {
        let strides = Strides::by_token(self.dims)?;
        Ok((ViewMut::strided(self.o, self.dims, strides)?, self.m, self.l))
    }
}

/// Sequence, query and head of each row, in the order of an output.
fn places(dims: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize)> {
    let [batch, q_len, q_heads, _] = dims;
    let queries = (0..batch).flat_map(move |b| (0..q_len).map(move |i| (b, i)));
    queries.flat_map(move |(b, i)| (0..q_heads).map(move |h| (b, i, h)))
}

/// Rows of one lane.
fn singles(x: &[f32]) -> &[[f32; 1]] {
    x.as_chunks().0
}

fn singles_mut(x: &mut [f32]) -> &mut [[f32; 1]] {
    x.as_chunks_mut().0
}
