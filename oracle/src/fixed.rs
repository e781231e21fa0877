//! Attention over codes in integers: exact, and how far a kernel may be from it.
//!
//! # 0. What is computed
//! Codes `q`, `k`, `v` are integers of at most `2^V` in magnitude; `x = scale log2(e)`, `t_j = x <q, k_j>`, `w_j = 2^t_j / sum 2^t`, and
//! `o_c = sum_j w_j v_jc`, in steps of a value. A hat marks what the kernel holds. It computes
//! ```text
//! x^     = x rounded to 16 bits
//! s_j    = <q, k_j>, exactly, then without its `a` lowest bits, rounded
//! per tile of keys, in whatever order and tree:
//!     m2   = ceil(max t^_j)                                t^_j = x^ 2^a s_j
//!     p_j  = 2^P 2^(t^_j - m2), rounded to an integer
//!     l2   = sum p_j 2^(V - D)
//!     o2   = sum floor(p_j v_j / 2^D)
//!     join: both to the larger m, or one more if l would be more than 2^30; what is shifted is rounded
//! output = 2^15 o / l, rounded
//! ```
//! `V`, `P`, `D` and the tile are those of a [`Codes`]. `P + V - D + log2 tile = 30` for all of them.
//!
//! # 1. Weights
//! `x^ = x (1 + d)`; d is known here, for the rounding of x to 16 bits is defined: no f32 times log2(e) comes nearer than
//! 2e-7 of a unit to the middle between two. With the largest score M, `t^_j = t^_M - (1 + d) (t_M - t_j)`: what is common to all keys drops out
//! of a softmax. An exponent is then off by
//! `D_j = |d| (t_M - t_j) + a_j + 2^-17 + 3 2^-24`: `a_j = x^ 2^a / 2` if bits of s were dropped, the rounding of its fraction to 16 bits, and three
//! numbers that are rounded down before, of 24 bits. The polynomial is off by e, relatively ([`EXP2_ERROR`], which the kernel's test measures at
//! every fraction), and the integer by 1/2. So, seen in units in which all weights are `2^P kappa sum 2^t`, the weight that is held is
//! ```text
//! w_j (1 + theta_j) + rho_j,   |theta_j| <= Theta_j = 2^D_j (1 + e) - 1,   |rho_j| <= pi_j / 2,   pi_j = 2^(m2 - t^_M - P) w_M
//! ```
//! `pi_j` being what one unit of a p of its tile is worth. A weight that is not computed because it is less than 1/2 unit is covered by rho.
//!
//! # 2. Sums
//! A join rounds a side that is shifted by half a unit, and halves at least what that side was off by; both sides are shifted only when l is
//! full. Over n tiles this is `n / 2` units at most, in every tree of joins: by induction, where `f(1) = 0`,
//! `f(n1) + f(n2) / 2 + 1/2 <= (n1 + n2) / 2`, and `(f(n1) + f(n2)) / 2 + 1 <= (n1 + n2) / 2`, for 1 + 1 and 1 + 2 as well.
//! What is a unit of l worth at the end? Either nothing was raised above the largest `m2`: then it is `u = 2^(D - V) pi_M`, with the `m2` of M's tile.
//! Or l was raised last, and is `2^29 - 1` at least; then `u <= (1 + S) / (2^29 - 1 - n / 2)`. The larger one is charged. A unit of o
//! is `2^V u` steps, and a floor loses up to one unit of its tile's o: `2^D pi_j` steps.
//!
//! # 3. The quotient
//! As in section 4 of `bound.rs`, rho being in numerator and denominator alike:
//! ```text
//! S   = sum_j (w_j Theta_j + pi_j / 2)
//! F_l = u n / 2,   F_o = 2^V u n / 2 + sum_j 2^D pi_j (if D > 0 and v_j != 0)
//! |N/M - o| <= (sum_j (w_j Theta_j + pi_j / 2) |v_j - o| + F_o + |o| F_l) / (1 - S - F_l)
//! ```
//! The output counts in `2^(V - 15)` steps, and its own rounding is 1/2 + 2^-12 of that: the reciprocal and its product are less than 3 units of
//! 2^-29 off. An output that would be beyond 2^15 - 1 is that number, which is not farther from the exact one.
//!
//! # 4. The log-sum-exp
//! Of base 2, in units of 2^-16. It is `t^_M` and not `t_M` that the sums are relative to, and their sum is `1 - S - F_l` to `1 + S + F_l`:
//! `|lse^ - lse| <= |d t_M| - log2(1 - S - F_l) + 2^-17 + 2^-24`, with the rounding of the result, and of squares on the way to it.
//!
//! Differences of scores are integers, so f64 holds here all that is subtracted; what the oracle rounds is paid for by a factor `1 + 2^-20`.

/// How a kernel computes with a type of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// `V`: codes are `-2^V ..= 2^V - 1`.
    pub magnitude_bits: u32,
    /// `P`: a weight of 1 is `2^P`.
    pub weight_bits: u32,
    /// `D`: bits that a product of weight and value drops.
    pub dropped_bits: u32,
    /// Keys of a tile.
    pub tile: usize,
}

impl Codes {
    /// 8 bits.
    pub const I8: Self = Self { magnitude_bits: 7, weight_bits: 19, dropped_bits: 0, tile: 16 };
    /// 16 bits.
    pub const Q15: Self = Self { magnitude_bits: 15, weight_bits: 16, dropped_bits: 5, tile: 16 };
}

impl Codes {
    /// `2^V`
    fn full(self) -> f64 {
        f64::from(self.magnitude_bits).exp2()
    }

    /// `2^D`
    fn step(self) -> f64 {
        f64::from(self.dropped_bits).exp2()
    }
}

/// Relative error of the kernel's `2^g`, `0 <= g < 1`.
pub const EXP2_ERROR: f64 = 7.68e-6;

/// One row: a query over all the keys that it has seen.
#[derive(Clone, Copy, Debug)]
pub struct FixedRow<'a> {
    /// The kernel's arithmetic.
    pub codes: Codes,
    /// What a product of codes is worth in a logit, base e. Positive.
    pub scale: f32,
    /// `[dim]`
    pub q: &'a [i32],
    /// `[kv_len, dim]`
    pub k: &'a [i32],
    /// `[kv_len, v_dim]`
    pub v: &'a [i32],
    /// Widths of keys and of values.
    pub dims: [usize; 2],
    /// Lengths of the runs in which the keys came; a tile does not reach from one into the next.
    pub runs: &'a [usize],
}

/// What a [`FixedRow`] is due, in units of the output.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedBound {
    /// `[v_dim]`: the exact output, not rounded.
    pub o: Vec<f64>,
    /// `[v_dim]`: how far from it a correct kernel may be; infinite where nothing is certified.
    pub bound: Vec<f64>,
    /// The log-sum-exp of base 2, times 2^16; -inf of no key.
    pub lse: f64,
    /// And how far from that it may be.
    pub lse_bound: f64,
}

/// x, rounded to 16 bits: `mantissa 2^-shift`.
struct Rounded {
    x: f64,
    mantissa: i128,
    shift: i32,
}

impl Rounded {
    fn new(scale: f32) -> Self {
        let x = f64::from(scale) * std::f64::consts::LOG2_E;
        assert!(x > 0.0 && x.is_finite(), "a scale of {scale}");
        let mut shift = 0;
        while x * f64::from(shift).exp2() >= 65535.5 {
            shift -= 1;
        }
        while x * f64::from(shift).exp2() < 32767.75 {
            shift += 1;
        }
        Self { x, mantissa: (x * f64::from(shift).exp2()).round() as i128, shift }
    }

    /// `|d|`
    fn error(&self) -> f64 {
        (self.value() / self.x - 1.0).abs()
    }

    /// As a number.
    fn value(&self) -> f64 {
        self.mantissa as f64 * f64::from(-self.shift).exp2()
    }

    /// `ceil(x^ score / 2) - x^ base / 2`, exactly but for the last rounding.
    fn ceil_over(&self, twice_score: i128, twice_base: i128) -> f64 {
        let one = 1_i128 << (self.shift + 1);
        let ceil = -(-twice_score * self.mantissa).div_euclid(one);
        (ceil * one - twice_base * self.mantissa) as f64 / one as f64
    }
}

/// Keys of one tile.
struct Tile {
    keys: std::ops::Range<usize>,
    /// `pi`: what a unit of its weights is worth.
    unit: f64,
}

/// Sections 1 and 2, of a row.
struct Sums {
    w: Vec<f64>,
    /// `w Theta + pi / 2`
    slack: Vec<f64>,
    tiles: Vec<Tile>,
    f_l: f64,
    /// `1 - S - F_l`
    denominator: f64,
}

impl FixedRow<'_> {
    fn scores(&self) -> Vec<i64> {
        let product = |(q, k): (&i32, &i32)| i64::from(*q) * i64::from(*k);
        self.k.chunks(self.dims[0]).map(|k| self.q.iter().zip(k).map(product).sum()).collect()
    }

    /// a: bits that a score drops.
    fn dropped(&self) -> u32 {
        let most = (self.dims[0] as u64) << (2 * self.codes.magnitude_bits);
        (0..).find(|a| most <= 1 << (30 + a)).expect("a number of bits")
    }

    /// Tiles, with their units in shares of the largest weight.
    fn tiles(&self, x: &Rounded, scores: &[i64]) -> Vec<Tile> {
        let most = scores.iter().max().map_or(0, |most| i128::from(*most));
        let a = self.dropped();
        let rounding = if a > 0 { 1_i128 << a } else { 0 }; // of twice a score
        let (mut tiles, mut first) = (Vec::new(), 0);
        for &run in self.runs {
            let end = first + run;
            while first < end {
                let keys = first..end.min(first + self.codes.tile);
                let top = keys.clone().map(|j| i128::from(scores[j])).max().expect("a key");
                let above = x.ceil_over(2 * top + rounding, 2 * most);
                let unit = (above - f64::from(self.codes.weight_bits)).exp2();
                first = keys.end;
                tiles.push(Tile { keys, unit });
            }
        }
        assert_eq!(first, scores.len(), "runs hold all keys");
        tiles
    }

    /// Exact attention and its bound.
    ///
    /// # Example
    /// ```
    /// use oracle::fixed::{Codes, FixedRow};
    /// let row = FixedRow { codes: Codes::I8, scale: 0.1, q: &[3], k: &[5, 5], v: &[10, 20], dims: [1, 1], runs: &[2] };
    /// let due = row.due();
    /// assert_eq!(due.o, [15.0 * 256.0]); // 1/256 of a step
    /// assert!(due.bound[0] > 0.5 && due.bound[0] < 0.6);
    /// ```
    pub fn due(&self) -> FixedBound {
        let Self { codes, dims: [_, v_dim], .. } = *self;
        let (scores, x) = (self.scores(), Rounded::new(self.scale));
        let Some(&most) = scores.iter().max() else {
            let zeros = vec![0.0; v_dim];
            return FixedBound {
                o: zeros.clone(),
                bound: zeros,
                lse: f64::NEG_INFINITY,
                lse_bound: 0.0,
            };
        };
        let mut tiles = self.tiles(&x, &scores);
        let below: Vec<f64> = scores.iter().map(|s| (most - s) as f64 * x.x).collect();
        let total: f64 = below.iter().map(|t| (-t).exp2()).sum();
        tiles.iter_mut().for_each(|tile| tile.unit /= total);
        let w: Vec<f64> = below.iter().map(|t| (-t).exp2() / total).collect();
        let slack = self.slack(&x, &w, &below, &tiles);
        let s: f64 = slack.iter().sum();
        // Section 2. The largest unit of a tile is that of the largest key, or not less.
        let joins = if tiles.len() > 1 { tiles.len() as f64 / 2.0 } else { 0.0 };
        let largest = tiles.iter().fold(0.0_f64, |largest, tile| largest.max(tile.unit));
        let raised = (1.0 + s) / ((1 << 29) as f64 - 1.0 - joins);
        let f_l = joins * (largest * codes.step() / codes.full()).max(raised);
        let sums = Sums { w, slack, tiles, f_l, denominator: 1.0 - s - f_l };
        let (o, bound) = (0..v_dim).map(|c| self.channel(&sums, c)).unzip();
        // Section 4.
        let t = most as f64 * x.x;
        let of_sums = match sums.denominator > 0.0 {
            true => -sums.denominator.log2(),
            false => f64::INFINITY,
        };
        let rounding = (-17_f64).exp2() + (-24_f64).exp2();
        // The oracle's own rounding of t, and of what it was computed from.
        let own = 8.0 * f64::EPSILON * (t.abs() + 32.0);
        let lse_bound = (x.error() * t.abs() + of_sums + rounding + own) * 65536.0;
        FixedBound { o, bound, lse: (t + total.log2()) * 65536.0, lse_bound }
    }

    /// Section 1: `w Theta + pi / 2` of each key, from weights and how far their logits are below the largest.
    fn slack(&self, x: &Rounded, w: &[f64], below: &[f64], tiles: &[Tile]) -> Vec<f64> {
        let a = self.dropped();
        let of_score = if a > 0 { x.value() * f64::from(a).exp2() / 2.0 } else { 0.0 };
        let rounding = (-17_f64).exp2() + 3.0 * (-24_f64).exp2();
        let theta = |(w, below): (&f64, &f64)| {
            let exponent = x.error() * below + of_score + rounding;
            w * (exponent.exp2() * (1.0 + EXP2_ERROR) - 1.0)
        };
        let mut slack: Vec<f64> = w.iter().zip(below).map(theta).collect();
        for tile in tiles {
            tile.keys.clone().for_each(|j| slack[j] += tile.unit / 2.0);
        }
        slack
    }

    /// Section 3: an output and its bound.
    fn channel(&self, sums: &Sums, c: usize) -> (f64, f64) {
        let Self { codes, dims: [_, v_dim], v, .. } = *self;
        let value = |j: usize| f64::from(v[j * v_dim + c]);
        let exact: f64 = sums.w.iter().enumerate().map(|(j, w)| w * value(j)).sum();
        let drift = |(j, slack): (usize, &f64)| slack * (value(j) - exact).abs();
        let drift: f64 = sums.slack.iter().enumerate().map(drift).sum();
        let floors = |tile: &Tile| {
            let lossy = |j: &usize| codes.dropped_bits > 0 && value(*j) != 0.0;
            tile.keys.clone().filter(lossy).count() as f64 * codes.step() * tile.unit
        };
        let f_o = codes.full() * sums.f_l + sums.tiles.iter().map(floors).sum::<f64>();
        let of_output = (15.0 - f64::from(codes.magnitude_bits)).exp2();
        let bound = match sums.denominator > 0.0 {
            true => (drift + f_o + exact.abs() * sums.f_l) / sums.denominator,
            false => f64::INFINITY,
        };
        let rounded = bound * of_output + 0.5 + (-12_f64).exp2();
        (exact * of_output, rounded * (1.0 + (-20_f64).exp2()))
    }

    /// The largest share of its bound that an error of the output takes, and the share of the log-sum-exp: a correct kernel stays at 1 or below.
    /// Infinite where a row that has seen no key is not 0 and `i64::MIN`.
    pub fn shares(&self, o: &[i16], lse: i64) -> [f64; 2] {
        let due = self.due();
        assert_eq!(o.len(), due.o.len(), "one output a channel");
        let share = |got: f64, exact: f64, bound: f64| match (got - exact).abs() {
            0.0 => 0.0,
            error => error / bound,
        };
        let of_o = o.iter().zip(&due.o).zip(&due.bound);
        let of_o =
            of_o.map(|((got, o), bound)| share(f64::from(*got), *o, *bound)).fold(0.0, f64::max);
        let of_lse = match (lse > i64::MIN, due.lse.is_finite()) {
            (false, false) => 0.0,
            (true, true) => share(lse as f64, due.lse, due.lse_bound),
            _ => f64::INFINITY,
        };
        [of_o, of_lse]
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rounding_of_a_scale_is_never_a_matter_of_taste() {
        // log2(e) with 60 bits behind the point.
        const LOG2_E: u128 = 1_663_314_137_230_540_311;
        let mut nearest = 1.0_f64;
        for significand in 1_u128 << 23..1 << 24 {
            let product = significand * LOG2_E;
            let dropped = 128 - product.leading_zeros() - 16;
            let rest = (product & ((1 << dropped) - 1)) as f64 / (dropped as f64).exp2();
            nearest = nearest.min((rest - 0.5).abs());
        }
        assert!(nearest > 2e-7, "{nearest:e}");
    }
}
