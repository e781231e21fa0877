//! Random compositions of patterns, against the same composition of their definitions.

use crate::case::{Case, Rule, arithmetic_of, entries_for, shape};
use flashlet::{
    BlockSparse, Chunks, Dilation, Globals, Heads, Mask, Pattern, Predicate, Prefix, Window,
};
use oracle::{Form, Pair};
use proptest::prelude::*;

/// A pattern, and whether query `i` at position `p` sees key `j`.
struct Known {
    /// It lives as long as the program.
    pattern: &'static dyn Pattern,
    sees: Box<dyn Fn(usize, i64, usize) -> bool>,
}

fn known(
    pattern: impl Pattern + 'static,
    sees: impl Fn(usize, i64, usize) -> bool + 'static,
) -> Known {
    Known { pattern: Box::leak(Box::new(pattern)), sees: Box::new(sees) }
}

/// One of each kind, by some numbers.
fn leaf(kind: usize, [a, b]: [usize; 2]) -> Known {
    match kind {
        0 => known(Prefix(a), move |_, _, j| j < a),
        1 => {
            let list: &'static [u32] = vec![a as u32, (a + b + 1) as u32].leak();
            let is_global =
                |x: i64, list: &[u32]| list.iter().any(|global| i64::from(*global) == x);
            let globals = Globals::new(list).unwrap();
            known(globals, move |_, p, j| is_global(p, list) || is_global(j as i64, list))
        }
        2 => known(Chunks::new(a + 1).unwrap(), move |_, p, j| {
            p.div_euclid(a as i64 + 1) == j as i64 / (a as i64 + 1)
        }),
        3 => known(Dilation::new(b % 9 + 1).unwrap(), move |_, p, j| {
            (p - j as i64) % (b as i64 % 9 + 1) == 0
        }),
        4 => known(Mask::full() & Window::span(a, b), move |_, p, j| {
            (p - a as i64..=p + b as i64).contains(&(j as i64))
        }),
        5 => known(Predicate::new(move |p, j| (p * 3 + j) % 7 < b as i64 % 7), move |_, p, j| {
            (p * 3 + j as i64) % 7 < b as i64 % 7
        }),
        _ => {
            // Blocks of 32 queries and 48 keys, every third of them.
            let columns: Vec<u32> = (0..3)
                .flat_map(|row| (0..5).filter(move |c| (row + c + a as u32).is_multiple_of(3)))
                .collect();
            let count =
                |row: u32| (0..5).filter(|c| (row + c + a as u32).is_multiple_of(3)).count() as u32;
            let rows =
                vec![0, count(0), count(0) + count(1), count(0) + count(1) + count(2)].leak();
            let blocks = BlockSparse::new([32, 48], rows, columns.leak()).unwrap();
            known(blocks, move |i, _, j| (i / 32 + j / 48 + a).is_multiple_of(3))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_compositions_are_certified_on_every_entry(
        seed in any::<u64>(),
        q_len in 65..96_usize,
        kv_len in 193..240_usize,
        offset in -30..200_i64,
        terms in proptest::collection::vec((0..7_usize, [0..120_usize, 0..120_usize], any::<bool>()), 1..5),
    ) {
        let heads = Heads { q: 3, kv: 1, dim: 4, v_dim: 4 };
        let case = Case::random(shape(q_len, kv_len, heads), Rule { offset: Some(offset), ..Rule::full() }, seed);
        let joined = terms.into_iter().map(|(kind, numbers, or)| (leaf(kind, numbers), or));
        let joined = joined.reduce(|(all, _), (term, or)| {
            let (a, b) = (all.sees, term.sees);
            let sees = move |i, p, j| if or { a(i, p, j) || b(i, p, j) } else { a(i, p, j) && b(i, p, j) };
            let (a, b) = (all.pattern, term.pattern);
            (if or { known(a.or(b), sees) } else { known(a.and(b), sees) }, or)
        });
        let Some((Known { pattern, sees }, _)) = joined else { return Ok(()) };
        let visible = |Pair { b, i, j }: Pair| case.sees(b, i, j) && sees(i, i as i64 + offset, j);
        let problem = case.problem(&visible);
        for entry in entries_for(heads) {
            let output = case.run(&case.plan_of(entry).only(pattern).unwrap());
            let arithmetic = arithmetic_of(&entry);
            let verdict = oracle::certify(&problem, &arithmetic, Form::Running, &output.o, Some(&output.lse));
            prop_assert!(verdict.holds() && verdict.uncertified == 0, "{}: {}", entry.name(), verdict);
        }
    }
}
