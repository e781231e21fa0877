//! A case: one real attention head, what a query sees of it, and what must come out.

use flashlet::{Heads, Mask, Offset, Shape, Window};

use crate::embedded::numbers;
use crate::outcome::worst;

/// One head, its mask, the exact result, and how far from it a correct kernel may stray.
#[derive(Debug)]
pub struct Case {
    /// Model, layer and what is special about the case.
    pub name: &'static str,
    /// Lengths and heads; the batch is 1.
    pub shape: Shape,
    /// Factor of a score.
    pub scale: f64,
    /// Which keys a query sees.
    pub mask: Mask,
    /// Queries, `[q_len, q_heads, head_dim]`.
    pub q: &'static [f32],
    /// Keys, `[kv_len, kv_heads, head_dim]`.
    pub k: &'static [f32],
    /// Values, `[kv_len, kv_heads, v_dim]`.
    pub v: &'static [f32],
    /// The result in f64.
    pub exact: Exact,
    /// Largest error of a kernel that fuses multiply-add.
    pub fused: Limits,
    /// Largest error of a kernel that rounds each product.
    pub unfused: Limits,
}

/// Exact output `o [q_len, q_heads, v_dim]` and log-sum-exp `lse [q_heads, q_len]`.
#[derive(Debug)]
pub struct Exact {
    /// Output.
    pub o: &'static [f64],
    /// Natural logarithm of the sum of exponentials.
    pub lse: &'static [f64],
}

/// The certified bound of each element of [`Exact`], rounded up to f32.
#[derive(Debug)]
pub struct Limits {
    /// Largest error of each output element.
    pub o: &'static [f32],
    /// Largest error of each log-sum-exp.
    pub lse: &'static [f32],
}

impl Case {
    /// The bound that holds for a kernel that fuses multiply-add, or for one that does not.
    #[must_use]
    pub const fn limits(&self, fused: bool) -> &Limits {
        if fused { &self.fused } else { &self.unfused }
    }

    /// Largest error of `o` and `lse`, each element as a share of what it may be: above 1 is wrong.
    #[must_use]
    pub fn err_over_bound(&self, fused: bool, o: &[f32], lse: &[f32]) -> f32 {
        let limits = self.limits(fused);
        worst(o, self.exact.o, limits.o).max(worst(lse, self.exact.lse, limits.lse))
    }
}

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

// The parts that fit a device.
include!(concat!(env!("OUT_DIR"), "/small.rs"));
