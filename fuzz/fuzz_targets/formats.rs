//! Numbers in every format of a cache, and attention over them: see `hunt/`.
#![no_main]

#[path = "target.rs"]
mod target;

target::target!(data => hunt::formats::run(data));
