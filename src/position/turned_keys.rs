//! Keys that turn on their way into a cache: no pass over them of their own, and no rounding between.

use super::positions::Positions;
use super::rope::Rope;
use crate::elem::Sealed as _;
use crate::error::Error;
use crate::room::with_room;
use crate::simd::Rows;
use crate::view::{AnyView, Stored, of_any};

/// Keys as a projection left them, a rope, and their positions: [`KvCache::append`](crate::KvCache::append) keeps them turned. The numbers
/// that are rounded to the cache's format are the same bits as keys in f32 that [`Rope::rotate`] turned.
///
/// ```
/// use flashlet::{CacheShape, E4m3, Heads, KvCache, Pairing, Positions, Rope, Theta, TurnedKeys, Turns, View};
/// # fn main() -> Result<(), flashlet::Error> {
/// let turns: Turns<32> = Theta::new(10_000.0).turns()?;
/// let rope = Rope::exact(&turns, Pairing::Halves)?;
/// const SHAPE: CacheShape = CacheShape::new(Heads::new(9, 3, 64), 100);
/// let mut memory = [[E4m3::default(); SHAPE.key_len::<E4m3>()]; 2];
/// let [keys, values] = &mut memory;
/// let mut cache = KvCache::new(SHAPE, keys, values)?;
/// let (k, v) = ([0.5; 3 * 64], [0.25; 3 * 64]);
/// for position in 0..10 {
///     let k = TurnedKeys::new(rope, View::packed(&k, [1, 1, 3, 64])?, Positions::from(position))?;
///     cache.append(&k, View::packed(&v, [1, 1, 3, 64])?)?;
/// }
/// # assert_eq!(cache.len(), 10);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TurnedKeys<'a> {
    rope: Rope<'a>,
    keys: AnyView<'a>,
    positions: Positions<'a>,
}

impl<'a> TurnedKeys<'a> {
    /// Keys `[1, n, kv_heads, head_dim]` at these positions.
    ///
    /// # Errors
    /// Those of [`Rope::rotate`] for a tensor of one sequence.
    pub fn new(
        rope: Rope<'a>,
        keys: impl Into<AnyView<'a>>,
        positions: impl Into<Positions<'a>>,
    ) -> Result<Self, Error> {
        let (keys, positions) = (keys.into(), positions.into());
        let tokens = [1, keys.dims()[1]];
        rope.check(tokens, keys.dims())?;
        rope.check_positions(&positions, tokens)?;
        Ok(TurnedKeys { rope, keys, positions })
    }
}

/// What only this crate may ask of keys that turn.
pub trait KeyTurn {
    /// `[batch, len, heads, dim]`.
    fn dims(&self) -> [usize; 4];
    /// Calls `each` with every head of token `i`, turned, in `room`.
    fn turn(&self, i: usize, room: &mut [f32], each: &mut dyn FnMut(usize, &mut [f32]));
}

impl KeyTurn for TurnedKeys<'_> {
    fn dims(&self) -> [usize; 4] {
        self.keys.dims()
    }
    #[inline]
    fn turn(&self, i: usize, room: &mut [f32], each: &mut dyn FnMut(usize, &mut [f32])) {
        let ([batch, len, heads, dim], level) = (self.keys.dims(), self.rope.available());
        let row = room.get_mut(..dim).unwrap_or(&mut []);
        with_room(self.rope.rot_dim(), &mut |angles| {
            let angles = self.rope.row(&self.positions, [batch, len], [0, i], angles);
            let token = self.rope.token(0, i, angles);
            for h in 0..heads {
                of_any!(Stored, self.keys.0, (view, moves) => {
                    moves.at(level).flat(Rows::one(view.row(0, i, h)), 0, 1.0, row, dim);
                });
                f32::ROPES.turn(&token, token.one(row));
                each(h, row);
            }
        });
    }
}
