//! rten, which runs ONNX models.

use crate::{Dims, Prepared, Problem, Result};
use rten::{Model, NodeId, Value};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

struct Rten {
    model: Model,
    /// q, k, v, with the names that the model has for them.
    inputs: Vec<(NodeId, NdTensor<f32, 4>)>,
    output_id: NodeId,
    output: Option<Value>,
}

pub(crate) fn prepare(problem: &Problem) -> Result<Box<dyn Prepared>> {
    let model = Model::load(problem.model().to_vec())?;
    let tensors = [problem.q(), problem.k(), problem.v()].map(tensor);
    let inputs = model.input_ids().iter().copied().zip(tensors).collect();
    let output_id = *model.output_ids().first().ok_or("the model has no output")?;
    Ok(Box::new(Rten { model, inputs, output_id, output: None }))
}

fn tensor((data, [heads, len, head_dim]): (&[f32], Dims)) -> NdTensor<f32, 4> {
    NdTensorView::from_data([1, heads, len, head_dim], data).to_tensor()
}

impl Prepared for Rten {
    fn run(&mut self) -> Result<()> {
        let inputs = self.inputs.iter().map(|(id, x)| (*id, x.view().into())).collect();
        let [output] = self.model.run_n(inputs, [self.output_id], None)?;
        self.output = Some(output);
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        let output = self.output.as_ref().ok_or("it has not run")?;
        let output: NdTensorView<f32, 4> = output.try_into()?;
        Ok(output.to_vec())
    }
}
