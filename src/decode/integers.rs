//! The products of a key tile with few rows in integers: a sum of products of codes is exact, whatever its order, so that all levels agree.
//!
//! ```text
//! queries   q ~ dq c          c in -127..=127, dq = max |q| / 127: of a row, or of 32 channels where keys have a scale for as many
//! scores    s = sum_B (dq_B dk_B) sum_c q_c k_c
//! weights   p sv ~ dw c       c in 0..=255, dw = max (p sv) / 255 of a tile, sv being the scales of values: of a row, or of 32 channels
//! sums      o = dw sum_j c_j v_j
//! ```
//! Where scales may be negative, as in q4_0, codes of weights are in -127..=127, and dw is 1/127 of the largest magnitude.
//! The sum of weights that outputs are divided by is that of the weights before they are rounded.

use super::products::Weights;
use super::rounding::{QUAD, Rounding};
use crate::elem::{BLOCK, Coded};
use crate::moves::{get, put};
use crate::simd::{
    BlockLanes, CodedBlocks, MAX_LANES, Patch, ROUND, Rows, Scalar, Simd, Steps, StoredCodes, Walk,
};
use crate::tiling::TILE_K;
use core::ops::Range;
use half::f16;

/// Rows that are weighed at once.
pub(crate) const ROWS: usize = 4;

/// How integers are multiplied.
pub(crate) trait Integers<S: Simd>: Copy {
    /// What sums of products of codes begin with.
    fn begin(self, simd: S, start: f32) -> S::F32;
    /// Adds the products of 32 channels: a lane is a key. Meanwhile as many lines come nearer as `walk` goes over.
    fn add<F: Coded, const R: usize>(
        self,
        simd: S,
        keys: BlockLanes<'_, S, F::Block>,
        queries: Patch<'_, f32, R>,
        sums: &mut [S::F32; R],
        walk: &mut Walk,
    );
    /// Sums as f32.
    fn finish(self, simd: S, sum: S::F32) -> S::F32;
    /// `to[r][c] += sum_j codes[r][j] v[j][c]`, `v` being the codes of some blocks of 32 channels. Meanwhile as many lines may come
    /// nearer as `walk` goes over.
    fn weigh<F: Coded>(
        self,
        codes: [&[u8]; ROWS],
        values: (Rows<'_, F>, Range<usize>),
        walk: &mut Walk,
        to: [&mut [f32]; ROWS],
    );
}

/// Products in whatever vectors the compiler makes of loops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loops;

impl<S: Simd> Integers<S> for Loops {
    #[inline(always)]
    fn begin(self, simd: S, _: f32) -> S::F32 {
        simd.splat(0.0)
    }
    #[inline(always)]
    fn add<F: Coded, const R: usize>(
        self,
        simd: S,
        keys: BlockLanes<'_, S, F::Block>,
        queries: Patch<'_, f32, R>,
        sums: &mut [S::F32; R],
        _: &mut Walk,
    ) {
        let mut products = [[0.0; MAX_LANES]; R];
        let mut codes = [[0_i8; BLOCK]; R];
        for (r, codes) in codes.iter_mut().enumerate() {
            for (t, codes) in codes.as_chunks_mut::<QUAD>().0.iter_mut().enumerate() {
                *codes = queries.at(t, r).to_bits().to_le_bytes().map(|byte| byte as i8);
            }
        }
        for lane in 0..S::LANES {
            let key = F::codes(keys.at(lane)).signed();
            for (products, codes) in products.iter_mut().zip(&codes) {
                let pairs = codes.iter().zip(key);
                let sum: i32 = pairs.map(|(q, k)| i32::from(*q) * i32::from(k)).sum();
                products[lane] = sum as f32;
            }
        }
        for (sum, products) in sums.iter_mut().zip(&products) {
            *sum = simd.add(*sum, simd.load(products));
        }
    }
    #[inline(always)]
    fn finish(self, _: S, sum: S::F32) -> S::F32 {
        sum
    }
    #[inline(always)]
    fn weigh<F: Coded>(
        self,
        codes: [&[u8]; ROWS],
        (values, blocks): (Rows<'_, F>, Range<usize>),
        _: &mut Walk,
        mut to: [&mut [f32]; ROWS],
    ) {
        for (j, b) in (0..values.len()).flat_map(|j| blocks.clone().map(move |b| (j, b))) {
            let Some(block) = values.coded_few::<Scalar>(j).from(b).next() else { return };
            let v = F::codes(block.at(0)).signed();
            let first = (b - blocks.start) * BLOCK;
            for (to, codes) in to.iter_mut().zip(codes) {
                let code = weight::<F>(codes.get(j).copied().unwrap_or(0)) as f32;
                for (to, v) in to.get_mut(first..).unwrap_or(&mut []).iter_mut().zip(v) {
                    *to += code * f32::from(v);
                }
            }
        }
    }
}

/// Codes of a tile's weights in words of four, as instructions for bytes want them.
pub(crate) struct Words {
    /// Those behind the last key are 0.
    pub(crate) words: [[f32; QUADS]; ROWS],
    /// The sum of the codes of each row where values are raised; 0 where they are not.
    pub(crate) sums: [f32; ROWS],
}

/// Words of a row of codes.
pub(crate) const QUADS: usize = TILE_K / QUAD;
const _: () = assert!(TILE_K.is_multiple_of(2 * QUAD));

impl Words {
    #[inline(always)]
    pub(crate) fn of<F: Coded>(codes: [&[u8]; ROWS]) -> Self {
        let (mut words, mut sums) = ([[0.0; QUADS]; ROWS], [0.0; ROWS]);
        for ((words, sum), codes) in words.iter_mut().zip(&mut sums).zip(codes) {
            let (whole, rest) = codes.as_chunks::<QUAD>();
            for (word, codes) in words.iter_mut().zip(whole) {
                *word = f32::from_bits(u32::from_le_bytes(*codes));
            }
            let rest = rest.iter().rev().fold(0, |word, code| word << 8 | u32::from(*code));
            if let (Some(word), true) = (words.get_mut(whole.len()), rest > 0) {
                *word = f32::from_bits(rest);
            }
            if F::Codes::HALF_OFFSET != 0 {
                *sum = codes.iter().map(|code| weight::<F>(*code)).sum::<i32>() as f32;
            }
        }
        Words { words, sums }
    }
}

/// The code of a weight.
#[inline(always)]
fn weight<F: Coded>(code: u8) -> i32 {
    if F::Codes::HALF_OFFSET == 0 { i32::from(code) } else { i32::from(code as i8) }
}

/// Scores of the keys of one run: `s[r * width + j] = q[r] . k[j]`. `scales` are one a key, if blocks do not hold
/// them.
/// Meanwhile as many lines come nearer as `walk` goes over.
#[inline(always)]
pub(crate) fn scores<S: Simd, I: Integers<S>, F: Coded>(
    simd: S,
    integers: I,
    (queries, rounding): (Rows<'_>, Rounding),
    (keys, scales): (Rows<'_, F>, &[f32]),
    walk: &mut Walk,
    s: &mut [f32],
    width: usize,
) {
    let mut to = Scores { queries, rounding, keys, scales, walk, s, width };
    let whole = keys.len() - keys.len() % S::LANES;
    for first in (0..whole).step_by(S::LANES) {
        to.vector(simd, integers, first, keys.coded(first));
    }
    // Lanes behind the last key hold it again. By itself: the way to each lane costs as much as its products.
    if whole < keys.len() {
        to.vector(simd, integers, whole, keys.coded_few(whole));
    }
}

/// What [`scores`] is given.
struct Scores<'a, F> {
    queries: Rows<'a>,
    rounding: Rounding,
    keys: Rows<'a, F>,
    scales: &'a [f32],
    walk: &'a mut Walk,
    s: &'a mut [f32],
    width: usize,
}

impl<F: Coded> Scores<'_, F> {
    /// All rows and the keys of the vector that begins with key `first`.
    #[inline(always)]
    fn vector<S: Simd, I: Integers<S>>(
        &mut self,
        simd: S,
        integers: I,
        first: usize,
        keys: CodedBlocks<'_, S, F::Block>,
    ) {
        let (mut row, mut walk) = (0, *self.walk);
        while row + 8 <= self.queries.len() {
            self.rows::<S, I, 8>(simd, integers, (row, first), keys, &mut walk);
            row += 8;
        }
        while row + 4 <= self.queries.len() {
            self.rows::<S, I, 4>(simd, integers, (row, first), keys, &mut walk);
            row += 4;
        }
        while row < self.queries.len() {
            self.rows::<S, I, 1>(simd, integers, (row, first), keys, &mut walk);
            row += 1;
        }
    }

    /// `R` rows of these.
    #[inline(always)]
    fn rows<S: Simd, I: Integers<S>, const R: usize>(
        &mut self,
        simd: S,
        integers: I,
        (row, first): (usize, usize),
        keys: CodedBlocks<'_, S, F::Block>,
        walk: &mut Walk,
    ) {
        let s = self.sum::<S, I, R>(simd, integers, (row, first), keys, walk);
        if row == 0 {
            // The first rows asked for all lines.
            (*self.walk, *walk) = (*walk, self.keys.walk(0));
        }
        for (r, s) in s.into_iter().enumerate() {
            let at = (row + r) * self.width + first;
            let end = (at + self.keys.len() - first).min(at + S::LANES);
            put(simd, s, self.s.get_mut(at..end).unwrap_or(&mut []));
        }
    }

    /// Scores of `R` rows and the keys of one vector.
    #[inline(always)]
    fn sum<S: Simd, I: Integers<S>, const R: usize>(
        &self,
        simd: S,
        integers: I,
        (row, first): (usize, usize),
        keys: CodedBlocks<'_, S, F::Block>,
        walk: &mut Walk,
    ) -> [S::F32; R] {
        let Rounding { channels, .. } = self.rounding;
        let mut steps = self.queries.across_deep::<R>(row).and(keys);
        let mut s = [simd.splat(0.0); R];
        for (factors, starts) in self.rounding.behind::<R>(self.queries, row) {
            let Some(keys) = steps.second().next() else { return s };
            let scale = self.scale(simd, keys, first);
            let mut sums = [simd.splat(0.0); R];
            for (sum, start) in sums.iter_mut().zip(starts) {
                *sum = integers.begin(simd, start);
            }
            for (queries, keys) in steps.by_ref().take(channels / BLOCK) {
                integers.add::<F, R>(simd, keys, queries, &mut sums, walk);
            }
            for (s, (sum, d)) in s.iter_mut().zip(sums.into_iter().zip(factors)) {
                let d = simd.mul(simd.splat(d), scale);
                *s = simd.mul_add(integers.finish(simd, sum), d, *s);
            }
        }
        s
    }

    /// The scales of a block of the keys in the lanes.
    #[inline(always)]
    fn scale<S: Simd>(&self, simd: S, keys: BlockLanes<'_, S, F::Block>, first: usize) -> S::F32 {
        if F::scale(keys.at(0)).is_none() {
            return get(simd, self.scales.get(first..).unwrap_or(&[]));
        }
        let mut scales = [f16::ZERO; MAX_LANES];
        for (lane, scale) in scales.iter_mut().enumerate().take(S::LANES) {
            *scale = F::scale(keys.at(lane)).unwrap_or(f16::ONE);
        }
        factor(simd, simd.load_f16(&scales))
    }
}

/// A scale that codes are multiplied by: NaN if it is not finite, since a code of 0 times it is. An infinite one could make -inf of a score, and
/// hide the key.
#[inline(always)]
fn factor<S: Simd>(simd: S, scale: S::F32) -> S::F32 {
    simd.add(scale, simd.sub(scale, scale))
}

/// Weights of a few rows in 8 bits.
#[derive(Debug)]
pub(crate) struct Codes {
    /// As many as keys, zeros behind them: four in a word.
    pub(crate) codes: [[u8; TILE_K]; ROWS],
    /// What their sums are to be multiplied by.
    pub(crate) factors: [f32; ROWS],
}

impl Codes {
    /// Of no rows.
    pub(crate) const NONE: Codes = Codes { codes: [[0; TILE_K]; ROWS], factors: [0.0; ROWS] };
}

/// Rounds the weights of the rows from `first` on, each times the scale of its value. Keys that a row may not see have none,
/// whatever their scale is; a factor is NaN if a weight is not finite, or is negative where none may be.
#[inline(always)]
pub(crate) fn round_weights<F: Coded>(
    weights: Weights<'_>,
    scales: &[f32; TILE_K],
    first: usize,
) -> Codes {
    let mut rounded = Codes::NONE;
    let rows = rounded.codes.iter_mut().zip(&mut rounded.factors);
    for ((codes, factor), r) in rows.zip(first..weights.p.len()) {
        let mut w = [0.0; TILE_K];
        let p = weights.p.row(r);
        for (w, (p, scale)) in w.iter_mut().zip(p.iter().zip(scales)) {
            *w = p * scale;
        }
        for (w, bits) in w.iter_mut().zip(weights.bits.unwrap_or(&[])) {
            *w = if bits >> r & 1 == 0 { 0.0 } else { *w };
        }
        // Loops over arrays, of which the compiler makes vectors: magnitudes are in the order of their bits.
        let (mut most, mut negative) = (0, false);
        for w in &w {
            most = w.abs().to_bits().max(most);
            negative |= *w < 0.0;
        }
        if most >= f32::INFINITY.to_bits() || F::Codes::HALF_OFFSET == 0 && negative {
            *factor = f32::NAN;
            continue;
        }
        let most = f32::from_bits(most);
        *factor = most / F::WEIGHTS;
        let inverse = F::WEIGHTS / most;
        // So small that it has no inverse: nothing of it is left.
        let inverse = if inverse.is_finite() { inverse } else { 0.0 };
        for (code, w) in codes.iter_mut().zip(w) {
            // An integer, which then is the last byte.
            *code = (w * inverse + ROUND).to_bits() as u8;
        }
    }
    rounded
}

/// The scales that block `b` of each row holds itself; others stay.
#[inline(always)]
pub(crate) fn block_scales<S: Simd, F: Coded>(
    simd: S,
    rows: Rows<'_, F>,
    b: usize,
    to: &mut [f32],
) {
    for (first, to) in (0..rows.len()).step_by(S::LANES).zip(to.chunks_mut(S::LANES)) {
        let mut scales = [f16::ZERO; MAX_LANES];
        // The last row again in lanes behind it.
        let Some(blocks) = rows.coded_few::<S>(first).from(b).next() else { return };
        for (lane, scale) in scales.iter_mut().enumerate().take(S::LANES) {
            let Some(own) = F::scale(blocks.at(lane)) else { return };
            *scale = own;
        }
        put(simd, factor(simd, simd.load_f16(&scales)), to);
    }
}
