//! What came out of a run, and how far it is from what should have.

/// What came out of a run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Largest error as a share of the certified bound: above 1 is wrong. `None` where only bits count.
    pub err_over_bound: Option<f32>,
    /// Digest of the bits.
    pub digest: u64,
}

/// Largest `|got - exact| / limit`. A wrong length or a NaN counts as [`f32::MAX`], which unlike
/// infinity is a number in JSON too.
pub(crate) fn worst<'a>(
    got: &[f32],
    exact: &[f64],
    limits: impl IntoIterator<Item = &'a f32>,
) -> f32 {
    if got.len() != exact.len() {
        return f32::MAX;
    }
    let ratios = got.iter().zip(exact).zip(limits).map(|((&got, &exact), &limit)| {
        let error = (f64::from(got) - exact).abs() as f32;
        match error / limit {
            _ if error == 0.0 => 0.0,
            ratio if ratio < f32::MAX => ratio,
            _ => f32::MAX,
        }
    });
    ratios.fold(0.0, f32::max)
}
