//! One attention over random numbers, whose instructions `scripts/instructions.sh` counts.
//!
//! ```text
//! one_call               lists what can be counted here: a case and a level a line
//! one_call CASE LEVEL    runs that
//! ```

use flashlet::{AnyView, Attention, Elem, Error, Heads, Inputs, Level, Mask, Offset, Outputs};
use flashlet::{Shape, View, ViewMut, Window};
use half::{bf16, f16};
use std::env::args;
use std::process::ExitCode;

/// The levels that valgrind can run: it does not know AVX-512.
const LEVELS: [Level; 3] = [Level::Scalar, Level::Portable, Level::Avx2];

/// Short ones: valgrind takes some fifty times as long, and a loop costs the same the second time.
fn cases() -> [Case; 8] {
    let prompt = |heads, len| Shape { batch: 1, q_len: len, kv_len: len, heads };
    let tail = |q_len, kv_len| Shape { batch: 1, q_len, kv_len, heads: Heads::new(32, 8, 128) };
    let causal = Mask::causal(Offset::TOP_LEFT);
    let (equal, grouped) = (Heads::new(8, 8, 64), Heads::new(9, 3, 64));
    let (f32, f16, bf16) = (call::<f32>, call::<f16>, call::<bf16>);
    [
        Case::new("prefill_f32_hd64_n256_causal", f32, prompt(equal, 256), causal),
        Case::new(
            "prefill_f32_hd128_n128_full",
            f32,
            prompt(Heads::new(8, 8, 128), 128),
            Mask::full(),
        ),
        Case::new("prefill_f32_gqa9x3_hd64_n128_causal", f32, prompt(grouped, 128), causal),
        Case::new("window64_f32_hd64_n512", f32, prompt(equal, 512), causal & Window::keys(64)),
        Case::new("decode_f32_hd128_32x8_kv512", f32, tail(1, 512), Mask::full()),
        Case::new("decode_f16_hd128_32x8_kv512", f16, tail(1, 512), Mask::full()),
        Case::new("decode_bf16_hd128_32x8_kv512", bf16, tail(1, 512), Mask::full()),
        Case::new("few_f32_hd128_32x8_q4_kv512", f32, tail(4, 512), Mask::causal(Offset::at(508))),
    ]
}

struct Case {
    name: &'static str,
    /// [`call`] for the type that inputs and outputs are stored as.
    call: fn(&Attention) -> Result<(), Error>,
    shape: Shape,
    mask: Mask,
}

impl Case {
    const fn new(
        name: &'static str,
        call: fn(&Attention) -> Result<(), Error>,
        shape: Shape,
        mask: Mask,
    ) -> Self {
        Case { name, call, shape, mask }
    }

    /// The level is forced: what the processor would choose is another table.
    fn run(&self, level: Level) -> Result<(), Error> {
        (self.call)(&Attention::new(self.shape, self.mask)?.level(level)?)
    }
}

/// Makes the numbers, which is not counted, and attends, which is.
fn call<T: Number>(plan: &Attention) -> Result<(), Error> {
    let shape = plan.shape();
    let [q, k, v] = [(shape.q(), 1), (shape.k(), 2), (shape.v(), 3)].map(|(dims, seed)| {
        let mut random = fastrand::Rng::with_seed(seed);
        let number = || T::round(random.f32() * 2.0 - 1.0);
        std::iter::repeat_with(number).take(dims.iter().product()).collect::<Vec<T>>()
    });
    let mut o = vec![T::round(f32::NAN); shape.o().iter().product()];
    let mut scratch = vec![0.0; plan.scratch_len()];

    let (q, k): (AnyView<'_>, AnyView<'_>) =
        (View::packed(&q, shape.q())?.into(), View::packed(&k, shape.k())?.into());
    let inputs = Inputs::new(q, k, View::packed(&v, shape.v())?);
    let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o())?);
    counted(plan, inputs, outputs, &mut scratch)
}

/// What is counted, from its first instruction to its return. The script finds it by its name.
#[inline(never)]
fn counted(
    plan: &Attention,
    inputs: Inputs<'_>,
    outputs: Outputs<'_>,
    scratch: &mut [f32],
) -> Result<(), Error> {
    plan.bind(inputs, outputs, scratch)?.run();
    Ok(())
}

/// A number that can be made from f32.
trait Number: Elem {
    fn round(x: f32) -> Self;
}

impl Number for f32 {
    fn round(x: f32) -> Self {
        x
    }
}

impl Number for f16 {
    fn round(x: f32) -> Self {
        f16::from_f32(x)
    }
}

impl Number for bf16 {
    fn round(x: f32) -> Self {
        bf16::from_f32(x)
    }
}

fn main() -> ExitCode {
    let levels = || LEVELS.into_iter().filter(|level| level.is_available());
    let words: Vec<String> = args().skip(1).collect();
    let (name, level) = match &words[..] {
        [] => {
            for case in cases() {
                levels().for_each(|level| println!("{}\t{level}", case.name));
            }
            return ExitCode::SUCCESS;
        }
        [name, level] => (name, level),
        _ => {
            eprintln!("usage: one_call [CASE LEVEL]");
            return ExitCode::FAILURE;
        }
    };
    let case = cases().into_iter().find(|case| case.name == name);
    let (Some(case), Some(level)) = (case, levels().find(|known| known.name() == level)) else {
        eprintln!("one_call: no case {name} on {level} here");
        return ExitCode::FAILURE;
    };
    measure::exit::code(case.run(level).map_err(Into::into))
}
