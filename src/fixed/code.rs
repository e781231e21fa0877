//! What differs between 8 and 16 bits: how far a sum of products may grow, and what is done about it.

use sealed::Sums;

/// A number as it is stored: `i8`, or `i16` (q15). What one step of it is worth, the caller knows: the
/// steps of queries and keys go into the [`Factor`](super::Factor), and outputs are in steps of the values.
pub trait Code: Sums {}

impl Code for i8 {}
impl Code for i16 {}

pub(super) mod sealed {
    /// The arithmetic of a code. With `V` magnitude bits a code is at most `2^V`.
    pub trait Sums: Copy + Into<i32> {
        /// `V`.
        const MAGNITUDE_BITS: u32;
        /// A weight of 1 is 2 to this.
        const WEIGHT_BITS: u32;
        /// Bits that products with weights drop before they are summed.
        const DROPPED_BITS: u32;
        /// A sum of products of queries and keys, exact for 1024 channels.
        type Dot: Copy + Default;

        /// `sum + q k`.
        fn add_product(sum: Self::Dot, q: i32, k: Self) -> Self::Dot;

        /// The sum in units of `2^dropped`, halves upwards.
        fn narrow(sum: Self::Dot, dropped: u32) -> i32;

        /// `sum + p v`, in units of 2 to [`Sums::DROPPED_BITS`], rounded down.
        #[inline(always)]
        fn add_weighted(sum: i32, p: i32, v: Self) -> i32 {
            sum + ((p * v.into()) >> Self::DROPPED_BITS)
        }
    }

    impl Sums for i8 {
        const MAGNITUDE_BITS: u32 = 7;
        const WEIGHT_BITS: u32 = 19;
        const DROPPED_BITS: u32 = 0;
        type Dot = i32; // 14 + 10 bits

        #[inline(always)]
        fn add_product(sum: i32, q: i32, k: i8) -> i32 {
            sum + q * i32::from(k)
        }

        /// Nothing is ever dropped.
        #[inline(always)]
        fn narrow(sum: i32, _: u32) -> i32 {
            sum
        }
    }

    impl Sums for i16 {
        const MAGNITUDE_BITS: u32 = 15;
        const WEIGHT_BITS: u32 = 16;
        const DROPPED_BITS: u32 = 5;
        type Dot = i64; // 30 + 10 bits

        #[inline(always)]
        fn add_product(sum: i64, q: i32, k: i16) -> i64 {
            sum + i64::from(q * i32::from(k))
        }

        #[inline(always)]
        fn narrow(sum: i64, dropped: u32) -> i32 {
            // At most 40 bits, of which a plan drops all but 30.
            ((sum + ((1 << dropped) >> 1)) >> dropped) as i32
        }
    }
}
