//! How a device keeps keys and values from token to token: their format, and how many.

use super::check::Text;
use super::raw::{RawCache, RawFormat};
use super::{SpecError, SpecMask};
use flashlet::{BLOCK, E4m3, E5m2, Format, Heads, Q4_0, Q8_0};
use std::fmt;
use toml::Spanned;

/// What a preset says of the cache of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecCache {
    /// How numbers are kept; `None`: the most accurate that fits.
    pub format: Option<CacheFormat>,
    /// Tokens that it has room for; `None`: those that a query may see.
    pub tokens: Option<usize>,
    /// Layers that keep as many each.
    pub layers: usize,
}

impl Default for SpecCache {
    fn default() -> Self {
        SpecCache { format: None, tokens: None, layers: 1 }
    }
}

/// How a cache keeps numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is a format of flashlet")]
pub enum CacheFormat {
    F32,
    F16,
    Bf16,
    E4m3,
    E5m2,
    I8,
    Q8_0,
    Q4_0,
}

impl CacheFormat {
    /// Those that a plan may choose for heads so wide, the most accurate first. Scales of `q8_0` are of 32 channels, but rounded
    /// to f16: where 32 are all there are, the f32 of `i8` is the more accurate one.
    #[must_use]
    pub fn by_accuracy(heads: Heads) -> Vec<CacheFormat> {
        use CacheFormat::{F16, F32, I8, Q4_0, Q8_0};
        let bytes = if heads.dim.max(heads.v_dim) > BLOCK { [Q8_0, I8] } else { [I8, Q8_0] };
        let all = [F32, F16].into_iter().chain(bytes).chain([Q4_0]);
        all.filter(|format| format.holds(heads)).collect()
    }

    /// Whether it can keep heads so wide.
    #[must_use]
    pub fn holds(self, heads: Heads) -> bool {
        let block = self.channels();
        heads.dim.is_multiple_of(block) && heads.v_dim.is_multiple_of(block)
    }

    /// Whether codes lie apart from their scales, an f32 a head of a token.
    #[must_use]
    pub fn has_scales(self) -> bool {
        matches!(self, CacheFormat::E4m3 | CacheFormat::E5m2 | CacheFormat::I8)
    }

    /// Bytes of so many rows, without scales that lie apart.
    #[must_use]
    pub fn bytes(self, rows: usize, dim: usize) -> usize {
        let (channels, size, _) = self.facts();
        rows.saturating_mul(dim.div_ceil(channels)).saturating_mul(size)
    }

    /// Its type, as the emitted crate names it.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        self.facts().2
    }

    fn channels(self) -> usize {
        self.facts().0
    }

    /// Channels of an element, its bytes, its type.
    fn facts(self) -> (usize, usize, &'static str) {
        fn of<F: Format>(name: &'static str) -> (usize, usize, &'static str) {
            (F::CHANNELS, size_of::<F>(), name)
        }
        match self {
            CacheFormat::F32 => of::<f32>("f32"),
            // As large as what the crate names: 16 bits.
            CacheFormat::F16 => (1, size_of::<u16>(), "f16"),
            CacheFormat::Bf16 => (1, size_of::<u16>(), "bf16"),
            CacheFormat::E4m3 => of::<E4m3>("E4m3"),
            CacheFormat::E5m2 => of::<E5m2>("E5m2"),
            CacheFormat::I8 => of::<i8>("i8"),
            CacheFormat::Q8_0 => of::<Q8_0>("Q8_0"),
            CacheFormat::Q4_0 => of::<Q4_0>("Q4_0"),
        }
    }
}

/// As presets have it.
impl fmt::Display for CacheFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.type_name().to_lowercase())
    }
}

/// A preset's cache. Calls of `queries` and `keys` tokens at most.
pub(super) fn check(
    at: &Text<'_>,
    raw: &RawCache,
    heads: Heads,
    mask: &SpecMask,
    [queries, keys]: [usize; 2],
) -> Result<SpecCache, SpecError> {
    let format = raw.format.as_ref().and_then(|raw| raw.get_ref().format());
    if let (Some(format), Some(raw)) = (format, &raw.format)
        && !format.holds(heads)
    {
        let message = format!("{format} for heads of {} and {} channels", heads.dim, heads.v_dim);
        let help =
            format!("it keeps {BLOCK} channels in a block; `i8` keeps any, and so does `auto`");
        return Err(at.error(raw.span(), message, &help));
    }
    let least = mask.reach(queries).map_or(keys, |reach| reach.min(keys));
    if let Some(tokens) = &raw.tokens
        && !(least..=keys).contains(tokens.get_ref())
    {
        let message = format!("a cache of {} tokens", tokens.get_ref());
        let help = match mask.reach(queries) {
            Some(_) => format!(
                "{queries} queries at once see {least} tokens, the sinks among them, and `lengths` has {keys} keys: \
                 a number from {least} to {keys}"
            ),
            None => {
                format!("queries may see all {keys} keys of `lengths`, with no window or beyond it")
            }
        };
        return Err(at.error(tokens.span(), message, &help));
    }
    if let Some(layers) = raw.layers.as_ref().filter(|layers| *layers.get_ref() == 0) {
        let message = "no layers".to_owned();
        return Err(at.error(layers.span(), message, "those of the model that attend: at least 1"));
    }
    let number = |raw: &Option<Spanned<usize>>| raw.as_ref().map(|raw| *raw.get_ref());
    let layers = number(&raw.layers).unwrap_or(SpecCache::default().layers);
    Ok(SpecCache { format, tokens: number(&raw.tokens), layers })
}

impl RawFormat {
    fn format(self) -> Option<CacheFormat> {
        match self {
            RawFormat::Auto => None,
            RawFormat::F32 => Some(CacheFormat::F32),
            RawFormat::F16 => Some(CacheFormat::F16),
            RawFormat::Bf16 => Some(CacheFormat::Bf16),
            RawFormat::E4m3 => Some(CacheFormat::E4m3),
            RawFormat::E5m2 => Some(CacheFormat::E5m2),
            RawFormat::I8 => Some(CacheFormat::I8),
            RawFormat::Q8_0 => Some(CacheFormat::Q8_0),
            RawFormat::Q4_0 => Some(CacheFormat::Q4_0),
        }
    }
}
