//! What `vdpbf16ps` does, asked of the processor: the evidence for the assumptions of `src/bound.rs`, section 9.
//! Where the processor does not have it these tests pass without asking.
#![cfg(target_arch = "x86_64")]
#![expect(unsafe_code, reason = "an instruction that not every processor has")]

use std::arch::x86_64::{__m512bh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_storeu_ps};

use crate::families::Rng;
use crate::narrow::{Order, to_bf16};

const LANES: usize = 16;

/// One step of one lane: an accumulator and two pairs of bf16 numbers.
#[derive(Clone, Copy, Debug)]
struct Step {
    sum: f32,
    x: [f32; 2],
    y: [f32; 2],
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn dp(steps: &[Step; LANES]) -> [f32; LANES] {
    let pairs = |operand: fn(&Step) -> [f32; 2]| {
        let halves = steps.map(|step| operand(&step).map(|x| (x.to_bits() >> 16) as u16));
        // SAFETY: both are 64 bytes, of which every pattern is valid.
        unsafe { std::mem::transmute::<[[u16; 2]; LANES], __m512bh>(halves) }
    };
    let (x, y) = (pairs(|step| step.x), pairs(|step| step.y));
    let sums = steps.map(|step| step.sum);
    let mut result = [0.0; LANES];
    // SAFETY: `sums` has 16 readable and `result` 16 writable floats.
    unsafe {
        let sums = _mm512_loadu_ps(sums.as_ptr());
        _mm512_storeu_ps(result.as_mut_ptr(), _mm512_dpbf16_ps(sums, x, y));
    }
    result
}

/// What the processor makes of the steps; `None` if it cannot.
fn ask(steps: &[Step; LANES]) -> Option<[f32; LANES]> {
    let has =
        std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512bf16");
    // SAFETY: the processor has both features.
    has.then(|| unsafe { dp(steps) })
}

/// Numbers of every kind, with exponents that meet: sums that cancel, underflow and overflow.
struct Numbers<'a> {
    rng: &'a mut Rng,
    /// About the exponent of the products.
    middle: i32,
}

impl Numbers<'_> {
    fn near(&mut self, exponent: i32) -> f32 {
        let exponent = exponent + self.rng.below(9) as i32 - 4;
        match self.rng.below(24) {
            0 => 0.0,
            1 => -0.0,
            2 => f32::INFINITY,
            3 => f32::NAN,
            4 => f32::from_bits(self.rng.below(1 << 23) as u32), // subnormal
            5 => 2.0_f64.powi(exponent) as f32,
            _ => (self.rng.normal() * 2.0_f64.powi(exponent)) as f32,
        }
    }

    /// An f32 with the low bits that a product can meet, the rest random.
    fn step(&mut self) -> Step {
        let apart = self.rng.below(60) as i32 - 30;
        let half = self.middle / 2;
        let x = [(); 2].map(|()| to_bf16(self.near(half + apart)));
        let y = [(); 2].map(|()| to_bf16(self.near(half - apart)));
        let away = [0, 0, 8, 24, -8, -24][self.rng.below(6)];
        let sum = match self.rng.below(4) {
            0 => -x[0] * y[0], // cancels, but for the other product
            1 => -x[1] * y[1],
            _ => self.near(self.middle + away),
        };
        Step { sum, x, y }
    }
}

fn same(a: f32, b: f32) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

#[test]
fn vdpbf16ps_does_what_the_bound_assumes() {
    let rng = &mut Rng(1);
    let mut agreeing = [0_u32; 4];
    let mut steps_asked = 0;
    for round in 0..20_000 {
        // Products near 1, near the smallest normal f32, near the largest.
        let middle = [0, -126, -140, 124][round % 4];
        let numbers = &mut Numbers { rng, middle };
        let steps = [(); LANES].map(|()| numbers.step());
        let Some(results) = ask(&steps) else {
            println!("this processor has no vdpbf16ps: nothing was tested");
            return;
        };
        for (step, got) in steps.iter().zip(results) {
            let allowed = Order::ALL.map(|order| order.dp(step.sum, step.x, step.y));
            assert!(
                allowed.iter().any(|allowed| same(*allowed, got)),
                "{step:?}: {got:e} is none of {allowed:?}"
            );
            steps_asked += 1;
            for (count, allowed) in agreeing.iter_mut().zip(allowed) {
                *count += u32::from(same(allowed, got));
            }
        }
    }
    for (order, count) in Order::ALL.iter().zip(agreeing) {
        println!("{order:?}: explains {count} of {steps_asked} results");
    }
    // A processor has one order, not one for each step.
    assert!(agreeing.contains(&steps_asked), "{agreeing:?} of {steps_asked}");
}
