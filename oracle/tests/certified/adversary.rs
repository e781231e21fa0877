//! The kernel's algorithm with the worst rounding that `fl(x) = x (1 + d)`, `|d| <= u`, permits.
//!
//! Real rounding is lucky: errors of both signs meet and cancel. Here the sign of every single error is chosen, and
//! each is flipped as long as that makes the result worse. To first order the error is linear in the errors made, so
//! this finds the worst case that the derivation of the bound must cover. A rounding that the derivation forgot shows
//! as a ratio above 1; what is lost in the derivation shows as a ratio below 1.

use std::cell::Cell;

use oracle::{Arithmetic, Problem, Products, bound_row, running_bound_row};

use crate::families::{Case, Family, Rng, small};

const U: f64 = 1.0 / 16_777_216.0;
const BF16_U: f64 = 1.0 / 256.0;

/// f64 arithmetic in which the k-th rounding goes where `up[k]` says. One row, `q_heads = 1`.
#[derive(Clone)]
struct Adversary<'a> {
    arithmetic: Arithmetic,
    cuts: &'a [usize],
    /// Merge the last two states first, not the first two.
    from_the_end: bool,
    up: Vec<bool>,
    next: Cell<usize>,
}

/// The query, times c where the kernel scales it first, and c where it does not.
struct Query {
    scaled: Vec<f64>,
    c: f64,
}

struct State {
    m: f64,
    l: f64,
    o: Vec<f64>,
}

impl Adversary<'_> {
    fn round(&self, x: f64) -> f64 {
        self.round_by(U, x)
    }

    /// The largest relative error: `|fl(x) - x| <= u |fl(x)|` allows `u / (1 + u)` of x.
    fn round_by(&self, u: f64, x: f64) -> f64 {
        x * (1.0 + self.sign() * u / (1.0 + u))
    }

    fn sign(&self) -> f64 {
        if self.choose() { 1.0 } else { -1.0 }
    }

    fn choose(&self) -> bool {
        let k = self.next.get();
        self.next.set(k + 1);
        self.up.get(k).is_none_or(|up| *up)
    }

    fn multiply_add(&self, x: f64, y: f64, z: f64) -> f64 {
        match (self.arithmetic.fused, z == 0.0) {
            (true, _) => self.round(x * y + z),
            (false, true) => self.round(x * y),
            (false, false) => self.round(self.round(x * y) + z),
        }
    }

    /// `old * correction + part`, of which nothing is rounded for the first tile and no product if `correction == 1`.
    fn rescale(&self, old: f64, correction: f64, part: f64) -> f64 {
        if correction == 0.0 {
            part
        } else if correction == 1.0 {
            self.round(old + part)
        } else {
            self.multiply_add(old, correction, part)
        }
    }

    /// E with its largest error; exact at 0, never above 1.
    fn exp2(&self, x: f64) -> f64 {
        let ulps = if self.arithmetic.fused { 0.7765 } else { 1.0606 };
        match x {
            0.0 => 1.0,
            _ => (x.exp2() * (1.0 + self.sign() * 2.0 * ulps * U)).min(1.0),
        }
    }

    /// For products of bf16, computed by a cubic and rounded to bf16; they hold 1.
    fn weight(&self, x: f64) -> f64 {
        if self.arithmetic.products == Products::F32 || x == 0.0 {
            return self.exp2(x);
        }
        let p = x.exp2() * (1.0 + self.sign() * 7.49e-5);
        self.round_by(BF16_U, p).min(1.0)
    }

    /// `c <q, k>`; c is in `q.scaled`, or comes last.
    fn score(&self, q: &Query, k: &[f32]) -> f64 {
        let pairs = q.scaled.iter().copied().zip(k.iter().map(|k| f64::from(*k)));
        match self.arithmetic.products {
            Products::F32 => self.sum(pairs),
            Products::Bf16 => {
                let products: Vec<f64> = pairs.map(|(q, k)| q * k).collect();
                let dot = products.chunks(2).fold(0.0, |s, products| self.step(s, products));
                self.round(dot * q.c)
            }
        }
    }

    /// A sum of products; those of bf16 share steps as the adversary likes.
    fn sum(&self, pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
        if self.arithmetic.products == Products::F32 {
            return pairs.fold(0.0, |sum, (x, y)| self.multiply_add(x, y, sum));
        }
        let products: Vec<f64> = pairs.map(|(x, y)| x * y).collect();
        let (mut sum, mut rest) = (0.0, &products[..]);
        while !rest.is_empty() {
            let shared = self.choose() && rest.len() > 1;
            let (step, after) = rest.split_at(if shared { 2 } else { 1 });
            (sum, rest) = (self.step(sum, step), after);
        }
        sum
    }

    /// `vdpbf16ps` of one or two products, in an order of the adversary's choice.
    fn step(&self, sum: f64, products: &[f64]) -> f64 {
        let (first, products_first) = (self.choose(), self.choose());
        match *products {
            [one, other] if products_first => self.add(sum, self.add(one, other)),
            [one, other] if first => self.add(self.add(sum, one), other),
            [one, other] => self.add(self.add(sum, other), one),
            [one] => self.add(sum, one),
            _ => unreachable!("steps of 1 or 2"),
        }
    }

    /// Adding 0 is exact.
    fn add(&self, x: f64, y: f64) -> f64 {
        if x == 0.0 || y == 0.0 { x + y } else { self.round(x + y) }
    }

    fn state(&self, problem: &Problem, q: &Query, keys: std::ops::Range<usize>) -> State {
        let (d, v_dim, tile_k) =
            (problem.shape.head_dim, problem.shape.v_dim, self.arithmetic.tile_k);
        let mut state = State { m: f64::NEG_INFINITY, l: 0.0, o: vec![0.0; v_dim] };
        let keys: Vec<usize> = keys.collect();
        for tile in keys.chunk_by(|a, b| a / tile_k == b / tile_k) {
            let s: Vec<f64> =
                tile.iter().map(|j| self.score(q, &problem.k[j * d..][..d])).collect();
            let m = s.iter().copied().fold(state.m, f64::max);
            let correction =
                if state.l == 0.0 { 0.0 } else { self.exp2(self.subtract(state.m, m)) };
            let p: Vec<f64> = s.iter().map(|s| self.weight(self.subtract(*s, m))).collect();
            let l = p.iter().fold(0.0, |l, p| self.add(l, *p));
            let part = (0..v_dim).map(|c| {
                let v = tile.iter().map(|j| f64::from(problem.v[j * v_dim + c]));
                self.sum(p.iter().copied().zip(v))
            });
            let part: Vec<f64> = part.collect();
            state.m = m;
            state.l = self.rescale(state.l, correction, l);
            for (o, part) in state.o.iter_mut().zip(part) {
                *o = self.rescale(*o, correction, part);
            }
        }
        state
    }

    fn subtract(&self, x: f64, y: f64) -> f64 {
        if x == y { 0.0 } else { self.round(x - y) }
    }

    fn merge(&self, a: State, b: State) -> State {
        let (low, high) = if a.m < b.m { (a, b) } else { (b, a) };
        if low.l == 0.0 {
            return high;
        }
        let correction = self.exp2(self.subtract(low.m, high.m));
        let weigh = |low: f64, high: f64| self.round(self.round(low * correction) + high);
        State {
            m: high.m,
            l: weigh(low.l, high.l),
            o: low.o.iter().zip(&high.o).map(|(&low, &high)| weigh(low, high)).collect(),
        }
    }

    /// `o` and, in the last place, `lse`.
    fn run(&self, problem: &Problem) -> Vec<f64> {
        self.next.set(0);
        let c = self.round(problem.scale * std::f64::consts::LOG2_E);
        let q = problem.q.iter().map(|q| f64::from(*q));
        let scaled = match self.arithmetic.products {
            Products::F32 => q.map(|q| self.round(q * c)).collect(),
            Products::Bf16 => q.collect(),
        };
        let q = Query { scaled, c };
        let mut start = 0;
        let mut states = Vec::new();
        for &end in self.cuts.iter().chain([&problem.shape.kv_len]) {
            states.push(self.state(problem, &q, start..end));
            start = end;
        }
        if self.from_the_end {
            states.reverse();
        }
        let State { m, l, o } = states.into_iter().reduce(|a, b| self.merge(a, b)).unwrap();
        let reciprocal = self.round(1.0 / l);
        let mut out: Vec<f64> = o.iter().map(|o| self.round(o * reciprocal)).collect();
        let ln_2 = self.round(std::f64::consts::LN_2);
        let ln_l = l.ln() * (1.0 + 2.0 * U * self.sign());
        out.push(self.round(self.round(m * ln_2) + ln_l));
        out
    }
}

/// The largest error of channel 0 and of lse over the bounds (gamma, running), for the worst signs found.
fn worst_ratios(case: &Case, start: &Adversary, seed: u64) -> [[f64; 2]; 2] {
    case.clone().for_kernel(&start.arithmetic).problem(|problem| {
        let (row, gamma) = bound_row(problem, &start.arithmetic, 0, 0, 0);
        let (_, running) = running_bound_row(problem, &start.arithmetic, 0, 0, 0);
        let exact = [row.o[0], row.lse];
        let bounds = [[gamma.o[0], running.o[0]], [gamma.lse, running.lse]];
        [0, 1].map(|output| {
            let error = |adversary: &Adversary| {
                let out = adversary.run(problem);
                ([out[0], out[problem.shape.v_dim]][output] - exact[output]).abs()
            };
            let mut adversary = start.clone();
            error(&adversary);
            let rng = &mut Rng(seed);
            adversary.up = (0..adversary.next.get() + 8).map(|_| rng.below(2) == 0).collect();
            let mut worst = error(&adversary);
            for k in (0..adversary.up.len()).cycle().take(3 * adversary.up.len()) {
                adversary.up[k] = !adversary.up[k];
                let now = error(&adversary);
                if now > worst { worst = now } else { adversary.up[k] = !adversary.up[k] }
            }
            bounds[output].map(|bound| worst / bound)
        })
    })
}

/// Asserts that no ratio exceeds 1 and prints the largest.
fn assert_within_bounds(
    what: &str,
    start: &Adversary,
    cases: impl Iterator<Item = (String, Case)>,
) {
    let mut worst = [[0.0_f64; 2]; 2];
    for (seed, (name, case)) in cases.enumerate() {
        let ratios = worst_ratios(&case, start, seed as u64);
        for (worst, ratio) in worst.iter_mut().flatten().zip(ratios.iter().flatten()) {
            assert!(*ratio <= 1.0, "{name}, {:?}: {ratios:?}", start.arithmetic);
            *worst = worst.max(*ratio);
        }
    }
    let [[o_gamma, o_running], [lse_gamma, lse_running]] = worst;
    let Arithmetic { fused, splits, products, .. } = start.arithmetic;
    println!(
        "{what:20} {products:?} fused {fused:5}, splits {splits}: \
         gamma / running: o {o_gamma:.3} / {o_running:.3}, lse {lse_gamma:.3} / {lse_running:.3}"
    );
}

fn adversary(arithmetic: Arithmetic, cuts: &[usize]) -> Adversary<'_> {
    let arithmetic = arithmetic.split(cuts.len() + 1);
    Adversary { arithmetic, cuts, from_the_end: false, up: Vec::new(), next: Cell::new(0) }
}

fn kernels(tile_k: usize) -> [Arithmetic; 3] {
    [Arithmetic::fused(tile_k), Arithmetic::unfused(tile_k), Arithmetic::bf16_products(tile_k)]
}

/// All families but those that need underflow, which f64 does not have.
fn families() -> impl Iterator<Item = Family> {
    Family::ALL.into_iter().filter(|family| !matches!(family, Family::TinyV | Family::Flushed))
}

#[test]
fn worst_rounding_stays_within_both_bounds() {
    for (name, kv_len, tile_k) in [("one tile", 6, 8), ("tiles of 2", 9, 2), ("tiles of 1", 6, 1)] {
        for arithmetic in kernels(tile_k) {
            for cuts in [&[][..], &[2, 5]] {
                let cases = families().flat_map(|family| {
                    let named = move |seed| {
                        (format!("{family:?}, seed {seed}"), family.case(small(1, kv_len, 4), seed))
                    };
                    (0..8).map(named)
                });
                assert_within_bounds(name, &adversary(arithmetic, cuts), cases);
            }
        }
    }
}

/// Score patterns that rescale a split state oftener than one pass would: a cut hides an early maximum from later
/// keys, and merging from the end meets descending maxima one by one.
#[test]
fn splits_that_rescale_often_stay_within_both_bounds() {
    let patterns: [(&str, [f32; 7], &[usize]); 4] = [
        ("hidden early maximum", [9.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[1]),
        ("ascending", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1, 2, 3, 4, 5, 6]),
        ("descending", [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0], &[1, 2, 3, 4, 5, 6]),
        ("equal", [1.0; 7], &[2, 4]),
    ];
    for (name, scores, cuts) in patterns {
        for arithmetic in kernels(1) {
            for from_the_end in [false, true] {
                let cases = (0..20).map(|seed| {
                    let mut case = Family::Normal.case(small(1, 7, 1), seed);
                    case.q = vec![1.0];
                    case.k = scores.map(|s| 0.3 * s).to_vec();
                    (format!("{name}, seed {seed}"), case)
                });
                assert_within_bounds(
                    name,
                    &Adversary { from_the_end, ..adversary(arithmetic, cuts) },
                    cases,
                );
            }
        }
    }
}

/// Where products of bf16 show no rounding to bf16: of one key, whose weight is 1, lse shows the chain over the
/// channels; of a constant V, which the weights' errors leave alone, o shows the chain over the keys.
#[test]
fn chains_of_bf16_products_stay_within_both_bounds() {
    let arithmetic = Arithmetic::bf16_products(8);
    for head_dim in [1, 2, 3, 4, 7] {
        let cases = (0..40).map(|seed| {
            let mut case = Family::Normal.case(small(1, 1, head_dim), seed);
            case.k.iter_mut().for_each(|k| *k = k.abs()); // no cancellation, hence no slack
            case.q.iter_mut().for_each(|q| *q = q.abs());
            (format!("d {head_dim}, seed {seed}"), case)
        });
        assert_within_bounds(&format!("one key, d {head_dim}"), &adversary(arithmetic, &[]), cases);
    }
    for kv_len in [2, 3, 4, 8] {
        let cases = (0..40).map(|seed| {
            (format!("n {kv_len}, seed {seed}"), Family::ConstantV.case(small(1, kv_len, 2), seed))
        });
        assert_within_bounds(
            &format!("constant V, n {kv_len}"),
            &adversary(arithmetic, &[]),
            cases,
        );
    }
}
