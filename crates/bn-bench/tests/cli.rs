//! `bn-perf`, run as a program. What a row says of time is never looked at.

use std::process::{Command, Output};

use bn_bench::Record;
use bn_bench::axes::Op;
use serde_json::Value;

fn bn_perf(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bn-perf")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// 5 rounds of each row.
const QUICK: [&str; 4] = ["--network", "small", "--seconds-per-row", "0"];

#[test]
fn a_run_has_a_row_for_every_layer_setting_and_operation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    let settings = [
        "--format",
        "json",
        "--output",
        path.to_str().unwrap(),
        "--threads",
        "1,2",
        "--layout",
        "channels-last,contiguous",
        "--dtype",
        "bf16",
        "--op",
        "forward-eval",
        "--op",
        "backward-eval",
    ];
    let output = bn_perf(&[&QUICK[..], &settings].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "--output takes it all");
    let record = Record::read(&path).unwrap();
    // Seven shapes, of which two have a layout to choose; two operations, two numbers of threads.
    assert_eq!(record.rows.len(), (7 + 2) * 2 * 2);
    assert_eq!(record.geomean.len(), 8);
    for row in &record.rows {
        let samples = &row.samples;
        for rounds in [&samples.ours, &samples.libtorch, &samples.copy] {
            assert_eq!(rounds.len(), 5);
        }
        assert!(row.ratio_low <= row.ratio && row.ratio <= row.ratio_high);
        assert_eq!(row.remarks.libtorch_outside, None);
        assert!(matches!(row.subject.op, Op::ForwardEval | Op::BackwardEval));
    }
}

#[test]
fn json_has_the_members_that_are_promised() {
    let output =
        bn_perf(&[&QUICK[..], &["--format", "json", "--op", "forward-train", "--cache", "cold"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    for member in ["machine", "revision", "libtorch", "rows", "geomean"] {
        assert!(record.get(member).is_some(), "{member}");
    }
    let row = &record["rows"][0];
    for member in [
        "network",
        "shape",
        "count",
        "dtype",
        "layout",
        "op",
        "threads",
        "ours_s",
        "libtorch_s",
        "copy_s",
        "ratio",
        "ratio_low",
        "ratio_high",
        "bytes",
        "gb_per_s",
        "copy_fraction",
    ] {
        assert!(row.get(member).is_some(), "{member}");
    }
    assert_eq!(row["shape"], serde_json::json!([16, 16, 32, 32]));
    assert!(record["geomean"]["forward-train/f32/contiguous/1"].is_number());
    assert_eq!(record["cache"], "cold");
}

#[test]
fn a_table_is_for_people() {
    let output = bn_perf(&[&QUICK[..], &["--op", "backward-train"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.starts_with("small backward-train/f32/contiguous/1: "), "{table}");
    assert!(table.contains("\n 64x100 "), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours where there is no terminal");
}

#[test]
fn batch_norm_with_relu_has_rows_like_the_others() {
    let ops = "forward-train-relu,forward-train-add-relu,forward-eval-relu,backward-train-relu,backward-train-add-relu";
    let output = bn_perf(&[&QUICK[..], &["--format", "json", "--op", ops]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let record: Record = serde_json::from_slice(&output.stdout).unwrap();
    let arrays = [2, 3, 2, 3, 4];
    assert_eq!(record.rows.len(), 7 * arrays.len());
    for (row, arrays) in record.rows.iter().zip(arrays.into_iter().cycle()) {
        let (subject, elements) = (&row.subject, row.subject.shape.iter().product::<usize>() as u64);
        assert_eq!(row.bytes, arrays * 4 * elements, "{subject:?}");
        assert_eq!(row.remarks.libtorch_outside, None, "{subject:?}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (arguments, reason) in [
        (&["--network", "resnet51"][..], "resnet51"),
        (&["--threads", "0"], "at least 1"),
        (&["--device", "cuda", "--threads", "2"], "--threads are the processor's"),
        (&["--batch", "0"], "at least 1"),
        (&["--threads", "1025"], "at most 1024"),
        (&["--batch", "99999999999999999999"], "too large"),
        (&["--batch", "999999999999"], "expected at most 268435456 elements"),
        (&["--dtype", "i64"], "i64"),
        (&["--op", "sideways"], "sideways"),
        (&["--layout", "blocked"], "blocked"),
        (&["--seconds-per-row=-1"], "0 or more"),
        (&["--seconds-per-row", "inf"], "0 or more"),
        (&["--output", "/nonexistent/record.json"], "/nonexistent/record.json"),
    ] {
        let output = bn_perf(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

/// Without a device it is one line, and a status of its own.
#[test]
fn a_gpu_that_is_not_there_is_not_run() {
    if bn_oracle::cuda::devices().is_ok() {
        eprintln!("not run: there is a device");
        return;
    }
    let output = bn_perf(&[&QUICK[..], &["--device", "cuda", "--cache", "cold"]].concat());
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.starts_with("not run: ") && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn the_schema_is_printed() {
    let output = bn_perf(&["schema"]);
    assert!(output.status.success());
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema, bn_bench::record::schema());
}
