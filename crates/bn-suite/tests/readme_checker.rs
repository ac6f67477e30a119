//! The checker that `fixtures/README.md` shows works as shown: it passes a right
//! batch norm, and finds a wrong one.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The README promises a checker of so many lines.
const LINES: usize = 30;

struct Checker {
    folder: TempDir,
}

impl Checker {
    /// The README's files, by the name in their first line; none without Python.
    fn new() -> Option<Self> {
        if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
            eprintln!("NOT RUN: the checker of fixtures/README.md, since there is no python3");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in blocks(&fs::read_to_string(fixtures().join("README.md")).unwrap()) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Some(Checker { folder })
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} is not in {file}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn run(&self) -> Output {
        let fixtures = fs::canonicalize(fixtures()).unwrap();
        let mut python = Command::new("python3");
        python.arg("checker.py").arg(fixtures).current_dir(self.folder.path());
        python.output().unwrap()
    }
}

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// The Python blocks of a page, each with the file name in its first line.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    page.split("```python\n# ")
        .skip(1)
        .map(|rest| {
            let text = rest.split("```").next().unwrap_or(rest);
            text.split_once('\n').expect("a block has a first line")
        })
        .collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_checker_is_short() {
    let page = fs::read_to_string(fixtures().join("README.md")).unwrap();
    let blocks = blocks(&page);
    let names: Vec<&str> = blocks.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["checker.py", "my_batch_norm.py"]);
    assert!(blocks[0].1.lines().count() <= LINES);
}

#[test]
fn a_right_batch_norm_passes() {
    let Some(checker) = Checker::new() else { return };
    let output = checker.run();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let checked: usize = said.split(' ').next().and_then(|count| count.parse().ok()).expect(&said);
    assert!(checked > 0, "{said}");
    println!("{said}");
}

#[test]
fn wrong_ones_are_found_out() {
    let wrong = [
        ("unbiased = [v * n / (n - 1) for v in var]", "unbiased = var", "running_var"),
        ("(v - mean[c]) / math.sqrt(var[c]", "(v - mean[c]) / math.sqrt(unbiased[c]", "output"),
        ("(1 - m) * a + m * b", "m * a + (1 - m) * b", "running_mean"),
    ];
    for (from, to, field) in wrong {
        let Some(checker) = Checker::new() else { return };
        checker.replace("my_batch_norm.py", from, to);
        checker.replace("my_batch_norm.py", "    if train and", "    unbiased = var\n    if train and");
        let output = checker.run();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{field}[")), "{said}");
    }
}
