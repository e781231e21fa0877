//! Attention under any shape, mask and data: see `bodies/attend.rs`.
#![no_main]

#[path = "../bodies/attend.rs"]
mod attend;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    attend::run(data, false);
});
