//! From a check to the scoreboard, and from the scoreboard to a reproduction, as people go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bn(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bn"));
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The record of a wrong engine on one group.
fn record(folder: &Path, mutant: &str) -> PathBuf {
    let path = folder.join(format!("{mutant}.json"));
    let engine = format!("mutant:{mutant}");
    let output =
        bn(&["check", "--engine", &engine, "--group", "momentum", "--record", &path.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("what is wrong, by cause:"));
    path
}

#[test]
fn a_record_becomes_a_page_and_a_table() {
    let folder = tempfile::tempdir().unwrap();
    for mutant in ["running-var-biased", "momentum-inverted"] {
        record(folder.path(), mutant);
    }
    let (page, table) = (folder.path().join("out/page.html"), folder.path().join("out/table.md"));
    let name = |path: &Path| path.to_string_lossy().into_owned();
    let output = bn(&[
        "report",
        "--engines",
        &name(folder.path()),
        "--output",
        &name(&page),
        "--markdown",
        &name(&table),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("2 engines; written to "));
    let page = fs::read_to_string(page).unwrap();
    for title in ["running_var tracks the biased variance", "momentum weighs the old value"] {
        assert!(page.contains(title) && fs::read_to_string(&table).unwrap().contains(title), "{title}");
    }
    // The command on the page shows the failure.
    let start = page.find("bn run momentum/").unwrap();
    let command: Vec<&str> = page[start..].split('<').next().unwrap().split(' ').skip(1).collect();
    let replayed = bn(&command);
    assert_eq!(replayed.status.code(), Some(1), "{command:?}");
    assert!(text(&replayed.stdout).contains("FAILED momentum/"));
}

/// The records of this repository can be read, and docs/scoreboard.md is made of them.
#[test]
fn the_published_table_is_that_of_the_kept_records() {
    let folder = tempfile::tempdir().unwrap();
    let name = |file: &str| folder.path().join(file).to_string_lossy().into_owned();
    let (page, table) = (name("page.html"), name("table.md"));
    let output = bn(&["report", "--output", &page, "--markdown", &table]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scoreboard.md");
    let (published, table) = (fs::read_to_string(published).unwrap(), fs::read_to_string(table).unwrap());
    assert!(
        published.ends_with(&table),
        "docs/scoreboard.md is of other records; its first lines say how it is made"
    );
}

#[test]
fn a_spoilt_record_stops_the_report_and_leaves_the_old_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = record(folder.path(), "momentum-inverted");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    let page = folder.path().join("page.html");
    fs::write(&page, "the old one").unwrap();
    let folder_name = folder.path().to_string_lossy().into_owned();
    let output = bn(&["report", "--engines", &folder_name, "--output", &page.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("momentum-inverted.json"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(page).unwrap(), "the old one");
}

#[test]
fn an_explanation_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small.json").to_string_lossy().into_owned();
    let (engine, case) = ("mutant:running-var-biased", "documents/three-by-four");
    let output = bn(&["explain", engine, case, "--output", &small, "--patience", "20"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let explained = text(&output.stdout);
    assert!(explained.contains("running_var tracks the biased variance"), "{explained}");
    assert!(explained.contains("expected   ") && explained.contains("--file"), "{explained}");
    let replayed = bn(&["run", "--file", &small, "--engine", engine]);
    assert_eq!(replayed.status.code(), Some(1));
    assert!(bn(&["run", "--file", &small]).status.success(), "our own engine passes it");
    let right = bn(&["explain", "batchnorm", case]);
    assert!(right.status.success() && text(&right.stdout).starts_with("nothing to explain"));
}

/// Written for a shell. One that never answers costs eight timeouts, not one for each case, and none is lost.
#[cfg(unix)]
#[test]
fn an_engine_that_always_hangs_is_reported_whole_and_soon() {
    let hello = r#"{"hello":{"name":"asleep","version":"1","claims":["f32","train","eval","rank_any"]}}"#;
    let script =
        format!("while read -r line; do case $line in *hello*) echo '{hello}';; *) sleep 60;; esac; done");
    let command = format!("sh -c {}", shell_words::quote(&script));
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("asleep.json");
    let record_name = record.to_string_lossy().into_owned();
    let arguments =
        ["check", "--command", &command, "--timeout", "1", "--group", "momentum", "--record", &record_name];
    let output = bn(&arguments);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let kept: serde_json::Value = serde_json::from_str(&fs::read_to_string(record).unwrap()).unwrap();
    let count = |member: &str| kept["all"][member].as_u64().unwrap();
    assert_eq!(count("cases"), count("failed") + count("unsupported"));
    let failures = kept["failures"].as_array().unwrap();
    assert_eq!(failures.len() as u64, count("failed"));
    let of_kind = |kind: &str| failures.iter().filter(|failure| failure["kind"] == kind).count();
    assert_eq!((of_kind("timed_out"), of_kind("given_up")), (8, failures.len() - 8));
    assert!(failures.iter().all(|failure| failure["cause"] == "hangs"));
}
