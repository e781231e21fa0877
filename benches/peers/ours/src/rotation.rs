//! Rotary positions of the queries and the keys of a prompt.

use crate::{BF16, F16, F32, Format, Status, Tensor, status};
use flashlet::{Elem, Error, Pairing, Phase, Positions, Rope, Theta, Turns};
use half::{bf16, f16};
use std::slice;

/// Of heads of 128 channels: the only ones that are compared.
const PAIRS: usize = 64;
const HEAD_DIM: usize = 2 * PAIRS;

/// One prompt, at positions 0, 1, 2 ..
#[repr(C)]
pub struct Rotation {
    len: usize,
    q_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// 0: channels `t` and `t + head_dim / 2` turn together. 1: channels `2t` and `2t + 1`.
    pairing: u32,
    /// Of `q` and `k`.
    format: Format,
    /// What [`turns`] wrote.
    turns: *const [u64; PAIRS],
    /// What [`fill_table`] wrote, `[len, head_dim]`. Null: angles are computed.
    table: *const f32,
    q: Tensor,
    k: Tensor,
}

/// How far each of so many pairs turns a token.
///
/// # Safety
/// `turns` has room for as many numbers as there are pairs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn turns(theta_base: f64, turns: *mut u64, pairs: usize) -> Status {
    if pairs != PAIRS {
        return Status::Unsupported;
    }
    let computed: Result<Turns<PAIRS>, Error> = Theta::new(theta_base).turns();
    // SAFETY: the caller vouches for the room.
    status(computed.map(|computed| unsafe { turns.cast::<[u64; PAIRS]>().write(computed.turns) }))
}

/// Cosines and sines, for as many positions as there is room for.
///
/// # Safety
/// `rotation` points to one with its turns, and `table` to so many floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fill_table(
    rotation: *const Rotation,
    table: *mut f32,
    floats: usize,
) -> Status {
    // SAFETY: the caller vouches for both pointers.
    let (rotation, table) = unsafe { (&*rotation, slice::from_raw_parts_mut(table, floats)) };
    if !rotation.is_supported() {
        return Status::Unsupported;
    }
    status(rotation.computing().and_then(|rope| rope.fill_table(0, table)))
}

/// Turns `q` and `k` in place.
///
/// # Safety
/// `rotation` points to one with its turns, and with its table if it has one. Its tensors hold as
/// many elements of its format as its lengths and strides say, and nobody else uses them meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rotate(rotation: *const Rotation) -> Status {
    // SAFETY: the caller vouches for the pointer.
    let rotation = unsafe { &*rotation };
    if !rotation.is_supported() {
        return Status::Unsupported;
    }
    // SAFETY: the caller vouches for the tensors, and `is_supported` for their format.
    status(unsafe {
        match rotation.format {
            F16 => rotation.run::<f16>(),
            BF16 => rotation.run::<bf16>(),
            _ => rotation.run::<f32>(),
        }
    })
}

impl Rotation {
    fn is_supported(&self) -> bool {
        self.head_dim == HEAD_DIM
            && matches!(self.format, F32 | F16 | BF16)
            && matches!(self.pairing, 0 | 1)
    }

    fn computing(&self) -> Result<Rope<'_>, Error> {
        let pairing = if self.pairing == 0 { Pairing::Halves } else { Pairing::Interleaved };
        // SAFETY: whoever makes a rotation vouches for its turns.
        Rope::new(Phase::Exact(unsafe { &*self.turns }), 1.0, pairing)
    }

    fn rope(&self) -> Result<Rope<'_>, Error> {
        let rope = self.computing()?;
        if self.table.is_null() {
            return Ok(rope);
        }
        // SAFETY: whoever makes a rotation vouches for its table.
        rope.table(0, unsafe { slice::from_raw_parts(self.table, self.len * HEAD_DIM) })
    }

    /// # Safety
    /// As [`rotate`], and `q` and `k` hold `T`.
    unsafe fn run<T: Elem>(&self) -> Result<(), Error> {
        let dims = |heads| [1, self.len, heads, HEAD_DIM];
        // SAFETY: the caller vouches for the tensors.
        let (mut q, mut k) = unsafe {
            (self.q.view_mut::<T>(dims(self.q_heads))?, self.k.view_mut::<T>(dims(self.kv_heads))?)
        };
        self.rope()?.rotate(Positions::from(0), &mut [&mut q, &mut k])
    }
}
