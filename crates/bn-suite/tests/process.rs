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
use bn_suite::number::Number;
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

/// How many cases the programs are asked.
const CASES: usize = 5;

/// The 3×4 example five times over, under five names and with five momenta, so
/// that each has an answer of its own.
static GOLDENS: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    let example = catalogue::all().into_iter().find(|entry| entry.case.name == "documents/three-by-four");
    let example = example.expect("the 3×4 example is in the catalogue");
    let with_momentum = |at: usize| {
        let mut entry = example.clone();
        entry.case.name = format!("process/{at}");
        entry.case.layer.momentum = Some(Number(0.125 * (at + 1) as f64));
        fixtures::solve(&entry)
    };
    (0..CASES).map(with_momentum).collect()
});

/// The line that answers a case with the truth.
fn right_line(golden: &Golden) -> String {
    let expected = &golden.expected[0];
    let mut fields = serde_json::Map::new();
    for (field, expected) in &expected.fields {
        fields.insert(field.name().into(), serde_json::to_value(&expected.value).unwrap());
    }
    let outcome = serde_json::json!({"fields": fields, "num_batches_tracked": expected.num_batches_tracked});
    serde_json::json!({"outcomes": [outcome]}).to_string()
}

/// A program that answers the right answers, except for what it does with one case.
struct Fake {
    folder: TempDir,
}

impl Fake {
    /// `misconduct` is what it does with `process/{at}`: Python on one line in which
    /// `right` is the right answer's line, `rights` are those of all cases, and `say`
    /// writes and flushes.
    fn new(at: usize, misconduct: &str) -> Self {
        let rights: Vec<String> = GOLDENS.iter().map(right_line).collect();
        let rights = serde_json::to_string(&rights).unwrap();
        let claims = GOLDENS[0].case.requires();
        let hello = serde_json::json!({"hello": {"name": "fake", "version": "1", "claims": claims}});
        let program = format!(
            "import json, os, subprocess, sys, threading, time\n\
             rights = {rights}\n\
             def say(text, end='\\n'):\n    sys.stdout.write(text + end); sys.stdout.flush()\n\
             def later(text):\n    threading.Timer(0.3, say, [text]).start()\n\
             for line in sys.stdin:\n    \
                 request = json.loads(line)\n    \
                 if request == 'bye': break\n    \
                 if 'hello' in request: say(r'''{hello}'''); continue\n    \
                 at = int(request['run']['name'][-1])\n    \
                 right = rights[at]\n    \
                 if at != {at}: say(right); continue\n    \
                 {misconduct}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("engine.py"), program).unwrap();
        Fake { folder }
    }

    /// One that misbehaves nowhere.
    fn behaved() -> Self {
        Fake::new(0, "say(right)")
    }

    /// The program with a part of its text replaced.
    fn edited(self, from: &str, to: &str) -> Self {
        let path = self.folder.path().join("engine.py");
        let program = fs::read_to_string(&path).unwrap();
        assert!(program.contains(from), "{from:?} is not in {program}");
        fs::write(path, program.replace(from, to)).unwrap();
        self
    }

    fn command(&self) -> String {
        format!("python3 {}", shell_words::quote(&self.folder.path().join("engine.py").to_string_lossy()))
    }

    fn check(&self, limits: Limits) -> Vec<CaseReport> {
        let mut engine = ProcessEngine::start(&self.command(), limits).unwrap();
        runner::in_turn(&GOLDENS, &mut engine, &Replay::named("fake"), || {})
    }
}

/// Checks that all reports but that of case `at` are those of a program that
/// behaves, and gives what is said of that one.
#[track_caller]
fn said_of(at: usize, misconduct: &str, limits: Limits) -> String {
    let behaved = Fake::behaved().check(LIMITS);
    let reports = Fake::new(at, misconduct).check(limits);
    for (case, (report, behaved)) in reports.iter().zip(&behaved).enumerate() {
        assert!(matches!(behaved.verdict, Verdict::Passed { .. }), "{behaved}");
        assert!(case == at || report == behaved, "{misconduct} at {at} changes {case}: {report}");
    }
    assert_eq!(reports.len(), CASES);
    assert!(!reports[at].failures().is_empty(), "{misconduct} at {at} passes");
    reports[at].failures()[0].fault.to_string()
}

#[track_caller]
fn said_of_two(misconduct: &str, limits: Limits) -> String {
    said_of(2, misconduct, limits)
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
    for report in Fake::behaved().check(LIMITS) {
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
fn greeted_once(fake: Fake) -> Fake {
    fake.edited("for line in sys.stdin:", "greeted = False\nfor line in sys.stdin:")
        .edited("if 'hello' in request: say(", "if not greeted: greeted = True; say(")
}

#[test]
fn one_that_knows_hello_only_once_is_served() {
    if !*PYTHON {
        return;
    }
    for report in greeted_once(Fake::behaved()).check(LIMITS) {
        assert!(matches!(report.verdict, Verdict::Passed { .. }), "{report}");
    }
}

#[test]
fn one_that_knows_hello_only_once_loses_the_case_that_it_crashes_on() {
    if !*PYTHON {
        return;
    }
    let reports = greeted_once(Fake::new(2, "sys.exit(3)")).check(LIMITS);
    assert_eq!(reports[2].failures()[0].fault.kind(), "crashed");
    let passed = reports.iter().filter(|report| matches!(report.verdict, Verdict::Passed { .. }));
    assert_eq!(passed.count(), CASES - 1);
}

/// Whatever happens at a case, wherever in the run, happens to that case alone.
#[test]
fn misconduct_at_any_case_changes_no_other() {
    if !*PYTHON {
        return;
    }
    let all = [
        ("os._exit(3)", LIMITS, "crashed: the program ended (exit status: 3)"),
        ("os.kill(os.getpid(), 9)", LIMITS, "crashed: the program ended (signal: 9"),
        ("time.sleep(60)", IMPATIENT, "no answer within 4 s"),
        ("say('garbage')", LIMITS, "malformed"),
        ("say('x' * 20000)", LIMITS, "a line of more than 10000 bytes"),
        ("say(right[:40], ''); os._exit(0)", LIMITS, "in the middle of an answer"),
        ("say(right); say(right)", LIMITS, "each request has one answer"),
    ];
    std::thread::scope(|scope| {
        for (misconduct, limits, message) in all {
            scope.spawn(move || {
                for at in 0..CASES {
                    let said = said_of(at, misconduct, limits);
                    assert!(said.contains(message), "{misconduct} at {at}: {said}");
                }
            });
        }
    });
}

#[test]
fn one_that_answers_another_case() {
    assert_says("say(rights[at - 1])", &["running_mean: 4 of 4 elements wrong"]);
    assert_says("say(rights[at + 1])", &["running_mean: 4 of 4 elements wrong"]);
}

#[test]
fn one_that_answers_fewer_steps_or_more() {
    assert_says("say('{\"outcomes\": []}')", &["expected 1 outcomes, one per step, got 0"]);
    let twice = "outcome = json.loads(right)['outcomes'] * 2; say(json.dumps({'outcomes': outcome}))";
    assert_says(twice, &["expected 1 outcomes, one per step, got 2"]);
}

#[test]
fn one_that_leaves_out_an_array() {
    let program = "answer = json.loads(right); del answer['outcomes'][0]['fields']['running_var']; \
                   say(json.dumps(answer))";
    assert_says(program, &["running_var: expected an array, got none"]);
}

/// The pipe of standard error holds some 64 KiB; a program that is not read from waits.
#[test]
fn one_that_floods_its_standard_error_is_served() {
    if !*PYTHON {
        return;
    }
    let flood = "sys.stderr.write('warning\\n' * 100000); sys.stderr.write('x' * 1000000); say(right)";
    assert_eq!(Fake::new(2, flood).check(LIMITS), Fake::behaved().check(LIMITS));
}

#[test]
fn one_that_floods_its_standard_output() {
    assert_says("[say('babble') for _ in range(10 ** 9)]", &["malformed", "in the line \"babble\""]);
}

#[test]
fn one_that_answers_before_it_is_asked() {
    let program = "say(right); sys.stdin.readline(); say(rights[3]); say(rights[3])";
    assert_says(program, &["malformed", "must answer the next `hello`"]);
}

/// A line that comes when the next case is being asked was that case's answer for
/// all that anybody can see; asked again, that case shows that it was not.
#[test]
fn one_that_answers_once_more_later_spoils_no_other_case() {
    if !*PYTHON {
        return;
    }
    let behaved = Fake::behaved().check(LIMITS);
    for slow in ["say(right)", "time.sleep(0.6); say(right)"] {
        let fake = Fake::new(2, "say(right); later(rights[2])")
            .edited("if at != 2: say(right)", &format!("if at != 2: {slow}"));
        assert_eq!(fake.check(LIMITS), behaved, "{slow}");
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
    let fake = Fake::new(2, "time.sleep(60)");
    let note = fake.folder.path().join("child");
    let child = "subprocess.Popen(['sleep', '60']).pid";
    let fake =
        fake.edited("time.sleep(60)", &format!("open({note:?}, 'w').write(str({child})); time.sleep(60)"));
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
    let fake = Fake::new(2, "os.remove(sys.argv[0]); sys.exit(1)");
    let reports = fake.check(LIMITS);
    assert!(matches!(reports[1].verdict, Verdict::Passed { .. }));
    assert_eq!(reports[2].failures()[0].fault.kind(), "crashed");
    for report in &reports[3..] {
        assert_eq!(report.failures()[0].fault.kind(), "not_started");
    }
}

/// The same where no second greeting shows it, and the line comes between two cases.
#[test]
fn one_that_knows_hello_only_once_and_answers_once_more_later() {
    if !*PYTHON {
        return;
    }
    let fake = greeted_once(Fake::new(2, "say(right); later(right)"));
    let mut engine = ProcessEngine::start(&fake.command(), LIMITS).unwrap();
    let pause = || std::thread::sleep(Duration::from_millis(600));
    let reports = runner::in_turn(&GOLDENS, &mut engine, &Replay::named("fake"), pause);
    assert_eq!(reports, Fake::behaved().check(LIMITS));
}

#[test]
fn one_that_answers_before_it_is_greeted() {
    if !*PYTHON {
        return;
    }
    let fake = Fake::behaved().edited("for line in sys.stdin:", "say(rights[0])\nfor line in sys.stdin:");
    let problem = match ProcessEngine::start(&fake.command(), LIMITS) {
        Err(EngineError::NotStarted(problem)) => problem,
        _ => panic!("it started"),
    };
    assert!(problem.contains("`outcomes` in answer to `hello`"), "{problem}");
}
