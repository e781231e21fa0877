//! The preset's form: its tables and keys, each with its place in the text.

use super::Kind;
use serde::Deserialize;
use std::path::PathBuf;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) name: Spanned<String>,
    pub(super) model: Option<Spanned<String>>,
    pub(super) levels: Spanned<Vec<Spanned<LevelName>>>,
    pub(super) tile_k: Option<Spanned<usize>>,
    pub(super) scale: Option<Spanned<f64>>,
    pub(super) heads: RawHeads,
    pub(super) mask: RawMask,
    pub(super) lengths: RawLengths,
    #[serde(default)]
    pub(super) run: RawRun,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum LevelName {
    Scalar,
    Portable,
    Avx2,
    Avx512,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { q = 9, kv = 3, dim = 64 }")]
pub(super) struct RawHeads {
    pub(super) q: Spanned<usize>,
    pub(super) kv: Spanned<usize>,
    pub(super) dim: Spanned<usize>,
    pub(super) v_dim: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { kind = \"causal\" }")]
pub(super) struct RawMask {
    pub(super) kind: Kind,
    pub(super) window: Option<Spanned<RawWindow>>,
    pub(super) sinks: Option<Spanned<usize>>,
    pub(super) dilation: Option<Spanned<usize>>,
    pub(super) chunk: Option<Spanned<usize>>,
    pub(super) prefix: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) globals: Vec<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, { keys = N } or { left = A, right = B }")]
pub(super) struct RawWindow {
    pub(super) keys: Option<usize>,
    pub(super) left: Option<usize>,
    pub(super) right: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { queries = 512, keys = 512 }")]
pub(super) struct RawLengths {
    pub(super) queries: Spanned<usize>,
    pub(super) keys: Spanned<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { heads = [\"FILE.safetensors\"] }")]
pub(super) struct RawRun {
    #[serde(default)]
    pub(super) heads: Vec<Spanned<PathBuf>>,
}
