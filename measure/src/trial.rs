//! A model's entries on real heads: are they right, and how fast.
//!
//! The text as it was captured is the case for accuracy: every row is judged by its certified bound.
//! It is too short to time, so it is also repeated, and there some rows are judged.

use crate::case::{Calls, Case, Judgement, cases};
use crate::heads::Captured;
use crate::peak;
use crate::problem::{Model, Tokens};
use crate::time::{Time, time};
use flashlet::entry::Entry;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;

/// What timing one entry on one case takes.
const BUDGET: Duration = Duration::from_millis(200);

/// One level of a model, over flat slices: see [`Tokens`] for their shapes.
pub trait Subject {
    /// `[prefill, decode]`.
    fn entries(&self) -> [Entry; 2];
    /// Attention of any queries: `o [q_len, q_heads, v_dim]`.
    ///
    /// # Errors
    /// What the module under test refuses.
    fn prefill(&mut self, tokens: &Tokens<'_>, o: &mut [f32]) -> Result<(), Box<dyn Error>>;
    /// Attention of one query: `o [q_heads, v_dim]`.
    ///
    /// # Errors
    /// What the module under test refuses.
    fn decode(&mut self, tokens: &Tokens<'_>, o: &mut [f32]) -> Result<(), Box<dyn Error>>;
}

/// What was found of one entry on one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub entry: String,
    /// Its level.
    pub level: String,
    /// The text, and how often it was repeated to how many tokens.
    pub case: String,
    /// Rows of a query tile.
    pub tile_q: usize,
    /// Keys of a tile.
    pub tile_k: usize,
    /// Bytes of scratch.
    pub scratch_bytes: usize,
    /// Bytes of its machine code, if they are known.
    pub text_bytes: Option<u64>,
    /// Largest difference of an output from the exact one.
    pub max_error: f64,
    /// Largest share of its certified bound that an output's error takes.
    pub err_over_bound: f64,
    /// Median time of a call, in milliseconds.
    pub ms: f64,
    /// Best time of a call, in milliseconds.
    pub ms_best: f64,
    /// Billions of useful operations a second, by the median.
    pub gflops: f64,
    /// What the processor can do at most on this level, probed in the same process.
    pub peak_gflops: f64,
    /// Their ratio.
    pub share_of_peak: f64,
    /// Median time of the naive attention on the same call, in milliseconds.
    pub naive_ms: f64,
    /// Whether the level rounds a multiply-add once.
    pub fused: bool,
}

/// Tries every subject whose level this processor has, on every case; `report` gets each row as soon
/// as it is known.
///
/// # Errors
/// Captured heads of another width; whatever a subject refuses; whatever `report` returns.
pub fn run(
    model: &Model,
    captured: &[Captured],
    subjects: &mut [Box<dyn Subject>],
    mut report: impl FnMut(&Row) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let cases = cases(model, captured, BUDGET)?;
    for subject in subjects {
        let level = subject.entries()[0].level();
        let Some(peak) = peak::gflops(level) else { continue };
        for case in &cases {
            report(&prefill(model, case, &mut **subject, peak)?)?;
        }
        for case in &cases {
            report(&decode(model, case, &mut **subject, peak)?)?;
        }
    }
    Ok(())
}

fn prefill(
    model: &Model,
    case: &Case,
    subject: &mut dyn Subject,
    peak: f64,
) -> Result<Row, Box<dyn Error>> {
    let ([entry, _], tokens) = (subject.entries(), case.tokens());
    let mut o = vec![f32::NAN; model.q_len(&tokens) * model.heads.q * model.heads.v_dim];
    subject.prefill(&tokens, &mut o)?;
    let judgement = case.judge(model, &entry, Calls::Prompt, &o);
    let time = time(BUDGET, || drop(subject.prefill(&tokens, &mut o)));
    let speed = Speed { time, naive: case.naive[0], flops: model.flops(&tokens), peak };
    Ok(Row::new(model, &entry, case, judgement, speed))
}

/// Judges a step at every position that the case judges, and times the last.
fn decode(
    model: &Model,
    case: &Case,
    subject: &mut dyn Subject,
    peak: f64,
) -> Result<Row, Box<dyn Error>> {
    let ([_, entry], tokens) = (subject.entries(), case.tokens());
    let width = model.heads.q * model.heads.v_dim;
    let mut all = vec![f32::NAN; model.q_len(&tokens) * width];
    for &i in &case.judged {
        subject.decode(&model.step(&tokens, i), &mut all[i * width..][..width])?;
    }
    let judgement = case.judge(model, &entry, Calls::Steps, &all);
    let (last, mut o) = (case.last(model), vec![0.0; width]);
    let time = time(BUDGET, || drop(subject.decode(&last, &mut o)));
    let speed = Speed { time, naive: case.naive[1], flops: model.flops(&last), peak };
    Ok(Row::new(model, &entry, case, judgement, speed))
}

/// How fast a call was, and what to hold it against.
struct Speed {
    time: Time,
    naive: f64,
    flops: f64,
    peak: f64,
}

impl Row {
    fn new(model: &Model, entry: &Entry, case: &Case, judgement: Judgement, speed: Speed) -> Self {
        let level = entry.level();
        let gflops = speed.flops / speed.time.median / 1e9;
        Row {
            entry: entry.name().to_owned(),
            level: level.to_string(),
            case: case.name.clone(),
            tile_q: entry.tiling().rows,
            tile_k: entry.tile_k(),
            scratch_bytes: entry.scratch_len_in_place(model.heads) * size_of::<f32>(),
            text_bytes: None,
            max_error: judgement.max_error,
            err_over_bound: judgement.err_over_bound,
            ms: speed.time.median * 1e3,
            ms_best: speed.time.best * 1e3,
            gflops,
            peak_gflops: speed.peak,
            share_of_peak: gflops / speed.peak,
            naive_ms: speed.naive * 1e3,
            fused: level.is_fused(),
        }
    }
}
