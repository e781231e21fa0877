//! How one key/value head's work is cut: register tiles, query tiles, key tiles, and the scratch
//! that follows from them.

use crate::simd::Level;

/// Keys in a tile, on every level. Bits depend on it: a tile's sums start at zero and join the
/// running ones at its end. 96 is a multiple of every register tile's height (2, 4, 6, 8).
pub const TILE_K: usize = 96;

/// Scratch stays under this many bytes for any shape.
const SCRATCH_BYTES: usize = 256 * 1024;

/// The tiles of one entry. Query rows of a key/value head (its group's heads, query by query) are
/// cut to blocks of `vectors` registers; a tile is `blocks` of them, so that a key tile fetched once
/// serves them all. None of this enters the bits of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Registers of queries in a block: a block has `vectors * lanes` rows, at most 64.
    pub vectors: usize,
    /// Keys (and channels of a value) that a block is multiplied by at once.
    pub keys: usize,
    /// Blocks in a query tile.
    pub blocks: usize,
}

impl Tiling {
    /// For many queries: as many accumulators as the level's registers hold without a spill.
    #[must_use]
    pub const fn attend(level: Level, head_dim: usize, v_dim: usize) -> Tiling {
        let (vectors, keys) = match (level.registers(), level.is_fused()) {
            (32, _) => (4, 4),
            (_, true) => (2, 6),
            // A separate product needs one more register.
            (_, false) => (4, 2),
        };
        // 64 rows a tile; a core without vectors wants little memory more than reuse.
        let rows = if level.lanes() == 1 { 16 } else { 64 };
        let mut tiling = Tiling { vectors, keys, blocks: rows / (vectors * level.lanes()) };
        while tiling.blocks > 1 && tiling.scratch_bytes(level, head_dim, v_dim) > SCRATCH_BYTES / 2
        {
            tiling.blocks /= 2;
        }
        if tiling.scratch_bytes(level, head_dim, v_dim) > SCRATCH_BYTES {
            tiling = Tiling::decode(level);
        }
        tiling
    }

    /// For few queries: one register of rows, so that little of it is idle.
    #[must_use]
    pub const fn decode(level: Level) -> Tiling {
        Tiling { vectors: 1, keys: 8, blocks: if level.lanes() == 1 { 4 } else { 2 } }
    }

    /// Whether there is a tile at all, and a block's rows have a bit each in a `u64`.
    pub(crate) const fn is_sound(self, level: Level) -> bool {
        let rows = self.vectors.saturating_mul(level.lanes());
        self.vectors > 0 && self.keys > 0 && self.blocks > 0 && rows <= 64
    }

    /// Rows of a query tile.
    #[must_use]
    pub const fn tile_q(self, level: Level) -> usize {
        self.blocks.saturating_mul(self.vectors).saturating_mul(level.lanes())
    }

    /// Registers in use in the inner loops: accumulators, query vectors, one broadcast element, and
    /// a product where multiply-add does not fuse.
    #[must_use]
    pub const fn registers(self, level: Level) -> usize {
        self.vectors * self.keys + self.vectors + if level.is_fused() { 1 } else { 2 }
    }

    /// Floats of scratch: queries, outputs, `m` and `l` of each block, the scores of one key tile,
    /// and the slack that aligning a slice of floats may take.
    #[must_use]
    pub const fn scratch_len(
        self,
        level: Level,
        head_dim: usize,
        v_dim: usize,
        tile_k: usize,
    ) -> usize {
        // Saturating: for widths that a plan would refuse the answer is merely too large.
        let block = head_dim.saturating_add(v_dim).saturating_add(2);
        let columns = self.blocks.saturating_mul(block).saturating_add(tile_k);
        let floats = columns.saturating_mul(self.vectors).saturating_mul(level.lanes());
        floats.saturating_add(level.lanes() - 1)
    }

    const fn scratch_bytes(self, level: Level, head_dim: usize, v_dim: usize) -> usize {
        self.scratch_len(level, head_dim, v_dim, TILE_K).saturating_mul(size_of::<f32>())
    }
}
