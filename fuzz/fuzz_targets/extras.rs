//! The same with patterns, modifiers and sinks: see `hunt/`.
#![no_main]

#[path = "target.rs"]
mod target;

target::target!(data => hunt::attend::run(data, true));
