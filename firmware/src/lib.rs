//! The cases of `check` on a microcontroller: what a call costs in instructions and stack, how far it is from exact, and its bits.
//!
//! One source for all machines. A program holds one case, so that its size says what the case needs; `run.sh` builds and
//! runs them all, under QEMU.
#![no_std]

mod machine;
mod stack;

use check::Outcome;
use check::device::{Device, Meter};
use core::fmt;
use flashlet::Level;
use semihosting::println;
use semihosting::process::ExitCode;

/// What [`report`] prints, as a line of JSON.
struct Line {
    case: &'static str,
    memory_bytes: usize,
    cost: Cost,
    outcome: Outcome,
}

/// Of the last call, and the deepest stack of all.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    instructions: u64,
    stack_bytes: usize,
}

impl Meter for Cost {
    fn measure<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let mut result = None;
        let mut call = Some(call);
        let run = || result = call.take().map(|call| call());
        let (instructions, stack_bytes) = stack::depth(|| machine::instructions(run));
        self.instructions = instructions;
        self.stack_bytes = self.stack_bytes.max(stack_bytes);
        result.unwrap_or_else(|| panic!("a call that was not made"))
    }
}

/// Runs a case, prints what came out, and ends the program: its exit code is the verdict.
pub fn report<D: Device>() -> ! {
    let mut device = D::NEW;
    let mut cost = Cost::default();
    match device.run(&mut cost) {
        Ok(outcome) => {
            println!("{}", Line { case: D::NAME, memory_bytes: size_of::<D>(), cost, outcome });
            let passed = outcome.err_over_bound.is_some_and(|ratio| ratio <= 1.0);
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }.exit_process()
        }
        // Which error it is, the host says: its text is not among what a case needs.
        Err(_) => panic!("a case cannot run"),
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, memory_bytes, cost, outcome } = self;
        let Cost { instructions, stack_bytes } = cost;
        let (machine, digest) = (env!("MACHINE"), outcome.digest);
        write!(f, r#"{{"machine":"{machine}","case":"{case}","instructions":{instructions},"#)?;
        write!(f, r#""stack_bytes":{stack_bytes},"memory_bytes":{memory_bytes},"#)?;
        let ratio = outcome.err_over_bound.unwrap_or(f32::MAX);
        write!(
            f,
            r#""err_over_bound":{ratio:.3e},"digest":"{digest:016x}","fused":{}}}"#,
            Level::Scalar.is_fused()
        )
    }
}

/// The program of a case.
#[macro_export]
macro_rules! program {
    ($device:ty) => {
        #[cfg(target_arch = "arm")]
        use cortex_m_rt::entry;
        #[cfg(target_arch = "riscv32")]
        use riscv_rt::entry;

        #[entry]
        fn main() -> ! {
            firmware::report::<$device>()
        }
    };
}
