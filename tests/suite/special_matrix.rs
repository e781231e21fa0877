//! Special values in every kernel, of every format and on every level, against the table of what must come out.

use crate::case::{Case, Output, shape};
use crate::special_cells::Cell;
use crate::special_table::{CHANNEL, HEAD, HEADS, KEY, Out, Place, Row, TABLE};
use flashlet::Shape;
use std::fmt::Write;

/// What a cell must give for a row, and what it gave.
struct Run<'a> {
    row: &'a Row,
    cell: &'a Cell,
    case: Case,
    clean: Output,
    found: Output,
    /// Values as they are kept, `[kv_len, kv_heads, v_dim]`.
    kept: Vec<f32>,
}

impl<'a> Run<'a> {
    fn new(row: &'a Row, cell: &'a Cell) -> Self {
        let shape = shape(cell.q_len, row.kv_len, HEADS);
        let mut case = Case::random(shape, (row.rule)(shape), 1);
        (row.given)(&mut case, cell.format);
        let bias: Vec<f32> =
            (0..row.kv_len).map(|j| if j == KEY { f32::NEG_INFINITY } else { 0.0 }).collect();
        let bias = row.is_biased.then_some(&*bias);
        let (clean, _) = cell.run(&case, bias);
        (row.poison)(&mut case);
        let (found, kept) = cell.run(&case, bias);
        Run { row, cell, case, clean, found, kept }
    }

    fn place(&self, [i, h, c]: [usize; 3], is_lse: bool) -> Place {
        let Shape { q_len, kv_len, .. } = self.case.shape;
        let (is_served, shared) = (h / HEADS.group() == HEAD, self.cell.format.shared(HEADS.v_dim));
        Place {
            own: (i + kv_len).saturating_sub(q_len),
            is_query: [i, h] == [q_len - 2, HEAD * HEADS.group()],
            sees: is_served && self.case.sees(0, i, KEY),
            is_served,
            is_column: c / shared == CHANNEL / shared,
            is_lse,
        }
    }

    /// Says what is wrong with one number, if something is.
    fn fault(&self, place: [usize; 3], is_lse: bool, at: usize) -> Option<String> {
        let [i, h, c] = place;
        let (found, clean) = match is_lse {
            true => (self.found.lse[at], self.clean.lse[at]),
            false => (self.found.o[at], self.clean.o[at]),
        };
        let out = (self.row.out)(&self.place(place, is_lse));
        let value = |j| self.kept[(j * HEADS.kv + h / HEADS.group()) * HEADS.v_dim + c];
        let is_right = match out {
            Out::Same => found.to_bits() == clean.to_bits(),
            Out::Nan => found.is_nan(),
            Out::NotFinite => !found.is_finite(),
            Out::PlusZero => found.to_bits() == 0,
            Out::Zero => found == 0.0,
            Out::MinusInfinity => found == f32::NEG_INFINITY,
            Out::One => (found - 1.0).abs() < 0.01,
            Out::Value(j) => found == value(j),
            Out::Anything => true,
        };
        let Cell { kernel, format, level, .. } = self.cell;
        let what = if is_lse { "lse".into() } else { format!("channel {c}") };
        (!is_right).then(|| {
            format!(
                "{} | {kernel:?} {} {} | {format:?} | {level}: query {i} of head {h}, {what}: {found:e}, must be {out:?} ({clean:e} without)",
                self.row.name, self.cell.q_len, self.cell.name(),
            )
        })
    }

    /// The first fault of all its numbers.
    fn first_fault(&self) -> Option<String> {
        let queries = self.cell.q_len;
        let lses = 0..self.found.lse.len();
        let of_lse = |at| self.fault([at % queries, at / queries, 0], true, at);
        let of_o = |at: usize| {
            let (row, c) = (at / HEADS.v_dim, at % HEADS.v_dim);
            self.fault([row / HEADS.q, row % HEADS.q, c], false, at)
        };
        (0..self.found.o.len()).find_map(of_o).or_else(|| lses.clone().find_map(of_lse))
    }
}

#[test]
fn special_values_come_out_as_the_policy_says() {
    let cells = Cell::all(HEADS);
    let mut faults = String::new();
    let mut run = 0;
    for row in TABLE {
        for (void, why) in row.voids {
            assert!(cells.iter().any(|cell| void.is(cell)), "{}: {void:?}, {why}", row.name);
        }
        let means = |cell: &&Cell| !row.voids.iter().any(|(void, _)| void.is(cell));
        for cell in cells.iter().filter(means) {
            run += 1;
            if let Some(fault) = Run::new(row, cell).first_fault() {
                writeln!(faults, "{fault}").unwrap();
            }
        }
    }
    println!("{run} cells of {} rows and {} columns", TABLE.len(), cells.len());
    assert!(faults.is_empty(), "row | kernel | format | level\n{faults}");
}
