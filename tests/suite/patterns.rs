//! Attention under patterns: certified by their definitions, blind to what a query may not see.

use crate::case::{Case, Output, Rule, arithmetic_of, entries_for, shape};
use crate::states::pieces_of;
use flashlet::entry::Entry;
use flashlet::{
    Attention, BigBird, BlockSparse, Chunks, Dilation, Documents, Globals, Heads, Level, Mask,
    Offset, Pattern, Predicate, Prefix, State, Table, ViewMut, Window,
};
use oracle::{Arithmetic, Form, Pair};

/// By its definition, over the indices of a query and of a key.
type Definition<'a> = Box<dyn Fn(usize, usize) -> bool + 'a>;

/// What patterns are made of, for a number of queries and keys.
struct Lists {
    globals: Vec<u32>,
    ends: [Vec<u32>; 2],
    rows: Vec<u32>,
    columns: Vec<u32>,
    bools: Vec<bool>,
    lens: [usize; 2],
}

/// Queries and keys of a block.
const BLOCK: [usize; 2] = [24, 40];

impl Lists {
    fn random(q_len: usize, kv_len: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let globals = (0..kv_len as u32 + 20).filter(|_| random.u8(..) < 6).collect();
        let mut ends = |len: usize| {
            let mut ends: Vec<u32> = (0..4).map(|_| random.u32(..=len as u32)).collect();
            ends.extend([0, len as u32]);
            ends.sort_unstable();
            ends
        };
        let ends = [ends(q_len), ends(kv_len)];
        let (mut rows, mut columns) = (vec![0], Vec::new());
        for _ in 0..q_len.div_ceil(BLOCK[0]) {
            columns.extend((0..kv_len.div_ceil(BLOCK[1]) as u32).filter(|_| random.u8(..) < 90));
            rows.push(columns.len() as u32);
        }
        let bools = (0..q_len * kv_len).map(|_| random.u8(..) < 30).collect();
        Lists { globals, ends, rows, columns, bools, lens: [q_len, kv_len] }
    }

    /// Calls `check` with each pattern and its definition, at a position.
    fn for_each(&self, offset: i64, mut check: impl FnMut(&str, &dyn Pattern, Definition<'_>)) {
        let [q_len, kv_len] = self.lens;
        let p = move |i: usize| i as i64 + offset;
        let causal = move |i: usize, j: usize| j as i64 <= p(i);
        let near = move |i: usize, j: usize| (p(i) - j as i64).abs() <= 20;
        let window = Mask::full() & Window::span(20, 20);
        let globals = Globals::new(&self.globals).unwrap();
        let is_global = |x: i64| u32::try_from(x).is_ok_and(|x| self.globals.contains(&x));
        let longformer = window.or(globals);
        check(
            "longformer",
            &longformer,
            Box::new(move |i, j| near(i, j) || is_global(p(i)) || is_global(j as i64)),
        );
        let prefix = Prefix(50).or(Mask::causal(Offset::at(offset)));
        check("prefix", &prefix, Box::new(move |i, j| j < 50 || causal(i, j)));
        let chunks = Chunks::new(37).unwrap();
        let llama = chunks.and(Mask::causal(Offset::at(offset)));
        check(
            "chunks",
            &llama,
            Box::new(move |i, j| p(i).div_euclid(37) == j as i64 / 37 && causal(i, j)),
        );
        let dilated = Dilation::new(3).unwrap().and(Mask::full() & Window::span(60, 0));
        let is_dilated =
            move |i, j: usize| (p(i) - j as i64) % 3 == 0 && causal(i, j) && p(i) - j as i64 <= 60;
        check("dilated", &dilated, Box::new(is_dilated));
        let inner = Mask::causal(Offset::BOTTOM_RIGHT);
        let documents = Documents::new(&self.ends[0], &self.ends[1], inner).unwrap();
        let own = |i: usize, j: usize| {
            let [q, k] = &self.ends;
            (0..q.len() - 1).any(|d| {
                let (q, k) = (q[d] as i64..q[d + 1] as i64, k[d] as i64..k[d + 1] as i64);
                let (i, j) = (i as i64, j as i64);
                q.contains(&i)
                    && k.contains(&j)
                    && j - k.start <= i - q.start + (k.end - k.start) - (q.end - q.start)
            })
        };
        check("documents", &documents, Box::new(own));
        let blocks = BlockSparse::new(BLOCK, &self.rows, &self.columns).unwrap();
        let in_block = |i: usize, j: usize| {
            let row = i / BLOCK[0];
            let columns = &self.columns[self.rows[row] as usize..self.rows[row + 1] as usize];
            columns.contains(&((j / BLOCK[1]) as u32))
        };
        check("blocks", &blocks, Box::new(in_block));
        let table = Table::bools(&self.bools, q_len, kv_len);
        let in_table = |i: usize, j: usize| self.bools[i * kv_len + j];
        check("table", &table, Box::new(in_table));
        let odd = Predicate::new(|i: i64, j: i64| (i * 7 + j * 3) % 11 < 4);
        let is_odd = move |i: usize, j: usize| (p(i) * 7 + j as i64 * 3) % 11 < 4;
        check("predicate", &odd, Box::new(is_odd));
        let mixed = blocks.or(documents.and(odd)).and(longformer.or(table));
        check(
            "mixed",
            &mixed,
            Box::new(move |i, j| {
                (in_block(i, j) || own(i, j) && is_odd(i, j))
                    && (near(i, j) || is_global(p(i)) || is_global(j as i64) || in_table(i, j))
            }),
        );
    }
}

fn plan<'p>(case: &Case, entry: Entry, pattern: &'p dyn Pattern) -> Attention<'p> {
    case.plan_of(entry).only(pattern).unwrap()
}

/// Panics unless the output is within the bound of the definition.
fn assert_certified(
    case: &Case,
    entry: &Entry,
    sees: &Definition<'_>,
    output: &Output,
    what: &str,
) {
    assert_certified_as(case, entry, arithmetic_of(entry), sees, output, what);
}

/// The same for an arithmetic that says more than the entry.
fn assert_certified_as(
    case: &Case,
    entry: &Entry,
    arithmetic: Arithmetic,
    sees: &Definition<'_>,
    output: &Output,
    what: &str,
) {
    let visible = |Pair { b, i, j }: Pair| case.sees(b, i, j) && sees(i, j);
    let problem = case.problem(&visible);
    let verdict =
        oracle::certify(&problem, &arithmetic, Form::Running, &output.o, Some(&output.lse));
    assert!(verdict.holds() && verdict.uncertified == 0, "{what} on {}: {verdict}", entry.name());
}

#[test]
fn every_pattern_is_certified_on_every_entry() {
    let heads = Heads { q: 3, kv: 1, dim: 8, v_dim: 6 };
    for (seed, (q_len, kv_len, offset)) in
        (1..).zip([(150, 210, 60), (97, 97, 0), (40, 130, -7), (1, 300, 299), (5, 200, 190)])
    {
        let case = Case::random(
            shape(q_len, kv_len, heads),
            Rule { offset: Some(offset), ..Rule::full() },
            seed,
        );
        Lists::random(q_len, kv_len, seed).for_each(offset, |what, pattern, sees| {
            for entry in entries_for(heads) {
                let output = case.run(&plan(&case, entry, pattern));
                assert_certified(&case, &entry, &sees, &output, what);
            }
        });
    }
}

#[test]
fn a_pattern_and_a_band_meet() {
    let heads = Heads { q: 2, kv: 2, dim: 16, v_dim: 16 };
    let case = Case::random(shape(120, 180, heads), Rule::causal(60).with_sinks(3), 3);
    let mut case = Case { kv_lens: Some(vec![171]), ..case };
    case.rule.window = Some(crate::case::Reach::Keys(90));
    Lists::random(120, 180, 3).for_each(60, |what, pattern, sees| {
        for entry in entries_for(heads) {
            // Positions of a document count from its visible length.
            if what != "documents" && what != "mixed" {
                let output = case.run(&plan(&case, entry, pattern));
                assert_certified(&case, &entry, &sees, &output, what);
            }
        }
    });
}

#[test]
fn what_a_query_may_not_see_changes_no_bit() {
    let heads = Heads { q: 2, kv: 1, dim: 8, v_dim: 8 };
    let (q_len, kv_len) = (70, 150);
    let case =
        Case::random(shape(q_len, kv_len, heads), Rule { offset: Some(80), ..Rule::full() }, 5);
    Lists::random(q_len, kv_len, 5).for_each(80, |what, pattern, sees| {
        for entry in entries_for(heads) {
            let plan = plan(&case, entry, pattern);
            let clean = case.run(&plan);
            for poisoned in [0, 77, 96, 149] {
                let mut case = case.clone();
                let row = |x: &mut [f32]| x[poisoned * 8..][..8].fill(f32::NAN);
                row(&mut case.k);
                row(&mut case.v);
                let output = case.run(&plan);
                for i in (0..q_len).filter(|i| !sees(*i, poisoned)) {
                    let range = i * 16..(i + 1) * 16;
                    let (a, b) = (&output.o[range.clone()], &clean.o[range]);
                    assert!(
                        a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()),
                        "{what} {} {i}",
                        entry.name()
                    );
                }
            }
        }
    });
}

#[test]
fn keys_split_under_a_pattern_merge_within_the_bound() {
    let heads = Heads { q: 2, kv: 1, dim: 8, v_dim: 6 };
    let case = Case::random(shape(60, 200, heads), Rule { offset: Some(140), ..Rule::full() }, 7);
    Lists::random(60, 200, 7).for_each(140, |what, pattern, sees| {
        let entry = *Attention::new(case.shape, Mask::full())
            .unwrap()
            .level(Level::detect())
            .unwrap()
            .entry();
        let mut pieces = pieces_of(&case, &plan(&case, entry, pattern), &[60, 96, 150]);
        let mut merged = pieces.remove(0);
        let mut state = State::from_storage(&mut merged, &case.shape).unwrap();
        for piece in &mut pieces {
            state.merge(&State::from_storage(piece, &case.shape).unwrap()).unwrap();
        }
        let mut output = case.unwritten();
        state
            .finish(ViewMut::packed(&mut output.o, case.shape.o()).unwrap(), Some(&mut output.lse))
            .unwrap();
        let arithmetic = arithmetic_of(&entry).split(4);
        assert_certified_as(&case, &entry, arithmetic, &sees, &output, what);
    });
}

#[test]
fn heads_may_see_different_blocks() {
    let heads = Heads { q: 4, kv: 2, dim: 8, v_dim: 8 };
    // Many queries, and few, which the heads of a decoding step share tiles for.
    for (q_len, kv_len) in [(70, 130), (3, 130)] {
        let case = Case::random(shape(q_len, kv_len, heads), Rule::full(), 9);
        let (mut rows, mut columns) = (vec![0], Vec::new());
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..4 * q_len.div_ceil(32) {
            columns.extend((0..kv_len.div_ceil(32) as u32).filter(|_| random.bool()));
            rows.push(columns.len() as u32);
        }
        let pattern = BlockSparse::for_heads(4, [32, 32], &rows, &columns).unwrap();
        for entry in entries_for(heads) {
            let together = case.run(&plan(&case, entry, &pattern));
            for h in 0..4 {
                let per_head = (rows.len() - 1) / 4;
                let of_head = &rows[h * per_head..=(h + 1) * per_head];
                let (start, end) = (of_head[0] as usize, of_head[per_head] as usize);
                let own_rows: Vec<u32> = of_head.iter().map(|row| row - of_head[0]).collect();
                let own = BlockSparse::new([32, 32], &own_rows, &columns[start..end]).unwrap();
                // The same pattern for every head: its head `h` must be that of the other call.
                let alone = case.run(&plan(&case, entry, &own));
                for i in 0..q_len {
                    let of_row = (i * 4 + h) * 8..(i * 4 + h + 1) * 8;
                    let (found, expected) = (&together.o[of_row.clone()], &alone.o[of_row]);
                    assert_eq!(found, expected, "{} {i} {h}", entry.name());
                }
            }
        }
    }
}

#[test]
fn big_bird_sees_its_window_its_globals_and_what_was_drawn() {
    let (blocks, random) = (12, 2);
    let bird = BigBird::new(2, blocks, random).unwrap();
    let mut drawn = vec![0; bird.random_len()];
    bird.draw(7, &mut drawn).unwrap();
    let (mut rows, mut columns) = (vec![0; bird.rows_len()], vec![0; bird.columns_len()]);
    let pattern = bird.build(8, &drawn, &mut rows, &mut columns).unwrap();
    let heads = Heads { q: 2, kv: 2, dim: 1, v_dim: blocks * 8 };
    let len = blocks * 8;
    // Values are unit vectors: channel `j` of an output is above 0 where key `j` is seen.
    let mut case = Case::random(shape(len, len, heads), Rule::full(), 1);
    case.q.fill(0.0);
    let unit = |at: usize| f32::from(u8::from(at / (2 * len) == at % len));
    case.v = (0..2 * len * len).map(unit).collect();
    let output = case.run(&case.plan().only(&pattern).unwrap());
    for (i, h) in (0..len).flat_map(|i| (0..2).map(move |h| (i, h))) {
        let row = i / 8;
        for j in 0..len {
            let column = j / 8;
            let ends = [0, blocks - 1];
            let list = if ends.contains(&row) {
                &[][..]
            } else {
                &drawn[(h * (blocks - 2) + row - 1) * random..][..random]
            };
            assert!(
                list.iter().all(|block| (*block as usize).abs_diff(row) > 1
                    && !ends.contains(&(*block as usize)))
            );
            let sees = ends.contains(&row)
                || ends.contains(&column)
                || row.abs_diff(column) <= 1
                || list.contains(&(column as u32));
            assert_eq!(output.o[(i * 2 + h) * len + j] > 0.0, sees, "{i} {j} of head {h}");
        }
    }
}

#[test]
fn pairs_of_bf16_obey_patterns() {
    let heads = Heads::new(2, 1, 64);
    let case = Case::random(shape(100, 170, heads), Rule { offset: Some(70), ..Rule::full() }, 11);
    let rounded =
        |x: &[f32]| x.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect::<Vec<f32>>();
    let case = Case { q: rounded(&case.q), k: rounded(&case.k), v: rounded(&case.v), ..case };
    Lists::random(100, 170, 11).for_each(70, |what, pattern, sees| {
        for entry in crate::case::pair_entries().into_iter().filter(|entry| entry.fits(heads)) {
            let output = case.run(&plan(&case, entry, pattern));
            assert_certified(&case, &entry, &sees, &output, what);
        }
    });
}

#[test]
fn contradictory_patterns_give_empty_rows() {
    let case = Case::random(shape(5, 9, Heads::new(1, 1, 8)), Rule::causal(4), 13);
    let never = Prefix(3).and(Predicate::new(|_, key| key > 3));
    let output = case.run(&case.plan().only(&never).unwrap());
    assert!(
        output.o.iter().all(|x| x.to_bits() == 0)
            && output.lse.iter().all(|x| *x == f32::NEG_INFINITY)
    );
}

#[test]
fn leading_global_tokens_are_computed_apart_to_the_same_bits() {
    // The same pairs twice: with tokens that lead, and as a table, which says of none that it does.
    let globals: Vec<u32> = (0..19).chain([40, 77]).collect();
    let window = Mask::full() & Window::span(9, 4);
    let longformer = window.or(Globals::new(&globals).unwrap());
    assert_eq!(longformer.lead(), 19);
    for (heads, offset) in
        [(Heads::new(2, 2, 32), 0), (Heads::new(6, 2, 8), 0), (Heads::new(3, 1, 8), 7)]
    {
        let (q_len, kv_len) = (150, 170);
        let rule = Rule { offset: Some(offset), ..Rule::full() };
        let case = Case::random(shape(q_len, kv_len, heads), rule, 14);
        let listed = globals.clone();
        let is_global = move |x: i64| listed.iter().any(|global| i64::from(*global) == x);
        let sees: Definition<'_> = Box::new(move |i, j| {
            let (p, j) = (i as i64 + offset, j as i64);
            (-4..=9).contains(&(p - j)) || is_global(p) || is_global(j)
        });
        let cells: Vec<bool> =
            (0..q_len * kv_len).map(|at| sees(at / kv_len, at % kv_len)).collect();
        let table = Table::bools(&cells, q_len, kv_len);
        for entry in entries_for(heads) {
            let output = case.run(&plan(&case, entry, &longformer));
            output.assert_same(&case.run(&plan(&case, entry, &table)), entry.name());
            assert_certified(&case, &entry, &sees, &output, "leading");
            let plan = plan(&case, entry, &longformer);
            let mut parts = case.unwritten();
            let mut scratch = vec![f32::NAN; 3 * plan.scratch_len()];
            let outputs = parts.as_outputs(case.shape);
            let call = plan.bind(case.inputs(), outputs, &mut scratch).unwrap();
            call.parts(3).unwrap().for_each(|part| part.run());
            parts.assert_same(&output, entry.name());
        }
    }
}
