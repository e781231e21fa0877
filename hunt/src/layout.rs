//! Where the rows of a tensor lie: token after token or head after head, with gaps that nobody may read or write.

use arbitrary::{Arbitrary, Result, Unstructured};
use flashlet::Strides;

/// How rows of `[batch, len, heads, dim]` lie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    /// `[batch, heads, len, dim]`.
    is_by_head: bool,
    /// Elements behind each row, behind the rows of a token or of a head, and behind a sequence.
    gap: usize,
}

impl Layout {
    /// Half of them without gaps.
    pub(crate) fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        let bits = u8::arbitrary(u)?;
        let gap = if bits & 2 == 0 { 0 } else { usize::from(bits >> 2) % 20 };
        Ok(Layout { is_by_head: bits & 1 == 1, gap })
    }

    pub(crate) fn strides(self, [_, len, heads, dim]: [usize; 4]) -> Strides {
        let row = dim + self.gap;
        let plane = row * if self.is_by_head { len } else { heads } + self.gap;
        let batch = plane * if self.is_by_head { heads } else { len } + self.gap;
        match self.is_by_head {
            true => Strides { batch, token: row, head: plane },
            false => Strides { batch, token: plane, head: row },
        }
    }

    /// Where each row begins, in the order of a packed tensor.
    fn rows(self, dims: [usize; 4]) -> impl Iterator<Item = usize> {
        let ([batch, len, heads, _], strides) = (dims, self.strides(dims));
        let tokens = (0..batch).flat_map(move |b| (0..len).map(move |i| (b, i)));
        tokens.flat_map(move |(b, i)| {
            let token = b * strides.batch + i * strides.token;
            (0..heads).map(move |h| token + h * strides.head)
        })
    }

    /// A packed tensor, laid out; `gap` everywhere else.
    pub(crate) fn spread<T: Copy>(self, dims: [usize; 4], packed: &[T], gap: T) -> Vec<T> {
        let mut all = vec![gap; dims[0] * self.strides(dims).batch];
        for (at, row) in self.rows(dims).zip(packed.chunks_exact(dims[3].max(1))) {
            all[at..][..dims[3]].copy_from_slice(row);
        }
        all
    }

    /// The other way.
    pub(crate) fn gather<T: Copy>(self, dims: [usize; 4], all: &[T]) -> Vec<T> {
        self.rows(dims).flat_map(|at| all[at..][..dims[3]].iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_is_what_was_spread() {
        let dims = [2, 3, 2, 5];
        let packed: Vec<usize> = (1..=60).collect();
        for is_by_head in [false, true] {
            for gap in [0, 1, 7] {
                let layout = Layout { is_by_head, gap };
                let all = layout.spread(dims, &packed, 0);
                assert_eq!(layout.gather(dims, &all), packed);
                assert_eq!(all.iter().filter(|x| **x > 0).count(), 60);
                let packed = layout.strides(dims) == Strides::by_token(dims).unwrap();
                assert_eq!(packed, !is_by_head && gap == 0);
            }
        }
    }
}
