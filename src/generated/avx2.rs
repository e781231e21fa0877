// Written by `cargo kernels`: do not edit.
//! Entries of the level avx2: 8 lanes, 16 registers.

#![expect(unsafe_code, reason = "entries with target features need a promise")]

use crate::dispatch::Rotate;
use crate::entry::{
    self, Entry, Fixed, Halves, Interleaved, Job, Lanes, TILE_K, Tiling, Turning, rotate,
};
use crate::simd::{Avx2, Level};
use half::{bf16, f16};

use crate::entry::LinearEntry;

/// 32 rows: 11 of 16 registers.
const KEYS_2X4_Q32: Tiling = Tiling {
    lanes: Lanes::Keys,
    vectors: 2, // of 8
    scalars: 4,
    rows: 32,
};

/// 128 rows: 15 of 16 registers.
const QUERIES_2X6_Q128: Tiling = Tiling {
    lanes: Lanes::Queries,
    vectors: 2, // of 8
    scalars: 6,
    rows: 128,
};

/// 16 rows: 15 of 16 registers.
const QUERIES_2X6_Q16: Tiling = Tiling {
    lanes: Lanes::Queries,
    vectors: 2, // of 8
    scalars: 6,
    rows: 16,
};

/// 64 rows: 15 of 16 registers.
const QUERIES_2X6_Q64: Tiling = Tiling {
    lanes: Lanes::Queries,
    vectors: 2, // of 8
    scalars: 6,
    rows: 64,
};

// SAFETY: every function of this file enables just the features that `Level::Avx2` stands
// for, and is safe to call where they are available.
/// `[attend, decode]` for each head size.
pub(crate) const ENTRIES: &[[Entry; 2]] = unsafe {
    &[
        [
            Entry::with_features(
                "attend_f32_hd32_q128_k96_avx2",
                Level::Avx2,
                [32, 32],
                TILE_K,
                QUERIES_2X6_Q128,
                attend_f32_hd32_q128_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx2",
                Level::Avx2,
                [32, 32],
                TILE_K,
                KEYS_2X4_Q32,
                decode_f32_q32_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd64_q128_k96_avx2",
                Level::Avx2,
                [64, 64],
                TILE_K,
                QUERIES_2X6_Q128,
                attend_f32_hd64_q128_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx2",
                Level::Avx2,
                [64, 64],
                TILE_K,
                KEYS_2X4_Q32,
                decode_f32_q32_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd80_q128_k96_avx2",
                Level::Avx2,
                [80, 80],
                TILE_K,
                QUERIES_2X6_Q128,
                attend_f32_hd80_q128_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx2",
                Level::Avx2,
                [80, 80],
                TILE_K,
                KEYS_2X4_Q32,
                decode_f32_q32_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd96_q128_k96_avx2",
                Level::Avx2,
                [96, 96],
                TILE_K,
                QUERIES_2X6_Q128,
                attend_f32_hd96_q128_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx2",
                Level::Avx2,
                [96, 96],
                TILE_K,
                KEYS_2X4_Q32,
                decode_f32_q32_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd128_q128_k96_avx2",
                Level::Avx2,
                [128, 128],
                TILE_K,
                QUERIES_2X6_Q128,
                attend_f32_hd128_q128_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx2",
                Level::Avx2,
                [128, 128],
                TILE_K,
                KEYS_2X4_Q32,
                decode_f32_q32_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd192x128_q64_k96_avx2",
                Level::Avx2,
                [192, 128],
                TILE_K,
                QUERIES_2X6_Q64,
                attend_f32_hd192x128_q64_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx2",
                Level::Avx2,
                [192, 128],
                TILE_K,
                KEYS_2X4_Q32,
                decode_f32_q32_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd256_q16_k96_avx2",
                Level::Avx2,
                [256, 256],
                TILE_K,
                QUERIES_2X6_Q16,
                attend_f32_hd256_q16_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx2",
                Level::Avx2,
                [256, 256],
                TILE_K,
                KEYS_2X4_Q32,
                decode_f32_q32_k96_avx2,
            ),
        ],
    ]
};

/// MiniLM-L6. 2 x 6 tile, 15 of 16 registers, 39,964 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd32_q128_k96_avx2(job: Job<'_>) {
    entry::attend::<Avx2, Fixed<32>, Fixed<32>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Any head. 2 x 4 tile, 11 of 16 registers.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode_f32_q32_k96_avx2(job: Job<'_>) {
    entry::decode::<Avx2, TILE_K>(Avx2::here(), job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 2 x 6 tile, 15 of 16 registers, 72,732 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd64_q128_k96_avx2(job: Job<'_>) {
    entry::attend::<Avx2, Fixed<64>, Fixed<64>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Phi-2, ViT-H. 2 x 6 tile, 15 of 16 registers, 89,116 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd80_q128_k96_avx2(job: Job<'_>) {
    entry::attend::<Avx2, Fixed<80>, Fixed<80>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Phi-3-mini. 2 x 6 tile, 15 of 16 registers, 105,500 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd96_q128_k96_avx2(job: Job<'_>) {
    entry::attend::<Avx2, Fixed<96>, Fixed<96>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 2 x 6 tile, 15 of 16 registers, 138,268 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd128_q128_k96_avx2(job: Job<'_>) {
    entry::attend::<Avx2, Fixed<128>, Fixed<128>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// DeepSeek-V3, Kimi-Linear. 2 x 6 tile, 15 of 16 registers, 88,604 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd192x128_q64_k96_avx2(job: Job<'_>) {
    entry::attend::<Avx2, Fixed<192>, Fixed<128>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next. 2 x 6 tile, 15 of 16 registers, 39,068 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd256_q16_k96_avx2(job: Job<'_>) {
    entry::attend::<Avx2, Fixed<256>, Fixed<256>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Rotary positions of f32, in the order of `ROPE_LINES`.
pub(crate) const ROPES_F32: &[Rotate<f32>] = &[
    rope_f32_r32_halves_avx2,
    rope_f32_r64_halves_avx2,
    rope_f32_r96_halves_avx2,
    rope_f32_r128_halves_avx2,
    rope_f32_r256_halves_avx2,
    rope_f32_r64_interleaved_avx2,
    rope_f32_r128_interleaved_avx2,
];

/// Phi-1.5, Phi-2.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f32_r32_halves_avx2(turning: Turning<'_, f32>) {
    rotate::<Avx2, Halves, Fixed<32>, _>(Avx2::here(), turning);
}

/// SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f32_r64_halves_avx2(turning: Turning<'_, f32>) {
    rotate::<Avx2, Halves, Fixed<64>, _>(Avx2::here(), turning);
}

/// Phi-3-mini, Phi-4-mini.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f32_r96_halves_avx2(turning: Turning<'_, f32>) {
    rotate::<Avx2, Halves, Fixed<96>, _>(Avx2::here(), turning);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f32_r128_halves_avx2(turning: Turning<'_, f32>) {
    rotate::<Avx2, Halves, Fixed<128>, _>(Avx2::here(), turning);
}

/// Gemma-2, Gemma-3.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f32_r256_halves_avx2(turning: Turning<'_, f32>) {
    rotate::<Avx2, Halves, Fixed<256>, _>(Avx2::here(), turning);
}

/// DeepSeek-V3, SmolLM2 in GGUF.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f32_r64_interleaved_avx2(turning: Turning<'_, f32>) {
    rotate::<Avx2, Interleaved, Fixed<64>, _>(Avx2::here(), turning);
}

/// Llama-4, Llama-3.1 in GGUF.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f32_r128_interleaved_avx2(turning: Turning<'_, f32>) {
    rotate::<Avx2, Interleaved, Fixed<128>, _>(Avx2::here(), turning);
}

/// Rotary positions of f16, in the order of `ROPE_LINES`.
pub(crate) const ROPES_F16: &[Rotate<f16>] = &[
    rope_f16_r32_halves_avx2,
    rope_f16_r64_halves_avx2,
    rope_f16_r96_halves_avx2,
    rope_f16_r128_halves_avx2,
    rope_f16_r256_halves_avx2,
    rope_f16_r64_interleaved_avx2,
    rope_f16_r128_interleaved_avx2,
];

/// Phi-1.5, Phi-2.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f16_r32_halves_avx2(turning: Turning<'_, f16>) {
    rotate::<Avx2, Halves, Fixed<32>, _>(Avx2::here(), turning);
}

/// SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f16_r64_halves_avx2(turning: Turning<'_, f16>) {
    rotate::<Avx2, Halves, Fixed<64>, _>(Avx2::here(), turning);
}

/// Phi-3-mini, Phi-4-mini.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f16_r96_halves_avx2(turning: Turning<'_, f16>) {
    rotate::<Avx2, Halves, Fixed<96>, _>(Avx2::here(), turning);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f16_r128_halves_avx2(turning: Turning<'_, f16>) {
    rotate::<Avx2, Halves, Fixed<128>, _>(Avx2::here(), turning);
}

/// Gemma-2, Gemma-3.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f16_r256_halves_avx2(turning: Turning<'_, f16>) {
    rotate::<Avx2, Halves, Fixed<256>, _>(Avx2::here(), turning);
}

/// DeepSeek-V3, SmolLM2 in GGUF.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f16_r64_interleaved_avx2(turning: Turning<'_, f16>) {
    rotate::<Avx2, Interleaved, Fixed<64>, _>(Avx2::here(), turning);
}

/// Llama-4, Llama-3.1 in GGUF.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_f16_r128_interleaved_avx2(turning: Turning<'_, f16>) {
    rotate::<Avx2, Interleaved, Fixed<128>, _>(Avx2::here(), turning);
}

/// Rotary positions of bf16, in the order of `ROPE_LINES`.
pub(crate) const ROPES_BF16: &[Rotate<bf16>] = &[
    rope_bf16_r32_halves_avx2,
    rope_bf16_r64_halves_avx2,
    rope_bf16_r96_halves_avx2,
    rope_bf16_r128_halves_avx2,
    rope_bf16_r256_halves_avx2,
    rope_bf16_r64_interleaved_avx2,
    rope_bf16_r128_interleaved_avx2,
];

/// Phi-1.5, Phi-2.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_bf16_r32_halves_avx2(turning: Turning<'_, bf16>) {
    rotate::<Avx2, Halves, Fixed<32>, _>(Avx2::here(), turning);
}

/// SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_bf16_r64_halves_avx2(turning: Turning<'_, bf16>) {
    rotate::<Avx2, Halves, Fixed<64>, _>(Avx2::here(), turning);
}

/// Phi-3-mini, Phi-4-mini.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_bf16_r96_halves_avx2(turning: Turning<'_, bf16>) {
    rotate::<Avx2, Halves, Fixed<96>, _>(Avx2::here(), turning);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_bf16_r128_halves_avx2(turning: Turning<'_, bf16>) {
    rotate::<Avx2, Halves, Fixed<128>, _>(Avx2::here(), turning);
}

/// Gemma-2, Gemma-3.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_bf16_r256_halves_avx2(turning: Turning<'_, bf16>) {
    rotate::<Avx2, Halves, Fixed<256>, _>(Avx2::here(), turning);
}

/// DeepSeek-V3, SmolLM2 in GGUF.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_bf16_r64_interleaved_avx2(turning: Turning<'_, bf16>) {
    rotate::<Avx2, Interleaved, Fixed<64>, _>(Avx2::here(), turning);
}

/// Llama-4, Llama-3.1 in GGUF.
#[target_feature(enable = "avx2,fma,f16c")]
fn rope_bf16_r128_interleaved_avx2(turning: Turning<'_, bf16>) {
    rotate::<Avx2, Interleaved, Fixed<128>, _>(Avx2::here(), turning);
}

/// Linear attention: none.
pub(crate) const LINEAR: &[LinearEntry] = &[];
