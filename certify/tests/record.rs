//! The record: that it is what is measured, and that a wrong one is found out.

use certify::{Fault, PARTS, Row, Scope, Sweep, at, faults, parse, tsv};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RECORD: &str = include_str!("../measured.tsv");

/// A prime, so that inputs have no bits in common.
const STRIDE: u64 = 997;

fn record() -> Vec<Row> {
    parse(RECORD).expect("the record is a table")
}

#[test]
fn some_inputs_of_every_part_miss_no_more_than_is_recorded() {
    let sweep = Sweep { stride: STRIDE };
    let rows: Vec<Row> = PARTS.iter().flat_map(|part| sweep.run(*part, &|_| ())).collect();
    assert_eq!(faults(&rows, &record(), Scope::Some), []);
}

/// So an entry that is too large is found without trying all inputs.
#[test]
fn the_recorded_inputs_miss_what_is_recorded() {
    for entry in record() {
        let part = PARTS.iter().find(|part| part.name() == entry.part).expect("all are parts");
        let input = u32::from_str_radix(&entry.at, 16).expect("bits");
        let rows = at(*part, input);
        let of_class = |row: &&Row| row.class == entry.class;
        let own = rows.iter().filter(of_class).find(|row| row.level == entry.level);
        // A machine of another kind may have no level of that class.
        let Some(row) = own.or_else(|| rows.iter().find(of_class)) else {
            continue;
        };
        let row = Row { inputs: entry.inputs, ..row.clone() };
        assert_eq!(faults(&[row], &[entry], Scope::All), []);
    }
}

#[test]
fn the_record_holds_what_is_promised() {
    let entries = record();
    let of = |part: &str, class: &str| {
        let mut rows = entries.iter().filter(|row| row.part == part && row.class == class);
        rows.next().expect("a part").largest
    };
    assert!(of("exp2", "fused") <= 0.78 && of("exp2", "unfused") <= 1.07);
    assert!(of("sin, cos of a phase", "unfused") <= 1e-7);
    for part in PARTS {
        let mut rows = entries.iter().filter(|row| row.part == part.name());
        let inputs = Sweep { stride: 1 }.inputs(*part) * part.each();
        assert!(
            rows.clone().next().is_some() && rows.all(|row| row.inputs == inputs),
            "{}",
            part.name()
        );
    }
    assert_eq!(tsv(&entries), RECORD);
    assert_eq!(faults(&entries, &entries, Scope::All), []);
}

/// The faults where the first entry is another one: of all inputs, and of some.
fn doctored(change: impl Fn(&mut Row)) -> [Vec<Fault>; 2] {
    let measured = record();
    let mut entries = measured.clone();
    change(&mut entries[0]);
    [Scope::All, Scope::Some].map(|scope| faults(&measured, &entries, scope))
}

#[test]
fn an_entry_that_is_too_small_is_exceeded() {
    for faults in doctored(|row| row.largest *= 0.9999) {
        assert!(matches!(&faults[..], [Fault::Above { part, .. }] if part == "exp2"), "{faults:?}");
    }
}

#[test]
fn an_entry_that_is_too_large_is_stale() {
    let [all, some] = doctored(|row| row.largest *= 1.0001);
    assert!(matches!(&all[..], [Fault::Stale { what: "error", .. }]), "{all:?}");
    assert_eq!(some, []);
}

#[test]
fn an_entry_of_some_inputs_is_stale() {
    let [all, some] = doctored(|row| row.inputs /= 97);
    assert!(matches!(&all[..], [Fault::Stale { what: "count", .. }]), "{all:?}");
    assert_eq!(some, []);
}

#[test]
fn an_entry_whose_limit_is_another_is_stale() {
    for faults in doctored(|row| row.limit *= 2.0) {
        assert!(matches!(&faults[..], [Fault::Stale { what: "limit", .. }]), "{faults:?}");
    }
}

#[test]
fn an_entry_of_no_part_is_found() {
    for faults in doctored(|row| row.part = "exp3".into()) {
        assert!(
            matches!(&faults[..], [Fault::Missing { part, .. }] if part == "exp3"),
            "{faults:?}"
        );
    }
}

#[test]
fn what_is_recorded_may_not_exceed_its_limit() {
    let mut measured = record();
    measured[0].largest = f64::INFINITY;
    let faults = faults(&measured, &measured, Scope::All);
    assert!(matches!(&faults[..], [Fault::Limit { .. }]), "{faults:?}");
}

#[test]
fn a_line_that_is_none_is_named() {
    let error = parse("\n\nexp2\tavx2\n").expect_err("two cells");
    assert_eq!(error.to_string(), "line 3 is none of a table: exp2\tavx2");
}

fn certify(table: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certify"));
    let run = command.args(["--stride", "1000003", "--table"]).arg(table).args(arguments).output();
    run.expect("the program runs")
}

#[test]
fn the_command_fails_where_the_record_is_wrong() {
    let good = certify(concat!(env!("CARGO_MANIFEST_DIR"), "/measured.tsv").as_ref(), &[]);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));

    let mut entries = record();
    entries.iter_mut().filter(|row| row.part == "tanh").for_each(|row| row.largest = 0.5);
    let path: PathBuf = [env!("CARGO_TARGET_TMPDIR"), "doctored.tsv"].iter().collect();
    std::fs::write(&path, tsv(&entries)).expect("a file of our own");
    let bad = certify(&path, &["--json"]);
    let message = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert_eq!(bad.status.code(), Some(1), "{message}");
    assert!(
        message.contains("tanh on scalar") && message.contains("above the recorded 5.00000e-1")
    );
    for line in String::from_utf8_lossy(&bad.stdout).lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(row["largest"].as_f64().expect("finite") <= row["limit"].as_f64().expect("finite"));
    }
}
