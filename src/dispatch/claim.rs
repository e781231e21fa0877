//! An output lent in shares: the right to write some of its rows, from any thread.

use super::moves::Mover;
use crate::error::{Error, Tensor};
use crate::shape::{Heads, Shape};
use crate::simd::{Level, MAX_LANES, prefetch_row};
use crate::view::{AnyViewMut, StoredMut, Strides, ViewMut};
use core::marker::PhantomData;
use core::num::NonZero;
use core::ops::Range;
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
pub(super) enum Out {
    F32(*mut f32, Mover<f32>),
    F16(*mut f16, Mover<f16>),
    Bf16(*mut bf16, Mover<bf16>),
}

/// The same expression for whatever element an output has.
macro_rules! of_out {
    ($out:expr, ($o:pat, $moves:pat) => $body:expr) => {
        match $out {
            Out::F32($o, $moves) => $body,
            Out::F16($o, $moves) => $body,
            Out::Bf16($o, $moves) => $body,
        }
    };
}
pub(super) use of_out;

impl Out {
    /// Where the rows of a view begin, and how they are strided.
    pub(super) fn new(view: AnyViewMut<'_>, level: Level) -> (Self, Strides) {
        match view.0 {
            StoredMut::F32(view, moves) => {
                (Out::F32(view.data.as_mut_ptr(), moves.at(level)), view.strides)
            }
            StoredMut::F16(view, moves) => {
                (Out::F16(view.data.as_mut_ptr(), moves.at(level)), view.strides)
            }
            StoredMut::Bf16(view, moves) => {
                (Out::Bf16(view.data.as_mut_ptr(), moves.at(level)), view.strides)
            }
        }
    }
}

/// How the rows of a key/value head are cut into query tiles: so many rows each, the first from a place before row 0 on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    tile_rows: NonZero<usize>,
    head_rows: usize,
    before: usize,
}

impl Grid {
    /// `head_rows` rows, the first `lead` of which share a tile with no others.
    pub(crate) fn new(tile_rows: usize, head_rows: usize, lead: usize) -> Self {
        let tile_rows = NonZero::new(tile_rows).unwrap_or(NonZero::<usize>::MIN);
        let of_last = lead.min(head_rows) % tile_rows;
        let before = if of_last == 0 { 0 } else { tile_rows.get() - of_last };
        Grid { tile_rows, head_rows, before }
    }

    fn tiles(&self) -> usize {
        let rows = self.head_rows + self.before;
        (rows / self.tile_rows + usize::from(rows % self.tile_rows != 0)).max(1)
    }

    fn tile_of(&self, row: usize) -> usize {
        (row + self.before) / self.tile_rows
    }

    fn rows_of(&self, tile: usize) -> Range<usize> {
        let start = tile * self.tile_rows.get();
        let end = (start + self.tile_rows.get()).saturating_sub(self.before);
        start.saturating_sub(self.before)..end.min(self.head_rows)
    }
}

/// The right to write some rows of an output: those of every `count`-th query tile, from `index` on.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    o: Out,
    strides: Strides,
    sums: Sums,
    /// Log-sum-exps of a head.
    lse_len: usize,
    shape: Shape,
    /// The first sequence; what was lent begins with it.
    first: usize,
    sequences: usize,
    grid: Grid,
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
        grid: Grid,
        o: AnyViewMut<'a>,
        lse: Option<&'a mut [f32]>,
    ) -> Result<Self, Error> {
        let mut claim = Self::rows(shape, level, grid, o, Tensor::O)?;
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
        grid: Grid,
        o: ViewMut<'a>,
        m: &'a mut [f32],
        l: &'a mut [f32],
    ) -> Result<Self, Error> {
        let mut claim = Self::rows(shape, level, grid, o.into(), Tensor::State)?;
        check_len(Tensor::State, shape.rows(), m.len())?;
        check_len(Tensor::State, shape.rows(), l.len())?;
        claim.sums = Sums::State { m: m.as_mut_ptr(), l: l.as_mut_ptr() };
        Ok(claim)
    }

    fn rows(
        shape: Shape,
        level: Level,
        grid: Grid,
        o: AnyViewMut<'a>,
        tensor: Tensor,
    ) -> Result<Self, Error> {
        if o.dims() != shape.o() {
            return Err(Error::Shape { tensor, expected: shape.o(), given: o.dims() });
        }
        let (o, strides) = Out::new(o, level);
        Ok(Claim {
            o,
            strides,
            sums: Sums::Dropped,
            lse_len: shape.q_len,
            shape,
            first: 0,
            sequences: shape.batch,
            grid,
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

    /// Of an output that has the tokens of several sequences one behind the other, the rows of sequence `b`; the claim waits until it is
    /// done. `None` if there are no such tokens.
    #[inline]
    pub(crate) fn sequence(
        &mut self,
        shape: Shape,
        b: usize,
        tokens: &Range<usize>,
        grid: Grid,
    ) -> Option<Claim<'_>> {
        let Shape { batch, q_len, heads, .. } = self.shape;
        let is_inside = batch == 1 && heads == shape.heads && tokens.end <= q_len;
        if !is_inside || tokens.len() != shape.q_len || b >= shape.batch {
            return None;
        }
        // SAFETY: `self` stays borrowed for as long as the copy lives.
        let claim = unsafe { self.copy() };
        let row = tokens.start * self.strides.token;
        // Inside what was lent: the tokens are, unless there are none, and then nothing is reached.
        let sums = match self.sums {
            Sums::Dropped => Sums::Dropped,
            Sums::Lse(lse) => Sums::Lse(lse.wrapping_add(tokens.start)),
            Sums::State { m, l } => {
                let rows = tokens.start * heads.q;
                Sums::State { m: m.wrapping_add(rows), l: l.wrapping_add(rows) }
            }
        };
        let o = match self.o {
            Out::F32(o, moves) => Out::F32(o.wrapping_add(row), moves),
            Out::F16(o, moves) => Out::F16(o.wrapping_add(row), moves),
            Out::Bf16(o, moves) => Out::Bf16(o.wrapping_add(row), moves),
        };
        // Each share begins with another sequence, lest the first one gets all single tiles.
        let index = (self.index + b) % self.count;
        Some(Claim { o, sums, shape, first: b, sequences: 1, grid, index, ..claim })
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
    fn items(&self) -> impl Iterator<Item = usize> + use<> {
        let Shape { q_len, heads, .. } = self.shape;
        let each = heads.kv * self.grid.tiles();
        let items = if q_len == 0 { 0 } else { self.sequences * each };
        let (index, count, first) = (self.index, self.count, self.first * each);
        let rounds = items / count + usize::from(items % count != 0);
        (0..rounds)
            .map(move |round| round * count.get() + deal(round, index, count))
            .filter(move |&item| item < items)
            .map(move |item| first + item)
    }

    /// The query tiles of this share: their key/value head, counted through all sequences, and their rows.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        // Never 0; saying so here removes the division checks.
        let (grid, tiles) = (self.grid, self.grid.tiles().max(1));
        self.items().map(move |item| (item / tiles, grid.rows_of(item % tiles)))
    }

    /// Whether an item was dealt to this share.
    fn owns(&self, item: usize) -> bool {
        deal(item / self.count, item % self.count, self.count) == self.index
    }

    /// Whether rows are to be divided by their sum of weights.
    pub(crate) fn normalises(&self) -> bool {
        !matches!(self.sums, Sums::State { .. })
    }

    /// Writes row `row` of key/value head `g` of sequence `b`: its channels, and what is wanted of `m`
    /// and `l`. Does nothing for a row of another share.
    pub(crate) fn write(
        &mut self,
        [b, g]: [usize; 2],
        row: usize,
        sums: (f32, f32),
        channels: &[f32],
    ) {
        let place = self.shape.heads.rows_of(g, row..row + 1).next();
        let (Some((i, h)), true) = (place, self.owns_rows([b, g], &(row..row + 1))) else {
            return;
        };
        let at = self.offset(b, i, h);
        let row = channels.get(..self.shape.heads.v_dim).unwrap_or(channels);
        // SAFETY: this share owns the row, so it lies inside the output (`owns_rows`) and nobody else
        // reaches it.
        unsafe {
            of_out!(self.o, (o, mover) => mover.round(row, row_at(o, at, row.len())));
            self.write_sums([b, i, h], sums);
        }
    }

    /// As [`Claim::write`], for a few neighbouring rows at once, a lane each: channel `c` of the first is
    /// `columns[c * width]`, and its sums are the first of `m` and `l`. At most as many as a vector has lanes.
    pub(crate) fn write_lanes(
        &mut self,
        [b, g]: [usize; 2],
        rows: Range<usize>,
        (m, l): (&[f32], &[f32]),
        columns: &[f32],
        width: usize,
    ) {
        if !self.owns_rows([b, g], &rows) || rows.len() > MAX_LANES {
            return;
        }
        let Heads { v_dim, .. } = self.shape.heads;
        let places = self.shape.heads.rows_of(g, rows);
        // SAFETY: this share owns the rows, so they lie inside the output (`owns_rows`) apart from each
        // other, and nobody else reaches them.
        unsafe {
            of_out!(self.o, (o, mover) => {
                let mut to = core::array::from_fn(|_| &mut [][..]);
                for (to, (i, h)) in to.iter_mut().zip(places.clone()) {
                    *to = row_at(o, self.offset(b, i, h), v_dim);
                }
                mover.lift(columns, width, &mut to);
            });
            for ((i, h), (m, l)) in places.zip(m.iter().zip(l)) {
                self.write_sums([b, i, h], (*m, *l));
            }
        }
    }

    /// Asks for some rows of output to come nearer. A hint: they are neither read nor written.
    pub(crate) fn expect(&self, [b, g]: [usize; 2], rows: Range<usize>) {
        let Heads { v_dim, .. } = self.shape.heads;
        for (i, h) in self.shape.heads.rows_of(g, rows) {
            let at = self.offset(b, i, h);
            of_out!(self.o, (o, _) => prefetch_row(o.wrapping_add(at), v_dim));
        }
    }

    /// Where a row of sequence `b` begins.
    fn offset(&self, b: usize, i: usize, h: usize) -> usize {
        self.strides.offset(b.wrapping_sub(self.first), i, h)
    }

    /// Whether these rows exist and belong to this share: they lie in one query tile, which was dealt to
    /// it. `ViewMut` checked that all rows lie inside its slice and apart from each other, and
    /// `Claim::rows` that they are the ones that the shape has; each share exists once.
    fn owns_rows(&self, [b, g]: [usize; 2], rows: &Range<usize>) -> bool {
        let Shape { q_len, heads, .. } = self.shape;
        let b = b.wrapping_sub(self.first);
        let exist = b < self.sequences && g < heads.kv && rows.end <= q_len * heads.group();
        if !exist || rows.is_empty() {
            return false;
        }
        let tile = self.grid.tile_of(rows.start);
        let item = (b * heads.kv + g) * self.grid.tiles() + tile;
        self.grid.tile_of(rows.end - 1) == tile && self.owns(item)
    }

    /// Writes what is wanted of the sums of a row.
    ///
    /// # Safety
    /// The row exists, and this share owns it.
    unsafe fn write_sums(&mut self, [b, i, h]: [usize; 3], (m, l): (f32, f32)) {
        let (Shape { q_len, heads, .. }, b) = (self.shape, b.wrapping_sub(self.first));
        let state_row = (b * q_len + i) * heads.q + h;
        // SAFETY: both indices are below `batch * q_len * q_heads`, the length that `output` and
        // `state` checked, and belong to this row alone; those of one sequence among several one behind
        // the other count from its first token.
        unsafe {
            match self.sums {
                Sums::Dropped => {}
                Sums::Lse(lse) => {
                    *lse.add((b * heads.q + h) * self.lse_len + i) = crate::state::lse(m, l);
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
/// `len` elements from `at` on lie within the output that `o` begins, and nobody else reaches them.
pub(super) unsafe fn row_at<'o, T>(o: *mut T, at: usize, len: usize) -> &'o mut [T] {
    // SAFETY: as the caller promises.
    unsafe { core::slice::from_raw_parts_mut(o.add(at), len) }
}

/// Which place of a round a share has, and equally which share has a place: there and back.
fn deal(round: usize, index: usize, count: NonZero<usize>) -> usize {
    if round.is_multiple_of(2) { index } else { count.get() - 1 - index }
}

pub(crate) fn check_len(tensor: Tensor, needed: usize, given: usize) -> Result<(), Error> {
    if needed == given { Ok(()) } else { Err(Error::Length { tensor, needed, given }) }
}
