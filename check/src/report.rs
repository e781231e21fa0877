//! Every case at every level of this host, as lines and a verdict.

use core::fmt;

use flashlet::{Error, Level};

use crate::{CASES, Outcome, Workspace, run};

/// One run, displayed as a line of JSON.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The machine that ran it.
    pub host: &'a str,
    /// Name of the case.
    pub case: &'static str,
    /// Name of the instruction-set level.
    pub level: &'static str,
    /// What came out.
    pub outcome: Outcome,
}

/// What the runs say together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    /// Cases times levels.
    pub runs: usize,
    /// Runs with an error above the certified bound.
    pub over_bound: usize,
    /// Runs whose bits differ from those of the first level that fuses multiply-add alike.
    pub differing: usize,
}

impl Verdict {
    /// Whether there was something to check and all of it is right.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.runs > 0 && self.over_bound == 0 && self.differing == 0
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, case, level, outcome } = self;
        let Outcome { fused, err_over_bound, digest } = outcome;
        write!(f, r#"{{"host":"{host}","case":"{case}","level":"{level}","fused":{fused},"#)?;
        write!(f, r#""err_over_bound":{err_over_bound:.3e},"digest":"{digest:016x}"}}"#)
    }
}

/// Runs every case at every level that this host has, and shows each run as it ends.
///
/// # Errors
/// What [`run`] returns: a case that cannot run is a mistake in its table.
pub fn check_all<'a>(
    host: &'a str,
    workspace: &mut Workspace,
    mut show: impl FnMut(Line<'a>),
) -> Result<Verdict, Error> {
    let mut verdict = Verdict::default();
    for case in &CASES {
        let mut digests = [None; 2];
        for level in Level::available() {
            let outcome = run(case, level, workspace)?;
            let first = *digests[usize::from(outcome.fused)].get_or_insert(outcome.digest);
            verdict.runs += 1;
            verdict.over_bound += usize::from(outcome.err_over_bound > 1.0);
            verdict.differing += usize::from(outcome.digest != first);
            show(Line { host, case: case.name, level: level.name(), outcome });
        }
    }
    Ok(verdict)
}
