//! What may be done to caches, step by step: see `hunt/`.
#![no_main]

#[path = "target.rs"]
mod target;

target::target!(data => hunt::cache::run(data));
