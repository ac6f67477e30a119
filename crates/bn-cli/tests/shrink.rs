//! A wrong engine, found by random cases: what proptest leaves of the case is
//! small, and the command that is printed shows the fault again.

use std::path::Path;
use std::process::{Command, Stdio};

use bn_suite::case::{Case, Step};
use bn_suite::catalogue::random::{self, Breadth, Tape};
use bn_suite::check::{Replay, Verdict, check};
use bn_suite::engines::process::{Limits, ProcessEngine};
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use bn_suite::truth;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

/// Cases to draw: the example engine claims enough for about one in thirty.
const CASES: u32 = 2000;

/// What is left of a case may have so many elements. Two would do; the choices are
/// lowered one by one, and each is taken modulo the number of its answers.
const SMALL: usize = 4;

fn made(choices: &[u32]) -> Case {
    random::case(&mut Tape::listed(choices.to_vec()), Breadth::Whole)
}

#[test]
fn a_biased_running_variance_is_found_shrunk_and_replayed() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("NOT RUN: shrinking with the example engine, since there is no python3");
        return;
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let engine_file = repository.join("examples/engine.py");
    let command = format!("python3 {} --biased", shell_words::quote(&engine_file.to_string_lossy()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("failing.json");
    let replay = Replay {
        program: env!("CARGO_BIN_EXE_bn").into(),
        options: format!("--command {}", shell_words::quote(&command)),
    };
    let engine = std::cell::RefCell::new(ProcessEngine::start(&command, Limits::default()).unwrap());
    let property = |choices: Vec<u32>| {
        let case = made(&choices);
        let golden = Golden { expected: truth::solve(&case), case, disputed: None };
        let report = check(&golden, &mut *engine.borrow_mut(), &replay);
        if matches!(report.verdict, Verdict::Failed { .. }) {
            fixtures::write_case(&file, &golden.case).unwrap();
            return Err(TestCaseError::fail(fixtures::replay_of(&file, &replay)));
        }
        Ok(())
    };
    let config =
        Config { cases: CASES, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let found = runner.run(&prop::collection::vec(any::<u32>(), 0..96), property);
    let Err(TestError::Fail(printed, choices)) = found else { panic!("a wrong engine passes: {found:?}") };

    let case = made(&choices);
    let [Step::BatchNorm(pass)] = case.steps.as_slice() else { panic!("not shrunk: {case:?}") };
    assert!(pass.input.len() <= SMALL, "not shrunk: {case:?}");
    // The last failure that was written is the smallest one.
    assert_eq!(fixtures::read_case(&file).unwrap().case, case);

    let words = shell_words::split(printed.message()).unwrap();
    let output = Command::new(&words[0])
        .args(&words[1..])
        .current_dir(&repository)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("running_var") && said.contains("FAILED random/any"), "{said}");
    assert!(said.contains(&format!("run --file {}", file.display())), "{said}");
}
