//! libtorch, live, against the truth: every case of the catalogue, and random
//! ones from a logged seed. The engines of the suite face the same random cases.
//!
//! `BN_LIVE_SEED` is the first seed, or `clock`; `BN_LIVE_CASES` how many follow.
//! Unset, the seeds are always the same: a change must not fail by chance. The
//! public workflow takes new ones every night. A failure prints what replays it.

mod limits;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bn_oracle::LibtorchEngine;
use bn_suite::case::Case;
use bn_suite::catalogue::random::{self, Breadth, Tape};
use bn_suite::check::{self, Replay, Verdict};
use bn_suite::engine::Engine;
use bn_suite::golden::{Expected, Golden};
use bn_suite::{catalogue, engines, fixtures, truth};

/// Where the random cases start unless told otherwise.
const FIRST_SEED: u64 = 1;

/// A failure stops the list after this many, so that the first can be read.
const SHOWN: usize = 5;

#[test]
fn the_catalogue() {
    let mut libtorch = LibtorchEngine::default();
    let replay = Replay::named("libtorch");
    let (mut failures, mut disputed) = (Vec::new(), 0);
    // By note: whether some case still needs it.
    let mut needed: BTreeMap<String, bool> = BTreeMap::new();
    let entries = catalogue::all();
    let cases = entries.len();
    for entry in entries {
        let expected = truth::solve(&entry.case);
        let golden = Golden { case: entry.case, expected, disputed: entry.disputed };
        let report = check::check(&golden, &mut libtorch, &replay);
        if let Some(dispute) = golden.disputed {
            *needed.entry(dispute.note).or_default() |= matches!(report.verdict, Verdict::Disputed { .. });
        }
        match report.verdict {
            Verdict::Passed { .. } => {}
            // Checked to fail still: a dispute that is not needed is a failure.
            Verdict::Disputed { .. } => disputed += 1,
            Verdict::Failed { .. } | Verdict::Unsupported { .. } => failures.push(report.to_string()),
        }
    }
    println!("{cases} cases of the catalogue, {disputed} disputed, {} failed", failures.len());
    assert!(cases > 0, "an empty catalogue checks nothing");
    stop_at(&failures);
    let idle: Vec<_> = needed.into_iter().filter(|(_, needed)| !needed).collect();
    assert!(idle.is_empty(), "disputes that no case needs any more: {idle:#?}");
}

/// The fixtures say which libtorch confirmed them. With another one the tests above
/// still mean something, but not that.
#[test]
fn the_fixtures_name_this_libtorch() {
    let this = format!("libtorch {}", bn_oracle::version::linked());
    if std::env::var_os("BN_OTHER_LIBTORCH").is_some() {
        println!("NOT RUN: the fixtures name {}, this is {this}", fixtures::ORACLE);
        return;
    }
    assert_eq!(fixtures::ORACLE, this, "set BN_OTHER_LIBTORCH to test with another libtorch on purpose");
}

#[test]
fn random_cases() {
    let first = match std::env::var("BN_LIVE_SEED") {
        Ok(word) if word == "clock" => clock(),
        _ => number("BN_LIVE_SEED").unwrap_or(FIRST_SEED),
    };
    let count = number("BN_LIVE_CASES").unwrap_or(1000);
    println!("seeds {first} to {}", first + count - 1);
    let mut libtorch = LibtorchEngine::default();
    let mut others: Vec<Box<dyn Engine>> = engines::names().filter_map(engines::by_name).collect();
    let (mut failures, mut held, mut kept_back) = (Vec::new(), 0, BTreeMap::new());
    for seed in first..first + count {
        let name = format!("random/{seed}");
        let case = random::case(&mut Tape::seeded(&name), Breadth::Whole);
        let case = Case { name, ..case };
        let expected = truth::solve(&case);
        for engine in &mut others {
            failures.extend(failure(engine.as_mut(), seed, &case, expected.clone()));
        }
        if let Some(reason) = limits::fault(&case) {
            *kept_back.entry(reason).or_insert(0) += 1;
            continue;
        }
        let mut expected = expected;
        limits::relax(&case, &mut expected);
        failures.extend(failure(&mut libtorch, seed, &case, expected));
        held += 1;
    }
    println!("{count} random cases, {held} of them put to libtorch; kept back for its known faults:");
    kept_back.iter().for_each(|(reason, count)| println!("  {count} × {reason}"));
    stop_at(&failures);
    // Some three fifths are; of a thousand, half would be an accident that never happens.
    assert!(count < 1000 || held * 2 > count, "only {held} of {count} cases were put to libtorch");
}

/// What an engine gets wrong about a random case, and how to see it again.
fn failure(engine: &mut dyn Engine, seed: u64, case: &Case, expected: Vec<Expected>) -> Option<String> {
    let golden = Golden { case: case.clone(), expected, disputed: None };
    let replay = Replay::named(&engine.about().name);
    let mut report = check::check(&golden, engine, &replay);
    report.reproduce =
        format!("BN_LIVE_SEED={seed} BN_LIVE_CASES=1 cargo test -p bn-oracle --test live random");
    let passed = matches!(report.verdict, Verdict::Passed { .. });
    (!passed).then(|| format!("{report}\n  case: {}", serde_json::to_string(case).expect("a case is JSON")))
}

fn stop_at(failures: &[String]) {
    let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n\n");
    assert!(failures.is_empty(), "{} failed; the first:\n\n{shown}", failures.len());
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, is {text:?}")))
}

fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    since.as_secs()
}
