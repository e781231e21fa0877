//! Gates and betas of delta rules.

use super::{
    NO_BIAS, channels_of, check_dims, check_heads, in_range, number, of_head, sigmoid, softplus,
    tokens, widen,
};
use crate::elem::Elem;
use crate::error::{Error, Knob, Tensor};
use crate::view::{View, ViewMut};

/// Gated DeltaNet (Qwen3-Next): one gate a head and token.
/// ```text
/// g = -exp(A_log) softplus(a + dt_bias)       beta = sigmoid(b)
/// ```
/// Yang et al., arXiv 2412.06464; `transformers/models/qwen3_next`; the operator `LinearAttentionGate` of ONNX Runtime.
///
/// ```
/// use flashlet::{GatedDelta, View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// let (dims, gated) = ([1, 1, 2, 1], GatedDelta::new(&[0.0, 1.0], &[1.0, 0.5])?);
/// let (a, b, mut gates, mut beta) = ([-1.0, 30.0], [0.0, 100.0], [0.0; 2], [0.0; 2]);
/// gated.prepare(
///     View::packed(&a, dims)?,
///     View::packed(&b, dims)?,
///     &mut ViewMut::packed(&mut gates, dims)?,
///     &mut ViewMut::packed(&mut beta, dims)?,
/// )?;
/// assert_eq!(gates, [-core::f32::consts::LN_2, -30.5 * core::f32::consts::E]);
/// assert_eq!(beta, [0.5, 1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GatedDelta<'a> {
    a_log: &'a [f32],
    dt_bias: &'a [f32],
    most_beta: f32,
}

impl<'a> GatedDelta<'a> {
    /// `A_log` and `dt_bias`, a number a head each; no `dt_bias` if that is empty.
    ///
    /// # Errors
    /// [`Error::Length`] if they differ in length.
    pub fn new(a_log: &'a [f32], dt_bias: &'a [f32]) -> Result<Self, Error> {
        check_heads(Tensor::StepBias, a_log.len(), dt_bias.len())?;
        Ok(GatedDelta { a_log, dt_bias, most_beta: 1.0 })
    }

    /// `beta = 2 sigmoid(b)`, which lets a state's eigenvalues be negative: `allow_neg_eigval`, Grazzi et al., arXiv 2411.12537.
    #[must_use]
    pub const fn negative_eigenvalues(self) -> Self {
        GatedDelta { most_beta: 2.0, ..self }
    }

    /// Gates and betas from `a` and `b`, all `[batch, len, heads, 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`]; nothing is written then.
    pub fn prepare<T: Elem, U: Elem>(
        &self,
        a: View<'_, T>,
        b: View<'_, U>,
        gates: &mut ViewMut<'_>,
        beta: &mut ViewMut<'_>,
    ) -> Result<(), Error> {
        let [batch, len, ..] = a.dims();
        let expected = [batch, len, self.a_log.len(), 1];
        check_dims(Tensor::Steps, expected, a.dims())?;
        check_dims(Tensor::Gates, expected, gates.dims())?;
        betas(self.most_beta, b, expected, beta)?;
        for (h, a_log) in self.a_log.iter().enumerate() {
            let rate = -libm::expf(*a_log);
            let bias = self.dt_bias.get(h).copied().unwrap_or(NO_BIAS);
            for (b, i) in tokens(expected) {
                let gate = rate * softplus(number(a.row(b, i, h)) + bias);
                gates.row_mut(b, i, h).fill(gate);
            }
        }
        Ok(())
    }
}

/// KDA (Kimi Linear): one gate a channel.
/// ```text
/// g = -exp(A_log) softplus(f + dt_bias)               beta = sigmoid(b)
/// g = lower_bound sigmoid(exp(A_log) (f + dt_bias))   with a lower bound
/// ```
/// Moonshot AI, arXiv 2510.26692; `fla/ops/kda/gate.py`. `A_log` has a number a head, `dt_bias` one a channel.
///
/// ```
/// use flashlet::{KimiDelta, View, ViewMut};
/// # fn main() -> Result<(), flashlet::Error> {
/// let (dims, kimi) = ([1, 1, 1, 2], KimiDelta::new(&[0.0], &[0.0, 1.0])?.lower_bound(-5.0)?);
/// let (f, b, mut gates, mut beta) = ([0.0, -1e3], [0.0], [0.0; 2], [0.0]);
/// kimi.prepare(
///     View::packed(&f, dims)?,
///     View::packed(&b, [1, 1, 1, 1])?,
///     &mut ViewMut::packed(&mut gates, dims)?,
///     &mut ViewMut::packed(&mut beta, [1, 1, 1, 1])?,
/// )?;
/// assert_eq!((gates, beta), ([-2.5, 0.0], [0.5]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KimiDelta<'a> {
    a_log: &'a [f32],
    dt_bias: &'a [f32],
    lower_bound: Option<f32>,
    most_beta: f32,
}

impl<'a> KimiDelta<'a> {
    /// `A_log [heads]` and `dt_bias [heads, head_dim]`; no `dt_bias` if that is empty.
    ///
    /// # Errors
    /// [`Error::Length`] if the second is no multiple of the first.
    pub fn new(a_log: &'a [f32], dt_bias: &'a [f32]) -> Result<Self, Error> {
        channels_of(Tensor::StepBias, a_log.len(), dt_bias.len())?;
        Ok(KimiDelta { a_log, dt_bias, lower_bound: None, most_beta: 1.0 })
    }

    /// Gates between this and 0 (`safe_gate`).
    ///
    /// # Errors
    /// [`Error::Gates`] unless it is in `[-5, 0)`, as FLA demands.
    pub fn lower_bound(self, bound: f32) -> Result<Self, Error> {
        let bound = in_range(Knob::LowerBound, bound, (-5.0..0.0).contains(&bound))?;
        Ok(KimiDelta { lower_bound: Some(bound), ..self })
    }

    /// As [`GatedDelta::negative_eigenvalues`].
    #[must_use]
    pub const fn negative_eigenvalues(self) -> Self {
        KimiDelta { most_beta: 2.0, ..self }
    }

    /// Gates from `f`, both `[batch, len, heads, head_dim]`, and betas from `b`, both `[batch, len, heads, 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`]; nothing is written then.
    pub fn prepare<T: Elem, U: Elem>(
        &self,
        f: View<'_, T>,
        b: View<'_, U>,
        gates: &mut ViewMut<'_>,
        beta: &mut ViewMut<'_>,
    ) -> Result<(), Error> {
        let ([batch, len, _, dim], heads) = (f.dims(), self.a_log.len());
        let wide = channels_of(Tensor::StepBias, heads, self.dt_bias.len())?;
        let dim = if wide == 0 { dim } else { wide };
        let expected = [batch, len, heads, dim];
        check_dims(Tensor::Steps, expected, f.dims())?;
        check_dims(Tensor::Gates, expected, gates.dims())?;
        betas(self.most_beta, b, [batch, len, heads, 1], beta)?;
        for (h, a_log) in self.a_log.iter().enumerate() {
            let rate = libm::expf(*a_log);
            for (b, i) in tokens(expected) {
                let f = f.row(b, i, h).iter().zip(of_head(self.dt_bias, h, dim, NO_BIAS));
                for (gate, (f, bias)) in gates.row_mut(b, i, h).iter_mut().zip(f) {
                    let step = widen(*f) + bias;
                    *gate = match self.lower_bound {
                        Some(bound) => bound * sigmoid(rate * step),
                        None => -rate * softplus(step),
                    };
                }
            }
        }
        Ok(())
    }
}

/// `beta = most sigmoid(b)`. Writes nothing if a shape is wrong.
fn betas<T: Elem>(
    most: f32,
    b: View<'_, T>,
    expected: [usize; 4],
    beta: &mut ViewMut<'_>,
) -> Result<(), Error> {
    check_dims(Tensor::RawBeta, expected, b.dims())?;
    check_dims(Tensor::Beta, expected, beta.dims())?;
    super::map(&b, beta, |b| most * sigmoid(b))
}
