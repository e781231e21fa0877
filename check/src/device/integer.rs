//! Decoding in a window with integers alone: what a processor does that has no floats.

use super::{
    CODES_EXACT, CODES_K, CODES_LIMITS, CODES_Q, CODES_SCALE, CODES_V, Device, Judge, Meter, STREAM,
};
use crate::Outcome;
use flashlet::fixed::{Factor, Plan, State};
use flashlet::{Error, Heads, View, ViewMut};

const TOKENS: usize = STREAM[0];
const DECODED: usize = STREAM[1];
const WINDOW: usize = STREAM[2];
const Q_HEADS: usize = STREAM[3];
const DIM: usize = STREAM[4];
const HEADS: Heads = Heads::new(Q_HEADS, 1, DIM);
const FACTOR: Factor = match Factor::new(CODES_SCALE) {
    Ok(factor) => factor,
    Err(_) => panic!("a scale that no head has"),
};
const PLAN: Plan<i8> = match Plan::new(HEADS, FACTOR) {
    Ok(plan) => plan,
    Err(_) => panic!("heads that there are not"),
};

/// As [`Window`](super::Window), of codes of 8 bits: a ring of 128 tokens, the state of four heads, an output, and scratch.
#[derive(Debug)]
pub struct Integer {
    codes: [[i8; WINDOW * DIM]; 2],
    words: [i32; State::storage_len(HEADS)],
    o: [i16; Q_HEADS * DIM],
    scratch: [i32; PLAN.scratch_len()],
}

impl Device for Integer {
    const NAME: &'static str = "integer";

    const NEW: Self = Integer {
        codes: [[0; WINDOW * DIM]; 2],
        words: [0; State::storage_len(HEADS)],
        o: [0; Q_HEADS * DIM],
        scratch: [0; PLAN.scratch_len()],
    };

    fn run(&mut self, meter: &mut impl Meter) -> Result<Outcome, Error> {
        let mut judge = Judge::default();
        for token in 0..TOKENS {
            if token < TOKENS - DECODED {
                self.learn(token);
                continue;
            }
            self.o.fill(i16::MIN);
            meter.measure(|| self.decode(token))?;
            let o = self.o.map(f32::from);
            let first = (token + DECODED - TOKENS) * o.len();
            judge.see(&o, first, CODES_EXACT, CODES_LIMITS);
        }
        Ok(judge.outcome())
    }
}

impl Integer {
    /// Keeps a token in its place of the ring.
    fn learn(&mut self, token: usize) {
        let slot = token % WINDOW;
        for (to, from) in self.codes.iter_mut().zip([CODES_K, CODES_V]) {
            let to = to.chunks_exact_mut(DIM).nth(slot);
            if let (Some(to), Some(from)) = (to, from.chunks_exact(DIM).nth(token)) {
                to.iter_mut().zip(from).for_each(|(to, x)| *to = *x);
            }
        }
    }

    /// A step: keeps a token and attends to the window that it ends, its oldest token first.
    #[inline(never)]
    fn decode(&mut self, token: usize) -> Result<(), Error> {
        self.learn(token);
        let q = CODES_Q.chunks_exact(Q_HEADS * DIM).nth(token).unwrap_or(&[]);
        let q = View::packed(q, [1, 1, Q_HEADS, DIM])?;
        let [keys, values] = &self.codes;
        let keys = View::packed(keys, [1, WINDOW, 1, DIM])?;
        let values = View::packed(values, [1, WINDOW, 1, DIM])?;
        let mut state = State::empty(&mut self.words, HEADS)?;
        let oldest = (token + 1) % WINDOW;
        for run in [oldest..WINDOW, 0..oldest] {
            let run = [keys.tokens(run.clone())?, values.tokens(run)?];
            PLAN.absorb(&mut state, q, run, &mut self.scratch)?;
        }
        state.finish(ViewMut::packed(&mut self.o, [1, 1, Q_HEADS, DIM])?, None)
    }
}
