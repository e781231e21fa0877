//! Classic bugs of attention kernels, for what hunts bugs to find each of them (`fuzz/defects.sh`). A build with
//! `RUSTFLAGS='--cfg flashlet_defect'` plants the one that the environment's `FLASHLET_DEFECT` names; any other has none.

/// Whether a bug is planted: a constant `false` but where they can be.
#[cfg(not(flashlet_defect))]
macro_rules! planted {
    ($name:literal) => {
        false
    };
}
#[cfg(flashlet_defect)]
macro_rules! planted {
    ($name:literal) => {
        crate::defect::is_planted(const { crate::defect::place($name) })
    };
}
pub(crate) use planted;

#[cfg(flashlet_defect)]
mod choice {
    extern crate std;

    use std::sync::LazyLock;

    const NAMES: [&str; 9] = [
        "dropped_last_key",
        "missing_rescale",
        "max_from_zero",
        "l_in_bf16",
        "mask_before_softcap",
        "zero_times_nan",
        "merge_of_empty",
        "window_off_by_one",
        "f32_angles",
    ];

    static PLANTED: LazyLock<Option<usize>> = LazyLock::new(|| {
        let name = std::env::var("FLASHLET_DEFECT").ok()?;
        Some(place(&name))
    });

    /// Where a name stands in the list.
    pub(crate) const fn place(name: &str) -> usize {
        let mut place = 0;
        while place < NAMES.len() {
            if is_same(NAMES[place].as_bytes(), name.as_bytes()) {
                return place;
            }
            place += 1;
        }
        panic!("no such defect")
    }

    const fn is_same(a: &[u8], b: &[u8]) -> bool {
        let mut at = 0;
        while at < a.len() && at < b.len() && a[at] == b[at] {
            at += 1;
        }
        at == a.len() && at == b.len()
    }

    pub(crate) fn is_planted(place: usize) -> bool {
        *PLANTED == Some(place)
    }
}
#[cfg(flashlet_defect)]
pub(crate) use choice::{is_planted, place};
