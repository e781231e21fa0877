//! Gates of channels that no head's rate scales.

use super::{check_dims, in_range, log_sigmoid, map, narrow, of_head, sigmoid, tokens, widen};
use crate::elem::Elem;
use crate::error::{Error, Knob, Tensor};
use crate::view::{View, ViewMut};

/// GLA: `g = ln(sigmoid(raw)) / normaliser`. Yang et al., arXiv 2312.06635; `fla/layers/gla.py`.
///
/// ```
/// use flashlet::{Gla, View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// let (raw, mut gates, dims) = ([0.0, -1600.0], [0.0; 2], [1, 1, 1, 2]);
/// let mut view = ViewMut::packed(&mut gates, dims)?;
/// Gla::default().at_least(-50.0)?.gates(View::packed(&raw, dims)?, &mut view)?;
/// assert_eq!(gates, [-core::f32::consts::LN_2 / 16.0, -50.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gla {
    normaliser: f32,
    least: f32,
}

impl Default for Gla {
    /// A normaliser of 16, as in the paper, and no least gate.
    fn default() -> Self {
        Gla { normaliser: 16.0, least: f32::NEG_INFINITY }
    }
}

impl Gla {
    /// `gate_logit_normalizer`: how much slower a state forgets than by the sigmoid itself.
    ///
    /// # Errors
    /// [`Error::Gates`] unless it is above 0 and finite.
    pub fn normaliser(self, normaliser: f32) -> Result<Self, Error> {
        let makes_sense = normaliser > 0.0 && normaliser < f32::INFINITY;
        Ok(Gla { normaliser: in_range(Knob::Normaliser, normaliser, makes_sense)?, ..self })
    }

    /// `clamp_min`: gates below become this.
    ///
    /// # Errors
    /// [`Error::Gates`] if it is above 0.
    pub fn at_least(self, least: f32) -> Result<Self, Error> {
        Ok(Gla { least: in_range(Knob::LeastGate, least, least <= 0.0)?, ..self })
    }

    /// Gates of the shape that they are computed from.
    ///
    /// # Errors
    /// [`Error::Shape`]; nothing is written then.
    pub fn gates<T: Elem>(&self, raw: View<'_, T>, gates: &mut ViewMut<'_>) -> Result<(), Error> {
        map(&raw, gates, |raw| {
            let gate = log_sigmoid(raw) / self.normaliser;
            if gate < self.least { self.least } else { gate }
        })
    }
}

/// HGRN-2: gates, and the keys that go with them.
/// ```text
/// f = lower + (1 - lower) sigmoid(raw)       g = ln f       k = 1 - f
/// ```
/// Qin et al., arXiv 2404.07904; `fla/layers/hgrn2.py`. A layer's lower bounds are sums, over the layers before it, of a
/// softmax: the first one's are 0.
///
/// ```
/// use flashlet::{Hgrn2, View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// let (raw, mut gates, mut keys, dims) = ([0.0, -100.0], [0.0; 2], [0.0_f32; 2], [1, 1, 1, 2]);
/// Hgrn2::new(&[0.0, 0.25])?.prepare(
///     View::packed(&raw, dims)?,
///     &mut ViewMut::packed(&mut gates, dims)?,
///     &mut ViewMut::packed(&mut keys, dims)?,
/// )?;
/// assert_eq!(gates, [-core::f32::consts::LN_2, -2.0 * core::f32::consts::LN_2]);
/// assert_eq!(keys, [0.5, 0.75]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hgrn2<'a> {
    lower: &'a [f32],
}

impl<'a> Hgrn2<'a> {
    /// Lower bounds of a layer, `[heads, head_dim]`; all 0 if there are none.
    ///
    /// # Errors
    /// [`Error::Gates`] for the first that is not in `[0, 1]`.
    pub fn new(lower: &'a [f32]) -> Result<Self, Error> {
        for bound in lower {
            in_range(Knob::LowerBound, *bound, (0.0..=1.0).contains(bound))?;
        }
        Ok(Hgrn2 { lower })
    }

    /// Gates and keys of the shape `[batch, len, heads, head_dim]` that they are computed from.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Length`] of lower bounds; nothing is written then.
    pub fn prepare<T: Elem, U: Elem>(
        &self,
        raw: View<'_, T>,
        gates: &mut ViewMut<'_>,
        keys: &mut ViewMut<'_, U>,
    ) -> Result<(), Error> {
        let dims = raw.dims();
        let [.., heads, dim] = dims;
        check_dims(Tensor::Gates, dims, gates.dims())?;
        check_dims(Tensor::K, dims, keys.dims())?;
        let (needed, given) = (heads.saturating_mul(dim), self.lower.len());
        if given != 0 && given != needed {
            return Err(Error::Length { tensor: Tensor::LowerBounds, needed, given });
        }
        for (b, i) in tokens(dims) {
            for h in 0..heads {
                let raw = raw.row(b, i, h).iter().zip(of_head(self.lower, h, dim, 0.0));
                let to = gates.row_mut(b, i, h).iter_mut().zip(keys.row_mut(b, i, h));
                for ((gate, key), (raw, lower)) in to.zip(raw) {
                    let [g, k] = forget(widen(*raw), lower);
                    (*gate, *key) = (g, narrow(k));
                }
            }
        }
        Ok(())
    }
}

/// `ln f` and `1 - f`.
///
/// ```text
/// 1 - f = (1 - lower) sigmoid(-raw)          so that nothing cancels
/// ln f  = ln(1 + -(1 - f))                   where f is nearer to 1, otherwise of the sum as it is
/// ```
fn forget(raw: f32, lower: f32) -> [f32; 2] {
    let k = (1.0 - lower) * sigmoid(-raw);
    let g = if lower == 0.0 {
        log_sigmoid(raw)
    } else if k < 0.5 {
        libm::log1pf(-k)
    } else {
        libm::logf(lower + (1.0 - lower) * sigmoid(raw))
    };
    [g, k]
}

/// RWKV-6: `g = -exp(raw)`. Peng et al., arXiv 2404.05892; `fla/layers/rwkv6.py`. A gate may be -inf, which forgets all.
///
/// ```
/// use flashlet::{View, ViewMut, rwkv6_gates};
/// # fn main() -> Result<(), flashlet::Error> {
/// let (raw, mut gates, dims) = ([0.0, 100.0], [0.0; 2], [1, 1, 1, 2]);
/// rwkv6_gates(View::packed(&raw, dims)?, &mut ViewMut::packed(&mut gates, dims)?)?;
/// assert_eq!(gates, [-1.0, f32::NEG_INFINITY]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Shape`] unless both have the same; nothing is written then.
pub fn rwkv6_gates<T: Elem>(raw: View<'_, T>, gates: &mut ViewMut<'_>) -> Result<(), Error> {
    map(&raw, gates, |raw| -libm::expf(raw))
}

/// RWKV-7: `g = -exp(-1/2) sigmoid(raw)`, so never below -0.61. Peng et al., arXiv 2503.14456; `fla/layers/rwkv7.py`.
///
/// ```
/// use flashlet::{View, ViewMut, rwkv7_gates};
/// # fn main() -> Result<(), flashlet::Error> {
/// let (raw, mut gates, dims) = ([0.0, 100.0], [0.0; 2], [1, 1, 1, 2]);
/// rwkv7_gates(View::packed(&raw, dims)?, &mut ViewMut::packed(&mut gates, dims)?)?;
/// assert_eq!(gates, [-0.30326533, -0.60653067]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Shape`] unless both have the same; nothing is written then.
pub fn rwkv7_gates<T: Elem>(raw: View<'_, T>, gates: &mut ViewMut<'_>) -> Result<(), Error> {
    /// exp(-1/2).
    const MOST: f32 = 0.606_530_66;
    map(&raw, gates, |raw| -MOST * sigmoid(raw))
}
