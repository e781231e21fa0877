//! Patterns that leave most pairs out, each beside its definition, said apart from flashlet's own.

use flashlet::{BigBird, BlockSparse, Chunks, Documents, Globals, Mask, Offset, Pattern, Window};

/// A pattern, and the same by its definition.
pub(crate) struct Sparse {
    pub(crate) name: &'static str,
    /// Of a plan whose queries start at position 0. It lives as long as the program.
    pub(crate) pattern: &'static dyn Pattern,
    /// Whether query `i` sees key `j`.
    pub(crate) sees: Box<dyn Fn(usize, usize) -> bool>,
}

/// Tokens.
pub(crate) const LEN: usize = 8192;

/// Tokens of a block.
const BLOCK: usize = 64;
const BLOCKS: usize = LEN / BLOCK;

pub(crate) fn all() -> Vec<Sparse> {
    vec![longformer(), big_bird(), a_tenth_of_the_blocks(), documents(), chunked()]
}

fn sparse(
    name: &'static str,
    pattern: impl Pattern + 'static,
    sees: impl Fn(usize, usize) -> bool + 'static,
) -> Sparse {
    Sparse { name, pattern: Box::leak(Box::new(pattern)), sees: Box::new(sees) }
}

/// 256 keys on either side, and 16 global tokens at the start, as a question before its text.
fn longformer() -> Sparse {
    let positions: Vec<u32> = (0..16).collect();
    let globals = Globals::new(positions.leak()).expect("they ascend");
    let window = Mask::full() & Window::span(256, 256);
    sparse("longformer", window.or(globals), |i, j| i.abs_diff(j) <= 256 || i < 16 || j < 16)
}

/// Neighbours, first and last block, and three random ones.
fn big_bird() -> Sparse {
    let bird = BigBird::new(1, BLOCKS, 3).expect("there are blocks enough");
    let mut random = vec![0; bird.random_len()];
    bird.draw(1, &mut random).expect("it is as long as it says");
    let (rows, columns) = (vec![0; bird.rows_len()].leak(), vec![0; bird.columns_len()].leak());
    let pattern = bird.build(BLOCK, &random, rows, columns).expect("drawn just now");
    sparse("bigbird", pattern, move |i, j| {
        let (i, j, last) = (i / BLOCK, j / BLOCK, BLOCKS - 1);
        i == 0
            || i == last
            || j == 0
            || j == last
            || i.abs_diff(j) <= 1
            || random[(i - 1) * 3..][..3].contains(&(j as u32))
    })
}

/// Thirteen of 128 blocks a row, drawn.
fn a_tenth_of_the_blocks() -> Sparse {
    let mut random = fastrand::Rng::with_seed(1);
    let (mut rows, mut columns) = (vec![0], Vec::new());
    for _ in 0..BLOCKS {
        let mut row: Vec<u32> = (0..BLOCKS as u32).collect();
        random.shuffle(&mut row);
        row.truncate(BLOCKS.div_ceil(10));
        row.sort_unstable();
        columns.extend(row);
        rows.push(columns.len() as u32);
    }
    let list = columns.clone();
    let pattern = BlockSparse::new([BLOCK; 2], rows.leak(), columns.leak()).expect("sorted");
    sparse("block10", pattern, move |i, j| {
        let row = i / BLOCK * BLOCKS.div_ceil(10);
        list[row..][..BLOCKS.div_ceil(10)].contains(&((j / BLOCK) as u32))
    })
}

/// Packed documents of 500 tokens.
fn documents() -> Sparse {
    let ends: Vec<u32> = (0..LEN).step_by(500).chain([LEN]).map(|end| end as u32).collect();
    let ends = ends.leak();
    let pattern = Documents::new(ends, ends, Mask::full()).expect("they ascend");
    sparse("documents", pattern, |i, j| i / 500 == j / 500)
}

/// Causal, in chunks of 2048 tokens.
fn chunked() -> Sparse {
    let chunks = Chunks::new(2048).expect("not empty");
    let pattern = chunks.and(Mask::causal(Offset::TOP_LEFT));
    sparse("chunked", pattern, |i, j| i / 2048 == j / 2048 && j <= i)
}
