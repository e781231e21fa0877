//! One attention as plain slices.

use flashlet::Heads;

/// What a model fixes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// Heads and widths.
    pub heads: Heads,
    /// Factor of the scores.
    pub scale: f64,
    /// Which keys a query sees.
    pub sight: Sight,
    /// Most queries of a call.
    pub max_q: usize,
    /// Most keys of a call.
    pub max_kv: usize,
}

/// Which keys a query sees, said apart from flashlet's own masks so that it can check them: key `j`
/// from position `p` if `j <= p + right` and (`j >= p - left` or `j < sinks`), of those only every `dilation`-th from `p` on
/// in the same chunk; and beside them the prefix, and whatever is global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Keys before its own position; `None`: all.
    pub left: Option<usize>,
    /// Keys after its own position; `None`: all.
    pub right: Option<usize>,
    /// First keys that stay visible.
    pub sinks: usize,
    /// Keys from one that is visible to the next.
    pub dilation: Option<usize>,
    /// Tokens of a chunk.
    pub chunk: Option<usize>,
    /// First keys that every query sees.
    pub prefix: usize,
    /// Positions that see all and are seen by all.
    pub globals: &'static [u32],
}

impl Sight {
    /// Every key.
    pub const FULL: Sight = Sight {
        left: None,
        right: None,
        sinks: 0,
        dilation: None,
        chunk: None,
        prefix: 0,
        globals: &[],
    };
    /// Its own position and all before it.
    pub const CAUSAL: Sight = Sight { right: Some(0), ..Sight::FULL };

    /// How many of `kv_len` keys a query at position `p` sees.
    #[must_use]
    pub fn count(&self, p: usize, kv_len: usize) -> usize {
        let is_band = self.dilation.is_none() && self.chunk.is_none();
        if !is_band || self.prefix > 0 || !self.globals.is_empty() {
            return (0..kv_len).filter(|j| self.sees(p, *j)).count();
        }
        let after = |right| kv_len.min(p.saturating_add(right).saturating_add(1));
        let end = self.right.map_or(kv_len, after);
        let start = self.left.map_or(0, |left| p.saturating_sub(left)).min(end);
        end - start + self.sinks.min(start)
    }

    /// Whether a query at position `p` sees key `j`.
    #[must_use]
    pub fn sees(&self, p: usize, j: usize) -> bool {
        let in_band = self.right.is_none_or(|right| j <= p.saturating_add(right))
            && (j < self.sinks || self.left.is_none_or(|left| j.saturating_add(left) >= p));
        let is_left = self.dilation.is_none_or(|step| p.abs_diff(j).is_multiple_of(step))
            && self.chunk.is_none_or(|size| p / size == j / size);
        in_band && is_left
            || j < self.prefix
            || self.globals.iter().any(|token| [p, j].contains(&(*token as usize)))
    }

    /// Whether a query sees nothing after its own position, but for the prefix and what is global.
    #[must_use]
    pub fn is_causal(&self) -> bool {
        self.right == Some(0)
    }
}

/// One call: query `i` stands at position `position + i`, key `j` at `j`.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// Position of the first query.
    pub position: usize,
    /// `[q_len, q_heads, head_dim]`.
    pub q: &'a [f32],
    /// `[kv_len, kv_heads, head_dim]`.
    pub k: &'a [f32],
    /// `[kv_len, kv_heads, v_dim]`.
    pub v: &'a [f32],
}

impl Model {
    /// Queries of a call.
    #[must_use]
    pub fn q_len(&self, tokens: &Tokens<'_>) -> usize {
        tokens.q.len() / (self.heads.q * self.heads.dim)
    }

    /// Keys of a call.
    #[must_use]
    pub fn kv_len(&self, tokens: &Tokens<'_>) -> usize {
        tokens.k.len() / (self.heads.kv * self.heads.dim)
    }

    /// The call that a decoder makes for query `i` of these tokens: it alone, and the keys that are
    /// there by then.
    #[must_use]
    pub fn step<'a>(&self, tokens: &Tokens<'a>, i: usize) -> Tokens<'a> {
        let Heads { q, kv, dim, v_dim } = self.heads;
        let position = tokens.position + i;
        let keys = if self.sight.is_causal() { position + 1 } else { self.kv_len(tokens) };
        Tokens {
            position,
            q: &tokens.q[i * q * dim..][..q * dim],
            k: &tokens.k[..keys * kv * dim],
            v: &tokens.v[..keys * kv * v_dim],
        }
    }

    /// Useful operations of a call: a multiply-add, counted as two, for each channel of a key and of
    /// a value that a query sees. The softmax is not counted.
    #[must_use]
    pub fn flops(&self, tokens: &Tokens<'_>) -> f64 {
        self.flops_of(tokens.position, self.q_len(tokens), self.kv_len(tokens))
    }

    /// The same of `q_len` queries, the first at `position`, and `kv_len` keys.
    #[must_use]
    pub fn flops_of(&self, position: usize, q_len: usize, kv_len: usize) -> f64 {
        let pairs: usize = (0..q_len).map(|i| self.sight.count(position + i, kv_len)).sum();
        let Heads { q, dim, v_dim, .. } = self.heads;
        2.0 * (pairs * q * (dim + v_dim)) as f64
    }

    /// The same call for the oracle.
    pub(crate) fn oracle<'a>(
        &self,
        tokens: &Tokens<'a>,
        visible: &'a dyn Fn(oracle::Pair) -> bool,
    ) -> oracle::Problem<'a> {
        let Heads { q, kv, dim, v_dim } = self.heads;
        let shape = oracle::Shape {
            batch: 1,
            q_len: self.q_len(tokens),
            kv_len: self.kv_len(tokens),
            q_heads: q,
            kv_heads: kv,
            head_dim: dim,
            v_dim,
        };
        let &Tokens { q, k, v, .. } = tokens;
        oracle::Problem {
            shape,
            scale: self.scale,
            q,
            k,
            v,
            visible,
            sinks: &[],
            modify: None,
            beside: None,
        }
    }
}
