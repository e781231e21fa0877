// Written by `cargo kernels`: do not edit.
//! Entries of the level avx2: 8 lanes, 16 registers.

#![expect(unsafe_code, reason = "entries with target features need a promise")]

use crate::entry::{Entry, Fixed, Job, TILE_K, Tiling, attend};
use crate::simd::{Avx2, Level};

/// 16 rows: 10 of 16 registers.
const T1X8X2: Tiling = Tiling {
    vectors: 1, // of 8
    keys: 8,
    blocks: 2,
};

/// 32 rows: 15 of 16 registers.
const T2X6X2: Tiling = Tiling {
    vectors: 2, // of 8
    keys: 6,
    blocks: 2,
};

/// 64 rows: 15 of 16 registers.
const T2X6X4: Tiling = Tiling {
    vectors: 2, // of 8
    keys: 6,
    blocks: 4,
};

// SAFETY: every function of this file enables just the features that `Level::Avx2` stands
// for, and is safe to call where they are available.
/// `[attend, decode]` for each head size.
pub(crate) const ENTRIES: &[[Entry; 2]] = unsafe {
    &[
        [
            Entry::with_features(
                "attend_f32_hd32_q64_k96_avx2",
                Level::Avx2,
                [32, 32],
                TILE_K,
                T2X6X4,
                attend_f32_hd32_q64_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_hd32_q16_k96_avx2",
                Level::Avx2,
                [32, 32],
                TILE_K,
                T1X8X2,
                decode_f32_hd32_q16_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd64_q64_k96_avx2",
                Level::Avx2,
                [64, 64],
                TILE_K,
                T2X6X4,
                attend_f32_hd64_q64_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_hd64_q16_k96_avx2",
                Level::Avx2,
                [64, 64],
                TILE_K,
                T1X8X2,
                decode_f32_hd64_q16_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd80_q64_k96_avx2",
                Level::Avx2,
                [80, 80],
                TILE_K,
                T2X6X4,
                attend_f32_hd80_q64_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_hd80_q16_k96_avx2",
                Level::Avx2,
                [80, 80],
                TILE_K,
                T1X8X2,
                decode_f32_hd80_q16_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd96_q64_k96_avx2",
                Level::Avx2,
                [96, 96],
                TILE_K,
                T2X6X4,
                attend_f32_hd96_q64_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_hd96_q16_k96_avx2",
                Level::Avx2,
                [96, 96],
                TILE_K,
                T1X8X2,
                decode_f32_hd96_q16_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd128_q64_k96_avx2",
                Level::Avx2,
                [128, 128],
                TILE_K,
                T2X6X4,
                attend_f32_hd128_q64_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_hd128_q16_k96_avx2",
                Level::Avx2,
                [128, 128],
                TILE_K,
                T1X8X2,
                decode_f32_hd128_q16_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd192x128_q64_k96_avx2",
                Level::Avx2,
                [192, 128],
                TILE_K,
                T2X6X4,
                attend_f32_hd192x128_q64_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_hd192x128_q16_k96_avx2",
                Level::Avx2,
                [192, 128],
                TILE_K,
                T1X8X2,
                decode_f32_hd192x128_q16_k96_avx2,
            ),
        ],
        [
            Entry::with_features(
                "attend_f32_hd256_q32_k96_avx2",
                Level::Avx2,
                [256, 256],
                TILE_K,
                T2X6X2,
                attend_f32_hd256_q32_k96_avx2,
            ),
            Entry::with_features(
                "decode_f32_hd256_q16_k96_avx2",
                Level::Avx2,
                [256, 256],
                TILE_K,
                T1X8X2,
                decode_f32_hd256_q16_k96_avx2,
            ),
        ],
    ]
};

/// MiniLM-L6. 2 x 6 tile, 15 of 16 registers, 23,068 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd32_q64_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<32>, Fixed<32>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// MiniLM-L6. 1 x 8 tile, 10 of 16 registers, 7,324 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode_f32_hd32_q16_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<32>, Fixed<32>, 1, 8, TILE_K>(Avx2::here(), job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 2 x 6 tile, 15 of 16 registers, 39,452 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd64_q64_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<64>, Fixed<64>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 1 x 8 tile, 10 of 16 registers, 11,420 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode_f32_hd64_q16_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<64>, Fixed<64>, 1, 8, TILE_K>(Avx2::here(), job);
}

/// Phi-2, ViT-H. 2 x 6 tile, 15 of 16 registers, 47,644 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd80_q64_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<80>, Fixed<80>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Phi-2, ViT-H. 1 x 8 tile, 10 of 16 registers, 13,468 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode_f32_hd80_q16_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<80>, Fixed<80>, 1, 8, TILE_K>(Avx2::here(), job);
}

/// Phi-3-mini. 2 x 6 tile, 15 of 16 registers, 55,836 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd96_q64_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<96>, Fixed<96>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Phi-3-mini. 1 x 8 tile, 10 of 16 registers, 15,516 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode_f32_hd96_q16_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<96>, Fixed<96>, 1, 8, TILE_K>(Avx2::here(), job);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 2 x 6 tile, 15 of 16 registers, 72,220 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd128_q64_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<128>, Fixed<128>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 1 x 8 tile, 10 of 16 registers, 19,612 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode_f32_hd128_q16_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<128>, Fixed<128>, 1, 8, TILE_K>(Avx2::here(), job);
}

/// DeepSeek-V3, Kimi-Linear. 2 x 6 tile, 15 of 16 registers, 88,604 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd192x128_q64_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<192>, Fixed<128>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// DeepSeek-V3, Kimi-Linear. 1 x 8 tile, 10 of 16 registers, 23,708 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode_f32_hd192x128_q16_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<192>, Fixed<128>, 1, 8, TILE_K>(Avx2::here(), job);
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next. 2 x 6 tile, 15 of 16 registers, 71,964 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn attend_f32_hd256_q32_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<256>, Fixed<256>, 2, 6, TILE_K>(Avx2::here(), job);
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next. 1 x 8 tile, 10 of 16 registers, 35,996 B of scratch.
#[target_feature(enable = "avx2,fma,f16c")]
fn decode_f32_hd256_q16_k96_avx2(job: Job<'_>) {
    attend::<Avx2, Fixed<256>, Fixed<256>, 1, 8, TILE_K>(Avx2::here(), job);
}
