//! The plain-Python engine of `examples/` is what the README tells people to copy:
//! it must pass all that it claims, and its `--biased` form must not.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// `bn check --format json` of the example, from the repository's root.
fn checked(options: &str) -> Option<(Option<i32>, Value)> {
    let python =
        Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !python {
        eprintln!("NOT RUN: the example engine, since there is no python3");
        return None;
    }
    let command = format!("python3 examples/engine.py{options}");
    let output = Command::new(env!("CARGO_BIN_EXE_bn"))
        .args(["check", "--format", "json", "--command", &command])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Some((output.status.code(), serde_json::from_slice(&output.stdout).unwrap()))
}

#[test]
fn the_example_passes_what_it_claims() {
    let Some((status, report)) = checked("") else { return };
    assert_eq!((status, &report["failures"]), (Some(0), &serde_json::json!([])));
    let passed = report["passed"].as_u64().unwrap();
    assert!(passed > 100, "it claims enough to be an example: {passed} cases");
}

#[test]
fn with_a_biased_running_variance_it_fails_by_that_alone() {
    let Some((status, report)) = checked(" --biased") else { return };
    let failures = report["failures"].as_array().unwrap();
    assert_eq!(status, Some(1));
    assert!(failures.iter().any(|failure| failure["case"] == "running-stats/var-unbiased"));
    // What it leaves in running_var, and what evaluation makes of that.
    let fields: Vec<&Value> = failures.iter().map(|failure| &failure["field"]).collect();
    assert!(fields.iter().all(|field| *field == "running_var" || *field == "output"), "{fields:?}");
}
