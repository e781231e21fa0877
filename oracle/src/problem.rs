//! The data of one attention call.

/// One call of attention: inputs, scale, and who sees whom.
///
/// All arrays are contiguous and row-major. A query head `h` reads the key/value head
/// `g = h / (q_heads / kv_heads)`: consecutive query heads share one.
pub struct Problem<'a> {
    /// Lengths and head counts of the arrays below.
    pub shape: Shape,
    /// Factor of every score, usually `1 / sqrt(head_dim)`: the very number that the kernel was given.
    pub scale: f64,
    /// Queries `[batch, q_len, q_heads, head_dim]`.
    pub q: &'a [f32],
    /// Keys `[batch, kv_len, kv_heads, head_dim]`.
    pub k: &'a [f32],
    /// Values `[batch, kv_len, kv_heads, v_dim]`.
    pub v: &'a [f32],
    /// The mask: whether query `i` sees key `j`. What it hides is not part of the problem, so a hidden
    /// key may hold anything, NaN included.
    pub visible: &'a dyn Fn(Pair) -> bool,
    /// Learned sinks: the logit of one more key for each query head, whose value is 0; none if empty.
    pub sinks: &'a [f32],
    /// What becomes of the score of a pair for a query head, if anything does.
    pub modify: Option<&'a dyn Fn(Pair, usize, f64) -> Modified>,
    /// The value `[v_dim]` that a query head sees beside that of a pair's key, one for each distance, if there are any.
    pub beside: Option<&'a dyn Fn(Pair, usize) -> Vec<f32>>,
}

/// A score after a modifier: a cap, a bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modified {
    /// The new score, exactly.
    pub s: f64,
    /// By how much it can change where the old one changes by 1.
    pub slope: f64,
    /// By how much a correct kernel's own arithmetic can miss it, given the old one.
    pub error: f64,
}

/// Lengths, in elements, of the axes of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Independent sequences.
    pub batch: usize,
    /// Queries of one sequence.
    pub q_len: usize,
    /// Keys of one sequence.
    pub kv_len: usize,
    /// Query heads: a multiple of `kv_heads`.
    pub q_heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Channels of a query and of a key.
    pub head_dim: usize,
    /// Channels of a value and of an output.
    pub v_dim: usize,
}

/// One question to the mask: does query `i` of batch entry `b` see key `j`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Batch entry.
    pub b: usize,
    /// Query index, `0..q_len`.
    pub i: usize,
    /// Key index, `0..kv_len`.
    pub j: usize,
}

impl Problem<'_> {
    /// Query row `[head_dim]`.
    pub(crate) fn q_row(&self, b: usize, i: usize, h: usize) -> &[f32] {
        let Shape { q_len, q_heads, head_dim, .. } = self.shape;
        row(self.q, (b * q_len + i) * q_heads + h, head_dim)
    }

    /// Key row `[head_dim]` that query head `h` reads.
    pub(crate) fn k_row(&self, b: usize, j: usize, h: usize) -> &[f32] {
        let Shape { kv_len, kv_heads, head_dim, .. } = self.shape;
        row(self.k, (b * kv_len + j) * kv_heads + self.shape.kv_head(h), head_dim)
    }

    /// Value row `[v_dim]` that query head `h` reads.
    pub(crate) fn v_row(&self, b: usize, j: usize, h: usize) -> &[f32] {
        let Shape { kv_len, kv_heads, v_dim, .. } = self.shape;
        row(self.v, (b * kv_len + j) * kv_heads + self.shape.kv_head(h), v_dim)
    }

    /// Indices of the keys that query `i` sees, ascending.
    pub(crate) fn visible_keys(&self, b: usize, i: usize) -> Vec<usize> {
        (0..self.shape.kv_len).filter(|&j| (self.visible)(Pair { b, i, j })).collect()
    }

    /// `scale * <q, k_j>`, and what a modifier makes of it.
    pub(crate) fn score(&self, b: usize, i: usize, h: usize, j: usize) -> Modified {
        let (q, k) = (self.q_row(b, i, h), self.k_row(b, j, h));
        let s = self.scale * dot(q, k);
        self.modify
            .map_or(Modified { s, slope: 1.0, error: 0.0 }, |modify| modify(Pair { b, i, j }, h, s))
    }

    /// The value beside that of a key; empty if there is none.
    pub(crate) fn beside(&self, b: usize, i: usize, h: usize, j: usize) -> Vec<f32> {
        let row = self.beside.map_or(Vec::new(), |beside| beside(Pair { b, i, j }, h));
        assert!(self.beside.is_none() || row.len() == self.shape.v_dim, "beside: [v_dim]");
        row
    }

    /// The logit of a head's sink.
    pub(crate) fn sink(&self, h: usize) -> Option<f64> {
        self.sinks.get(h).map(|logit| f64::from(*logit))
    }

    /// Panics unless the arrays have the lengths that the shape says.
    pub(crate) fn check(&self) {
        let Shape { batch, q_len, kv_len, q_heads, kv_heads, head_dim, v_dim } = self.shape;
        assert_eq!(
            self.q.len(),
            batch * q_len * q_heads * head_dim,
            "q: [batch, q_len, q_heads, head_dim]"
        );
        assert_eq!(
            self.k.len(),
            batch * kv_len * kv_heads * head_dim,
            "k: [batch, kv_len, kv_heads, head_dim]"
        );
        assert_eq!(
            self.v.len(),
            batch * kv_len * kv_heads * v_dim,
            "v: [batch, kv_len, kv_heads, v_dim]"
        );
        assert!(self.sinks.is_empty() || self.sinks.len() == q_heads, "sinks: none, or [q_heads]");
        assert!(
            kv_heads > 0 && q_heads.is_multiple_of(kv_heads),
            "{q_heads} query heads on {kv_heads} kv heads"
        );
    }
}

impl Shape {
    /// The key/value head of a query head.
    pub(crate) fn kv_head(&self, h: usize) -> usize {
        h / (self.q_heads / self.kv_heads)
    }
}

/// `sum_c q_c k_c`. Every product is exact: two 24-bit significands fit into 53 bits.
fn dot(q: &[f32], k: &[f32]) -> f64 {
    q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum()
}

fn row(data: &[f32], index: usize, width: usize) -> &[f32] {
    &data[index * width..][..width]
}
