//! `bn train`, as a person has it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn bn(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bn")).args(arguments).current_dir(folder).output().unwrap()
}

#[track_caller]
fn said(output: &Output, status: i32) -> String {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
    assert_eq!(output.status.code(), Some(status), "{text}");
    text
}

#[test]
fn the_list_names_every_experiment_and_fits() {
    let text = said(&bn(Path::new("."), &["train", "--list"]), 0);
    for name in ["apx-mlp", "apx-cnn", "apx-eval", "apx-hands-on", "machinecurve", "labml"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_run_leaves_curves_a_page_and_weights_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let text = said(&bn(folder.path(), &["train", "apx-hands-on", "--epochs", "2"]), 0);
    assert!(text.contains("2/2") && text.contains("val loss") && !text.contains('\u{1b}'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let output = folder.path().join("bn-train/apx-hands-on");
    for (file, part) in [("curves.svg", "<svg"), ("report.html", "batch norm before ReLU")] {
        assert!(fs::read_to_string(output.join(file)).unwrap().contains(part), "{file}");
    }
    let weights = || fs::read(output.join("before.safetensors")).unwrap();
    let text = said(&bn(folder.path(), &["train", "apx-hands-on", "--epochs", "3"]), 0);
    assert!(text.contains("goes on after epoch 2"), "{text}");
    let resumed = weights();
    said(&bn(folder.path(), &["train", "apx-hands-on", "--epochs", "3", "--restart"]), 0);
    assert_eq!(weights(), resumed);
    let text = said(&bn(folder.path(), &["train", "apx-hands-on", "--lr", "0.1"]), 2);
    assert!(text.contains("holds another training") && text.contains("--restart"), "{text}");
    // The weights are those of one network.
    let file = output.join("before.safetensors");
    let from = |flag: &str, to: &str| {
        let file = file.to_str().unwrap();
        bn(
            folder.path(),
            &["train", "apx-hands-on", flag, "--weights", file, "--epochs", "1", "--output", to],
        )
    };
    said(&from("--with-bn", "again"), 0);
    let text = said(&from("--without-bn", "plain"), 2);
    assert!(text.contains("before.safetensors") && text.contains("does not fit"), "{text}");
}

/// Records as CIFAR-10's binary files have them.
fn cifar10(folder: &Path, records: usize) {
    let inner = folder.join("cifar-10-batches-bin");
    fs::create_dir_all(&inner).unwrap();
    let mut draws = fastrand::Rng::with_seed(3);
    let names = (1..=5).map(|batch| format!("data_batch_{batch}.bin")).chain(["test_batch.bin".into()]);
    for name in names {
        let record = |_| [draws.u8(..10)].into_iter().chain((0..3072).map(|_| 7)).collect::<Vec<u8>>();
        let mut bytes: Vec<u8> = (0..records).flat_map(record).collect();
        // A label can be told by its pixels.
        for record in bytes.chunks_mut(3073) {
            let label = record[0];
            record[1..].iter_mut().enumerate().for_each(|(at, pixel)| *pixel = label * 20 + (at % 7) as u8);
        }
        fs::write(inner.join(name), bytes).unwrap();
    }
}

#[test]
fn machinecurve_learns_from_files_as_they_are_distributed() {
    let folder = tempfile::tempdir().unwrap();
    cifar10(folder.path(), 1000);
    let text = said(&bn(folder.path(), &["train", "machinecurve", "--data", ".", "--epochs", "1"]), 0);
    // 5000 images in batches of ten: the document's own table.
    assert!(text.contains("CIFAR-10, training (5000)") && text.contains("loss after mini-batch"), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with("500 ")), "{text}");
    let path = folder.path().join("cifar-10-batches-bin/data_batch_3.bin");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let text = said(&bn(folder.path(), &["train", "machinecurve", "--data", ".", "--restart"]), 2);
    assert!(text.contains("data_batch_3.bin") && text.contains("3073"), "{text}");
}

#[test]
fn what_cannot_be_trained_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["train", "resnet"][..], "apx-hands-on"),
        (&["train"], "<EXPERIMENT>"),
        (&["train", "apx-hands-on", "--lr", "0"], "positive"),
        (&["train", "apx-hands-on", "--epochs", "0"], "--epochs"),
        (&["train", "apx-hands-on", "--data", "."], "takes no folder"),
        (&["train", "labml", "--data", "nowhere"], "nowhere"),
        (&["train", "apx-eval", "--weights", "w"], "--with-bn or --without-bn"),
        (&["train", "apx-eval", "--with-bn", "--weights", "w"], "w"),
        (&["claims", "--seeds", "0"], "--seeds"),
    ] {
        let text = said(&bn(folder.path(), arguments), 2);
        assert!(text.contains(part) && !text.contains("panicked"), "{arguments:?}: {text}");
    }
}
