//! What `bn` prints and how it exits, held by snapshots. Nothing printed depends
//! on time, machine or terminal; the snapshots are of one small case each, so
//! that a new case of the catalogue leaves them alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

const CASE: &str = "documents/three-by-four";

/// Whether there is a Python for the replaying engine; said once if not.
static PYTHON: LazyLock<bool> = LazyLock::new(|| {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("NOT RUN: `bn` with an engine that is a program, since there is no python3");
    }
    found
});

struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

/// Runs `bn` in the repository.
fn bn(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bn"));
    command.args(arguments).current_dir(repository()).stdin(Stdio::null());
    // Reproductions start with `cargo run` under cargo, whoever runs these tests.
    command.env("CARGO", "cargo").env_remove("CLICOLOR_FORCE");
    said(&mut command)
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text =
        |bytes| String::from_utf8(bytes).unwrap().replace(&*engine_file().to_string_lossy(), "replay.py");
    Said { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn engine_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/replay.py")
}

fn replay(spoil: &str) -> String {
    format!("python3 {} fixtures {spoil}", shell_words::quote(&engine_file().to_string_lossy()))
}

/// Standard output, after the exit status has been compared.
#[track_caller]
fn output(status: i32, arguments: &[&str]) -> String {
    let said = bn(arguments);
    assert_eq!(said.status, Some(status), "{}{}", said.out, said.err);
    said.out
}

/// Standard error of a question that is itself wrong.
#[track_caller]
fn refusal(arguments: &[&str]) -> String {
    let said = bn(arguments);
    assert_eq!(said.status, Some(2), "{}{}", said.out, said.err);
    assert_eq!(said.out, "");
    said.err
}

#[test]
fn check_prints_a_table() {
    insta::assert_snapshot!(output(0, &["check", "--engine", "textbook", "--case", CASE]));
}

#[test]
fn bn_alone_is_bn_check() {
    let alone = output(0, &["--case", CASE]);
    assert_eq!(alone, output(0, &["check", "--engine", "batchnorm", "--case", CASE]));
    assert!(alone.contains("batchnorm ") && alone.contains("1 passed"), "{alone}");
}

#[test]
fn show_tells_what_is_asked_and_what_is_right() {
    insta::assert_snapshot!(output(0, &["show", CASE]));
}

#[test]
fn show_json_is_the_golden_case() {
    let shown: Value = serde_json::from_str(&output(0, &["show", CASE, "--json"])).unwrap();
    let file = fs::read_to_string(repository().join("fixtures/documents.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let stored =
        file["cases"].as_array().unwrap().iter().find(|stored| stored["case"]["name"] == CASE).unwrap();
    assert_eq!(shown["case"], stored["case"]);
    assert_eq!(shown["expected"], stored["expected"]);
}

#[test]
fn run_shows_the_answer_beside_the_truth() {
    insta::assert_snapshot!(output(0, &["run", CASE, "--engine", "textbook"]));
}

#[test]
fn a_failing_engine_is_shown_in_full() {
    if *PYTHON {
        let biased = replay("biased");
        insta::assert_snapshot!("run_biased", output(1, &["run", CASE, "--command", &biased]));
        insta::assert_snapshot!("check_biased", output(1, &["check", "--case", CASE, "--command", &biased]));
        let wrong_kind = replay("wrong-kind");
        insta::assert_snapshot!("run_wrong_kind", output(1, &["run", CASE, "--command", &wrong_kind]));
        let crash = replay("crash");
        insta::assert_snapshot!("check_crash", output(1, &["check", "--case", CASE, "--command", &crash]));
        let nothing = replay("nothing");
        insta::assert_snapshot!(
            "check_nothing",
            output(0, &["check", "--case", CASE, "--command", &nothing])
        );
    }
}

#[test]
fn the_printed_reproduction_reproduces() {
    if !*PYTHON {
        return;
    }
    let json = output(1, &["check", "--case", CASE, "--command", &replay("biased"), "--format", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let reproduce = report["failures"][0]["reproduce"].as_str().unwrap();
    let reproduce = reproduce.replace("replay.py", &engine_file().to_string_lossy());
    let words = shell_words::split(&reproduce).unwrap();
    let ["cargo", "run", "--release", "--", arguments @ ..] =
        &words.iter().map(String::as_str).collect::<Vec<_>>()[..]
    else {
        panic!("{reproduce}")
    };
    assert!(output(1, arguments).contains("running_var"));
}

#[test]
fn json_has_the_promised_form() {
    if !*PYTHON {
        return;
    }
    let json = output(1, &["check", "--case", CASE, "--command", &replay("biased"), "--format", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["engine"], serde_json::json!({"name": "replay", "version": "1"}));
    let counts = ["cases", "passed", "failed", "unsupported"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [1, 0, 1, 0]);
    let worst = &report["worst"];
    assert_eq!((worst["case"].as_str(), worst["field"].as_str()), (Some(CASE), Some("running_var")));
    let group = &report["groups"][0];
    assert_eq!((group["name"].as_str(), group["failed"].as_u64()), (Some("documents"), Some(1)));
    let failure = &report["failures"][0];
    let [got, expected, allowance, ratio] =
        ["got", "expected", "allowance", "ratio"].map(|name| failure[name].as_f64().unwrap());
    assert_eq!((got, expected), (0.966796875, 1.0));
    assert_eq!(ratio, (got - expected).abs() / allowance);
    assert_eq!((failure["field"].as_str(), failure["index"].as_u64()), (Some("running_var"), Some(0)));
    assert!(failure["reproduce"].as_str().unwrap().contains(CASE));
}

#[test]
fn junit_has_a_test_per_case() {
    if *PYTHON {
        let arguments = ["check", "--case", CASE, "--command", &replay("biased"), "--format", "junit"];
        insta::assert_snapshot!(output(1, &arguments));
    }
}

#[test]
fn unknown_names_come_with_near_ones() {
    insta::assert_snapshot!("no_engine", refusal(&["check", "--engine", "batchnrom"]));
    let group = refusal(&["check", "--group", "document"]);
    assert!(group.starts_with("error: no group \"document\"; near it: documents"), "{group}");
    let case = refusal(&["run", "three-by-five"]);
    assert!(case.starts_with("error: no case \"three-by-five\"; near it: documents/three-by-four"), "{case}");
    assert_eq!(refusal(&["show", "qqq"]), "error: no case \"qqq\"; `bn list` lists them\n");
    let group = refusal(&["list", "--group", "documentz"]);
    assert!(group.contains("near it: documents"), "{group}");
}

#[test]
fn engines_that_do_not_start_are_refused() {
    insta::assert_snapshot!("no_program", refusal(&["check", "--command", "no-such-program-as-this --fast"]));
    // A copy of `bn` with no oracle beside it, above it or on its path.
    let folder = tempfile::tempdir().unwrap();
    let lonely = folder.path().join("bn");
    fs::copy(env!("CARGO_BIN_EXE_bn"), &lonely).unwrap();
    let mut bn = Command::new(lonely);
    bn.args(["check", "--engine", "libtorch"]).env("PATH", "").current_dir(&folder);
    let output = said(&mut bn);
    assert_eq!(output.status, Some(2));
    insta::assert_snapshot!("no_libtorch", output.err);
}

/// Without a device nothing is checked, which is neither a pass nor a failure.
#[test]
fn without_a_gpu_cuda_is_not_run() {
    if bn_cuda::gpu::devices().is_ok() {
        eprintln!("NOT RUN: what `bn` says without a GPU, since there is one");
        return;
    }
    for arguments in [&["check", "--engine", "cuda"][..], &["run", CASE, "--engine", "cuda"]] {
        let said = bn(arguments);
        assert_eq!((said.status, said.out.as_str()), (Some(3), ""), "{}", said.err);
        assert!(said.err.starts_with("not run: no CUDA device: "), "{}", said.err);
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    }
    let misplaced = refusal(&["check", "--engine", "textbook", "--device", "cuda"]);
    assert_eq!(misplaced, "error: --device is libtorch's: our own CUDA kernels are the engine cuda\n");
}

#[test]
fn the_cuda_kernels_are_an_engine_on_the_cpu() {
    let said = output(0, &["check", "--engine", "cuda-emulated", "--case", CASE]);
    assert!(said.contains("1 passed, 0 failed"), "{said}");
}

#[test]
fn unsound_fixtures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let argument = folder.path().to_string_lossy().into_owned();
    let refused = |arguments: &[&str]| {
        let refused = refusal(&[arguments, &["--fixtures", &argument]].concat());
        refused.replace(&argument, "DIR")
    };
    assert_eq!(refused(&["check"]), "error: DIR: no fixtures here; `bn bless` writes them\n");
    for entry in fs::read_dir(repository().join("fixtures")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let file = folder.path().join("documents.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\"schema_version\": 1", "\"schema_version\": 9", 1)).unwrap();
    assert_eq!(refused(&["show", CASE]), "error: DIR/documents.json: schema_version: expected 1, got 9\n");
    fs::write(&file, text.replacen("[1.0, 2.0, 3.0", "[1.0, 2.5, 3.0", 1)).unwrap();
    let tampered = refused(&["run", CASE]);
    assert!(
        tampered.contains("DIR/documents.json: case \"documents/three-by-four\": tampered"),
        "{tampered}"
    );
}

#[test]
fn bless_check_says_what_differs_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let argument = folder.path().to_string_lossy().into_owned();
    output(0, &["bless", "--fixtures", &argument]);
    let file = folder.path().join("documents.json");
    let spoiled = fs::read_to_string(&file).unwrap().replacen("[1.0, 2.0, 3.0", "[1.0, 2.5, 3.0", 1);
    fs::write(&file, &spoiled).unwrap();
    let said = output(1, &["bless", "--check", "--fixtures", &argument]);
    assert!(said.contains("documents.json, case documents/three-by-four: differs in line"), "{said}");
    assert!(said.contains("[1.0, 2.5") && said.contains("[1.0, 2.0"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), spoiled);
    let said = output(0, &["bless", "--fixtures", &argument]);
    assert!(said.contains("wrote") && said.contains("1 of "), "{said}");
    output(0, &["bless", "--check", "--fixtures", &argument]);
}

#[test]
fn tables_fit_a_terminal() {
    for arguments in [&["list"][..], &["check", "--engine", "textbook", "--case", CASE], &["run", CASE]] {
        for line in output(0, arguments).lines().filter(|line| !line.contains("reproduce:")) {
            assert!(line.chars().count() <= 100, "{arguments:?}: {line}");
        }
    }
}

#[test]
fn colour_only_on_demand() {
    let out = output(0, &["check", "--engine", "textbook", "--case", CASE]);
    assert!(!out.contains('\u{1b}'));
}

#[test]
fn list_names_every_case() {
    let listed = output(0, &["list"]);
    let count = bn_suite::catalogue::all().len();
    assert!(listed.contains(&format!("\n{count} case")), "{listed}");
    assert!(listed.contains(CASE));
}

#[test]
fn a_random_case_is_made_again_from_its_name() {
    let drawn = output(0, &["check", "--group", "random", "--seed", "7", "--random", "3"]);
    assert!(drawn.contains("3 random cases of seed 7"), "{drawn}");
    let listed = output(0, &["list", "--group", "random", "--seed", "7", "--random", "43"]);
    assert!(listed.contains("random/7-42"), "{listed}");
    let shown = output(0, &["show", "random/7-42"]);
    assert!(shown.starts_with("random/7-42\n"), "{shown}");
    assert_eq!(shown, output(0, &["show", "random/7-42", "--seed", "9"]));
    assert!(output(0, &["run", "random/7-42"]).contains("passed random/7-42"));
}

#[test]
fn a_case_can_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.json");
    let path = file.to_string_lossy().into_owned();
    let golden: Value = serde_json::from_str(&output(0, &["show", CASE, "--json"])).unwrap();
    for value in [&golden, &golden["case"]] {
        fs::write(&file, value.to_string()).unwrap();
        let said = output(0, &["run", "--file", &path]);
        assert!(said.contains(&format!("passed {CASE}")), "{said}");
    }
    // What a file expects is not believed.
    let mut spoiled = golden.clone();
    spoiled["expected"][0]["fields"]["output"]["value"]["data"][0] = 9.0.into();
    fs::write(&file, spoiled.to_string()).unwrap();
    output(0, &["run", "--file", &path]);
}

#[test]
fn a_file_that_holds_no_case_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.json");
    let path = file.to_string_lossy().into_owned();
    let refused = |text: &str| {
        fs::write(&file, text).unwrap();
        refusal(&["run", "--file", &path]).replace(&path, "FILE")
    };
    assert!(refused("{").starts_with("error: FILE: line 1, column 1: EOF"), "{}", refused("{"));
    assert!(refused("{}").contains("missing field"), "{}", refused("{}"));
    let shown = output(0, &["show", CASE, "--json"]);
    let golden: Value = serde_json::from_str(&shown).unwrap();
    let mut case = golden["case"].clone();
    case["steps"][0]["input"]["shape"] = serde_json::json!([3, 5]);
    let said = refused(&case.to_string());
    assert!(said.starts_with(&format!("error: FILE: case {CASE:?}: step 0, input")), "{said}");
    case = golden["case"].clone();
    case["steps"][0]["input"]["data"][0] = 0.1.into();
    assert!(refused(&case.to_string()).contains("is not a value of f32"), "{}", refused(&case.to_string()));
    fs::remove_file(&file).unwrap();
    assert!(refusal(&["run", "--file", &path]).contains("cannot be read"));
}
