//! Programs that misbehave. Each loses the case that it misbehaves on, with a
//! message that says how, and no other.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use bn_suite::catalogue;
use bn_suite::check::{CaseReport, Replay, Verdict};
use bn_suite::engine::{Engine, EngineError};
use bn_suite::engines::process::{Limits, ProcessEngine};
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use bn_suite::runner;
use tempfile::TempDir;

/// More patience than a busy machine needs to start Python, and room for an
/// answer of the 3×4 example.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(30), line: 10_000 };

/// For programs that hang: each costs the wait once.
const IMPATIENT: Limits = Limits { timeout: Duration::from_secs(4), ..LIMITS };

/// Whether there is a Python to run the programs with; said once if not.
static PYTHON: LazyLock<bool> = LazyLock::new(|| {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("NOT RUN: the engine protocol with misbehaving programs, since there is no python3");
    }
    found
});

/// The 3×4 example five times over, under five names.
fn goldens() -> Vec<Golden> {
    let example = catalogue::all().into_iter().find(|entry| entry.case.name == "documents/three-by-four");
    let golden = fixtures::solve(&example.expect("the 3×4 example is in the catalogue"));
    let named = |at: usize| {
        let mut golden = golden.clone();
        golden.case.name = format!("process/{at}");
        golden
    };
    (0..5).map(named).collect()
}

/// A program that answers the right answer, except for what `on_two` does with
/// `process/2`. Python in which `right` is the right answer's line, and `say`
/// writes and flushes.
struct Fake {
    folder: TempDir,
}

impl Fake {
    fn new(on_two: &str) -> Self {
        let goldens = goldens();
        let mut fields = serde_json::Map::new();
        for (field, expected) in &goldens[0].expected[0].fields {
            fields.insert(field.name().into(), serde_json::to_value(&expected.value).unwrap());
        }
        let counter = goldens[0].expected[0].num_batches_tracked;
        let outcomes = serde_json::json!({"outcomes": [{"fields": fields, "num_batches_tracked": counter}]});
        let claims = goldens[0].case.requires();
        let hello = serde_json::json!({"hello": {"name": "fake", "version": "1", "claims": claims}});
        let program = format!(
            "import json, os, subprocess, sys, time\n\
             right = r'''{outcomes}'''\n\
             def say(text, end='\\n'):\n    sys.stdout.write(text + end); sys.stdout.flush()\n\
             for line in sys.stdin:\n    \
                 request = json.loads(line)\n    \
                 if request == 'bye': break\n    \
                 if 'hello' in request: say(r'''{hello}''')\n    \
                 elif request['run']['name'] != 'process/2': say(right)\n    \
                 else:\n        {on_two}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("engine.py"), program).unwrap();
        Fake { folder }
    }

    fn command(&self) -> String {
        format!("python3 {}", shell_words::quote(&self.folder.path().join("engine.py").to_string_lossy()))
    }

    fn check(&self, limits: Limits) -> Vec<CaseReport> {
        let mut engine = ProcessEngine::start(&self.command(), limits).unwrap();
        runner::in_turn(&goldens(), &mut engine, &Replay::named("fake"), || {})
    }
}

/// Checks that all cases but `process/2` pass, and gives what is said of that one.
#[track_caller]
fn said_of_two(on_two: &str, limits: Limits) -> String {
    let reports = Fake::new(on_two).check(limits);
    for report in reports.iter().filter(|report| report.case != "process/2") {
        assert!(matches!(report.verdict, Verdict::Passed { .. }), "{report}");
    }
    assert_eq!(reports[2].failures().len(), 1, "{}", reports[2]);
    reports[2].failures()[0].fault.to_string()
}

#[track_caller]
fn assert_says(on_two: &str, parts: &[&str]) {
    if !*PYTHON {
        return;
    }
    let said = said_of_two(on_two, LIMITS);
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

#[test]
fn a_program_that_behaves_passes() {
    if !*PYTHON {
        return;
    }
    for report in Fake::new("say(right)").check(LIMITS) {
        assert!(matches!(report.verdict, Verdict::Passed { .. }), "{report}");
    }
}

#[test]
fn one_that_exits() {
    let program = "sys.stderr.write('first\\nout of cheese\\n'); sys.exit(3)";
    assert_says(program, &["crashed: the program ended (exit status: 3)", "first", "out of cheese"]);
}

#[test]
fn one_that_is_killed() {
    assert_says("os.kill(os.getpid(), 11)", &["crashed: the program ended (signal: 11"]);
}

#[test]
fn one_that_ends_after_its_answer() {
    assert_says("say(right); sys.exit(4)", &["crashed: the program ended (exit status: 4)"]);
}

#[test]
fn one_that_closes_its_output_and_stays() {
    let program = "os.close(1); time.sleep(60)";
    assert_says(program, &["crashed: the program closed its standard output"]);
}

#[test]
fn one_that_hangs() {
    if *PYTHON {
        assert_eq!(said_of_two("time.sleep(60)", IMPATIENT), "no answer within 4 s");
    }
}

#[test]
fn one_that_writes_garbage() {
    assert_says("say('Segmentation fault')", &["malformed", "in the line \"Segmentation fault\""]);
    assert_says("sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()", &["malformed", "not UTF-8"]);
    assert_says("say('')", &["malformed", "in the line \"\""]);
    assert_says("say(right.replace('outcomes', 'outcome'))", &["malformed", "unknown variant `outcome`"]);
    assert_says(
        "say('{\"hello\": {\"name\": \"x\", \"version\": \"1\", \"claims\": []}}')",
        &["`hello` in answer to `run`"],
    );
}

#[test]
fn one_that_never_ends_its_line() {
    assert_says("say('x' * 20000)", &["malformed", "a line of more than 10000 bytes"]);
    assert_says("say(right[:40], ''); sys.exit(0)", &["in the middle of an answer", "{\\\"outcomes"]);
}

#[test]
fn one_that_answers_twice() {
    assert_says("say(right); say(right)", &["malformed", "each request has one answer"]);
}

/// A program that reads one greeting and then takes every line for a case.
#[test]
fn one_that_knows_hello_only_once_is_served() {
    if !*PYTHON {
        return;
    }
    let fake = Fake::new("say(right)");
    let path = fake.folder.path().join("engine.py");
    let program = fs::read_to_string(&path).unwrap();
    let once = program
        .replace("for line in sys.stdin:", "greeted = False\nfor line in sys.stdin:")
        .replace("if 'hello' in request: say(", "if not greeted: greeted = True; say(");
    assert_ne!(program, once);
    fs::write(&path, once).unwrap();
    for report in fake.check(LIMITS) {
        assert!(matches!(report.verdict, Verdict::Passed { .. }), "{report}");
    }
}

#[test]
fn one_that_claims_and_declines() {
    let program = "say('{\"unsupported\": \"no f32 after all\"}')";
    assert_says(program, &["claims all that this case needs", "no f32 after all"]);
}

#[test]
fn one_that_owns_up() {
    assert_says("say('{\"error\": \"ZeroDivisionError\"}')", &["failed: ZeroDivisionError"]);
}

#[test]
fn one_with_children_takes_them_along() {
    if !*PYTHON || cfg!(not(unix)) {
        return;
    }
    let fake = Fake::new("time.sleep(60)");
    let note = fake.folder.path().join("child");
    let child = "subprocess.Popen(['sleep', '60']).pid";
    let script = fs::read_to_string(fake.folder.path().join("engine.py")).unwrap();
    let script =
        script.replace("time.sleep(60)", &format!("open({note:?}, 'w').write(str({child})); time.sleep(60)"));
    fs::write(fake.folder.path().join("engine.py"), script).unwrap();
    fake.check(IMPATIENT);
    let pid = fs::read_to_string(note).unwrap();
    // Killed with the group; gone, or not yet collected by whoever inherited it.
    let state = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or("(sleep) Z".into());
    assert!(state.contains(") Z"), "the child still runs: {state}");
}

#[test]
fn one_that_does_not_start() {
    let problem = |command: &str| match ProcessEngine::start(command, LIMITS) {
        Ok(engine) => panic!("{command} started as {:?}", engine.about()),
        Err(EngineError::NotStarted(problem)) => problem,
        Err(other) => panic!("{other}"),
    };
    assert!(problem("no-such-program-as-this").contains("\"no-such-program-as-this\": No such file"));
    assert!(problem("").contains("empty"));
    assert!(problem("program 'unclosed").contains("unclosed"));
    // `cat` answers `hello` with the request itself, which is no hello of an engine.
    assert!(problem("cat").contains("asked `hello`"));
    assert!(problem("true").contains("the program ended (exit status: 0)"));
}

#[test]
fn one_that_cannot_start_again_is_given_up() {
    if !*PYTHON {
        return;
    }
    let fake = Fake::new("os.remove(sys.argv[0]); sys.exit(1)");
    let reports = fake.check(LIMITS);
    assert!(matches!(reports[1].verdict, Verdict::Passed { .. }));
    assert_eq!(reports[2].failures()[0].fault.kind(), "crashed");
    for report in &reports[3..] {
        assert_eq!(report.failures()[0].fault.kind(), "not_started");
    }
}
