//! Masks, drawn: which keys each query sees, in the conventions of the field.

use crate::case::{Case, Reach, Rule, shape};
use flashlet::{Heads, Mask, Offset, Window};

/// One string a query, `1` for a visible key. Queries of zeros weigh all visible keys alike, and
/// values are unit vectors, so channel `j` of the output is above 0 where key `j` is visible.
fn picture(q_len: usize, kv_len: usize, mask: Mask) -> Vec<String> {
    let heads = Heads { q: 1, kv: 1, dim: 1, v_dim: kv_len };
    let mut case = Case::random(shape(q_len, kv_len, heads), Rule::full(), 1);
    case.q.fill(0.0);
    case.v = (0..kv_len * kv_len).map(|at| f32::from(u8::from(at % (kv_len + 1) == 0))).collect();
    let plan = flashlet::Attention::new(case.shape, mask).unwrap();
    let output = case.run(&plan);
    let line = |row: &[f32]| row.iter().map(|&x| if x > 0.0 { '1' } else { '0' }).collect();
    output.o.chunks_exact(kv_len).map(line).collect()
}

#[test]
fn causal_masks_align_as_they_say() {
    // FlashAttention's pictures of its bottom-right alignment.
    assert_eq!(picture(2, 5, Mask::causal(Offset::BOTTOM_RIGHT)), ["11110", "11111"]);
    assert_eq!(picture(5, 2, Mask::causal(Offset::BOTTOM_RIGHT)), ["00", "00", "00", "10", "11"]);
    assert_eq!(picture(2, 5, Mask::causal(Offset::TOP_LEFT)), ["10000", "11000"]);
    assert_eq!(picture(5, 2, Mask::causal(Offset::TOP_LEFT)), ["10", "11", "11", "11", "11"]);
    assert_eq!(picture(2, 5, Mask::causal(Offset::at(1))), ["11000", "11100"]);
    assert_eq!(picture(2, 5, Mask::causal(Offset::at(-1))), ["00000", "10000"]);
    for far in [i64::MAX, 1 << 62, (1 << 61) + 1] {
        assert_eq!(picture(3, 4, Mask::causal(Offset::at(far))), ["1111"; 3], "{far}");
        assert_eq!(picture(3, 4, Mask::causal(Offset::at(-far))), ["0000"; 3], "{far}");
        for sign in [1, -1] {
            let full = Window::span(Window::UNBOUNDED, Window::UNBOUNDED);
            assert_eq!(picture(3, 4, Mask::window(Offset::at(sign * far), full)), ["1111"; 3]);
            let near = Window::span(1 << 40, 1 << 40);
            assert_eq!(picture(3, 4, Mask::window(Offset::at(sign * far), near)), ["0000"; 3]);
        }
    }
}

#[test]
fn windows_hold_as_many_keys_as_they_say() {
    let causal = Mask::causal(Offset::TOP_LEFT);
    assert_eq!(picture(4, 4, causal & Window::keys(2)), ["1000", "1100", "0110", "0011"]);
    assert_eq!(picture(4, 4, causal & Window::span(2, 0)), ["1000", "1100", "1110", "0111"]);
    assert_eq!(picture(2, 2, causal & Window::keys(0)), ["00", "00"]);
    assert_eq!(picture(2, 2, causal & Window::keys(usize::MAX)), ["10", "11"]);
    let both = Mask::window(Offset::TOP_LEFT, Window::span(1, 1));
    assert_eq!(picture(4, 4, both), ["1100", "1110", "0111", "0011"]);
    let ahead = Mask::window(Offset::TOP_LEFT, Window::span(0, 1));
    assert_eq!(picture(2, 4, ahead), ["1100", "0110"]);
    // No limit: so far is no key.
    for far in [1 << 61, usize::MAX - 1] {
        assert_eq!(Window::span(far, 3), Window::span(Window::UNBOUNDED, 3));
        assert_eq!(Window::span(3, far), Window::span(3, Window::UNBOUNDED));
        assert_eq!(Window::keys(far), Window::keys(usize::MAX));
    }
    let narrowed = causal & Window::span(3, 3) & Window::span(1, 9);
    assert_eq!(picture(4, 4, narrowed), ["1000", "1100", "0110", "0011"]);
}

#[test]
fn sinks_stay_visible_behind_the_window_and_never_before_their_time() {
    let mask = (Mask::causal(Offset::TOP_LEFT) & Window::keys(2)).sinks(2);
    assert_eq!(picture(6, 6, mask), ["100000", "110000", "111000", "111100", "110110", "110011"]);
    let all = (Mask::causal(Offset::at(3)) & Window::keys(1)).sinks(99);
    assert_eq!(picture(2, 6, all), ["111100", "111110"]);
}

#[test]
fn rules_and_masks_agree_on_every_pair() {
    for (q_len, kv_len) in [(5, 9), (9, 5), (1, 12)] {
        for offset in [Some(-3), Some(0), Some(4), Some(50), None] {
            for causal in [false, true] {
                for window in
                    [None, Some(Reach::Keys(3)), Some(Reach::Span(2, 1)), Some(Reach::Keys(0))]
                {
                    for sinks in [0, 1, 4, 20] {
                        let rule = Rule { offset, causal, window, sinks };
                        let line = |i| {
                            (0..kv_len)
                                .map(|j| {
                                    char::from(b'0' + u8::from(rule.sees(q_len, kv_len, i, j)))
                                })
                                .collect::<String>()
                        };
                        let expected: Vec<String> = (0..q_len).map(line).collect();
                        assert_eq!(picture(q_len, kv_len, rule.mask()), expected, "{rule:?}");
                    }
                }
            }
        }
    }
}
