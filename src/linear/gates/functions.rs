//! Functions of one number, without overflow anywhere. NaN of NaN.
//!
//! All come from `libm`'s f32 `expf` and `log1pf` (0.92 and 0.83 ulp as measured here), so that cores without f64 compute them
//! fast. The bounds below are the worst over every f32: `certify/` tries them all.

/// `ln(1 + e^x)`, above 0: `x` itself from 17 on. 1.62 ulp.
///
/// ```text
/// max(x, 0) + ln(1 + e^-|x|)
/// ```
/// ```
/// assert_eq!(flashlet::softplus(0.0), core::f32::consts::LN_2);
/// assert_eq!(flashlet::softplus(100.0), 100.0);
/// assert_eq!(flashlet::softplus(-100.0), 3.783506e-44); // where ln(1 + e^x) as written is 0
/// ```
#[must_use]
pub fn softplus(x: f32) -> f32 {
    let rest = libm::log1pf(libm::expf(-x.abs()));
    if x > 0.0 { x + rest } else { rest }
}

/// `ln(1 / (1 + e^-x))`, below 0: `-softplus(-x)`, 1.62 ulp.
///
/// ```
/// assert_eq!(flashlet::log_sigmoid(-1000.0), -1000.0); // where the logarithm of the sigmoid is -inf
/// ```
#[must_use]
pub fn log_sigmoid(x: f32) -> f32 {
    -softplus(-x)
}

/// `1 / (1 + e^-x)`, 2.41 ulp: small numbers keep all their bits.
///
/// ```
/// assert_eq!(flashlet::sigmoid(0.0), 0.5);
/// assert!(flashlet::sigmoid(-87.0) > 1e-38);
/// ```
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    let e = libm::expf(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// `x sigmoid(x)`, 3.32 ulp, and -0 of -inf.
///
/// ```
/// assert_eq!(flashlet::silu(0.0), 0.0);
/// assert_eq!(flashlet::silu(50.0), 50.0);
/// assert_eq!(flashlet::silu(f32::NEG_INFINITY), 0.0); // where -inf * 0 is NaN
/// ```
#[must_use]
pub fn silu(x: f32) -> f32 {
    /// Below it `x` is a multiple of 2^-17, and `sigmoid(x)` is `e^x`.
    const DEEP: f32 = -80.0;
    /// 32 ln 2 to a multiple of 2^-17, and the rest.
    const SHIFT: f32 = 2_907_270.0 / 131_072.0;
    const REST: f32 = (32.0 * core::f64::consts::LN_2 - SHIFT as f64) as f32;
    const TWO_M32: f32 = f32::from_bits((127 - 32) << 23);
    if x < -128.0 {
        // x e^x is less than half of the least f32.
        -0.0
    } else if x < DEEP {
        // e^x may be subnormal where x e^x is not, so 2^32 e^x, in which the sum is exact.
        let e = libm::expf(x + SHIFT);
        x * (e + e * REST) * TWO_M32
    } else {
        x * sigmoid(x)
    }
}
