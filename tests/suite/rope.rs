//! Heads that turn by their positions: certified on every level, the same bits whichever way they are asked for.

use crate::case::{assert_same_bits, normal};
use flashlet::{
    Angles, Axes, Error, Level, Onto, Pairing, Phase, Positions, Rope, Rotated, Scaling, Strides,
    Theta, View, ViewMut, Yarn,
};
use half::{bf16, f16};
use oracle::{Format, rope as exact};

/// An element of a tensor.
pub(crate) trait Number: flashlet::Elem {
    const FORMAT: Format;
    fn round(x: f32) -> Self;
    fn widen(self) -> f32;
}

macro_rules! number {
    ($type:ty, $format:ident, |$x:ident| $round:expr, |$y:ident| $widen:expr) => {
        impl Number for $type {
            const FORMAT: Format = Format::$format;
            fn round($x: f32) -> Self {
                $round
            }
            fn widen(self) -> f32 {
                let $y = self;
                $widen
            }
        }
    };
}

number!(f32, F32, |x| x, |x| x);
number!(f16, F16, |x| f16::from_f32(x), |x| x.to_f32());
number!(bf16, Bf16, |x| bf16::from_f32(x), |x| x.to_f32());

/// A rope, and what it must do by the oracle.
#[derive(Debug)]
pub(crate) struct Turned {
    turns: Vec<u64>,
    amplitude: f32,
    pairing: Pairing,
    first: usize,
    exact: exact::Rope,
}

impl Turned {
    pub(crate) fn new(base: f64, rot_dim: usize, pairing: Pairing, first: usize) -> Self {
        Self::scaled(base, rot_dim, pairing, first, None)
    }

    /// With YaRN by this factor, for its amplitude.
    fn scaled(
        base: f64,
        rot_dim: usize,
        pairing: Pairing,
        first: usize,
        yarn: Option<f64>,
    ) -> Self {
        let scaling = yarn.map_or(Scaling::None, |factor| Scaling::Yarn(Yarn::new(factor, 4096)));
        let mut turns = vec![0; rot_dim / 2];
        let amplitude = Theta::new(base).scaled(scaling).fill(&mut turns).unwrap();
        let scaling = yarn.map_or(exact::Scaling::None, |factor| {
            exact::Scaling::Yarn(exact::Yarn::new(factor, 4096))
        });
        let of_oracle = match pairing {
            Pairing::Interleaved => exact::Pairing::Interleaved,
            Pairing::Halves => exact::Pairing::Halves,
        };
        let exact =
            exact::Rope { offset: first, ..exact::Rope::new(of_oracle, base, rot_dim, &scaling) };
        Turned { turns, amplitude, pairing, first, exact }
    }

    pub(crate) fn rope(&self, level: Level) -> Rope<'_> {
        let phase = Phase::Exact(&self.turns);
        let rope = Rope::new(phase, self.amplitude, self.pairing).unwrap();
        rope.first_channel(self.first).level(level).unwrap()
    }

    /// The largest share of its bound that an error of a row takes.
    fn judge(
        &self,
        row: &[f32],
        position: impl Fn(usize) -> i64 + Copy,
        got: &[f32],
        format: Format,
    ) -> f64 {
        let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
        let (exact, bound) = (
            self.exact.rotate(&row, position),
            self.exact.bound(&row, position, exact::TABLE_ERROR, format),
        );
        let turns = self.first..self.first + 2 * self.turns.len();
        let mut worst = 0.0_f64;
        for (c, (got, (exact, bound))) in got.iter().zip(exact.iter().zip(bound)).enumerate() {
            let error = (f64::from(*got) - exact).abs();
            if turns.contains(&c) {
                assert!(
                    bound.is_finite() && error <= bound,
                    "channel {c}: {got} {exact}, bound {bound:e}"
                );
                worst = worst.max(if error == 0.0 { 0.0 } else { error / bound });
            } else {
                assert!(error <= bound, "channel {c} does not turn: {got} {exact}");
            }
        }
        worst
    }
}

/// Tokens of a tensor, whatever its strides.
fn rows<T: Number>(
    data: &[T],
    [batch, len, heads, dim]: [usize; 4],
    strides: Strides,
) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    for b in 0..batch {
        for i in 0..len {
            for h in 0..heads {
                let at = b * strides.batch + i * strides.token + h * strides.head;
                rows.push(data[at..at + dim].iter().map(|x| x.widen()).collect());
            }
        }
    }
    rows
}

/// Turns a random tensor in place, and judges it: the largest error over its bound.
fn certified<T: Number>(
    turned: &Turned,
    dims: [usize; 4],
    positions: &[u32],
    level: Level,
    seed: u64,
) -> f64 {
    let [batch, len, heads, dim] = dims;
    // Head after head, with gaps.
    let strides =
        Strides { head: len * (dim + 3), token: dim + 3, batch: heads * len * (dim + 3) + 5 };
    let size = batch * strides.batch;
    let before: Vec<T> = normal(size, seed).into_iter().map(T::round).collect();
    let mut after = before.clone();
    let mut view = ViewMut::strided(&mut after, dims, strides).unwrap();
    turned.rope(level).rotate(Positions::list(positions), &mut [&mut view]).unwrap();
    let mut worst = 0.0_f64;
    let both = rows(&before, dims, strides).into_iter().zip(rows(&after, dims, strides));
    for (row, (before, after)) in both.enumerate() {
        let position = i64::from(positions[row / heads]);
        worst = worst.max(turned.judge(&before, |_| position, &after, T::FORMAT));
    }
    let gaps = |all: &[T]| -> Vec<f32> {
        let at = |n: usize| {
            (n % strides.batch) % (dim + 3) >= dim || n % strides.batch >= heads * len * (dim + 3)
        };
        (0..size).filter(|n| at(*n)).map(|n| all[n].widen()).collect()
    };
    assert_eq!(gaps(&before), gaps(&after), "nothing between the rows is touched");
    worst
}

#[test]
fn turned_heads_are_within_their_certified_bound() {
    let positions = [0, 1, 77, 4095, 131_071, 1 << 20, u32::MAX, 1 << 31];
    let mut worst = 0.0_f64;
    for (n, rot_dim) in [2, 6, 14, 32, 34, 64, 80, 96, 100, 128, 256, 576].into_iter().enumerate() {
        for pairing in [Pairing::Interleaved, Pairing::Halves] {
            let first = [0, 3, 16][n % 3].min(576 - rot_dim);
            let yarn = [None, Some(32.0)][n % 2];
            let turned = Turned::scaled([1e4, 5e5][n % 2], rot_dim, pairing, first, yarn);
            let dims = [2, 4, 1 + n % 3, (first + rot_dim + [0, 5][n / 2 % 2]).min(576)];
            for level in Level::available() {
                let seed = n as u64;
                worst = worst.max(certified::<f32>(&turned, dims, &positions, level, seed));
                worst = worst.max(certified::<f16>(&turned, dims, &positions, level, seed));
                worst = worst.max(certified::<bf16>(&turned, dims, &positions, level, seed));
            }
        }
    }
    println!("worst error: {worst:.3} of its bound");
    assert!(worst > 0.5, "a bound that nothing comes near is none: {worst}");
}

/// Rows of one head each, turned in place.
pub(crate) fn turn(rope: &Rope<'_>, row: &[f32], positions: Positions<'_>) -> Vec<f32> {
    let mut after = row.to_vec();
    let mut view = ViewMut::packed(&mut after, [1, 1, 1, row.len()]).unwrap();
    rope.rotate(positions, &mut [&mut view]).unwrap();
    after
}

#[test]
fn levels_of_a_class_turn_to_the_same_bits_and_so_do_the_pairings() {
    for rot_dim in [6, 32, 64, 70, 128] {
        let [interleaved, halves] = [Pairing::Interleaved, Pairing::Halves]
            .map(|pairing| Turned::new(1e5, rot_dim, pairing, 0));
        let row = normal(rot_dim, 3);
        let permute = |row: &[f32]| -> Vec<f32> {
            (0..rot_dim).map(|c| row[2 * (c % (rot_dim / 2)) + 2 * c / rot_dim]).collect()
        };
        for position in [3, 70_000, u32::MAX] {
            let positions = Positions::from(position);
            for fused in [false, true] {
                let levels = || Level::available().filter(|level| level.is_fused() == fused);
                let Some(first) = levels().next() else { continue };
                let expected = turn(&halves.rope(first), &permute(&row), positions);
                for level in levels() {
                    let got = turn(&halves.rope(level), &permute(&row), positions);
                    assert_same_bits(&got, &expected, level);
                    let other = turn(&interleaved.rope(level), &row, positions);
                    assert_same_bits(&permute(&other), &expected, level);
                }
            }
        }
    }
}

#[test]
fn a_table_has_the_bits_that_are_computed_without_one() {
    for level in Level::available() {
        let turned = Turned::scaled(1.5e5, 64, Pairing::Halves, 0, Some(4.0));
        let rope = turned.rope(level);
        let mut table = vec![f32::NAN; rope.table_len(40).unwrap()];
        rope.fill_table(u32::MAX - 39, &mut table).unwrap();
        let tabled = rope.table(u32::MAX - 39, &table).unwrap();
        assert_eq!(tabled.angles(), Angles::Table { positions: 40, bytes: 40 * 64 * 4 });
        assert_eq!(rope.angles(), Angles::Computed { bytes: 32 * 8 });
        let row = normal(64, 4);
        for position in [u32::MAX - 39, u32::MAX - 7, u32::MAX] {
            let positions = Positions::from(position);
            assert_same_bits(&turn(&tabled, &row, positions), &turn(&rope, &row, positions), level);
        }
        let mut row = row;
        let mut view = ViewMut::packed(&mut row, [1, 1, 1, 64]).unwrap();
        let error = tabled.rotate(7, &mut [&mut view]).unwrap_err();
        assert_eq!(error, Error::Position { position: 7, start: (1 << 32) - 40, end: 1 << 32 });
    }
}

/// As [`Onto`], in place or onto another tensor, of any two elements.
fn onto_agrees<T: Number, U: Number>() {
    let dims = [2, 3, 2, 40];
    let turned = Turned::new(1e4, 32, Pairing::Interleaved, 4);
    let from: Vec<T> = normal(480, 5).into_iter().map(T::round).collect();
    for level in Level::available() {
        let rope = turned.rope(level);
        // In f32, and rounded once.
        let mut wide: Vec<f32> = from.iter().map(|x| x.widen()).collect();
        rope.rotate(9, &mut [&mut ViewMut::packed(&mut wide, dims).unwrap()]).unwrap();
        let expected: Vec<f32> = wide.into_iter().map(|x| U::round(x).widen()).collect();
        let mut to = vec![U::round(f32::NAN); 480];
        let (view, other) =
            (View::packed(&from, dims).unwrap(), ViewMut::packed(&mut to, dims).unwrap());
        rope.rotate(9, &mut [&mut Onto::new(view, other).unwrap()]).unwrap();
        let got: Vec<f32> = to.iter().map(|x| x.widen()).collect();
        assert_same_bits(&got, &expected, format!("{level} {:?} {:?}", T::FORMAT, U::FORMAT));
    }
}

#[test]
fn turning_onto_another_tensor_rounds_once() {
    onto_agrees::<f32, f32>();
    onto_agrees::<f32, f16>();
    onto_agrees::<f32, bf16>();
    onto_agrees::<f16, f32>();
    onto_agrees::<f16, f16>();
    onto_agrees::<f16, bf16>();
    onto_agrees::<bf16, f32>();
    onto_agrees::<bf16, f16>();
    onto_agrees::<bf16, bf16>();
}

#[test]
fn appended_keys_land_where_the_cache_ends_and_nowhere_else() {
    let turned = Turned::new(1e4, 16, Pairing::Halves, 0);
    let k = normal(2 * 3 * 2 * 16, 6);
    let (slots, dims) = ([4, 0], [2, 9, 2, 16]);
    for level in Level::available() {
        let rope = turned.rope(level);
        let mut cache = vec![f32::NAN; 2 * 9 * 2 * 16];
        let keys = View::packed(&k, [2, 3, 2, 16]).unwrap();
        let onto = ViewMut::packed(&mut cache, dims).unwrap();
        let mut append = Onto::append(keys, onto, &slots).unwrap();
        rope.rotate(Positions::starts(&slots), &mut [&mut append]).unwrap();
        let mut expected = k.clone();
        let mut view = ViewMut::packed(&mut expected, [2, 3, 2, 16]).unwrap();
        rope.rotate(Positions::list(&[4, 5, 6, 0, 1, 2]), &mut [&mut view]).unwrap();
        for (b, slot) in [4, 0].into_iter().enumerate() {
            let (held, row) = (&cache[b * 288..][..288], 32);
            assert_same_bits(&held[slot * row..][..3 * row], &expected[b * 96..][..96], level);
            let others = held[..slot * row].iter().chain(&held[(slot + 3) * row..]);
            assert!(others.into_iter().all(|x| x.is_nan()), "{level}: other slots stay");
        }
    }
}

#[test]
fn queries_and_keys_turn_in_one_pass_as_they_do_alone() {
    let turned = Turned::new(5e5, 128, Pairing::Halves, 0);
    for level in Level::available() {
        let rope = turned.rope(level);
        let (q, k) = (normal(5 * 4 * 128, 7), normal(5 * 128, 8));
        let k: Vec<f16> = k.into_iter().map(f16::from_f32).collect();
        let (mut q_both, mut k_both, mut q_alone, mut k_alone) = (q.clone(), k.clone(), q, k);
        {
            let mut q = ViewMut::packed(&mut q_both, [1, 5, 4, 128]).unwrap();
            let mut k = ViewMut::packed(&mut k_both, [1, 5, 1, 128]).unwrap();
            rope.rotate(1000, &mut [&mut q, &mut k]).unwrap();
        }
        for one in [
            &mut ViewMut::packed(&mut q_alone, [1, 5, 4, 128]).unwrap() as &mut dyn Rotated,
            &mut ViewMut::packed(&mut k_alone, [1, 5, 1, 128]).unwrap(),
        ] {
            rope.rotate(1000, &mut [one]).unwrap();
        }
        assert_same_bits(&q_both, &q_alone, level);
        assert_eq!(k_both, k_alone, "{level}");
    }
}

#[test]
fn a_cache_that_moves_is_turned_back() {
    // A key at position p + 1000, moved to p: turned by -1000.
    let turned = Turned::new(1e4, 64, Pairing::Halves, 0);
    let row = normal(64, 9);
    for level in Level::available() {
        let rope = turned.rope(level);
        let moved = turn(&rope, &turn(&rope, &row, Positions::from(1000)), Positions::shift(-1000));
        let worst = moved.iter().zip(&row).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-6, "{level}: {worst}");
        let same = turn(&rope, &row, Positions::shift(70_000));
        assert_same_bits(&same, &turn(&rope, &row, Positions::from(70_000)), level);
    }
}

#[test]
fn each_pair_turns_by_the_position_of_its_axis() {
    let row = normal(128, 10);
    let positions = [5, 70_000, 3];
    let sections = Axes::<64>::sections(&[16, 24, 24]).unwrap();
    let in_turns = Axes::<64>::interleaved(&[24, 20, 20], 0).unwrap();
    let of_sections = |t: usize| [0_usize, 1, 2][usize::from(t >= 16) + usize::from(t >= 40)];
    let of_turns = |t: usize| if t < 60 { t % 3 } else { 0 };
    let halves = Turned::new(1e6, 128, Pairing::Halves, 0);
    for level in Level::available() {
        for (axes, axis) in
            [(&sections, &of_sections as &dyn Fn(usize) -> usize), (&in_turns, &of_turns)]
        {
            let rope = halves.rope(level).axes(axes).unwrap();
            let got = turn(&rope, &row, Positions::list(&positions));
            halves.judge(&row, |t| i64::from(positions[axis(t)]), &got, Format::F32);
        }
    }
}

#[test]
fn patches_turn_by_their_row_and_column() {
    // Heads of 80 channels: 20 pairs for the row of a patch, 20 for its column, with the same frequencies.
    let turns = Theta::new(1e4).turns_of_halves::<40>().unwrap();
    let axes = Axes::<40>::halves();
    let f = exact::frequencies(1e4, 40, &exact::Scaling::None);
    let row = normal(80, 11);
    for level in Level::available() {
        let rope = Rope::exact(&turns, Pairing::Halves).unwrap().level(level).unwrap();
        let got = turn(&rope.axes(&axes).unwrap(), &row, Positions::list(&[17, 4]));
        for t in 0..40 {
            let (cos, sin) = exact::cos_sin(f[t % 20], [17, 4][t / 20]);
            let (x, y) = (f64::from(row[t]), f64::from(row[t + 40]));
            let error = (f64::from(got[t]) - (x * cos - y * sin)).abs();
            assert!(error <= (x.abs() + y.abs()) * 2.5e-7, "{level} pair {t}: {error:e}");
        }
    }
}
