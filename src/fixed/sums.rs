//! The sums of a row, and how two of them become one: all of the online softmax.

/// A row over some keys. With weights `p_j = 2^(t_j - m)`, in units that are the same for both:
/// `l = sum p_j 2^V`, `o_c = sum p_j v_jc`.
///
/// Always `|o_c| <= l <= 2^30`: `2^V` is the largest magnitude of a code, so `l` is what `o_c` would be if all values were as large as
/// they can be. Shifting rounds both alike and keeps order, so that it stays so.
#[derive(Debug)]
pub(super) struct Sums<'a> {
    pub(super) m: &'a mut i32,
    pub(super) l: &'a mut i32,
    pub(super) o: &'a mut [i32],
}

/// The largest sum.
pub(super) const FULL: i32 = 1 << 30;

/// A weight of 1 adds 2 to this to `l`.
pub(super) const UNIT_BITS: u32 = 26;

/// `x / 2^by`, halves upwards. Of two shifts, so that no sum overflows and `by = 32` is 0.
#[derive(Clone, Copy)]
struct Shift {
    first: u32,
    last: u32,
}

impl Shift {
    #[inline(always)]
    fn new(by: u32) -> Self {
        let last = by.min(1);
        Shift { first: by.min(32) - last, last }
    }

    #[inline(always)]
    fn of(self, x: i32) -> i32 {
        // Without a shift `last` is 0, and so is the half.
        ((x >> self.first) + self.last as i32) >> self.last
    }
}

impl Sums<'_> {
    /// Adds the sums over other keys.
    ///
    /// ```text
    /// m' = max(m, m2)                          or one more, if l' would be more than 2^30
    /// l' = l 2^(m - m') + l2 2^(m2 - m')       shifts, for m is a whole number
    /// o' = o 2^(m - m') + o2 2^(m2 - m')
    /// ```
    /// A sum that is shifted is off by half a unit at most, and what it was off by before is halved with it: see the bound in `oracle/`.
    pub(super) fn join(&mut self, m2: i32, l2: i32, o2: &[i32]) {
        // Only what has seen no key has no weight.
        if l2 == 0 {
            return;
        }
        if *self.l == 0 {
            *self.m = m2;
        }
        let mut m = m2.max(*self.m);
        let by = [m.abs_diff(*self.m), m.abs_diff(m2)];
        let [mut mine, mut theirs] = by.map(Shift::new);
        if mine.of(*self.l) > FULL - theirs.of(l2) {
            m = m.saturating_add(1);
            [mine, theirs] = by.map(|by| Shift::new(by.saturating_add(1)));
        }
        *self.m = m;
        *self.l = mine.of(*self.l) + theirs.of(l2);
        // Two loops, for both sides' shifts would fill the registers; mostly there is nothing to do in the first.
        if mine.first + mine.last > 0 {
            for o in self.o.iter_mut() {
                *o = mine.of(*o);
            }
        }
        for (o, &o2) in self.o.iter_mut().zip(o2) {
            *o += theirs.of(o2);
        }
    }
}

/// `2^15 o / l` for each channel, rounded to the nearest; 0 for a row that has seen no key.
pub(super) fn quotients(out: &mut [i16], l: i32, o: &[i32]) {
    if l <= 0 {
        return out.fill(0);
    }
    // 2^30 <= divisor < 2^31
    let up = l.leading_zeros() - 1;
    let inverse = reciprocal((l as u32) << up);
    for (out, &o) in out.iter_mut().zip(o) {
        let magnitude = high_product(o.unsigned_abs() << up, inverse); // 2^29 |o| / l
        let magnitude = ((magnitude + (1 << 13)) >> 14) as i32;
        let rounded = if o < 0 { -magnitude } else { magnitude };
        *out = rounded.min(i32::from(i16::MAX)) as i16;
    }
}

/// `log2(sum 2^t)` in units of 2^-16; the smallest number for a row that has seen no key.
pub(super) fn log_sum_exp(m: i32, l: i32) -> i64 {
    if l <= 0 {
        return i64::MIN;
    }
    ((i64::from(m) - i64::from(UNIT_BITS)) << 16) + i64::from(log2(l as u32))
}

/// `log2(x)` of `x > 0` in units of 2^-16, rounded to the nearest. A number of `1 .. 2` is squared: the square is 2 or more where the next bit of
/// the logarithm is 1. What squares are rounded by grows as fast as it loses weight, and is less than 2^-24 in all.
fn log2(x: u32) -> u32 {
    let up = x.leading_zeros();
    let (mut log, mut x) = (31 - up, x << up);
    for _ in 0..17 {
        x = high_product(x, x);
        let bit = x >> 31;
        log = 2 * log + bit;
        x <<= 1 - bit;
    }
    (log + 1) >> 1
}

/// `2^61 / x` for `2^30 <= x < 2^31`, rounded down. By hand: a division of 64 bits is a large function where there is none.
fn reciprocal(x: u32) -> u32 {
    let (mut quotient, mut rest) = (0, 1 << 30);
    for _ in 0..32 {
        quotient <<= 1;
        if rest >= x {
            rest -= x;
            quotient |= 1;
        }
        rest <<= 1;
    }
    quotient
}

/// `x y / 2^32`, less than 2 below it: products of 16 bits, without the lowest.
#[inline(always)]
fn high_product(x: u32, y: u32) -> u32 {
    by_16_bits(x, y >> 16) + (by_16_bits(x, y & 0xffff) >> 16)
}

/// `x y / 2^16` for `y < 2^16`, rounded down.
#[inline(always)]
pub(super) fn by_16_bits(x: u32, y: u32) -> u32 {
    (x >> 16) * y + (((x & 0xffff) * y) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> impl Iterator<Item = i32> {
        let mut random = fastrand::Rng::with_seed(1);
        let powers = (0..31).flat_map(|bits| [-1, 0, 1].map(|off| (1 << bits) + off));
        let random = (0..20_000).map(move |_| random.i32(..) >> random.i32(1..31));
        powers.chain(random).filter(|x| (1..=FULL).contains(x))
    }

    #[test]
    fn logarithms_are_rounded_to_the_nearest() {
        for l in numbers() {
            let error = f64::from(log2(l as u32)) - f64::from(l).log2() * 65536.0;
            assert!(error.abs() < 0.51, "{l}: {error}");
        }
        assert_eq!(log_sum_exp(7, 1 << UNIT_BITS), 7 << 16);
        assert_eq!(log_sum_exp(7, 0), i64::MIN);
    }

    #[test]
    fn quotients_are_rounded_to_the_nearest() {
        let parts = [0.0, 1.0, -1.0, 0.5, -0.5, 0.3, -0.7, 1e-5, -3e-5];
        for l in numbers() {
            let o = parts.map(|part| (f64::from(l) * part) as i32);
            let mut out = [77; 9];
            quotients(&mut out, l, &o);
            for (got, o) in out.into_iter().zip(o) {
                let exact = (f64::from(o) / f64::from(l) * 32768.0).min(32767.0);
                assert!((f64::from(got) - exact).abs() < 0.5 + 1.0 / 4096.0, "{o} / {l}: {got}");
            }
        }
        let mut out = [77; 2];
        quotients(&mut out, 0, &[0, 0]);
        assert_eq!(out, [0, 0]);
    }

    #[test]
    fn shifts_are_rounded_and_order_is_kept() {
        for by in 0..40 {
            let mut before = i32::MIN;
            for x in [-FULL, -FULL + 1, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, FULL - 1, FULL] {
                let exact = f64::from(x) / f64::from(by).exp2();
                let got = Shift::new(by as u32).of(x);
                assert!((f64::from(got) - exact).abs() <= 0.5 && got >= before, "{x} {by}: {got}");
                before = got;
            }
        }
    }
}
