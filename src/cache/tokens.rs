//! Tokens on their way into a cache.

use crate::elem::{Elem, Loaded};
use crate::position::KeyTurn;
use crate::room::with_room;
use crate::simd::Scalar;
use crate::view::{AnyView, Stored, View, of_any};

/// Keys `[1, n, kv_heads, head_dim]` that a cache is to keep: a [`View`], or [`TurnedKeys`](crate::TurnedKeys), which turn on their way.
#[derive(Clone, Copy)]
pub struct NewKeys<'t>(Tokens<'t>);

/// Rows of heads, as they are or turned.
#[derive(Clone, Copy)]
pub(super) enum Tokens<'t> {
    Plain(AnyView<'t>),
    /// Behind a pointer, so that a cache links no rope unless it is given one.
    Turned(&'t dyn KeyTurn),
}

impl<'t, T: Elem> From<View<'t, T>> for NewKeys<'t> {
    fn from(keys: View<'t, T>) -> Self {
        NewKeys(Tokens::Plain(keys.into()))
    }
}

impl<'t> From<AnyView<'t>> for NewKeys<'t> {
    fn from(keys: AnyView<'t>) -> Self {
        NewKeys(Tokens::Plain(keys))
    }
}

impl<'t, T: KeyTurn> From<&'t T> for NewKeys<'t> {
    fn from(keys: &'t T) -> Self {
        NewKeys(Tokens::Turned(keys))
    }
}

impl<'t> NewKeys<'t> {
    pub(super) const fn tokens(self) -> Tokens<'t> {
        self.0
    }
}

impl Tokens<'_> {
    /// `[batch, len, heads, dim]`.
    pub(super) fn dims(&self) -> [usize; 4] {
        match self {
            Tokens::Plain(view) => view.dims(),
            Tokens::Turned(keys) => keys.dims(),
        }
    }

    /// Calls `each` with every head of a token, in f32.
    #[inline]
    pub(super) fn each_head(&self, i: usize, mut each: impl FnMut(usize, &mut [f32])) {
        let [_, _, heads, dim] = self.dims();
        with_room(dim, &mut |room| match self {
            Tokens::Plain(view) => {
                let row = room.get_mut(..dim).unwrap_or(&mut []);
                for h in 0..heads {
                    of_any!(Stored, view.0, (view, _) => {
                        let from = view.row(0, i, h);
                        row.iter_mut().zip(from).for_each(|(to, x)| *to = Loaded::load(Scalar, &[*x]));
                    });
                    each(h, row);
                }
            }
            Tokens::Turned(keys) => keys.turn(i, room, &mut each),
        });
    }
}
