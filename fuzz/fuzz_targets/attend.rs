//! Attention under any shape, mask and data: see `hunt/`.
#![no_main]

#[path = "target.rs"]
mod target;

target::target!(data => hunt::attend::run(data, false));
