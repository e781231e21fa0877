//! Climbs towards the bound: seeded searches for the input whose error comes nearest to what the bound allows. None may go
//! beyond; how near they come says how tight the bound is.
//!
//! ```text
//! cargo test --release --test error_climb -- --nocapture     prints what was reached, and how
//! CLIMB=1000000 ..                                           with so many cases for each
//! ```

use flashlet::{Level, Precision};
use hunt::climb::{Limits, Top, climb};
use hunt::subject::{Bf16Sums, Flashlet, Naive, Subject};
use oracle::{Format, Shape};

/// Cases of one climb, unless the environment says more.
const EVALUATIONS: usize = 2_000;

fn evaluations() -> usize {
    let given = std::env::var("CLIMB").ok();
    given.map_or(EVALUATIONS, |given| given.parse().expect("CLIMB is a number"))
}

/// So many keys of so many channels.
fn limits(kv_len: usize, dim: usize) -> Limits {
    let shape = Shape { kv_len, head_dim: dim, ..Limits::default().shape };
    let evaluations = evaluations();
    Limits { evaluations, patience: (evaluations / 4).clamp(500, 20_000), shape }
}

fn print(name: &str, limits: &Limits, top: &Top) {
    let Shape { kv_len, head_dim, .. } = limits.shape;
    let (ratio, count) = (top.verdict.worst_ratio, top.evaluations);
    println!(
        "{name:<40} {kv_len:>2} keys of {head_dim:>2}: {ratio:.3} of the bound, {count} cases"
    );
    if evaluations() > EVALUATIONS {
        println!("    {:?}", top.case);
    }
}

fn subjects() -> impl Iterator<Item = Flashlet> {
    Level::available().flat_map(|level| {
        let formats = [Format::F32, Format::F16, Format::Bf16];
        let of = move |stored| Flashlet { level, stored, precision: Precision::F32 };
        formats.into_iter().map(of)
    })
}

#[test]
fn no_climb_gets_beyond_the_bound() {
    for (seed, subject) in (1..).zip(subjects()) {
        for (kv_len, dim) in [(2, 1), (4, 4), (16, 16)] {
            let limits = limits(kv_len, dim);
            let top = climb(&subject, &limits, seed);
            print(&subject.name(), &limits, &top);
            let (verdict, case) = (&top.verdict, &top.case);
            assert!(verdict.holds(), "{}: {verdict}\n{case:?}", subject.name());
        }
    }
}

#[test]
fn climbs_catch_implementations_that_are_wrong() {
    let subjects: [&dyn Subject; 2] = [&Naive, &Bf16Sums];
    for subject in subjects {
        let limits = Limits { evaluations: 20_000, ..limits(4, 4) };
        let top = climb(subject, &limits, 1);
        print(&subject.name(), &limits, &top);
        assert!(!top.verdict.holds(), "{} was not caught", subject.name());
    }
}

/// A climb is worth its time only if it climbs: random cases alone stay far below.
#[test]
fn a_climb_comes_near_the_bound() {
    let subject =
        Flashlet { level: Level::detect(), stored: Format::F32, precision: Precision::F32 };
    let limits = Limits { evaluations: 20_000, ..limits(2, 1) };
    let top = climb(&subject, &limits, 7);
    print(&subject.name(), &limits, &top);
    assert!(top.verdict.holds() && top.verdict.worst_ratio > 0.5, "{}", top.verdict);
}
