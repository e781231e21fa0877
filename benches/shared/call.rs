//! One attention over random numbers, as every bench makes it.

use flashlet::entry::Entry;
use flashlet::{Mask, Offset, Shape};
use measure::case::{Rule, certify_where};
use measure::problem::{Model, Sight, Tokens};
use oracle::{Format, Verdict};

/// What is asked of flashlet, and the same again for the oracle, said apart from flashlet's own masks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) shape: Shape,
    pub(crate) mask: Mask,
    pub(crate) sight: Sight,
    /// Where the first query stands.
    pub(crate) position: usize,
}

impl Call {
    /// Every query sees every key.
    pub(crate) fn full(shape: Shape) -> Self {
        Call { shape, mask: Mask::full(), sight: Sight::FULL, position: 0 }
    }

    /// The queries are the last tokens, and see themselves and what is before them. With as many
    /// queries as keys, that is a prompt.
    pub(crate) fn causal(shape: Shape) -> Self {
        let position = shape.kv_len - shape.q_len;
        let offset = i64::try_from(position).expect("lengths of benches are short");
        Call { shape, mask: Mask::causal(Offset::at(offset)), sight: Sight::CAUSAL, position }
    }

    /// Operations: 4 * head_dim for each query head and pair of a query and a key that it may see, so
    /// that causal and full rows compare.
    pub(crate) fn flops(&self) -> f64 {
        self.model().flops_of(self.position, self.shape.q_len, self.shape.kv_len)
    }

    /// Whether query `i` may see key `j`.
    pub(crate) fn sees(&self, i: usize, j: usize) -> bool {
        self.sight.sees(self.position + i, j)
    }

    /// Judges some rows of what `entry` made of these numbers and stored in the format `output`, by a rule.
    pub(crate) fn certify(
        &self,
        entry: &Entry,
        output: Format,
        [q, k, v]: [&[f32]; 3],
        o: &[f32],
        rule: Rule<'_>,
    ) -> Verdict {
        let Shape { q_len, heads, .. } = self.shape;
        let rows = [(0, 0, 0), (0, q_len / 2, heads.q / 2), (0, q_len - 1, heads.q - 1)];
        let tokens = Tokens { position: self.position, q, k, v };
        certify_where(&self.model(), &tokens, rule, entry, output, rows, o)
    }

    fn model(&self) -> Model {
        let Shape { heads, q_len, kv_len, .. } = self.shape;
        let scale = 1.0 / (heads.dim as f64).sqrt();
        Model { heads, scale, sight: self.sight, max_q: q_len, max_kv: kv_len }
    }
}

/// Whether every row judged has a bound and keeps it: one without a bound is no pass.
pub(crate) fn passes(verdict: &Verdict) -> bool {
    verdict.holds() && verdict.uncertified == 0
}

/// As many numbers in [-1, 1) as `dims` has elements, the same for the same seed.
pub(crate) fn numbers(dims: [usize; 4], seed: u64) -> impl Iterator<Item = f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(move || random.f32() * 2.0 - 1.0).take(dims.iter().product())
}
