//! Rotary positions of any scaling, storage and layout: see `hunt/`.
#![no_main]

#[path = "target.rs"]
mod target;

target::target!(data => hunt::rope::run(data));
