//! Classic bugs of attention kernels, planted one at a time by `RUSTFLAGS='--cfg flashlet_defect="..."'`: what hunts bugs
//! must find each of them (`fuzz/defects.sh`). Any other build has none.

/// Whether a bug is planted in this build: a constant.
macro_rules! planted {
    ($name:literal) => {
        cfg!(flashlet_defect = $name)
    };
}
pub(crate) use planted;
