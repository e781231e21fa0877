//! Sums along a row, in partial sums that are the same on every level. They are never fused: there are few.

/// Partial sums of what is summed along a row: the same ones on every level.
const PARTS: usize = 16;

/// `sum_c q_c (u_c k_c)`.
#[inline(never)]
pub(super) fn weighted(q: &[f32], k: &[f32], u: &[f32]) -> f32 {
    let mut parts = [0.0; PARTS];
    for ((q, k), u) in q.chunks(PARTS).zip(k.chunks(PARTS)).zip(u.chunks(PARTS)) {
        let terms = whole(q).into_iter().zip(whole(k)).zip(whole(u));
        parts.iter_mut().zip(terms).for_each(|(part, ((q, k), u))| *part += q * (u * k));
    }
    sum(parts)
}

/// `sum_c x_c y_c`.
#[inline(never)]
pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut parts = [0.0; PARTS];
    for (x, y) in x.chunks(PARTS).zip(y.chunks(PARTS)) {
        let terms = whole(x).into_iter().zip(whole(y));
        parts.iter_mut().zip(terms).for_each(|(part, (x, y))| *part += x * y);
    }
    sum(parts)
}

/// `sum_c |x_c| y_c`.
#[inline(never)]
pub(super) fn dot_of_magnitudes(x: &[f32], y: &[f32]) -> f32 {
    let mut parts = [0.0; PARTS];
    for (x, y) in x.chunks(PARTS).zip(y.chunks(PARTS)) {
        let terms = whole(x).into_iter().zip(whole(y));
        parts.iter_mut().zip(terms).for_each(|(part, (x, y))| *part += x.abs() * y);
    }
    sum(parts)
}

/// Some numbers, and zeros behind them.
#[inline(always)]
fn whole(row: &[f32]) -> [f32; PARTS] {
    match row.first_chunk() {
        Some(whole) => *whole,
        None => {
            let mut padded = [0.0; PARTS];
            padded.iter_mut().zip(row).for_each(|(to, x)| *to = *x);
            padded
        }
    }
}

/// The sum of partial sums, as a tree.
#[inline(always)]
fn sum(mut parts: [f32; PARTS]) -> f32 {
    let mut half = PARTS / 2;
    while half > 0 {
        for i in 0..half {
            parts[i] += parts[i + half];
        }
        half /= 2;
    }
    parts[0]
}
