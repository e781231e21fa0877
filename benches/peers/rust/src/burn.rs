//! burn-flex, the CPU backend of burn.

use crate::{Dims, Prepared, Problem, Result};
use burn_backend::TensorData;
use burn_backend::ops::AttentionModuleOptions;
use burn_flex::FlexTensor;
use burn_flex::ops::attention::attention;

struct Burn {
    /// q, k, v.
    inputs: [FlexTensor; 3],
    options: AttentionModuleOptions,
    output: Option<FlexTensor>,
}

pub(crate) fn prepare(problem: &Problem) -> Result<Box<dyn Prepared>> {
    let (q, [q_heads, q_len, head_dim]) = problem.q();
    // It has no groups. One query has none to be causal to, so its heads can be the rows of one.
    let group = q_heads / problem.kv_heads;
    let q_dims = match group {
        1 => [q_heads, q_len, head_dim],
        _ if q_len == 1 => [problem.kv_heads, group, head_dim],
        _ => return Err("it has no grouped heads".into()),
    };
    let inputs = [(q, q_dims), problem.k(), problem.v()].map(tensor);
    let options =
        AttentionModuleOptions { scale: None, softcap: None, is_causal: problem.is_causal() };
    Ok(Box::new(Burn { inputs, options, output: None }))
}

fn tensor((data, [heads, len, head_dim]): (&[f32], Dims)) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(data.to_vec(), [1, heads, len, head_dim]))
}

impl Prepared for Burn {
    fn run(&mut self) -> Result<()> {
        let [q, k, v] = self.inputs.clone();
        self.output = Some(attention(q, k, v, None, None, self.options));
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        let output = self.output.as_ref().ok_or("it has not run")?;
        Ok(output.to_contiguous().storage::<f32>().to_vec())
    }
}
