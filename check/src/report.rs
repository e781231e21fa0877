//! Every case at every level of this host, as lines and a verdict.

use core::fmt;

use flashlet::{Error, Level};

use crate::device::{Dense32, Dense64, Device, Encoder, Gated, Integer, Prompt, Uncounted, Window};
use crate::{CASES, MODELS, Outcome, RECURRENCES, ROTATIONS, Workspace, run};

/// One run, displayed as a line of JSON.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The machine that ran it.
    pub host: &'a str,
    /// What it is a run of.
    pub kind: Kind,
    /// Name of the case.
    pub case: &'static str,
    /// The instruction-set level, if it is a matter of levels.
    pub level: Option<Level>,
    /// What came out.
    pub outcome: Outcome,
}

/// What a run computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Attention of heads.
    Attention,
    /// Frequencies of rotary positions, or a table of their cosines and sines.
    Table,
    /// Heads that turn.
    Rotation,
    /// Linear attention.
    Recurrence,
    /// What a small device does.
    Device,
}

/// What the runs say together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    /// Cases times levels.
    pub runs: usize,
    /// Runs with an error above the certified bound.
    pub over_bound: usize,
    /// Runs whose bits differ from those of the first level of the same class.
    pub differing: usize,
}

impl Verdict {
    /// Whether there was something to check and all of it is right.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.runs > 0 && self.over_bound == 0 && self.differing == 0
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Attention => "attention",
            Kind::Table => "table",
            Kind::Rotation => "rotation",
            Kind::Recurrence => "recurrence",
            Kind::Device => "device",
        }
    }
}

impl Line<'_> {
    /// Whether its level fuses multiply-add.
    #[must_use]
    pub fn is_fused(&self) -> bool {
        self.level.is_some_and(Level::is_fused)
    }

    /// The runs that must have the same bits: all of a table, otherwise those that fuse multiply-add, or those that
    /// don't.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match (self.kind, self.is_fused()) {
            (Kind::Table, _) => "all",
            (_, true) => "fused",
            (_, false) => "unfused",
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, kind, case, level, outcome: Outcome { err_over_bound, digest } } = self;
        write!(f, r#"{{"host":"{host}","kind":"{}","case":"{case}","#, kind.name())?;
        match level {
            Some(level) => write!(f, r#""level":"{level}","#)?,
            None => write!(f, r#""level":null,"#)?,
        }
        write!(f, r#""fused":{},"#, self.is_fused())?;
        match err_over_bound {
            Some(ratio) => write!(f, r#""err_over_bound":{ratio:.3e},"#)?,
            None => write!(f, r#""err_over_bound":null,"#)?,
        }
        write!(f, r#""digest":"{digest:016x}"}}"#)
    }
}

/// Runs every case at every level that this host has, and shows each run as it ends.
///
/// # Errors
/// What [`run`] returns: a case that cannot run is a mistake in its table.
pub fn check_all<'a>(
    host: &'a str,
    workspace: &mut Workspace,
    show: impl FnMut(Line<'a>),
) -> Result<Verdict, Error> {
    let mut tally = Tally { host, show, verdict: Verdict::default() };
    for case in &CASES {
        tally.levels(Kind::Attention, case.name, |level| run(case, level, workspace))?;
    }
    for model in &MODELS {
        tally.once(Kind::Table, model.names.turns, model.turns()?);
        tally.levels(Kind::Table, model.names.table, |level| model.table(level))?;
        tally.once(Kind::Table, model.names.inv_freq, model.inv_freq()?);
        tally.levels(Kind::Table, model.names.compatible, |level| model.compatible_table(level))?;
    }
    for rotation in &ROTATIONS {
        tally.levels(Kind::Rotation, rotation.name, |level| rotation.run(level))?;
    }
    for recurrence in &RECURRENCES {
        tally.levels(Kind::Recurrence, recurrence.name, |level| recurrence.run(level))?;
    }
    tally.device::<Prompt>()?;
    tally.device::<Encoder>()?;
    tally.device::<Dense32>()?;
    tally.device::<Dense64>()?;
    tally.device::<Window>()?;
    tally.device::<Gated>()?;
    tally.device::<Integer>()?;
    Ok(tally.verdict)
}

struct Tally<'a, F> {
    host: &'a str,
    show: F,
    verdict: Verdict,
}

impl<'a, F: FnMut(Line<'a>)> Tally<'a, F> {
    /// Its entries are those of one lane.
    fn device<D: Device>(&mut self) -> Result<(), Error> {
        let outcome = { D::NEW }.run(&mut Uncounted)?;
        let (host, level) = (self.host, Some(Level::Scalar));
        self.add(Line { host, kind: Kind::Device, case: D::NAME, level, outcome });
        Ok(())
    }

    fn once(&mut self, kind: Kind, case: &'static str, outcome: Outcome) {
        self.add(Line { host: self.host, kind, case, level: None, outcome });
    }

    fn levels(
        &mut self,
        kind: Kind,
        case: &'static str,
        mut run: impl FnMut(Level) -> Result<Outcome, Error>,
    ) -> Result<(), Error> {
        let mut digests = [None; 2];
        for level in Level::available() {
            let line =
                Line { host: self.host, kind, case, level: Some(level), outcome: run(level)? };
            let class = usize::from(kind != Kind::Table && line.is_fused());
            let first = *digests[class].get_or_insert(line.outcome.digest);
            self.verdict.differing += usize::from(line.outcome.digest != first);
            self.add(line);
        }
        Ok(())
    }

    fn add(&mut self, line: Line<'a>) {
        self.verdict.runs += 1;
        let is_over = line.outcome.err_over_bound.is_some_and(|ratio| ratio > 1.0);
        self.verdict.over_bound += usize::from(is_over);
        (self.show)(line);
    }
}
