//! Right engines, built differently, pass every case. A refused one is either not
//! right, or shows an allowance that was derived too tightly.

use std::collections::BTreeSet;
use std::path::Path;

use bn_suite::catalogue;
use bn_suite::check::{self, CaseReport, Replay, Verdict};
use bn_suite::engines;
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use bn_suite::variants::{self, PREFIX, Variant};
use rayon::prelude::*;

fn stored() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let groups = fixtures::stored_groups(&catalogue::all());
    fixtures::read(&folder, &groups).unwrap_or_else(|error| panic!("{error}"))
}

fn generated() -> Vec<Golden> {
    catalogue::all().par_iter().filter(|entry| !entry.stored).map(fixtures::solve).collect()
}

/// What the suite says against a variant: the worst ratio, and every report that is
/// not a pass. Variants claim everything, so that none may be unsupported.
fn refused(variant: &Variant, goldens: &[Golden]) -> Option<String> {
    let name = format!("{PREFIX}{}", variant.name);
    let (mut engine, replay) = (variant.engine(), Replay::named(&name));
    let reports: Vec<CaseReport> =
        goldens.iter().map(|golden| check::check(golden, engine.as_mut(), &replay)).collect();
    let passed = |report: &&CaseReport| matches!(report.verdict, Verdict::Passed { .. });
    let (passed, failed): (Vec<&CaseReport>, Vec<&CaseReport>) = reports.iter().partition(passed);
    if failed.is_empty() {
        return None;
    }
    let ratios = reports.iter().filter_map(|report| report.worst()).map(|worst| worst.ratio);
    let worst = ratios.fold(0.0, f64::max);
    let texts: Vec<String> = failed.iter().map(|report| report.to_string()).collect();
    let (failed, cases) = (failed.len(), failed.len() + passed.len());
    Some(format!(
        "{name} ({}): {failed} of {cases} cases, worst ratio {worst}\n\n{}",
        variant.how,
        texts.join("\n\n")
    ))
}

fn assert_none_refused(goldens: &[Golden]) {
    let refused: Vec<String> =
        variants::all().par_iter().filter_map(|variant| refused(variant, goldens)).collect();
    assert!(refused.is_empty(), "\n{} variants are refused\n\n{}\n", refused.len(), refused.join("\n\n"));
}

#[test]
fn no_stored_case_refuses_a_variant() {
    assert_none_refused(&stored());
}

#[test]
fn no_generated_case_refuses_a_variant() {
    assert_none_refused(&generated());
}

#[test]
fn variants_are_many_and_have_names_of_their_own() {
    let variants = variants::all();
    let names: BTreeSet<&str> = variants.iter().map(|variant| variant.name).collect();
    assert_eq!(names.len(), variants.len());
    assert!(names.len() >= 18, "{names:?}");
    for variant in &variants {
        let name = format!("{PREFIX}{}", variant.name);
        let engine = engines::by_name(&name).unwrap_or_else(|| panic!("{name} is not found by its name"));
        assert_eq!(engine.about().name, name);
        assert!(!variant.how.is_empty() && !variant.how.contains('\n'), "{name}");
    }
}
