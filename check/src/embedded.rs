//! Numbers that the build script wrote.

/// Numbers of an embedded file, in the byte order of the host that runs; as a static, whose name says in a program
/// what is not code.
macro_rules! numbers {
    ($number:ty, $len:literal, $file:literal) => {{
        static NUMBERS: [$number; $len] = {
            let (chunks, rest) = include_bytes!(concat!(env!("OUT_DIR"), "/", $file))
                .as_chunks::<{ size_of::<$number>() }>();
            assert!(chunks.len() == $len && rest.is_empty());
            let mut numbers = [0 as $number; $len];
            let mut at = 0;
            while at < $len {
                numbers[at] = <$number>::from_le_bytes(chunks[at]);
                at += 1;
            }
            numbers
        };
        &NUMBERS
    }};
}
pub(crate) use numbers;
