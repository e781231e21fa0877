//! THE list: the head sizes that get entries of their own, and who wants them.
//!
//! Any other size works too, on the generic path, with the same bits. A line costs 8 entries: two
//! operations on four levels. Add one only for a model that people run.

use flashlet::{Family, Pairing};

/// A head size, and why it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Width of a query and of a key.
    pub dim: usize,
    /// Width of a value.
    pub v_dim: usize,
    /// The models that want it.
    pub models: &'a str,
}

/// The list, narrow heads first.
pub const MANIFEST: &[Line<'_>] = &[
    line([32, 32], "MiniLM-L6"),
    line([64, 64], "BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss"),
    line([80, 80], "Phi-2, ViT-H"),
    line([96, 96], "Phi-3-mini"),
    line([128, 128], "Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3"),
    line([192, 128], "DeepSeek-V3, Kimi-Linear"),
    line([256, 256], "Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next"),
];

/// The head sizes of the list whose products of bf16 pairs get entries of their own; others take the
/// generic one. An entry is 20 kB of text, and few processors run it.
pub const PAIRS: &[[usize; 2]] = &[[64, 64], [128, 128]];

/// Rotary positions that get functions of their own: so many channels, in such pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RopeLine {
    /// Channels that turn.
    pub rot_dim: usize,
    /// Which of them turn together.
    pub pairing: Pairing,
    /// The models that want it.
    pub models: &'static str,
}

/// The rotary positions that get functions of their own, for each element and level. Any others turn too, to the same
/// bits: a line makes small heads faster, whose cosines and sines then stay in registers from head to head.
pub const ROPES: &[RopeLine] = &[
    rope(32, Pairing::Halves, "Phi-1.5, Phi-2"),
    rope(64, Pairing::Halves, "SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4"),
    rope(96, Pairing::Halves, "Phi-3-mini, Phi-4-mini"),
    rope(128, Pairing::Halves, "Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3"),
    rope(256, Pairing::Halves, "Gemma-2, Gemma-3"),
    rope(64, Pairing::Interleaved, "DeepSeek-V3, SmolLM2 in GGUF"),
    rope(128, Pairing::Interleaved, "Llama-4, Llama-3.1 in GGUF"),
];

/// Linear attention that gets entries of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearLine<'a> {
    /// The gate and the rule; [`flashlet::entry::class`] is what counts of them.
    pub family: Family,
    /// Width of a query and of a key.
    pub dim: usize,
    /// Width of a value.
    pub v_dim: usize,
    /// The models that want it.
    pub models: &'a str,
}

/// The linear attentions that get entries of their own: chunks, at the levels that [`crate::plan::linear_lines`] names. Any
/// other family and width works too, with the same bits, through functions three times as large that serve all of
/// them: a line saves up to 4 % of time, and room where it is all that is linked.
pub const LINEAR: &[LinearLine<'_>] = &[
    linear(Family::LIGHTNING, [128, 128], "MiniMax-01, Ring-linear"),
    linear(Family::RETNET, [256, 512], "RetNet-1.3B"),
    linear(Family::MAMBA2, [128, 64], "Mamba-2, Zamba2, Nemotron-H"),
    linear(Family::GATED_DELTA_NET, [128, 128], "Qwen3-Next"),
    linear(Family::KDA, [128, 128], "Kimi-Linear"),
    linear(Family::RWKV7, [64, 64], "RWKV-7"),
];

const fn linear(family: Family, [dim, v_dim]: [usize; 2], models: &str) -> LinearLine<'_> {
    LinearLine { family, dim, v_dim, models }
}

const fn rope(rot_dim: usize, pairing: Pairing, models: &'static str) -> RopeLine {
    RopeLine { rot_dim, pairing, models }
}

const fn line([dim, v_dim]: [usize; 2], models: &str) -> Line<'_> {
    Line { dim, v_dim, models }
}
