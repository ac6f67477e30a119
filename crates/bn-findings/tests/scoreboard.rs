//! Records are read back as they were written or refused, and everything in them is on the page.

mod common;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use bn_findings::explain::explain;
use bn_findings::findings::{by_cause, causes};
use bn_findings::record::{Random, Record, RecordError};
use bn_findings::registry::{Conventions, Registry};
use bn_findings::scoreboard::{Board, NotRun, markdown::markdown, page::page};
use bn_findings::speed::{self, Machine, Mean, Race, Row};
use bn_suite::check::Replay;
use bn_suite::engine::Engine;
use bn_suite::protocol::timing::Op;
use bn_suite::report::Report;
use common::{checked, goldens, mutant};

fn record_of(engine: &mut dyn Engine) -> Record {
    let goldens = goldens(&["documents", "momentum"]);
    let reports = checked(&goldens, engine);
    let causes = causes(&goldens, &reports, || ());
    let findings = by_cause(&goldens, &causes);
    let report = Report::new(engine.about(), &reports);
    let random = Random { seed: 1, count: 0 };
    Record::new(engine.about(), &report, &reports, &causes, findings, (random, 1_800_000_000))
}

fn biased() -> Record {
    record_of(mutant("running-var-biased").as_mut())
}

#[test]
fn a_record_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (path, record) = (folder.path().join("biased.json"), biased());
    fs::write(&path, record.text()).unwrap();
    assert_eq!(Record::read(&path).unwrap(), record);
    assert!(record.text().lines().count() > record.failures.len(), "a failure has a line of its own");
}

/// Why a file with this text is refused, which names it.
fn refused<T: Debug>(read: fn(&Path) -> Result<T, RecordError>, text: &str) -> RecordError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spoilt.json");
    fs::write(&path, text).unwrap();
    let error = read(&path).unwrap_err();
    assert!(error.to_string().contains("spoilt.json"), "{error}");
    error
}

#[test]
fn what_is_no_record_is_refused_by_name() {
    let text = biased().text();
    let refused = |text: &str| refused(Record::read, text);
    assert!(matches!(refused(&text[..text.len() / 2]), RecordError::Form { .. }));
    assert!(matches!(refused("{}"), RecordError::Form { .. }));
    let newer = text.replacen("\"schema\": 1", "\"schema\": 2", 1);
    assert!(matches!(refused(&newer), RecordError::Version { found: 2, .. }));
    let record = biased();
    let mut passed = record.clone();
    (passed.all.passed, passed.all.failed) = (passed.all.passed + 1, passed.all.failed - 1);
    assert!(matches!(refused(&passed.text()), RecordError::Contradiction { .. }));
    let mut silent = record.clone();
    silent.failures.clear();
    assert!(matches!(refused(&silent.text()), RecordError::Contradiction { .. }));
    let mut nameless = record;
    nameless.findings.clear();
    assert!(matches!(refused(&nameless.text()), RecordError::Contradiction { .. }));
}

fn conventions(text: &str) -> Conventions {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_page_needs_nothing_and_leaves_nothing_out() {
    let records = vec![biased(), record_of(mutant("momentum-inverted").as_mut())];
    let not_run =
        vec![NotRun { name: "absent".into(), reason: "no <wheel>".into(), date: "2026-11-30".into() }];
    let board = Board::new(records, not_run, Registry::default(), Conventions::default());
    let page = page(&board);
    for record in &board.records {
        for failure in &record.failures {
            assert!(page.contains(&format!("bn run {} --engine {}", failure.case, record.engine.name)));
        }
    }
    assert!(page.contains("no &lt;wheel&gt;") && page.contains("running_var tracks the biased variance"));
    for foreign in [" src=", "<link", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let markdown = markdown(&board);
    assert!(markdown.contains("| absent | not run: no <wheel> |"), "{markdown}");
    assert!(markdown.lines().filter(|line| line.starts_with("| mutant:")).count() == 2, "{markdown}");
}

/// Documented, another function is a convention, and is shown all the same.
#[test]
fn a_documented_difference_is_a_convention() {
    let documented = conventions(
        r#"{"schema":1,"conventions":[{"engine":"mutant:running-var-biased","cause":"running-var-biased",
            "says":"It is biased.","link":"https://example.org/docs"}]}"#,
    );
    let board = Board::new(vec![biased()], vec![], Registry::default(), documented);
    let failed = board.failed_cases(&board.records[0]);
    assert_eq!(failed.len(), 1);
    assert!(failed.contains_key(&bn_findings::cause::Severity::Convention), "{failed:?}");
    let page = page(&board);
    assert!(page.contains("It is biased.") && page.contains("https://example.org/docs"));
}

/// Where a finding is another function for one engine and a documented one for the next, both are said.
#[test]
fn a_convention_among_wrong_engines_is_named_as_one() {
    let documented = conventions(
        r#"{"schema":1,"conventions":[{"engine":"mutant:running-var-biased","cause":"running-var-biased",
            "says":"It is biased.","link":"https://example.org/docs"}]}"#,
    );
    let mut other = biased();
    other.engine.name = "other".into();
    let board = Board::new(vec![biased(), other], vec![], Registry::default(), documented);
    let text = markdown(&board);
    let line = text.lines().find(|line| line.contains("tracks the biased variance")).unwrap();
    assert!(line.contains("other (") && !line.contains("other (convention"), "{line}");
    assert!(line.contains(", convention)"), "{line}");
}

fn race() -> Race {
    let rounds = vec![[1.0, 2.0, 2.0, 1.0], [1.0, 3.0, 3.0, 1.0], [1.0, 4.0, 4.0, 1.0]];
    let row = Row {
        network: "tiny".into(),
        shape: "2x3x5x7".into(),
        count: 2,
        op: Op::BackwardTrain,
        ours: 1.0,
        theirs: 3.0,
        ratio: 3.0,
        interval: [2.0, 4.0],
        rounds,
    };
    let means = [(Op::BackwardTrain, Mean { ratio: 3.0, interval: [2.0, 4.0] })].into();
    Race {
        schema: 1,
        recorded: 1_800_000_000,
        engine: speed::Engine { name: "slow".into(), version: "0.1".into() },
        revision: "abc".into(),
        machine: Machine { processor: "a <processor>".into(), threads: 2, busy: None },
        batch: 2,
        means: [("tiny".to_owned(), means)].into(),
        rows: vec![row],
    }
}

#[test]
fn a_race_comes_back_as_it_was_and_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("biased.json"), biased().text()).unwrap();
    fs::create_dir(folder.path().join("speed")).unwrap();
    let path = folder.path().join("speed/slow.json");
    fs::write(&path, race().text()).unwrap();
    assert_eq!(Race::read(&path).unwrap(), race());
    let board = Board::read(folder.path(), Registry::default(), Conventions::default()).unwrap();
    assert_eq!(board.races, [race()]);
    for text in [page(&board), markdown(&board)] {
        for part in ["3.00", "2.00 to 4.00", "tiny, batch 2", "revision abc"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(page(&board).contains("a &lt;processor&gt;, 2 threads"));
}

#[test]
fn what_is_no_race_is_refused_by_name() {
    let refused = |text: &str| refused(Race::read, text);
    let text = race().text();
    assert!(matches!(refused(&text[..text.len() / 2]), RecordError::Form { .. }));
    let newer = text.replacen("\"schema\": 1", "\"schema\": 2", 1);
    assert!(matches!(refused(&newer), RecordError::Version { found: 2, .. }));
    let spoil = |change: fn(&mut Race)| {
        let mut race = race();
        change(&mut race);
        refused(&race.text())
    };
    let changes: [fn(&mut Race); 4] = [
        |race| race.rows[0].ratio = 5.0,
        |race| race.rows[0].rounds.clear(),
        |race| race.rows[0].rounds[1][2] = -3.0,
        |race| race.rows.clear(),
    ];
    for change in changes {
        assert!(matches!(spoil(change), RecordError::Contradiction { .. }));
    }
}

#[test]
fn an_explanation_is_small_and_whole() {
    let golden =
        goldens(&["documents"]).into_iter().find(|g| g.case.name == "documents/three-by-four").unwrap();
    let replay = Replay::named("mutant:running-var-biased");
    let patience = std::time::Duration::from_secs(20);
    let mut engine = mutant("running-var-biased");
    let explanation = explain(&golden, engine.as_mut(), &replay, patience, || ()).unwrap();
    let inputs: usize = explanation.golden.case.steps.iter().map(|step| step.input().unwrap().len()).sum();
    assert!(inputs <= 4, "{inputs} elements");
    assert_eq!(explanation.cause.id, "running-var-biased");
    let text = explanation.markdown();
    for part in ["running_var", "got ", "expected ", "n/(n − 1)", "momentum 0.1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut right = bn_suite::engines::constructor("batchnorm").unwrap()();
    assert!(explain(&golden, right.as_mut(), &replay, patience, || ()).is_none());
}
