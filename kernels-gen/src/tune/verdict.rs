//! Which of some tiles is the best, and whether that is more than noise.

use measure::race::Entrant;

/// A gain below this share of the present time may be noise.
const MARGIN: f64 = 0.03;

/// The share of rounds in which a better one must be faster.
const ROUNDS: f64 = 0.8;

/// What came of a race.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The fastest that is right; 0 is the present one.
    pub best: usize,
    /// Median times of the present one and of the best, in milliseconds.
    pub ms: [f64; 2],
    /// The share of the present time that the best one saves.
    pub gain: f64,
    /// Whether that is beyond the noise.
    pub is_clear: bool,
}

/// Judges a race; `None` without an entrant.
#[must_use]
pub fn judge(entrants: &[Entrant]) -> Option<Verdict> {
    let present = entrants.first()?;
    let right = entrants.iter().enumerate().filter(|(i, entrant)| *i == 0 || entrant.is_right);
    let (best, fastest) = right.min_by(|(_, a), (_, b)| median(&a.ms).total_cmp(&median(&b.ms)))?;
    let ms = [median(&present.ms), median(&fastest.ms)];
    let gain = 1.0 - ms[1] / ms[0];
    let faster = present.ms.iter().zip(&fastest.ms).filter(|(present, best)| best < present);
    let is_clear = gain > MARGIN && faster.count() as f64 >= ROUNDS * present.ms.len() as f64;
    Some(Verdict { best, ms, gain, is_clear })
}

fn median(ms: &[f64]) -> f64 {
    let mut sorted = ms.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrant(ms: &[f64]) -> Entrant {
        Entrant { is_right: true, ms: ms.to_vec() }
    }

    #[test]
    fn the_least_median_wins() {
        let race = [entrant(&[4.0, 4.1, 9.0]), entrant(&[1.0, 3.0, 3.1]), entrant(&[3.5; 3])];
        let verdict = judge(&race).unwrap();
        assert_eq!((verdict.best, verdict.ms, verdict.is_clear), (1, [4.1, 3.0], true));
        assert!((verdict.gain - 0.268).abs() < 0.001, "{verdict:?}");
    }

    #[test]
    fn a_small_gain_is_noise() {
        let verdict = judge(&[entrant(&[4.0; 5]), entrant(&[3.9; 5])]).unwrap();
        assert!(verdict.best == 1 && !verdict.is_clear, "{verdict:?}");
    }

    #[test]
    fn a_gain_in_some_rounds_only_is_noise() {
        let (present, other) = ([4.0, 2.0, 4.0, 2.0, 4.0], [3.0; 5]);
        let verdict = judge(&[entrant(&present), entrant(&other)]).unwrap();
        assert!(verdict.gain > 0.2 && !verdict.is_clear, "{verdict:?}");
    }

    #[test]
    fn a_wrong_one_never_wins() {
        let wrong = Entrant { is_right: false, ms: vec![1.0; 3] };
        let verdict = judge(&[entrant(&[4.0; 3]), wrong]).unwrap();
        assert_eq!((verdict.best, verdict.gain, verdict.is_clear), (0, 0.0, false));
    }

    #[test]
    fn nobody_wins_where_nobody_runs() {
        assert_eq!(judge(&[]), None);
    }
}
