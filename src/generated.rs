// Written by `cargo kernels`: do not edit.
//! Entries for the head sizes of the manifest, one file a level. Each names a combination and
//! nothing more: without them every size takes the generic path, slower, with the same bits.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;
pub(crate) mod scalar;
