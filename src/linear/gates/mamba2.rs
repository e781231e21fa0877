//! Mamba-2: what surrounds the scan.

use super::{
    NO_BIAS, channels_of, check_dims, check_heads, in_range, map_channels, narrow, number, silu,
    softplus, tokens, widen,
};
use crate::elem::Elem;
use crate::error::{Error, Knob, Tensor};
use crate::view::{View, ViewMut};

/// Mamba-2 as linear attention: `q` is C, `k` is B, heads of a group share both, scores are not scaled, and
/// ```text
/// dt = clamp(softplus(dt_raw + dt_bias))      g = -exp(A_log) dt      v = dt x
/// o  = (y + D x) silu(z)                      y: what linear attention gives
/// ```
/// Dao and Gu, arXiv 2405.21060; `mamba_ssm/ops/triton/ssd_chunk_state.py` and `selective_state_update.py`.
///
/// ```
/// use flashlet::{Mamba2, View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// // Two heads of three channels, one token.
/// let mamba = Mamba2::new(&[0.0, 1.0], &[0.5, 0.5])?.skip(&[2.0, 0.0])?;
/// let (dt, x) = ([-0.5, 30.0], [1.0_f32, 2.0, 3.0, 1.0, 2.0, 3.0]);
/// let x = View::packed(&x, [1, 1, 2, 3])?;
/// let (mut gates, mut values) = ([0.0; 2], [0.0_f32; 6]);
/// mamba.prepare(
///     View::packed(&dt, [1, 1, 2, 1])?,
///     x,
///     &mut ViewMut::packed(&mut gates, [1, 1, 2, 1])?,
///     &mut ViewMut::packed(&mut values, [1, 1, 2, 3])?,
/// )?;
/// assert_eq!(gates, [-core::f32::consts::LN_2, -30.5 * core::f32::consts::E]);
/// assert_eq!(values[3..], [30.5, 61.0, 91.5]);
///
/// let mut y = [0.0; 6];
/// mamba.finish(x, None, &mut ViewMut::packed(&mut y, [1, 1, 2, 3])?)?;
/// assert_eq!(y, [2.0, 4.0, 6.0, 0.0, 0.0, 0.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mamba2<'a> {
    a_log: &'a [f32],
    dt_bias: &'a [f32],
    skip: &'a [f32],
    limits: [f32; 2],
}

impl<'a> Mamba2<'a> {
    /// `A_log` and `dt_bias`, a number a head each; no `dt_bias` if that is empty.
    ///
    /// # Errors
    /// [`Error::Length`] if they differ in length.
    pub fn new(a_log: &'a [f32], dt_bias: &'a [f32]) -> Result<Self, Error> {
        check_heads(Tensor::StepBias, a_log.len(), dt_bias.len())?;
        Ok(Mamba2 { a_log, dt_bias, skip: &[], limits: [0.0, f32::INFINITY] })
    }

    /// `D`, of which there is a number a head, or one a channel (`D_has_hdim`): `[heads, v_dim]`.
    ///
    /// # Errors
    /// [`Error::Length`] if it is no multiple of the heads.
    pub fn skip(self, d: &'a [f32]) -> Result<Self, Error> {
        channels_of(Tensor::Skip, self.a_log.len(), d.len())?;
        Ok(Mamba2 { skip: d, ..self })
    }

    /// `dt_limit`: steps below `least` and above `most` become those.
    ///
    /// # Errors
    /// [`Error::Gates`] unless `0 <= least <= most`, and `least` is finite.
    pub fn limits(self, least: f32, most: f32) -> Result<Self, Error> {
        let least = in_range(Knob::LeastStep, least, (0.0..f32::INFINITY).contains(&least))?;
        let most = in_range(Knob::MostStep, most, most >= least)?;
        Ok(Mamba2 { limits: [least, most], ..self })
    }

    /// Gates and values, from steps `dt [batch, len, heads, 1]` as projected and `x [batch, len, heads, v_dim]`.
    ///
    /// # Errors
    /// [`Error::Shape`]; nothing is written then.
    pub fn prepare<S: Elem, T: Elem, U: Elem>(
        &self,
        dt: View<'_, S>,
        x: View<'_, T>,
        gates: &mut ViewMut<'_>,
        values: &mut ViewMut<'_, U>,
    ) -> Result<(), Error> {
        let [batch, len, ..] = dt.dims();
        let [.., v_dim] = x.dims();
        let expected = [batch, len, self.a_log.len()];
        let with = |channels| [expected[0], expected[1], expected[2], channels];
        check_dims(Tensor::Steps, with(1), dt.dims())?;
        check_dims(Tensor::X, with(v_dim), x.dims())?;
        check_dims(Tensor::Gates, with(1), gates.dims())?;
        check_dims(Tensor::V, with(v_dim), values.dims())?;
        let [least, most] = self.limits;
        for (h, a_log) in self.a_log.iter().enumerate() {
            let rate = -libm::expf(*a_log);
            let bias = self.dt_bias.get(h).copied().unwrap_or(NO_BIAS);
            for (b, i) in tokens(with(1)) {
                let step = softplus(number(dt.row(b, i, h)) + bias);
                // Comparisons, so that NaN stays.
                let step = if step < least { least } else { step };
                let step = if step > most { most } else { step };
                gates.row_mut(b, i, h).fill(rate * step);
                map_channels(x.row(b, i, h), values.row_mut(b, i, h), |x| x * step);
            }
        }
        Ok(())
    }

    /// `y = (y + D x) silu(z)`, all `[batch, len, heads, v_dim]`, in f32 and rounded once. Models that normalise afterwards with
    /// a gate (`RMSNormGated`) leave `z` to that.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Length`] if `D` has a number a channel, and not as many. Nothing is written then.
    pub fn finish<T: Elem, U: Elem>(
        &self,
        x: View<'_, T>,
        z: Option<View<'_, T>>,
        y: &mut ViewMut<'_, U>,
    ) -> Result<(), Error> {
        let [batch, len, _, v_dim] = x.dims();
        let heads = self.a_log.len();
        let expected = [batch, len, heads, v_dim];
        check_dims(Tensor::X, expected, x.dims())?;
        check_dims(Tensor::Z, expected, z.map_or(expected, |z| z.dims()))?;
        check_dims(Tensor::O, expected, y.dims())?;
        let wide = channels_of(Tensor::Skip, heads, self.skip.len())?;
        if wide > 1 && wide != v_dim {
            let (needed, given) = (heads.saturating_mul(v_dim), self.skip.len());
            return Err(Error::Length { tensor: Tensor::Skip, needed, given });
        }
        for h in 0..heads {
            for (b, i) in tokens(expected) {
                let (x, z) = (x.row(b, i, h), z.map_or(&[][..], |z| z.row(b, i, h)));
                for (c, (y, x)) in y.row_mut(b, i, h).iter_mut().zip(x).enumerate() {
                    let mut sum = widen(*y);
                    if let Some(d) = self.skip.get(if wide == 1 { h } else { h * wide + c }) {
                        sum += d * widen(*x);
                    }
                    if let Some(z) = z.get(c) {
                        sum *= silu(widen(*z));
                    }
                    *y = narrow(sum);
                }
            }
        }
        Ok(())
    }
}
