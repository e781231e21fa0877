//! What was found, as JSON lines and as a table.

use crate::cases::{Case, Limit, Products};
use crate::linear::Worked;
use crate::probes::{Probed, huge_pages};
use crate::turns::Turned;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use flashlet::Level;
use flashlet::entry::Entry;
use measure::time::Time;
use serde::Serialize;

/// What was seen of a case.
pub(crate) struct Measured {
    pub(crate) time: Time,
    pub(crate) probed: Probed,
    pub(crate) scratch_bytes: usize,
    pub(crate) peak_rss_bytes: Option<usize>,
    pub(crate) huge_pages: Option<bool>,
    pub(crate) err_over_bound: f64,
}

/// A case on a level. `None` is what does not apply, or was not probed.
#[derive(Serialize)]
pub(crate) struct Row {
    case: String,
    level: &'static str,
    entry: &'static str,
    /// Median time of a call,
    ms: f64,
    /// the least,
    ms_best: f64,
    /// and of how many.
    samples: usize,
    /// Billions of useful operations a second, by the median.
    gflops: f64,
    /// Billions of bytes a second, by the median, keys and values being read once.
    gbs: Option<f64>,
    /// The larger of what was probed before and after.
    #[serde(flatten)]
    probed: Probed,
    /// `gflops` of the multiply-add peak.
    share_of_peak: Option<f64>,
    /// `gflops` of the peak in products of bf16.
    share_of_bf16_peak: Option<f64>,
    /// `gbs` of the bandwidth.
    share_of_bandwidth: Option<f64>,
    /// The time that operations at the peak take, or bytes at the bandwidth, whichever is longer, of
    /// the median.
    share_of_roofline: Option<f64>,
    /// Whether any memory of the process lies in huge pages.
    huge_pages: Option<bool>,
    scratch_bytes: usize,
    /// The most memory that the process has taken, tensors included.
    peak_rss_bytes: Option<usize>,
    /// Largest share of its certified bound that an error takes, of the rows judged.
    err_over_bound: f64,
}

impl Row {
    pub(crate) fn new(case: &Case, entry: &Entry, measured: Measured) -> Self {
        let Measured { time, probed, .. } = measured;
        let (billion, seconds) = (1e9, time.median);
        let gflops = case.flops() / seconds / billion;
        let gbs = case.kv_bytes() as f64 / seconds / billion;
        let peak = probed.peak_gflops.map(|peak| gflops / peak);
        let bandwidth = probed.bandwidth_gbs.map(|bandwidth| gbs / bandwidth);
        let bf16_peak = probed.bf16_peak_gflops.map(|peak| gflops / peak);
        let is = |limit| case.limit == limit;
        Row {
            case: case.name.clone(),
            level: entry.level().name(),
            entry: entry.name(),
            ms: time.median * 1e3,
            ms_best: time.best * 1e3,
            samples: time.samples,
            gflops,
            gbs: (!is(Limit::Peak)).then_some(gbs),
            probed,
            share_of_peak: peak.filter(|_| is(Limit::Peak)),
            share_of_bf16_peak: bf16_peak.filter(|_| case.products == Products::Bf16),
            share_of_bandwidth: bandwidth.filter(|_| is(Limit::Bandwidth)),
            // The longer time is the larger share of the median.
            share_of_roofline: peak
                .zip(bandwidth)
                .map(|(peak, bandwidth)| peak.max(bandwidth))
                .filter(|_| is(Limit::Roofline)),
            huge_pages: measured.huge_pages,
            scratch_bytes: measured.scratch_bytes,
            peak_rss_bytes: measured.peak_rss_bytes,
            err_over_bound: measured.err_over_bound,
        }
    }

    /// Rotary positions: bytes read and written.
    pub(crate) fn of_turning(name: &str, level: Level, turned: Turned) -> Self {
        let Turned { time, probed, bytes, flops, angle_bytes, err_over_bound } = turned;
        let (billion, seconds) = (1e9, time.median);
        let gbs = bytes as f64 / seconds / billion;
        Row {
            case: name.to_owned(),
            level: level.name(),
            entry: "rope",
            ms: seconds * 1e3,
            ms_best: time.best * 1e3,
            samples: time.samples,
            gflops: flops / seconds / billion,
            gbs: Some(gbs),
            probed,
            share_of_peak: None,
            share_of_bf16_peak: None,
            share_of_bandwidth: probed.bandwidth_gbs.map(|bandwidth| gbs / bandwidth),
            share_of_roofline: None,
            huge_pages: huge_pages(),
            scratch_bytes: angle_bytes,
            peak_rss_bytes: None,
            err_over_bound,
        }
    }

    /// Linear attention: operations, or bytes of states.
    pub(crate) fn of_linear(name: &str, level: Level, worked: Worked) -> Self {
        let Worked { time, probed, entry, flops, slots, bytes, scratch_bytes, err_over_bound } =
            worked;
        let of_slots = probed.peak_gflops.map(|peak| slots / time.median / 1e9 / peak);
        let (billion, seconds) = (1e9, time.median);
        let (gflops, gbs) =
            (flops / seconds / billion, bytes.map(|bytes| bytes as f64 / seconds / billion));
        Row {
            case: name.to_owned(),
            level: level.name(),
            entry,
            ms: seconds * 1e3,
            ms_best: time.best * 1e3,
            samples: time.samples,
            gflops,
            gbs,
            probed,
            share_of_peak: probed.peak_gflops.map(|peak| gflops / peak),
            share_of_bf16_peak: None,
            share_of_bandwidth: gbs.zip(probed.bandwidth_gbs).map(|(gbs, of)| gbs / of),
            share_of_roofline: gbs
                .zip(probed.bandwidth_gbs)
                .zip(of_slots)
                .map(|((gbs, of), slots)| slots.max(gbs / of)),
            huge_pages: huge_pages(),
            scratch_bytes,
            peak_rss_bytes: None,
            err_over_bound,
        }
    }

    /// The largest share of its bound that an error takes.
    pub(crate) fn err_over_bound(&self) -> f64 {
        self.err_over_bound
    }

    fn cells(&self) -> [String; 10] {
        let percent = |share: Option<f64>| {
            share.map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share))
        };
        [
            self.case.clone(),
            self.level.to_owned(),
            format!("{:.3}", self.ms),
            self.samples.to_string(),
            format!("{:.1}", self.gflops),
            percent(self.share_of_peak),
            self.gbs.map_or_else(String::new, |gbs| format!("{gbs:.1}")),
            percent(self.share_of_bandwidth),
            percent(self.share_of_roofline),
            format!("{:.3}", self.err_over_bound),
        ]
    }
}

/// All rows, for people.
pub(crate) fn table(rows: &[Row]) -> String {
    let header = [
        "case",
        "level",
        "ms",
        "samples",
        "GFLOP/s",
        "of peak",
        "GB/s",
        "of bandwidth",
        "of roofline",
        "err/bound",
    ];
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─')));
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows.iter().map(Row::cells));
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt() + "\n"
}
