//! Fixtures: sound ones are read as they were written, unsound ones are refused
//! by name, and the folder in the repository is described by its own schema.

use std::fs;
use std::path::{Path, PathBuf};

use bn_suite::catalogue::{self, Entry};
use bn_suite::fixtures;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The 3×4 example and a copy, as fixtures in a folder of their own.
struct Folder {
    folder: TempDir,
    entries: Vec<Entry>,
}

const FILE: &str = "documents.json";
const FIRST: &str = "documents/first";
const SECOND: &str = "documents/second";

impl Folder {
    fn new() -> Self {
        let example = catalogue::all().into_iter().find(|entry| entry.case.name == "documents/three-by-four");
        let example = example.expect("the 3×4 example is in the catalogue");
        let named = |name: &str| {
            let mut entry = example.clone();
            entry.case.name = name.into();
            entry
        };
        let entries = vec![named(FIRST), named(SECOND)];
        let folder = tempfile::tempdir().unwrap();
        fixtures::bless(folder.path(), &fixtures::generate(&entries)).unwrap();
        Folder { folder, entries }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_str(&self.text()).unwrap();
        change(&mut value);
        self.write(&fixtures::pretty(&value));
    }

    /// The refusal of this folder, without the folder's own path.
    fn refusal(&self) -> String {
        match fixtures::read(self.folder.path(), &fixtures::stored_groups(&self.entries)) {
            Ok(goldens) => panic!("read {} cases", goldens.len()),
            Err(error) => error.to_string().replace(&*self.folder.path().to_string_lossy(), "DIR"),
        }
    }

    /// The refusal after an edit.
    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let folder = Folder::new();
        folder.edit(change);
        folder.refusal()
    }
}

#[track_caller]
fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = Folder::new();
    let read = fixtures::read(folder.folder.path(), &fixtures::stored_groups(&folder.entries)).unwrap();
    let solved: Vec<_> = folder.entries.iter().map(fixtures::solve).collect();
    assert_eq!(read, solved);
}

#[test]
fn blessing_again_changes_nothing() {
    let folder = Folder::new();
    let files = fixtures::generate(&folder.entries);
    assert_eq!(fixtures::bless(folder.folder.path(), &files).unwrap(), Vec::<String>::new());
    assert_eq!(fixtures::stale(folder.folder.path(), &files).unwrap(), []);
}

#[test]
fn one_digit_names_file_and_case() {
    let folder = Folder::new();
    let text = folder.text();
    let second = text.find(SECOND).unwrap();
    let input = second + text[second..].find("\"data\": [1.0, 2.0, 3.0").unwrap();
    let mut spoiled = text.clone();
    spoiled.replace_range(input.., &text[input..].replacen("2.0", "7.0", 1));
    folder.write(&spoiled);
    assert_names(&folder.refusal(), &["DIR/documents.json", SECOND, "tampered"]);
    let stale = fixtures::stale(folder.folder.path(), &fixtures::generate(&folder.entries)).unwrap();
    assert_eq!(stale.len(), 1);
    assert_names(&stale[0].to_string(), &[FILE, SECOND, "[1.0, 7.0", "[1.0, 2.0"]);
}

#[test]
fn every_single_digit_counts() {
    let folder = Folder::new();
    let (text, files) = (folder.text(), fixtures::generate(&folder.entries));
    for (at, _) in text.match_indices(|c: char| c.is_ascii_digit()) {
        let mut spoiled = text.clone();
        let digit = if &text[at..=at] == "7" { "8" } else { "7" };
        spoiled.replace_range(at..=at, digit);
        folder.write(&spoiled);
        let stale = fixtures::stale(folder.folder.path(), &files).unwrap();
        assert_eq!(stale.len(), 1, "a changed digit at byte {at} went unnoticed");
    }
}

#[test]
fn missing_and_stray_files_are_stale() {
    let folder = Folder::new();
    let files = fixtures::generate(&folder.entries);
    fs::rename(folder.file(), folder.folder.path().join("documenst.json")).unwrap();
    let stale = fixtures::stale(folder.folder.path(), &files).unwrap();
    let stale: Vec<String> = stale.iter().map(ToString::to_string).collect();
    assert_eq!(stale.len(), 2);
    assert_names(&stale[0], &["documents.json: missing"]);
    assert_names(&stale[1], &["documenst.json: stray"]);
}

#[test]
fn a_cut_file_names_line_and_case() {
    let folder = Folder::new();
    let text = folder.text();
    let cut = text.find(SECOND).unwrap() + 200;
    folder.write(&text[..cut]);
    let line = text[..cut].lines().count();
    assert_names(&folder.refusal(), &["DIR/documents.json", &format!("line {line},"), SECOND]);
    folder.write("");
    assert_names(&folder.refusal(), &["DIR/documents.json", "EOF"]);
}

#[test]
fn nan_where_a_number_must_stand() {
    for bad in ["NaN", "\"nan\"", "null", "\"1.0\""] {
        let folder = Folder::new();
        folder.write(&folder.text().replacen("\"data\": [1.0", &format!("\"data\": [{bad}"), 1));
        assert_names(&folder.refusal(), &["DIR/documents.json", "line ", FIRST]);
    }
    let refused = Folder::refused(|file| {
        file["cases"][1]["expected"][0]["fields"]["output"]["allowance"][2] = json!("NaN");
    });
    assert_names(
        &refused,
        &[FILE, SECOND, "expected step 0, output", "allowance 2: expected a number ≥ 0, got NaN"],
    );
}

#[test]
fn another_version_is_refused() {
    let refused = Folder::refused(|file| file["schema_version"] = json!(2));
    assert_eq!(refused, "DIR/documents.json: schema_version: expected 1, got 2");
    let refused = Folder::refused(|file| file["schema_version"] = json!("1"));
    assert_eq!(refused, "DIR/documents.json: schema_version: expected 1, got \"1\"");
    let refused = Folder::refused(|file| _ = file.as_object_mut().unwrap().remove("schema_version"));
    assert_names(&refused, &[FILE, "missing field `schema_version`"]);
}

#[test]
fn a_name_is_used_once() {
    let refused = Folder::refused(|file| {
        let first = file["cases"][0].clone();
        file["cases"].as_array_mut().unwrap().push(first);
    });
    assert_eq!(
        refused,
        "DIR/documents.json: case \"documents/first\": the name is used twice, first in DIR/documents.json"
    );
}

#[test]
fn cases_belong_to_their_file() {
    let folder = Folder::new();
    fs::copy(folder.file(), folder.folder.path().join("other.json")).unwrap();
    assert_eq!(
        folder.refusal(),
        "DIR/other.json: group: expected \"other\", as the file is named, got \"documents\""
    );
    let refused = Folder::refused(|file| file["cases"][1]["case"]["name"] = json!("ranks/second"));
    assert_eq!(
        refused,
        "DIR/documents.json: case \"ranks/second\": its group: expected \"documents\", got \"ranks\""
    );
}

#[test]
fn arrays_must_fit_themselves() {
    let output = "/cases/0/expected/0/fields/output";
    let spoil = |pointer: &str, value: Value| {
        Folder::refused(|file| *file.pointer_mut(&format!("{output}{pointer}")).unwrap() = value)
    };
    assert_names(
        &spoil("/value/shape/0", json!(4)),
        &[FIRST, "output: shape [4, 4] needs 16 elements, data has 12"],
    );
    assert_names(
        &spoil("/value/data/1", json!(0.1)),
        &[FIRST, "output: element 1, 0.1, is not a value of f32"],
    );
    assert_names(
        &spoil("/value/data/1", json!("NaN")),
        &[FIRST, "allowance 1: expected 0 or Infinity, since the value is NaN"],
    );
    assert_names(
        &spoil("/allowance/3", json!(-1.0)),
        &[FIRST, "allowance 3: expected a number ≥ 0, got -1.0"],
    );
    assert_names(&spoil("/allowance", json!([])), &[FIRST, "output: 12 elements, but 0 allowances"]);
    let refused = Folder::refused(|file| file["cases"][0]["case"]["state"]["bias"]["shape"] = json!([5]));
    assert_names(&refused, &[FIRST, "state: shape [5] needs 5 elements, data has 4"]);
    let refused =
        Folder::refused(|file| file["cases"][0]["case"]["steps"][0]["input"]["shape"] = json!([2, 4]));
    assert_names(&refused, &[FIRST, "step 0, input: shape [2, 4] needs 8 elements, data has 12"]);
}

#[test]
fn one_expected_entry_per_step() {
    let refused = Folder::refused(|file| file["cases"][0]["expected"] = json!([]));
    assert_names(&refused, &[FILE, FIRST, "1 steps, but 0 expected entries"]);
}

#[test]
fn unknown_members_are_refused_at_every_depth() {
    let places = [
        "",
        "/provenance",
        "/cases/0",
        "/cases/0/case",
        "/cases/0/case/layer",
        "/cases/0/case/steps/0",
        "/cases/0/case/steps/0/input",
        "/cases/0/expected/0",
        "/cases/0/expected/0/fields/output",
    ];
    for place in places {
        let refused = Folder::refused(|file| file.pointer_mut(place).unwrap()["surprise"] = json!(1));
        assert_names(&refused, &[FILE, "surprise"]);
    }
    let refused = Folder::refused(|file| file["cases"][0]["expected"][0]["fields"]["outptu"] = json!({}));
    assert_names(&refused, &[FILE, FIRST, "outptu"]);
}

#[test]
fn folders_without_what_they_must_hold_are_refused() {
    let folder = Folder::new();
    fs::remove_file(folder.file()).unwrap();
    assert_eq!(folder.refusal(), "DIR: no fixtures here; `bn bless` writes them");
    fs::write(folder.folder.path().join("other.json"), "{}").unwrap();
    assert_names(&folder.refusal(), &["DIR/documents.json: missing"]);
    fs::remove_dir_all(folder.folder.path()).unwrap();
    assert_names(&folder.refusal(), &["DIR: cannot be read"]);
}

/// The folder that this repository holds.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

#[test]
fn the_repositorys_fixtures_are_readable() {
    let goldens = fixtures::read(&repository(), &fixtures::stored_groups(&catalogue::all()));
    let stored = catalogue::all().iter().filter(|entry| entry.stored).count();
    assert_eq!(goldens.unwrap_or_else(|error| panic!("{error}")).len(), stored);
}

/// As `bn bless --check` has it: whoever changes the truth, an allowance or a case
/// changes the fixtures too, and looks at what that does to them.
#[test]
fn the_repositorys_fixtures_are_what_the_truth_says() {
    let stale = fixtures::stale(&repository(), &fixtures::generate(&catalogue::all())).unwrap();
    let stale: Vec<String> = stale.iter().map(|stale| stale.to_string()).collect();
    assert!(stale.is_empty(), "`bn bless` would change:\n{}", stale.join("\n"));
}

#[test]
fn the_repositorys_fixtures_follow_their_schema() {
    let schema: Value = read_json(&repository().join(fixtures::SCHEMA_FILE));
    // Without printing both, which are long.
    assert!(schema == fixtures::schema(), "schema.json is not up to date: `bn bless` writes it");
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("schema.json", schema).unwrap();
    let schema = compiler.compile("schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    let mut cases = 0;
    for entry in fs::read_dir(repository()).unwrap() {
        let path = entry.unwrap().path();
        let is_fixture = path.extension().is_some_and(|extension| extension == "json")
            && path.file_name().is_some_and(|name| name != fixtures::SCHEMA_FILE);
        if is_fixture {
            let file = read_json(&path);
            schemas.validate(&file, schema).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            // The schema is no formality: it notices what the reader notices.
            let mut wrong = file;
            wrong["cases"][0]["expected"][0]["surprise"] = json!(1);
            assert!(schemas.validate(&wrong, schema).is_err());
            cases += wrong["cases"].as_array().map_or(0, Vec::len);
        }
    }
    assert!(cases > 0, "no case was validated");
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
