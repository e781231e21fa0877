//! Where the attention of a model loses digits: cases that are hard in one way each, and a climb towards the bound; beside
//! two implementations that are wrong in ways that are often met.

mod picture;

use crate::spec::Spec;
use crate::table::{self, ratio};
use flashlet::{Level, Precision};
use hunt::climb::{self, Limits};
use hunt::stress::{Finding, Study, Trouble};
use hunt::subject::{Bf16Sums, Case, Flashlet, Naive, Subject};
use oracle::{Format, Shape, Verdict};
use serde::Serialize;

/// What to try.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The level that computes.
    pub level: Level,
    /// How tensors are stored.
    pub stored: Format,
    /// Most keys that the query sees.
    pub keys: usize,
    /// Cases of each trouble.
    pub cases: usize,
    /// Of all numbers.
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Stress {
    /// Of which model, and what of it.
    about: String,
    study: Study,
    subject: Flashlet,
    /// Of flashlet, and of the others.
    findings: [Series; 3],
    /// The case nearest to the bound.
    nearest: (Case, Verdict),
}

/// What one implementation made of all cases.
#[derive(Clone, Debug)]
pub struct Series {
    /// The implementation.
    pub name: String,
    /// A finding for each case.
    pub findings: Vec<Finding>,
}

/// The picture cannot be drawn.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot draw errors: {0}")]
pub struct StressError(String);

/// A trouble's worst case, as JSON has it.
#[derive(Serialize)]
struct Line<'a> {
    implementation: &'a str,
    trouble: &'a str,
    cases: usize,
    exceeded: usize,
    number: usize,
    channel: usize,
    condition: f64,
    relative_error: Option<f64>,
    relative_bound: f64,
    err_over_bound: Option<f64>,
    got: Option<f32>,
    exact: f64,
}

/// A case, with what replays it.
#[derive(Serialize)]
struct Replay<'a> {
    about: &'a str,
    subject: String,
    trouble: &'a str,
    scale: f64,
    keys: usize,
    head_dim: usize,
    v_dim: usize,
    exact: f64,
    got: Option<f32>,
    bound: f64,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
}

/// Tries all troubles on one query head of a model, whose query stands at the end of the longest text.
#[must_use]
pub fn run(spec: &Spec, wish: &Wish) -> Stress {
    let (sight, last) = (spec.mask.sight(), spec.max_kv - 1);
    let seen = (0..spec.max_kv).filter(|j| sight.sees(last, *j)).count();
    // A race has two keys.
    let kv_len = seen.min(wish.keys).max(2);
    let (head_dim, v_dim) = (spec.heads.dim, spec.heads.v_dim);
    let shape = Shape { batch: 1, q_len: 1, kv_len, q_heads: 1, kv_heads: 1, head_dim, v_dim };
    let study = Study { shape, scale: spec.scale(), cases: wish.cases, seed: wish.seed };
    let subject = Flashlet { level: wish.level, stored: wish.stored, precision: Precision::F32 };
    let subjects: [&dyn Subject; 3] = [&subject, &Naive, &Bf16Sums];
    let findings =
        subjects.map(|subject| Series { name: subject.name(), findings: study.run(subject) });
    let limits = Limits { evaluations: 8 * wish.cases, patience: 4 * wish.cases, shape };
    let top = climb::climb(&subject, &limits, wish.seed);
    let model = if spec.model.is_empty() { &spec.name } else { &spec.model };
    let about = format!("{model}: {}; {kv_len} keys, head_dim {head_dim}", subject.name());
    Stress { about, study, subject, findings, nearest: (top.case, top.verdict) }
}

impl Stress {
    /// Cases in which flashlet exceeds its bound.
    #[must_use]
    pub fn exceeded(&self) -> usize {
        let [own, ..] = &self.findings;
        own.exceeded(None) + usize::from(!self.nearest.1.holds())
    }

    /// A row for each trouble, and what is worst.
    #[must_use]
    pub fn table(&self) -> String {
        let [own, naive, sums] = &self.findings;
        let header = [
            "trouble",
            "condition",
            "|error| / size",
            "bound / size",
            "err/bound",
            "beyond",
            "one pass",
            "bf16 sums",
        ];
        let mut table = table::table(header, 1..header.len());
        for trouble in Trouble::ALL {
            let Some(worst) = own.worst(trouble) else { continue };
            let beyond = |series: &Series| {
                format!("{} of {}", series.exceeded(Some(trouble)), series.count(trouble))
            };
            table.add_row([
                trouble.name().to_owned(),
                format!("{:.1e}", worst.condition),
                format!("{:.1e}", worst.error()),
                format!("{:.1e}", worst.relative_bound()),
                ratio(own.worst_ratio(trouble)),
                beyond(own),
                beyond(naive),
                beyond(sums),
            ]);
        }
        let verdict = &self.nearest.1;
        format!(
            "{}\n{}\na climb came to {} of the bound\n{}",
            self.about,
            table.trim_fmt(),
            ratio(verdict.worst_ratio),
            self.worst_inputs().unwrap_or_default(),
        )
    }

    /// One JSON object for each implementation and trouble.
    ///
    /// # Errors
    /// None that is known.
    pub fn json(&self) -> serde_json::Result<String> {
        let series = self.findings.iter().flat_map(|series| {
            Trouble::ALL.into_iter().filter_map(move |trouble| series.line(trouble))
        });
        table::json(&series.collect::<Vec<_>>())
    }

    /// All of the case in which the error is the largest part of its row, as JSON.
    ///
    /// # Errors
    /// None that is known.
    pub fn replay(&self) -> serde_json::Result<String> {
        let Some((worst, case)) = self.worst() else { return Ok(String::new()) };
        serde_json::to_string(&Replay {
            about: &self.about,
            subject: self.subject.name(),
            trouble: worst.trouble.name(),
            scale: case.scale,
            keys: case.shape.kv_len,
            head_dim: case.shape.head_dim,
            v_dim: case.shape.v_dim,
            exact: worst.exact,
            got: finite(worst.got),
            bound: worst.bound,
            q: &case.q,
            k: &case.k,
            v: &case.v,
        })
    }

    fn worst(&self) -> Option<(&Finding, Case)> {
        let [own, ..] = &self.findings;
        let worst = own.findings.iter().max_by(|a, b| a.error().total_cmp(&b.error()))?;
        Some((worst, self.study.case(worst.trouble, worst.number, self.subject.stored)))
    }

    /// What the inputs of the worst case are like.
    fn worst_inputs(&self) -> Option<String> {
        let (worst, case) = self.worst()?;
        let Shape { head_dim, v_dim, .. } = case.shape;
        let score = |k: &[f32]| {
            let products = case.q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k));
            case.scale * products.sum::<f64>()
        };
        let scores: Vec<f64> = case.k.chunks_exact(head_dim).map(score).collect();
        let values = case.v.iter().skip(worst.channel).step_by(v_dim).map(|v| f64::from(*v));
        let [scores, values] = [range(scores.into_iter()), range(values)];
        let (name, number, channel) = (worst.trouble.name(), worst.number, worst.channel);
        Some(format!(
            "worst: {name}, case {number}, channel {channel}: got {:e}, exact {:e}, |error| {:.1e}, bound {:.1e}, condition {:.1e}\n\
             its scores are {scores}, its values {values}\n",
            worst.got,
            worst.exact,
            worst.error() * worst.size,
            worst.bound,
            worst.condition,
        ))
    }
}

impl Series {
    /// Findings of a trouble, or of all.
    fn of(&self, trouble: Option<Trouble>) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |f| trouble.is_none_or(|trouble| f.trouble == trouble))
    }

    fn count(&self, trouble: Trouble) -> usize {
        self.of(Some(trouble)).count()
    }

    fn exceeded(&self, trouble: Option<Trouble>) -> usize {
        self.of(trouble).filter(|finding| finding.worst_ratio > 1.0).count()
    }

    fn worst(&self, trouble: Trouble) -> Option<&Finding> {
        self.of(Some(trouble)).max_by(|a, b| a.error().total_cmp(&b.error()))
    }

    fn worst_ratio(&self, trouble: Trouble) -> f64 {
        self.of(Some(trouble)).map(|finding| finding.worst_ratio).fold(0.0, f64::max)
    }

    fn line(&self, trouble: Trouble) -> Option<Line<'_>> {
        let worst = self.worst(trouble)?;
        let ratio = self.worst_ratio(trouble);
        Some(Line {
            implementation: &self.name,
            trouble: trouble.name(),
            cases: self.count(trouble),
            exceeded: self.exceeded(Some(trouble)),
            number: worst.number,
            channel: worst.channel,
            condition: worst.condition,
            // JSON has no infinity: null is what is no number at all.
            relative_error: Some(worst.error()).filter(|error| error.is_finite()),
            relative_bound: worst.relative_bound(),
            err_over_bound: Some(ratio).filter(|ratio| ratio.is_finite()),
            got: finite(worst.got),
            exact: worst.exact,
        })
    }
}

fn finite(x: f32) -> Option<f32> {
    Some(x).filter(|x| x.is_finite())
}

/// `from a to b`.
fn range(numbers: impl Iterator<Item = f64>) -> String {
    let [low, high] = numbers
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| [low.min(x), high.max(x)]);
    format!("from {low:.3e} to {high:.3e}")
}
