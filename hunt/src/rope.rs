//! Rotary positions of any base, scaling, pairing, place in a head, position and storage, in place or onto another
//! tensor, with axes or a table: every number within the bound of the oracle, the same bits on all levels of a class, and
//! an error that leaves all as it is where a configuration cannot be.

mod angles;

use crate::feedback;
use crate::floats::floats;
use crate::tensor::{FORMATS, Tensor, canonical};
use angles::Angles;
use arbitrary::{Result, Unstructured};
use flashlet::{Axes, Elem, Error, Level, Onto, Pairing, Positions, Rope, View, ViewMut};
use oracle::Format;
use oracle::rope::{Element, TABLE_ERROR};

/// Pairs of heads whose positions may have axes: a parameter of [`Axes`].
const PAIRS: usize = 8;

#[derive(Debug)]
enum Places {
    Start(u32),
    Starts(Vec<u32>),
    /// `[axes, batch, len]`.
    List(Vec<u32>),
    Shift(i64),
}

#[derive(Debug)]
struct Case {
    /// `[batch, len, heads, head_dim]`.
    dims: [usize; 4],
    angles: Angles,
    pairing: Pairing,
    first: usize,
    places: Places,
    axes: Option<Axes<PAIRS>>,
    /// Where a table begins, and its positions.
    table: Option<(u32, usize)>,
    x: Tensor,
    /// Onto another tensor; otherwise in place.
    onto: Option<Format>,
}

/// Judges one input.
pub fn run(data: &[u8]) {
    if let Ok(Some(case)) = Case::decode(&mut Unstructured::new(data)) {
        case.run();
    }
}

fn position(u: &mut Unstructured<'_>) -> Result<u32> {
    let near = u32::from(u.arbitrary::<u16>()?);
    Ok(match u.int_in_range(0..=3)? {
        0 => near % 16,
        1 => near,
        2 => u32::MAX - near % 16,
        _ => u.arbitrary()?,
    })
}

impl Places {
    fn decode(u: &mut Unstructured<'_>, [batch, len]: [usize; 2], axes: usize) -> Result<Self> {
        // Lists of another length are refused.
        let kind = u.int_in_range(0..=3)?;
        let more = usize::from(u.ratio(1, 20)?);
        let mut list =
            |count: usize| -> Result<Vec<u32>> { (0..count + more).map(|_| position(u)).collect() };
        Ok(match kind {
            0 => Places::List(list(axes * batch * len)?),
            1 => Places::Starts(list(batch)?),
            2 => Places::Start(position(u)?),
            _ => {
                let far = i64::from(position(u)?);
                Places::Shift(*u.choose(&[far, -far, far, -far, i64::MIN, i64::MAX])?)
            }
        })
    }

    fn lent(&self) -> Positions<'_> {
        match self {
            Places::Start(start) => Positions::from(*start),
            Places::Starts(starts) => Positions::starts(starts),
            Places::List(list) => Positions::list(list),
            Places::Shift(delta) => Positions::shift(*delta),
        }
    }

    /// Where a token stands on an axis.
    fn of(&self, [batch, len]: [usize; 2], [b, i]: [usize; 2], axis: usize) -> i64 {
        match self {
            Places::Start(start) => i64::from(*start) + i as i64,
            Places::Starts(starts) => i64::from(starts[b]) + i as i64,
            Places::List(list) => i64::from(list[(axis * batch + b) * len + i]),
            Places::Shift(delta) => *delta,
        }
    }

    /// Whether there is a position of 32 bits for each token and axis.
    fn are_good(&self, [batch, len]: [usize; 2], axes: usize) -> bool {
        let last = |start: &u32| len == 0 || u64::from(*start) + len as u64 <= 1 << 32;
        match self {
            Places::Start(start) => batch == 0 || last(start),
            Places::Starts(starts) => starts.len() == batch && starts.iter().all(last),
            Places::List(list) => list.len() == axes * batch * len,
            Places::Shift(_) => true,
        }
    }
}

fn axes(u: &mut Unstructured<'_>) -> Result<Option<Axes<PAIRS>>> {
    let mut sections = [0; 4];
    for section in &mut sections {
        *section = u.int_in_range(0..=5)?;
    }
    let count = u.int_in_range(0..=4)?;
    Ok(match u.int_in_range(0..=3)? {
        0 => Axes::sections(&sections[..count]).ok(),
        1 => Axes::interleaved(&[sections[0], sections[1], sections[2]], count as u8).ok(),
        2 => Some(Axes::halves()),
        _ => Some(Axes { of_pair: u.arbitrary::<[u8; PAIRS]>()?.map(|axis| axis % 6), count }),
    })
}

impl Case {
    /// `None` for angles that cannot be.
    fn decode(u: &mut Unstructured<'_>) -> Result<Option<Self>> {
        let pairs = *u.choose(&[1, 2, 3, PAIRS, PAIRS, PAIRS, 15, 16, 17, 32, 40, 64])?;
        let Ok(angles) = Angles::decode(u, pairs)? else { return Ok(None) };
        let [batch, len, heads] =
            [u.int_in_range(0..=3)?, u.int_in_range(0..=5)?, u.int_in_range(0..=3)?];
        let first = *u.choose(&[0, 0, 0, 1, 3, 16, usize::MAX])?;
        let behind = *u.choose(&[0, 0, 1, 5, 16])?;
        let head_dim = if u.ratio(1, 20)? { pairs } else { first.min(99) + 2 * pairs + behind };
        let pairing = if u.arbitrary()? { Pairing::Halves } else { Pairing::Interleaved };
        let axes = if pairs == PAIRS && u.arbitrary()? { axes(u)? } else { None };
        let count = axes.as_ref().map_or(1, |axes| axes.count);
        let places = Places::decode(u, [batch, len], count)?;
        let table = if u.ratio(1, 3)? {
            let start = if let Places::Start(start) = places { start } else { position(u)? };
            Some((start.saturating_sub(u.int_in_range(0..=2)?), u.int_in_range(0..=9)?))
        } else {
            None
        };
        let (format, to) = (*u.choose(&FORMATS)?, *u.choose(&FORMATS)?);
        let onto = if u.arbitrary()? { Some(to) } else { None };
        let spread = u.int_in_range(0..=40)? - 20;
        let dims = [batch, len, heads, head_dim];
        let x = Tensor::rounded(&floats(u, dims.iter().product(), spread)?, format);
        Ok(Some(Case { dims, angles, pairing, first, places, axes, table, x, onto }))
    }

    fn run(&self) {
        for fused in [false, true] {
            let mut first: Option<Vec<u32>> = None;
            for level in Level::available().filter(|level| level.is_fused() == fused) {
                let Some(rope) = self.rope(level) else { return };
                let Some(x) = self.turned(&rope, level) else { return };
                let bits: Vec<u32> = x.iter().map(|x| canonical(*x)).collect();
                self.turn_by_table(&rope, level, &bits);
                match &first {
                    None => {
                        self.judge(level, &x);
                        first = Some(bits);
                    }
                    Some(first) => {
                        let is_same = *first == bits;
                        assert!(is_same, "{level} differs within its class: {self:?}");
                    }
                }
            }
        }
    }

    /// The rope, unless its axes cannot be.
    fn rope(&self, level: Level) -> Option<Rope<'_>> {
        let rope = Rope::new(self.angles.phase(), self.angles.amplitude, self.pairing);
        let rope = rope.expect("a number of pairs that can be").first_channel(self.first);
        let rope = rope.level(level).expect("an available level");
        let Some(axes) = &self.axes else { return Some(rope) };
        let is_good = axes.of_pair.iter().all(|axis| usize::from(*axis) < axes.count);
        let with_axes = rope.axes(axes);
        assert_eq!(with_axes.is_ok(), is_good, "{self:?}");
        with_axes.ok()
    }

    /// What it becomes; `None` for an error, which must be deserved.
    fn turned(&self, rope: &Rope<'_>, level: Level) -> Option<Vec<f32>> {
        let [batch, len, _, head_dim] = self.dims;
        let end = self.first.checked_add(rope.rot_dim());
        let fits = end.is_some_and(|end| end <= head_dim);
        let axes = self.axes.as_ref().map_or(1, |axes| axes.count);
        let is_good = fits && self.places.are_good([batch, len], axes);
        let result = self.rotate(rope);
        assert_eq!(result.is_ok(), is_good, "{level}: {result:?}: {self:?}");
        result.ok()
    }

    /// The tensor turned; panics if one that was refused is written.
    fn rotate(&self, rope: &Rope<'_>) -> std::result::Result<Vec<f32>, Error> {
        let untouched =
            |x: &Tensor| -> Vec<u32> { x.widened().into_iter().map(canonical).collect() };
        let mut to = match self.onto {
            Some(format) => Tensor::rounded(&vec![7.0; self.dims.iter().product()], format),
            None => self.x.clone(),
        };
        let before = untouched(&to);
        let result = match (&self.x, &mut to) {
            (_, Tensor::F32(to)) if self.onto.is_none() => self.in_place(rope, to),
            (_, Tensor::F16(to)) if self.onto.is_none() => self.in_place(rope, to),
            (_, Tensor::Bf16(to)) if self.onto.is_none() => self.in_place(rope, to),
            (Tensor::F32(x), Tensor::F32(to)) => self.onto(rope, x, to),
            (Tensor::F32(x), Tensor::F16(to)) => self.onto(rope, x, to),
            (Tensor::F32(x), Tensor::Bf16(to)) => self.onto(rope, x, to),
            (Tensor::F16(x), Tensor::F32(to)) => self.onto(rope, x, to),
            (Tensor::F16(x), Tensor::F16(to)) => self.onto(rope, x, to),
            (Tensor::F16(x), Tensor::Bf16(to)) => self.onto(rope, x, to),
            (Tensor::Bf16(x), Tensor::F32(to)) => self.onto(rope, x, to),
            (Tensor::Bf16(x), Tensor::F16(to)) => self.onto(rope, x, to),
            (Tensor::Bf16(x), Tensor::Bf16(to)) => self.onto(rope, x, to),
        };
        if let Err(error) = result {
            assert!(untouched(&to) == before, "written in spite of {error}: {self:?}");
        }
        result.map(|()| to.widened())
    }

    fn in_place<T: Elem>(&self, rope: &Rope<'_>, x: &mut [T]) -> std::result::Result<(), Error> {
        let mut view = ViewMut::packed(x, self.dims).expect("packed");
        rope.rotate(self.places.lent(), &mut [&mut view])
    }

    fn onto<T: Elem, U: Elem>(
        &self,
        rope: &Rope<'_>,
        x: &[T],
        to: &mut [U],
    ) -> std::result::Result<(), Error> {
        let from = View::packed(x, self.dims).expect("packed");
        let to = ViewMut::packed(to, self.dims).expect("packed");
        let mut onto = Onto::new(from, to).expect("the same shape");
        rope.rotate(self.places.lent(), &mut [&mut onto])
    }

    /// With a table the bits are the same, or a position that it lacks is named.
    fn turn_by_table(&self, rope: &Rope<'_>, level: Level, bits: &[u32]) {
        let Some((start, count)) = self.table else { return };
        let mut table = vec![f32::NAN; rope.table_len(count).expect("a small table")];
        let axes = self.axes.as_ref().map_or(1, |axes| axes.count);
        let fits = axes == 1 && u64::from(start) + count as u64 <= 1 << 32;
        let filled = rope.fill_table(start, &mut table);
        assert_eq!(filled.is_ok(), fits, "{level}: {filled:?}: {self:?}");
        let Ok(rope) = rope.table(start, &table) else {
            assert!(!fits, "{level}: a table that was filled is refused: {self:?}");
            return;
        };
        match self.rotate(&rope) {
            Ok(x) => {
                let is_same = x.iter().map(|x| canonical(*x)).eq(bits.iter().copied());
                assert!(is_same, "{level} differs with a table: {self:?}");
            }
            Err(Error::Position { .. }) => {}
            Err(error) => panic!("{level}: a table gives {error}: {self:?}"),
        }
    }

    fn judge(&self, level: Level, found: &[f32]) {
        let [_, len, heads, head_dim] = self.dims;
        let (mut worst, mut checks, mut at) = (0.0_f64, 0, String::new());
        let x = self.x.widened();
        let rows = x.chunks_exact(head_dim).zip(found.chunks_exact(head_dim));
        for (row, (x, found)) in rows.enumerate() {
            let token = row / heads;
            for (c, bound) in self.elements(x, [token / len, token % len]).into_iter().enumerate() {
                let (found, Some((exact, bound))) = (found[c], bound) else { continue };
                checks += 1;
                let error = (f64::from(found) - exact).abs();
                // Numbers that are not finite leave none.
                let ratio = match error {
                    _ if f64::from(found) == exact => 0.0,
                    _ if exact.is_nan() => {
                        if found.is_finite() {
                            f64::INFINITY
                        } else {
                            0.0
                        }
                    }
                    error if error.is_nan() => f64::INFINITY,
                    error => error / bound,
                };
                if ratio > worst {
                    let exact = format!("{exact:e} +- {bound:e}");
                    (worst, at) = (ratio, format!("row {row} channel {c}: {found:e}, {exact}"));
                }
            }
        }
        feedback::judged_ratio(worst, checks, || format!("{level} {at}\n{self:?}"));
    }

    /// Of each channel of a token's row what it must be, NaN for any number that is not finite, and its bound.
    fn elements(&self, x: &[f32], token: [usize; 2]) -> Vec<Option<(f64, f64)>> {
        let [batch, len, ..] = self.dims;
        let output = self.onto.unwrap_or_else(|| self.x.format());
        // What does not turn is only stored.
        let stored = Tensor::rounded(x, output).widened();
        let mut all: Vec<_> = stored.iter().map(|x| Some((f64::from(*x), 0.0))).collect();
        let pairs = self.angles.turns.len();
        for t in 0..pairs {
            let axis = self.axes.as_ref().map_or(0, |axes| usize::from(axes.of_pair[t]));
            let position = self.places.of([batch, len], token, axis);
            let [first, second] = match self.pairing {
                Pairing::Interleaved => [2 * t, 2 * t + 1],
                Pairing::Halves => [t, t + pairs],
            };
            let [first, second] = [first, second].map(|c| self.first + c);
            let (x, y) = (f64::from(x[first]), f64::from(x[second]));
            let judged = |x: f64, y: f64| {
                let (cos, sin) = self.angles.cos_sin(t, position)?;
                let amplitude = self.angles.exact_amplitude;
                let element = Element { x, y, cos, sin, amplitude };
                let bound = element.bound(TABLE_ERROR, output);
                let is_given = x.is_finite() && y.is_finite();
                match bound.is_finite() {
                    true => Some((element.exact(), bound)),
                    false => (!is_given).then_some((f64::NAN, 0.0)),
                }
            };
            (all[first], all[second]) = (judged(x, y), judged(y, -x));
        }
        all
    }
}
