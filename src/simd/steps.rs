//! What inner loops read step by step: the bounds are checked once, where it is made.

use core::marker::PhantomData;

/// Something that is read step by step, without a check at each: as many steps as [`Steps::left`] says.
///
/// Two of them side by side share one counter, so that a loop over both is a single block of code: only
/// within a block can a broadcast read its operand from memory.
pub(crate) trait Steps: Sized {
    /// What a step reads.
    type Item;

    /// Steps that are left.
    fn left(&self) -> usize;

    /// The next step.
    ///
    /// # Safety
    /// Fewer steps have been taken than were left when `self` was made.
    unsafe fn step(&mut self) -> Self::Item;

    /// Both at each step, for as many steps as both have.
    #[inline(always)]
    fn and<B: Steps>(self, b: B) -> Both<Self, B> {
        let left = self.left().min(b.left());
        Both { a: self, b, left }
    }
}

/// Two side by side: an iterator over what both read.
#[derive(Debug)]
pub(crate) struct Both<A, B> {
    a: A,
    b: B,
    left: usize,
}

impl<A, B> Both<A, B> {
    /// The second.
    #[inline(always)]
    pub(crate) fn second(&self) -> &B {
        &self.b
    }
}

impl<A: Steps, B: Steps> Steps for Both<A, B> {
    type Item = (A::Item, B::Item);

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> Self::Item {
        // SAFETY: `left` is at most what each of them had.
        unsafe { (self.a.step(), self.b.step()) }
    }
}

impl<A: Steps, B: Steps> Iterator for Both<A, B> {
    type Item = (A::Item, B::Item);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: a step was left, and this takes it.
        Some(unsafe { self.step() })
    }
}

/// The elements of a slice.
#[derive(Debug)]
pub(crate) struct Items<'a, T> {
    next: *const T,
    left: usize,
    of: PhantomData<&'a [T]>,
}

impl<'a, T: Copy> Items<'a, T> {
    /// All of them, in order.
    #[inline(always)]
    pub(crate) fn of(slice: &'a [T]) -> Self {
        Items { next: slice.as_ptr(), left: slice.len(), of: PhantomData }
    }
}

impl<T: Copy> Steps for Items<'_, T> {
    type Item = T;

    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }
    #[inline(always)]
    unsafe fn step(&mut self) -> T {
        // SAFETY: the slice has as many elements as there are steps.
        let item = unsafe { *self.next };
        self.next = self.next.wrapping_add(1);
        item
    }
}
