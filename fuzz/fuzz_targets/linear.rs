//! Linear attention of any family, in calls that hand on their memory: see `hunt/`.
#![no_main]

#[path = "target.rs"]
mod target;

target::target!(data => hunt::linear::run(data));
