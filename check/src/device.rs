//! What a device does with attention: a prompt in chunks, an encoder, a token against a ring of int8, in floats or in
//! integers, a gated delta rule.
//!
//! Each is a struct that holds all the memory it needs, and whose entries are made for its heads alone: of the
//! crate a program links what one of them calls. What is worth counting happens within [`Meter::measure`].

mod chunks;
mod entries;
mod gated;
mod integer;
mod window;

pub use chunks::{Dense32, Dense64, Encoder, Prompt};
pub use gated::Gated;
pub use integer::Integer;
pub use window::Window;

use crate::embedded::numbers;
use crate::outcome::worst;
use crate::{Fnv1a, Outcome};
use flashlet::Error;

/// Some work in some memory.
pub trait Device {
    /// Names the case.
    const NAME: &'static str;

    /// Nothing done yet: a constant, so that it is made where it lies.
    const NEW: Self;

    /// Does all of it: the last call that is measured is the one that counts.
    ///
    /// # Errors
    /// A case that cannot run is a mistake in its table.
    fn run(&mut self, meter: &mut impl Meter) -> Result<Outcome, Error>;
}

/// Counts what a call costs.
pub trait Meter {
    /// Makes the call.
    fn measure<T>(&mut self, call: impl FnOnce() -> T) -> T;
}

/// Counts nothing.
#[derive(Clone, Copy, Debug)]
pub struct Uncounted;

impl Meter for Uncounted {
    fn measure<T>(&mut self, call: impl FnOnce() -> T) -> T {
        call()
    }
}

/// What is known of the outputs so far, call after call.
#[derive(Clone, Copy, Debug, Default)]
struct Judge {
    ratio: f32,
    digest: Fnv1a,
}

impl Judge {
    /// Sees outputs that stand from `first` on in all that are expected.
    fn see(&mut self, o: &[f32], first: usize, exact: &[f64], limits: &[f32]) {
        let at = first..first + o.len();
        let exact = exact.get(at.clone()).unwrap_or(&[]);
        self.ratio = self.ratio.max(worst(o, exact, limits.get(at).unwrap_or(&[])));
        self.digest = self.digest.floats(o);
    }

    fn outcome(self) -> Outcome {
        Outcome { err_over_bound: Some(self.ratio), digest: self.digest.value() }
    }
}

include!(concat!(env!("OUT_DIR"), "/device.rs"));
