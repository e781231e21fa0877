//! The parts, measured over their whole domain (a stride here), on every backend.

use flashlet::math::{
    SIN_COS_ERROR, TANH_ULPS, exp2, exp2_bf16, sin_cos, sin_cos_of_radians, tanh,
};
use flashlet::simd::{Portable, Scalar, Simd};
use flashlet::{Level, simd};

/// A computation on whichever backend a level stands for.
trait OnSimd {
    type Out;
    fn run<S: Simd>(self, simd: S) -> Self::Out;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{OnSimd, simd};

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn avx2<F: OnSimd>(f: F) -> F::Out {
        f.run(simd::Avx2::here())
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn avx512<F: OnSimd>(f: F) -> F::Out {
        f.run(simd::Avx512::here())
    }
}

fn on<F: OnSimd>(level: Level, f: F) -> F::Out {
    assert!(level.is_available());
    match level {
        Level::Scalar => f.run(Scalar),
        Level::Portable => f.run(Portable),
        // SAFETY: the level is available, so its features are.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::avx2(f) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::avx512(f) },
        #[cfg(not(target_arch = "x86_64"))]
        Level::Avx2 | Level::Avx512 => unreachable!("not available here"),
    }
}

/// `f` of up to `LANES` numbers at once.
fn lanes<S: Simd>(simd: S, x: &[f32], f: impl Fn(S::F32) -> S::F32) -> Vec<f32> {
    let mut scratch = vec![0.0; 2 * S::LANES];
    let vectors = simd.vectors_of(&mut scratch);
    simd.floats_of(&mut vectors[..1])[..x.len()].copy_from_slice(x);
    vectors[0] = f(vectors[0]);
    simd.floats_of(&mut vectors[..1])[..x.len()].to_vec()
}

struct Exp2<'a>(&'a [f32]);

impl OnSimd for Exp2<'_> {
    type Out = Vec<f32>;
    fn run<S: Simd>(self, simd: S) -> Vec<f32> {
        self.0.chunks(S::LANES).flat_map(|x| lanes(simd, x, |x| exp2(simd, x))).collect()
    }
}

struct Exp2Bf16<'a>(&'a [f32]);

impl OnSimd for Exp2Bf16<'_> {
    type Out = Vec<f32>;
    fn run<S: Simd>(self, simd: S) -> Vec<f32> {
        self.0.chunks(S::LANES).flat_map(|x| lanes(simd, x, |x| exp2_bf16(simd, x))).collect()
    }
}

struct Tanh<'a>(&'a [f32]);

impl OnSimd for Tanh<'_> {
    type Out = Vec<f32>;
    fn run<S: Simd>(self, simd: S) -> Vec<f32> {
        self.0.chunks(S::LANES).flat_map(|x| lanes(simd, x, |x| tanh(simd, x))).collect()
    }
}

/// Distance from the exact value in units in the last place of it.
pub(crate) fn ulps(got: f32, exact: f64) -> f64 {
    let ulp = 2.0_f64.powi((exact.abs().log2().floor() as i32).max(-126) - 23);
    (f64::from(got) - exact).abs() / ulp
}

#[test]
fn exp2_is_within_its_ulps_over_its_domain() {
    // Every 97th of the 1,123,811,329 floats in [-126, -0].
    let first = (-0.0_f32).to_bits();
    let inputs: Vec<f32> =
        (first..=(-126.0_f32).to_bits()).step_by(97).map(f32::from_bits).collect();
    for level in Level::available() {
        let limit = if level.is_fused() { 0.7766 } else { 1.0607 };
        let mut worst = (0.0, 0.0);
        for (&x, y) in inputs.iter().zip(on(level, Exp2(&inputs))) {
            assert!((0.0..=1.0).contains(&y), "exp2({x}) = {y} on {level}");
            let error = ulps(y, f64::from(x).exp2());
            if error > worst.0 {
                worst = (error, x);
            }
        }
        println!("{level}: {:.4} ulp at {:e}", worst.0, worst.1);
        assert!(worst.0 <= limit, "{level}: {} ulp at {:e}", worst.0, worst.1);
        assert!(
            worst.0 >= 0.7,
            "{level}: {} ulp at worst is too good to be this polynomial",
            worst.0
        );
    }
}

#[test]
fn exp2_for_bf16_is_within_its_error_over_its_domain() {
    let first = (-0.0_f32).to_bits();
    let inputs: Vec<f32> =
        (first..=(-125.0_f32).to_bits()).step_by(97).map(f32::from_bits).collect();
    for level in Level::available() {
        let mut worst = (0.0, 0.0);
        for (&x, y) in inputs.iter().zip(on(level, Exp2Bf16(&inputs))) {
            let error = (f64::from(y) / f64::from(x).exp2() - 1.0).abs();
            if error > worst.0 {
                worst = (error, x);
            }
            assert!(half::bf16::from_f32(y) <= half::bf16::ONE, "exp2_bf16({x:e}) = {y:e}");
        }
        assert!((7.4e-5..=7.49e-5).contains(&worst.0), "{level}: {:e} at {:e}", worst.0, worst.1);
        let special = on(level, Exp2Bf16(&[-0.0, f32::NEG_INFINITY, f32::NAN]));
        assert_eq!(half::bf16::from_f32(special[0]), half::bf16::ONE, "{level}");
        assert!(special[1] == 0.0 && special[2].is_nan(), "{level}: {special:?}");
    }
}

#[test]
fn exp2_treats_special_values_as_it_says() {
    let below = f32::from_bits((-126.0_f32).to_bits() + 1);
    let finite = [(0.0, 1.0), (-0.0, 1.0), (-1.0, 0.5), (-126.0, f32::MIN_POSITIVE), (-1e-40, 1.0)];
    let flushed =
        [(below, 0.0), (-149.0, 0.0), (-1e30, 0.0), (f32::MIN, 0.0), (f32::NEG_INFINITY, 0.0)];
    // Every payload bit and both signs: arithmetic on the exponent field must not turn one into a number.
    let nans = (0..23)
        .flat_map(|bit| [0x7f80_0000_u32, 0xff80_0000].map(|nan| f32::from_bits(nan | 1 << bit)));
    let nans: Vec<f32> = nans.chain([f32::from_bits(0x7fff_ffff)]).collect();
    for level in Level::available() {
        for (x, y) in finite.into_iter().chain(flushed) {
            assert_eq!(on(level, Exp2(&[x]))[0].to_bits(), y.to_bits(), "exp2({x:e}) on {level}");
        }
        for y in on(level, Exp2(&nans)) {
            assert!(y.is_nan(), "{level}");
        }
    }
}

#[test]
fn exp2_gives_the_same_bits_in_a_class() {
    let inputs: Vec<f32> =
        (0x8000_0000_u32..0xc300_0000).step_by(50_021).map(f32::from_bits).collect();
    let bits = |level| on(level, Exp2(&inputs)).into_iter().map(f32::to_bits).collect::<Vec<_>>();
    for fused in [false, true] {
        let levels: Vec<_> = Level::available().filter(|level| level.is_fused() == fused).collect();
        for pair in levels.windows(2) {
            assert_eq!(bits(pair[0]), bits(pair[1]), "{pair:?}");
        }
    }
}

struct Facts;

impl OnSimd for Facts {
    type Out = ();

    fn run<S: Simd>(self, simd: S) {
        assert_eq!(S::LEVEL.lanes(), S::LANES);
        assert_eq!(S::LEVEL.is_fused(), S::FUSED);
        let first = |f: &dyn Fn(S::F32) -> S::F32, x: f32| lanes(simd, &[x], f)[0];

        // 1 + 2^-12 squared is 1 + 2^-11 + 2^-24: the last term survives one rounding only.
        let x = 1.0 + 2.0_f32.powi(-12);
        let y = first(&|v| simd.mul_add(v, v, simd.splat(-1.0 - 2.0_f32.powi(-11))), x);
        assert_eq!(y, if S::FUSED { 2.0_f32.powi(-24) } else { 0.0 }, "mul_add on {}", S::LEVEL);

        let max = |a: f32, b: f32| first(&|v| simd.max(v, simd.splat(b)), a);
        assert_eq!(max(1.0, 2.0), 2.0);
        assert_eq!(max(2.0, 1.0), 2.0);
        assert_eq!(max(f32::NAN, 1.0), 1.0, "the second of NaN and a number");
        assert!(max(1.0, f32::NAN).is_nan(), "the second of a number and NaN");
        assert_eq!(max(0.0, -0.0).to_bits(), (-0.0_f32).to_bits(), "the second of two zeros");
        assert_eq!(max(-0.0, 0.0).to_bits(), 0, "the second of two zeros");

        let chosen = |mask: &dyn Fn(S::F32) -> S::Mask, x: f32| {
            first(&|v| simd.select(mask(v), simd.splat(1.0), simd.splat(f32::NAN)), x) == 1.0
        };
        let lt = |a: f32, b: f32| chosen(&|v| simd.lt(v, simd.splat(b)), a);
        assert!(
            lt(1.0, 2.0)
                && !lt(2.0, 1.0)
                && !lt(1.0, 1.0)
                && !lt(f32::NAN, 1.0)
                && !lt(1.0, f32::NAN)
        );
        let eq = |a: f32, b: f32| chosen(&|v| simd.eq(v, simd.splat(b)), a);
        assert!(eq(0.0, -0.0) && eq(1.0, 1.0) && !eq(1.0, 2.0) && !eq(f32::NAN, f32::NAN));

        for bits in [0_u64, 1, 0b1010_0110_0101_1001, u64::MAX, 1 << S::LANES] {
            let zeros = vec![0.0; S::LANES];
            let out = lanes(simd, &zeros, |v| simd.select(simd.mask(bits), simd.splat(1.0), v));
            for (n, x) in out.into_iter().enumerate() {
                assert_eq!(x == 1.0, bits >> n & 1 == 1, "bit {n} of {bits:b} on {}", S::LEVEL);
            }
        }

        for n in -126..=127_i16 {
            let y =
                first(&|v| simd.scale_by_exponent(v, simd.splat(simd::ROUND + f32::from(n))), 1.0);
            assert_eq!(y, 2.0_f32.powi(n.into()), "2^{n} on {}", S::LEVEL);
        }
        assert_eq!(first(&|v| simd.div(simd.splat(1.0), v), 3.0), 1.0 / 3.0);
    }
}

#[test]
fn backends_do_what_the_trait_says() {
    for level in Level::available() {
        on(level, Facts);
    }
}

#[test]
fn levels_are_found_lowest_first_and_the_best_is_chosen() {
    let levels: Vec<_> = Level::available().collect();
    assert!(levels.is_sorted() && levels.starts_with(&[Level::Scalar, Level::Portable]));
    assert_eq!(Some(&Level::detect()), levels.last());
}

#[test]
fn tanh_is_within_its_ulps_over_its_domain() {
    // Every 97th of the floats from the smallest normal one to 12, on both sides.
    let (first, last) = (f32::MIN_POSITIVE.to_bits(), 12.0_f32.to_bits());
    let inputs: Vec<f32> = (first..=last).step_by(97).map(f32::from_bits).collect();
    for level in Level::available() {
        let mut worst = 0.0_f64;
        for sign in [1.0, -1.0] {
            let signed: Vec<f32> = inputs.iter().map(|x| sign * x).collect();
            for (x, got) in signed.iter().zip(on(level, Tanh(&signed))) {
                let exact = f64::from(*x).tanh();
                worst = worst.max(ulps(sign * got, exact.abs()));
                assert!(got.abs() <= 1.0 && got.is_sign_positive() == x.is_sign_positive());
            }
        }
        println!("{level}: {worst:.4} ulp");
        assert!(worst <= TANH_ULPS, "{level}: {worst} ulp");
        let special =
            on(level, Tanh(&[0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, 100.0, f32::NAN]));
        let bits: Vec<u32> = special[..5].iter().map(|x| x.to_bits()).collect();
        let expected = [0.0, 0.0, 1.0, -1.0, 1.0_f32].map(f32::to_bits);
        assert_eq!(bits, expected, "{level}");
        assert!(special[5].is_nan(), "{level}");
    }
}

/// The largest error of sine and cosine over some phases, and where it is.
fn worst_of_phases(phases: impl Iterator<Item = u32>) -> (f64, u32) {
    let mut worst = (0.0, 0);
    for phase in phases {
        let [sin, cos] = sin_cos(phase);
        assert!(sin.abs() <= 1.0 && cos.abs() <= 1.0, "{phase:#010x}");
        let mirrored = sin_cos(phase.wrapping_neg());
        assert!(mirrored[0] == -sin && mirrored[1].to_bits() == cos.to_bits(), "{phase:#010x}");
        // Of the nearest quarter's residue: exact in f64.
        let quarter = phase.wrapping_add(1 << 29) >> 30;
        let rest = f64::from(phase.wrapping_sub(quarter << 30) as i32) / 2.0_f64.powi(32);
        let (s, c) = (rest * std::f64::consts::TAU).sin_cos();
        let [s, c] = [[s, c], [c, -s], [-s, -c], [-c, s]][quarter as usize];
        let error = (f64::from(sin) - s).abs().max((f64::from(cos) - c).abs());
        if error > worst.0 {
            worst = (error, phase);
        }
    }
    worst
}

/// What the head of `math/sin_cos.rs` says of the function itself.
const SIN_COS_ALONE: f64 = 3.84e-8;

#[test]
fn sine_and_cosine_are_within_their_error_of_every_97th_phase() {
    let (error, at) = worst_of_phases((0..=u32::MAX).step_by(97));
    println!("{error:.4e} at {at:#010x}");
    assert!((3.8e-8..=SIN_COS_ALONE).contains(&error), "{error:e} at {at:#010x}");
    assert_eq!(
        [0, 1 << 30, 1 << 31, 3 << 30].map(sin_cos),
        [[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]]
    );
    const {
        assert!(SIN_COS_ALONE + 2.0 * std::f64::consts::TAU / (1_u64 << 33) as f64 <= SIN_COS_ERROR)
    };
}

#[test]
fn sines_of_radians_are_the_nearest_f32() {
    // All exponents, and angles near multiples of a quarter turn, where a reduction cancels.
    let near = (1..4000).map(|n| (f64::from(n) * std::f64::consts::FRAC_PI_2) as f32);
    let wide =
        (0..=255_u32).flat_map(|exponent| (0..97).map(move |n| (exponent << 23) | (n * 86_453)));
    let angles = near.chain(wide.map(f32::from_bits)).filter(|angle| angle.is_finite());
    let mut others = 0;
    for angle in angles.flat_map(|angle| [angle, -angle]) {
        let [sin, cos] = sin_cos_of_radians(angle);
        let exact = f64::from(angle).sin_cos();
        others += u32::from(sin != exact.0 as f32) + u32::from(cos != exact.1 as f32);
        let is_near = |a: f32, b: f64| (f64::from(a) - b).abs() <= 6.1e-8 * b.abs();
        assert!(is_near(sin, exact.0) && is_near(cos, exact.1), "{angle:e}: {sin:e} {cos:e}");
    }
    assert_eq!(others, 0, "not the nearest");
    for angle in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        assert!(sin_cos_of_radians(angle).iter().all(|x| x.is_nan()), "{angle}");
    }
}
