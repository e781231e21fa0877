//! Floats on the stack, as many as the widest head wants: few where all heads are narrow, as in firmware.

use crate::shape::Heads;

/// Heads of so many channels are narrow.
const NARROW: usize = 64;

/// Calls `work` with at least `len` zeros, or with as many as the widest head has channels.
#[inline]
pub(crate) fn with_room(len: usize, work: &mut dyn FnMut(&mut [f32])) {
    if len <= NARROW { work(&mut [0.0; NARROW]) } else { with_most(work) }
}

/// A frame of its own: nobody who is content with less has it on the stack.
#[inline(never)]
fn with_most(work: &mut dyn FnMut(&mut [f32])) {
    work(&mut [0.0; Heads::MAX_DIM]);
}
