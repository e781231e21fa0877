//! Heads captured from real models, and a whole model filled with them.

use flashlet::Heads;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Some heads of one layer, as a model computed them over a text.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Tokens of the text.
    pub len: usize,
    /// Heads and widths.
    pub heads: Heads,
    /// `[len, q_heads, head_dim]`.
    pub q: Vec<f32>,
    /// `[len, kv_heads, head_dim]`.
    pub k: Vec<f32>,
    /// `[len, kv_heads, v_dim]`.
    pub v: Vec<f32>,
    /// What the file says of itself: `model`, `layer`, `heads`, `prompt`, ...
    pub about: HashMap<String, String>,
}

/// Queries, keys and values of a whole model.
#[derive(Clone, Debug)]
pub struct Filled {
    /// `[len, q_heads, head_dim]`.
    pub q: Vec<f32>,
    /// `[len, kv_heads, head_dim]`.
    pub k: Vec<f32>,
    /// `[len, kv_heads, v_dim]`.
    pub v: Vec<f32>,
}

/// Why captured heads are of no use.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} is no file of captured heads", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// A tensor is not f32 of the expected shape.
    #[error("{}: tensor {name} is {dtype} {dims:?}, not f32 [len, heads, dim] that fits the others", path.display())]
    Tensor {
        /// Which file.
        path: PathBuf,
        /// Which tensor.
        name: &'static str,
        /// What it holds.
        dtype: String,
        /// Its shape.
        dims: Vec<usize>,
    },
    /// The heads are not as wide as the model's.
    #[error(
        "captured heads have keys of {dim} and values of {v_dim} channels, the model {want_dim} and {want_v_dim}"
    )]
    Width {
        /// Channels of a captured key.
        dim: usize,
        /// Channels of a captured value.
        v_dim: usize,
        /// Channels of the model's keys.
        want_dim: usize,
        /// Channels of the model's values.
        want_v_dim: usize,
    },
    /// There is nothing to fill a model with.
    #[error("no captured heads")]
    None,
}

/// Reads a safetensors file with `q`, `k` and `v`, `[len, heads, dim]` each.
///
/// # Errors
/// [`HeadsError::Read`], [`HeadsError::Format`], [`HeadsError::Tensor`].
pub fn load(path: &Path) -> Result<Captured, HeadsError> {
    let bytes =
        fs::read(path).map_err(|source| HeadsError::Read { path: path.to_owned(), source })?;
    let format = |source| HeadsError::Format { path: path.to_owned(), source };
    let file = SafeTensors::deserialize(&bytes).map_err(format)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
    let tensor =
        |name| file.tensor(name).map_err(format).and_then(|tensor| floats(path, name, &tensor));
    let ([len, q_heads, dim], q) = tensor("q")?;
    let ([k_len, kv_heads, k_dim], k) = tensor("k")?;
    let ([v_len, v_heads, v_dim], v) = tensor("v")?;
    let misfit = |name, dims: [usize; 3]| HeadsError::Tensor {
        path: path.to_owned(),
        name,
        dtype: Dtype::F32.to_string(),
        dims: dims.to_vec(),
    };
    if (k_len, k_dim) != (len, dim) || kv_heads == 0 || !q_heads.is_multiple_of(kv_heads) {
        return Err(misfit("k", [k_len, kv_heads, k_dim]));
    }
    if (v_len, v_heads) != (len, kv_heads) {
        return Err(misfit("v", [v_len, v_heads, v_dim]));
    }
    let heads = Heads { q: q_heads, kv: kv_heads, dim, v_dim };
    Ok(Captured { len, heads, q, k, v, about: header.metadata().clone().unwrap_or_default() })
}

fn floats(
    path: &Path,
    name: &'static str,
    tensor: &TensorView<'_>,
) -> Result<([usize; 3], Vec<f32>), HeadsError> {
    match (tensor.dtype(), <[usize; 3]>::try_from(tensor.shape())) {
        (Dtype::F32, Ok(dims)) if !dims.contains(&0) => {
            let (floats, _) = tensor.data().as_chunks::<4>();
            Ok((dims, floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
        }
        (dtype, _) => Err(HeadsError::Tensor {
            path: path.to_owned(),
            name,
            dtype: dtype.to_string(),
            dims: tensor.shape().to_vec(),
        }),
    }
}

/// Whether captured heads are as wide as a model's.
///
/// # Errors
/// [`HeadsError::Width`].
pub fn check(captured: &Captured, heads: Heads) -> Result<(), HeadsError> {
    let Heads { dim, v_dim, .. } = captured.heads;
    let Heads { dim: want_dim, v_dim: want_v_dim, .. } = heads;
    if (dim, v_dim) == (want_dim, want_v_dim) {
        return Ok(());
    }
    Err(HeadsError::Width { dim, v_dim, want_dim, want_v_dim })
}

/// A model whose heads are the captured ones in turn, over the captured text in turn: key/value head
/// `g` is captured head `g mod n`, query head `r` of its group is captured query `r mod group`,
/// token `t` is token `t mod len`.
///
/// # Errors
/// [`HeadsError::None`]; [`HeadsError::Width`] if a captured head is not as wide as the model's.
pub fn fill(captured: &[Captured], heads: Heads, len: usize) -> Result<Filled, HeadsError> {
    let sources: Vec<(&Captured, usize)> =
        captured.iter().flat_map(|file| (0..file.heads.kv).map(move |g| (file, g))).collect();
    for file in captured {
        check(file, heads)?;
    }
    if sources.is_empty() {
        return Err(HeadsError::None);
    }
    let mut filled = Filled { q: Vec::new(), k: Vec::new(), v: Vec::new() };
    for t in 0..len {
        for g in 0..heads.kv {
            let (file, source) = sources[g % sources.len()];
            let row = |data: &[f32], heads: usize, head: usize, width: usize| {
                data[((t % file.len) * heads + head) * width..][..width].to_vec()
            };
            let group = file.heads.group();
            for r in 0..heads.group() {
                filled.q.extend(row(&file.q, file.heads.q, source * group + r % group, heads.dim));
            }
            filled.k.extend(row(&file.k, file.heads.kv, source, heads.dim));
            filled.v.extend(row(&file.v, file.heads.kv, source, heads.v_dim));
        }
    }
    Ok(filled)
}
