//! Decays that no token changes: one gate a head.

use crate::error::Error;

/// RetNet's gate of head `h`: `ln(1 - 2^(-5-h))`, rounded once. Sun et al., arXiv 2307.08621; `fla/ops/retention`, where heads
/// from the 20th on do not decay because their `1 - 2^(-5-h)` rounds to 1.
///
/// ```
/// const HALF_LIFE: f32 = -core::f32::consts::LN_2 / flashlet::retention_decay(0);
/// assert!((21.8..21.9).contains(&HALF_LIFE)); // tokens, of head 0
/// ```
#[must_use]
pub const fn retention_decay(h: usize) -> f32 {
    if h > 144 {
        return -0.0;
    }
    // ln(1 - x) = -x (1 + x/2 + x^2/3 + ..): with x <= 1/32 the terms left out are below 2^-58 of it.
    let x = f64::from_bits((1023 - 5 - h as u64) << 52);
    let mut sum = 0.0;
    let mut n = 11;
    while n > 0 {
        sum = 1.0 / n as f64 + x * sum;
        n -= 1;
    }
    (-x * sum) as f32
}

/// RetNet's gates, head after head.
///
/// ```
/// let mut decay = [0.0; 8];
/// flashlet::retention_decays(&mut decay);
/// assert_eq!(decay[0], (1.0_f64 - 1.0 / 32.0).ln() as f32);
/// assert!(decay.is_sorted());
/// ```
pub fn retention_decays(decay: &mut [f32]) {
    for (h, decay) in decay.iter_mut().enumerate() {
        *decay = retention_decay(h);
    }
}

/// Lightning attention's gates in one layer: `-(8 / heads) (1 - layer / layers) h` of head `h`, which is that head 0 forgets
/// nothing. Qin et al., arXiv 2405.17381; `fla/ops/lightning_attn`. MiniMax-01 starts from ALiBi's slopes instead: take its decays
/// as data.
///
/// ```
/// use flashlet::Lightning;
/// # fn main() -> Result<(), flashlet::Error> {
/// let mut decay = [0.0; 4];
/// Lightning::new(6, 24)?.decays(&mut decay);
/// assert_eq!(decay, [0.0, -1.5, -3.0, -4.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lightning {
    layer: u32,
    layers: u32,
}

impl Lightning {
    /// Layer `layer` of `layers`, the first one being 0.
    ///
    /// # Errors
    /// [`Error::Layer`] if there is no such layer.
    pub const fn new(layer: u32, layers: u32) -> Result<Self, Error> {
        if layer < layers {
            Ok(Lightning { layer, layers })
        } else {
            Err(Error::Layer { layer, layers })
        }
    }

    /// The gate of head `h` of `heads`, rounded once.
    #[must_use]
    pub const fn decay(self, h: u32, heads: u32) -> f32 {
        let heads = if heads == 0 { 1 } else { heads };
        let left = (self.layers - self.layer) as f64;
        let share = 8.0 * h as f64 * left / (heads as f64 * self.layers as f64);
        -share as f32
    }

    /// The gates of all heads.
    pub fn decays(self, decay: &mut [f32]) {
        let heads = u32::try_from(decay.len()).unwrap_or(u32::MAX);
        for (decay, h) in decay.iter_mut().zip(0..) {
            *decay = self.decay(h, heads);
        }
    }
}
