//! Whether the check of linear attention would notice.

use check::RECURRENCES;

#[test]
fn one_element_outside_its_bound_is_noticed() {
    for recurrence in &RECURRENCES {
        let mut o: Vec<f32> = recurrence.exact.iter().map(|&x| x as f32).collect();
        assert!(recurrence.err_over_bound(&o) < 1.0, "{}", recurrence.name);
        o[3] += 3.0 * recurrence.limits[3];
        assert!(recurrence.err_over_bound(&o) > 1.0, "{}", recurrence.name);
    }
}

#[test]
fn another_family_is_noticed() {
    for pair in RECURRENCES.windows(3) {
        let [first, _, other] = pair else { unreachable!("windows of three") };
        let o: Vec<f32> = other.exact.iter().map(|&x| x as f32).collect();
        assert!(first.err_over_bound(&o) > 1.0, "{} {}", first.name, other.name);
    }
}
