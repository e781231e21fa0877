//! States over parts of the keys, merged in any order: see `hunt/`.
#![no_main]

#[path = "target.rs"]
mod target;

target::target!(data => hunt::state_merge::run(data));
