//! The one export of the WASM module: no imports, plain C calls, the caller's memory.
#![expect(unsafe_code, reason = "an exported name and memory that the caller lends")]

use core::fmt::{self, Write};

use crate::{Workspace, check_all};

/// Writes the lines of every run to `out`, which has room for `len` bytes.
///
/// Returns the number of bytes written: negative if a check failed, 0 if the lines do not fit or a
/// case cannot run.
///
/// # Safety
/// `out` must be valid for writes of `len` bytes that nothing else in the module uses.
#[unsafe(no_mangle)]
unsafe extern "C" fn check(out: *mut u8, len: usize) -> isize {
    // SAFETY: the caller lends `len` writable bytes at `out` for the time of the call.
    let room = unsafe { core::slice::from_raw_parts_mut(out, len) };
    let mut text = Text { room, len: 0 };
    let mut fits = true;
    let verdict = check_all("wasm32", &mut Workspace::new(), |line| {
        fits &= writeln!(text, "{line}").is_ok();
    });
    match verdict {
        Ok(verdict) if fits && verdict.passed() => text.len as isize,
        Ok(_) if fits => -(text.len as isize),
        _ => 0,
    }
}

/// Text in a slice.
struct Text<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.room[self.len..].get_mut(..text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// A panic becomes a trap, which the engine reports with the names of the frames.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
