//! Which tiles are the fastest on this machine: candidates take turns in a program that is compiled for
//! them.
//!
//! ```text
//! candidates   the present tile of an entry, and those worth a try
//! program      the text of the program that lets them take turns
//! verdict      the best, and whether it is beyond the noise
//! report       what was found: for people, and as JSON lines
//! ```

mod candidates;
mod program;
mod report;
mod verdict;

pub use candidates::candidates;
pub use report::{json, table};
pub use verdict::{Verdict, judge};

use crate::build::{self, BuildError, workspace};
use crate::compile;
use crate::manifest::MANIFEST;
use crate::plan::Op;
use crate::tiles::{Tiles, is_tuned};
use crate::tree;
use flashlet::Level;
use flashlet::entry::{Lanes, Tiling};
use indicatif::{ProgressBar, ProgressStyle};
use measure::race::Race;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What can be tuned: races have no course for products of bf16 pairs.
pub const OPS: [Op; 2] = [Op::Attend, Op::Decode];

/// Rounds of a race, and of a quick one.
const ROUNDS: [usize; 2] = [15, 5];

/// What is to be tuned.
#[derive(Clone, Debug)]
pub struct Wish {
    /// On these levels, which this processor has.
    pub levels: Vec<Level>,
    /// These operations, of [`OPS`].
    pub ops: Vec<Op>,
    /// For these head sizes.
    pub dims: Vec<[usize; 2]>,
    /// Fewer rounds, and present rows of a query tile only.
    pub quick: bool,
}

/// One entry, and the tiles that may take its place.
#[derive(Clone, Debug)]
pub struct Contest {
    /// Its level.
    pub level: Level,
    /// What it is for.
    pub op: Op,
    /// Widths of a key and of a value.
    pub dims: [usize; 2],
    /// The present tile first.
    pub candidates: Vec<Tiling>,
}

/// A contest, and what came of it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Who took part.
    pub contest: Contest,
    /// How they did.
    pub race: Race,
    /// The best.
    pub verdict: Verdict,
}

impl Wish {
    /// The contests, by level.
    #[must_use]
    pub fn contests(&self, tiles: &Tiles) -> Vec<Contest> {
        let mut contests = Vec::new();
        for &level in &self.levels {
            for (&op, &dims) in
                self.ops.iter().flat_map(|op| self.dims.iter().map(move |d| (op, d)))
            {
                let present = tiles.of(level, op, dims);
                let mut candidates = candidates(level, dims, present);
                let is_quick =
                    |tiling: &Tiling| tiling.lanes == Lanes::Keys || tiling.rows == present.rows;
                candidates.retain(|tiling| !self.quick || is_quick(tiling));
                contests.push(Contest { level, op, dims, candidates });
            }
        }
        contests.sort_by_key(|contest| contest.level);
        contests
    }
}

/// The head sizes of the manifest.
#[must_use]
pub fn all_dims() -> Vec<[usize; 2]> {
    MANIFEST.iter().map(|line| [line.dim, line.v_dim]).collect()
}

/// Compiles the candidates and lets them take turns.
///
/// # Errors
/// What the compiler says; a program that fails.
pub fn run(wish: &Wish, tiles: &Tiles) -> Result<Vec<Finding>, BuildError> {
    let contests = wish.contests(tiles);
    let rounds = ROUNDS[usize::from(wish.quick)];
    let program = compile(&contests, rounds)?;
    let bar = ProgressBar::new(contests.len() as u64);
    let style = ProgressStyle::with_template("measuring {wide_bar} {pos}/{len} entries {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (mut races, mut fault) = (Vec::new(), None);
    let on_line = |line: &str| {
        match serde_json::from_str::<Race>(line) {
            Ok(race) => races.push(race),
            Err(source) => fault = Some(BuildError::Line { line: line.to_owned(), source }),
        }
        bar.inc(1);
    };
    let success = compile::listen(&mut Command::new(&program), on_line);
    bar.finish_and_clear();
    let failed = |source| BuildError::Run { program: program.clone(), source };
    match (success.map_err(failed)?, fault) {
        (false, _) => Err(BuildError::Runner { program }),
        (true, Some(fault)) => Err(fault),
        (true, None) => Ok(findings(contests, races)),
    }
}

fn findings(contests: Vec<Contest>, races: Vec<Race>) -> Vec<Finding> {
    let finding = |(contest, race): (Contest, Race)| {
        let verdict = judge(&race);
        Finding { contest, race, verdict }
    };
    contests.into_iter().zip(races).map(finding).collect()
}

/// Writes and compiles the program, under cargo's own directory.
fn compile(contests: &[Contest], rounds: usize) -> Result<PathBuf, BuildError> {
    let target = build::target();
    let (root, directory) = build::directories(workspace(), &target.join("tune"))?;
    tree::mend(&directory, "src", &program::files(contests, rounds, &root, &directory)?)?;
    build::seed_lock(&root, &directory)?;
    let manifest = directory.join("Cargo.toml");
    Ok(compile::release("candidates", &manifest, &target)?.program()?)
}

impl Finding {
    /// The present tile, and the best.
    #[must_use]
    pub fn tilings(&self) -> [Tiling; 2] {
        [0, self.verdict.best].map(|i| self.contest.candidates[i])
    }

    /// The candidates that gave other bits than the present tile.
    pub fn wrong(&self) -> impl Iterator<Item = Tiling> {
        let all = self.contest.candidates.iter().zip(&self.race.is_right);
        all.filter(|(_, is_right)| !**is_right).map(|(tiling, _)| *tiling)
    }

    /// Whether the best should take the present one's place.
    #[must_use]
    pub fn is_proposed(&self) -> bool {
        self.verdict.is_clear && is_tuned(self.contest.level)
    }
}

/// Puts what was found beyond the noise into the list. Returns how many tiles that changes.
pub fn adopt(tiles: &mut Tiles, findings: &[Finding]) -> usize {
    let proposed = findings.iter().filter(|finding| finding.is_proposed());
    let mut count = 0;
    for finding in proposed {
        let Contest { level, op, dims, .. } = finding.contest;
        let [present, best] = finding.tilings();
        let gain = 100.0 * finding.verdict.gain;
        let why = format!("{gain:.0} % over {}, {}", report::tile(&present), processor());
        tiles.set((level, op, dims), best, why);
        count += 1;
    }
    count
}

/// What this processor calls itself, where the system says so.
fn processor() -> String {
    let text = std::fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(level: Level, [present, best]: [f64; 2]) -> Finding {
        let (ops, dims) = (vec![Op::Decode], vec![[64, 64]]);
        let wish = Wish { levels: vec![level], ops, dims, quick: true };
        let contests = wish.contests(&Tiles::default());
        let is_right = vec![true; contests[0].candidates.len()];
        let race = Race { is_right, finalist: 2, ms: [vec![present; 5], vec![best; 5]] };
        findings(contests, vec![race]).remove(0)
    }

    #[test]
    fn only_gains_beyond_the_noise_are_adopted() {
        let mut tiles = Tiles::default();
        assert_eq!(adopt(&mut tiles, &[finding(Level::Avx512, [1.0, 0.99])]), 0);
        assert_eq!(tiles, Tiles::default());
        let better = finding(Level::Avx512, [1.0, 0.7]);
        assert_eq!(adopt(&mut tiles, std::slice::from_ref(&better)), 1);
        assert_eq!(tiles.of(Level::Avx512, Op::Decode, [64, 64]), better.tilings()[1]);
        assert!(tiles.text().contains("30 % over 4 x 4, 32 rows"), "{}", tiles.text());
    }

    #[test]
    fn levels_that_serve_other_processors_keep_the_rule() {
        let mut tiles = Tiles::default();
        assert_eq!(adopt(&mut tiles, &[finding(Level::Portable, [1.0, 0.5])]), 0);
        assert_eq!(tiles, Tiles::default());
    }
}
