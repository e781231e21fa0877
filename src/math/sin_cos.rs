//! Sine and cosine of a phase, the fraction of a turn.

/// What [`sin_cos`] may be off by.
pub const SIN_COS_ERROR: f64 = 1e-7;

/// Sine and cosine of `phase / 2^32` turns, placeholder of the tuned one.
#[must_use]
#[inline(always)]
pub const fn sin_cos(phase: u32) -> [f32; 2] {
    let quadrant = phase.wrapping_add(1 << 29) >> 30;
    let z = phase.wrapping_sub(quadrant << 30) as i32 as f32 * f32::from_bits(0x2f80_0000);
    let y = z * z;
    let s = z * (6.283_185_3 + y * (-41.341_7 + y * (81.605_2 + y * -76.7)));
    let c = 1.0 + y * (-19.739_209 + y * (64.939_39 + y * (-85.456_8 + y * 60.2)));
    let (sin, cos) = if quadrant & 1 == 1 { (c, s) } else { (s, c) };
    let sin = f32::from_bits(sin.to_bits() ^ (quadrant >> 1) << 31);
    let cos = f32::from_bits(cos.to_bits() ^ (quadrant.wrapping_add(1) >> 1) << 31);
    [sin, cos]
}
