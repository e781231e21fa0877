//! What the machine gives right now, just before and just after a case.

use crate::cases::{Case, Element, Limit};
use flashlet::Level;
use measure::bandwidth::{read_gbs, update_gbs};
use measure::peak;
use serde::Serialize;
use std::fs;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What is read as third-level cache: more than most second-level ones hold.
const L3_BYTES: usize = 16 * MIB;

/// What is read as memory: more than the largest third-level caches hold.
const DRAM_BYTES: usize = 512 * MIB;

/// Billions of operations and of bytes a second on one core; `None` where it was not probed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Probed {
    /// f32 multiply-adds on the level of the case.
    pub(crate) peak_gflops: Option<f64>,
    /// Products of bf16 pairs.
    pub(crate) bf16_peak_gflops: Option<f64>,
    /// Reading as many bytes as the keys and values have; reading and writing those that turn.
    pub(crate) bandwidth_gbs: Option<f64>,
    /// Reading what fits the second-level cache,
    l2_gbs: Option<f64>,
    /// the third-level cache,
    l3_gbs: Option<f64>,
    /// and no cache.
    dram_gbs: Option<f64>,
}

impl Probed {
    /// The larger of each: other work on the machine only makes it look slower.
    pub(crate) fn best(self, other: Probed) -> Probed {
        // `None` is less than any number.
        let best = |a: Option<f64>, b: Option<f64>| if a > b { a } else { b };
        Probed {
            peak_gflops: best(self.peak_gflops, other.peak_gflops),
            bf16_peak_gflops: best(self.bf16_peak_gflops, other.bf16_peak_gflops),
            bandwidth_gbs: best(self.bandwidth_gbs, other.bandwidth_gbs),
            l2_gbs: best(self.l2_gbs, other.l2_gbs),
            l3_gbs: best(self.l3_gbs, other.l3_gbs),
            dram_gbs: best(self.dram_gbs, other.dram_gbs),
        }
    }
}

/// Probes, and the memory they read: a plain vector, as the tensors are, made when first wanted.
#[derive(Default)]
pub(crate) struct Probes {
    memory: Vec<f32>,
}

impl Probes {
    /// Probes what limits the case.
    pub(crate) fn probe(&mut self, case: &Case, level: Level) -> Probed {
        let mut probed = Probed { peak_gflops: peak::gflops(level), ..Probed::default() };
        if case.element == Element::Bf16 {
            probed.bf16_peak_gflops = peak::bf16_gflops();
        }
        if case.limit != Limit::Peak {
            probed.l2_gbs = Some(self.read(l2_bytes().unwrap_or(2 * MIB) / 2));
            probed.l3_gbs = Some(self.read(L3_BYTES));
            probed.dram_gbs = Some(self.read(DRAM_BYTES));
            probed.bandwidth_gbs = Some(self.read(case.kv_bytes()));
        }
        probed
    }

    /// Probes what limits work that reads and writes so many bytes where they lie.
    pub(crate) fn update(&mut self, bytes: usize) -> Probed {
        let floats = bytes / size_of::<f32>();
        if self.memory.len() < floats {
            self.memory.resize(floats, 1.0);
        }
        Probed { bandwidth_gbs: Some(update_gbs(&mut self.memory[..floats])), ..Probed::default() }
    }

    /// Probes what limits multiply-adds.
    pub(crate) fn peak(&self, level: Level) -> Probed {
        Probed { peak_gflops: peak::gflops(level), ..Probed::default() }
    }

    fn read(&mut self, bytes: usize) -> f64 {
        let (floats, all) = (bytes / size_of::<f32>(), DRAM_BYTES / size_of::<f32>());
        if self.memory.len() < floats.max(all) {
            // Not zeros: their pages would all be the same one.
            self.memory.resize(floats.max(all), 1.0);
        }
        read_gbs(&self.memory[..floats])
    }
}

/// Bytes of the second-level cache, where Linux tells.
fn l2_bytes() -> Option<usize> {
    let size = fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").ok()?;
    size.trim().strip_suffix('K')?.parse::<usize>().ok().map(|kib| kib * KIB)
}

/// The most memory that this process has taken, where Linux tells.
pub(crate) fn peak_rss_bytes() -> Option<usize> {
    field("/proc/self/status", "VmHWM:")
}

/// Whether any memory of this process lies in huge pages, where Linux tells. Reading what lies in
/// small ones is slower.
pub(crate) fn huge_pages() -> Option<bool> {
    field("/proc/self/smaps_rollup", "AnonHugePages:").map(|bytes| bytes > 0)
}

/// Bytes that a line `NAME   123 kB` of a file says.
fn field(path: &str, name: &str) -> Option<usize> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kib| kib * KIB)
}
