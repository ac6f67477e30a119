//! The suite's power: it refuses every wrong batch norm that it knows of, by its
//! stored cases alone and by its generated cases alone.

use std::collections::BTreeSet;
use std::path::Path;

use bn_suite::capability::Capability;
use bn_suite::case::Case;
use bn_suite::catalogue;
use bn_suite::engine::{About, Engine, EngineError};
use bn_suite::engines::textbook::Textbook;
use bn_suite::engines::{self, Constructor};
use bn_suite::fixtures;
use bn_suite::golden::Golden;
use bn_suite::kill_matrix::{self, Cases, KillMatrix, Suspects};
use bn_suite::mutants;
use bn_suite::outcome::Outcome;
use rayon::prelude::*;

fn cases() -> Cases {
    let entries = catalogue::all();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let golden =
        fixtures::read(&folder, &fixtures::stored_groups(&entries)).unwrap_or_else(|error| panic!("{error}"));
    let generated: Vec<Golden> =
        entries.par_iter().filter(|entry| !entry.stored).map(fixtures::solve).collect();
    Cases { golden, generated }
}

/// Each survivor with what it does wrong, and the cases that do not see it.
fn survivors(matrix: &KillMatrix) -> String {
    let rows = matrix.mutants.iter().filter(|row| row.survives());
    let lines = rows.map(|row| {
        let unseen: Vec<&str> = [("golden", &row.killed_by.golden), ("generated", &row.killed_by.generated)]
            .into_iter()
            .filter(|(_, killers)| killers.is_empty())
            .map(|(source, _)| source)
            .collect();
        format!("{} survives the {} cases: {}", row.name, unseen.join(" and the "), row.fault)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// That no right engine is refused, tests/variants.rs asks.
#[test]
fn no_mutant_survives() {
    let suspects = Suspects { rivals: Vec::new(), variants: Vec::new(), ..Suspects::all().unwrap() };
    let matrix = kill_matrix::run(&suspects, &cases(), || ());
    assert!(matrix.survivors.is_empty(), "\n{}\n", survivors(&matrix));
    assert_eq!((matrix.killed_by_golden, matrix.killed_by_generated), (matrix.total, matrix.total));
}

#[test]
fn mutants_are_many_and_each_tells_what_is_wrong() {
    let all = mutants::all();
    assert!(all.len() >= 100, "{} mutants", all.len());
    let names: BTreeSet<&str> = all.iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), all.len(), "a name is used twice");
    for mutant in &all {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(mutant.name.chars().all(is_plain), "{:?}", mutant.name);
        assert!(!mutant.fault.is_empty() && mutant.fault.lines().count() == 1, "{}", mutant.name);
    }
}

#[test]
fn a_mutant_is_an_engine_by_name() {
    let engine = engines::by_name("mutant:running-var-biased").expect("there is this mutant");
    assert_eq!(engine.about().name, "mutant:running-var-biased");
    assert!(engines::by_name("mutant:none-such").is_none());
}

/// The matrix sees what it must: the right engine would be a survivor, and a case
/// that kills nothing is idle.
#[test]
fn the_matrix_counts() {
    let all = cases();
    let of = |group: &str| {
        let in_group = |golden: &&Golden| golden.case.group() == group;
        all.golden.iter().filter(in_group).cloned().collect::<Vec<_>>()
    };
    let cases = Cases { golden: of("folding"), generated: of("merging") };
    let chosen = ["fold-without-eps", "merge-within-only"].map(|name| mutants::by_name(name).unwrap());
    let partial: Vec<(String, Constructor)> =
        vec![("unfolding".into(), Box::new(|| Box::new(Unfolding::new())))];
    let all = Suspects::all().unwrap();
    let suspects = Suspects { mutants: chosen.into(), partial, rivals: Vec::new(), ..all };
    let matrix = kill_matrix::run(&suspects, &cases, || ());
    assert_eq!((matrix.total, matrix.killed_by_golden, matrix.killed_by_generated), (2, 1, 1));
    assert_eq!(matrix.survivors, ["fold-without-eps", "merge-within-only"]);
    assert!(matrix.mutants[0].killed_by.generated.is_empty());
    assert!(matrix.mutants[1].killed_by.golden.is_empty());
    assert!(matrix.variants.iter().all(|variant| variant.passed && variant.worst_ratio <= 1.0));
    let (partial, whole) = matrix.variants.split_last().unwrap();
    assert!(whole.iter().all(|variant| variant.unsupported == 0));
    assert_eq!((partial.name.as_str(), partial.unsupported), ("unfolding", cases.golden.len()));
    assert!(!matrix.is_clean());
    let killers = matrix.mutants[0].killed_by.golden.len() + matrix.mutants[1].killed_by.generated.len();
    assert_eq!(matrix.idle_cases.len() + killers, cases.golden.len() + cases.generated.len());
}

/// A right engine that does not claim to fold.
struct Unfolding {
    textbook: Textbook,
    about: About,
}

impl Unfolding {
    fn new() -> Self {
        let textbook = Textbook::default();
        let mut about = textbook.about().clone();
        about.claims.retain(|&claim| claim != Capability::Fold);
        Unfolding { textbook, about }
    }
}

impl Engine for Unfolding {
    fn about(&self) -> &About {
        &self.about
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        self.textbook.run(case)
    }
}
