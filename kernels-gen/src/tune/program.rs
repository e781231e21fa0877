//! The program that lets candidates take turns: the text of its files.

use super::Contest;
use crate::build::relative;
use crate::plan::{Op, width};
use crate::render::{File, RenderError, backend, header, render};
use flashlet::Level;
use flashlet::entry::{Lanes, Tiling};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Its name.
pub(super) const NAME: &str = "flashlet-tune";

#[derive(Serialize)]
struct Program {
    header: String,
    name: &'static str,
    /// Paths from the program's directory, as TOML strings.
    flashlet: String,
    measure: String,
    rounds: usize,
    levels: Vec<LevelView>,
}

#[derive(Serialize)]
struct LevelView {
    header: String,
    level: &'static str,
    backend: &'static str,
    token: &'static str,
    features: Option<&'static str>,
    functions: Vec<Function>,
    races: Vec<Race>,
}

/// One register tile for one head size.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Function {
    name: String,
    algorithm: &'static str,
    dims: [usize; 2],
    tile: [usize; 2],
}

#[derive(Serialize)]
struct Race {
    work: &'static str,
    dims: [usize; 2],
    entrants: Vec<EntrantView>,
}

#[derive(Serialize)]
struct EntrantView {
    function: String,
    lanes: String,
    tile: [usize; 2],
    rows: usize,
}

/// Every file of the program. It prints one JSON object a contest, in their order, if they are sorted
/// by level.
pub(super) fn files(
    contests: &[Contest],
    rounds: usize,
    root: &Path,
    directory: &Path,
) -> Result<Vec<File>, RenderError> {
    let quoted = |path: String| toml::Value::String(path).to_string();
    let mut levels: BTreeMap<Level, Vec<&Contest>> = BTreeMap::new();
    for contest in contests {
        levels.entry(contest.level).or_default().push(contest);
    }
    let program = Program {
        header: header("cargo kernels tune"),
        name: NAME,
        flashlet: quoted(relative(root, directory)),
        measure: quoted(relative(&root.join("measure"), directory)),
        rounds,
        levels: levels.iter().map(|(level, contests)| LevelView::new(*level, contests)).collect(),
    };
    let file = |path: &str, text| File { path: path.to_owned(), text };
    let mut files = vec![
        file("Cargo.toml", render("tune/Cargo.toml", &program)?),
        file("src/main.rs", render("tune/main.rs", &program)?),
    ];
    for level in &program.levels {
        files.push(file(&format!("src/{}.rs", level.level), render("tune/level.rs", level)?));
    }
    Ok(files)
}

impl LevelView {
    fn new(level: Level, contests: &[&Contest]) -> Self {
        let tilings = contests.iter().flat_map(|contest| {
            contest.candidates.iter().map(|tiling| Function::new(contest, tiling))
        });
        let mut functions: Vec<Function> = tilings.collect();
        functions.sort_unstable();
        functions.dedup();
        let (backend, token, features) = backend(level);
        LevelView {
            header: header("cargo kernels tune"),
            level: level.name(),
            backend,
            token,
            features,
            functions,
            races: contests.iter().map(|contest| Race::new(contest)).collect(),
        }
    }
}

impl Function {
    fn new(contest: &Contest, tiling: &Tiling) -> Self {
        let &Tiling { lanes, vectors, scalars, .. } = tiling;
        let algorithm = match lanes {
            Lanes::Queries => "attend",
            Lanes::Keys => "decode",
        };
        let name = format!("{algorithm}_hd{}_{vectors}x{scalars}", width(contest.dims));
        Function { name, algorithm, dims: contest.dims, tile: [vectors, scalars] }
    }
}

impl Race {
    fn new(contest: &Contest) -> Self {
        let entrant = |tiling: &Tiling| EntrantView {
            function: Function::new(contest, tiling).name,
            lanes: format!("{:?}", tiling.lanes),
            tile: [tiling.vectors, tiling.scalars],
            rows: tiling.rows,
        };
        let work = match contest.op {
            Op::Attend | Op::Pairs => "Prefill",
            Op::Decode => "Step",
        };
        let entrants = contest.candidates.iter().map(entrant).collect();
        Race { work, dims: contest.dims, entrants }
    }
}
