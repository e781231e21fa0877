//! THE list: the head sizes that get entries of their own, and who wants them.
//!
//! Any other size works too, on the generic path, with the same bits. A line costs 8 entries: two
//! operations on four levels. Add one only for a model that people run.

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

const fn line([dim, v_dim]: [usize; 2], models: &str) -> Line<'_> {
    Line { dim, v_dim, models }
}
