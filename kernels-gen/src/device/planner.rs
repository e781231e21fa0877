//! The most accurate format that fits, and the fastest tiles for it.

use super::memory::{Memory, is_straight, reads_in_place};
use super::nearest::nearest;
use super::refusal::Refusal;
use super::tiles::{DeviceTiles, LEVEL};
use super::{Budget, Core};
use crate::package::entries;
use crate::plan::Op;
use crate::spec::{CacheFormat, Spec};
use crate::tiles::{Tiles, rule};

/// A model on a device.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The processor.
    pub core: Core,
    /// What there is to write to.
    pub sram: usize,
    /// How keys and values are kept.
    pub format: CacheFormat,
    /// Tokens that there is room for.
    pub tokens: usize,
    /// How they are read.
    pub tiles: DeviceTiles,
    /// Whether they are read where they lie.
    pub reads_in_place: bool,
    /// Whether the newest tokens take the place of the oldest.
    pub is_ring: bool,
    /// What all that takes.
    pub memory: Memory,
}

/// The plan of a preset: of the formats that fit the most accurate, of the tiles that fit with it the fastest.
///
/// # Errors
/// [`Refusal`] if nothing fits.
pub fn plan(spec: &Spec, budget: Budget) -> Result<Plan, Refusal> {
    let fitting = |format| of_format(spec, format, budget).find(|plan| plan.fits());
    match formats(spec).into_iter().find_map(fitting) {
        Some(plan) => Ok(plan),
        None => Err(Refusal::sram(spec, budget, &least(spec, budget), nearest(spec, budget))),
    }
}

/// The plan that takes the least, whether or not it fits.
#[must_use]
pub fn least(spec: &Spec, budget: Budget) -> Plan {
    let all = formats(spec).into_iter().flat_map(|format| of_format(spec, format, budget));
    all.min_by_key(|plan| plan.memory.total()).expect("there is a format, and there are tiles")
}

/// What the preset says, or all that its heads may have.
pub(super) fn formats(spec: &Spec) -> Vec<CacheFormat> {
    spec.cache.format.map_or_else(|| CacheFormat::by_accuracy(spec.heads), |format| vec![format])
}

/// Every plan with a format, the fastest first.
fn of_format(spec: &Spec, format: CacheFormat, budget: Budget) -> impl Iterator<Item = Plan> {
    let needed = spec.mask.reach(spec.max_q).map_or(spec.max_kv, |reach| reach.min(spec.max_kv));
    let tokens = spec.cache.tokens.unwrap_or(needed);
    DeviceTiles::all(spec, format).into_iter().map(move |tiles| Plan {
        core: budget.core,
        sram: budget.sram,
        format,
        tokens,
        tiles,
        reads_in_place: reads_in_place(spec, format, tokens),
        is_ring: !is_straight(spec, tokens),
        memory: Memory::new(spec, (format, tokens), &tiles, budget.core),
    })
}

impl Plan {
    /// Whether it fits.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.memory.total() <= self.sram
    }

    /// The preset as a device has it: one level, and the plan's tiles.
    #[must_use]
    pub fn spec(&self, spec: &Spec) -> Spec {
        let mut spec = spec.clone();
        (spec.levels, spec.tile_k) = (vec![LEVEL], self.tiles.tile_k);
        spec
    }

    /// The names of the entries that the device calls: of many queries, if calls may have more than one, and of one.
    #[must_use]
    pub fn entry_names(&self, spec: &Spec) -> Vec<String> {
        let of_device = self.spec(spec);
        let [prefill, decode] = entries(&of_device, LEVEL, &self.entry_tiles(spec));
        let prefill = self.tiles.prefill.map(|_| prefill.name());
        prefill.into_iter().chain([decode.name()]).collect()
    }

    /// The tiles that the crate's entries have.
    #[must_use]
    pub fn entry_tiles(&self, spec: &Spec) -> Tiles {
        let dims = [spec.heads.dim, spec.heads.v_dim];
        let attend = self.tiles.prefill.unwrap_or_else(|| rule(LEVEL, Op::Attend, dims));
        Tiles::default()
            .with((LEVEL, Op::Attend, dims), attend)
            .with((LEVEL, Op::Decode, dims), self.tiles.decode)
    }
}
