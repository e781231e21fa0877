//! A gated delta rule, a token at a time.

use super::entries::{FAMILY, STEP};
use super::{
    Device, GATED, GATED_BETA, GATED_EXACT, GATED_FUSED, GATED_GATES, GATED_K, GATED_Q,
    GATED_UNFUSED, GATED_V, Judge, Meter,
};
use crate::Outcome;
use flashlet::{
    Error, Form, LinearAttention, LinearHeads, LinearInputs, LinearOutputs, LinearShape, Memory,
    View, ViewMut,
};

const TOKENS: usize = GATED[0];
const DIM: usize = GATED[1];
const SHAPE: LinearShape = LinearShape { batch: 1, len: 1, heads: LinearHeads::new(1, DIM) };
const SCRATCH: usize = match SHAPE.scratch_len(FAMILY, Form::Recurrent) {
    Ok(len) => len,
    Err(_) => panic!("a shape that there is not"),
};

/// The state of one head of 32 channels, an output, and scratch.
#[derive(Debug)]
pub struct Gated {
    state: [f32; DIM * DIM],
    o: [f32; DIM],
    scratch: [f32; SCRATCH],
}

impl Device for Gated {
    const NAME: &'static str = "gated";

    const NEW: Self = Gated { state: [0.0; DIM * DIM], o: [0.0; DIM], scratch: [0.0; SCRATCH] };

    fn run(&mut self, meter: &mut impl Meter) -> Result<Outcome, Error> {
        let limits = if STEP.level().is_fused() { GATED_FUSED } else { GATED_UNFUSED };
        let mut judge = Judge::default();
        for token in 0..TOKENS {
            self.o.fill(f32::NAN);
            meter.measure(|| self.step(token))?;
            judge.see(&self.o, token * DIM, GATED_EXACT, limits);
        }
        judge.digest = judge.digest.floats(&self.state);
        Ok(judge.outcome())
    }
}

impl Gated {
    #[inline(never)]
    fn step(&mut self, token: usize) -> Result<(), Error> {
        let row = |all: &'static [f32]| all.get(token * DIM..(token + 1) * DIM).unwrap_or(&[]);
        let of_token = |all: &'static [f32]| all.get(token..=token).unwrap_or(&[]);
        let inputs = LinearInputs::new(
            View::packed(row(GATED_Q), SHAPE.q())?,
            View::packed(row(GATED_K), SHAPE.k())?,
            View::packed(row(GATED_V), SHAPE.v())?,
        )
        .gates(View::packed(of_token(GATED_GATES), SHAPE.gates(FAMILY))?)
        .beta(View::packed(of_token(GATED_BETA), SHAPE.per_state(1))?);
        let outputs = LinearOutputs::new(ViewMut::packed(&mut self.o, SHAPE.o())?);
        let plan = LinearAttention::with_entry(SHAPE, FAMILY, STEP)?.l2_normalised(1e-6)?;
        let memory = Memory::new(&mut self.state, &SHAPE)?;
        plan.bind(inputs, outputs, memory, &mut self.scratch)?.run();
        Ok(())
    }
}
