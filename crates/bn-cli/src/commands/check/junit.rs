//! JUnit: a suite per group, a test per case; unsupported and disputed cases
//! are skipped tests. Without times, so that equal results are equal bytes.

use std::io::Write;

use anyhow::Result;
use bn_suite::check::{CaseReport, Verdict};
use bn_suite::report::Report;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

/// Writes the XML.
pub fn write(out: &mut impl Write, report: &Report, cases: &[CaseReport]) -> Result<()> {
    let engine = format!("{} {}", report.engine.name, report.engine.version);
    let mut xml = quick_junit::Report::new(engine);
    for group in &report.groups {
        let mut suite = TestSuite::new(&group.name);
        suite.add_test_cases(cases.iter().filter(|case| case.group() == group.name).map(test));
        xml.add_test_suite(suite);
    }
    xml.serialize(&mut *out)?;
    Ok(())
}

fn test(case: &CaseReport) -> TestCase {
    let status = match &case.verdict {
        Verdict::Passed { .. } => TestCaseStatus::success(),
        Verdict::Failed { failures, .. } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let first = failures.first().map(|failure| failure.fault.to_string()).unwrap_or_default();
            status.set_message(first.lines().next().unwrap_or_default()).set_description(case.to_string());
            status
        }
        Verdict::Unsupported { .. } | Verdict::Disputed { .. } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(case.to_string());
            status
        }
    };
    TestCase::new(&case.case, status)
}
