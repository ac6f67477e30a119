//! The templates that `docs/plug-in.md` tells people to copy: each is as short as it says, passes every stored
//! case that it claims, and is refused with one fault in it.
//!
//! The one in Rust is compiled into this test and asked here, since cargo builds a package's examples for its
//! own tests only; the loop around it is `bn_protocol::serve`, as its `main` has it. Every `cargo test` and so
//! every run of `ci/run` runs this.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use bn_suite::case::Case;
use bn_suite::check::Replay;
use bn_suite::engine::{About, Engine, EngineError};
use bn_suite::engines::process::{Limits, ProcessEngine};
use bn_suite::golden::Golden;
use bn_suite::number::Number;
use bn_suite::outcome::Outcome;
use bn_suite::report::Report;
use bn_suite::{catalogue, fixtures, runner};

#[path = "../../bn-protocol/examples/template.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod template;

/// Enough to be an example: forward passes of both modes, refusals, ranks, momenta.
const ENOUGH: usize = 80;

static STORED: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    let folder = repository().join("fixtures");
    fixtures::read(&folder, &fixtures::stored_groups(&catalogue::all())).unwrap()
});

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The source of the Python template; none, and said so, where there is no Python.
fn in_python() -> Option<String> {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("NOT RUN: the template in Python, since there is no python3");
        return None;
    }
    Some(fs::read_to_string(repository().join("examples/template.py")).unwrap())
}

fn checked(engine: &mut dyn Engine, goldens: &[Golden]) -> Report {
    let reports = runner::in_turn(goldens, engine, &Replay::named("template"), || {});
    Report::new(engine.about(), &reports)
}

fn checked_in_python(source: &str, goldens: &[Golden]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("template.py");
    fs::write(&program, source).unwrap();
    let command = format!("python3 {}", shell_words::quote(&program.to_string_lossy()));
    checked(&mut ProcessEngine::start(&command, Limits::default()).unwrap(), goldens)
}

#[track_caller]
fn assert_passes(report: &Report) {
    let failures: Vec<&str> = report.failures.iter().map(|failure| failure.message.as_str()).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(report.counts.passed > ENOUGH, "only {} cases", report.counts.passed);
}

/// The cases that failed, of the two groups that the planted faults concern.
#[track_caller]
fn assert_refused(report: &Report, cases: &[&str]) {
    let failed: BTreeSet<&str> = report.failures.iter().map(|failure| failure.case.as_str()).collect();
    for case in cases {
        assert!(failed.contains(case), "{case} passes; failed: {failed:?}");
    }
    assert!(report.counts.passed > 0, "not everything hangs on the fault");
}

fn of_groups(groups: [&str; 2]) -> Vec<Golden> {
    STORED.iter().filter(|golden| groups.contains(&golden.case.group())).cloned().collect()
}

#[test]
fn they_are_as_short_as_the_page_says() {
    for (file, most) in [("examples/template.py", 40), ("crates/bn-protocol/examples/template.rs", 60)] {
        let lines = fs::read_to_string(repository().join(file)).unwrap().lines().count();
        assert!(lines <= most, "{file} has {lines} lines");
    }
}

#[test]
fn in_python_it_passes_what_it_claims() {
    let Some(source) = in_python() else { return };
    assert_passes(&checked_in_python(&source, &STORED));
}

#[test]
fn in_python_faults_are_found() {
    let Some(source) = in_python() else { return };
    let goldens = of_groups(["running-stats", "momentum"]);
    let with = |from: &str, to: &str| {
        assert!(source.contains(from), "{from:?} is not in the template");
        checked_in_python(&source.replace(from, to), &goldens)
    };
    assert_refused(&with(" * n / (n - 1)", ""), &["running-stats/var-unbiased"]);
    let inverted = with(
        "(1 - momentum) * running_mean[c] + momentum *",
        "momentum * running_mean[c] + (1 - momentum) *",
    );
    assert_refused(&inverted, &["momentum/default"]);
}

#[test]
fn in_rust_it_passes_what_it_claims() {
    assert_passes(&checked(&mut template::template(), &STORED));
}

/// The template, given the momentum as it weighs the old value.
struct Inverted<E>(E);

impl<E: Engine> Engine for Inverted<E> {
    fn about(&self) -> &About {
        self.0.about()
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let mut case = case.clone();
        case.layer.momentum = case.layer.momentum.map(|momentum| Number(1.0 - momentum.0));
        self.0.run(&case)
    }
}

#[test]
fn in_rust_a_fault_is_found() {
    let report = checked(&mut Inverted(template::template()), &of_groups(["running-stats", "momentum"]));
    assert_refused(&report, &["momentum/default"]);
}
