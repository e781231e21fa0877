//! Rotary positions: queries and keys turned in place, held against reading and writing as many bytes.

use crate::call::numbers;
use crate::cases::Element;
use crate::probes::{Probed, Probes};
use crate::report::Row;
use crate::run::Effort;
use crate::tensors::Number;
use flashlet::{Error, Level, Pairing, Rope, Theta, Turns, ViewMut};
use half::{bf16, f16};
use measure::time::{Time, time_at_least};
use oracle::{Format, rope as exact};

/// Heads of queries and of keys, and their channels.
const HEADS: [usize; 2] = [32, 8];
const DIM: usize = 128;
const BASE: f64 = 500_000.0;

/// Tokens that no cache holds, and tokens that half a mebibyte holds.
const MANY: usize = 8192;
const FEW: usize = 24;

/// One turning.
pub(crate) struct Turning {
    pub(crate) name: String,
    element: Element,
    /// Whether cosines and sines lie in a table.
    has_table: bool,
    tokens: usize,
}

/// Where angles come from, for each element and size.
pub(crate) fn all() -> Vec<Turning> {
    let mut all = Vec::new();
    for (tokens, size) in [(MANY, ""), (FEW, "_l2")] {
        for (stored, element) in
            [("f32", Element::F32), ("f16", Element::F16), ("bf16", Element::Bf16)]
        {
            for (source, has_table) in [("table", true), ("phase", false)] {
                let name = format!("rope_{stored}_hd{DIM}_{source}{size}");
                all.push(Turning { name, element, has_table, tokens });
            }
        }
    }
    all
}

/// What was seen of a turning.
pub(crate) struct Turned {
    pub(crate) time: Time,
    pub(crate) probed: Probed,
    /// Bytes read and written.
    pub(crate) bytes: usize,
    /// Products and sums.
    pub(crate) flops: f64,
    /// Bytes of the table, or of the frequencies.
    pub(crate) angle_bytes: usize,
    pub(crate) err_over_bound: f64,
}

impl Turning {
    /// Times it on a level, and judges what it wrote.
    pub(crate) fn run(
        &self,
        level: Level,
        effort: Effort,
        probes: &mut Probes,
    ) -> Result<Row, Error> {
        match self.element {
            Element::F32 => self.run_stored::<f32>(level, effort, probes),
            Element::F16 => self.run_stored::<f16>(level, effort, probes),
            Element::Bf16 => self.run_stored::<bf16>(level, effort, probes),
        }
    }

    fn run_stored<T: Number>(
        &self,
        level: Level,
        effort: Effort,
        probes: &mut Probes,
    ) -> Result<Row, Error> {
        let turns: Turns<{ DIM / 2 }> = Theta::new(BASE).turns()?;
        let computed = Rope::exact(&turns, Pairing::Halves)?.level(level)?;
        let mut table = vec![0.0; if self.has_table { self.tokens * DIM } else { 0 }];
        computed.fill_table(0, &mut table)?;
        let rope = if self.has_table { computed.table(0, &table)? } else { computed };

        let dims = HEADS.map(|heads| [1, self.tokens, heads, DIM]);
        let fresh = |dims, seed| numbers(dims, seed).map(T::round).collect::<Vec<T>>();
        let (before_q, before_k) = (fresh(dims[0], 1), fresh(dims[1], 2));
        let (mut q, mut k) = (before_q.clone(), before_k.clone());
        let mut views = (ViewMut::packed(&mut q, dims[0])?, ViewMut::packed(&mut k, dims[1])?);
        rope.rotate(0, &mut [&mut views.0, &mut views.1])?;
        let err_over_bound = judge(&before_q, &q, HEADS[0], self.element.format()).max(judge(
            &before_k,
            &k,
            HEADS[1],
            self.element.format(),
        ));

        let bytes = 2 * (size_of_val(&q[..]) + size_of_val(&k[..]));
        let mut views = (ViewMut::packed(&mut q, dims[0])?, ViewMut::packed(&mut k, dims[1])?);
        let before = probes.update(bytes / 2);
        let time = time_at_least(effort.fewest, effort.budget, || {
            let both = &mut [&mut views.0 as &mut dyn flashlet::Rotated, &mut views.1];
            rope.rotate(0, both).expect("turned before");
        });
        let probed = before.best(probes.update(bytes / 2));
        let angle_bytes = match rope.angles() {
            flashlet::Angles::Table { bytes, .. } | flashlet::Angles::Computed { bytes } => bytes,
            _ => 0,
        };
        // Two products and two sums a pair and output.
        let flops = (self.tokens * (HEADS[0] + HEADS[1]) * DIM * 3) as f64;
        let turned = Turned { time, probed, bytes, flops, angle_bytes, err_over_bound };
        Ok(Row::of_turning(&self.name, level, turned))
    }
}

/// The largest share of its bound that an error of some rows takes; `f64::MAX` if one exceeds it without a bound.
fn judge<T: Number>(before: &[T], after: &[T], heads: usize, format: Format) -> f64 {
    let rope = exact::Rope::new(exact::Pairing::Halves, BASE, DIM, &exact::Scaling::None);
    let rows = before.chunks(DIM).zip(after.chunks(DIM)).enumerate();
    let mut worst = 0.0_f64;
    for (row, (before, after)) in rows.step_by(251) {
        let position = (row / heads) as i64;
        let before: Vec<f64> = before.iter().map(|x| f64::from(x.widen())).collect();
        let exact = rope.rotate(&before, |_| position);
        let bound = rope.bound(&before, |_| position, exact::TABLE_ERROR, format);
        for ((after, exact), bound) in after.iter().zip(exact).zip(bound) {
            let share = (f64::from(after.widen()) - exact).abs() / bound;
            worst = worst.max(if share.is_finite() { share } else { f64::MAX });
        }
    }
    worst
}
