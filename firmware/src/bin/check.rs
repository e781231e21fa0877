//! The real heads and rotary positions of `check` on a Cortex-M4F: prints a line a run, and its exit code is the verdict.
//!
//! ```text
//! cd firmware && ../scripts/cross.sh thumbv7em-none-eabihf run --release --bin check
//! ```
#![no_std]
#![no_main]

use check::{Workspace, check_all};
use cortex_m_rt::entry;
use semihosting::println;
use semihosting::process::ExitCode;

#[entry]
fn main() -> ! {
    // 120 KB: the stack has all the RAM that statics leave.
    let mut workspace = Workspace::new();
    match check_all("mps2-an386", &mut workspace, |line| println!("{line}")) {
        Ok(verdict) if verdict.passed() => ExitCode::SUCCESS.exit_process(),
        Ok(_) => ExitCode::FAILURE.exit_process(),
        Err(error) => panic!("a case cannot run: {error:?}"),
    }
}
