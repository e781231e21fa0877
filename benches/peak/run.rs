//! One case on one level: bound, timed, and judged.

use crate::caches;
use crate::call::passes;
use crate::cases::{Case, Products};
use crate::probes::{Probes, huge_pages, peak_rss_bytes};
use crate::report::{Measured, Row};
use crate::tensors::{Data, Tensors};
use flashlet::{Attention, Error};
use measure::case::Rule;
use measure::time::time_at_least;
use oracle::{Modified, Pair, Verdict};
use std::time::Duration;

/// How long a case is timed.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// About so long,
    pub(crate) budget: Duration,
    /// but with so many samples at least.
    pub(crate) fewest: usize,
}

/// What lasts from one case to the next.
pub(crate) struct Bench {
    pub(crate) effort: Effort,
    pub(crate) tensors: Tensors,
    pub(crate) probes: Probes,
}

impl Bench {
    /// Times a case; also the verdict on its output, if that is not a pass.
    pub(crate) fn run(
        &mut self,
        case: &Case,
        plan: &Attention,
    ) -> Result<(Row, Option<Verdict>), Error> {
        let (shape, level) = (case.call.shape, plan.entry().level());
        self.tensors.prepare(case);
        let mut scratch = vec![0.0; plan.scratch_len()];
        let mut o = Data::nan(case, shape.o());
        // Checked once here, so that the loop below has no failure to report.
        plan.bind(self.tensors.inputs(), o.outputs(), &mut scratch)?;

        let before = self.probes.probe(case, level);
        let time = time_at_least(self.effort.fewest, self.effort.budget, || {
            let bound = plan.bind(self.tensors.inputs(), o.outputs(), &mut scratch);
            bound.expect("bound before").run();
        });
        let peak_rss = if case.reports_memory { peak_rss_bytes() } else { None };
        let probed = before.best(self.probes.probe(case, level));

        let verdict = self.certify(case, plan, &o.widened());
        let measured = Measured {
            time,
            probed,
            scratch_bytes: size_of_val(&scratch[..]),
            peak_rss_bytes: peak_rss,
            huge_pages: huge_pages(),
            err_over_bound: err_over_bound(&verdict),
        };
        let row = Row::new(case, plan.entry(), measured);
        Ok((row, (!passes(&verdict)).then_some(verdict)))
    }

    /// Judges some rows of the output that was timed.
    fn certify(&self, case: &Case, plan: &Attention, o: &[f32]) -> Verdict {
        let [q, k, v] = self.tensors.widened();
        if case.products == Products::Int8 {
            return caches::certify(case, plan, [&q, &k, &v], o);
        }
        let sees = |i, j| match &case.sparse {
            Some(sparse) => (sparse.sees)(i, j),
            None => case.call.sees(i, j),
        };
        let exact = case.modified.as_ref().map(|formula| &formula.exact);
        let modify = exact.map(|exact| exact as &dyn Fn(Pair, usize, f64) -> Modified);
        let rule = Rule { sees: &sees, modify };
        case.call.certify(plan.entry(), case.element.format(), [&q, &k, &v], o, rule)
    }
}

/// The largest share of its bound that an error takes; `f64::MAX` if one has no bound.
fn err_over_bound(verdict: &Verdict) -> f64 {
    if verdict.uncertified > 0 { f64::MAX } else { verdict.worst_ratio.min(f64::MAX) }
}
