//! Patterns that cannot be, or do not fit a plan.

use crate::case::shape;
use flashlet::{
    Attention, BigBird, BlockSparse, Chunks, Dilation, Documents, Error, Globals, Heads, List,
    Mask, Table,
};

#[test]
fn wrong_lists_are_refused_with_their_numbers() {
    let order = |list, index, before, value| Some(Error::Order { list, index, before, value });
    assert_eq!(Globals::new(&[3, 3]).err(), order(List::Globals, 1, 3, 3));
    assert_eq!(Chunks::new(0).err(), Some(Error::ZeroBlock { list: List::Chunks }));
    assert_eq!(Dilation::new(0).err(), Some(Error::ZeroBlock { list: List::Dilation }));
    let full = Mask::full();
    assert_eq!(Documents::new(&[0, 5, 4], &[0, 1, 2], full).err(), order(List::QueryEnds, 2, 5, 4));
    let entry = |list, index, value, limit| Some(Error::Entry { list, index, value, limit });
    assert_eq!(Documents::new(&[1, 5], &[0, 5], full).err(), entry(List::QueryEnds, 0, 1, 1));
    let length = |list, needed, given| Some(Error::ListLength { list, needed, given });
    assert_eq!(Documents::new(&[0, 5], &[0], full).err(), length(List::KeyEnds, 2, 1));
    assert_eq!(Documents::new(&[], &[], full).err(), length(List::QueryEnds, 1, 0));
    assert_eq!(
        BlockSparse::new([0, 4], &[0], &[]).err(),
        Some(Error::ZeroBlock { list: List::BlockRows })
    );
    assert_eq!(BlockSparse::new([4, 4], &[], &[]).err(), length(List::BlockRows, 1, 0));
    let of_heads = |heads, rows| BlockSparse::for_heads(heads, [4, 4], rows, &[]).err();
    assert_eq!(of_heads(0, &[0, 0]), length(List::BlockRows, 1, 2));
    assert_eq!(of_heads(2, &[0, 0, 0, 0]), length(List::BlockRows, 5, 4));
    assert_eq!(of_heads(1, &[2, 2]), entry(List::BlockRows, 0, 2, 1));
    assert_eq!(
        BlockSparse::new([4, 4], &[0, 2], &[2, 1]).err(),
        order(List::BlockColumns, 1, 2, 1)
    );
    assert_eq!(BlockSparse::new([4, 4], &[0, 2], &[1]).err(), entry(List::BlockRows, 1, 2, 2));

    let plan = Attention::new(shape(8, 8, Heads::new(2, 1, 4)), full).unwrap();
    let globals = Globals::new(&[1]).unwrap();
    assert_eq!(plan.only(&globals).err(), Some(Error::Offset));
    let documents = Documents::new(&[0, 7], &[0, 8], full).unwrap();
    assert_eq!(plan.only(&documents).err(), entry(List::QueryEnds, 1, 7, 9));
    let blocks = BlockSparse::new([4, 4], &[0, 1, 2], &[0, 2]).unwrap();
    assert_eq!(plan.only(&blocks).err(), entry(List::BlockColumns, 1, 2, 2));
    let blocks = BlockSparse::new([4, 4], &[0, 1], &[0]).unwrap();
    assert_eq!(plan.only(&blocks).err(), length(List::BlockRows, 3, 2));
    // As many rows in all, but for two heads and not for four.
    let blocks = BlockSparse::for_heads(2, [2, 4], &[0; 9], &[]).unwrap();
    let four = Attention::new(shape(4, 8, Heads::new(4, 1, 4)), full).unwrap();
    assert_eq!(four.only(&blocks).err(), length(List::BlockHeads, 4, 2));
    let bits = [0; 7];
    assert_eq!(plan.only(&Table::bits(&bits, 8, 8)).err(), length(List::TableCells, 8, 7));
    assert_eq!(plan.only(&Table::bits(&bits, 7, 8)).err(), length(List::TableQueries, 8, 7));
    let bits = [0; 15];
    assert_eq!(
        plan.only(&Table::bits(&bits, 8, 8).of_heads(1)).err(),
        length(List::TableCells, 16, 15)
    );
}

#[test]
fn birds_that_cannot_be_are_refused() {
    let none = Some(Error::ZeroBlock { list: List::BlockRows });
    assert_eq!(BigBird::new(0, 6, 1).err(), none);
    assert_eq!(BigBird::new(1, 0, 0).err(), none);
    let length = |list, needed, given| Error::ListLength { list, needed, given };
    assert_eq!(BigBird::new(1, 6, 2).err(), Some(length(List::RandomBlocks, 2, 1)));
    // Each has 10 columns twice, and 8 rows of 7.
    let most = u32::MAX as usize;
    let columns = |heads: usize| length(List::BlockColumns, heads.saturating_mul(76), most);
    for heads in [most.div_ceil(76), most, usize::MAX] {
        assert_eq!(BigBird::new(heads, 10, 2).err(), Some(columns(heads)));
    }
    assert_eq!(BigBird::new(most / 76, 10, 2).map(|bird| bird.columns_len()), Ok(most / 76 * 76));
    for blocks in [most, usize::MAX] {
        assert!(matches!(BigBird::new(1, blocks, 0), Err(Error::ListLength { .. })));
    }

    let bird = BigBird::new(1, 10, 2).unwrap();
    let (mut drawn, mut rows, mut columns) = ([0; 16], [0; 11], [0; 76]);
    let error = bird.draw(7, &mut drawn[1..]).unwrap_err();
    assert_eq!(error, length(List::RandomBlocks, 16, 15));
    bird.draw(7, &mut drawn).unwrap();
    let mut build = |block, drawn: &[u32], row_count: usize, column_count: usize| {
        let (rows, columns) = (&mut rows[..row_count], &mut columns[..column_count]);
        bird.build(block, drawn, rows, columns).err()
    };
    assert_eq!(build(8, &drawn, 11, 76), None);
    assert_eq!(build(8, &drawn[1..], 11, 76), Some(length(List::RandomBlocks, 16, 15)));
    assert_eq!(build(8, &drawn, 10, 76), Some(length(List::BlockRows, 11, 10)));
    assert_eq!(build(8, &drawn, 11, 75), Some(length(List::BlockColumns, 76, 75)));
    assert_eq!(build(0, &drawn, 11, 76), none);
    drawn[3] = 10;
    let entry = Error::Entry { list: List::RandomBlocks, index: 3, value: 10, limit: 10 };
    assert_eq!(build(8, &drawn, 11, 76), Some(entry));
}

#[test]
fn birds_of_few_blocks_see_everything() {
    for blocks in 1..=5 {
        let bird = BigBird::new(2, blocks, 0).unwrap();
        bird.draw(1, &mut []).unwrap();
        let (mut rows, mut columns) = (vec![0; bird.rows_len()], vec![0; bird.columns_len()]);
        bird.build(4, &[], &mut rows, &mut columns).unwrap();
        // The second of five sees its neighbours, the first and the last.
        let seen = |row: usize| if blocks == 5 && (row == 1 || row == 3) { 4 } else { blocks };
        let lens: Vec<usize> = rows.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect();
        let expected: Vec<usize> = (0..2).flat_map(|_| (0..blocks).map(seen)).collect();
        assert_eq!(lens, expected, "{blocks}");
    }
}
