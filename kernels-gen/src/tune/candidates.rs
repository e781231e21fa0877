//! Tiles worth a try.

use crate::tiles::fits;
use flashlet::Level;
use flashlet::entry::{Lanes, Tiling};

/// Vectors x scalars of a register tile with queries in lanes.
const ATTEND: [[usize; 2]; 10] =
    [[4, 4], [4, 3], [4, 6], [3, 4], [3, 6], [2, 4], [2, 6], [2, 8], [4, 2], [1, 8]];

/// Rows of a query tile with keys in lanes, whose register tile is that of the level.
const ROWS: [usize; 4] = [8, 16, 32, 64];

/// Blocks of a query tile, beside as many rows as it has.
const BLOCKS: [usize; 3] = [1, 2, 4];

/// Every tile to be tried for an entry, each once: the present one first, then those that fit
/// registers and scratch. What lies in the lanes stays.
#[must_use]
pub fn candidates(level: Level, dims: [usize; 2], present: Tiling) -> Vec<Tiling> {
    let mut tilings = vec![present];
    for [vectors, scalars] in shapes(present) {
        for rows in rows(level, vectors, present) {
            let tiling = Tiling { vectors, scalars, rows, ..present };
            if fits(tiling, level, dims) && !tilings.contains(&tiling) {
                tilings.push(tiling);
            }
        }
    }
    tilings
}

fn shapes(present: Tiling) -> Vec<[usize; 2]> {
    match present.lanes {
        Lanes::Queries => ATTEND.to_vec(),
        Lanes::Keys => vec![[present.vectors, present.scalars]],
    }
}

fn rows(level: Level, vectors: usize, present: Tiling) -> Vec<usize> {
    match present.lanes {
        Lanes::Queries => {
            let blocks = BLOCKS.map(|blocks| blocks * vectors * level.lanes());
            blocks.into_iter().chain([present.rows]).collect()
        }
        Lanes::Keys => ROWS.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Op;
    use crate::tiles::rule;
    use crate::tune::OPS;

    #[test]
    fn the_present_tile_is_first_and_none_comes_twice() {
        for (level, op) in Level::ALL.into_iter().flat_map(|level| OPS.map(|op| (level, op))) {
            for dims in [[32, 32], [64, 64], [192, 128], [256, 256]] {
                let present = rule(level, op, dims);
                let all = candidates(level, dims, present);
                assert_eq!(all[0], present);
                assert!(all.len() > 2, "{level} {op} {dims:?}: {all:?}");
                for (i, tiling) in all.iter().enumerate() {
                    assert!(!all[..i].contains(tiling), "{tiling:?}");
                    assert!(fits(*tiling, level, dims), "{level} {op} {dims:?}: {tiling:?}");
                    assert_eq!(tiling.lanes, present.lanes);
                }
            }
        }
    }

    #[test]
    fn tiles_fill_the_registers_of_their_level_and_no_more() {
        let shapes = |level: Level, op| -> Vec<[usize; 2]> {
            let all = candidates(level, [64, 64], rule(level, op, [64, 64]));
            all.iter().map(|tiling| [tiling.vectors, tiling.scalars]).collect()
        };
        assert!(shapes(Level::Avx512, Op::Attend).contains(&[4, 6]));
        assert!(!shapes(Level::Avx2, Op::Attend).contains(&[4, 3]));
        assert!(shapes(Level::Avx2, Op::Attend).contains(&[3, 4]));
    }

    #[test]
    fn rows_are_whole_blocks_within_the_scratch() {
        let (level, op, dims) = (Level::Avx512, Op::Attend, [256, 256]);
        let all = candidates(level, dims, rule(level, op, dims));
        assert!(all.iter().all(|tiling| tiling.rows % (tiling.vectors * level.lanes()) == 0));
        assert!(all.iter().all(|tiling| tiling.rows < 256), "256 rows take more than 256 KiB");
    }
}
