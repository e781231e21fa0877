// Written by `cargo kernels`: do not edit.
//! Entries of the level avx512: 16 lanes, 32 registers.

#![expect(unsafe_code, reason = "entries with target features need a promise")]

use crate::entry::{Entry, Fixed, Job, TILE_K, Tiling, attend};
use crate::simd::{Avx512, Level};

/// 32 rows: 10 of 32 registers.
const T1X8X2: Tiling = Tiling {
    vectors: 1, // of 16
    keys: 8,
    blocks: 2,
};

/// 64 rows: 21 of 32 registers.
const T4X4X1: Tiling = Tiling {
    vectors: 4, // of 16
    keys: 4,
    blocks: 1,
};

// SAFETY: every function of this file enables just the features that `Level::Avx512` stands
// for, and is safe to call where they are available.
/// `[attend, decode]` for each head size.
pub(crate) const ENTRIES: &[[Entry; 2]] = unsafe {
    &[
        [
            Entry::with_features(
                "attend_f32_hd32_q64_k96_avx512",
                Level::Avx512,
                [32, 32],
                TILE_K,
                T4X4X1,
                attend_f32_hd32_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_hd32_q32_k96_avx512",
                Level::Avx512,
                [32, 32],
                TILE_K,
                T1X8X2,
                decode_f32_hd32_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd64_q64_k96_avx512",
                Level::Avx512,
                [64, 64],
                TILE_K,
                T4X4X1,
                attend_f32_hd64_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_hd64_q32_k96_avx512",
                Level::Avx512,
                [64, 64],
                TILE_K,
                T1X8X2,
                decode_f32_hd64_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd80_q64_k96_avx512",
                Level::Avx512,
                [80, 80],
                TILE_K,
                T4X4X1,
                attend_f32_hd80_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_hd80_q32_k96_avx512",
                Level::Avx512,
                [80, 80],
                TILE_K,
                T1X8X2,
                decode_f32_hd80_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd96_q64_k96_avx512",
                Level::Avx512,
                [96, 96],
                TILE_K,
                T4X4X1,
                attend_f32_hd96_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_hd96_q32_k96_avx512",
                Level::Avx512,
                [96, 96],
                TILE_K,
                T1X8X2,
                decode_f32_hd96_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd128_q64_k96_avx512",
                Level::Avx512,
                [128, 128],
                TILE_K,
                T4X4X1,
                attend_f32_hd128_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_hd128_q32_k96_avx512",
                Level::Avx512,
                [128, 128],
                TILE_K,
                T1X8X2,
                decode_f32_hd128_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd192x128_q64_k96_avx512",
                Level::Avx512,
                [192, 128],
                TILE_K,
                T4X4X1,
                attend_f32_hd192x128_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_hd192x128_q32_k96_avx512",
                Level::Avx512,
                [192, 128],
                TILE_K,
                T1X8X2,
                decode_f32_hd192x128_q32_k96_avx512,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd256_q64_k96_avx512",
                Level::Avx512,
                [256, 256],
                TILE_K,
                T4X4X1,
                attend_f32_hd256_q64_k96_avx512,
            ),
            Entry::with_features(
                "decode_f32_hd256_q32_k96_avx512",
                Level::Avx512,
                [256, 256],
                TILE_K,
                T1X8X2,
                decode_f32_hd256_q32_k96_avx512,
            ),
        ],
    ]
};

/// MiniLM-L6. 4 x 4 tile, 21 of 32 registers, 41,532 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd32_q64_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<32>, Fixed<32>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// MiniLM-L6. 1 x 8 tile, 10 of 32 registers, 14,652 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn decode_f32_hd32_q32_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<32>, Fixed<32>, 1, 8, TILE_K>(Avx512::here(), job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 4 x 4 tile, 21 of 32 registers, 57,916 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd64_q64_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<64>, Fixed<64>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 1 x 8 tile, 10 of 32 registers, 22,844 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn decode_f32_hd64_q32_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<64>, Fixed<64>, 1, 8, TILE_K>(Avx512::here(), job);
}

/// Phi-2, ViT-H. 4 x 4 tile, 21 of 32 registers, 66,108 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd80_q64_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<80>, Fixed<80>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Phi-2, ViT-H. 1 x 8 tile, 10 of 32 registers, 26,940 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn decode_f32_hd80_q32_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<80>, Fixed<80>, 1, 8, TILE_K>(Avx512::here(), job);
}

/// Phi-3-mini. 4 x 4 tile, 21 of 32 registers, 74,300 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd96_q64_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<96>, Fixed<96>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Phi-3-mini. 1 x 8 tile, 10 of 32 registers, 31,036 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn decode_f32_hd96_q32_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<96>, Fixed<96>, 1, 8, TILE_K>(Avx512::here(), job);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 4 x 4 tile, 21 of 32 registers, 90,684 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd128_q64_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<128>, Fixed<128>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 1 x 8 tile, 10 of 32 registers, 39,228 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn decode_f32_hd128_q32_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<128>, Fixed<128>, 1, 8, TILE_K>(Avx512::here(), job);
}

/// DeepSeek-V3, Kimi-Linear. 4 x 4 tile, 21 of 32 registers, 107,068 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd192x128_q64_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<192>, Fixed<128>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// DeepSeek-V3, Kimi-Linear. 1 x 8 tile, 10 of 32 registers, 47,420 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn decode_f32_hd192x128_q32_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<192>, Fixed<128>, 1, 8, TILE_K>(Avx512::here(), job);
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next. 4 x 4 tile, 21 of 32 registers, 156,220 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn attend_f32_hd256_q64_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<256>, Fixed<256>, 4, 4, TILE_K>(Avx512::here(), job);
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next. 1 x 8 tile, 10 of 32 registers, 71,996 B of scratch.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn decode_f32_hd256_q32_k96_avx512(job: Job<'_>) {
    attend::<Avx512, Fixed<256>, Fixed<256>, 1, 8, TILE_K>(Avx512::here(), job);
}
