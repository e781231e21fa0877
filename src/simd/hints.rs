//! Lines of the caches that will be read later, asked for meanwhile.

/// Asks at each step for a line that will be read much later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    next: *const u8,
    step: usize,
}

impl Hint {
    /// What lies at `next`, then so many bytes further at every step.
    pub(super) fn new<T>(next: *const T, step: usize) -> Self {
        Hint { next: next.cast(), step }
    }

    /// The same line at every step.
    #[inline(always)]
    pub(crate) fn still<T>(at: &[T]) -> Self {
        Hint { next: at.as_ptr().cast(), step: 0 }
    }

    /// The same rows, `bytes` further.
    #[inline(always)]
    pub(crate) fn offset(self, bytes: usize) -> Self {
        Hint { next: self.next.wrapping_add(bytes), ..self }
    }
}

/// Steps that also give a hint each.
#[derive(Debug)]
pub(crate) struct Hinting<A> {
    inner: A,
    hint: Hint,
}

impl<A> Hinting<A> {
    #[inline(always)]
    pub(crate) fn new(inner: A, hint: Hint) -> Self {
        Hinting { inner, hint }
    }
}

impl<A: Iterator> Iterator for Hinting<A> {
    type Item = A::Item;

    #[inline(always)]
    fn next(&mut self) -> Option<A::Item> {
        let item = self.inner.next()?;
        prefetch(self.hint.next);
        self.hint.next = self.hint.next.wrapping_add(self.hint.step);
        Some(item)
    }
}

/// Lines of rows to be read later, in order, so many at a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    row: *const u8,
    at: usize,
    /// Bytes of a row, and from one to the next.
    width: usize,
    stride: usize,
}

impl Walk {
    /// Bytes that are asked for without a look at where a row ends: of shorter rows some lines are left out.
    const RUN: usize = 4 * LINE;

    pub(super) fn new<T>(first: *const T, width: usize, stride: usize) -> Self {
        // Rows without gaps are one row.
        let width = if width == stride { usize::MAX } else { width * size_of::<T>() };
        Walk { row: first.cast(), at: 0, width, stride: stride * size_of::<T>() }
    }

    /// A walk on the spot: nothing is left to ask for, and what is near costs little.
    pub(super) fn still<T>(first: *const T) -> Self {
        Walk { row: first.cast(), at: 0, width: 0, stride: 0 }
    }

    /// Whether it goes anywhere.
    #[inline(always)]
    pub(crate) fn moves(&self) -> bool {
        self.width > 0
    }

    /// Asks for so many bytes more, a few lines: between products, as a core has room for few lines on their way.
    #[inline(always)]
    pub(crate) fn fetch(&mut self, bytes: usize) {
        for first in (0..bytes).step_by(Self::RUN) {
            let step = (bytes - first).min(Self::RUN);
            for line in 0..step.div_ceil(LINE) {
                prefetch_near(self.row.wrapping_add(self.at + line * LINE));
            }
            self.at += step;
            if self.at >= self.width {
                self.at = 0;
                self.row = self.row.wrapping_add(self.stride);
            }
        }
    }
}

/// Asks for all lines of a row of `len` elements to come nearer: [`prefetch`].
pub(crate) fn prefetch_row<T>(at: *const T, len: usize) {
    let bytes = len * size_of::<T>();
    for line in (0..bytes + LINE - 1).step_by(LINE) {
        prefetch(at.cast::<u8>().wrapping_add(line.min(bytes)));
    }
}

/// Bytes of a line of a cache. Where lines are longer, some are asked for twice.
const LINE: usize = 64;

/// Asks for the line at an address to come to the second-level cache, if the processor has a way to
/// ask; nothing is read, so any address will do.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address, and every x86-64 has it.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The same to the first-level cache: of what is read once, and soon.
#[inline(always)]
fn prefetch_near<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `prefetch`.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
