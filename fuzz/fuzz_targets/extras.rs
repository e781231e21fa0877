//! The same with patterns, modifiers of scores and sinks: see `bodies/attend.rs`.
#![no_main]

#[path = "../bodies/attend.rs"]
mod attend;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    attend::run(data, true);
});
