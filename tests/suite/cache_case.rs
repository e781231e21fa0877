//! What caches must keep, token by token in a list, and attention over it in f32 tensors.

use crate::case::normal;
use flashlet::{
    Attention, Cached, E4m3, E5m2, Error, Format, Given, Heads, Inputs, Level, Mask, Offset,
    Outputs, Overflow, Precision, Q4_0, Q8_0, Scales, Shape, View, ViewMut, Window, hadamard,
};
use half::{bf16, f16};

/// Which scales a cache has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scaling {
    None,
    Tensor,
    Head,
    Channel,
    ByToken,
    Affine,
}

/// Given scales and zero points of a head's channel.
fn given(scaling: Scaling, h: usize, c: usize) -> (f32, i8) {
    let (scale, zero) = (0.02 * (1 + h) as f32, 3 * h as i8 - 2);
    match scaling {
        Scaling::Tensor => (0.03, 1),
        Scaling::Head => (scale, zero),
        _ => (scale + 0.001 * c as f32, zero + (c % 5) as i8),
    }
}

/// The lists of a cache with such scales: leaked, as the memory of a test may be.
pub(crate) fn scales<F: Format>(
    scaling: Scaling,
    rows: usize,
    [heads, dim]: [usize; 2],
) -> Scales<'static> {
    let list = |count: usize, channels: usize| -> Scales<'static> {
        let each = |i: usize| given(scaling, i / channels, i % channels);
        let scales: Vec<f32> = (0..count).map(|i| each(i).0).collect();
        let zeros: Vec<i8> = (0..count).map(|i| each(i).1).collect();
        let zeros = if F::HAS_NAN { &[] } else { &*zeros.leak() };
        Scales::Given(Given { scales: scales.leak(), zeros })
    };
    match scaling {
        Scaling::None => Scales::None,
        Scaling::Tensor => list(1, 1),
        Scaling::Head => list(heads, 1),
        Scaling::Channel => list(heads * dim, dim),
        Scaling::ByToken => Scales::ByToken(vec![f32::NAN; rows].leak()),
        Scaling::Affine => Scales::Affine(vec![f32::NAN; rows].leak(), vec![99; rows].leak()),
    }
}

/// A format, and what becomes of a row of head `h`, by its definition.
pub(crate) trait Reference: Format {
    const SCALINGS: &'static [Scaling];
    const CODE: fn(f32, i8) -> f32;
    /// The largest code of a block.
    const MOST_OF_BLOCK: f32 = f32::NAN;
    fn kept(x: &[f32], h: usize, scaling: Scaling) -> Vec<f32> {
        let most = x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let (least, largest) =
            x.iter().fold((0.0_f32, 0.0_f32), |(a, b), x| (a.min(*x), b.max(*x)));
        let each = |c: usize| match scaling {
            Scaling::None => (1.0, 0),
            Scaling::ByToken => (most / Self::MOST.unwrap(), 0),
            Scaling::Affine => {
                let scale = largest / 255.0 - least / 255.0;
                let zero = if scale > 0.0 { (-128.0 - least / scale).round() } else { 0.0 };
                (scale, zero as i8)
            }
            _ => {
                let (scale, zero) = given(scaling, h, c);
                (scale, if Self::HAS_NAN { 0 } else { zero })
            }
        };
        let keep = |(c, x): (usize, &f32)| {
            let (scale, zero) = each(c);
            let code = if scale == 0.0 { 0.0 } else { x / scale };
            (Self::CODE)(code, zero) * scale
        };
        x.iter().enumerate().map(keep).collect()
    }
}

const GIVEN: [Scaling; 3] = [Scaling::Tensor, Scaling::Head, Scaling::Channel];
const OF_FP8: &[Scaling] = &[Scaling::None, GIVEN[0], GIVEN[1], GIVEN[2], Scaling::ByToken];
const OF_I8: &[Scaling] = &[GIVEN[0], GIVEN[1], GIVEN[2], Scaling::ByToken, Scaling::Affine];

macro_rules! reference {
    ($($type:ty, $scalings:expr, $code:expr;)*) => { $(
        impl Reference for $type {
            const SCALINGS: &'static [Scaling] = $scalings;
            const CODE: fn(f32, i8) -> f32 = $code;
        }
    )* };
}
reference! {
    f32, &[Scaling::None], |x, _| x;
    f16, &[Scaling::None], |x, _| f16::from_f32(x).to_f32();
    bf16, &[Scaling::None], |x, _| bf16::from_f32(x).to_f32();
    E4m3, OF_FP8, |x, _| E4m3::nearest(x, Overflow::Saturate).to_f32();
    E5m2, OF_FP8, |x, _| E5m2::nearest(x, Overflow::Saturate).to_f32();
    i8, OF_I8, |x, zero| (x.round() + f32::from(zero)).clamp(-128.0, 127.0) - f32::from(zero);
}

macro_rules! blocks {
    ($($type:ty, $most:expr;)*) => { $(
        impl Reference for $type {
            const SCALINGS: &'static [Scaling] = &[Scaling::None];
            const MOST_OF_BLOCK: f32 = $most;
            const CODE: fn(f32, i8) -> f32 = |x, _| x;
            fn kept(x: &[f32], _: usize, _: Scaling) -> Vec<f32> {
                x.chunks(32).flat_map(|x| Self::encode(x).decode()).collect()
            }
        }
    )* };
}
blocks! {
    Q8_0, 127.0;
    Q4_0, 8.0;
}

/// What a window lets a query see: so many keys, itself among them, and the first ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) window: Option<usize>,
    pub(crate) sinks: usize,
}

impl Sight {
    pub(crate) fn mask(self) -> Mask {
        let causal = Mask::causal(Offset::BOTTOM_RIGHT);
        let windowed = self.window.map_or(causal, |keys| causal & Window::keys(keys));
        windowed.sinks(self.sinks)
    }

    /// Whether the query at some position sees a key.
    pub(crate) fn sees(self, position: usize, key: usize) -> bool {
        let near = self.window.is_none_or(|keys| key + keys > position);
        key <= position && (near || key < self.sinks)
    }
}

/// Tokens as a cache should keep them: keys and values, `[heads, dim]` each; `None`: gone.
pub(crate) type Tokens = Vec<Option<[Vec<f32>; 2]>>;

/// `n` random tokens: keys and values `[n, heads, dim]`.
pub(crate) fn random_tokens(heads: Heads, n: usize, seed: u64) -> [Vec<f32>; 2] {
    [(heads.dim, 0), (heads.v_dim, 1)]
        .map(|(dim, side)| normal(n * heads.kv * dim, 2 * seed + side))
}

/// Turns rows.
pub(crate) fn rotate(is_rotated: bool, rows: &mut [f32], dim: usize) {
    if is_rotated {
        rows.chunks_exact_mut(dim).for_each(hadamard);
    }
}

/// What a format keeps of them.
pub(crate) fn kept<F: Reference>(heads: Heads, tokens: &[Vec<f32>; 2], scaling: Scaling) -> Tokens {
    let [keys, values] = [(0, heads.dim), (1, heads.v_dim)].map(|(side, dim)| -> Vec<Vec<f32>> {
        let of_head = |(h, x): (usize, &[f32])| F::kept(x, h, scaling);
        let of_token = |x: &[f32]| x.chunks(dim).enumerate().flat_map(of_head).collect();
        tokens[side].chunks(heads.kv * dim).map(of_token).collect()
    });
    keys.into_iter().zip(values).map(|(k, v)| Some([k, v])).collect()
}

/// How attention is run.
pub(crate) type Way = (Level, Precision);

pub(crate) fn ways() -> impl Iterator<Item = Way> {
    Level::available().flat_map(|level| [(level, Precision::F32), (level, Precision::Bf16Products)])
}

fn attend(shape: Shape, mask: Mask, way: Way, inputs: Inputs<'_>) -> Result<Vec<f32>, Error> {
    let attention = Attention::new(shape, mask)?.level(way.0)?.precision(way.1);
    let mut o = vec![f32::NAN; shape.o().iter().product()];
    let mut scratch = vec![f32::NAN; attention.scratch_len()];
    let outputs = Outputs::new(ViewMut::packed(&mut o, shape.o())?);
    attention.bind(inputs, outputs, &mut scratch)?.run();
    Ok(o)
}

/// The last queries of every sequence.
pub(crate) struct Queries {
    pub(crate) heads: Heads,
    pub(crate) q_len: usize,
    pub(crate) q: Vec<f32>,
    pub(crate) sight: Sight,
    pub(crate) way: Way,
    /// Whether the cache turns keys, and so queries.
    pub(crate) is_rotated: bool,
}

impl Queries {
    fn shape(&self, batch: usize, kv_len: usize) -> Shape {
        Shape { batch, q_len: self.q_len, kv_len, heads: self.heads }
    }

    /// Attention over a cache.
    pub(crate) fn cached(&self, cache: &dyn Cached) -> Result<Vec<f32>, Error> {
        let shape = self.shape(cache.batch(), cache.kv_len());
        let q = View::packed(&self.q, shape.q())?;
        attend(shape, self.sight.mask(), self.way, Inputs::cached(q, cache))
    }

    /// The same over lists of tokens in f32 tensors, where what is gone is NaN.
    pub(crate) fn listed(&self, tokens: &[&Tokens]) -> Vec<f32> {
        let lens: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
        let shape = self.shape(tokens.len(), lens.iter().copied().max().unwrap_or(0));
        let Heads { kv, dim, v_dim, .. } = self.heads;
        let [k, v] = [(0, kv * dim), (1, kv * v_dim)].map(|(side, width)| -> Vec<f32> {
            let row = |tokens: &Tokens, i: usize| match tokens.get(i) {
                Some(Some(token)) => token[side].clone(),
                _ => vec![f32::NAN; width],
            };
            let all = |tokens: &&Tokens| -> Vec<f32> {
                (0..shape.kv_len).flat_map(|i| row(tokens, i)).collect()
            };
            tokens.iter().flat_map(all).collect()
        });
        let [k, v] = [View::packed(&k, shape.k()).unwrap(), View::packed(&v, shape.v()).unwrap()];
        let mut q = self.q.clone();
        rotate(self.is_rotated, &mut q, dim);
        let inputs = Inputs::new(View::packed(&q, shape.q()).unwrap(), k, v).kv_lens(&*lens);
        attend(shape, self.sight.mask(), self.way, inputs).unwrap()
    }
}

/// Whether some of the last `q_len` queries would see what is gone.
pub(crate) fn misses(tokens: &Tokens, q_len: usize, sight: Sight) -> bool {
    let positions = tokens.len() - q_len.min(tokens.len())..tokens.len();
    let sees = |key| positions.clone().any(|position| sight.sees(position, key));
    tokens.iter().enumerate().any(|(key, token)| token.is_none() && sees(key))
}
