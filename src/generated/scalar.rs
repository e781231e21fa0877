// Written by `cargo kernels`: do not edit.
//! Entries of the level scalar.

use crate::dispatch::Rotate;
use crate::entry::{
    self, Entry, Fixed, Halves, Interleaved, Job, Lanes, TILE_K, Tiling, Turning, rotate,
};
use crate::simd::{Level, Scalar};
use half::{bf16, f16};

use crate::entry::{Chunk, Class, LinearEntry, linear_chunk};
use crate::linear::{Family, Form};

/// 4 rows: 11 of 32 registers.
const QUERIES_1X8_Q4: Tiling = Tiling {
    lanes: Lanes::Queries,
    vectors: 1, // of 1
    scalars: 8,
    rows: 4,
};

/// 16 rows: 22 of 32 registers.
const QUERIES_4X4_Q16: Tiling = Tiling {
    lanes: Lanes::Queries,
    vectors: 4, // of 1
    scalars: 4,
    rows: 16,
};

/// `[attend, decode]` for each head size.
pub(crate) const ENTRIES: &[[Entry; 2]] = &[
    [
        Entry::new(
            "attend_f32_hd32_q16_k96_scalar",
            Level::Scalar,
            [32, 32],
            TILE_K,
            QUERIES_4X4_Q16,
            attend_f32_hd32_q16_k96_scalar,
        ),
        Entry::new(
            "decode_f32_hd32_q4_k96_scalar",
            Level::Scalar,
            [32, 32],
            TILE_K,
            QUERIES_1X8_Q4,
            decode_f32_hd32_q4_k96_scalar,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd64_q16_k96_scalar",
            Level::Scalar,
            [64, 64],
            TILE_K,
            QUERIES_4X4_Q16,
            attend_f32_hd64_q16_k96_scalar,
        ),
        Entry::new(
            "decode_f32_hd64_q4_k96_scalar",
            Level::Scalar,
            [64, 64],
            TILE_K,
            QUERIES_1X8_Q4,
            decode_f32_hd64_q4_k96_scalar,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd80_q16_k96_scalar",
            Level::Scalar,
            [80, 80],
            TILE_K,
            QUERIES_4X4_Q16,
            attend_f32_hd80_q16_k96_scalar,
        ),
        Entry::new(
            "decode_f32_hd80_q4_k96_scalar",
            Level::Scalar,
            [80, 80],
            TILE_K,
            QUERIES_1X8_Q4,
            decode_f32_hd80_q4_k96_scalar,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd96_q16_k96_scalar",
            Level::Scalar,
            [96, 96],
            TILE_K,
            QUERIES_4X4_Q16,
            attend_f32_hd96_q16_k96_scalar,
        ),
        Entry::new(
            "decode_f32_hd96_q4_k96_scalar",
            Level::Scalar,
            [96, 96],
            TILE_K,
            QUERIES_1X8_Q4,
            decode_f32_hd96_q4_k96_scalar,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd128_q16_k96_scalar",
            Level::Scalar,
            [128, 128],
            TILE_K,
            QUERIES_4X4_Q16,
            attend_f32_hd128_q16_k96_scalar,
        ),
        Entry::new(
            "decode_f32_hd128_q4_k96_scalar",
            Level::Scalar,
            [128, 128],
            TILE_K,
            QUERIES_1X8_Q4,
            decode_f32_hd128_q4_k96_scalar,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd192x128_q16_k96_scalar",
            Level::Scalar,
            [192, 128],
            TILE_K,
            QUERIES_4X4_Q16,
            attend_f32_hd192x128_q16_k96_scalar,
        ),
        Entry::new(
            "decode_f32_hd192x128_q4_k96_scalar",
            Level::Scalar,
            [192, 128],
            TILE_K,
            QUERIES_1X8_Q4,
            decode_f32_hd192x128_q4_k96_scalar,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd256_q16_k96_scalar",
            Level::Scalar,
            [256, 256],
            TILE_K,
            QUERIES_4X4_Q16,
            attend_f32_hd256_q16_k96_scalar,
        ),
        Entry::new(
            "decode_f32_hd256_q4_k96_scalar",
            Level::Scalar,
            [256, 256],
            TILE_K,
            QUERIES_1X8_Q4,
            decode_f32_hd256_q4_k96_scalar,
        ),
    ],
];

/// MiniLM-L6. 4 x 4 tile, 22 of 32 registers, 5,760 B of scratch.
fn attend_f32_hd32_q16_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<32>, Fixed<32>, 4, 4, TILE_K>(Scalar, job);
}

/// MiniLM-L6. 1 x 8 tile, 11 of 32 registers, 1,440 B of scratch.
fn decode_f32_hd32_q4_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<32>, Fixed<32>, 1, 8, TILE_K>(Scalar, job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 4 x 4 tile, 22 of 32 registers, 9,856 B of scratch.
fn attend_f32_hd64_q16_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<64>, Fixed<64>, 4, 4, TILE_K>(Scalar, job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss. 1 x 8 tile, 11 of 32 registers, 2,464 B of scratch.
fn decode_f32_hd64_q4_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<64>, Fixed<64>, 1, 8, TILE_K>(Scalar, job);
}

/// Phi-2, ViT-H. 4 x 4 tile, 22 of 32 registers, 11,904 B of scratch.
fn attend_f32_hd80_q16_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<80>, Fixed<80>, 4, 4, TILE_K>(Scalar, job);
}

/// Phi-2, ViT-H. 1 x 8 tile, 11 of 32 registers, 2,976 B of scratch.
fn decode_f32_hd80_q4_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<80>, Fixed<80>, 1, 8, TILE_K>(Scalar, job);
}

/// Phi-3-mini. 4 x 4 tile, 22 of 32 registers, 13,952 B of scratch.
fn attend_f32_hd96_q16_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<96>, Fixed<96>, 4, 4, TILE_K>(Scalar, job);
}

/// Phi-3-mini. 1 x 8 tile, 11 of 32 registers, 3,488 B of scratch.
fn decode_f32_hd96_q4_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<96>, Fixed<96>, 1, 8, TILE_K>(Scalar, job);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 4 x 4 tile, 22 of 32 registers, 18,048 B of scratch.
fn attend_f32_hd128_q16_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<128>, Fixed<128>, 4, 4, TILE_K>(Scalar, job);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3. 1 x 8 tile, 11 of 32 registers, 4,512 B of scratch.
fn decode_f32_hd128_q4_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<128>, Fixed<128>, 1, 8, TILE_K>(Scalar, job);
}

/// DeepSeek-V3, Kimi-Linear. 4 x 4 tile, 22 of 32 registers, 22,144 B of scratch.
fn attend_f32_hd192x128_q16_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<192>, Fixed<128>, 4, 4, TILE_K>(Scalar, job);
}

/// DeepSeek-V3, Kimi-Linear. 1 x 8 tile, 11 of 32 registers, 6,560 B of scratch.
fn decode_f32_hd192x128_q4_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<192>, Fixed<128>, 1, 8, TILE_K>(Scalar, job);
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next. 4 x 4 tile, 22 of 32 registers, 34,432 B of scratch.
fn attend_f32_hd256_q16_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<256>, Fixed<256>, 4, 4, TILE_K>(Scalar, job);
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next. 1 x 8 tile, 11 of 32 registers, 8,608 B of scratch.
fn decode_f32_hd256_q4_k96_scalar(job: Job<'_>) {
    entry::attend::<Scalar, Fixed<256>, Fixed<256>, 1, 8, TILE_K>(Scalar, job);
}

/// Rotary positions of f32, in the order of `ROPE_LINES`.
pub(crate) const ROPES_F32: &[Rotate<f32>] = &[
    rope_f32_r32_halves_scalar,
    rope_f32_r64_halves_scalar,
    rope_f32_r96_halves_scalar,
    rope_f32_r128_halves_scalar,
    rope_f32_r256_halves_scalar,
    rope_f32_r64_interleaved_scalar,
    rope_f32_r128_interleaved_scalar,
];

/// Phi-1.5, Phi-2.
fn rope_f32_r32_halves_scalar(turning: Turning<'_, f32>) {
    rotate::<Scalar, Halves, Fixed<32>, _>(Scalar, turning);
}

/// SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4.
fn rope_f32_r64_halves_scalar(turning: Turning<'_, f32>) {
    rotate::<Scalar, Halves, Fixed<64>, _>(Scalar, turning);
}

/// Phi-3-mini, Phi-4-mini.
fn rope_f32_r96_halves_scalar(turning: Turning<'_, f32>) {
    rotate::<Scalar, Halves, Fixed<96>, _>(Scalar, turning);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3.
fn rope_f32_r128_halves_scalar(turning: Turning<'_, f32>) {
    rotate::<Scalar, Halves, Fixed<128>, _>(Scalar, turning);
}

/// Gemma-2, Gemma-3.
fn rope_f32_r256_halves_scalar(turning: Turning<'_, f32>) {
    rotate::<Scalar, Halves, Fixed<256>, _>(Scalar, turning);
}

/// DeepSeek-V3, SmolLM2 in GGUF.
fn rope_f32_r64_interleaved_scalar(turning: Turning<'_, f32>) {
    rotate::<Scalar, Interleaved, Fixed<64>, _>(Scalar, turning);
}

/// Llama-4, Llama-3.1 in GGUF.
fn rope_f32_r128_interleaved_scalar(turning: Turning<'_, f32>) {
    rotate::<Scalar, Interleaved, Fixed<128>, _>(Scalar, turning);
}

/// Rotary positions of f16: none.
pub(crate) const ROPES_F16: &[Rotate<f16>] = &[];

/// Rotary positions of bf16: none.
pub(crate) const ROPES_BF16: &[Rotate<bf16>] = &[];

/// Linear attention.
pub(crate) const LINEAR: &[LinearEntry] = &[
    LinearEntry::new(
        "linear_token_add_k128_v128_c16_scalar",
        Level::Scalar,
        Form::Chunked,
        Family::RETNET,
        [128, 128],
        linear_token_add_k128_v128_c16_scalar,
    ),
    LinearEntry::new(
        "linear_token_add_k256_v512_c16_scalar",
        Level::Scalar,
        Form::Chunked,
        Family::RETNET,
        [256, 512],
        linear_token_add_k256_v512_c16_scalar,
    ),
    LinearEntry::new(
        "linear_token_add_k128_v64_c16_scalar",
        Level::Scalar,
        Form::Chunked,
        Family::SIMPLE_GLA,
        [128, 64],
        linear_token_add_k128_v64_c16_scalar,
    ),
    LinearEntry::new(
        "linear_token_delta_k128_v128_c16_scalar",
        Level::Scalar,
        Form::Chunked,
        Family::GATED_DELTA_NET,
        [128, 128],
        linear_token_delta_k128_v128_c16_scalar,
    ),
    LinearEntry::new(
        "linear_channel_delta_k128_v128_c16_scalar",
        Level::Scalar,
        Form::Chunked,
        Family::KDA,
        [128, 128],
        linear_channel_delta_k128_v128_c16_scalar,
    ),
    LinearEntry::new(
        "linear_channel_low_rank_k64_v64_c16_scalar",
        Level::Scalar,
        Form::Chunked,
        Family::RWKV7,
        [64, 64],
        linear_channel_low_rank_k64_v64_c16_scalar,
    ),
];

/// MiniMax-01, Ring-linear.
fn linear_token_add_k128_v128_c16_scalar(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Scalar, C, Fixed<128>, Fixed<128>, 2, 4>(Scalar, chunk);
}

/// RetNet-1.3B.
fn linear_token_add_k256_v512_c16_scalar(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Scalar, C, Fixed<256>, Fixed<512>, 2, 4>(Scalar, chunk);
}

/// Mamba-2, Zamba2, Nemotron-H.
fn linear_token_add_k128_v64_c16_scalar(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Scalar, C, Fixed<128>, Fixed<64>, 2, 4>(Scalar, chunk);
}

/// Qwen3-Next.
fn linear_token_delta_k128_v128_c16_scalar(chunk: Chunk<'_>) {
    type C = Class<1, 2>;
    linear_chunk::<Scalar, C, Fixed<128>, Fixed<128>, 2, 4>(Scalar, chunk);
}

/// Kimi-Linear.
fn linear_channel_delta_k128_v128_c16_scalar(chunk: Chunk<'_>) {
    type C = Class<2, 2>;
    linear_chunk::<Scalar, C, Fixed<128>, Fixed<128>, 2, 4>(Scalar, chunk);
}

/// RWKV-7.
fn linear_channel_low_rank_k64_v64_c16_scalar(chunk: Chunk<'_>) {
    type C = Class<2, 3>;
    linear_chunk::<Scalar, C, Fixed<64>, Fixed<64>, 2, 4>(Scalar, chunk);
}
