//! The result of a whole run, in the form that `bn check --format json` prints.
//!
//! `cases = passed + failed + unsupported + disputed`; a `ratio` is
//! |got − expected| / allowance. The worst element is taken over the passed and
//! the failed cases. `passed` and `failed` are by the grade *conforms*; the grade
//! *accurate* is under `accurate`, and what exceeds it under `excesses`.

mod accurate;
mod ulps;

pub use accurate::{AccurateCounts, ExcessEntry};
pub use ulps::Ulps;

use serde::Serialize;
use serde_json::{Value, json};

use crate::check::{CaseReport, Failure, Fault, Verdict, Worst};
use crate::engine::About;
use crate::number::Number;

/// What became of every case of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whose answers these are.
    pub engine: EngineName,
    /// All cases of the run.
    #[serde(flatten)]
    pub counts: Counts,
    /// The element closest to its allowance, or furthest outside.
    pub worst: Option<WorstOf>,
    /// The same cases by the grade *accurate*.
    pub accurate: AccurateCounts,
    /// Errors in units in the last place of the truth.
    pub ulps: Option<Ulps>,
    /// All of it by group, in the order of the cases.
    pub groups: Vec<GroupReport>,
    /// Everything that is wrong: one entry per step and field.
    pub failures: Vec<FailureEntry>,
    /// The arrays that are not accurate, with their causes.
    pub excesses: Vec<ExcessEntry>,
    /// What the engine was not asked, and why.
    pub unsupported_cases: Vec<UnsupportedEntry>,
    /// Known differences of this engine.
    pub disputed_cases: Vec<DisputedEntry>,
}

/// An engine by name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineName {
    /// Its short name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// How many cases there are of each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub cases: usize,
    /// Within every allowance.
    pub passed: usize,
    /// Wrong.
    pub failed: usize,
    /// Not asked, since they need what the engine does not claim.
    pub unsupported: usize,
    /// Wrong as the catalogue says.
    pub disputed: usize,
}

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        self.cases += 1;
        *match verdict {
            Verdict::Passed { .. } => &mut self.passed,
            Verdict::Failed { .. } => &mut self.failed,
            Verdict::Unsupported { .. } => &mut self.unsupported,
            Verdict::Disputed { .. } => &mut self.disputed,
        } += 1;
    }
}

/// The cases of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupReport {
    /// The part of the cases' names before the slash.
    pub name: String,
    /// Their verdicts.
    #[serde(flatten)]
    pub counts: Counts,
    /// Their worst element.
    pub worst: Option<WorstOf>,
    /// The same cases by the grade *accurate*.
    pub accurate: AccurateCounts,
    /// Errors of their answers, in units in the last place of the truth.
    pub ulps: Option<Ulps>,
}

/// A worst element, and the case it is in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorstOf {
    /// The case.
    pub case: String,
    /// Where in the case, and how bad.
    #[serde(flatten)]
    pub place: Worst,
}

/// One thing wrong with one case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureEntry {
    /// The case.
    pub case: String,
    /// The step, counted from 0; null where the answer as a whole is wrong.
    pub step: Option<usize>,
    /// The array, or `num_batches_tracked`.
    pub field: Option<&'static str>,
    /// The worst element, in row-major order; null where no element is to blame.
    pub index: Option<usize>,
    /// What the engine answered: a number, or what stands in its place.
    pub got: Value,
    /// What is right.
    pub expected: Value,
    /// How far the element may be from what is right.
    pub allowance: Option<Number>,
    /// |got − expected| / allowance.
    pub ratio: Option<Number>,
    /// How many elements of the array are wrong.
    pub failing_elements: Option<usize>,
    /// A short word for what is wrong.
    pub kind: &'static str,
    /// The same in a sentence.
    pub message: String,
    /// The command that replays the case.
    pub reproduce: String,
}

/// A case that the engine was not asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnsupportedEntry {
    /// The case.
    pub case: String,
    /// What it needs beyond the engine's claims.
    pub missing: Vec<String>,
}

/// A case that the engine is known to fail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DisputedEntry {
    /// The case.
    pub case: String,
    /// Why the truth stands all the same.
    pub note: String,
}

impl Report {
    /// Sums up a run. Groups appear in the order of their first case.
    pub fn new(about: &About, cases: &[CaseReport]) -> Self {
        let engine = EngineName { name: about.name.clone(), version: about.version.clone() };
        let mut report = Report {
            engine,
            counts: Counts::default(),
            worst: None,
            accurate: AccurateCounts::default(),
            ulps: None,
            groups: Vec::new(),
            failures: Vec::new(),
            excesses: Vec::new(),
            unsupported_cases: Vec::new(),
            disputed_cases: Vec::new(),
        };
        for case in cases {
            report.add(case);
        }
        report.ulps = Ulps::of(cases.iter());
        for group in &mut report.groups {
            group.ulps = Ulps::of(cases.iter().filter(|case| case.group() == group.name));
        }
        report
    }

    fn add(&mut self, case: &CaseReport) {
        let worst = case.worst().map(|place| WorstOf { case: case.case.clone(), place });
        let group = self.group(case.group());
        group.counts.add(&case.verdict);
        keep_larger(&mut group.worst, worst.clone());
        group.accurate.add(case);
        self.counts.add(&case.verdict);
        keep_larger(&mut self.worst, worst);
        self.accurate.add(case);
        self.excesses.extend(accurate::entries(case));
        let name = || case.case.clone();
        match &case.verdict {
            Verdict::Passed { .. } => {}
            Verdict::Failed { failures, .. } => {
                self.failures.extend(failures.iter().map(|failure| FailureEntry::new(case, failure)));
            }
            Verdict::Unsupported { missing } => {
                let missing = missing.iter().map(|capability| capability.name()).collect();
                self.unsupported_cases.push(UnsupportedEntry { case: name(), missing });
            }
            Verdict::Disputed { note, .. } => {
                self.disputed_cases.push(DisputedEntry { case: name(), note: note.clone() });
            }
        }
    }

    fn group(&mut self, name: &str) -> &mut GroupReport {
        let place = self.groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            let group = GroupReport {
                name: name.into(),
                counts: Counts::default(),
                worst: None,
                accurate: AccurateCounts::default(),
                ulps: None,
            };
            self.groups.push(group);
            self.groups.len() - 1
        });
        &mut self.groups[place]
    }
}

/// The first of equals stays, so that the order of the cases decides.
fn keep_larger(worst: &mut Option<WorstOf>, other: Option<WorstOf>) {
    let ratio = |worst: &Option<WorstOf>| worst.as_ref().map(|worst| worst.place.ratio);
    if ratio(&other) > ratio(worst) {
        *worst = other;
    }
}

impl FailureEntry {
    fn new(case: &CaseReport, Failure { step, fault }: &Failure) -> Self {
        let mut entry = FailureEntry {
            case: case.case.clone(),
            step: *step,
            field: fault.field(),
            index: None,
            got: Value::Null,
            expected: Value::Null,
            allowance: None,
            ratio: None,
            failing_elements: None,
            kind: fault.kind(),
            message: fault.to_string(),
            reproduce: case.reproduce.clone(),
        };
        let (expected, got) = match fault {
            Fault::Elements { worst, failing, .. } => {
                entry.index = Some(worst.index);
                entry.allowance = Some(Number(worst.allowance));
                entry.ratio = Some(Number(worst.ratio()));
                entry.failing_elements = Some(*failing);
                (json!(Number(worst.expected)), json!(Number(worst.got)))
            }
            Fault::Counter { expected, got } => (json!(expected), json!(got)),
            Fault::Shape { expected, got, .. } => (json!(expected), json!(got)),
            Fault::DType { expected, got, .. } => (json!(expected.name()), json!(got.name())),
            Fault::MemoryOrder { expected, got, .. } => (json!(expected), json!(got)),
            Fault::StepCount { expected, got } => (json!(expected), json!(got)),
            Fault::Refused { refusal } => (Value::Null, json!(refusal.kind.name())),
            Fault::NotRefused { expected, .. } => (json!(expected.name()), Value::Null),
            Fault::WrongRefusal { expected, refusal } => (json!(expected.name()), json!(refusal.kind.name())),
            Fault::NoAnswer(_)
            | Fault::Missing { .. }
            | Fault::NotAsked { .. }
            | Fault::NotAnArray { .. }
            | Fault::DisputeNotNeeded { .. } => (Value::Null, Value::Null),
        };
        FailureEntry { expected, got, ..entry }
    }
}
