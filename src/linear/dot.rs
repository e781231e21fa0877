//! Sums along a row, in partial sums that are the same on every level. They are never fused: there are few.

/// Partial sums of what is summed along a row: the same ones on every level.
const PARTS: usize = 16;

/// `sum_c q_c (u_c k_c)`.
#[inline(never)]
pub(super) fn weighted(q: &[f32], k: &[f32], u: &[f32]) -> f32 {
    sum(q.iter().zip(k).zip(u).map(|((q, k), u)| q * (u * k)))
}

/// `sum_c x_c y_c`.
#[inline(never)]
pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
    sum(x.iter().zip(y).map(|(x, y)| x * y))
}

/// `sum_c |x_c| y_c`.
#[inline(never)]
pub(super) fn dot_of_magnitudes(x: &[f32], y: &[f32]) -> f32 {
    sum(x.iter().zip(y).map(|(x, y)| x.abs() * y))
}

/// The sum of some terms: partial sums of every sixteenth, then a tree of them.
#[inline(always)]
fn sum(mut terms: impl Iterator<Item = f32>) -> f32 {
    let mut parts = [0.0; PARTS];
    'all: loop {
        for part in &mut parts {
            match terms.next() {
                Some(term) => *part += term,
                None => break 'all,
            }
        }
    }
    let mut half = PARTS / 2;
    while half > 0 {
        for i in 0..half {
            parts[i] += parts[i + half];
        }
        half /= 2;
    }
    parts[0]
}
