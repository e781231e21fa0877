//! 2^-u in integers: 32 bits, and no product wider.

/// `u` is in units of `2^-FRACTION_BITS`.
pub(super) const FRACTION_BITS: u32 = 24;

/// `c1 ..= c4` of `2^g = 1 + g (c1 + g (c2 + g (c3 + g c4)))` for `0 <= g < 1`, in units of 2^-16, 2^-17, 2^-19 and 2^-21, chosen for the
/// least error of the evaluation below, with all its roundings: 7.68e-6, relatively.
const C: [u32; 4] = [45_419, 31_641, 27_263, 28_456];

/// `2^g` in units of 2^-29, `g < 2^16` being in units of 2^-16; `2^0 = 1` exactly. Each factor has 16 bits at most, so no product
/// overflows: `c4`, `c3 + g c4`, `c2 + ..` are below 28457, 34377 and 40235, and `c1 + ..` is below 2^16.
#[inline(always)]
fn power(g: u32) -> u32 {
    let y = C[2] + ((C[3] * g) >> 18);
    let y = C[1] + ((y * g) >> 18);
    let y = C[0] + ((y * g) >> 17);
    (1 << 29) + ((y * g) >> 3)
}

/// `2^-u` in units of `2^-bits`, rounded to the nearest, for `u` up to `bits + 2` and `bits` up to 19.
///
/// ```text
/// n = ceil(u),  g = n - u in [0, 1)         u is rounded to 16 bits of fraction first
/// 2^-u = 2^g * 2^-n
/// ```
#[inline(always)]
pub(super) fn weight(u: u32, bits: u32) -> i32 {
    let u = (u + (1 << (FRACTION_BITS - 17))) >> (FRACTION_BITS - 16);
    let n = (u + 0xffff) >> 16;
    let g = (n << 16) - u;
    // 10 ..= 31: all but one of the bits that go, then that one, is the same as all rounded at once.
    let dropped = 29 - bits + n;
    ((((power(g)) >> (dropped - 1)) + 1) >> 1) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_as_near_as_it_says_at_every_fraction() {
        let mut worst = 0.0_f64;
        for g in 0..1 << 16 {
            let exact = (f64::from(g) / 65536.0).exp2();
            let got = f64::from(power(g)) / f64::from(1 << 29);
            worst = worst.max((got / exact - 1.0).abs());
        }
        assert_eq!(power(0), 1 << 29);
        assert!(worst < 7.68e-6 && worst > 7.66e-6, "{worst:e}");
    }

    #[test]
    fn weights_are_rounded_to_the_nearest_and_at_most_1() {
        for bits in [16, 19] {
            let mut before = 1 << bits;
            for u in (0..=(bits + 2) << FRACTION_BITS).step_by(101) {
                let exact = (-f64::from(u) / f64::from(1 << FRACTION_BITS)).exp2();
                let got = weight(u, bits);
                // The fraction's rounding is 2^-17 of an exponent.
                let allowed = 0.5 + exact * f64::from(1 << bits) * (7.68e-6 + 5.3e-6);
                let error = f64::from(got) - exact * f64::from(1 << bits);
                assert!(error.abs() <= allowed, "{bits} {u}: {error} {allowed}");
                // Near a power of 2 the polynomial may be off upwards, by less than a unit.
                assert!(got <= before + 1 && got <= 1 << bits, "{bits} {u}");
                before = got;
            }
            assert_eq!(weight(0, bits), 1 << bits);
            assert_eq!(weight((bits + 2) << FRACTION_BITS, bits), 0);
        }
    }
}
