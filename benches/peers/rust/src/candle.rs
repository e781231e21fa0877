//! candle-nn's flash attention for the CPU, and its rotary positions.

use crate::{Dims, Prepared, Problem, Result, Rotation};
use candle_core::{Device, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};
use candle_nn::rotary_emb::{rope, rope_i};

struct Candle {
    /// q, k, v.
    inputs: [Tensor; 3],
    scale: f32,
    mask: AttnMask,
    output: Option<Tensor>,
}

pub(crate) fn prepare(problem: &Problem) -> Result<Box<dyn Prepared>> {
    let inputs = [tensor(problem.q())?, tensor(problem.k())?, tensor(problem.v())?];
    let mask = if problem.is_causal() { AttnMask::causal() } else { AttnMask::None };
    Ok(Box::new(Candle { inputs, scale: problem.scale() as f32, mask, output: None }))
}

/// `[1, len, heads, head_dim]`, as it wants it, of memory laid out by head.
fn tensor(heads: (&[f32], Dims)) -> candle_core::Result<Tensor> {
    by_head(heads)?.transpose(1, 2)
}

/// `[1, heads, len, head_dim]`.
fn by_head((data, [heads, len, head_dim]): (&[f32], Dims)) -> candle_core::Result<Tensor> {
    Tensor::from_slice(data, (1, heads, len, head_dim), &Device::Cpu)
}

impl Prepared for Candle {
    fn run(&mut self) -> Result<()> {
        let [q, k, v] = &self.inputs;
        self.output = Some(flash_attn::<f32>(q, k, v, self.scale, self.mask.clone(), None, None)?);
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        let output = self.output.as_ref().ok_or("it has not run")?;
        Ok(output.flatten_all()?.to_vec1()?)
    }
}

struct CandleRope {
    /// q, k.
    inputs: [Tensor; 2],
    cos: Tensor,
    sin: Tensor,
    rope: fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>,
    outputs: Option<[Tensor; 2]>,
}

pub(crate) fn prepare_rotation(rotation: &Rotation) -> Result<Box<dyn Prepared>> {
    let inputs = [by_head(rotation.q())?, by_head(rotation.k())?];
    let [cos, sin] = rotation
        .angles()
        .map(|(data, [_, len, pairs])| Tensor::from_slice(data, (len, pairs), &Device::Cpu));
    let rope = if rotation.is_interleaved() { rope_i } else { rope };
    Ok(Box::new(CandleRope { inputs, cos: cos?, sin: sin?, rope, outputs: None }))
}

impl Prepared for CandleRope {
    fn run(&mut self) -> Result<()> {
        let [q, k] = &self.inputs;
        let turn = |x| (self.rope)(x, &self.cos, &self.sin);
        self.outputs = Some([turn(q)?, turn(k)?]);
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        let outputs = self.outputs.as_ref().ok_or("it has not run")?;
        Ok(Tensor::cat(outputs, 1)?.flatten_all()?.to_vec1()?)
    }
}
