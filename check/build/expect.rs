//! What a case must give: exact, and within which bounds.

use oracle::{Arithmetic, Bound, Pair, Problem};

use crate::head::Head;
use crate::numbers::round_up;
use crate::{Sight, TILE_K};

/// Exact results and bounds of every row, laid out as the kernel writes them.
pub(crate) struct Expected {
    /// Exact `o [q_len, q_heads, v_dim]`.
    pub(crate) o: Vec<f64>,
    /// Exact `lse [q_heads, q_len]`.
    pub(crate) lse: Vec<f64>,
    pub(crate) fused: Limits,
    pub(crate) unfused: Limits,
}

/// The certified bound of each element, rounded up to f32.
pub(crate) struct Limits {
    pub(crate) o: Vec<f32>,
    pub(crate) lse: Vec<f32>,
}

impl Expected {
    pub(crate) fn of(head: &Head, sight: Sight) -> Self {
        let oracle::Shape { q_len, kv_len, q_heads, v_dim, .. } = head.shape;
        let offset = kv_len - q_len;
        let visible = |pair: Pair| sight.shows(pair.i + offset, pair.j);
        let problem = Problem {
            shape: head.shape,
            scale: head.scale,
            q: &head.q,
            k: &head.k,
            v: &head.v,
            visible: &visible,
            sinks: &[],
            modify: None,
            beside: None,
        };

        let (o_len, lse_len) = (q_len * q_heads * v_dim, q_heads * q_len);
        let mut expected = Self {
            o: vec![0.0; o_len],
            lse: vec![0.0; lse_len],
            fused: Limits::zeros(o_len, lse_len),
            unfused: Limits::zeros(o_len, lse_len),
        };
        for i in 0..q_len {
            for h in 0..q_heads {
                let at = (i * q_heads + h) * v_dim..(i * q_heads + h + 1) * v_dim;
                let lse_at = h * q_len + i;
                let (row, fused) =
                    oracle::running_bound_row(&problem, &Arithmetic::fused(TILE_K), 0, i, h);
                let (_, unfused) =
                    oracle::running_bound_row(&problem, &Arithmetic::unfused(TILE_K), 0, i, h);
                expected.o[at.clone()].copy_from_slice(&row.o);
                expected.lse[lse_at] = row.lse;
                expected.fused.put(at.clone(), lse_at, &fused);
                expected.unfused.put(at, lse_at, &unfused);
            }
        }
        expected
    }
}

impl Limits {
    fn zeros(o_len: usize, lse_len: usize) -> Self {
        Self { o: vec![0.0; o_len], lse: vec![0.0; lse_len] }
    }

    fn put(&mut self, at: std::ops::Range<usize>, lse_at: usize, bound: &Bound) {
        for (limit, &bound) in self.o[at].iter_mut().zip(&bound.o) {
            *limit = round_up(bound);
        }
        self.lse[lse_at] = round_up(bound.lse);
    }
}

/// The file has a result of its own, computed by another program from the same inputs. The oracle
/// must agree with it to what f64 can tell, or one of them reads the tensors differently.
pub(crate) fn agrees_with_file(file: &Head, sight: Sight) {
    let ours = Expected::of(file, sight);
    let pairs = ours.o.iter().zip(&file.o).chain(ours.lse.iter().zip(&file.lse));
    let furthest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // Largest difference of either from 80-bit arithmetic, by the README of the data: 9e-15.
    assert!(furthest < 1e-13, "the oracle and the file differ by {furthest:e}");
}
