//! How deep a call's stack is: what lies below is painted, and what has lost its paint was used.
#![expect(unsafe_code, reason = "writes and reads memory that nobody owns")]

const PAINT: u32 = 0x_5a5a_a5a5;
/// Left alone below the frame that paints; and painted at most.
const OWN: usize = 128;
const MOST: usize = 64 << 10;

unsafe extern "C" {
    /// The linker's: the stack must stay above it.
    #[cfg_attr(target_arch = "riscv32", link_name = "__eheap")]
    static _stack_end: u32;
}

/// What a call returns, and how many bytes of stack were used below this function's frame.
#[inline(never)]
pub(crate) fn depth<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let mark = 0_u32;
    let here = (&raw const mark).addr();
    let top = here - OWN;
    let low = (&raw const _stack_end).addr().max(top.saturating_sub(MOST)).next_multiple_of(4);
    let words = || (low..top - 3).step_by(4).map(core::ptr::with_exposed_provenance_mut::<u32>);
    // SAFETY: between the end of what is static and this frame there is nothing but stack that no
    // function uses now: what is called later writes there before it reads.
    words().for_each(|word| unsafe { word.write_volatile(PAINT) });
    let result = call();
    // SAFETY: as above; any word of it may be read.
    let used = words().find(|word| unsafe { word.read_volatile() } != PAINT);
    (result, here - used.map_or(top, |word| word.addr()))
}
