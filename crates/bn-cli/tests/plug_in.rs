//! Programs that are plugged in, through `bn` itself. The plain-Python engine of `examples/` is the README's:
//! it must pass all that it claims, and its `--biased` form must not. And whatever a program does, the report is
//! complete and blames the right case. (The templates are checked in `bn-suite/tests/templates.rs`.)

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Whether there is a Python for the programs; said if not.
fn python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("NOT RUN: programs in Python, since there is no python3");
    }
    found
}

/// `bn check --format json` of the example, from the repository's root.
fn checked(options: &str) -> Option<(Option<i32>, Value)> {
    if !python() {
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

/// What becomes of a report when the program misbehaves. The programs are the template with a line more.
mod misconduct {
    use std::collections::BTreeSet;
    use std::fs;
    use std::sync::LazyLock;

    use super::*;

    /// A small group of which the template is asked a good part, and a case of it in the middle.
    const GROUP: &str = "momentum";
    const CASE: &str = "momentum/one";

    /// The report on the template as it is, and the exit status.
    static BEHAVED: LazyLock<(Option<i32>, Value)> =
        LazyLock::new(|| report("pass", |template| template, &[]));

    /// The report on the group, and the exit status. `line` is what the program does before it answers CASE.
    fn report(line: &str, edit: impl Fn(String) -> String, options: &[&str]) -> (Option<i32>, Value) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let template = edit(fs::read_to_string(repository.join("examples/template.py")).unwrap());
        let asked = "\"bye\"):\n";
        assert!(template.contains(asked));
        let line = format!(
            "{asked}    if \"run\" in request and request[\"run\"][\"name\"] == \"{CASE}\": {line}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("template.py");
        fs::write(&program, format!("import os, sys, time\n{}", template.replace(asked, &line))).unwrap();
        let command = format!("python3 {}", shell_words::quote(&program.to_string_lossy()));
        let output = Command::new(env!("CARGO_BIN_EXE_bn"))
            .args(["check", "--format", "json", "--group", GROUP, "--command", &command])
            .args(options)
            .current_dir(repository)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_counts_add_up(&report);
        (output.status.code(), report)
    }

    fn count(report: &Value, name: &str) -> u64 {
        report[name].as_u64().unwrap()
    }

    fn failed_cases(report: &Value) -> BTreeSet<&str> {
        let failures = report["failures"].as_array().unwrap().iter();
        failures.map(|failure| failure["case"].as_str().unwrap()).collect()
    }

    /// Every case of the catalogue's group has exactly one verdict, in the sums and in the lists.
    #[track_caller]
    fn assert_counts_add_up(report: &Value) {
        let all = bn_suite::catalogue::all();
        let cases = all.iter().filter(|entry| entry.case.group() == GROUP).count() as u64;
        for sums in [report, &report["groups"][0]] {
            let verdicts = ["passed", "failed", "unsupported", "disputed"].map(|name| count(sums, name));
            assert_eq!((count(sums, "cases"), verdicts.iter().sum::<u64>()), (cases, cases), "{sums}");
        }
        assert_eq!(report["groups"].as_array().unwrap().len(), 1);
        assert_eq!(failed_cases(report).len() as u64, count(report, "failed"));
        assert_eq!(
            report["unsupported_cases"].as_array().unwrap().len() as u64,
            count(report, "unsupported")
        );
    }

    /// CASE fails, as `kind`, with `message`; of every other case the report says what it says of a program
    /// that behaves.
    #[track_caller]
    fn assert_blames(line: &str, options: &[&str], kind: &str, message: &str) {
        if !python() {
            return;
        }
        let (behaved_status, behaved) = &*BEHAVED;
        assert_eq!((*behaved_status, count(behaved, "failed")), (Some(0), 0), "{behaved}");
        let (status, spoiled) = report(line, |template| template, options);
        assert_eq!((status, failed_cases(&spoiled)), (Some(1), [CASE].into()), "{spoiled}");
        let failure = &spoiled["failures"][0];
        assert_eq!(failure["kind"], kind);
        assert!(failure["message"].as_str().unwrap().contains(message), "{failure}");
        assert!(failure["reproduce"].as_str().unwrap().contains(CASE));
        assert_eq!(count(&spoiled, "passed") + 1, count(behaved, "passed"));
        assert_eq!(spoiled["unsupported_cases"], behaved["unsupported_cases"]);
    }

    #[test]
    fn one_that_hangs() {
        assert_blames("time.sleep(60)", &["--timeout", "3"], "timed_out", "no answer within 3 s");
    }

    #[test]
    fn one_that_crashes() {
        assert_blames("sys.exit('out of cheese')", &[], "crashed", "out of cheese");
        assert_blames("os.abort()", &[], "crashed", "signal: 6");
    }

    #[test]
    fn one_that_prints_noise() {
        assert_blames("print('loading weights …')", &[], "malformed", "loading weights");
    }

    /// Each case that it is asked fails, by an element that is NaN, and none is lost.
    #[test]
    fn one_that_answers_nan_everywhere() {
        if !python() {
            return;
        }
        let nan = |template: String| {
            let value = "WORDS.get(str(value), value)";
            assert!(template.contains(value));
            template.replace(value, "\"NaN\"")
        };
        let (status, report) = report("pass", nan, &[]);
        assert_eq!((status, count(&report, "passed")), (Some(1), 0));
        assert_eq!(count(&report, "failed"), count(&BEHAVED.1, "passed"));
        for failure in report["failures"].as_array().unwrap() {
            assert_eq!((failure["kind"].as_str(), failure["got"].as_str()), (Some("elements"), Some("NaN")));
            assert_eq!(failure["ratio"], "Infinity", "{failure}");
        }
    }
}
