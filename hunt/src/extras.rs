//! What an attention may have beside a mask: a pattern, a modifier of its scores, sinks.

use arbitrary::{Arbitrary, Result, Unstructured};
use flashlet::math::TANH_ULPS;
use flashlet::{
    Alibi, Attention, BlockSparse, Chunks, Coverage, Dilation, Error, Globals, Mask, Pattern,
    Place, Prefix, Shape, Softcap, Window,
};
use oracle::Modified;
use std::ops::Range;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Joined from left to right, the first one's `or` unused.
    terms: Vec<(bool, Term)>,
    globals: Vec<u32>,
    /// Queries and keys of a block, and whether a block is seen, row by row.
    block: [usize; 2],
    rows: Vec<u32>,
    columns: Vec<u32>,
    cap: Option<f64>,
    slopes: Option<Vec<f32>>,
    pub(crate) sinks: Vec<f32>,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Term {
    Prefix(u8),
    Globals,
    Chunks(u8),
    Dilation(u8),
    Window(u8, u8),
    Blocks,
}

/// A rounding.
const U: f64 = 1.0 / 16_777_216.0;

impl Extras {
    pub(crate) fn decode(u: &mut Unstructured<'_>, shape: Shape) -> Result<Self> {
        let count = u.int_in_range(0..=3)?;
        let terms = (0..count).map(|_| u.arbitrary()).collect::<Result<_>>()?;
        let mut globals: Vec<u32> = u.arbitrary::<[u8; 4]>()?.map(u32::from).to_vec();
        globals.sort_unstable();
        globals.dedup();
        let block = [u.int_in_range(1..=40)?, u.int_in_range(1..=100)?];
        let (mut rows, mut columns) = (vec![0], Vec::new());
        for _ in 0..shape.q_len.div_ceil(block[0]) {
            let bits: u32 = u.arbitrary()?;
            let blocks = shape.kv_len.div_ceil(block[1]) as u32;
            columns.extend((0..blocks).filter(|column| bits >> (column % 32) & 1 == 1));
            rows.push(columns.len() as u32);
        }
        let cap = *u.choose(&[None, Some(0.5), Some(30.0)])?;
        let slope = |heads: usize| {
            let mut slopes = vec![0.0; heads];
            Alibi::slopes(&mut slopes);
            slopes
        };
        let slopes = if u.arbitrary()? { Some(slope(shape.heads.q)) } else { None };
        let mut sinks = Vec::new();
        if u.arbitrary()? {
            let of_special = [f32::NEG_INFINITY, 0.0, 80.0, -80.0];
            for _ in 0..shape.heads.q {
                let fraction = f32::from(u.arbitrary::<i8>()?) / 16.0;
                sinks.push(if u.ratio(1, 8)? { *u.choose(&of_special)? } else { fraction });
            }
        }
        Ok(Extras { terms, globals, block, rows, columns, cap, slopes, sinks })
    }

    /// The pattern, if there is one.
    pub(crate) fn pattern(&self) -> Option<Boxed<'_>> {
        let mut terms = self.terms.iter().map(|(or, term)| (*or, self.leaf(*term)));
        let (_, first) = terms.next()?;
        Some(terms.fold(first, |all, (or, term)| match or {
            true => Boxed(Box::new(all.or(term))),
            false => Boxed(Box::new(all.and(term))),
        }))
    }

    fn leaf(&self, term: Term) -> Boxed<'_> {
        let positive = |x: u8| usize::from(x).max(1);
        match term {
            Term::Prefix(n) => Boxed(Box::new(Prefix(n.into()))),
            Term::Globals => Boxed(Box::new(Globals::new(&self.globals).expect("sorted"))),
            Term::Chunks(size) => Boxed(Box::new(Chunks::new(positive(size)).expect("not 0"))),
            Term::Dilation(step) => Boxed(Box::new(Dilation::new(positive(step)).expect("not 0"))),
            Term::Window(left, right) => {
                Boxed(Box::new(Mask::full() & Window::span(left.into(), right.into())))
            }
            Term::Blocks => {
                let blocks = BlockSparse::new(self.block, &self.rows, &self.columns);
                Boxed(Box::new(blocks.expect("sorted")))
            }
        }
    }

    /// The pattern by its definition: query `i` at position `p`, key `j`.
    pub(crate) fn sees(&self, i: usize, p: i64, j: usize) -> bool {
        let of = |term: Term| {
            let (distance, key) = (p - j as i64, j as i64);
            let is_global = |x: i64| self.globals.iter().any(|global| i64::from(*global) == x);
            match term {
                Term::Prefix(n) => j < n.into(),
                Term::Globals => is_global(p) || is_global(key),
                Term::Chunks(size) => {
                    let size = i64::from(size.max(1));
                    p.div_euclid(size) == key.div_euclid(size)
                }
                Term::Dilation(step) => distance % i64::from(step.max(1)) == 0,
                Term::Window(left, right) => {
                    (-i64::from(right)..=i64::from(left)).contains(&distance)
                }
                Term::Blocks => {
                    let row = i / self.block[0];
                    let range = self.rows[row] as usize..self.rows[row + 1] as usize;
                    self.columns[range].contains(&((j / self.block[1]) as u32))
                }
            }
        };
        let mut terms = self.terms.iter();
        let Some((_, first)) = terms.next() else { return true };
        terms.fold(
            of(*first),
            |all, (or, term)| if *or { all || of(*term) } else { all && of(*term) },
        )
    }

    /// Calls `run` with the plan and its modifier.
    pub(crate) fn modified<R>(&self, plan: &Attention, run: impl Fn(&Attention) -> R) -> R {
        let cap = self.cap.map(|cap| Softcap::new(cap).expect("above 0"));
        match (cap, &self.slopes) {
            (None, None) => run(plan),
            (Some(cap), None) => run(&plan.modify(&cap).expect("it fits")),
            (None, Some(slopes)) => run(&plan.modify(&Alibi::new(slopes)).expect("it fits")),
            (Some(cap), Some(slopes)) => {
                run(&plan.modify(&cap.then(Alibi::new(slopes))).expect("it fits"))
            }
        }
    }

    /// The modifier by its formula, and by how much a correct kernel may miss it.
    pub(crate) fn exact(&self, distance: i64, h: usize, score: f64) -> Modified {
        let (mut s, mut error) = (score, 0.0);
        if let Some(cap) = self.cap {
            s = cap * (s / cap).tanh();
            error = (2.0 * TANH_ULPS + 5.0) * U * s.abs();
        }
        if let Some(slopes) = &self.slopes {
            let bias = -f64::from(slopes[h]) * distance.abs() as f64;
            s += bias;
            error += 4.0 * U * bias.abs() + 2.0 * U * s.abs();
        }
        Modified { s, slope: 1.0, error: error * (1.0 + 4.0 * U) }
    }
}

/// A pattern of any kind.
pub(crate) struct Boxed<'a>(Box<dyn Pattern + 'a>);

impl Pattern for Boxed<'_> {
    fn next(&self, place: &Place, queries: &Range<usize>, key: usize) -> Option<usize> {
        self.0.next(place, queries, key)
    }
    fn coverage(&self, place: &Place, queries: &Range<usize>, keys: &Range<usize>) -> Coverage {
        self.0.coverage(place, queries, keys)
    }
    fn restrict(
        &self,
        place: &Place,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen: &mut [u64],
    ) {
        self.0.restrict(place, queries, keys, seen);
    }
    fn needs_positions(&self) -> bool {
        self.0.needs_positions()
    }
    fn differs_by_head(&self) -> bool {
        self.0.differs_by_head()
    }
    fn lead(&self) -> usize {
        self.0.lead()
    }
    fn check(&self, shape: &Shape) -> std::result::Result<(), Error> {
        self.0.check(shape)
    }
}
