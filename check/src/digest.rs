//! A digest of numbers by their bits, the same on little- and big-endian hosts.

/// FNV-1a of 64 bits (Fowler, Noll, Vo), over the little-endian bytes of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv1a(u64);

impl Fnv1a {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    /// The digest of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Self::OFFSET_BASIS)
    }

    /// The digest of everything so far, then `floats`.
    #[must_use]
    pub fn floats(self, floats: &[f32]) -> Self {
        floats.iter().flat_map(|x| x.to_le_bytes()).fold(self, Self::byte)
    }

    /// The digest of everything so far, then `integers`.
    #[must_use]
    pub fn integers(self, integers: &[u64]) -> Self {
        integers.iter().flat_map(|x| x.to_le_bytes()).fold(self, Self::byte)
    }

    /// The digest as a number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(Self::PRIME))
    }
}

impl Default for Fnv1a {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Fnv1a;

    #[test]
    fn the_published_vectors_hold() {
        let digest = |text: &[u8]| text.iter().copied().fold(Fnv1a::new(), Fnv1a::byte).value();
        assert_eq!(digest(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(digest(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn numbers_are_digested_as_their_little_endian_bytes() {
        let direct = |text: &[u8]| text.iter().copied().fold(Fnv1a::new(), Fnv1a::byte);
        let float = f32::from_le_bytes(*b"chon");
        assert_eq!(Fnv1a::new().floats(&[float]), direct(b"chon"));
        let integer = u64::from_le_bytes(*b"chongo w");
        assert_eq!(Fnv1a::new().integers(&[integer]), direct(b"chongo w"));
    }

    #[test]
    fn the_sign_of_zero_counts() {
        assert_ne!(Fnv1a::new().floats(&[0.0]), Fnv1a::new().floats(&[-0.0]));
    }
}
