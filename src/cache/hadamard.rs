//! The Hadamard rotation: outliers of few channels become a little of every channel, before codes are given out.
//!
//! ```text
//! H_1 = [1]        H_2n = [H_n  H_n]        H = H_n / sqrt(n)        H H = I        <H q, H k> = <q, k>
//!                         [H_n -H_n]
//! ```
//! (QuaRot: Ashkboos et al., arXiv 2404.00456; for FP8 attention: Shah et al., FlashAttention-3, arXiv 2407.08608, section 3.3.)

/// Turns a row by the orthonormal Hadamard matrix: in blocks as long as the largest power of two that divides it (128 of 128, 64 of 576,
/// 16 of 80). Turned again it is what it was, but for rounding. A block of `n = 2^s` takes `s` roundings a number and that of `1 / sqrt(n)`
/// twice over, so each is within `(s + 2) 2^-24 sum |x| / sqrt(n)` of exact, to first order.
///
/// ```
/// let mut row = [0.0; 64];
/// row[5] = 8.0; // one outlier
/// flashlet::hadamard(&mut row);
/// assert!(row.iter().all(|x| x.abs() == 1.0));
/// flashlet::hadamard(&mut row);
/// assert_eq!((row[4], row[5]), (0.0, 8.0));
/// ```
#[inline]
pub fn hadamard(row: &mut [f32]) {
    // Of an empty row there is none.
    let block = 1_usize.checked_shl(row.len().trailing_zeros()).unwrap_or(1);
    let scale = norm(block);
    for row in row.chunks_exact_mut(block) {
        let mut half = block / 2;
        while half > 0 {
            butterflies(row, half);
            half /= 2;
        }
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Sums and differences of numbers so far apart.
#[inline]
fn butterflies(row: &mut [f32], half: usize) {
    for pairs in row.chunks_mut(2 * half) {
        let (low, high) = pairs.split_at_mut_checked(half).unwrap_or_default();
        for (a, b) in low.iter_mut().zip(high) {
            (*a, *b) = (*a + *b, *a - *b);
        }
    }
}

/// `1 / sqrt(block)` of a power of two: that of another, or of half a one.
#[inline]
fn norm(block: usize) -> f32 {
    let halvings = block.trailing_zeros() / 2;
    let power = 1.0 / (1_u64 << halvings) as f32;
    if block.trailing_zeros().is_multiple_of(2) {
        power
    } else {
        power * core::f32::consts::FRAC_1_SQRT_2
    }
}

#[cfg(test)]
mod tests {
    use super::hadamard;
    use std::vec::Vec;

    /// By the definition: the sign is that of the bits that row and column share.
    fn exact(x: &[f32]) -> Vec<f64> {
        let n = 1 << x.len().trailing_zeros();
        let of_block = |block: &[f32]| -> Vec<f64> {
            let sign = |i: usize, j: usize| 1.0 - 2.0 * f64::from((i & j).count_ones() % 2);
            let row = |i| (0..n).map(|j| sign(i, j) * f64::from(block[j])).sum::<f64>();
            (0..n).map(|i| row(i) / libm::sqrt(n as f64)).collect()
        };
        x.chunks(n).flat_map(of_block).collect()
    }

    #[test]
    fn every_width_is_turned_as_defined() {
        for dim in (1..=160_usize).chain([192, 256, 512, 576]) {
            let x: Vec<f32> = (0..dim).map(|i| ((i * i + 7 * i) % 31) as f32 - 15.3).collect();
            let (mut turned, exact) = (x.clone(), exact(&x));
            hadamard(&mut turned);
            let n = 1 << dim.trailing_zeros();
            let relative = (f64::from(dim.trailing_zeros()) + 2.01) / f64::from(1 << 24);
            for ((turned, exact), x) in turned.chunks(n).zip(exact.chunks(n)).zip(x.chunks(n)) {
                let sum: f64 = x.iter().map(|x| f64::from(x.abs())).sum();
                let bound = relative * sum / libm::sqrt(n as f64);
                for (x, exact) in turned.iter().zip(exact) {
                    assert!((f64::from(*x) - exact).abs() <= bound, "{dim}: {x} {exact}");
                }
            }
        }
        hadamard(&mut []);
    }
}
