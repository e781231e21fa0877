//! From the preset's form to facts: every number in its range.

use super::raw::{LevelName, Raw, RawHeads, RawMask, RawWindow};
use super::{
    Captured, Kind, Spec, SpecError, SpecMask, SpecPattern, SpecWindow, cache, linear, rope,
};
use flashlet::entry::TILE_K;
use flashlet::{Attention, Heads, Level, Mask, Shape};
use std::ops::Range;
use toml::Spanned;

/// Keys of a register tile are 2, 3, 4, 6 or 8 on some level: all divide this.
const TILE_K_STEP: usize = 24;

/// The largest tile of keys: its scores still fit a first-level cache.
const TILE_K_MAX: usize = 192;

/// Makes errors at places of one text.
pub(super) struct Text<'a> {
    file: &'a str,
    text: &'a str,
}

impl Text<'_> {
    pub(super) fn error(&self, span: Range<usize>, message: String, help: &str) -> SpecError {
        SpecError::at(self.file, self.text, span, message).help(help)
    }
}

pub(super) fn check(file: &str, text: &str, raw: Raw) -> Result<Spec, SpecError> {
    let at = Text { file, text };
    let heads = heads(&at, &raw.heads)?;
    let mask = mask(&at, &raw)?;
    let (max_q, max_kv) = lengths(&at, &raw, heads)?;
    let rope =
        raw.rope.as_ref().map(|rope| rope::check(&at, rope, heads.dim, max_kv)).transpose()?;
    let linear = raw.linear.as_ref().map(|raw| linear::check(&at, raw)).transpose()?;
    let cache = cache::check(&at, &raw.cache, heads, &mask, [max_q, max_kv])?;
    let captured = raw.run.heads.into_iter().map(|path| {
        let span = path.span();
        Captured { path: path.into_inner(), span }
    });
    Ok(Spec {
        name: name(&at, &raw.name)?,
        model: model(&at, raw.model.as_ref().unwrap_or(&raw.name))?,
        heads,
        mask,
        rope,
        linear,
        cache,
        max_q,
        max_kv,
        tile_k: tile_k(&at, raw.tile_k.as_ref())?,
        says_tile_k: raw.tile_k.is_some(),
        scale: scale(&at, raw.scale.as_ref())?,
        levels: levels(&at, &raw.levels)?,
        captured: captured.collect(),
        file: file.to_owned(),
        text: text.to_owned(),
    })
}

/// Names that a crate cannot have where it is used: Rust's words, and the runner's other crates.
const TAKEN: &str = "abstract alloc as async await become box break const continue core crate do dyn \
    else enum extern false final flashlet fn for gen if impl in let loop macro match measure mod move \
    mut oracle override priv proc-macro pub ref return self serde-json static std struct super test trait true \
    try type typeof unsafe unsized use virtual where while yield";

fn name(at: &Text<'_>, name: &Spanned<String>) -> Result<String, SpecError> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let text = name.get_ref();
    let taken = TAKEN.split_whitespace().any(|taken| taken == text);
    if !taken && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(ok) {
        return Ok(text.clone());
    }
    let help = if taken {
        "it names a crate, and this name is taken"
    } else {
        "it names a crate: lower-case letters, digits and `-`, a letter first"
    };
    Err(at.error(name.span(), format!("`{text}` cannot name the crate"), help))
}

/// The model's name goes into comments and tables, so it must stay on its line.
fn model(at: &Text<'_>, model: &Spanned<String>) -> Result<String, SpecError> {
    let text = model.get_ref();
    if text.is_empty() || text.chars().any(char::is_control) {
        let message = format!("{text:?} cannot name the model");
        return Err(at.error(model.span(), message, "a name of one line"));
    }
    Ok(text.clone())
}

fn heads(at: &Text<'_>, raw: &RawHeads) -> Result<Heads, SpecError> {
    for (name, count) in [("query", &raw.q), ("key/value", &raw.kv)] {
        if *count.get_ref() == 0 {
            return Err(at.error(
                count.span(),
                format!("no {name} heads"),
                "there must be at least one",
            ));
        }
    }
    let (q, kv) = (*raw.q.get_ref(), *raw.kv.get_ref());
    if !q.is_multiple_of(kv) {
        let message = format!("{q} query heads are no multiple of {kv} key/value heads");
        let help = format!(
            "each key/value head serves equally many query heads: {} or {}, say",
            q - q % kv,
            q - q % kv + kv
        );
        let help = if q < kv { format!("at least {kv} query heads") } else { help };
        return Err(at.error(raw.q.span(), message, &help));
    }
    let [dim, v_dim] = widths(at, &raw.dim, raw.v_dim.as_ref())?;
    Ok(Heads { q, kv, dim, v_dim })
}

/// Widths of a key and of a value, in their range.
pub(super) fn widths(
    at: &Text<'_>,
    dim: &Spanned<usize>,
    v_dim: Option<&Spanned<usize>>,
) -> Result<[usize; 2], SpecError> {
    for dim in [Some(dim), v_dim].into_iter().flatten() {
        if !(1..=Heads::MAX_DIM).contains(dim.get_ref()) {
            let message = format!("a head {} channels wide", dim.get_ref());
            let help = format!("heads are 1 to {} wide", Heads::MAX_DIM);
            return Err(at.error(dim.span(), message, &help));
        }
    }
    Ok([*dim.get_ref(), *v_dim.unwrap_or(dim).get_ref()])
}

fn mask(at: &Text<'_>, raw: &Raw) -> Result<SpecMask, SpecError> {
    let (raw, keys) = (&raw.mask, *raw.lengths.keys.get_ref());
    let kind = raw.kind;
    let window = raw.window.as_ref().map(|raw| window(at, kind, raw)).transpose()?;
    if let Some(sinks) = raw.sinks.as_ref().filter(|sinks| *sinks.get_ref() > 0)
        && window.is_none()
    {
        let message = "sinks without a window".to_owned();
        let help = "sinks are the keys that stay visible when a window has passed them: \
                    add `window`, or leave out `sinks`";
        return Err(at.error(sinks.span(), message, help));
    }
    let sinks = raw.sinks.as_ref().map_or(0, |sinks| *sinks.get_ref());
    let pattern = pattern(at, raw, keys)?;
    if kind == Kind::Full && window.is_none() && pattern.adds() {
        let limited = pattern.dilation.is_some() || pattern.chunk.is_some();
        let first = raw.prefix.as_ref().map(Spanned::span);
        let first = first.or_else(|| raw.globals.first().map(Spanned::span));
        if let (false, Some(span)) = (limited, first) {
            let message = "every query sees every key already".to_owned();
            let help = "`prefix` and `globals` add to a `window`, `chunk` or `dilation`, or to `kind = \"causal\"`";
            return Err(at.error(span, message, help));
        }
    }
    Ok(SpecMask { kind, window, sinks, pattern })
}

fn pattern(at: &Text<'_>, raw: &RawMask, keys: usize) -> Result<SpecPattern, SpecError> {
    for (what, size) in [("chunks", &raw.chunk), ("steps", &raw.dilation)] {
        if let Some(size) = size.as_ref().filter(|size| *size.get_ref() == 0) {
            let message = format!("{what} of no tokens");
            return Err(at.error(size.span(), message, "at least 1"));
        }
    }
    let mut before = None;
    for position in &raw.globals {
        let token = *position.get_ref();
        if before.is_some_and(|before| before >= token) {
            let message = format!("global token {token} out of order");
            return Err(at.error(position.span(), message, "positions ascend, each named once"));
        }
        if token as usize >= keys {
            let message = format!("global token {token} of {keys} keys");
            return Err(at.error(position.span(), message, "a position below `lengths.keys`"));
        }
        before = Some(token);
    }
    let number = |raw: &Option<Spanned<usize>>| raw.as_ref().map(|raw| *raw.get_ref());
    Ok(SpecPattern {
        // One key of one is every key.
        dilation: number(&raw.dilation).filter(|step| *step > 1),
        chunk: number(&raw.chunk),
        prefix: number(&raw.prefix).unwrap_or(0),
        globals: raw.globals.iter().map(|position| *position.get_ref()).collect(),
    })
}

fn window(at: &Text<'_>, kind: Kind, raw: &Spanned<RawWindow>) -> Result<SpecWindow, SpecError> {
    let error = |message: &str, help| Err(at.error(raw.span(), message.to_owned(), help));
    match *raw.get_ref() {
        RawWindow { keys: Some(0), left: None, right: None } => {
            error("a window of no keys", "`keys` counts the query's own key: at least 1")
        }
        RawWindow { keys: Some(keys), left: None, right: None } => Ok(SpecWindow::Keys(keys)),
        RawWindow { keys: None, left: Some(_), right: Some(1..) } if kind == Kind::Causal => error(
            "a causal query sees nothing to its right",
            "say `right = 0`, or `kind = \"full\"`",
        ),
        RawWindow { keys: None, left: Some(left), right: Some(right) } => {
            Ok(SpecWindow::Span { left, right })
        }
        _ => error(
            "half a window",
            "either `{ keys = N }`, N keys with the query's own the last, or `{ left = A, right = B }`, \
             A keys before and B after its own",
        ),
    }
}

fn lengths(at: &Text<'_>, raw: &Raw, heads: Heads) -> Result<(usize, usize), SpecError> {
    let (queries, keys) = (&raw.lengths.queries, &raw.lengths.keys);
    for length in [queries, keys] {
        if *length.get_ref() == 0 {
            return Err(at.error(
                length.span(),
                "no tokens at all".to_owned(),
                "a maximum is at least 1",
            ));
        }
    }
    let (q_len, kv_len) = (*queries.get_ref(), *keys.get_ref());
    if raw.mask.kind == Kind::Causal && q_len > kv_len {
        let message = format!("{q_len} queries of at most {kv_len} keys");
        let help = "a causal query is one of the keys' tokens: no more queries than keys";
        return Err(at.error(queries.span(), message, help));
    }
    if Attention::new(Shape { batch: 1, q_len, kv_len, heads }, Mask::full()).is_err() {
        let longest = if q_len > kv_len { queries } else { keys };
        let message = format!("{} tokens of these heads exceed any memory", longest.get_ref());
        return Err(at.error(longest.span(), message, "their bytes must fit an address"));
    }
    Ok((q_len, kv_len))
}

fn tile_k(at: &Text<'_>, raw: Option<&Spanned<usize>>) -> Result<usize, SpecError> {
    let Some(raw) = raw else { return Ok(TILE_K) };
    let tile_k = *raw.get_ref();
    if tile_k.is_multiple_of(TILE_K_STEP) && (TILE_K_STEP..=TILE_K_MAX).contains(&tile_k) {
        return Ok(tile_k);
    }
    let help = format!(
        "a multiple of {TILE_K_STEP}, which every register tile divides, up to {TILE_K_MAX}; \
         {TILE_K} is what the other kernels have, and results have the same bits only with the same tile"
    );
    Err(at.error(raw.span(), format!("a tile of {tile_k} keys"), &help))
}

pub(super) fn scale(at: &Text<'_>, raw: Option<&Spanned<f64>>) -> Result<Option<f64>, SpecError> {
    match raw {
        // The kernels multiply by this f32.
        Some(raw) if !((raw.get_ref() * std::f64::consts::LOG2_E) as f32).is_finite() => {
            let help = "a number that is finite in f32; leave it out for 1 / sqrt(dim)";
            Err(at.error(raw.span(), format!("a scale of {}", raw.get_ref()), help))
        }
        raw => Ok(raw.map(|raw| *raw.get_ref())),
    }
}

fn levels(at: &Text<'_>, raw: &Spanned<Vec<Spanned<LevelName>>>) -> Result<Vec<Level>, SpecError> {
    let mut levels = Vec::new();
    for name in raw.get_ref() {
        let level = match name.get_ref() {
            LevelName::Scalar => Level::Scalar,
            LevelName::Portable => Level::Portable,
            LevelName::Avx2 => Level::Avx2,
            LevelName::Avx512 => Level::Avx512,
        };
        if levels.contains(&level) {
            return Err(at.error(name.span(), format!("{level} again"), "name each level once"));
        }
        levels.push(level);
    }
    if levels.is_empty() {
        return Err(at.error(
            raw.span(),
            "no level".to_owned(),
            "`levels = [\"scalar\"]` runs everywhere",
        ));
    }
    levels.sort_unstable();
    Ok(levels)
}
