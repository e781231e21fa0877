//! Cores by name.

use clap::ValueEnum;
use std::fmt;

/// A core of a microcontroller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Core {
    /// Armv6-M, floats in software.
    #[value(name = "cortex-m0")]
    CortexM0,
    /// Armv7E-M with single precision.
    #[value(name = "cortex-m4")]
    CortexM4,
    /// Armv7E-M with double precision.
    #[value(name = "cortex-m7")]
    CortexM7,
    /// Armv8-M with single precision.
    #[value(name = "cortex-m33")]
    CortexM33,
    /// Armv8.1-M with Helium.
    #[value(name = "cortex-m55")]
    CortexM55,
    /// RISC-V of 32 bits with single precision.
    #[value(name = "rv32imafc")]
    Rv32imafc,
}

impl Core {
    /// rustc's name of the target.
    #[must_use]
    pub fn triple(self) -> &'static str {
        match self {
            Core::CortexM0 => "thumbv6m-none-eabi",
            Core::CortexM4 | Core::CortexM7 => "thumbv7em-none-eabihf",
            Core::CortexM33 | Core::CortexM55 => "thumbv8m.main-none-eabihf",
            Core::Rv32imafc => "riscv32imafc-unknown-none-elf",
        }
    }

    /// The processor, for `-C target-cpu`, where the target does not say all of it.
    #[must_use]
    pub fn cpu(self) -> Option<&'static str> {
        match self {
            Core::CortexM4 => Some("cortex-m4"),
            Core::CortexM7 => Some("cortex-m7"),
            Core::CortexM33 => Some("cortex-m33"),
            Core::CortexM55 => Some("cortex-m55"),
            Core::CortexM0 | Core::Rv32imafc => None,
        }
    }
}

/// As command lines have it.
impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}
