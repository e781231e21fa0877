//! Which tiles a cache may be read with, the fastest first.
//!
//! A core without vectors reads a cache in one of two ways. With query rows in the "lanes" a tile of keys is widened to scratch, and a
//! block of rows multiplies it: 4 x 4 takes the fewest loads. With keys in the lanes codes are multiplied where they lie, one
//! row at a time, and nothing is widened. A step of 4 query heads on one key/value head of 32 channels and 128 tokens in a
//! ring takes so many thousand instructions of a Cortex-M4F (QEMU, `-icount`; one pass over the cache):
//!
//! ```text
//!                       tile of 24 keys       of 96 keys
//! i8,   rows in lanes   269 (4.5 KB)          259 (14.9 KB)
//! i8,   keys in lanes   259 (2.1 KB)          234 (3.5 KB)
//! q8_0, rows in lanes   232                   221
//! q8_0, keys in lanes   605                   597
//! f32,  rows in lanes   262                   252
//! f32,  keys in lanes   635                   627
//! ```
//! Rows that a tile does not hold are another pass over the cache: four passes take twice the time of one (i8: 451, with 1.2 KB). The
//! keys of a tile enter the bits of results: 96 are those of every other kernel.

use crate::spec::{CacheFormat, Spec};
use flashlet::Level;
use flashlet::entry::{Lanes, Tiling};

/// The level of devices.
pub(super) const LEVEL: Level = Level::Scalar;

/// Keys of a tile: the most first.
const TILE_K: [usize; 4] = [96, 72, 48, 24];

/// More rows than these save no more passes.
const MOST_ROWS: usize = 16;

/// The tiles of a device's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceTiles {
    /// Keys in a tile.
    pub tile_k: usize,
    /// For many queries, if calls may have more than one.
    pub prefill: Option<Tiling>,
    /// For one query.
    pub decode: Tiling,
}

impl DeviceTiles {
    /// All that a preset may have with a format, the fastest first.
    pub(super) fn all(spec: &Spec, format: CacheFormat) -> Vec<DeviceTiles> {
        let group = spec.heads.group();
        let tile_ks = if spec.says_tile_k { vec![spec.tile_k] } else { TILE_K.to_vec() };
        let prefills = match spec.max_q {
            1 => vec![None],
            queries => prefills(queries.saturating_mul(group)).into_iter().map(Some).collect(),
        };
        let mut all = Vec::new();
        for decode in decodes(group, format) {
            for prefill in &prefills {
                let tiles = |tile_k| DeviceTiles { tile_k, prefill: *prefill, decode };
                all.extend(tile_ks.iter().copied().map(tiles));
            }
        }
        let passes = |tiles: &DeviceTiles| {
            let of_prefill = tiles.prefill.map_or(0, |tiling| MOST_ROWS.div_ceil(tiling.rows));
            (group.div_ceil(tiles.decode.rows) + of_prefill, usize::MAX - tiles.tile_k)
        };
        all.sort_by_key(passes);
        all
    }

    /// Floats of scratch of each entry, `[prefill, decode]`.
    pub(super) fn scratch_len(&self, spec: &Spec, reads_in_place: bool) -> [usize; 2] {
        let of = |tiling: Tiling| {
            let (dim, v_dim) = (spec.heads.dim, spec.heads.v_dim);
            if reads_in_place {
                tiling.scratch_len_in_place(LEVEL, dim, v_dim, self.tile_k)
            } else {
                tiling.scratch_len(LEVEL, dim, v_dim, self.tile_k)
            }
        };
        [self.prefill.map_or(0, of), of(self.decode)]
    }
}

fn prefills(rows: usize) -> Vec<Tiling> {
    let tiling = |rows| Tiling { lanes: Lanes::Queries, vectors: 4, scalars: 4, rows };
    let most = rows.next_multiple_of(4).min(MOST_ROWS);
    [16, 8, 4].into_iter().filter(|rows| *rows <= most.next_power_of_two()).map(tiling).collect()
}

/// For the heads of a group: all in one pass, or half as many, and so on.
fn decodes(group: usize, format: CacheFormat) -> Vec<Tiling> {
    let halves = std::iter::successors(Some(group.min(MOST_ROWS)), |rows| {
        (*rows > 1).then(|| rows.div_ceil(2))
    });
    let mut all: Vec<Tiling> = halves
        .map(|rows| {
            if format.has_scales() {
                return Tiling { lanes: Lanes::Keys, vectors: 4, scalars: 4, rows };
            }
            let (vectors, scalars) = match rows {
                1 => (1, 8),
                2 => (2, 4),
                _ => (4, 4),
            };
            Tiling { lanes: Lanes::Queries, vectors, scalars, rows: rows.next_multiple_of(vectors) }
        })
        .collect();
    all.dedup();
    all
}
