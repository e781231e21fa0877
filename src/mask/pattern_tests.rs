//! Patterns and their compositions against their definitions, pair by pair.

use super::{
    BigBird, BlockSparse, Chunks, Coverage, Dilation, Documents, Globals, Mask, Offset, Only,
    Pattern, Place, Predicate, Prefix, Table, Window,
};
use std::boxed::Box;
use std::format;
use std::vec::Vec;

const Q_LEN: usize = 9;
const KV_LEN: usize = 14;

/// A pattern and its definition, over the indices of a query and of a key.
struct Known<'a> {
    name: &'static str,
    pattern: &'a dyn Pattern,
    sees: Box<dyn Fn(usize, usize) -> bool + 'a>,
}

fn known<'a>(
    name: &'static str,
    pattern: &'a dyn Pattern,
    sees: impl Fn(usize, usize) -> bool + 'a,
) -> Known<'a> {
    Known { name, pattern, sees: Box::new(sees) }
}

fn place(offset: i64) -> Place {
    Place { sequence: 0, head: 0, offset, q_len: Q_LEN, kv_len: KV_LEN }
}

/// Every answer for every range of queries and of keys.
fn check(known: &Known<'_>, place: &Place) {
    let Known { name, pattern, sees } = known;
    for (first, end) in (0..Q_LEN).flat_map(|a| (a + 1..=Q_LEN).map(move |b| (a, b))) {
        let queries = first..end;
        for start in 0..KV_LEN {
            let visible = |j: usize| queries.clone().any(|i| sees(i, j));
            let next = pattern.next(place, &queries, start);
            let passed = start..next.unwrap_or(KV_LEN);
            assert!(
                passed.clone().all(|j| !visible(j)),
                "{name} {queries:?}: {passed:?} passed over"
            );
            assert!(next.is_none_or(|key| key >= start && key < KV_LEN), "{name}: {next:?}");
            for stop in start + 1..=KV_LEN {
                let keys = start..stop;
                let pairs = || keys.clone().flat_map(|j| queries.clone().map(move |i| (i, j)));
                match pattern.coverage(place, &queries, &keys) {
                    Coverage::None => {
                        assert!(pairs().all(|(i, j)| !sees(i, j)), "{name} {queries:?} {keys:?}")
                    }
                    Coverage::All => {
                        assert!(pairs().all(|(i, j)| sees(i, j)), "{name} {queries:?} {keys:?}")
                    }
                    Coverage::Some => {}
                }
                // Words that were narrowed before stay narrow.
                let mut seen: Vec<u64> = keys.clone().map(|j| u64::MAX - (j as u64 & 3)).collect();
                pattern.restrict(place, &queries, &keys, &mut seen);
                for (i, j) in pairs() {
                    let before = (u64::MAX - (j as u64 & 3)) >> (i - first) & 1 == 1;
                    let bit = seen[j - start] >> (i - first) & 1 == 1;
                    assert_eq!(
                        bit,
                        before && sees(i, j),
                        "{name}: {i} {j} of {queries:?} {keys:?}"
                    );
                }
            }
        }
    }
}

/// Calls `check` with patterns of every kind, at some positions.
fn for_each(mut check: impl FnMut(&[Known<'_>], &Place)) {
    let (ends, key_ends) = ([0, 2, 2, 7, Q_LEN as u32], [0, 5, 6, 6, KV_LEN as u32]);
    let (rows, columns) = ([0, 2, 2, 5], [0, 3, 1, 2, 4]);
    let bools: Vec<bool> = (0..Q_LEN * KV_LEN).map(|cell| cell % 5 < 2 && cell % 7 != 1).collect();
    let mut bits = [0_u8; (Q_LEN * KV_LEN).div_ceil(8)];
    bools
        .iter()
        .enumerate()
        .filter(|(_, cell)| **cell)
        .for_each(|(at, _)| bits[at / 8] |= 1 << (at % 8));
    for offset in [-4, 0, 3, 9] {
        let p = move |i: usize| i as i64 + offset;
        let globals = Globals::new(&[0, 5, 6, 11]).unwrap();
        let (chunks, dilation) = (Chunks::new(4).unwrap(), Dilation::new(3).unwrap());
        let causal = Mask::causal(Offset::at(offset));
        let window = Mask::full() & Window::span(2, 1);
        let own = Mask::window(Offset::at(1), Window::keys(3)).sinks(1);
        let blocks = BlockSparse::new([3, 3], &rows, &columns).unwrap();
        let inner = Mask::causal(Offset::BOTTOM_RIGHT) & Window::keys(3);
        let documents = Documents::new(&ends, &key_ends, inner).unwrap();
        let packed = Documents::new(&ends, &key_ends, Mask::full()).unwrap();
        let table = Table::bools(&bools, Q_LEN, KV_LEN);
        let bit_table = Table::bits(&bits, Q_LEN, KV_LEN);
        let even = Predicate::new(|i: i64, j: i64| (i + j) % 2 == 0);
        let late = Predicate::new(|i: i64, j: i64| j > i + 2).tiles(|i, j| match () {
            () if j.start > i.end + 1 => Coverage::All,
            () if j.end <= i.start + 3 => Coverage::None,
            () => Coverage::Some,
        });
        let document =
            move |i: usize| (0..4).find(|d| (ends[*d]..ends[d + 1]).contains(&(i as u32)));
        let same = move |i: usize, j: usize| {
            document(i).filter(|d| (key_ends[*d]..key_ends[d + 1]).contains(&(j as u32)))
        };
        let is_global = |x: i64| [0, 5, 6, 11].contains(&x);
        let all = [
            known("prefix", &Prefix(5), |_, j| j < 5),
            known("globals", &globals, move |i, j| is_global(p(i)) || is_global(j as i64)),
            known("chunks", &chunks, move |i, j| p(i).div_euclid(4) == j as i64 / 4),
            known("dilation", &dilation, move |i, j| (p(i) - j as i64) % 3 == 0),
            known("causal", &causal, move |i, j| j as i64 <= p(i)),
            known("window", &window, move |i, j| (p(i) - 2..=p(i) + 1).contains(&(j as i64))),
            known("own", &own, |i, j| j <= i + 1 && (j + 2 > i || j == 0)),
            known("blocks", &blocks, move |i, j| {
                columns[rows[i / 3] as usize..rows[i / 3 + 1] as usize].contains(&(j as u32 / 3))
            }),
            known("documents", &documents, move |i, j| {
                same(i, j).is_some_and(|d| {
                    let (q, k) = (i as i64 - i64::from(ends[d]), j as i64 - i64::from(key_ends[d]));
                    let lens = [ends, key_ends].map(|ends| i64::from(ends[d + 1] - ends[d]));
                    let q = q + lens[1] - lens[0];
                    k <= q && k > q - 3
                })
            }),
            known("packed", &packed, move |i, j| same(i, j).is_some()),
            known("bools", &table, |i, j| bools[i * KV_LEN + j]),
            known("bits", &bit_table, |i, j| bools[i * KV_LEN + j]),
            known("even", &even, move |i, j| (p(i) + j as i64) % 2 == 0),
            known("late", &late, move |i, j| j as i64 > p(i) + 2),
        ];
        check(&all, &place(offset));
    }
}

#[test]
fn patterns_are_what_their_definitions_say() {
    for_each(|all, place| all.iter().for_each(|known| check(known, place)));
}

#[test]
fn compositions_are_what_their_definitions_say() {
    for_each(|all, place| {
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            let (and, or) = (a.pattern.and(b.pattern), a.pattern.or(b.pattern));
            check(&known("and", &and, |i, j| (a.sees)(i, j) && (b.sees)(i, j)), place);
            check(&known("or", &or, |i, j| (a.sees)(i, j) || (b.sees)(i, j)), place);
        }
        let [a, b, c] = [2, 5, 7].map(|at| &all[at]);
        let deep = a.pattern.or(b.pattern).and(c.pattern.or(a.pattern));
        let sees = |i, j| ((a.sees)(i, j) || (b.sees)(i, j)) && ((c.sees)(i, j) || (a.sees)(i, j));
        check(&known("deep", &deep, sees), place);
    });
}

#[test]
fn nobody_sees_what_lies_beyond_the_last_key() {
    for_each(|all, place| {
        for Known { name, pattern, .. } in all {
            for key in [KV_LEN, KV_LEN + 1, 1000] {
                assert_eq!(pattern.next(place, &(0..Q_LEN), key), None, "{name} {key}");
            }
        }
    });
    // A mask knows how many keys there are, a table how many queries too.
    let cells = [true; Q_LEN * KV_LEN];
    let (causal, table) = (Mask::causal(Offset::at(99)), Table::bools(&cells, Q_LEN, KV_LEN));
    for (pattern, last) in [(&causal as &dyn Pattern, 0b11), (&table, 0b01)] {
        let mut seen = [u64::MAX; 3];
        let keys = KV_LEN - 1..KV_LEN + 2;
        pattern.restrict(&place(0), &(Q_LEN - 1..Q_LEN + 1), &keys, &mut seen);
        assert_eq!(seen.map(|seen| seen & 0b11), [last, 0, 0]);
    }
}

#[test]
fn a_head_without_block_rows_sees_nothing() {
    let blocks = BlockSparse::for_heads(2, [9, 14], &[0, 1, 2], &[0, 0]).unwrap();
    for (head, coverage) in [(0, Coverage::All), (1, Coverage::All), (2, Coverage::None)] {
        let place = Place { head, ..place(0) };
        assert_eq!(blocks.coverage(&place, &(0..Q_LEN), &(0..KV_LEN)), coverage, "{head}");
        let first = (coverage == Coverage::All).then_some(3);
        assert_eq!(blocks.next(&place, &(0..Q_LEN), 3), first, "{head}");
    }
}

#[test]
fn chunks_and_steps_may_be_as_large_as_can_be() {
    for size in [usize::MAX, usize::MAX / 2, usize::MAX / 2 - 1] {
        let (chunks, dilation) = (Chunks::new(size).unwrap(), Dilation::new(size).unwrap());
        for offset in [-4, 0, 3] {
            let p = move |i: usize| i as i64 + offset;
            check(&known("chunks", &chunks, |i, _| p(i) >= 0), &place(offset));
            check(&known("dilation", &dilation, |i, j| p(i) == j as i64), &place(offset));
        }
    }
}

#[test]
fn a_composition_differs_by_head_and_needs_positions_if_either_part_does() {
    let heads = BlockSparse::for_heads(2, [9, 14], &[0, 1, 2], &[0, 0]).unwrap();
    let (globals, prefix) = (Globals::new(&[0, 1, 5]).unwrap(), Prefix(3));
    let said = |pattern: &dyn Pattern| {
        (pattern.differs_by_head(), pattern.needs_positions(), pattern.lead())
    };
    for (pattern, expected) in [
        (&prefix.and(prefix) as &dyn Pattern, (false, false, 0)),
        (&prefix.or(prefix), (false, false, 0)),
        (&prefix.and(heads), (true, false, 0)),
        (&heads.and(prefix), (true, false, 0)),
        (&prefix.or(heads), (true, false, 0)),
        (&heads.or(prefix), (true, false, 0)),
        (&globals.and(prefix), (false, true, 2)),
        (&prefix.and(globals), (false, true, 2)),
        (&globals.or(heads), (true, true, 2)),
        (&heads.or(&globals), (true, true, 2)),
    ] {
        assert_eq!(said(pattern), expected);
    }
    assert_eq!(format!("{:?}, {:?}", Only(Some(&prefix)), Only(None)), "a pattern, no pattern");
}

/// `Some` would be right too, but slow.
#[test]
fn whole_tiles_are_known_inside_a_document_and_of_a_table() {
    let documents =
        Documents::new(&[0, 4, Q_LEN as u32], &[0, 6, KV_LEN as u32], Mask::full()).unwrap();
    let cells: Vec<bool> =
        (0..Q_LEN * KV_LEN).map(|at| at % KV_LEN < 6 && at < 4 * KV_LEN).collect();
    let table = Table::bools(&cells, Q_LEN, KV_LEN);
    let place = place(0);
    for (queries, keys, coverage) in [
        (0..4, 0..6, Coverage::All),
        (1..3, 2..5, Coverage::All),
        (0..4, 6..9, Coverage::None),
        (0..4, 5..9, Coverage::Some),
        (3..5, 0..6, Coverage::Some),
    ] {
        let of = |pattern: &dyn Pattern| pattern.coverage(&place, &queries, &keys);
        assert_eq!((of(&documents), of(&table)), (coverage, coverage), "{queries:?} {keys:?}");
    }
}

/// The same on every machine, for ever. The list is by another implementation of splitmix64.
#[test]
fn birds_draw_the_same_blocks_wherever_they_fly() {
    let bird = BigBird::new(2, 9, 2).unwrap();
    assert_eq!((bird.random_len(), bird.rows_len(), bird.columns_len()), (28, 19, 134));
    let mut random = [0; 28];
    bird.draw(7, &mut random).unwrap();
    let by_hand =
        [3, 7, 5, 4, 1, 7, 7, 6, 1, 3, 3, 1, 3, 1, 3, 4, 5, 7, 5, 7, 1, 6, 3, 1, 2, 4, 3, 4];
    assert_eq!(random, by_hand);
}
