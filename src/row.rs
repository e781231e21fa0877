//! A row on the stack, no longer than it need be: a device has few kilobytes of it.

use crate::shape::Heads;

/// Calls `work` with a row of `len` zeros, [`Heads::MAX_DIM`] at most.
pub(crate) fn with_row(len: usize, work: &mut dyn FnMut(&mut [f32])) {
    match len {
        0..=64 => on_stack::<64>(len, work),
        65..=192 => on_stack::<192>(len, work),
        _ => on_stack::<{ Heads::MAX_DIM }>(len, work),
    }
}

/// In a frame of its own: that of the caller would have room for the longest.
#[inline(never)]
fn on_stack<const MOST: usize>(len: usize, work: &mut dyn FnMut(&mut [f32])) {
    let mut room = [0.0; MOST];
    work(room.get_mut(..len).unwrap_or(&mut []));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_long_as_asked_and_zero() {
        for len in [0, 1, 64, 65, 192, 193, Heads::MAX_DIM] {
            let mut seen = None;
            with_row(len, &mut |row| seen = Some((row.len(), row.iter().all(|x| *x == 0.0))));
            assert_eq!(seen, Some((len, true)));
        }
    }
}
