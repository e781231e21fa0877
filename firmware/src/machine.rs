//! Counts instructions: QEMU takes the same time for each, and clocks tell it.

#[cfg(target_arch = "arm")]
pub(crate) use arm::instructions;
#[cfg(target_arch = "riscv32")]
pub(crate) use riscv::instructions;

/// SysTick under `-icount`: every instruction takes as long, so many ticks. How many, a loop of known length tells.
#[cfg(target_arch = "arm")]
mod arm {
    use core::sync::atomic::{AtomicU32, Ordering};
    use cortex_m::peripheral::SYST;
    use cortex_m::peripheral::syst::SystClkSource;
    use cortex_m_rt::exception;

    /// The counter has 24 bits.
    const ROUND: u32 = 1 << 24;
    /// Of the loop.
    const KNOWN: u32 = 100_000;

    static ROUNDS: AtomicU32 = AtomicU32::new(0);

    #[exception]
    fn SysTick() {
        ROUNDS.store(ROUNDS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn ticks(call: impl FnOnce()) -> u64 {
        let before = SYST::get_current();
        ROUNDS.store(0, Ordering::Relaxed);
        call();
        let after = SYST::get_current();
        let rounds = ROUNDS.load(Ordering::Relaxed);
        u64::from(rounds) * u64::from(ROUND) + u64::from(before) - u64::from(after)
    }

    /// How many instructions a call takes.
    #[inline(never)]
    pub(crate) fn instructions(call: impl FnOnce()) -> u64 {
        // The first time only: afterwards it is running already.
        if let Some(cortex) = cortex_m::Peripherals::take() {
            let mut clock = cortex.SYST;
            clock.set_clock_source(SystClkSource::Core);
            clock.set_reload(ROUND - 1);
            clock.clear_current();
            clock.enable_counter();
            clock.enable_interrupt();
        }
        let taken = ticks(call);
        let (once, twice) =
            (ticks(|| cortex_m::asm::delay(KNOWN)), ticks(|| cortex_m::asm::delay(2 * KNOWN)));
        taken * u64::from(KNOWN) / (twice - once)
    }
}

/// The counter of instructions.
#[cfg(target_arch = "riscv32")]
mod riscv {
    use riscv::register::minstret;

    /// How many instructions a call takes.
    #[inline(never)]
    pub(crate) fn instructions(call: impl FnOnce()) -> u64 {
        let before = minstret::read64();
        call();
        minstret::read64() - before
    }
}
