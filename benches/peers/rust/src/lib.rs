//! What other Rust crates compute behind C functions, so that a script can time it.
//!
//! `../compare/rust_peers.py` declares the same structures. All tensors are f32, packed as
//! `[heads, len, head_dim]`. Threads are the caller's choice, by `RAYON_NUM_THREADS`.

mod burn;
mod candle;
mod rten;

use std::error::Error;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

/// One sequence, one attention.
#[repr(C)]
pub struct Problem {
    q_len: usize,
    kv_len: usize,
    q_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// 0: every query sees every key. 1: queries and keys start together, each query sees the keys
    /// up to its own position.
    causal: usize,
    q: *const f32,
    k: *const f32,
    v: *const f32,
    /// For crates that run models: the same attention in ONNX's words.
    model: *const u8,
    model_len: usize,
}

/// `[heads, len, head_dim]`.
type Dims = [usize; 3];

impl Problem {
    fn q(&self) -> (&[f32], Dims) {
        // SAFETY: whoever makes a problem vouches for its tensors.
        unsafe { tensor(self.q, [self.q_heads, self.q_len, self.head_dim]) }
    }

    fn k(&self) -> (&[f32], Dims) {
        // SAFETY: whoever makes a problem vouches for its tensors.
        unsafe { tensor(self.k, [self.kv_heads, self.kv_len, self.head_dim]) }
    }

    fn v(&self) -> (&[f32], Dims) {
        // SAFETY: whoever makes a problem vouches for its tensors.
        unsafe { tensor(self.v, [self.kv_heads, self.kv_len, self.head_dim]) }
    }

    fn model(&self) -> &[u8] {
        // SAFETY: whoever makes a problem vouches for its model.
        unsafe { slice::from_raw_parts(self.model, self.model_len) }
    }

    fn is_causal(&self) -> bool {
        self.causal != 0
    }

    fn scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }
}

/// The queries and keys of one prompt, and the angles of its positions, `[len, head_dim / 2]`.
#[repr(C)]
pub struct Rotation {
    len: usize,
    q_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// 0: channels `t` and `t + head_dim / 2` turn together. 1: channels `2t` and `2t + 1`.
    interleaved: usize,
    q: *const f32,
    k: *const f32,
    cos: *const f32,
    sin: *const f32,
}

impl Rotation {
    fn q(&self) -> (&[f32], Dims) {
        // SAFETY: whoever makes a rotation vouches for its tensors.
        unsafe { tensor(self.q, [self.q_heads, self.len, self.head_dim]) }
    }

    fn k(&self) -> (&[f32], Dims) {
        // SAFETY: whoever makes a rotation vouches for its tensors.
        unsafe { tensor(self.k, [self.kv_heads, self.len, self.head_dim]) }
    }

    fn angles(&self) -> [(&[f32], Dims); 2] {
        // SAFETY: whoever makes a rotation vouches for its angles.
        [self.cos, self.sin].map(|x| unsafe { tensor(x, [1, self.len, self.head_dim / 2]) })
    }

    fn is_interleaved(&self) -> bool {
        self.interleaved != 0
    }
}

/// # Safety
/// `data` points to as many floats as `dims` says.
unsafe fn tensor<'a>(data: *const f32, dims: Dims) -> (&'a [f32], Dims) {
    // SAFETY: the caller vouches for the floats.
    (unsafe { slice::from_raw_parts(data, dims.iter().product()) }, dims)
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A crate with its inputs copied and laid out, ready to be timed.
trait Prepared {
    /// Computes the output, and keeps it.
    fn run(&mut self) -> Result<()>;

    /// The last one, `[heads, len, head_dim]`: of queries, and of keys behind them if they are turned.
    fn output(&self) -> Result<Vec<f32>>;
}

/// What is computed, or why nothing is.
pub struct Handle(std::result::Result<Box<dyn Prepared>, String>);

/// Copies the inputs for a crate: 0 burn-flex, 1 candle-nn, 2 rten.
///
/// # Safety
/// `problem` points to one, and its pointers to what their names and its lengths say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prepare(peer: u32, problem: *const Problem) -> *mut Handle {
    // SAFETY: the caller vouches for the pointer.
    let problem = unsafe { &*problem };
    let prepared = attempt(|| match peer {
        0 => burn::prepare(problem),
        1 => candle::prepare(problem),
        2 => rten::prepare(problem),
        _ => Err(format!("no peer {peer}").into()),
    });
    Box::into_raw(Box::new(Handle(prepared)))
}

/// The same for rotary positions, which candle-nn has.
///
/// # Safety
/// `rotation` points to one, and its pointers to what their names and its lengths say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prepare_rotation(rotation: *const Rotation) -> *mut Handle {
    // SAFETY: the caller vouches for the pointer.
    let rotation = unsafe { &*rotation };
    Box::into_raw(Box::new(Handle(attempt(|| candle::prepare_rotation(rotation)))))
}

/// Computes it. False if that failed.
///
/// # Safety
/// `handle` came from [`prepare`] or [`prepare_rotation`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run(handle: *mut Handle) -> bool {
    // SAFETY: the caller vouches for the handle.
    let handle = unsafe { &mut *handle };
    let Ok(prepared) = &mut handle.0 else {
        return false;
    };
    if let Err(reason) = attempt(|| prepared.run()) {
        handle.0 = Err(reason);
    }
    handle.0.is_ok()
}

/// Copies the output of the last run to `o`. False if there is none of this length.
///
/// # Safety
/// `handle` came from [`prepare`] or [`prepare_rotation`], and `o` has room for `len` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn output(handle: *const Handle, o: *mut f32, len: usize) -> bool {
    // SAFETY: the caller vouches for the handle and the room.
    let (handle, o) = unsafe { (&*handle, slice::from_raw_parts_mut(o, len)) };
    match handle.0.as_ref().map(|prepared| attempt(|| prepared.output())) {
        Ok(Ok(output)) if output.len() == len => {
            o.copy_from_slice(&output);
            true
        }
        _ => false,
    }
}

/// Why nothing is computed, as a string without an end, and its length: 0 if something is.
///
/// # Safety
/// `handle` came from [`prepare`] or [`prepare_rotation`], and `len` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reason(handle: *const Handle, len: *mut usize) -> *const c_char {
    // SAFETY: the caller vouches for both pointers.
    let (handle, len) = unsafe { (&*handle, &mut *len) };
    let reason = handle.0.as_ref().err().map_or("", String::as_str);
    *len = reason.len();
    reason.as_ptr().cast()
}

/// Frees what [`prepare`] or [`prepare_rotation`] made.
///
/// # Safety
/// `handle` came from [`prepare`] or [`prepare_rotation`], and nobody uses it again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn discard(handle: *mut Handle) {
    // SAFETY: the caller vouches for the handle.
    drop(unsafe { Box::from_raw(handle) });
}

/// What `f` returns, or what it says when it fails.
fn attempt<T>(f: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it panics".into()),
    }
}
