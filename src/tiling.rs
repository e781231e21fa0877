//! How one key/value head's work is cut: register tiles, query tiles, key tiles, and the scratch
//! that follows from them.

use crate::dispatch::Entry;
use crate::relative;
use crate::shape::Heads;
use crate::simd::{DEEP, Level};

/// Keys in a tile, on every level. Bits depend on it: a tile's sums start at zero and join the
/// running ones at its end. 96 is a multiple of every register tile's height (2, 3, 4, 6, 8) and of
/// every vector.
pub const TILE_K: usize = 96;

/// Scratch stays under this many bytes for heads of up to 256 channels, and at any length.
const SCRATCH_BYTES: usize = 256 * 1024;

/// What lies in the lanes of a vector. It does not enter the bits of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lanes {
    /// Rows of queries: prefill.
    Queries,
    /// Keys, then channels of their values: few queries, as in a decoder's step.
    Keys,
}

/// The tiles of one entry. A query tile is `rows` query rows of a key/value head (its group's heads,
/// query by query), so that a key tile fetched once serves them all. None of this enters the bits of a
/// result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// What lies in the lanes.
    pub lanes: Lanes,
    /// Vectors of a register tile. With queries in lanes, `vectors * lanes` rows are a block: at most
    /// 64, and a divisor of `rows`. With keys in lanes, they and `scalars` are those of the
    /// products that all entries of a level share.
    pub vectors: usize,
    /// Numbers that a register tile multiplies them by, broadcast one at a time: keys, or channels of
    /// a value; rows of queries where keys lie in the lanes.
    pub scalars: usize,
    /// Rows of a query tile.
    pub rows: usize,
}

/// Whether scratch has room for a copy of a key tile, which keys and values need that are not f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// For f32 alone, read where it lies.
    InPlace,
    /// For any element.
    Staged,
}

/// The rule: what the generic entries have, and generated ones for which the generator knows nothing
/// better.
impl Tiling {
    /// For many queries: as many accumulators as the level's registers hold without a spill.
    #[must_use]
    pub const fn attend(level: Level, head_dim: usize, v_dim: usize) -> Tiling {
        let (vectors, scalars) = match (level.registers(), level.is_fused()) {
            (32, _) => (4, 4),
            (_, true) => (2, 6),
            // A separate product needs one more register.
            (_, false) => (4, 2),
        };
        // A core without vectors wants little memory more than reuse.
        let rows = match level.lanes() {
            1 => 16,
            4 => 64,
            _ => 128,
        };
        let mut tiling = Tiling { lanes: Lanes::Queries, vectors, scalars, rows };
        let block = vectors * level.lanes();
        while tiling.rows > block && !tiling.is_small(level, head_dim, v_dim) {
            tiling.rows /= 2;
        }
        tiling
    }

    /// For few queries: one register of rows on a core without vectors, otherwise keys in the lanes.
    #[must_use]
    pub const fn decode(level: Level) -> Tiling {
        if level.lanes() == 1 {
            return Tiling { lanes: Lanes::Queries, vectors: 1, scalars: 8, rows: 4 };
        }
        // What `decode/products.rs` does with four rows.
        let vectors = if level.registers() < 32 { 2 } else { 4 };
        Tiling { lanes: Lanes::Keys, vectors, scalars: 4, rows: 32 }
    }

    /// Whether [`Tiling::decode`] is the faster one for so many rows. Its time grows with each of them, that
    /// of [`Tiling::attend`] with each 16, as far as they are live together; a row costs it a third more.
    #[must_use]
    pub const fn is_few(level: Level, rows: usize) -> bool {
        match level.lanes() {
            1 => rows <= 2,
            lanes => rows <= 2 * lanes && rows.div_ceil(3) * 4 <= rows.next_multiple_of(16),
        }
    }
}

impl Tiling {
    /// Whether there is a tile at all, and its rows have a bit each in a `u64`.
    #[must_use]
    pub const fn is_sound(self, level: Level) -> bool {
        let Tiling { lanes, vectors, scalars, rows } = self;
        let block = match lanes {
            Lanes::Queries => vectors.saturating_mul(level.lanes()),
            Lanes::Keys => rows,
        };
        vectors > 0 && scalars > 0 && rows > 0 && block > 0 && block <= 64 && rows % block == 0
    }

    /// Registers in use in the inner loops: accumulators, vectors, one broadcast element, and a
    /// product where multiply-add does not fuse.
    #[must_use]
    pub const fn registers(self, level: Level) -> usize {
        self.vectors * self.scalars + self.vectors + if level.is_fused() { 1 } else { 2 }
    }

    /// Floats of scratch that are enough for tensors of any element.
    #[must_use]
    pub const fn scratch_len(
        self,
        level: Level,
        head_dim: usize,
        v_dim: usize,
        tile_k: usize,
    ) -> usize {
        self.len(level, head_dim, v_dim, tile_k, Room::Staged)
    }

    /// Floats of scratch for keys and values in f32, read where they lie.
    #[must_use]
    pub const fn scratch_len_in_place(
        self,
        level: Level,
        head_dim: usize,
        v_dim: usize,
        tile_k: usize,
    ) -> usize {
        self.len(level, head_dim, v_dim, tile_k, Room::InPlace)
    }

    /// Saturating: for widths that a plan would refuse the answer is merely too large.
    pub(crate) const fn len(
        self,
        level: Level,
        head_dim: usize,
        v_dim: usize,
        tile_k: usize,
        room: Room,
    ) -> usize {
        let Tiling { lanes, rows, .. } = self;
        // Never 0; saying so here removes the division checks.
        let (vectors, width) = (max(self.vectors, 1), max(level.lanes(), 1));
        let block = max(vectors.saturating_mul(width), 1);
        // Rows of keys in whole register tiles, and of values in whole vectors.
        let keys = tile_k.next_multiple_of(match lanes {
            Lanes::Queries => 1,
            Lanes::Keys => width,
        });
        let values = v_dim.saturating_add(width - 1) / width * width;
        let key_tile = tile_k.saturating_mul(head_dim);
        let value_tile = tile_k.saturating_mul(values);
        let floats = match lanes {
            Lanes::Queries => {
                let o = max(v_dim, head_dim.div_ceil(vectors));
                let columns = head_dim.saturating_add(o).saturating_add(2);
                let states = columns.saturating_mul(rows);
                let stage = match room {
                    Room::InPlace => 0,
                    // One block is done with its keys when it comes to its values.
                    Room::Staged if rows > block => key_tile.saturating_add(value_tile),
                    Room::Staged => max(key_tile, value_tile),
                };
                // Scratch is cut to whole blocks: what is left of one behind the last is lost.
                let stage = stage.saturating_add(block - 1) / block * block;
                states.saturating_add(tile_k.saturating_mul(block)).saturating_add(stage)
            }
            Lanes::Keys => {
                // The running sums of a row and those of a tile, its weights, its state.
                let row = values.saturating_mul(2).saturating_add(keys).saturating_add(3 * width);
                let k_dim = head_dim.saturating_add(DEEP - 1) / DEEP * DEEP;
                let q = k_dim.saturating_mul(rows).saturating_add(width - 1);
                // Keys and values are read where they lie, but for what is not whole vectors, and for those of a cache: as many
                // at a time as there are lanes.
                let stage = max(max(k_dim, values), tile_k).saturating_mul(width);
                q.saturating_add(row.saturating_mul(rows)).saturating_add(stage)
            }
        };
        // The slack that aligning a slice of floats may take.
        floats.saturating_add(width - 1)
    }

    const fn is_small(self, level: Level, head_dim: usize, v_dim: usize) -> bool {
        let floats = self.scratch_len(level, head_dim, v_dim, TILE_K);
        floats.saturating_mul(size_of::<f32>()) <= SCRATCH_BYTES
    }
}

pub(crate) const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

impl Heads {
    /// Floats of scratch that are enough for these heads on `level`, whatever the lengths and
    /// whatever the tensors are stored as: for arrays whose size must be known when compiling. What is relative wants more:
    /// [`Heads::relative_scratch_len`].
    #[must_use]
    pub const fn scratch_len(self, level: Level) -> usize {
        Entry::most_scratch(level, self, Room::Staged)
    }

    /// Floats of scratch that a plan with relative keys or values wants beside those.
    #[must_use]
    pub const fn relative_scratch_len(self, level: Level) -> usize {
        relative::room_len(level, TILE_K, self)
    }

    /// As [`Heads::scratch_len`], where keys and values are f32.
    #[must_use]
    pub const fn scratch_len_in_place(self, level: Level) -> usize {
        Entry::most_scratch(level, self, Room::InPlace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_takes_the_most_rows_whose_scratch_is_small_but_a_block_at_least() {
        for level in Level::ALL {
            for dim in [1, 16, 64, 128, 192, 256, 576] {
                let tiling = Tiling::attend(level, dim, dim);
                let block = tiling.vectors * level.lanes();
                assert!(tiling.is_sound(level) && tiling.rows >= block, "{level} {dim}");
                let most = Tiling::attend(level, 1, 1).rows;
                let twice = Tiling { rows: 2 * tiling.rows, ..tiling };
                let is_least = tiling.rows == block;
                assert!(is_least || tiling.is_small(level, dim, dim), "{level} {dim}");
                assert!(tiling.rows == most || !twice.is_small(level, dim, dim), "{level} {dim}");
            }
        }
    }

    /// Accumulators, vectors and a broadcast number; the product, where it is not fused.
    #[test]
    fn registers_are_counted() {
        let tiling =
            |vectors, scalars| Tiling { lanes: Lanes::Queries, vectors, scalars, rows: 64 };
        assert_eq!(tiling(4, 4).registers(Level::Avx512), 21);
        assert_eq!(tiling(2, 6).registers(Level::Avx2), 15);
        assert_eq!(tiling(4, 2).registers(Level::Portable), 14);
    }

    #[test]
    fn tiles_without_rows_or_registers_or_a_bit_for_each_row_are_not_sound() {
        let level = Level::Portable;
        let good = Tiling { lanes: Lanes::Queries, vectors: 4, scalars: 4, rows: 64 };
        assert!(good.is_sound(level) && Tiling { rows: 16, ..good }.is_sound(level));
        let wrong = [
            Tiling { vectors: 0, ..good },
            Tiling { scalars: 0, ..good },
            Tiling { rows: 0, ..good },
            Tiling { rows: 40, ..good },
            Tiling { vectors: 17, rows: 68, ..good },
            Tiling { lanes: Lanes::Keys, rows: 65, ..good },
            Tiling { lanes: Lanes::Keys, rows: 0, ..good },
        ];
        assert!(wrong.iter().all(|tiling| !tiling.is_sound(level)));
        let most = Tiling { lanes: Lanes::Keys, rows: 64, ..good };
        assert!(most.is_sound(level) && Tiling { vectors: 16, ..good }.is_sound(level));
    }
}
