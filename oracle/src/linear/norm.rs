//! The 2-norm of a diagonal and a matrix of rank one.

/// At least `|diag(w) + b a^T|_2`, and little more than that or the largest `|w|`.
///
/// `A^T A = W^2 + p p^T - r r^T` with `r = W b / |b|` and `p = |b| a + r`. For lambda above every `|w|` and
/// `D = lambda^2 - W^2`, all of `lambda^2 - A^T A` is positive if and only if
/// `p^T D^-1 p - (p^T D^-1 r)^2 / (1 + r^T D^-1 r) < 1`.
pub(super) fn norm(w: &[f64], a: &[f64], b: &[f64]) -> f64 {
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (most, size) = (w.iter().fold(0.0, |most: f64, w| most.max(w.abs())), length(b));
    // The triangle inequality, which bounds everything below.
    let upper = most + size * length(a);
    if size == 0.0 || upper == most || !upper.is_finite() {
        return upper * (1.0 + 1e-12);
    }
    let r: Vec<f64> = w.iter().zip(b).map(|(w, b)| w * b / size).collect();
    let p: Vec<f64> = a.iter().zip(&r).map(|(a, r)| size * a + r).collect();
    let is_above = |lambda: f64| {
        let inner = |x: &dyn Fn(usize) -> f64, y: &dyn Fn(usize) -> f64| -> f64 {
            let of =
                |(c, w): (usize, &f64)| x(c) * y(c) / ((lambda - w.abs()) * (lambda + w.abs()));
            w.iter().enumerate().map(of).sum()
        };
        let (rr, pr) = (inner(&|c| r[c], &|c| r[c]), inner(&|c| p[c], &|c| r[c]));
        // `p = t r + rest` with the rest orthogonal to r: sums of squares, where nothing cancels.
        let t = if rr == 0.0 { 0.0 } else { pr / rr };
        let rest = |c: usize| p[c] - t * r[c];
        inner(&rest, &rest) + t * t * (rr / (1.0 + rr)) < 1.0
    };
    let (mut low, mut high) = (most, upper);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if is_above(middle) { high = middle } else { low = middle }
    }
    // Far beyond what the sums above have lost to rounding.
    (high * (1.0 + 1e-9)).min(upper * (1.0 + 1e-12))
}

#[cfg(test)]
mod tests {
    use super::norm;

    #[test]
    fn it_is_what_power_iteration_finds() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        };
        for d in [1, 2, 3, 8, 17] {
            for case in 0..200 {
                let mut row = |scale: f64| (0..d).map(|_| random() * scale).collect::<Vec<f64>>();
                let w: Vec<f64> = row(1.0).iter().map(|w| w.abs()).collect();
                let (a, b) = (row(0.1 * f64::from(case % 20)), row(1.0));
                let bound = norm(&w, &a, &b);
                let mut x = vec![1.0; d];
                let mut found = 0.0;
                for _ in 0..400 {
                    let ax: f64 = a.iter().zip(&x).map(|(a, x)| a * x).sum();
                    let y: Vec<f64> = (0..d).map(|c| w[c] * x[c] + b[c] * ax).collect();
                    let by: f64 = b.iter().zip(&y).map(|(b, y)| b * y).sum();
                    let z: Vec<f64> = (0..d).map(|c| w[c] * y[c] + a[c] * by).collect();
                    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
                    found = length(&y) / length(&x);
                    let size = length(&z);
                    x = z.iter().map(|z| z / size).collect();
                }
                let most = w.iter().fold(found, |most, w| most.max(*w));
                assert!(found <= bound && bound <= most * 1.001 + 1e-6, "{found} {bound}");
            }
        }
    }
}
