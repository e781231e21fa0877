//! Linear attention over the tokens of a real head.

use flashlet::{
    Error, Family, Form, Gate, Level, LinearAttention, LinearHeads, LinearInputs, LinearOutputs,
    LinearShape, Memory, Rule, View, ViewMut,
};

use crate::embedded::numbers;
use crate::outcome::worst;
use crate::{Fnv1a, Outcome};

/// A family and a form, and what must come out.
#[derive(Debug)]
pub struct Recurrence {
    /// Both.
    pub name: &'static str,
    /// The gate and the rule.
    pub family: Family,
    /// One token after the other, or chunks.
    pub form: Form,
    /// The outputs in f64.
    pub exact: &'static [f64],
    /// Largest error of each element, fused or not.
    pub limits: &'static [f32],
}

include!(concat!(env!("OUT_DIR"), "/recurrence.rs"));

/// Floats of scratch that suffice for all of them.
const SCRATCH: usize = 24_000;

impl Recurrence {
    /// Learns and reads the tokens at `level` and compares the outputs with what they must be; the digest has the last
    /// state too.
    ///
    /// # Errors
    /// What [`LinearAttention`] says about a level that this host lacks.
    pub fn run(&self, level: Level) -> Result<Outcome, Error> {
        let [dim, v_dim] = DIMS;
        let heads = LinearHeads { v_dim, ..LinearHeads::new(1, dim) };
        let shape = LinearShape { batch: 1, len: TOKENS, heads };
        let plan = LinearAttention::new(shape, self.family)?.l2_normalised(1e-6)?;
        let plan = plan.level(level)?.form(self.form);
        let inputs = LinearInputs::new(
            View::packed(Q, shape.q())?,
            View::packed(K, shape.k())?,
            View::packed(V, shape.v())?,
        );
        let inputs = match self.family.gate {
            Gate::Never => inputs,
            Gate::Head => inputs.decay(&GATES[..1]),
            Gate::Token | Gate::Channel => {
                inputs.gates(View::packed(GATES, shape.gates(self.family))?)
            }
        };
        let wide = shape.per_state(dim);
        let inputs = match self.family.rule {
            Rule::Add => inputs,
            Rule::Bonus => inputs.bonus(BONUS),
            Rule::Delta => inputs.beta(View::packed(BETA, shape.per_state(1))?),
            Rule::LowRank => inputs.low_rank(View::packed(A, wide)?, View::packed(B, wide)?),
        };
        // Whatever is not written fails the comparison.
        let (mut o, mut state) = ([f32::NAN; TOKENS * DIMS[1]], [0.0_f32; DIMS[0] * DIMS[1]]);
        let mut scratch = [0.0; SCRATCH];
        let outputs = LinearOutputs::new(ViewMut::packed(&mut o, shape.o())?);
        plan.bind(inputs, outputs, Memory::new(&mut state, &shape)?, &mut scratch)?.run();
        Ok(Outcome {
            err_over_bound: Some(self.err_over_bound(&o)),
            digest: Fnv1a::new().floats(&o).floats(&state).value(),
        })
    }

    /// Largest error of an element as a share of what it may be: above 1 is wrong.
    #[must_use]
    pub fn err_over_bound(&self, o: &[f32]) -> f32 {
        worst(o, self.exact, self.limits)
    }
}
