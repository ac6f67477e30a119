//! What an engine came to, kept in a file: the scoreboard is made of these.
//!
//! One JSON object; each group, finding and failure on a line of its own, so that a diff
//! between two versions of a framework reads as what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bn_suite::check::{CaseReport, Verdict};
use bn_suite::engine::About;
use bn_suite::number::Number;
use bn_suite::report::{AccurateCounts, Counts, FailureEntry, Report, Ulps};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cause::Severity;
use crate::findings::{CausesOfCase, Finding};

/// The version of the form of these files.
pub const SCHEMA: u32 = 1;

/// A run of the whole suite on one engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Seconds since 1970 at which it was made.
    pub recorded: u64,
    /// The version of the suite.
    pub suite: String,
    /// Which random cases were among them.
    pub random: Random,
    /// Whose answers these are.
    pub engine: Engine,
    /// All cases.
    pub all: Tally,
    /// The cases by group, in the order of the catalogue.
    pub groups: Vec<Tally>,
    /// How many cases were not asked for want of each capability; a case may want several.
    pub not_claimed: BTreeMap<String, usize>,
    /// Causes of failures, the worst and most frequent first.
    pub findings: Vec<Finding>,
    /// Everything that is wrong.
    pub failures: Vec<Failure>,
    /// What is known of the engine and stands in the catalogue.
    pub disputed: Vec<Disputed>,
    /// The notes of the cases that failed: what a failure means.
    pub notes: BTreeMap<String, String>,
}

/// The draw of the random cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    /// The seed.
    pub seed: u64,
    /// How many.
    pub count: usize,
}

/// An engine as it introduced itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Its name.
    pub name: String,
    /// The version of the framework.
    pub version: String,
    /// What it claims.
    pub claims: BTreeSet<String>,
}

/// How the cases of a group went; `cases = passed + failed + unsupported + disputed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// The group; empty for all cases together.
    pub name: String,
    /// How many there are.
    pub cases: usize,
    /// Within every allowance.
    pub passed: usize,
    /// Wrong.
    pub failed: usize,
    /// Not asked.
    pub unsupported: usize,
    /// Wrong as the catalogue says.
    pub disputed: usize,
    /// The largest |got − expected| / allowance, by the grade *conforms*.
    pub worst: Option<Number>,
    /// Cases whose answers could be judged by the grade *accurate*.
    pub judged: usize,
    /// Accurate ones among them.
    pub accurate: usize,
    /// The largest |got − expected| / allowance, by the grade *accurate*.
    pub accurate_worst: Option<Number>,
    /// Errors in units in the last place of the truth.
    pub ulps: Option<Ulps>,
}

/// One thing wrong with one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The case.
    pub case: String,
    /// The id of its cause.
    pub cause: String,
    /// The step, counted from 0.
    pub step: Option<usize>,
    /// The array, or `num_batches_tracked`.
    pub field: Option<String>,
    /// The worst element.
    pub index: Option<usize>,
    /// What was answered there.
    pub got: Value,
    /// What is right.
    pub expected: Value,
    /// How far from right is allowed.
    pub allowance: Option<Number>,
    /// |got − expected| / allowance.
    pub ratio: Option<Number>,
    /// A short word for what is wrong.
    pub kind: String,
    /// The same in a sentence, where it says more than the members above.
    pub message: Option<String>,
}

/// A case that the engine is known to fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disputed {
    /// The case.
    pub case: String,
    /// Why the truth stands all the same.
    pub note: String,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system says no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no record.
    #[error("{path}: not a record of an engine: {source}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It is one of another version.
    #[error("{path}: a record of schema {found}; this program reads schema {SCHEMA}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// Its numbers contradict each other.
    #[error("{path}: the record contradicts itself: {what}")]
    Contradiction {
        /// Which file.
        path: PathBuf,
        /// Where.
        what: String,
    },
}

impl Record {
    /// Of a run that was summed up already, with its findings.
    pub fn new(
        about: &About,
        report: &Report,
        cases: &[CaseReport],
        causes: &[CausesOfCase],
        findings: Vec<Finding>,
        (random, recorded): (Random, u64),
    ) -> Record {
        let mut causes = cases.iter().zip(causes).flat_map(|(_, causes)| causes);
        let failures = report
            .failures
            .iter()
            .map(|entry| Failure::new(entry, causes.next().map_or("", |cause| &cause.id)))
            .collect();
        let failed = cases.iter().filter(|case| matches!(case.verdict, Verdict::Failed { .. }));
        let mut not_claimed = BTreeMap::new();
        for name in report.unsupported_cases.iter().flat_map(|entry| &entry.missing) {
            *not_claimed.entry(name.clone()).or_default() += 1;
        }
        let disputed = report.disputed_cases.iter();
        Record {
            schema: SCHEMA,
            recorded,
            suite: env!("CARGO_PKG_VERSION").into(),
            random,
            engine: Engine {
                name: about.name.clone(),
                version: about.version.clone(),
                claims: about.claims.iter().map(|claim| claim.name()).collect(),
            },
            all: Tally::new(
                "",
                report.counts,
                report.worst.as_ref().map(|worst| worst.place.ratio),
                &report.accurate,
                report.ulps,
            ),
            groups: report
                .groups
                .iter()
                .map(|group| {
                    let worst = group.worst.as_ref().map(|worst| worst.place.ratio);
                    Tally::new(&group.name, group.counts, worst, &group.accurate, group.ulps)
                })
                .collect(),
            not_claimed,
            findings,
            failures,
            disputed: disputed
                .map(|entry| Disputed { case: entry.case.clone(), note: entry.note.clone() })
                .collect(),
            notes: failed.map(|case| (case.case.clone(), case.note.clone())).collect(),
        }
    }

    /// What its file holds.
    pub fn text(&self) -> String {
        lines(&serde_json::to_value(self).expect("a record is plain data"))
    }

    /// Reads one, and refuses what is none, is of another version, or contradicts itself.
    ///
    /// # Errors
    /// [`RecordError`], with the file's name.
    pub fn read(path: &Path) -> Result<Record, RecordError> {
        checked(path, Record::contradiction)
    }

    fn contradiction(&self) -> Option<String> {
        for tally in self.groups.iter().chain([&self.all]) {
            let Tally { name, cases, passed, failed, unsupported, disputed, .. } = tally;
            if *cases != passed + failed + unsupported + disputed {
                let name = if name.is_empty() { "all" } else { name };
                return Some(format!("{name}: the verdicts do not add up to {cases} cases"));
            }
        }
        let sum: usize = self.groups.iter().map(|group| group.cases).sum();
        if sum != self.all.cases {
            return Some(format!("the groups have {sum} cases and all together {}", self.all.cases));
        }
        let failed: BTreeSet<&String> = self.failures.iter().map(|failure| &failure.case).collect();
        if failed.len() != self.all.failed {
            return Some(format!("{} cases have failures and {} failed", failed.len(), self.all.failed));
        }
        let causes: BTreeSet<&String> = self.findings.iter().map(|finding| &finding.cause.id).collect();
        let foreign = self.failures.iter().find(|failure| !causes.contains(&failure.cause))?;
        Some(format!("{}: no finding is called {:?}", foreign.case, foreign.cause))
    }

    /// The finding of that cause.
    pub fn finding(&self, cause: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.cause.id == cause)
    }

    /// How severe the failures of a cause are where nobody documents it.
    pub fn severity(&self, cause: &str) -> Severity {
        self.finding(cause).map_or(Severity::Wrong, |finding| finding.cause.severity)
    }
}

impl Tally {
    fn new(
        name: &str,
        counts: Counts,
        worst: Option<f64>,
        accurate: &AccurateCounts,
        ulps: Option<Ulps>,
    ) -> Tally {
        let Counts { cases, passed, failed, unsupported, disputed } = counts;
        Tally {
            name: name.into(),
            cases,
            passed,
            failed,
            unsupported,
            disputed,
            worst: worst.map(Number),
            judged: accurate.cases,
            accurate: accurate.passed,
            accurate_worst: accurate.worst.as_ref().map(|worst| Number(worst.place.ratio)),
            ulps,
        }
    }
}

impl Failure {
    fn new(entry: &FailureEntry, cause: &str) -> Failure {
        Failure {
            case: entry.case.clone(),
            cause: cause.into(),
            step: entry.step,
            field: entry.field.map(str::to_owned),
            index: entry.index,
            got: entry.got.clone(),
            expected: entry.expected.clone(),
            allowance: entry.allowance,
            ratio: entry.ratio,
            kind: entry.kind.into(),
            message: entry.ratio.is_none().then(|| entry.message.clone()),
        }
    }
}

/// The record in a file, if it is of this version and nothing contradicts itself in it.
pub(crate) fn checked<T: DeserializeOwned>(
    path: &Path,
    contradiction: impl Fn(&T) -> Option<String>,
) -> Result<T, RecordError> {
    let named = || path.to_path_buf();
    let text = fs::read_to_string(path).map_err(|source| RecordError::Io { path: named(), source })?;
    let form = |source| RecordError::Form { path: named(), source };
    let value: Value = serde_json::from_str(&text).map_err(form)?;
    if let Some(found) = value["schema"].as_u64().filter(|&found| found != u64::from(SCHEMA)) {
        return Err(RecordError::Version { path: named(), found });
    }
    let record: T = serde_json::from_value(value).map_err(form)?;
    match contradiction(&record) {
        Some(what) => Err(RecordError::Contradiction { path: named(), what }),
        None => Ok(record),
    }
}

/// JSON with a line for each member, and for each item of a member that is a list of objects.
pub(crate) fn lines(value: &Value) -> String {
    let Value::Object(members) = value else { return format!("{value}\n") };
    let member = |(name, value): (&String, &Value)| match value {
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let items: Vec<String> = items.iter().map(|item| format!("    {item}")).collect();
            format!("  {}: [\n{}\n  ]", Value::from(name.as_str()), items.join(",\n"))
        }
        Value::Object(items) if items.len() > 3 => {
            let items: Vec<String> = items
                .iter()
                .map(|(name, item)| format!("    {}: {item}", Value::from(name.as_str())))
                .collect();
            format!("  {}: {{\n{}\n  }}", Value::from(name.as_str()), items.join(",\n"))
        }
        value => format!("  {}: {value}", Value::from(name.as_str())),
    };
    let members: Vec<String> = members.iter().map(member).collect();
    format!("{{\n{}\n}}\n", members.join(",\n"))
}
