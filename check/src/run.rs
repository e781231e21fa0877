//! Runs one case of attention at one level.

use flashlet::{Attention, Error, Inputs, Level, Outputs, View, ViewMut};

use crate::{CASES, Case, Fnv1a, Outcome, case};

/// Floats of scratch that suffice for every case at every level.
const SCRATCH: usize = {
    let (mut most, mut case) = (0, 0);
    while case < CASES.len() {
        let mut level = 0;
        while level < Level::ALL.len() {
            let len = CASES[case].shape.heads.scratch_len(Level::ALL[level]);
            most = if len > most { len } else { most };
            level += 1;
        }
        case += 1;
    }
    most
};

/// Everything that a run of attention writes: no heap, so the caller keeps it on the stack or where it likes.
#[derive(Debug)]
pub struct Workspace {
    o: [f32; case::MAX_O],
    lse: [f32; case::MAX_LSE],
    scratch: [f32; SCRATCH],
}

impl Workspace {
    /// An empty workspace, some 120 KB.
    #[must_use]
    pub const fn new() -> Self {
        Self { o: [0.0; case::MAX_O], lse: [0.0; case::MAX_LSE], scratch: [0.0; SCRATCH] }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

/// Computes `case` at `level` and compares it with what must come out.
///
/// # Errors
/// What [`Attention`] says about a level that this host lacks.
pub fn run(case: &Case, level: Level, workspace: &mut Workspace) -> Result<Outcome, Error> {
    let shape = case.shape;
    let attention = Attention::new(shape, case.mask)?.scale(case.scale).level(level)?;

    let o = &mut workspace.o[..case.exact.o.len()];
    let lse = &mut workspace.lse[..case.exact.lse.len()];
    // Whatever the kernel fails to write fails the comparison.
    o.fill(f32::NAN);
    lse.fill(f32::NAN);

    let inputs = Inputs::new(
        View::packed(case.q, shape.q())?,
        View::packed(case.k, shape.k())?,
        View::packed(case.v, shape.v())?,
    );
    let outputs = Outputs::new(ViewMut::packed(o, shape.o())?).lse(lse);
    attention.bind(inputs, outputs, &mut workspace.scratch)?.run();

    let (o, lse) = (&workspace.o[..case.exact.o.len()], &workspace.lse[..case.exact.lse.len()]);
    Ok(Outcome {
        err_over_bound: Some(case.err_over_bound(level.is_fused(), o, lse)),
        digest: Fnv1a::new().floats(o).floats(lse).value(),
    })
}
