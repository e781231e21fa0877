//! candle-nn's flash attention for the CPU.

use crate::{Dims, Prepared, Problem, Result};
use candle_core::{Device, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};

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
fn tensor((data, [heads, len, head_dim]): (&[f32], Dims)) -> candle_core::Result<Tensor> {
    Tensor::from_slice(data, (1, heads, len, head_dim), &Device::Cpu)?.transpose(1, 2)
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
