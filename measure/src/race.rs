//! Entries that do the same work, one against the other.
//!
//! All work on the same numbers in the same memory and take turns, A B C A B C, so that whatever else
//! the machine does meets all of them. The fastest of many is often a lucky one: it meets the first once
//! more, alone, and that is what counts.

use crate::time::turns;
use flashlet::entry::Entry;
use flashlet::{Attention, Error, Heads, Inputs, Mask, Offset, Outputs, Shape, View, ViewMut};
use serde::{Deserialize, Serialize};

/// What entrants are timed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A causal prompt.
    Prefill,
    /// A decoder's step, of a head alone and of four heads that share keys: both count.
    Step,
}

/// Tokens of the work.
const TOKENS: usize = 1024;

/// How entrants did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// Whether each gave the bits of the first.
    pub is_right: Vec<bool>,
    /// The fastest of those; 0 is the first itself.
    pub finalist: usize,
    /// Times of the first and of the finalist in the final, in milliseconds, round by round.
    pub ms: [Vec<f64>; 2],
}

impl Work {
    fn shapes(self, [dim, v_dim]: [usize; 2]) -> Vec<Shape> {
        let shape = |q_len, q, kv| {
            let heads = Heads { q, kv, dim, v_dim };
            Shape { batch: 1, q_len, kv_len: TOKENS, heads }
        };
        match self {
            Work::Prefill => vec![shape(TOKENS, 1, 1)],
            Work::Step => vec![shape(1, 4, 4), shape(1, 4, 1)],
        }
    }
}

/// Lets entries for heads of some widths take turns; the first is what the others should give.
///
/// # Errors
/// An entry of other widths, or of a level that this processor lacks.
pub fn run(work: Work, dims: [usize; 2], entries: &[Entry], rounds: usize) -> Result<Race, Error> {
    let course = |shape| Course::new(shape, entries);
    let mut courses = work.shapes(dims).into_iter().map(course).collect::<Result<Vec<_>, _>>()?;
    let mut is_right = vec![true; entries.len()];
    for course in &mut courses {
        is_right.iter_mut().zip(course.check()).for_each(|(all, this)| *all &= this);
    }
    let right: Vec<usize> = (0..entries.len()).filter(|entrant| is_right[*entrant]).collect();
    let heats = times(&mut courses, &right, rounds);
    let fastest = heats.iter().zip(&right).min_by(|(a, _), (b, _)| median(a).total_cmp(&median(b)));
    let finalist = fastest.map_or(0, |(_, entrant)| *entrant);
    let ms = times(&mut courses, &[0, finalist], rounds);
    let ms = <[Vec<f64>; 2]>::try_from(ms).unwrap_or_default();
    Ok(Race { is_right, finalist, ms })
}

/// Milliseconds of each of some entrants, round by round, over all courses.
fn times(courses: &mut [Course], entrants: &[usize], rounds: usize) -> Vec<Vec<f64>> {
    let mut ms = vec![vec![0.0; rounds]; entrants.len()];
    for course in courses {
        let seconds = turns(rounds, entrants.len(), |i| course.call(entrants[i]));
        for (ms, seconds) in ms.iter_mut().flatten().zip(seconds.into_iter().flatten()) {
            *ms += 1e3 * seconds;
        }
    }
    ms
}

/// The middle one; infinite where there is none.
#[must_use]
pub fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
}

/// One call, and the entrants' plans of it.
struct Course {
    shape: Shape,
    plans: Vec<Attention<'static>>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    o: Vec<f32>,
    scratch: Vec<f32>,
}

impl Course {
    fn new(shape: Shape, entries: &[Entry]) -> Result<Self, Error> {
        let mask = Mask::causal(Offset::BOTTOM_RIGHT);
        let plan = |entry: &Entry| Attention::with_entry(shape, mask, *entry);
        let plans = entries.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
        let scratch = plans.iter().map(Attention::scratch_len_in_place).max().unwrap_or(0);
        Ok(Course {
            plans,
            q: numbers(shape.q(), 1),
            k: numbers(shape.k(), 2),
            v: numbers(shape.v(), 3),
            o: numbers(shape.o(), 0),
            scratch: vec![0.0; scratch],
            shape,
        })
    }

    /// Which entrants give the bits of the first.
    fn check(&mut self) -> Vec<bool> {
        let count = self.plans.len();
        let mut bits = |entrant| -> Vec<u32> {
            self.o.fill(f32::NAN);
            self.call(entrant);
            self.o.iter().map(|o| o.to_bits()).collect()
        };
        let first = bits(0);
        (0..count).map(|entrant| bits(entrant) == first).collect()
    }

    fn call(&mut self, entrant: usize) {
        // The shape is the plans' own, and the scratch the most that any wants.
        self.bind_and_run(entrant).expect("buffers are made for the plans");
    }

    fn bind_and_run(&mut self, entrant: usize) -> Result<(), Error> {
        let shape = self.shape;
        let inputs = Inputs::new(
            View::packed(&self.q, shape.q())?,
            View::packed(&self.k, shape.k())?,
            View::packed(&self.v, shape.v())?,
        );
        let outputs = Outputs::new(ViewMut::packed(&mut self.o, shape.o())?);
        self.plans[entrant].bind(inputs, outputs, &mut self.scratch)?.run();
        Ok(())
    }
}

/// Numbers in [-2, 2), the same for each seed.
fn numbers(dims: [usize; 4], seed: u32) -> Vec<f32> {
    let mut x = seed;
    let next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / 4_194_304.0 - 2.0
    };
    std::iter::repeat_with(next).take(dims.iter().product()).collect()
}
