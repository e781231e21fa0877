//! The preset's form: its tables and keys, each with its place in the text.

use super::{Kind, SpecFamily};
use flashlet::{Form, HeadMap, Pairing};
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
    pub(super) rope: Option<RawRope>,
    pub(super) linear: Option<RawLinear>,
    #[serde(default)]
    pub(super) cache: RawCache,
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
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { theta_base = 10000.0, pairing = \"halves\" }"
)]
pub(super) struct RawRope {
    pub(super) theta_base: Spanned<f64>,
    pub(super) pairing: RawPairing,
    pub(super) rot_dim: Option<Spanned<usize>>,
    pub(super) first: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) phase: RawPhase,
    pub(super) table: Option<Spanned<usize>>,
    pub(super) no_rope_every: Option<Spanned<usize>>,
    pub(super) scaling: Option<Spanned<RawScaling>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawPairing {
    Interleaved,
    Halves,
}

impl RawPairing {
    pub(super) fn pairing(self) -> Pairing {
        match self {
            RawPairing::Interleaved => Pairing::Interleaved,
            RawPairing::Halves => Pairing::Halves,
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawPhase {
    #[default]
    Exact,
    F32Compatible,
}

impl RawPhase {
    pub(super) fn is_compatible(self) -> bool {
        matches!(self, RawPhase::F32Compatible)
    }
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum RawScaling {
    Linear {
        factor: f64,
    },
    Ntk {
        factor: f64,
    },
    DynamicNtk {
        factor: f64,
        original_len: u32,
    },
    Yarn {
        factor: f64,
        original_len: u32,
        beta_fast: Option<f64>,
        beta_slow: Option<f64>,
        truncate: Option<bool>,
        attention_factor: Option<f64>,
        mscale: Option<f64>,
        mscale_all_dim: Option<f64>,
    },
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_len: u32,
    },
    Longrope {
        short_factor: Vec<f64>,
        long_factor: Vec<f64>,
        factor: f64,
        original_len: u32,
        attention_factor: Option<f64>,
    },
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { family = \"gated-delta\", q_heads = 16, head_dim = 128 }"
)]
pub(super) struct RawLinear {
    pub(super) family: SpecFamily,
    pub(super) q_heads: Spanned<usize>,
    pub(super) k_heads: Option<Spanned<usize>>,
    pub(super) v_heads: Option<Spanned<usize>>,
    pub(super) head_dim: Spanned<usize>,
    pub(super) v_dim: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) head_map: RawHeadMap,
    pub(super) scale: Option<Spanned<f64>>,
    pub(super) l2_eps: Option<Spanned<f64>>,
    pub(super) forms: Option<Spanned<Vec<Spanned<RawForm>>>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawHeadMap {
    #[default]
    Grouped,
    Modulo,
}

impl RawHeadMap {
    pub(super) fn map(self) -> HeadMap {
        match self {
            RawHeadMap::Grouped => HeadMap::Grouped,
            RawHeadMap::Modulo => HeadMap::Modulo,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawForm {
    Step,
    Chunk,
}

impl RawForm {
    pub(super) fn form(self) -> Form {
        match self {
            RawForm::Step => Form::Recurrent,
            RawForm::Chunk => Form::Chunked,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { format = \"i8\" }")]
pub(super) struct RawCache {
    pub(super) format: Option<Spanned<RawFormat>>,
    pub(super) tokens: Option<Spanned<usize>>,
    pub(super) layers: Option<Spanned<usize>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawFormat {
    Auto,
    F32,
    F16,
    Bf16,
    E4m3,
    E5m2,
    I8,
    Q8_0,
    Q4_0,
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
