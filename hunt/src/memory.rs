//! Caches in memory of their own, which is poisoned: what is read before it was written shows.

use arbitrary::{Result, Unstructured};
use flashlet::{
    CacheShape, Cached, E4m3, E5m2, Format, Given, Heads, KvCache, Overflow, PagedCache, Q4_0,
    Q8_0, Scales, Side, View, hadamard,
};
use half::{bf16, f16};

/// A format of caches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    F32,
    F16,
    Bf16,
    E4m3,
    E5m2,
    I8,
    Q8_0,
    Q4_0,
}

/// Which scales a cache has: none, given ones, or those that it chooses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scaling {
    None,
    Tensor,
    Head,
    Channel,
    ByToken,
    Affine,
}

/// A format, and what its memory is poisoned with.
pub(crate) trait Poisoned: Format {
    const KIND: Kind;
    const POISON: Self;
}

macro_rules! poisoned {
    ($($type:ty, $Kind:ident, $poison:expr;)*) => { $(
        impl Poisoned for $type {
            const KIND: Kind = Kind::$Kind;
            const POISON: Self = $poison;
        }
    )* };
}
poisoned! {
    f32, F32, f32::NAN;
    f16, F16, f16::NAN;
    bf16, Bf16, bf16::NAN;
    E4m3, E4m3, E4m3::from_bits(0x7f);
    E5m2, E5m2, E5m2::from_bits(0x7f);
    i8, I8, i8::MIN;
    Q8_0, Q8_0, Q8_0 { scale: f16::NAN, codes: [127; 32] };
    Q4_0, Q4_0, Q4_0 { scale: f16::NAN, codes: [0xff; 16] };
}

/// Calls `$f::<F>` of the format of a kind.
macro_rules! of_kind {
    ($kind:expr, $f:ident($($argument:expr),*)) => {
        match $kind {
            $crate::memory::Kind::F32 => $f::<f32>($($argument),*),
            $crate::memory::Kind::F16 => $f::<half::f16>($($argument),*),
            $crate::memory::Kind::Bf16 => $f::<half::bf16>($($argument),*),
            $crate::memory::Kind::E4m3 => $f::<flashlet::E4m3>($($argument),*),
            $crate::memory::Kind::E5m2 => $f::<flashlet::E5m2>($($argument),*),
            $crate::memory::Kind::I8 => $f::<i8>($($argument),*),
            $crate::memory::Kind::Q8_0 => $f::<flashlet::Q8_0>($($argument),*),
            $crate::memory::Kind::Q4_0 => $f::<flashlet::Q4_0>($($argument),*),
        }
    };
}
pub(crate) use of_kind;

impl Kind {
    const ALL: [Kind; 8] = {
        use Kind::{Bf16, E4m3, E5m2, F16, F32, I8, Q4_0, Q8_0};
        [F32, F16, Bf16, E4m3, E5m2, I8, Q8_0, Q4_0]
    };

    /// Whether numbers come in blocks of 32.
    pub(crate) fn is_block(self) -> bool {
        matches!(self, Kind::Q8_0 | Kind::Q4_0)
    }

    fn scalings(self) -> &'static [Scaling] {
        use Scaling::{Affine, ByToken, Channel, Head, None, Tensor};
        match self {
            Kind::E4m3 | Kind::E5m2 => &[None, Tensor, Head, Channel, ByToken],
            Kind::I8 => &[ByToken, None, Tensor, Head, Channel, Affine],
            _ => &[None],
        }
    }
}

/// How a cache keeps numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) kind: Kind,
    pub(crate) scaling: Scaling,
    pub(crate) overflow: Overflow,
    pub(crate) is_rotated: bool,
    by_head: bool,
    /// What given scales are about.
    base: f32,
}

impl Setting {
    pub(crate) fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        let kind = *u.choose(&Kind::ALL)?;
        Ok(Setting {
            kind,
            scaling: *u.choose(kind.scalings())?,
            overflow: *u.choose(&[Overflow::Saturate, Overflow::Special])?,
            is_rotated: u.arbitrary()?,
            by_head: u.arbitrary()?,
            base: *u.choose(&[0.02, 1.0, 1e-30, 1e30, 1e-3, 30.0])?,
        })
    }

    /// The given scale and zero point of a head's channel.
    pub(crate) fn given(&self, h: usize, c: usize) -> (f32, i8) {
        let (n, channels) = match self.scaling {
            Scaling::None => return (1.0, 0),
            Scaling::Tensor => (0, 1),
            Scaling::Head => (h, 1),
            _ => (3 * h + c, 5),
        };
        let zero = if self.kind == Kind::I8 { (n * 29 % 51) as i8 - 25 } else { 0 };
        (self.base * (1.0 + (n % 7 * channels) as f32 / 16.0), zero)
    }

    /// Whether a NaN finds nothing that could hold it.
    pub(crate) fn refuses_nan(&self) -> bool {
        self.kind == Kind::I8 && !matches!(self.scaling, Scaling::ByToken | Scaling::Affine)
    }

    pub(crate) fn shape(&self, shape: CacheShape) -> CacheShape {
        if self.by_head { shape.by_head() } else { shape }
    }

    /// Rows of keys, or of queries, as a cache turns them.
    pub(crate) fn turned(&self, rows: &[f32], dim: usize) -> Vec<f32> {
        let mut rows = rows.to_vec();
        if self.is_rotated {
            rows.chunks_exact_mut(dim).for_each(hadamard);
        }
        rows
    }
}

/// All that a cache borrows.
pub(crate) struct Memory<F> {
    setting: Setting,
    shape: CacheShape,
    k: Vec<F>,
    v: Vec<F>,
    scales: [Vec<f32>; 2],
    zeros: [Vec<i8>; 2],
}

impl<F: Poisoned> Memory<F> {
    pub(crate) fn new(setting: Setting, shape: CacheShape) -> Self {
        let shape = setting.shape(shape);
        let dims = [shape.dim, shape.v_dim];
        let given = |dim: usize| -> Vec<(f32, i8)> {
            let rows = |heads: usize, channels: usize| {
                let place = move |h| (0..channels).map(move |c| setting.given(h, c));
                (0..heads).flat_map(place).collect()
            };
            match setting.scaling {
                Scaling::None => Vec::new(),
                Scaling::Tensor => rows(1, 1),
                Scaling::Head => rows(shape.heads, 1),
                Scaling::Channel => rows(shape.heads, dim),
                Scaling::ByToken | Scaling::Affine => vec![(f32::NAN, 99); shape.rows()],
            }
        };
        Memory {
            setting,
            shape,
            k: vec![F::POISON; shape.key_len::<F>()],
            v: vec![F::POISON; shape.value_len::<F>()],
            scales: dims.map(|dim| given(dim).iter().map(|(scale, _)| *scale).collect()),
            zeros: dims.map(|dim| given(dim).iter().map(|(_, zero)| *zero).collect()),
        }
    }

    /// A cache of one block.
    pub(crate) fn straight(&mut self) -> KvCache<'_, F> {
        let Memory { setting, shape, k, v, scales, zeros } = self;
        let [ks, vs] = both(setting, scales, zeros);
        let cache = KvCache::new(*shape, k, v).and_then(|cache| cache.scales(ks, vs));
        let cache = cache.expect("memory of its shape").overflow(setting.overflow);
        if setting.is_rotated { cache.rotated() } else { cache }
    }

    /// A cache of many.
    pub(crate) fn paged<'a>(&'a mut self, counts: &'a mut [u32]) -> PagedCache<'a, F> {
        let Memory { setting, shape, k, v, scales, zeros } = self;
        let [ks, vs] = both(setting, scales, zeros);
        let cache = PagedCache::new(*shape, k, v, counts).and_then(|cache| cache.scales(ks, vs));
        let cache = cache.expect("memory of its shape").overflow(setting.overflow);
        if setting.is_rotated { cache.rotated() } else { cache }
    }
}

/// The scales of keys and of values.
fn both<'a>(
    setting: &Setting,
    scales: &'a mut [Vec<f32>; 2],
    zeros: &'a mut [Vec<i8>; 2],
) -> [Scales<'a>; 2] {
    let ([k, v], [k_zeros, v_zeros]) = (scales, zeros);
    [(k, k_zeros), (v, v_zeros)].map(|(scales, zeros)| match setting.scaling {
        Scaling::None => Scales::None,
        Scaling::ByToken => Scales::ByToken(scales),
        Scaling::Affine => Scales::Affine(scales, zeros),
        Scaling::Tensor | Scaling::Head | Scaling::Channel => {
            let zeros: &[i8] = if setting.kind == Kind::I8 { zeros } else { &[] };
            Scales::Given(Given { scales, zeros })
        }
    })
}

/// Views of `n` tokens: keys and values.
pub(crate) fn views([k, v]: [&[f32]; 2], n: usize, heads: Heads) -> [View<'_>; 2] {
    let view = |x, dim| View::packed(x, [1, n, heads.kv, dim]).expect("packed");
    [view(k, heads.dim), view(v, heads.v_dim)]
}

/// What a cache keeps of all `len` tokens of sequence `b`: keys and values, `[len, heads, dim]`.
pub(crate) fn loaded(cache: &dyn Cached, b: usize, len: usize, heads: Heads) -> [Vec<f32>; 2] {
    [(Side::Keys, heads.dim), (Side::Values, heads.v_dim)].map(|(side, dim)| {
        let (mut all, mut one) = (vec![0.0; len * heads.kv * dim], vec![0.0; len * dim]);
        for g in 0..heads.kv {
            cache.load(side, [b, g], 0..len, &mut one).expect("tokens that there are");
            let rows = all.chunks_exact_mut(dim).skip(g).step_by(heads.kv);
            rows.zip(one.chunks_exact(dim)).for_each(|(to, row)| to.copy_from_slice(row));
        }
        all
    })
}
