//! An output lent in shares: the right to write some of its rows, from any thread.

use super::moves::MoveTable;
use crate::error::{Error, Tensor};
use crate::shape::Shape;
use crate::simd::Level;
use crate::view::{AnyViewMut, StoredMut, Strides, ViewMut};
use core::marker::PhantomData;
use core::num::NonZero;
use half::{bf16, f16};

/// What becomes of the sums of a row.
#[derive(Clone, Copy, Debug)]
enum Sums {
    /// Nothing: only the output is wanted.
    Dropped,
    /// The log-sum-exp, `[batch, q_heads, q_len]`.
    Lse(*mut f32),
    /// `m` and `l` of a state, `[batch, q_len, q_heads]` each.
    State { m: *mut f32, l: *mut f32 },
}

/// Where rows begin, and how they are rounded to what is stored there.
#[derive(Clone, Copy, Debug)]
enum Out {
    F32(*mut f32, &'static MoveTable<f32>),
    F16(*mut f16, &'static MoveTable<f16>),
    Bf16(*mut bf16, &'static MoveTable<bf16>),
}

/// The right to write some rows of an output: those of every `count`-th query tile, from `index` on.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    o: Out,
    strides: Strides,
    sums: Sums,
    shape: Shape,
    level: Level,
    /// Rows of a query tile, and query tiles of a key/value head.
    tile_rows: NonZero<usize>,
    tiles: NonZero<usize>,
    index: usize,
    count: NonZero<usize>,
    output: PhantomData<&'a mut [f32]>,
}

// SAFETY: claims made from one output reach disjoint elements (see `Claim::write`), and nothing else
// reaches them while the borrow of `'a` lasts.
unsafe impl Send for Claim<'_> {}

impl<'a> Claim<'a> {
    /// All rows of an output. `lse` is `[batch, q_heads, q_len]` of `shape`, or absent.
    pub(crate) fn output(
        shape: Shape,
        level: Level,
        tile_rows: NonZero<usize>,
        o: AnyViewMut<'a>,
        lse: Option<&'a mut [f32]>,
    ) -> Result<Self, Error> {
        let mut claim = Self::rows(shape, level, tile_rows, o, Tensor::O)?;
        if let Some(lse) = lse {
            check_len(Tensor::Lse, shape.rows(), lse.len())?;
            claim.sums = Sums::Lse(lse.as_mut_ptr());
        }
        Ok(claim)
    }

    /// All rows of a state; `m` and `l` are `[batch, q_len, q_heads]` of `shape`.
    pub(crate) fn state(
        shape: Shape,
        level: Level,
        tile_rows: NonZero<usize>,
        o: ViewMut<'a>,
        m: &'a mut [f32],
        l: &'a mut [f32],
    ) -> Result<Self, Error> {
        let mut claim = Self::rows(shape, level, tile_rows, o.into(), Tensor::State)?;
        check_len(Tensor::State, shape.rows(), m.len())?;
        check_len(Tensor::State, shape.rows(), l.len())?;
        claim.sums = Sums::State { m: m.as_mut_ptr(), l: l.as_mut_ptr() };
        Ok(claim)
    }

    fn rows(
        shape: Shape,
        level: Level,
        tile_rows: NonZero<usize>,
        o: AnyViewMut<'a>,
        tensor: Tensor,
    ) -> Result<Self, Error> {
        if o.dims() != shape.o() {
            return Err(Error::Shape { tensor, expected: shape.o(), given: o.dims() });
        }
        let head_rows = shape.heads.group() * shape.q_len;
        let tiles = head_rows / tile_rows + usize::from(head_rows % tile_rows != 0);
        let (o, strides) = match o.0 {
            StoredMut::F32(view, moves) => (Out::F32(view.data.as_mut_ptr(), moves), view.strides),
            StoredMut::F16(view, moves) => (Out::F16(view.data.as_mut_ptr(), moves), view.strides),
            StoredMut::Bf16(view, moves) => {
                (Out::Bf16(view.data.as_mut_ptr(), moves), view.strides)
            }
        };
        Ok(Claim {
            o,
            strides,
            level,
            sums: Sums::Dropped,
            shape,
            tile_rows,
            tiles: NonZero::new(tiles).unwrap_or(NonZero::<usize>::MIN),
            index: 0,
            count: NonZero::<usize>::MIN,
            output: PhantomData,
        })
    }

    /// The claim cut into `count` shares, each made once.
    pub(crate) fn shares(
        self,
        count: NonZero<usize>,
    ) -> impl ExactSizeIterator<Item = Claim<'a>> + Send {
        // SAFETY: `self` is consumed, and each of these copies owns other rows.
        (0..count.get()).map(move |index| Claim { index, count, ..unsafe { self.copy() } })
    }

    /// One share; the claim waits until it is done.
    pub(crate) fn share(&mut self, index: usize, count: NonZero<usize>) -> Claim<'_> {
        // SAFETY: `self` stays borrowed for as long as the copy lives.
        Claim { index, count, ..unsafe { self.copy() } }
    }

    /// The same claim again.
    ///
    /// # Safety
    /// No row may be written through two claims while both live.
    unsafe fn copy(&self) -> Self {
        Claim { output: PhantomData, ..*self }
    }

    /// Query tiles of this share. Tile `t` of key/value head `g` of sequence `b` is item
    /// `(b * kv_heads + g) * tiles + t`. Items are dealt out to the shares in rounds, there and back
    /// (0 1 2, 2 1 0, 0 1 2 ...): under a causal mask later tiles cost more, and so no share gets the
    /// dear end of every round.
    pub(crate) fn items(&self) -> impl Iterator<Item = usize> + use<> {
        let Shape { batch, q_len, heads, .. } = self.shape;
        let items = if q_len == 0 { 0 } else { batch * heads.kv * self.tiles.get() };
        let (index, count) = (self.index, self.count);
        let rounds = items / count + usize::from(items % count != 0);
        (0..rounds)
            .map(move |round| round * count.get() + deal(round, index, count))
            .filter(move |&item| item < items)
    }

    /// Whether an item was dealt to this share.
    fn owns(&self, item: usize) -> bool {
        deal(item / self.count, item % self.count, self.count) == self.index
    }

    /// Whether rows are to be divided by their sum of weights.
    pub(crate) fn normalises(&self) -> bool {
        !matches!(self.sums, Sums::State { .. })
    }

    /// Writes query `i` of head `h` of sequence `b`: its channels, and what is wanted of `m` and `l`.
    /// Does nothing for a row of another share.
    pub(crate) fn write(&mut self, [b, i, h]: [usize; 3], (m, l): (f32, f32), channels: &[f32]) {
        let Shape { batch, q_len, heads, .. } = self.shape;
        let group = heads.group();
        let tile = (i * group + h % group) / self.tile_rows;
        let item = (b * heads.kv + h / group) * self.tiles.get() + tile;
        if b >= batch || i >= q_len || h >= heads.q || !self.owns(item) {
            return;
        }
        let (at, level) = (self.strides.offset(b, i, h), self.level);
        let row = channels.get(..heads.v_dim).unwrap_or(channels);
        // SAFETY: `b`, `i`, `h` lie within the dimensions for which `ViewMut` checked that every
        // row lies inside its slice and apart from every other, and `rows` that they are these. The
        // tests above give each row to one share alone, and each share exists once.
        unsafe {
            match self.o {
                Out::F32(o, moves) => moves.at(level).round(row, row_at(o, at, row)),
                Out::F16(o, moves) => moves.at(level).round(row, row_at(o, at, row)),
                Out::Bf16(o, moves) => moves.at(level).round(row, row_at(o, at, row)),
            }
        }
        let state_row = (b * q_len + i) * heads.q + h;
        // SAFETY: both indices are below `batch * q_len * q_heads`, the length that `output` and
        // `state` checked, and belong to this row alone.
        unsafe {
            match self.sums {
                Sums::Dropped => {}
                Sums::Lse(lse) => {
                    *lse.add((b * heads.q + h) * q_len + i) = crate::state::lse(m, l);
                }
                Sums::State { m: all_m, l: all_l } => {
                    *all_m.add(state_row) = m;
                    *all_l.add(state_row) = l;
                }
            }
        }
    }
}

/// The elements that a row of results goes to.
///
/// # Safety
/// `at` and the length of `row` lie within the output that `o` begins, and nobody else reaches them.
unsafe fn row_at<'o, T>(o: *mut T, at: usize, row: &[f32]) -> &'o mut [T] {
    // SAFETY: as the caller promises.
    unsafe { core::slice::from_raw_parts_mut(o.add(at), row.len()) }
}

/// Which place of a round a share has, and equally which share has a place: there and back.
fn deal(round: usize, index: usize, count: NonZero<usize>) -> usize {
    if round.is_multiple_of(2) { index } else { count.get() - 1 - index }
}

pub(crate) fn check_len(tensor: Tensor, needed: usize, given: usize) -> Result<(), Error> {
    if needed == given { Ok(()) } else { Err(Error::Length { tensor, needed, given }) }
}
