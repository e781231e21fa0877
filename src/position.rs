//! Where tokens stand: rotary positions, sinusoids, learned tables.

/// `?`, where no trait can be called.
macro_rules! attempt {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(error),
        }
    };
}

mod absolute;
mod axes;
mod compatible;
mod phase;
mod positions;
mod queries;
mod real;
mod rope;
mod rotated;
mod scaling;
mod theta;
mod turn;
mod turned_keys;

pub use absolute::{Learned, Sinusoidal, Sinusoids};
pub use axes::Axes;
pub use compatible::InvFreq;
pub use phase::Phase;
pub(crate) use phase::Place;
pub use positions::Positions;
pub(crate) use queries::QueryTurn;
pub use queries::TurnedQueries;
pub use rope::{Angles, Rope};
pub(crate) use rotated::Token;
pub use rotated::{Onto, Rotated};
pub use scaling::{Llama3, LongRope, Scaling, Yarn};
pub use theta::{Spacing, Theta, Turns};
pub(crate) use turn::run;
pub use turn::{Halves, Interleaved, Pairing, Pairs, Turning};
pub(crate) use turn::{Other, Own};
pub(crate) use turned_keys::KeyTurn;
pub use turned_keys::TurnedKeys;

use crate::error::Error;

/// Most frequencies: those of sinusoids for 32,768 channels.
const MAX_PAIRS: usize = 1 << 14;

/// Channels of so many pairs, if there may be as many.
const fn rot_dim_of(pairs: usize) -> Result<i32, Error> {
    if pairs == 0 || pairs > MAX_PAIRS {
        return Err(Error::RotDim { pairs, max: MAX_PAIRS });
    }
    Ok(2 * pairs as i32)
}
