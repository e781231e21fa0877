//! Where attention loses digits: cases that are hard in one way each, from easy to hopeless, and what an implementation
//! makes of them. An engine's author sees what to avoid, and how much of an error is the problem's own.

use crate::subject::{Case, Subject};
use fastrand::Rng;
use oracle::{Format, Shape, attend_row, running_bound_row, sensitivity_row};

/// What makes a case hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing: queries, keys and values are normal.
    None,
    /// Queries are large, so that few keys have all the weight.
    LargeScores,
    /// Two keys of large scores share the weight, and their values are opposite.
    CloseRace,
    /// One channel is large in all keys, as in models with massive activations: all scores are far from zero together.
    OutlierChannel,
    /// Channels are large in queries and keys, but cancel in their products.
    CancellingScores,
    /// Values have a mean of almost zero.
    CancellingValues,
    /// Values are large, and about the same.
    CommonValue,
    /// Values are so small that they lose digits when stored.
    TinyValues,
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Study {
    /// Of a case: one query, so many keys.
    pub shape: Shape,
    /// Factor of every score.
    pub scale: f64,
    /// Cases of each trouble.
    pub cases: usize,
    /// Of all numbers.
    pub seed: u64,
}

/// Where a case is worst: the element of `o` with the largest error.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// What is hard.
    pub trouble: Trouble,
    /// Which of the cases of a trouble it is, from the easiest to the hardest: for [`Study::case`].
    pub number: usize,
    /// Channel of the element.
    pub channel: usize,
    /// What the implementation returned,
    pub got: f32,
    /// what the definition says,
    pub exact: f64,
    /// and how far they may be apart.
    pub bound: f64,
    /// The largest `|exact|` of the row: errors and bounds count as parts of it.
    pub size: f64,
    /// The largest change of the row, in parts of `size`, where all inputs change by small parts of themselves: so much of
    /// these. [`sensitivity_row`] has the formula.
    pub condition: f64,
    /// The largest `error / bound` of all elements of the case.
    pub worst_ratio: f64,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Trouble; 8] = [
        Trouble::None,
        Trouble::LargeScores,
        Trouble::CloseRace,
        Trouble::OutlierChannel,
        Trouble::CancellingScores,
        Trouble::CancellingValues,
        Trouble::CommonValue,
        Trouble::TinyValues,
    ];

    /// As a table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Trouble::None => "none",
            Trouble::LargeScores => "large scores",
            Trouble::CloseRace => "close race",
            Trouble::OutlierChannel => "outlier channel",
            Trouble::CancellingScores => "cancelling scores",
            Trouble::CancellingValues => "cancelling values",
            Trouble::CommonValue => "common value",
            Trouble::TinyValues => "tiny values",
        }
    }

    /// Makes an ordinary case hard; 0 is hardly so, 1 as much as is useful. What is large stays far from where f16 overflows.
    fn make(self, case: &mut Case, hardness: f32, stored: Format) {
        let octaves = |most: f32| (hardness * most).exp2();
        let Shape { head_dim, .. } = case.shape;
        match self {
            Trouble::None => {}
            Trouble::LargeScores => scale_by(&mut case.q, octaves(10.0)),
            Trouble::CloseRace => {
                scale_by(&mut case.q, octaves(10.0));
                race(case);
            }
            Trouble::OutlierChannel => {
                case.k.iter_mut().step_by(head_dim).for_each(|k| *k += octaves(13.0));
            }
            Trouble::CancellingScores => cancel_scores(case, octaves(7.0)),
            Trouble::CancellingValues => cancel_values(case, octaves(-22.0)),
            Trouble::CommonValue => case.v.iter_mut().for_each(|v| *v += octaves(13.0)),
            Trouble::TinyValues => {
                let smallest = if stored == Format::F16 { -24.0 } else { -148.0 };
                scale_by(&mut case.v, octaves(smallest));
            }
        }
    }
}

/// Key 0 points where the query does; key 1 is the same, but for what makes its score less by 1/4. Their values are opposite.
fn race(case: &mut Case) {
    let Shape { head_dim, v_dim, .. } = case.shape;
    let size: f32 = case.q.iter().map(|q| q * q).sum();
    let factor = 1.5 * (head_dim as f32 / size).sqrt();
    for (c, q) in case.q.iter().enumerate() {
        case.k[c] = q * factor;
        case.k[head_dim + c] = q * factor;
    }
    case.k[head_dim] -= 0.25 / (case.q[0] * case.scale as f32);
    for c in 0..v_dim {
        case.v[v_dim + c] = -case.v[c];
    }
}

/// Pairs of channels: the query has one number twice, a key a large number and almost its opposite.
fn cancel_scores(case: &mut Case, large: f32) {
    for q in case.q.chunks_exact_mut(2) {
        q.fill(large * q[0]);
    }
    for k in case.k.chunks_exact_mut(2) {
        let [big, rest] = [large * k[0], k[1] / large];
        (k[0], k[1]) = (big, rest - big);
    }
}

/// Takes the weighted mean off all values, but for a rest.
fn cancel_values(case: &mut Case, rest: f32) {
    let mean = case.read(|problem| attend_row(problem, 0, 0, 0)).o;
    for v in case.v.chunks_exact_mut(case.shape.v_dim) {
        for (v, mean) in v.iter_mut().zip(&mean) {
            *v = (f64::from(*v) - mean * (1.0 - f64::from(rest))) as f32;
        }
    }
}

impl Study {
    /// Case `number` of a trouble, in numbers that a format can hold.
    pub fn case(&self, trouble: Trouble, number: usize, stored: Format) -> Case {
        let place = number * Trouble::ALL.len() + trouble as usize;
        let mut case = self.ordinary(&mut Rng::with_seed(self.seed ^ place as u64));
        let hardness = number as f32 / self.cases.saturating_sub(1).max(1) as f32;
        trouble.make(&mut case, hardness, stored);
        case.rounded(stored)
    }

    fn ordinary(&self, random: &mut Rng) -> Case {
        let Shape { batch, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim } = self.shape;
        let mut numbers = |count: usize| (0..count).map(|_| normal(random)).collect();
        Case {
            shape: self.shape,
            scale: self.scale,
            causal: false,
            q: numbers(batch * q_len * q_heads * head_dim),
            k: numbers(batch * kv_len * kv_heads * head_dim),
            v: numbers(batch * kv_len * kv_heads * v_dim),
        }
    }

    /// What a subject makes of every case. Cases without a number that could be judged are left out.
    pub fn run(&self, subject: &dyn Subject) -> Vec<Finding> {
        let numbers = Trouble::ALL.into_iter().flat_map(|t| (0..self.cases).map(move |n| (t, n)));
        numbers.filter_map(|(trouble, number)| self.judge(subject, trouble, number)).collect()
    }

    fn judge(&self, subject: &dyn Subject, trouble: Trouble, number: usize) -> Option<Finding> {
        let case = self.case(trouble, number, subject.stored());
        let (o, _) = subject.attend(&case);
        let (row, bound) =
            case.read(|problem| running_bound_row(problem, &subject.arithmetic(), 0, 0, 0));
        let moved = case.read(|problem| sensitivity_row(problem, 0, 0, 0));
        let size = row.o.iter().fold(0.0, |size: f64, exact| size.max(exact.abs()));
        let condition = moved.iter().copied().fold(0.0, f64::max) / size;
        let element = |channel| {
            let (got, exact, bound) = (o[channel], row.o[channel], bound.o[channel]);
            let worst_ratio = distance(got, exact) / bound;
            Finding { trouble, number, channel, got, exact, bound, size, condition, worst_ratio }
        };
        let is_judged =
            |f: &Finding| f.exact.is_finite() && f.bound.is_finite() && f.condition.is_finite();
        let worse = |worst: Finding, next: Finding| {
            let worst_ratio = worst.worst_ratio.max(next.worst_ratio);
            let higher = if next.error() > worst.error() { next } else { worst };
            Finding { worst_ratio, ..higher }
        };
        (0..o.len()).map(element).filter(is_judged).reduce(worse)
    }
}

impl Finding {
    /// `|got - exact|` as a part of the row's size; infinite for what is no number.
    pub fn error(&self) -> f64 {
        distance(self.got, self.exact) / self.size
    }

    /// The bound as a part of the row's size.
    pub fn relative_bound(&self) -> f64 {
        self.bound / self.size
    }
}

fn distance(got: f32, exact: f64) -> f64 {
    let error = (f64::from(got) - exact).abs();
    if error.is_nan() { f64::INFINITY } else { error }
}

fn scale_by(numbers: &mut [f32], factor: f32) {
    numbers.iter_mut().for_each(|x| *x *= factor);
}

/// The sum of twelve uniform numbers: near enough to normal.
pub(crate) fn normal(random: &mut Rng) -> f32 {
    (0..12).map(|_| random.f32()).sum::<f32>() - 6.0
}
