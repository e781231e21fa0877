//! What a kernel is free to choose: everything that changes the bits of a row, and nothing else.

/// The freedom that a kernel has: everything about its arithmetic that changes the bits of a row.
///
/// # Example
/// ```
/// use oracle::{Arithmetic, Format};
/// let arithmetic = Arithmetic::bf16_products(96).split(4).stored_as(Format::Bf16);
/// assert!(arithmetic.fused && arithmetic.splits == 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// Products and sums are one operation, `fma(x, y, z)`, rounded once; otherwise two, rounded each.
    pub fused: bool,
    /// Keys of a tile. Tiles start at the multiples of `tile_k`, whatever the row sees.
    pub tile_k: usize,
    /// Contiguous ranges that the keys were split into, each reduced to a state `(m, l, o)` and merged with the
    /// others. 1 = not split. The bound holds wherever the cuts are and in whatever order states are merged; not
    /// knowing that makes it about twice as large as it need be.
    pub splits: usize,
    /// How `<q, k>` and `sum p v` are summed. [`Products::Bf16`] implies `fused`.
    pub products: Products,
    /// What `o` is rounded to, once, when it is stored; `lse` stays f32.
    pub output: Format,
}

/// The instruction that multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// f32 times f32, as `fused` says.
    F32,
    /// Pairs of bf16 products added to an f32 (x86 `vdpbf16ps`); section 9 of `src/bound.rs` says what is assumed
    /// of it. `q`, `k` and `v` must be bf16 numbers, and the weights are rounded to bf16.
    Bf16,
}

/// A floating-point format: IEEE 754, rounded to nearest even, with gradual underflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 24 significant bits.
    F32,
    /// 11 significant bits, at most 65504.
    F16,
    /// 8 significant bits, the range of f32.
    Bf16,
}

impl Arithmetic {
    /// Fused multiply-add, one pass over all keys.
    pub const fn fused(tile_k: usize) -> Self {
        Self { fused: true, tile_k, splits: 1, products: Products::F32, output: Format::F32 }
    }

    /// Separate multiplication and addition, one pass over all keys.
    pub const fn unfused(tile_k: usize) -> Self {
        Self { fused: false, ..Self::fused(tile_k) }
    }

    /// Products of bf16 pairs, fused multiply-add elsewhere, one pass over all keys.
    pub const fn bf16_products(tile_k: usize) -> Self {
        Self { products: Products::Bf16, ..Self::fused(tile_k) }
    }

    /// The same arithmetic over `splits` ranges of keys.
    pub const fn split(self, splits: usize) -> Self {
        Self { splits, ..self }
    }

    /// The same arithmetic, its `o` stored in another format.
    pub const fn stored_as(self, output: Format) -> Self {
        Self { output, ..self }
    }

    /// Largest relative error of the kernel's `exp2`, in units of u = 2^-24. An error of x ulp is at most 2x u.
    ///
    /// `certify` measures it over every f32 in [-126, -0]: 0.7765 ulp fused, 1.0606 ulp unfused.
    /// `tests/certified/model.rs` measures a model of it.
    pub const fn exp2_error(&self) -> f64 {
        if self.fused { 2.0 * 0.7765 } else { 2.0 * 1.0606 }
    }

    /// Panics where no kernel can be meant.
    pub(crate) fn check(&self) {
        assert!(self.tile_k > 0 && self.splits > 0, "{self:?}");
        assert!(self.fused || self.products == Products::F32, "{self:?}");
    }
}

/// Largest relative error of the cubic that computes a weight before it is rounded to bf16. `certify` measures it over
/// every f32 in [-125, -0].
pub const CUBIC_ERROR: f64 = 7.49e-5;

impl Products {
    /// Whether these numbers can be operands. (A NaN can: its payload says nothing.)
    pub(crate) fn take(self, row: &[f32]) -> bool {
        let is_bf16 = |x: &f32| x.is_nan() || x.to_bits() & 0xffff == 0;
        self == Products::F32 || row.iter().all(is_bf16)
    }

    /// What an operand counts as: the instruction reads a subnormal bf16 as zero.
    #[inline(always)]
    pub(crate) fn read(self, x: f32) -> f64 {
        if self == Products::Bf16 && x.is_subnormal() { 0.0 } else { f64::from(x) }
    }

    /// Largest relative change of a weight before it is multiplied and summed: it is rounded to 8 significant bits,
    /// and computed by a cubic before, within [`CUBIC_ERROR`].
    pub(crate) const fn weight_error(self) -> f64 {
        const SUM: f64 = 1.0 / 256.0 + 1.0 / 13_000.0;
        const { assert!((1.0 + 1.0 / 256.0) * (1.0 + CUBIC_ERROR) - 1.0 < SUM) };
        match self {
            Products::F32 => 0.0,
            Products::Bf16 => SUM,
        }
    }
}

impl Format {
    /// The largest error of storing an f32 of this magnitude at most. Infinite where it may be stored as infinity.
    ///
    /// Half an ulp: relative to a normal number, absolute for a subnormal one.
    pub(crate) fn storage_error(self, magnitude: f64) -> f64 {
        // 2^-11 and 2^-25; 2^-8 and 2^-134. Half an ulp above the largest finite number lies what overflows.
        let (relative, absolute, overflow) = match self {
            Format::F32 => return 0.0,
            Format::F16 => (1.0 / 2048.0, 1.0 / (1_u128 << 25) as f64, 65_520.0),
            Format::Bf16 => {
                let smallest = f64::from(f32::MIN_POSITIVE) / 128.0;
                (1.0 / 256.0, smallest / 2.0, (2.0 - 1.0 / 256.0) * (1_u128 << 127) as f64)
            }
        };
        if magnitude < overflow { absolute.max(relative * magnitude) } else { f64::INFINITY }
    }
}
