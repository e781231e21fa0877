//! What flashlet is measured with: the processor's peak, times, real heads, and a plain rival.
//!
//! ```text
//! time       median and best of repeated runs
//! on         a loop over vectors, on a level that is chosen by value
//! peak       the multiply-add peak of a level, probed in this process
//! bandwidth  how fast this process reads memory
//! heads      heads captured from real models, spread over a whole model
//! problem    one attention as plain slices: who sees whom, how many operations that is
//! naive      attention as everybody writes it first
//! case       a real text on all heads of a model: tokens, exact results, naive times
//! trial      a level of a model on the cases: error, share of the bound, time, share of the peak
//! race       entries that do the same work, in turns: right or not, and their times
//! exit       an error and its causes, as a program's last words
//! ```

pub mod bandwidth;
pub mod case;
pub mod exit;
pub mod heads;
pub mod naive;
pub mod on;
pub mod peak;
pub mod problem;
pub mod race;
pub mod time;
pub mod trial;
