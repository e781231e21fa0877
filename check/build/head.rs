//! One captured head, from a file of `data/real-heads`.

use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};

use crate::Queries;

/// The first of all there is.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) tokens: usize,
    /// As many key/value heads as they need.
    pub(crate) q_heads: usize,
    /// Channels.
    pub(crate) dim: usize,
}

/// Lengths, inputs and the file's own result of one head.
pub(crate) struct Head {
    pub(crate) shape: oracle::Shape,
    pub(crate) scale: f64,
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    pub(crate) o: Vec<f64>,
    pub(crate) lse: Vec<f64>,
}

impl Head {
    /// Reads `data/real-heads/{stem}.safetensors`. Its README defines the tensors.
    pub(crate) fn read(stem: &str) -> Self {
        let bytes = read(stem);
        let file = parse(stem, &bytes);
        let [q_len, q_heads, head_dim] = dims(&file, "q");
        let [kv_len, kv_heads, v_dim] = dims(&file, "v");
        let shape = oracle::Shape { batch: 1, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim };
        // 1/8 and 1/sqrt(32), the scales that the README names, both correctly rounded.
        let scale = 1.0 / (head_dim as f64).sqrt();
        Self {
            shape,
            scale,
            q: numbers(&file, "q", Dtype::F32, f32::from_le_bytes),
            k: numbers(&file, "k", Dtype::F32, f32::from_le_bytes),
            v: numbers(&file, "v", Dtype::F32, f32::from_le_bytes),
            o: numbers(&file, "o", Dtype::F64, f64::from_le_bytes),
            lse: numbers(&file, "lse", Dtype::F64, f64::from_le_bytes),
        }
    }

    /// The head with some of its queries, and its keys and values `repeat` times.
    pub(crate) fn cut(&self, queries: Queries, repeat: usize) -> Self {
        let oracle::Shape { q_len, q_heads, head_dim, kv_len, .. } = self.shape;
        let kept = match queries {
            Queries::All => q_len,
            Queries::Last => 1,
        };
        Self {
            shape: oracle::Shape { q_len: kept, kv_len: kv_len * repeat, ..self.shape },
            scale: self.scale,
            q: self.q[(q_len - kept) * q_heads * head_dim..].to_vec(),
            k: self.k.repeat(repeat),
            v: self.v.repeat(repeat),
            o: Vec::new(),
            lse: Vec::new(),
        }
    }

    /// A part of the head, all tokens `repeat` times: its own queries see its own keys.
    pub(crate) fn part(&self, part: Part, repeat: usize) -> Self {
        let oracle::Shape { q_heads, kv_heads, head_dim, v_dim, .. } = self.shape;
        let kv = part.q_heads.div_ceil(q_heads / kv_heads);
        let of_keys = Part { q_heads: kv, ..part };
        let len = part.tokens * repeat;
        Self {
            shape: oracle::Shape {
                batch: 1,
                q_len: len,
                kv_len: len,
                q_heads: part.q_heads,
                kv_heads: kv,
                head_dim: part.dim,
                v_dim: part.dim,
            },
            scale: 1.0 / (part.dim as f64).sqrt(),
            q: first(&self.q, q_heads, head_dim, part).repeat(repeat),
            k: first(&self.k, kv_heads, head_dim, of_keys).repeat(repeat),
            v: first(&self.v, kv_heads, v_dim, of_keys).repeat(repeat),
            o: Vec::new(),
            lse: Vec::new(),
        }
    }
}

/// The first rows of `[tokens, heads, dim]`, and of each some heads and channels.
pub(crate) fn first(all: &[f32], heads: usize, dim: usize, part: Part) -> Vec<f32> {
    let tokens = all.chunks_exact(heads * dim).take(part.tokens);
    let rows = tokens.flat_map(|token| token.chunks_exact(dim).take(part.q_heads));
    rows.flat_map(|row| &row[..part.dim]).copied().collect()
}

/// Queries and keys of one head as they were before they were turned.
pub(crate) struct Projections {
    /// `[len, q_heads, head_dim]`.
    pub(crate) q: Vec<f32>,
    /// `[len, kv_heads, head_dim]`.
    pub(crate) k: Vec<f32>,
    pub(crate) q_heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl Projections {
    /// Reads them from `data/real-heads/{stem}.safetensors`.
    pub(crate) fn read(stem: &str) -> Self {
        let bytes = read(stem);
        let file = parse(stem, &bytes);
        let [_, q_heads, head_dim] = dims(&file, "q_pre_rope");
        let [_, kv_heads, _] = dims(&file, "k_pre_rope");
        Self {
            q: numbers(&file, "q_pre_rope", Dtype::F32, f32::from_le_bytes),
            k: numbers(&file, "k_pre_rope", Dtype::F32, f32::from_le_bytes),
            q_heads,
            kv_heads,
            head_dim,
        }
    }
}

fn read(stem: &str) -> Vec<u8> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "../data/real-heads", &format!("{stem}.safetensors")]
            .iter()
            .collect();
    println!("cargo::rerun-if-changed={}", path.display());
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn parse<'a>(stem: &str, bytes: &'a [u8]) -> SafeTensors<'a> {
    SafeTensors::deserialize(bytes).unwrap_or_else(|e| panic!("{stem}: {e}"))
}

fn dims(file: &SafeTensors<'_>, name: &str) -> [usize; 3] {
    let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    tensor.shape().try_into().unwrap_or_else(|_| panic!("{name} has {:?}", tensor.shape()))
}

fn numbers<T, const BYTES: usize>(
    file: &SafeTensors<'_>,
    name: &str,
    dtype: Dtype,
    decode: fn([u8; BYTES]) -> T,
) -> Vec<T> {
    let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(tensor.dtype(), dtype, "{name}");
    tensor.data().as_chunks().0.iter().copied().map(decode).collect()
}
