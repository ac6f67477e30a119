//! The gate against drivers that run, and its command line. What it says of time is never
//! looked at.

use std::path::{Path, PathBuf};
use std::process::Command;

use bn_bench::axes::{DType, Layout, Op};
use bn_bench::gate::catalogue::{Entry, catalogue, counted};
use bn_bench::gate::decision::Rule;
use bn_bench::gate::driver::{Driver, Reason};
use bn_bench::gate::sides::Sides;
use bn_bench::gate::{FLOOR, Report, compare, confidence, control, instructions, power, table, verdict};
use bn_bench::machine::Machine;
use bn_driver::protocol::Row;

/// The driver, built as this test was, beside the other programs.
fn driver() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_bn-perf")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    // Both packages, so that they are built with the features that they have in a test.
    build.args("build --quiet -p bn-bench -p bn-driver --bin bn-driver --target-dir".split(' '));
    build.arg(folder.parent().unwrap());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    folder.join(format!("bn-driver{}", std::env::consts::EXE_SUFFIX))
}

fn sides() -> Sides {
    let driver = driver();
    Sides {
        base_revision: "base".into(),
        change_revision: "change".into(),
        base: driver.clone(),
        change: driver.clone(),
        copy: driver,
    }
}

fn small(op: Op) -> Entry {
    let row = Row { shape: vec![4, 8, 5], dtype: DType::F32, layout: Layout::Contiguous, op, threads: 1 };
    Entry { row, promises: true }
}

#[test]
fn three_processes_take_turns_until_every_row_is_decided() {
    let entries = [small(Op::ForwardTrain), small(Op::BackwardTrain)];
    let rule = Rule::new(FLOOR, 6, entries.len()).unwrap();
    assert_eq!(rule.tolerated, 0);
    let rows = compare(&sides(), &entries, &rule, |_| {}).unwrap();
    for (row, entry) in rows.iter().zip(&entries) {
        assert_eq!(row.row, entry.row);
        assert!((1..=6).contains(&row.slowdowns.len()) && row.control.len() == row.slowdowns.len());
        assert!(row.same_bits && row.base_s > 0.0 && row.change_s > 0.0);
    }
    let (_, readings) = control(&rows, &rule);
    assert_eq!(readings, rows.iter().map(|row| row.control.len()).sum::<usize>());
    let verdict = verdict(&rows, Some(&rule), None);
    let report = Report {
        gate_version: 1,
        unix_time: 0,
        machine: Machine::look(),
        base: "base".into(),
        change: "change".into(),
        rule: Some(rule),
        confidence: confidence(2),
        rows,
        left_out: vec![small(Op::ForwardEval).row],
        instructions: Some(vec![instructions::Counted { row: counted()[0].clone(), base: 100, change: 102 }]),
        verdict,
    };
    let text = table(&report);
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 100, "{widest}:\n{text}");
    assert!(text.contains("NOT RUN: forward-eval") && text.contains("MORE"), "{text}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn power_decides_as_often_as_it_is_asked() {
    let entries = [small(Op::ForwardTrain), Entry { promises: false, ..small(Op::ForwardEval) }];
    let rule = Rule::new(FLOOR, 6, 2).unwrap();
    let mut steps = 0;
    let power = power::measure(&sides(), &entries, &rule, [2, 1], || steps += 1).unwrap();
    assert_eq!((power.equal_runs, steps), (2, 3));
    assert!(power.equal.iter().all(|tally| tally.runs == 2));
    assert_eq!(power.slowed.iter().map(|tally| tally.runs).collect::<Vec<_>>(), [1], "one row promises");
}

#[test]
fn every_row_of_the_catalogues_is_taken_by_the_driver() {
    let driver = driver();
    let mut asked = Driver::start(&driver, &mut Command::new(&driver)).unwrap();
    let timed = catalogue();
    assert!(timed.iter().filter(|entry| entry.promises).count() >= 3);
    for row in timed.into_iter().map(|entry| entry.row).chain(counted()) {
        assert_eq!(asked.prepare(&row).unwrap().len(), 16);
    }
    let flat = Row { shape: vec![3], ..counted()[0].clone() };
    let refused = asked.prepare(&flat).unwrap_err();
    assert!(matches!(&refused.reason, Reason::Refused { why, .. } if why.contains("two axes")), "{refused}");
    asked.end().unwrap();
}

#[test]
fn a_program_that_is_no_driver_is_named() {
    let start = |program: &str| Driver::start(Path::new(program), &mut Command::new(program));
    let row = &counted()[0];
    let missing = start("/nonexistent/driver").err().unwrap();
    assert!(missing.to_string().starts_with("/nonexistent/driver: "), "{missing}");
    let silent = start("true").unwrap().prepare(row).unwrap_err();
    assert!(matches!(silent.reason, Reason::Ended | Reason::System(_)), "{silent}");
    let echo = start("cat").unwrap().prepare(row).unwrap_err();
    assert!(matches!(echo.reason, Reason::Answer { .. }), "{echo}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    for (arguments, reason) in [
        (&["gate"][..], "--base"),
        (&["gate", "--base", "no-such-branch"], "no-such-branch: no such commit"),
        (&["gate", "--base", "HEAD", "--pairs", "7"], "7 pairs cannot decide about"),
        (&["gate", "--base", "HEAD", "--floor=-1"], "0 to 1000"),
        (&["gate", "--base", "HEAD", "--output", "/nonexistent/gate.json"], "/nonexistent/gate.json"),
        (&["report", "--output", "/nonexistent/report.html"], "nothing to show"),
        (&["report", "--history", "/nonexistent/h", "--output", "/tmp/bn-perf-report"], "/nonexistent/h"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_bn-perf")).args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason) && !stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
    assert!(!Path::new("/tmp/bn-perf-report").exists());
}
