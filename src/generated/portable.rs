// Written by `cargo kernels`: do not edit.
//! Entries of the level portable, whose vectors, and with them the tiles, the build's target
//! decides. Names are those of four lanes.

use crate::dispatch::Rotate;
use crate::entry::{self, Entry, Fixed, Halves, Interleaved, Job, TILE_K, Tiling, Turning, rotate};
use crate::simd::{Level, Portable};
use half::{bf16, f16};

use crate::entry::{Chunk, Class, LinearEntry, linear_chunk};
use crate::linear::{Family, Form};

/// `[attend, decode]` for each head size.
pub(crate) const ENTRIES: &[[Entry; 2]] = &[
    [
        Entry::new(
            "attend_f32_hd32_q64_k96_portable",
            Level::Portable,
            [32, 32],
            TILE_K,
            Tiling::attend(Level::Portable, 32, 32),
            attend_f32_hd32_q64_k96_portable,
        ),
        Entry::new(
            "decode_f32_q32_k96_portable",
            Level::Portable,
            [32, 32],
            TILE_K,
            Tiling::decode(Level::Portable),
            decode_f32_q32_k96_portable,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd64_q64_k96_portable",
            Level::Portable,
            [64, 64],
            TILE_K,
            Tiling::attend(Level::Portable, 64, 64),
            attend_f32_hd64_q64_k96_portable,
        ),
        Entry::new(
            "decode_f32_q32_k96_portable",
            Level::Portable,
            [64, 64],
            TILE_K,
            Tiling::decode(Level::Portable),
            decode_f32_q32_k96_portable,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd80_q64_k96_portable",
            Level::Portable,
            [80, 80],
            TILE_K,
            Tiling::attend(Level::Portable, 80, 80),
            attend_f32_hd80_q64_k96_portable,
        ),
        Entry::new(
            "decode_f32_q32_k96_portable",
            Level::Portable,
            [80, 80],
            TILE_K,
            Tiling::decode(Level::Portable),
            decode_f32_q32_k96_portable,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd96_q64_k96_portable",
            Level::Portable,
            [96, 96],
            TILE_K,
            Tiling::attend(Level::Portable, 96, 96),
            attend_f32_hd96_q64_k96_portable,
        ),
        Entry::new(
            "decode_f32_q32_k96_portable",
            Level::Portable,
            [96, 96],
            TILE_K,
            Tiling::decode(Level::Portable),
            decode_f32_q32_k96_portable,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd128_q64_k96_portable",
            Level::Portable,
            [128, 128],
            TILE_K,
            Tiling::attend(Level::Portable, 128, 128),
            attend_f32_hd128_q64_k96_portable,
        ),
        Entry::new(
            "decode_f32_q32_k96_portable",
            Level::Portable,
            [128, 128],
            TILE_K,
            Tiling::decode(Level::Portable),
            decode_f32_q32_k96_portable,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd192x128_q64_k96_portable",
            Level::Portable,
            [192, 128],
            TILE_K,
            Tiling::attend(Level::Portable, 192, 128),
            attend_f32_hd192x128_q64_k96_portable,
        ),
        Entry::new(
            "decode_f32_q32_k96_portable",
            Level::Portable,
            [192, 128],
            TILE_K,
            Tiling::decode(Level::Portable),
            decode_f32_q32_k96_portable,
        ),
    ],
    [
        Entry::new(
            "attend_f32_hd256_q16_k96_portable",
            Level::Portable,
            [256, 256],
            TILE_K,
            Tiling::attend(Level::Portable, 256, 256),
            attend_f32_hd256_q16_k96_portable,
        ),
        Entry::new(
            "decode_f32_q32_k96_portable",
            Level::Portable,
            [256, 256],
            TILE_K,
            Tiling::decode(Level::Portable),
            decode_f32_q32_k96_portable,
        ),
    ],
];

/// MiniLM-L6.
fn attend_f32_hd32_q64_k96_portable(job: Job<'_>) {
    const T: Tiling = Tiling::attend(Level::Portable, 32, 32);
    entry::attend::<Portable, Fixed<32>, Fixed<32>, { T.vectors }, { T.scalars }, TILE_K>(
        Portable, job,
    );
}

/// Any head.
fn decode_f32_q32_k96_portable(job: Job<'_>) {
    entry::decode::<Portable, TILE_K>(Portable, job);
}

/// BERT, GPT-2, ViT, Whisper, SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss.
fn attend_f32_hd64_q64_k96_portable(job: Job<'_>) {
    const T: Tiling = Tiling::attend(Level::Portable, 64, 64);
    entry::attend::<Portable, Fixed<64>, Fixed<64>, { T.vectors }, { T.scalars }, TILE_K>(
        Portable, job,
    );
}

/// Phi-2, ViT-H.
fn attend_f32_hd80_q64_k96_portable(job: Job<'_>) {
    const T: Tiling = Tiling::attend(Level::Portable, 80, 80);
    entry::attend::<Portable, Fixed<80>, Fixed<80>, { T.vectors }, { T.scalars }, TILE_K>(
        Portable, job,
    );
}

/// Phi-3-mini.
fn attend_f32_hd96_q64_k96_portable(job: Job<'_>) {
    const T: Tiling = Tiling::attend(Level::Portable, 96, 96);
    entry::attend::<Portable, Fixed<96>, Fixed<96>, { T.vectors }, { T.scalars }, TILE_K>(
        Portable, job,
    );
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, Phi-4-mini, SmolLM3, OLMo-3.
fn attend_f32_hd128_q64_k96_portable(job: Job<'_>) {
    const T: Tiling = Tiling::attend(Level::Portable, 128, 128);
    entry::attend::<Portable, Fixed<128>, Fixed<128>, { T.vectors }, { T.scalars }, TILE_K>(
        Portable, job,
    );
}

/// DeepSeek-V3, Kimi-Linear.
fn attend_f32_hd192x128_q64_k96_portable(job: Job<'_>) {
    const T: Tiling = Tiling::attend(Level::Portable, 192, 128);
    entry::attend::<Portable, Fixed<192>, Fixed<128>, { T.vectors }, { T.scalars }, TILE_K>(
        Portable, job,
    );
}

/// Gemma-2, Gemma-3, Qwen3.5, Qwen3-Next.
fn attend_f32_hd256_q16_k96_portable(job: Job<'_>) {
    const T: Tiling = Tiling::attend(Level::Portable, 256, 256);
    entry::attend::<Portable, Fixed<256>, Fixed<256>, { T.vectors }, { T.scalars }, TILE_K>(
        Portable, job,
    );
}

/// Rotary positions of f32, in the order of `ROPE_LINES`.
pub(crate) const ROPES_F32: &[Rotate<f32>] = &[
    rope_f32_r32_halves_portable,
    rope_f32_r64_halves_portable,
    rope_f32_r96_halves_portable,
    rope_f32_r128_halves_portable,
    rope_f32_r256_halves_portable,
    rope_f32_r64_interleaved_portable,
    rope_f32_r128_interleaved_portable,
];

/// Phi-1.5, Phi-2.
fn rope_f32_r32_halves_portable(turning: Turning<'_, f32>) {
    rotate::<Portable, Halves, Fixed<32>, _>(Portable, turning);
}

/// SmolLM2, Llama-3.2-1B, Qwen2.5-0.5B, gpt-oss, Qwen3-Next, GLM-4.
fn rope_f32_r64_halves_portable(turning: Turning<'_, f32>) {
    rotate::<Portable, Halves, Fixed<64>, _>(Portable, turning);
}

/// Phi-3-mini, Phi-4-mini.
fn rope_f32_r96_halves_portable(turning: Turning<'_, f32>) {
    rotate::<Portable, Halves, Fixed<96>, _>(Portable, turning);
}

/// Llama-3.1, Mistral, Mixtral, Qwen3, SmolLM3, OLMo-3.
fn rope_f32_r128_halves_portable(turning: Turning<'_, f32>) {
    rotate::<Portable, Halves, Fixed<128>, _>(Portable, turning);
}

/// Gemma-2, Gemma-3.
fn rope_f32_r256_halves_portable(turning: Turning<'_, f32>) {
    rotate::<Portable, Halves, Fixed<256>, _>(Portable, turning);
}

/// DeepSeek-V3, SmolLM2 in GGUF.
fn rope_f32_r64_interleaved_portable(turning: Turning<'_, f32>) {
    rotate::<Portable, Interleaved, Fixed<64>, _>(Portable, turning);
}

/// Llama-4, Llama-3.1 in GGUF.
fn rope_f32_r128_interleaved_portable(turning: Turning<'_, f32>) {
    rotate::<Portable, Interleaved, Fixed<128>, _>(Portable, turning);
}

/// Rotary positions of f16: none.
pub(crate) const ROPES_F16: &[Rotate<f16>] = &[];

/// Rotary positions of bf16: none.
pub(crate) const ROPES_BF16: &[Rotate<bf16>] = &[];

/// Linear attention.
pub(crate) const LINEAR: &[LinearEntry] = &[
    LinearEntry::new(
        "linear_token_add_k128_v128_c16_portable",
        Level::Portable,
        Form::Chunked,
        Family::RETNET,
        [128, 128],
        linear_token_add_k128_v128_c16_portable,
    ),
    LinearEntry::new(
        "linear_token_add_k256_v512_c16_portable",
        Level::Portable,
        Form::Chunked,
        Family::RETNET,
        [256, 512],
        linear_token_add_k256_v512_c16_portable,
    ),
    LinearEntry::new(
        "linear_token_add_k128_v64_c16_portable",
        Level::Portable,
        Form::Chunked,
        Family::SIMPLE_GLA,
        [128, 64],
        linear_token_add_k128_v64_c16_portable,
    ),
    LinearEntry::new(
        "linear_token_delta_k128_v128_c16_portable",
        Level::Portable,
        Form::Chunked,
        Family::GATED_DELTA_NET,
        [128, 128],
        linear_token_delta_k128_v128_c16_portable,
    ),
    LinearEntry::new(
        "linear_channel_delta_k128_v128_c16_portable",
        Level::Portable,
        Form::Chunked,
        Family::KDA,
        [128, 128],
        linear_channel_delta_k128_v128_c16_portable,
    ),
    LinearEntry::new(
        "linear_channel_low_rank_k64_v64_c16_portable",
        Level::Portable,
        Form::Chunked,
        Family::RWKV7,
        [64, 64],
        linear_channel_low_rank_k64_v64_c16_portable,
    ),
];

/// MiniMax-01, Ring-linear.
fn linear_token_add_k128_v128_c16_portable(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Portable, C, Fixed<128>, Fixed<128>, 2, 4>(Portable, chunk);
}

/// RetNet-1.3B.
fn linear_token_add_k256_v512_c16_portable(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Portable, C, Fixed<256>, Fixed<512>, 2, 4>(Portable, chunk);
}

/// Mamba-2, Zamba2, Nemotron-H.
fn linear_token_add_k128_v64_c16_portable(chunk: Chunk<'_>) {
    type C = Class<1, 0>;
    linear_chunk::<Portable, C, Fixed<128>, Fixed<64>, 2, 4>(Portable, chunk);
}

/// Qwen3-Next.
fn linear_token_delta_k128_v128_c16_portable(chunk: Chunk<'_>) {
    type C = Class<1, 2>;
    linear_chunk::<Portable, C, Fixed<128>, Fixed<128>, 2, 4>(Portable, chunk);
}

/// Kimi-Linear.
fn linear_channel_delta_k128_v128_c16_portable(chunk: Chunk<'_>) {
    type C = Class<2, 2>;
    linear_chunk::<Portable, C, Fixed<128>, Fixed<128>, 2, 4>(Portable, chunk);
}

/// RWKV-7.
fn linear_channel_low_rank_k64_v64_c16_portable(chunk: Chunk<'_>) {
    type C = Class<2, 3>;
    linear_chunk::<Portable, C, Fixed<64>, Fixed<64>, 2, 4>(Portable, chunk);
}
