//! Nothing is read or written beyond its end: every input, output and scratch lies against a page that is not there.
#![cfg(unix)]

mod attention;
mod caches;
mod fence;
mod linear;
mod positions;

use fence::{Against, BOTH, Fence, doing};
use flashlet::Elem;
use half::{bf16, f16};

/// An element of tensors.
pub(crate) trait Number: Elem + PartialOrd {
    fn of(x: f32) -> Self;
}

macro_rules! numbers {
    ($($type:ident, $of:expr;)*) => { $(
        impl Number for $type {
            fn of(x: f32) -> Self {
                $of(x)
            }
        }
    )* };
}
numbers! {
    f32, |x| x;
    f16, f16::from_f32;
    bf16, bf16::from_f32;
}

/// Numbers between -1 and 1.
pub(crate) fn numbers<T: Number>(len: usize, against: Against) -> Fence<T> {
    let mut random = fastrand::Rng::with_seed(len as u64);
    let x: Vec<T> = (0..len).map(|_| T::of(2.0 * random.f32() - 1.0)).collect();
    Fence::new(&x, against)
}

pub(crate) fn len(dims: [usize; 4]) -> usize {
    dims.iter().product()
}

/// Panics unless all of them were written.
pub(crate) fn assert_written<T: Number>(x: &[T], what: &str) {
    let is_nan = |x: &T| x.partial_cmp(x).is_none();
    assert!(!x.iter().any(is_nan), "{what}: not all of the output was written");
}

/// Does what must end the process, each in one of its own.
#[test]
fn a_fence_lets_nothing_pass() {
    for (action, words) in [
        ("read before", "touched: the read"),
        ("read behind", "touched: the read"),
        ("write behind", "touched: the write"),
        ("write within", "written beyond its end: the write"),
    ] {
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_step_too_far", "--ignored", "--nocapture"])
            .env("ONE_STEP", action)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && said.contains(words), "{action}: {said}");
    }
}

#[test]
#[ignore = "ends the process: a_fence_lets_nothing_pass runs it"]
fn one_step_too_far() {
    let action = std::env::var("ONE_STEP").unwrap_or_default();
    let (against, step) = match &*action {
        "read before" => (Against::Before, -1),
        "write within" => (Against::Before, 3),
        _ => (Against::Behind, 3),
    };
    let mut fence = Fence::new(&[1.0_f32, 2.0, 3.0], against);
    doing(if action.starts_with("read") { "the read" } else { "the write" });
    let at = fence.as_mut_ptr().wrapping_offset(step);
    // SAFETY: none: this is what the fence is for.
    unsafe {
        if action.starts_with("read") {
            println!("{}", at.read_volatile());
        } else {
            at.write_volatile(0.0);
        }
    }
}

/// Runs something with all memory against the page before it, then against the one behind it.
pub(crate) fn on_both_sides(what: &str, run: impl Fn(Against)) {
    for against in BOTH {
        doing(&format!("{what}, {against:?}"));
        run(against);
    }
}
