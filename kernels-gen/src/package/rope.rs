//! Rotary positions: their part of the view.

use crate::render::thousands;
use crate::spec::{Frequencies, SpecRope};
use flashlet::Rope;
use serde::Serialize;

/// Rotary positions as the crate holds them.
#[derive(Serialize)]
pub(super) struct RopeView {
    words: String,
    bytes: String,
    rot_dim: usize,
    first: usize,
    /// `Halves`: the variant of `Pairing`.
    pairing: String,
    is_exact: bool,
    /// Literals, some a line.
    frequencies: Vec<String>,
    amplitude: String,
    table: Option<usize>,
    no_rope_every: Option<usize>,
    /// Literals of the table, a line a position.
    rows: Vec<String>,
}

impl RopeView {
    pub(super) fn new(rope: &SpecRope) -> Result<Self, flashlet::Error> {
        let literals = match &rope.frequencies {
            Frequencies::Exact(turns) => turns.iter().map(|turn| format!("{turn:#018x}")).collect(),
            Frequencies::F32Compatible(inv_freq) => floats(inv_freq),
        };
        Ok(RopeView {
            words: rope.to_string(),
            bytes: thousands(rope.bytes() as u64),
            rot_dim: rope.rot_dim(),
            first: rope.first,
            pairing: format!("{:?}", rope.pairing),
            is_exact: matches!(rope.frequencies, Frequencies::Exact(_)),
            frequencies: literals.chunks(4).map(|line| line.join(", ")).collect(),
            amplitude: format!("{:?}", rope.amplitude),
            table: rope.table,
            no_rope_every: rope.no_rope_every,
            rows: rows(rope)?,
        })
    }
}

/// The rows of a table, as literals.
fn rows(rope: &SpecRope) -> Result<Vec<String>, flashlet::Error> {
    let angles = Rope::new(rope.phase(), rope.amplitude, rope.pairing)?;
    let mut table = vec![0.0; rope.table.unwrap_or(0) * rope.rot_dim()];
    angles.fill_table(0, &mut table)?;
    Ok(table.chunks(rope.rot_dim()).map(|row| floats(row).join(", ")).collect())
}

/// The shortest literals that are these numbers.
fn floats(numbers: &[f32]) -> Vec<String> {
    numbers.iter().map(|x| format!("{x:?}")).collect()
}
