//! Tiles against the definition, pair by pair.

use super::band::Band;
use super::{Mask, Offset, Tile, Window};
use core::ops::Range;

const Q_LEN: usize = 7;
const KV_LEN: usize = 13;

/// Calls `check` with every small mask, and with ranges of keys and visible lengths.
fn for_each_mask(mut check: impl FnMut(&Band)) {
    let offsets = [-9, -2, 0, 3, 6, 40].map(Offset::at);
    let unbounded = Window::span(usize::MAX, usize::MAX);
    let windows =
        [unbounded, Window::keys(0), Window::keys(1), Window::keys(4), Window::span(2, 3)];
    for offset in offsets.into_iter().chain([Offset::BOTTOM_RIGHT]) {
        for window in windows {
            for mask in [Mask::causal(offset) & window, Mask::window(offset, window)] {
                for sinks in [0, 1, 3, 30] {
                    for (len, keys) in
                        [(KV_LEN, 0..KV_LEN), (9, 0..KV_LEN), (KV_LEN, 4..10), (0, 0..KV_LEN)]
                    {
                        check(&mask.sinks(sinks).of_sequence(Q_LEN, len, &keys));
                    }
                }
            }
        }
    }
}

fn sees(visible: &Band, i: usize, j: usize) -> bool {
    visible.window_of(i).contains(&j) || visible.sinks_of(i).contains(&j)
}

fn queries() -> impl Iterator<Item = (usize, usize)> {
    (0..Q_LEN).flat_map(|first| (first..Q_LEN).map(move |last| (first, last)))
}

#[test]
fn tiles_are_what_the_definition_says() {
    for_each_mask(|visible| {
        for (first, last) in queries() {
            for tile in [0..4, 4..8, 8..12, 12..16, 0..16] {
                let keys = |range: &Range<usize>| {
                    range.clone().flat_map(|j| (first..=last).map(move |i| (i, j)))
                };
                let seen_outside = |range: &Range<usize>| {
                    let visible_there =
                        |&(i, j): &(usize, usize)| sees(visible, i, j) && !range.contains(&j);
                    keys(&tile).filter(visible_there).count()
                };
                match visible.classify(first, last, &tile) {
                    Tile::Skip => {
                        assert!(keys(&tile).all(|(i, j)| !sees(visible, i, j)), "{visible:?}")
                    }
                    Tile::Full(range) => {
                        assert!(
                            keys(&range).all(|(i, j)| sees(visible, i, j)),
                            "{visible:?} {range:?}"
                        );
                        assert_eq!(seen_outside(&range), 0, "{visible:?} {range:?}");
                        assert!(!range.is_empty());
                    }
                    Tile::Partial(range) => {
                        assert!(
                            keys(&range).any(|(i, j)| !sees(visible, i, j)),
                            "{visible:?}: is full"
                        );
                        assert_eq!(seen_outside(&range), 0, "{visible:?} {range:?}");
                        let seen = |j: usize| (first..=last).any(|i| sees(visible, i, j));
                        assert!(
                            seen(range.start) && seen(range.end - 1),
                            "{visible:?}: {range:?} is tight"
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn runs_hold_every_visible_key_once() {
    for_each_mask(|visible| {
        for (first, last) in queries() {
            let [a, b] = visible.runs(first, last);
            for j in 0..KV_LEN + 3 {
                let seen = (first..=last).any(|i| sees(visible, i, j));
                let times = usize::from(a.contains(&j)) + usize::from(b.contains(&j));
                assert!(times <= 1 && (!seen || times == 1), "{visible:?} key {j}: {a:?} {b:?}");
            }
            assert!(a.is_empty() || b.is_empty() || a.end <= b.start, "in order");
        }
    });
}

#[test]
fn the_queries_of_a_key_are_those_that_see_it() {
    for_each_mask(|visible| {
        for j in visible.start..visible.end {
            let queries = visible.queries_of(j);
            for i in 0..Q_LEN {
                assert_eq!(
                    queries.contains(&(i as i64)),
                    sees(visible, i, j),
                    "{visible:?} {i} {j}"
                );
            }
        }
    });
}
