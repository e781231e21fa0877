// Written by `cargo kernels`: do not edit.
//! Entries of the level avx512: 16 lanes, 32 registers.

#![expect(unsafe_code, reason = "entries with target features need a promise")]

use crate::dispatch::Rotate;
use crate::entry::{
    self, Entry, Fixed, Halves, Interleaved, Job, Lanes, TILE_K, Tiling, Turning, rotate,
};
use crate::simd::{Avx512, Bf16Products, Level};
use half::{bf16, f16};

use crate::entry::{Chunk, Class, LinearEntry, linear_chunk};
use crate::linear::{Family, Form};

/// 32 rows: 21 of 32 registers.
const KEYS_4X4_Q32: Tiling = Tiling {
    lanes: Lanes::Keys,
    vectors: 4, // of 16
    scalars: 4,
    rows: 32,
};

/// 128 rows: 21 of 32 registers.
const QUERIES_4X4_Q128: Tiling = Tiling {
    lanes: Lanes::Queries,
    vectors: 4, // of 16
    scalars: 4,
    rows: 128,
};

/// 256 rows: 21 of 32 registers.
const QUERIES_4X4_Q256: Tiling = Tiling {
    lanes: Lanes::Queries,
    vectors: 4, // of 16
    scalars: 4,
    rows: 256,
};

/// 64 rows: 21 of 32 registers.
const QUERIES_4X4_Q64: Tiling = Tiling {
    lanes: Lanes::Queries,
    vectors: 4, // of 16
    scalars: 4,
    rows: 64,
};

// SAFETY: every function of this file enables just the features that `Level::Avx512` stands
// for, and is safe to call where they are available.
/// `[attend, decode]` for each head size.
pub(crate) const ENTRIES: &[[Entry; 2]] = unsafe {
    &[
        [
            Entry::with_features(
                "attend_f32_hd32_q128_k96_avx512",
                Level::Avx512,
                [32, 32],
                TILE_K,
                QUERIES_4X4_Q128,
                attend_f32_hd32_q128_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx512",
                Level::Avx512,
                [32, 32],
                TILE_K,
                KEYS_4X4_Q32,
                decode_f32_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd64_q128_k96_avx512",
                Level::Avx512,
                [64, 64],
                TILE_K,
                QUERIES_4X4_Q128,
                attend_f32_hd64_q128_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx512",
                Level::Avx512,
                [64, 64],
                TILE_K,
                KEYS_4X4_Q32,
                decode_f32_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd80_q128_k96_avx512",
                Level::Avx512,
                [80, 80],
                TILE_K,
                QUERIES_4X4_Q128,
                attend_f32_hd80_q128_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx512",
                Level::Avx512,
                [80, 80],
                TILE_K,
                KEYS_4X4_Q32,
                decode_f32_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd96_q128_k96_avx512",
                Level::Avx512,
                [96, 96],
                TILE_K,
                QUERIES_4X4_Q128,
                attend_f32_hd96_q128_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx512",
                Level::Avx512,
                [96, 96],
                TILE_K,
                KEYS_4X4_Q32,
                decode_f32_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd128_q128_k96_avx512",
                Level::Avx512,
                [128, 128],
                TILE_K,
                QUERIES_4X4_Q128,
                attend_f32_hd128_q128_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx512",
                Level::Avx512,
                [128, 128],
                TILE_K,
                KEYS_4X4_Q32,
                decode_f32_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd192x128_q64_k96_avx512",
                Level::Avx512,
                [192, 128],
                TILE_K,
                QUERIES_4X4_Q64,
                attend_f32_hd192x128_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx512",
                Level::Avx512,
                [192, 128],
                TILE_K,
                KEYS_4X4_Q32,
                decode_f32_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd256_q64_k96_avx512",
                Level::Avx512,
                [256, 256],
                TILE_K,
                QUERIES_4X4_Q64,
                attend_f32_hd256_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_q32_k96_avx512",
                Level::Avx512,
                [256, 256],
                TILE_K,
                KEYS_4X4_Q32,
                decode_f32_q32_k96_avx512,
            ),
        ],
    ]
};

// SAFETY: every function named here enables the features that `Level::Avx512` stands for and
// that of bf16 products, and is safe to call where they are available.
/// Products of bf16 pairs, for each head size.
pub(crate) const PAIRS: &[Entry] = unsafe {
    &[
        Entry::with_pairs(
            "attend_bf16_hd64_q256_k96_avx512",
            Level::Avx512,
            [64, 64],
            TILE_K,
            QUERIES_4X4_Q256,
            attend_bf16_hd64_q256_k96_avx512,
        ),
        Entry::with_pairs(
            "attend_bf16_hd128_q128_k96_avx512",
            Level::Avx512,
            [128, 128],
            TILE_K,
            QUERIES_4X4_Q128,
            attend_bf16_hd128_q128_k96_avx512,
        ),
    ]
};

/// MiniLM-L6. 4 x 4 tile, 21 of 32 registers, 58,428 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd32_q128_k96_avx512(job: Job<'_>) {
    entry::attend::<Avx512, Fixed<32>, Fixed<32>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Any head. 4 x 4 tile, 21 of 32 registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn decode_f32_q32_k96_avx512(job: Job<'_>) {
    entry::decode::<Avx512, TILE_K>(Avx512::here(), job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 4 x 4 tile, 21 of 32 registers, 91,196 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd64_q128_k96_avx512(job: Job<'_>) {
    entry::attend::<Avx512, Fixed<64>, Fixed<64>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Phi-2, ViT-H. 4 x 4 tile, 21 of 32 registers, 107,580 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd80_q128_k96_avx512(job: Job<'_>) {
    entry::attend::<Avx512, Fixed<80>, Fixed<80>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Phi-3-mini. 4 x 4 tile, 21 of 32 registers, 123,964 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd96_q128_k96_avx512(job: Job<'_>) {
    entry::attend::<Avx512, Fixed<96>, Fixed<96>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 4 x 4 tile, 21 of 32 registers, 156,732 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd128_q128_k96_avx512(job: Job<'_>) {
    entry::attend::<Avx512, Fixed<128>, Fixed<128>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// DeepSeek-V3, Kimi-Linear. 4 x 4 tile, 21 of 32 registers, 107,068 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd192x128_q64_k96_avx512(job: Job<'_>) {
    entry::attend::<Avx512, Fixed<192>, Fixed<128>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next. 4 x 4 tile, 21 of 32 registers, 156,220 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd256_q64_k96_avx512(job: Job<'_>) {
    entry::attend::<Avx512, Fixed<256>, Fixed<256>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 4 x 4 tile, 21 of 32 registers, 206,908 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn attend_bf16_hd64_q256_k96_avx512(job: Job<'_>) {
    let products = Bf16Products::here();
    entry::attend_pairs::<Avx512, _, Fixed<64>, Fixed<64>, 4, 4, TILE_K>(
        Avx512::here(),
        products,
        job,
    );
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 4 x 4 tile, 21 of 32 registers, 255,036 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn attend_bf16_hd128_q128_k96_avx512(job: Job<'_>) {
    let products = Bf16Products::here();
    entry::attend_pairs::<Avx512, _, Fixed<128>, Fixed<128>, 4, 4, TILE_K>(
        Avx512::here(),
        products,
        job,
    );
}

/// Rotary positions of f32, in the order of `ROPE_LINES`.
pub(crate) const ROPES_F32: &[Rotate<f32>] = &[
    rope_f32_r32_halves_avx512,
    rope_f32_r64_halves_avx512,
    rope_f32_r96_halves_avx512,
    rope_f32_r128_halves_avx512,
    rope_f32_r256_halves_avx512,
    rope_f32_r64_interleaved_avx512,
    rope_f32_r128_interleaved_avx512,
];

/// Phi-1.5, Phi-2.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f32_r32_halves_avx512(turning: Turning<'_, f32>) {
    rotate::<Avx512, Halves, Fixed<32>, _>(Avx512::here(), turning);
}

/// SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f32_r64_halves_avx512(turning: Turning<'_, f32>) {
    rotate::<Avx512, Halves, Fixed<64>, _>(Avx512::here(), turning);
}

/// Phi-3-mini, Phi-4-mini.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f32_r96_halves_avx512(turning: Turning<'_, f32>) {
    rotate::<Avx512, Halves, Fixed<96>, _>(Avx512::here(), turning);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f32_r128_halves_avx512(turning: Turning<'_, f32>) {
    rotate::<Avx512, Halves, Fixed<128>, _>(Avx512::here(), turning);
}

/// Gemma-2, Gemma-3.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f32_r256_halves_avx512(turning: Turning<'_, f32>) {
    rotate::<Avx512, Halves, Fixed<256>, _>(Avx512::here(), turning);
}

/// DeepSeek-V3, SmolLM2 in GGUF.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f32_r64_interleaved_avx512(turning: Turning<'_, f32>) {
    rotate::<Avx512, Interleaved, Fixed<64>, _>(Avx512::here(), turning);
}

/// Llama-4, Llama-3.1 in GGUF.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f32_r128_interleaved_avx512(turning: Turning<'_, f32>) {
    rotate::<Avx512, Interleaved, Fixed<128>, _>(Avx512::here(), turning);
}

/// Rotary positions of f16, in the order of `ROPE_LINES`.
pub(crate) const ROPES_F16: &[Rotate<f16>] = &[
    rope_f16_r32_halves_avx512,
    rope_f16_r64_halves_avx512,
    rope_f16_r96_halves_avx512,
    rope_f16_r128_halves_avx512,
    rope_f16_r256_halves_avx512,
    rope_f16_r64_interleaved_avx512,
    rope_f16_r128_interleaved_avx512,
];

/// Phi-1.5, Phi-2.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f16_r32_halves_avx512(turning: Turning<'_, f16>) {
    rotate::<Avx512, Halves, Fixed<32>, _>(Avx512::here(), turning);
}

/// SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f16_r64_halves_avx512(turning: Turning<'_, f16>) {
    rotate::<Avx512, Halves, Fixed<64>, _>(Avx512::here(), turning);
}

/// Phi-3-mini, Phi-4-mini.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f16_r96_halves_avx512(turning: Turning<'_, f16>) {
    rotate::<Avx512, Halves, Fixed<96>, _>(Avx512::here(), turning);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f16_r128_halves_avx512(turning: Turning<'_, f16>) {
    rotate::<Avx512, Halves, Fixed<128>, _>(Avx512::here(), turning);
}

/// Gemma-2, Gemma-3.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f16_r256_halves_avx512(turning: Turning<'_, f16>) {
    rotate::<Avx512, Halves, Fixed<256>, _>(Avx512::here(), turning);
}

/// DeepSeek-V3, SmolLM2 in GGUF.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f16_r64_interleaved_avx512(turning: Turning<'_, f16>) {
    rotate::<Avx512, Interleaved, Fixed<64>, _>(Avx512::here(), turning);
}

/// Llama-4, Llama-3.1 in GGUF.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_f16_r128_interleaved_avx512(turning: Turning<'_, f16>) {
    rotate::<Avx512, Interleaved, Fixed<128>, _>(Avx512::here(), turning);
}

/// Rotary positions of bf16, in the order of `ROPE_LINES`.
pub(crate) const ROPES_BF16: &[Rotate<bf16>] = &[
    rope_bf16_r32_halves_avx512,
    rope_bf16_r64_halves_avx512,
    rope_bf16_r96_halves_avx512,
    rope_bf16_r128_halves_avx512,
    rope_bf16_r256_halves_avx512,
    rope_bf16_r64_interleaved_avx512,
    rope_bf16_r128_interleaved_avx512,
];

/// Phi-1.5, Phi-2.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_bf16_r32_halves_avx512(turning: Turning<'_, bf16>) {
    rotate::<Avx512, Halves, Fixed<32>, _>(Avx512::here(), turning);
}

/// SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_bf16_r64_halves_avx512(turning: Turning<'_, bf16>) {
    rotate::<Avx512, Halves, Fixed<64>, _>(Avx512::here(), turning);
}

/// Phi-3-mini, Phi-4-mini.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_bf16_r96_halves_avx512(turning: Turning<'_, bf16>) {
    rotate::<Avx512, Halves, Fixed<96>, _>(Avx512::here(), turning);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_bf16_r128_halves_avx512(turning: Turning<'_, bf16>) {
    rotate::<Avx512, Halves, Fixed<128>, _>(Avx512::here(), turning);
}

/// Gemma-2, Gemma-3.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_bf16_r256_halves_avx512(turning: Turning<'_, bf16>) {
    rotate::<Avx512, Halves, Fixed<256>, _>(Avx512::here(), turning);
}

/// DeepSeek-V3, SmolLM2 in GGUF.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_bf16_r64_interleaved_avx512(turning: Turning<'_, bf16>) {
    rotate::<Avx512, Interleaved, Fixed<64>, _>(Avx512::here(), turning);
}

/// Llama-4, Llama-3.1 in GGUF.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rope_bf16_r128_interleaved_avx512(turning: Turning<'_, bf16>) {
    rotate::<Avx512, Interleaved, Fixed<128>, _>(Avx512::here(), turning);
}

// SAFETY: every function named here enables just the features that `Level::Avx512` stands for, and is
// safe to call where they are available.
/// Linear attention.
pub(crate) const LINEAR: &[LinearEntry] = unsafe {
    &[
        LinearEntry::with_features(
            "linear_token_add_k128_v128_c16_avx512",
            Level::Avx512,
            Form::Chunked,
            Family::RETNET,
            [128, 128],
            linear_token_add_k128_v128_c16_avx512,
        ),
        LinearEntry::with_features(
            "linear_token_add_k256_v512_c16_avx512",
            Level::Avx512,
            Form::Chunked,
            Family::RETNET,
            [256, 512],
            linear_token_add_k256_v512_c16_avx512,
        ),
        LinearEntry::with_features(
            "linear_token_add_k128_v64_c16_avx512",
            Level::Avx512,
            Form::Chunked,
            Family::SIMPLE_GLA,
            [128, 64],
            linear_token_add_k128_v64_c16_avx512,
        ),
        LinearEntry::with_features(
            "linear_token_delta_k128_v128_c16_avx512",
            Level::Avx512,
            Form::Chunked,
            Family::GATED_DELTA_NET,
            [128, 128],
            linear_token_delta_k128_v128_c16_avx512,
        ),
        LinearEntry::with_features(
            "linear_channel_delta_k128_v128_c16_avx512",
            Level::Avx512,
            Form::Chunked,
            Family::KDA,
            [128, 128],
            linear_channel_delta_k128_v128_c16_avx512,
        ),
    ]
};

/// MiniMax-01, Ring-linear.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn linear_token_add_k128_v128_c16_avx512(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Avx512, C, Fixed<128>, Fixed<128>, 4, 4>(Avx512::here(), chunk);
}

/// RetNet-1.3B.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn linear_token_add_k256_v512_c16_avx512(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Avx512, C, Fixed<256>, Fixed<512>, 4, 4>(Avx512::here(), chunk);
}

/// Mamba-2, Zamba2, Nemotron-H.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn linear_token_add_k128_v64_c16_avx512(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Avx512, C, Fixed<128>, Fixed<64>, 4, 4>(Avx512::here(), chunk);
}

/// Qwen3-Next.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn linear_token_delta_k128_v128_c16_avx512(chunk: Chunk<'_>) {
    type C = Class<1, 2>;
    linear_chunk::<Avx512, C, Fixed<128>, Fixed<128>, 4, 4>(Avx512::here(), chunk);
}

/// Kimi-Linear.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn linear_channel_delta_k128_v128_c16_avx512(chunk: Chunk<'_>) {
    type C = Class<2, 2>;
    linear_chunk::<Avx512, C, Fixed<128>, Fixed<128>, 4, 4>(Avx512::here(), chunk);
}
