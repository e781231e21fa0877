//! A share writes its own rows and no others: what `unsafe` relies on.

use super::claim::{Claim, Grid};
use super::lent::Lent;
use super::per_level::Available;
use crate::linear::{LinearHeads, LinearShape, Memory};
use crate::shape::{Heads, Shape};
use crate::simd::Level;
use crate::view::ViewMut;
use core::num::NonZero;
use std::vec;
use std::vec::Vec;

const HEADS: Heads = Heads { q: 4, kv: 2, dim: 8, v_dim: 3 };
/// Six rows a key/value head, in two tiles.
const SHAPE: Shape = Shape { batch: 2, q_len: 3, kv_len: 9, heads: HEADS };

fn grid() -> Grid {
    Grid::new(4, 6, 0)
}

#[test]
fn a_share_writes_its_own_rows_only() {
    let len = SHAPE.rows() * 3;
    let write = |index: usize, at: [usize; 2], rows: core::ops::Range<usize>, by_lane: bool| {
        let (mut o, mut lse) = ([0.0; 72], [0.0; 24]);
        let view = ViewMut::packed(&mut o, SHAPE.o()).unwrap().into();
        let claim = Claim::output(SHAPE, Level::Scalar, grid(), view, Some(&mut lse)).unwrap();
        let mut claim = claim.shares(NonZero::new(2).unwrap()).nth(index).unwrap();
        if by_lane {
            let (m, l) = ([0.0; 20], [1.0; 20]);
            claim.write_lanes(at, rows, (&m, &l), &[1.0; 60], 20);
        } else {
            claim.write(at, rows.start, (0.0, 1.0), &[1.0; 3]);
        }
        assert_eq!(
            (o.len(), o.iter().sum::<f32>()),
            (len, o.iter().filter(|x| **x == 1.0).count() as f32)
        );
        o.iter().filter(|x| **x == 1.0).count()
    };
    for (index, at, start) in [(0, [0, 0], 0), (1, [0, 0], 5), (1, [0, 1], 3), (0, [0, 1], 4)] {
        assert_eq!(write(index, at, start..start + 1, false), 3, "{index} {at:?} {start}");
        assert_eq!(write(index, at, start..start + 1, true), 3, "{index} {at:?} {start}");
        assert_eq!(write(1 - index, at, start..start + 1, false), 0, "{index} {at:?} {start}");
        assert_eq!(write(1 - index, at, start..start + 1, true), 0, "{index} {at:?} {start}");
    }
    // Rows, heads and sequences that there are not, rows of two tiles, and none.
    for (at, rows) in
        [([0, 0], 6..7), ([0, 2], 0..1), ([2, 0], 0..1), ([0, 0], 3..5), ([0, 0], 2..2)]
    {
        for index in [0, 1] {
            assert_eq!(write(index, at, rows.clone(), true), 0, "{at:?} {rows:?}");
        }
    }
    assert_eq!(write(0, [2, 0], 0..1, false), 0);
}

#[test]
fn more_rows_than_a_vector_has_lanes_are_not_written() {
    let shape = Shape { batch: 1, q_len: 40, kv_len: 1, heads: Heads::new(1, 1, 1) };
    for (rows, written) in [(0..1, 1), (0..17, 0)] {
        let mut o = [0.0; 40];
        let view = ViewMut::packed(&mut o, shape.o()).unwrap().into();
        let grid = Grid::new(40, 40, 0);
        let mut claim = Claim::output(shape, Level::Scalar, grid, view, None).unwrap();
        claim.write_lanes([0, 0], rows, (&[0.0; 20], &[1.0; 20]), &[1.0; 20], 20);
        assert_eq!(o.iter().filter(|x| **x == 1.0).count(), written);
    }
}

#[test]
fn a_sequence_is_claimed_only_where_its_tokens_are() {
    let packed = Shape { batch: 1, q_len: 5, kv_len: 9, heads: HEADS };
    let mut o = [0.0; 60];
    let view = ViewMut::packed(&mut o, packed.o()).unwrap().into();
    let mut claim = Claim::output(packed, Level::Scalar, grid(), view, None).unwrap();
    let mut has = |shape, b, tokens| claim.sequence(shape, b, &tokens, grid()).is_some();
    let shape = SHAPE;
    assert!(has(shape, 0, 0..3) && has(shape, 1, 2..5));
    assert!(!has(shape, 1, 3..6), "beyond the last token");
    assert!(!has(shape, 1, 3..5), "another number of tokens");
    assert!(!has(shape, 2, 0..3), "no such sequence");
    assert!(!has(Shape { heads: Heads::new(4, 4, 8), ..shape }, 0, 0..3), "other heads");
    let mut o = [0.0; 72];
    let view = ViewMut::packed(&mut o, SHAPE.o()).unwrap().into();
    let mut claim = Claim::output(SHAPE, Level::Scalar, grid(), view, None).unwrap();
    assert!(claim.sequence(shape, 0, &(0..3), grid()).is_none(), "not one behind the other");
}

#[test]
fn a_share_of_states_has_its_own_heads_only_and_each_state_once() {
    let shape = LinearShape { batch: 2, len: 3, heads: LinearHeads::new(2, 4) };
    let level = Available::new(Level::Scalar).unwrap();
    let (mut state, mut sums) = ([1.0_f32; 64], [0.0; 36]);
    let (mut o, mut condition) = ([0.0_f32; 48], [0.0; 12]);
    let memory = Memory::new(&mut state, &shape).unwrap().normaliser(&mut sums, &shape).unwrap();
    let out = ViewMut::packed(&mut o, shape.o()).unwrap().into();
    let lent = Lent::new(shape, level, Some(out), Some(&mut condition), memory).unwrap();
    let mut share = lent.shares(NonZero::new(2).unwrap()).nth(1).unwrap();
    let owned = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 1], [0, 2], [0, 3]];
    let owned = owned.map(|at| share.head(at).is_some());
    assert_eq!(owned, [false, true, false, true, false, false, false]);

    let mut head = share.head([1, 1]).unwrap();
    assert_eq!(head.in_place().map(|state| state.len()), Some(16));
    assert!(
        head.in_place().is_none() && head.normaliser().is_some() && head.normaliser().is_none()
    );
    // A state in place is neither copied nor written.
    let mut copied = [7.0; 64];
    head.load(&mut copied, 16);
    head.store(&[9.0; 64], 16);
    assert_eq!(copied, [7.0; 64]);
    // Tokens and heads that there are not.
    for (token, n) in [(3, 0), (0, 1)] {
        head.write(token, n, &[5.0; 4]);
        head.write_condition(token, n, 5.0);
    }
    head.write(2, 0, &[6.0; 4]);
    head.write_condition(2, 0, 6.0);
    assert_eq!(state, [1.0; 64]);

    // Where nothing is to be read, nothing is written.
    let memory = Memory::new(&mut state, &shape).unwrap();
    let mut lent = Lent::new(shape, level, None, None, memory).unwrap();
    let mut head = lent.head([0, 0]).unwrap();
    head.write(0, 0, &[5.0; 4]);
    head.write_condition(0, 0, 5.0);
    assert_eq!(state, [1.0; 64]);
    let written: Vec<f32> = o.iter().chain(&condition).copied().filter(|x| *x != 0.0).collect();
    assert_eq!((written, o[44], condition[11]), (vec![6.0; 5], 6.0, 6.0));
}
