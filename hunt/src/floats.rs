//! Numbers by class: uniform bit patterns would waste most inputs on magnitudes that mean nothing.

use arbitrary::{Result, Unstructured};

/// Bytes of a number: its class, and a fraction in 64ths.
const BYTES: usize = 2;

/// A number. `spread` is the exponent of those that are scaled.
pub(crate) fn float(u: &mut Unstructured<'_>, neighbour: Option<f32>, spread: i32) -> Result<f32> {
    // An exhausted input gives zeros for ever: let it go on with small numbers, each made of the one before, and no two alike for long.
    if u.is_empty() {
        let bits = neighbour.unwrap_or(0.5).to_bits().wrapping_mul(0x9e37_79b1) ^ 0x5bd1_e995;
        return Ok(f32::from((bits.rotate_left(13) >> 16) as i16) / 16_384.0);
    }
    let class: u8 = u.arbitrary()?;
    let fraction = f32::from(u.arbitrary::<i8>()?) / 64.0;
    Ok(match class {
        0..=199 => fraction,
        200..=223 => fraction * 2.0_f32.powi(spread),
        224..=239 => neighbour.unwrap_or(fraction),
        240 => fraction * 1e30,
        241 => fraction * 1e-30,
        242 => fraction * 1e-41,
        243 => f32::INFINITY,
        244 => f32::NEG_INFINITY,
        245 => f32::NAN,
        246 => f32::from_bits(0x7fc0_0001),
        247 => -0.0,
        248 => f32::MAX,
        _ => 0.0,
    })
}

/// A size of at most `most`: small ones are tried most, since there a bound is tight and an input quick.
pub(crate) fn size(u: &mut Unstructured<'_>, least: usize, most: usize) -> Result<usize> {
    let most = match u.int_in_range(0..=7)? {
        0..=2 => most.min(least + 6),
        3..=5 => most.min(least + 40),
        _ => most,
    };
    u.int_in_range(least..=most)
}

/// So many of them, each the neighbour of the next.
pub(crate) fn floats(u: &mut Unstructured<'_>, count: usize, spread: i32) -> Result<Vec<f32>> {
    let mut x: Vec<f32> = Vec::with_capacity(count);
    for _ in 0..count {
        x.push(float(u, x.last().copied(), spread)?);
    }
    Ok(x)
}

/// Changes some numbers of an input as numbers: by a little, in sign, in class, or to what stands elsewhere. Bytes that are
/// none are changed just as well.
pub fn mutate(data: &mut [u8], seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    // Where numbers begin is known to the decoder alone.
    let Some(places) = data.len().checked_sub(BYTES - 1).filter(|places| *places > 0) else {
        return;
    };
    for _ in 0..random.u8(1..=4) {
        let (at, from) = (random.usize(..places), random.usize(..places));
        let step = random.u8(..8);
        let other = [data[from], data[from + 1]];
        let number = &mut data[at..at + BYTES];
        match random.u8(..8) {
            0 => number[1] = number[1].wrapping_add(1 + step),
            1 => number[1] = number[1].wrapping_sub(1 + step),
            2 => number[1] = number[1].wrapping_neg(),
            3 => number[1] ^= 1 << step,
            4 => number.copy_from_slice(&other),
            // The classes that are not ordinary numbers, one by one.
            5 => number[0] = random.u8(200..),
            6 => number[0] = 0,
            _ => number.copy_from_slice(&[0, if step < 4 { 64 } else { 192 }]),
        }
    }
}

/// Rows of numbers that follow from a seed, each row of a class: ordinary, scaled, zeros, subnormal, huge, tiny, or near the
/// largest. A few numbers are then put in their places one by one.
pub(crate) fn rows(
    u: &mut Unstructured<'_>,
    (count, width): (usize, usize),
    spread: i32,
) -> Result<Vec<f32>> {
    let mut seed: u32 = u.arbitrary()?;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((seed >> 16) as i16) / 16_384.0
    };
    let specials = u.int_in_range(0..=6)?;
    let specials = (0..specials)
        .map(|_| Ok((usize::from(u.arbitrary::<u16>()?), float(u, None, spread)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut x = Vec::with_capacity(count * width);
    for _ in 0..count {
        let factor = match u.arbitrary::<u8>()? {
            0..=199 => 1.0,
            200..=221 => 2.0_f32.powi(spread),
            222..=227 => 0.0,
            228..=233 => 1e-41,
            234..=239 => 1e-43,
            240..=243 => 1e30,
            244..=249 => 1e-30,
            250..=251 => f32::MAX / 2.0,
            _ => f32::MIN_POSITIVE,
        };
        x.extend(std::iter::repeat_with(|| random() * factor).take(width));
    }
    for (at, special) in specials {
        if let Some(len) = std::num::NonZero::new(x.len()) {
            x[at % len] = special;
        }
    }
    Ok(x)
}
