//! No case: what all programs have.
#![no_std]
#![no_main]

use check::Outcome;
use check::device::{Device, Meter};

struct Empty;

impl Device for Empty {
    const NAME: &'static str = "empty";

    const NEW: Self = Empty;

    fn run(&mut self, meter: &mut impl Meter) -> Result<Outcome, flashlet::Error> {
        meter.measure(|| ());
        Ok(Outcome { err_over_bound: Some(0.0), digest: 0 })
    }
}

firmware::program!(Empty);
