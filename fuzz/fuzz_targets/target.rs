//! A target of a few lines: a body of `hunt`, and a mutator that knows numbers.

macro_rules! target {
    ($data:ident => $body:expr) => {
        libfuzzer_sys::fuzz_target!(|$data: &[u8]| $body);

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            // Every other time what libFuzzer does by itself, which also changes the size.
            if seed % 2 == 0 || size == 0 || !hunt::feedback::is_guided() {
                return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
            }
            hunt::mutate(&mut data[..size], seed.into());
            size
        });
    };
}
pub(crate) use target;
