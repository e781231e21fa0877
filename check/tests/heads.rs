//! The real heads on this machine, and whether the check would notice.

use check::{CASES, Case, Workspace, check_all};

#[test]
fn every_case_keeps_its_bound_and_its_bits_at_every_level() {
    let mut lines = Vec::new();
    let show = |line: check::Line<'_>| lines.push(line.to_string());
    let verdict = check_all("test", &mut Workspace::new(), show).expect("every case runs");
    assert!(verdict.passed(), "{verdict:?}\n{}", lines.join("\n"));
}

#[test]
fn the_exact_result_rounded_to_f32_is_within_every_bound() {
    for case in &CASES {
        let (o, lse) = rounded(case);
        for fused in [false, true] {
            let ratio = case.err_over_bound(fused, &o, &lse);
            assert!(ratio < 1.0, "{}, fused {fused}: {ratio}", case.name);
        }
    }
}

#[test]
fn one_element_outside_its_bound_is_noticed() {
    for case in &CASES {
        for fused in [false, true] {
            let (mut o, lse) = rounded(case);
            let last = o.len() - 1;
            o[last] += 3.0 * case.limits(fused).o[last];
            assert!(case.err_over_bound(fused, &o, &lse) > 1.0, "{}, o", case.name);

            let (o, mut lse) = rounded(case);
            lse[0] -= 3.0 * case.limits(fused).lse[0];
            assert!(case.err_over_bound(fused, &o, &lse) > 1.0, "{}, lse", case.name);
        }
    }
}

#[test]
fn what_is_not_a_number_or_not_there_is_noticed() {
    for case in &CASES {
        let (mut o, lse) = rounded(case);
        assert_eq!(case.err_over_bound(true, &o[1..], &lse), f32::MAX, "{}", case.name);
        assert_eq!(case.err_over_bound(true, &o, &lse[1..]), f32::MAX, "{}", case.name);
        o[0] = f32::NAN;
        assert_eq!(case.err_over_bound(true, &o, &lse), f32::MAX, "{}", case.name);
    }
}

/// The best that a kernel could do.
fn rounded(case: &Case) -> (Vec<f32>, Vec<f32>) {
    let round = |exact: &[f64]| exact.iter().map(|&x| x as f32).collect();
    (round(case.exact.o), round(case.exact.lse))
}
