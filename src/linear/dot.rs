//! Sums along a row, in partial sums that are the same on every level. They are never fused: there are few.

/// Partial sums of what is summed along a row: the same ones on every level.
const PARTS: usize = 16;

/// `sum_c q_c (u_c k_c)`.
#[inline(never)]
pub(super) fn weighted(q: &[f32], k: &[f32], u: &[f32]) -> f32 {
    // Rows of queries and keys may be longer: padded by zeros.
    let [q, k, u] = [q, k, u].map(|row| row.get(..u.len()).unwrap_or(row).as_chunks::<PARTS>());
    let ((q, q_rest), (k, k_rest), (u, u_rest)) = (q, k, u);
    let mut parts = [0.0; PARTS];
    for ((q, k), u) in q.iter().zip(k).zip(u) {
        for (n, part) in parts.iter_mut().enumerate() {
            *part += q[n] * (u[n] * k[n]);
        }
    }
    let rest = q_rest.iter().zip(k_rest).zip(u_rest);
    parts.iter_mut().zip(rest).for_each(|(part, ((q, k), u))| *part += q * (u * k));
    sum(parts)
}

/// `sum_c x_c y_c`.
#[inline(never)]
pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let [x, y] = [x, y].map(|row| row.get(..y.len()).unwrap_or(row).as_chunks::<PARTS>());
    let ((x, x_rest), (y, y_rest)) = (x, y);
    let mut parts = [0.0; PARTS];
    for (x, y) in x.iter().zip(y) {
        for (n, part) in parts.iter_mut().enumerate() {
            *part += x[n] * y[n];
        }
    }
    parts.iter_mut().zip(x_rest.iter().zip(y_rest)).for_each(|(part, (x, y))| *part += x * y);
    sum(parts)
}

/// `sum_c |x_c| y_c`.
#[inline(never)]
pub(super) fn dot_of_magnitudes(x: &[f32], y: &[f32]) -> f32 {
    let [x, y] = [x, y].map(|row| row.get(..y.len()).unwrap_or(row).as_chunks::<PARTS>());
    let ((x, x_rest), (y, y_rest)) = (x, y);
    let mut parts = [0.0; PARTS];
    for (x, y) in x.iter().zip(y) {
        for (n, part) in parts.iter_mut().enumerate() {
            *part += x[n].abs() * y[n];
        }
    }
    let rest = x_rest.iter().zip(y_rest);
    parts.iter_mut().zip(rest).for_each(|(part, (x, y))| *part += x.abs() * y);
    sum(parts)
}

/// The sum of partial sums, as a tree.
#[inline(always)]
fn sum(parts: [f32; PARTS]) -> f32 {
    let eight: [f32; 8] = core::array::from_fn(|n| parts[n] + parts[n + 8]);
    let four: [f32; 4] = core::array::from_fn(|n| eight[n] + eight[n + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
