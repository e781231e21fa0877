//! Sine and cosine of a phase: the fraction of a turn, in units of 2^-32.

/// What [`sin_cos`] may be off by, with what the phase of any u32 position is rounded by: 3.84e-8 of the function itself over all
/// 2^32 phases, 7.4e-10 of rounding a phase to them, and as much of a frequency in 64 bits at position 2^32.
pub const SIN_COS_ERROR: f64 = 4e-8;

/// Adding and subtracting it rounds to a multiple of 2^25, ties to even.
const ROUND: f32 = 1.5 * (1_u64 << 48) as f32;

/// A residue counts units of 2^-34 turns: so many radians, rounded, and as `HI + LO`. `HI` has five significant bits.
const UNIT: f32 = (core::f64::consts::TAU / (1_u64 << 34) as f64) as f32;
const HI: f32 = 6.25 / (1_u64 << 34) as f32;
const LO: f32 = ((core::f64::consts::TAU - 6.25) / (1_u64 << 34) as f64) as f32;

/// What part of the angle is the sine's exact part: it makes the rest small.
const SLOPE: f32 = 0.906_25;

/// `sin x = x + x^3 (S3 + S5 x^2 + S7 x^4)` for an eighth of a turn, tuned for the rounding of the whole evaluation.
const S3: f32 = f32::from_bits(0xbe2a_aaa0);
const S5: f32 = f32::from_bits(0x3c08_82d2);
const S7: f32 = f32::from_bits(0xb94c_68e7);

/// `2 cos x = 2 - x^2 + x^4 (C4 + C6 x^2 + C8 x^4)`, likewise.
const C4: f32 = f32::from_bits(0x3daa_aaa3);
const C6: f32 = f32::from_bits(0xbb36_05a9);
const C8: f32 = f32::from_bits(0x384c_f575);

/// `[sin, cos]` of `phase / 2^32` turns, within 3.84e-8; exact at the quarters of a turn, never above 1.
///
/// Products, sums and integers only: no fused multiply-add, so that all hosts give the same bits, and no branch, so that a
/// loop over it becomes vectors. No intermediate is subnormal: hosts that flush those agree.
///
/// ```text
/// r = phase - the nearest quarter = n + rest         n a multiple of 2^25: its angle has few bits
/// x = h + l,  h = n HI  exactly,  l = rest UNIT + n LO
/// sin x = SLOPE h + (x ((1 - SLOPE) + S3 x^2 + ..) + SLOPE l)       its first term is exact,
/// 2 cos x = (2 - h^2) + (x^4 (C4 + ..) - l (h + x))                 and so is this one
/// ```
/// so that little more than the last rounding is an error. `tests/suite/math.rs` measures all phases, or every 97th.
#[must_use]
#[inline(always)]
pub const fn sin_cos(phase: u32) -> [f32; 2] {
    let r = (phase << 2) as i32;
    // The last bits of t count the multiples in n; the shift drops all others.
    let t = r as f32 + ROUND;
    let n = t - ROUND;
    let rest = r.wrapping_sub((t.to_bits() << 25) as i32) as f32;
    let h = n * HI;
    let l = rest * UNIT + n * LO;
    let x = h + l;
    let (hh, d) = (h * h, l * (h + x));
    let y = hh + d;
    let yy = y * y;
    let sin = (S3 * y + (1.0 - SLOPE)) + yy * (S7 * y + S5);
    let sin = h * SLOPE + (x * sin + l * SLOPE);
    let cos = (C8 * y + C6) * y + C4;
    let cos = 0.5 * ((2.0 - hh) + (yy * cos - d));
    turned(phase.wrapping_add(1 << 29), sin, cos)
}

/// Turned further by the quarters that the first two bits count: `[s, c]`, `[c, -s]`, `[-s, -c]`, `[-c, s]`.
#[inline(always)]
const fn turned(quarters: u32, sin: f32, cos: f32) -> [f32; 2] {
    const SIGN: u32 = 1 << 31;
    let odd = quarters << 1;
    // Adding 0 makes +0.0 of -0.0.
    let sin = f32::from_bits(sin.to_bits() ^ ((quarters ^ odd) & SIGN)) + 0.0;
    let cos = f32::from_bits(cos.to_bits() ^ (quarters & SIGN));
    if (odd as i32) < 0 { [cos, sin] } else { [sin, cos] }
}
