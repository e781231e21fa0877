//! Queries that turn inside of attention, as they are copied into its scratch: no pass over them of their own.

use super::positions::Positions;
use super::rope::Rope;
use crate::elem::Sealed as _;
use crate::error::Error;
use crate::room::with_room;
use crate::shape::Shape;
use crate::simd::Rows;
use crate::view::{AnyView, Stored, of_any};

/// A rope for the queries of an attention, and their positions: [`Attention::turn_queries`](crate::Attention::turn_queries).
/// The same bits as queries in f32 that [`Rope::rotate`] turned before; those in f16 and bf16 are not rounded between, and none are
/// written. Each key/value head asks for the angles of its tokens: with many heads and long prompts a rope with a table is the
/// faster one here. It takes 2.3 KB of stack, a quarter of one up to 64 channels, and 2.3 KB more where queries become
/// pairs of bf16.
///
/// ```
/// use flashlet::{Attention, Heads, Mask, Offset, Pairing, Positions, Rope, Shape, Theta, TurnedQueries, Turns};
/// # fn main() -> Result<(), flashlet::Error> {
/// let turns: Turns<32> = Theta::new(10_000.0).turns()?;
/// let rope = Rope::exact(&turns, Pairing::Halves)?;
/// // A decoder's step: the cache holds turned keys, the query at position 99 is as the projection left it.
/// let shape = Shape { batch: 1, q_len: 1, kv_len: 100, heads: Heads::new(9, 3, 64) };
/// let queries = TurnedQueries::new(rope, Positions::from(99));
/// let plan = Attention::new(shape, Mask::causal(Offset::BOTTOM_RIGHT))?.turn_queries(&queries)?;
/// # let _ = plan;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TurnedQueries<'a> {
    rope: Rope<'a>,
    positions: Positions<'a>,
}

impl<'a> TurnedQueries<'a> {
    /// Queries `[batch, q_len]` at these positions. That of a mask's offset is told apart: a window counts keys, a rope may not.
    #[must_use]
    pub fn new(rope: Rope<'a>, positions: impl Into<Positions<'a>>) -> Self {
        TurnedQueries { rope, positions: positions.into() }
    }

    pub(crate) fn check(&self, shape: &Shape) -> Result<(), Error> {
        let tokens = [shape.batch, shape.q_len];
        self.rope.check(tokens, shape.q())?;
        self.rope.check_positions(&self.positions, tokens)
    }
}

/// What a plan may hold of turned queries, so that it links no rope unless it has one.
pub(crate) trait QueryTurn: Sync {
    /// Turns queries, whose positions are of some tokens `[batch, len]`: row `n` of `to`, `width` floats each, is query `(i, h)` of sequence `b`, the `n`-th of `places`.
    fn turn(
        &self,
        queries: (AnyView<'_>, [usize; 2]),
        b: usize,
        places: &mut dyn Iterator<Item = (usize, usize)>,
        to: &mut [f32],
        width: usize,
    );
}

impl QueryTurn for TurnedQueries<'_> {
    fn turn(
        &self,
        (queries, tokens): (AnyView<'_>, [usize; 2]),
        b: usize,
        places: &mut dyn Iterator<Item = (usize, usize)>,
        to: &mut [f32],
        width: usize,
    ) {
        let [.., dim] = queries.dims();
        let level = self.rope.available();
        let mut rows = places.zip(to.chunks_exact_mut(width.max(1))).peekable();
        with_room(self.rope.rot_dim(), &mut |room| {
            // The heads of a token come one after the other.
            while let Some(&((i, _), _)) = rows.peek() {
                let angles = self.rope.row(&self.positions, tokens, [b, i], room);
                let token = self.rope.token(b, i, angles);
                while let Some(((_, h), to)) = rows.next_if(|((of, _), _)| *of == i) {
                    let to = to.get_mut(..dim).unwrap_or(&mut []);
                    of_any!(Stored, queries.0, (view, moves) => {
                        moves.at(level).flat(Rows::one(view.row(b, i, h)), 0, 1.0, to, dim);
                    });
                    f32::ROPES.turn(&token, token.one(to));
                }
            }
        });
    }
}
