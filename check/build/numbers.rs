//! Files of little-endian numbers, and the expressions that read them.

use std::path::Path;

/// A number that can be embedded.
pub(crate) trait Number: Copy {
    /// Its type, as the expression names it.
    const TYPE: &'static str;
    /// Its bytes, the lowest first.
    fn bytes(self) -> impl IntoIterator<Item = u8>;
}

macro_rules! number {
    ($($type:ident)*) => {$(
        impl Number for $type {
            const TYPE: &'static str = stringify!($type);
            fn bytes(self) -> impl IntoIterator<Item = u8> {
                self.to_le_bytes()
            }
        }
    )*};
}

number!(f32 f64 u64 i8);

/// Writes `all` to the file `name` and returns the expression that reads them.
pub(crate) fn numbers<T: Number>(dir: &Path, name: &str, all: &[T]) -> String {
    let bytes: Vec<u8> = all.iter().flat_map(|x| x.bytes()).collect();
    write(&dir.join(name), &bytes);
    format!("numbers!({}, {}, {name:?})", T::TYPE, all.len())
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// The smallest f32 that is not below `bound`.
pub(crate) fn round_up(bound: f64) -> f32 {
    assert!(bound.is_finite() && bound > 0.0, "no certificate: the bound is {bound}");
    let nearest = bound as f32;
    if f64::from(nearest) < bound { nearest.next_up() } else { nearest }
}
