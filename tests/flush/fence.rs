//! Memory between two pages that must not be touched.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::slice;
use std::sync::Once;

/// Which of the two pages the elements lie against. The rest of the room is filled, and looked at in the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Against {
    Before,
    Behind,
}

pub(crate) const BOTH: [Against; 2] = [Against::Before, Against::Behind];

const FILL: u8 = 0xa5;

/// Elements with a page before or behind them that neither reads nor writes survive.
pub(crate) struct Fence<T> {
    map: *mut u8,
    room: usize,
    page: usize,
    start: *mut T,
    len: usize,
}

impl<T: Copy> Fence<T> {
    pub(crate) fn new(x: &[T], against: Against) -> Self {
        // SAFETY: any name may be asked for.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        let bytes = size_of_val(x);
        let room = bytes.max(1).next_multiple_of(page);
        let (flags, none) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_NONE);
        // SAFETY: a new mapping, wherever there is room for it.
        let map = unsafe { libc::mmap(ptr::null_mut(), room + 2 * page, none, flags, -1, 0) };
        assert!(map != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        let map = map.cast::<u8>();
        // SAFETY: whole pages of the mapping, all but the first and the last.
        let inner = unsafe { map.add(page) };
        // SAFETY: the same pages.
        let done =
            unsafe { libc::mprotect(inner.cast(), room, libc::PROT_READ | libc::PROT_WRITE) };
        assert!(done == 0, "{}", std::io::Error::last_os_error());
        let before = if against == Against::Before { 0 } else { room - bytes };
        // SAFETY: the room may be written now, and the elements fit into it. A page is aligned for all of them, and so is
        // what whole elements leave of it.
        let start = unsafe {
            ptr::write_bytes(inner, FILL, room);
            let start = inner.add(before).cast::<T>();
            ptr::copy_nonoverlapping(x.as_ptr(), start, x.len());
            start
        };
        Fence { map, room, page, start, len: x.len() }
    }

    pub(crate) fn repeat(x: T, len: usize, against: Against) -> Self {
        Self::new(&vec![x; len], against)
    }
}

impl<T> Deref for Fence<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: as many elements as were written there.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T> DerefMut for Fence<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as many elements as were written there, borrowed as this is.
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T> Drop for Fence<T> {
    fn drop(&mut self) {
        // SAFETY: the room between the two pages is initialised, and nobody else has it.
        let room = unsafe { slice::from_raw_parts(self.map.add(self.page), self.room) };
        let before = self.start as usize - room.as_ptr() as usize;
        let behind = before + self.len * size_of::<T>();
        let filled = room[..before].iter().chain(&room[behind..]).all(|x| *x == FILL);
        // SAFETY: the mapping that was made, which nothing borrows any more.
        unsafe { libc::munmap(self.map.cast(), self.room + 2 * self.page) };
        assert!(filled || std::thread::panicking(), "written beyond its end: {}", said());
    }
}

thread_local! {
    /// What this thread is about to do: where it is, and how long.
    static DOING: Cell<(*const u8, usize)> = const { Cell::new((ptr::null(), 0)) };
}

/// Says what is about to be done, for the last words of a process that touches a fence.
pub(crate) fn doing(what: &str) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            let handler: extern "C" fn(libc::c_int) = touched;
            // SAFETY: the handler calls nothing but `write` and `_exit`, which a handler may.
            unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        }
    });
    // A few kilobytes in all, which have to outlive the thread.
    let what: &'static str = String::leak(what.to_owned());
    DOING.set((what.as_ptr(), what.len()));
}

fn said() -> String {
    let (start, len) = DOING.get();
    if start.is_null() {
        return String::new();
    }
    // SAFETY: a string that was leaked.
    let said = unsafe { slice::from_raw_parts(start, len) };
    String::from_utf8_lossy(said).into_owned()
}

/// Prints what was being done and ends the process.
extern "C" fn touched(_: libc::c_int) {
    const WORDS: &[u8] = b"a page beyond the end was touched: ";
    let (start, len) = DOING.get();
    // SAFETY: bytes that live forever; both calls are allowed in a handler.
    unsafe {
        libc::write(2, WORDS.as_ptr().cast(), WORDS.len());
        libc::write(2, start.cast(), len);
        libc::write(2, b"\n".as_ptr().cast(), 1);
        libc::_exit(101);
    }
}
