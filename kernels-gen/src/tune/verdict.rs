//! Whether a tile is better than the present one, and whether that is more than noise.

use measure::race::{Race, median};

/// A gain below this share of the present time may be noise.
const MARGIN: f64 = 0.03;

/// The share of rounds in which a better one must be faster.
const ROUNDS: f64 = 0.8;

/// What came of a race.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The best; 0 is the present one.
    pub best: usize,
    /// Median times of the present one and of the best, in milliseconds.
    pub ms: [f64; 2],
    /// The share of the present time that the best one saves.
    pub gain: f64,
    /// Whether that is beyond the noise.
    pub is_clear: bool,
}

/// Judges a race by its final.
#[must_use]
pub fn judge(race: &Race) -> Verdict {
    let ms = race.ms.each_ref().map(|ms| median(ms));
    let gain = 1.0 - ms[1] / ms[0];
    if race.finalist == 0 || gain.is_nan() || gain <= 0.0 {
        return Verdict { best: 0, ms: [ms[0]; 2], gain: 0.0, is_clear: false };
    }
    let [present, best] = &race.ms;
    let faster = present.iter().zip(best).filter(|(present, best)| best < present).count();
    let is_clear = gain > MARGIN && faster as f64 >= ROUNDS * present.len() as f64;
    Verdict { best: race.finalist, ms, gain, is_clear }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(finalist: usize, present: [f64; 5], best: [f64; 5]) -> Verdict {
        let ms = [present.to_vec(), best.to_vec()];
        judge(&Race { is_right: vec![true; 3], finalist, ms })
    }

    #[test]
    fn medians_and_most_rounds_decide() {
        let verdict = verdict(2, [4.0, 4.1, 9.0, 4.1, 4.0], [3.0, 3.0, 1.0, 9.0, 3.1]);
        assert_eq!((verdict.best, verdict.ms, verdict.is_clear), (2, [4.1, 3.0], true));
        assert!((verdict.gain - 0.268).abs() < 0.001, "{verdict:?}");
    }

    #[test]
    fn a_small_gain_is_noise() {
        let verdict = verdict(1, [4.0; 5], [3.9; 5]);
        assert!(verdict.best == 1 && !verdict.is_clear, "{verdict:?}");
    }

    #[test]
    fn a_gain_in_some_rounds_only_is_noise() {
        let verdict = verdict(1, [4.0, 2.0, 4.0, 2.0, 4.0], [3.0; 5]);
        assert!(verdict.gain > 0.2 && !verdict.is_clear, "{verdict:?}");
    }

    #[test]
    fn who_loses_the_final_was_lucky_before() {
        assert_eq!(verdict(1, [4.0; 5], [4.5; 5]).best, 0);
        assert_eq!(verdict(0, [4.0; 5], [3.0; 5]).best, 0);
    }

    #[test]
    fn nothing_is_found_without_a_round() {
        let race = Race { is_right: vec![true; 2], finalist: 1, ms: [Vec::new(), Vec::new()] };
        assert!(!judge(&race).is_clear);
    }
}
