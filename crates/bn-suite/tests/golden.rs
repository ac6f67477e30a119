//! The engines that come with the suite pass every case: the committed fixtures as
//! they stand in the files, and the larger cases with the truth computed anew.
//!
//! A failure prints the case, its note, what differs, and the command that replays it.

mod common;

use std::path::Path;

use bn_suite::catalogue;
use bn_suite::check::{CaseReport, Replay, Verdict};
use bn_suite::engines;
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use bn_suite::runner;
use common::ENGINES;

fn stored() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let groups = fixtures::stored_groups(&catalogue::all());
    fixtures::read(&folder, &groups).unwrap_or_else(|error| panic!("{error}"))
}

fn generated() -> Vec<Golden> {
    catalogue::all().iter().filter(|entry| !entry.stored).map(fixtures::solve).collect()
}

fn assert_all_pass(name: &str, goldens: &[Golden]) {
    let make = engines::constructor(name).unwrap_or_else(|| panic!("{name} comes with the suite"));
    let reports = runner::in_parallel(goldens, make, &Replay::named(name), || ());
    let failed: Vec<String> =
        reports.iter().filter(|report| !passed(report)).map(|report| report.to_string()).collect();
    assert!(
        failed.is_empty(),
        "\n{name}: {} of {} cases failed\n\n{}\n",
        failed.len(),
        goldens.len(),
        failed.join("\n\n")
    );
}

/// Neither unsupported nor disputed will do: these engines claim everything.
fn passed(report: &CaseReport) -> bool {
    matches!(report.verdict, Verdict::Passed { .. })
}

#[test]
fn every_engine_passes_the_committed_fixtures() {
    let goldens = stored();
    for name in ENGINES {
        assert_all_pass(name, &goldens);
    }
}

#[test]
fn every_engine_passes_the_generated_cases() {
    let goldens = generated();
    for name in ENGINES {
        assert_all_pass(name, &goldens);
    }
}
