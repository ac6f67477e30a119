//! The kernels before the suite, on the emulator: right, accurate, and the same bits in
//! whatever order their threads run.

mod common;

use bn_cuda::device::Properties;
use bn_cuda::emulator::{Emulator, Schedule};
use bn_suite::case::Case;
use bn_suite::catalogue::{self, Entry};
use bn_suite::check::{self, CaseReport, Replay, Verdict};
use bn_suite::engine::Engine;
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use rayon::prelude::*;

use common::{SETTINGS, SMALL, Setting, cases, engine, is_claimed};

fn claimed(stored: bool) -> Vec<Entry> {
    let mut entries = catalogue::all();
    entries.retain(|entry| entry.stored == stored && is_claimed(&entry.case));
    assert!(entries.len() > 100, "only {} cases are claimed", entries.len());
    entries
}

/// What the suite says against the kernels, by the tighter of its two grades.
fn refused(golden: &Golden, setting: Setting) -> Option<String> {
    let replay = Replay::named("cuda-emulated");
    let report: CaseReport = check::check_both_grades(golden, &mut engine(setting), &replay);
    match report.verdict {
        Verdict::Passed { .. } if report.is_accurate() == Some(true) => None,
        Verdict::Passed { .. } => Some(format!("{setting:?}: {} is not accurate: {report:?}", report.case)),
        _ => Some(format!("{setting:?}: {report}")),
    }
}

fn assert_right(entries: &[Entry], settings: &[Setting]) {
    let refused: Vec<String> = entries
        .par_iter()
        .flat_map_iter(|entry| {
            let golden = fixtures::solve(entry);
            settings.iter().filter_map(move |&setting| refused(&golden, setting))
        })
        .collect();
    assert!(refused.is_empty(), "\n{} refused\n\n{}", refused.len(), refused.join("\n\n"));
}

#[test]
fn every_stored_case_in_every_setting() {
    assert_right(&claimed(true), &SETTINGS);
}

#[test]
fn every_generated_case() {
    assert_right(&claimed(false), &[(Schedule::Ascending, Properties::EMULATED)]);
}

/// Which kernels the cases below reach.
const KERNELS: [&str; 5] = ["baseline", "resident", "slab", "stream", "strip"];

#[test]
fn every_kernel_on_arrays_that_a_device_cuts_up() {
    let entries = cases::kernels();
    assert_right(&entries, &SETTINGS);
    let mut missed: Vec<String> = KERNELS
        .iter()
        .flat_map(|kernel| ["forward_train", "backward_train", "backward_eval"].map(|op| (kernel, op)))
        .flat_map(|(kernel, op)| ["f32", "f16", "bf16"].map(|dtype| format!("{kernel}_{op}_{dtype}")))
        .collect();
    for entry in &entries {
        for setting in SETTINGS {
            let mut engine = engine(setting);
            engine.run(&entry.case).unwrap();
            let launched = engine.device().launched();
            missed.retain(|kernel| !launched.contains(kernel));
        }
    }
    assert!(missed.is_empty(), "no case reaches {missed:?}");
}

/// Answers, bit for bit: −0 and 0 are told apart.
fn bits(case: &Case, setting: Setting) -> String {
    let outcomes = engine(setting).run(case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    format!("{outcomes:?}")
}

#[test]
fn the_order_of_threads_changes_no_bit() {
    claimed(true).par_iter().for_each(|entry| {
        for properties in [Properties::EMULATED, SMALL] {
            let ascending = bits(&entry.case, (Schedule::Ascending, properties));
            for schedule in [Schedule::Descending, Schedule::Shuffled { seed: 3 }] {
                let other = bits(&entry.case, (schedule, properties));
                assert_eq!(other, ascending, "{} {schedule:?}", entry.case.name);
            }
        }
    });
}

#[test]
fn sums_run_in_the_order_that_is_written() {
    for (schedule, properties) in SETTINGS {
        common::order::check(&Emulator::new(schedule).with_properties(properties)).unwrap();
    }
}
