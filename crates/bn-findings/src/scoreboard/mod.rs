//! All engines side by side: who passes what, and what is wrong with whom, by cause.
//!
//! A [`Board`] is made of the records of a folder ([`Board::read`]), the registry and the
//! conventions; [`page`] makes an HTML page of it that needs nothing else, and
//! [`markdown`] a table.

mod cells;
mod failures;
pub mod markdown;
pub mod page;
mod speeds;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cause::{Cause, Severity};
use crate::findings::Finding;
use crate::record::{Record, RecordError};
use crate::registry::{Convention, Conventions, Registry};
use crate::speed::Race;

/// The file that names the engines which were not run, beside the records.
pub const NOT_RUN: &str = "not-run.json";

/// The folder of the races, beside the records.
pub const SPEED: &str = "speed";

/// Everything that the scoreboard shows.
pub struct Board {
    /// The engines that ran: first those of the registry, in its order, then others by name.
    pub records: Vec<Record>,
    /// The engines that did not, and why.
    pub not_run: Vec<NotRun>,
    /// How long the engines take beside ours, in the same order.
    pub races: Vec<Race>,
    /// What is known of the engines.
    pub registry: Registry,
    conventions: Conventions,
}

/// An engine that was to run and did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRun {
    /// Its name.
    pub name: String,
    /// Why it did not run.
    pub reason: String,
    /// The day on which it was tried.
    pub date: String,
}

#[derive(Deserialize)]
struct NotRunFile {
    engines: Vec<NotRun>,
}

/// A cause with all the engines that show it.
pub struct CauseRow<'a> {
    /// The cause.
    pub cause: &'a Cause,
    /// The engines, those with the most cases first.
    pub engines: Vec<Shown<'a>>,
}

/// One engine's part in a cause.
pub struct Shown<'a> {
    /// Whose.
    pub record: &'a Record,
    /// How often, and where it shows.
    pub finding: &'a Finding,
    /// How bad, what the engine documents considered.
    pub severity: Severity,
    /// What it documents.
    pub convention: Option<&'a Convention>,
}

impl CauseRow<'_> {
    /// The worst that it is for any engine.
    pub fn severity(&self) -> Severity {
        self.engines.iter().map(|shown| shown.severity).min().unwrap_or(self.cause.severity)
    }

    fn cases(&self) -> usize {
        self.engines.iter().map(|shown| shown.finding.cases).sum()
    }
}

impl Board {
    /// The records of a folder: every `*.json` in it but [`NOT_RUN`], what that says, and the
    /// races in its folder [`SPEED`].
    ///
    /// # Errors
    /// [`RecordError`] for the first file that is no record; none is passed over.
    pub fn read(folder: &Path, registry: Registry, conventions: Conventions) -> Result<Board, RecordError> {
        let mut records = Vec::new();
        let mut not_run = Vec::new();
        for file in json_files(folder)? {
            if file.file_name().is_some_and(|name| name == NOT_RUN) {
                not_run = read_not_run(&file)?;
            } else {
                records.push(Record::read(&file)?);
            }
        }
        let speed = folder.join(SPEED);
        let files = if speed.is_dir() { json_files(&speed)? } else { Vec::new() };
        let races = files.iter().map(|file| Race::read(file)).collect::<Result<_, _>>()?;
        Ok(Board::new(records, not_run, registry, conventions).with_races(races))
    }

    /// Of these records.
    pub fn new(
        mut records: Vec<Record>,
        not_run: Vec<NotRun>,
        registry: Registry,
        conventions: Conventions,
    ) -> Board {
        records.sort_by_key(|record| place(&registry, &record.engine.name));
        // A record may be older than the words.
        for finding in records.iter_mut().flat_map(|record| &mut record.findings) {
            let Cause { id, severity, title, .. } = &finding.cause;
            finding.cause = Cause::of(id, *severity, title);
        }
        Board { records, not_run, races: Vec::new(), registry, conventions }
    }

    /// The same with these races.
    pub fn with_races(mut self, races: Vec<Race>) -> Board {
        self.races = races;
        self.races.sort_by_key(|race| place(&self.registry, &race.engine.name));
        self
    }

    /// The framework's own name for an engine, if the registry knows one.
    pub fn title<'a>(&'a self, name: &'a str) -> &'a str {
        self.registry.find(name).map_or(name, |engine| &engine.title)
    }

    /// How severe a cause is for an engine: another function that it documents is a convention.
    /// What is inaccurate is so with or without a word about it.
    pub fn severity(&self, record: &Record, cause: &str) -> Severity {
        match (record.severity(cause), self.conventions.find(&record.engine.name, cause)) {
            (Severity::Wrong, Some(_)) => Severity::Convention,
            (severity, _) => severity,
        }
    }

    /// How many cases of an engine failed, each by its worst cause.
    pub fn failed_cases(&self, record: &Record) -> BTreeMap<Severity, usize> {
        let mut worst: BTreeMap<&str, Severity> = BTreeMap::new();
        for failure in &record.failures {
            let severity = self.severity(record, &failure.cause);
            let of_case = worst.entry(&failure.case).or_insert(severity);
            *of_case = severity.min(*of_case);
        }
        let mut counts = BTreeMap::new();
        worst.into_values().for_each(|severity| *counts.entry(severity).or_default() += 1);
        counts
    }

    /// The causes: the worst first, then those of the most cases.
    pub fn causes(&self) -> Vec<CauseRow<'_>> {
        let mut rows: BTreeMap<&str, CauseRow> = BTreeMap::new();
        for record in &self.records {
            for finding in &record.findings {
                let id = finding.cause.id.as_str();
                let row =
                    rows.entry(id).or_insert_with(|| CauseRow { cause: &finding.cause, engines: Vec::new() });
                let convention = self.conventions.find(&record.engine.name, id);
                let severity = self.severity(record, id);
                row.engines.push(Shown { record, finding, severity, convention });
            }
        }
        let mut rows: Vec<CauseRow> = rows.into_values().collect();
        for row in &mut rows {
            row.engines.sort_by_key(|shown| (shown.severity, std::cmp::Reverse(shown.finding.cases)));
        }
        rows.sort_by_key(|row| (row.severity(), std::cmp::Reverse(row.cases())));
        rows
    }

    /// The groups, in the order of the first record that has each.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for group in self.records.iter().flat_map(|record| &record.groups) {
            if !groups.contains(&group.name.as_str()) {
                groups.push(&group.name);
            }
        }
        groups
    }
}

/// Where an engine stands: first those of the registry, in its order, then others by name.
fn place(registry: &Registry, name: &str) -> (usize, String) {
    let of = registry.engines.iter().position(|engine| engine.name == name);
    (of.unwrap_or(usize::MAX), name.to_owned())
}

/// Those of a folder, in the order of their names.
fn json_files(folder: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let io = |source: io::Error| RecordError::Io { path: folder.into(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        files.push(entry.map_err(io)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

fn read_not_run(path: &Path) -> Result<Vec<NotRun>, RecordError> {
    let text = fs::read_to_string(path).map_err(|source| RecordError::Io { path: path.into(), source })?;
    let file: NotRunFile =
        serde_json::from_str(&text).map_err(|source| RecordError::Form { path: path.into(), source })?;
    Ok(file.engines)
}

/// The command that replays a case of an engine.
pub fn replay(engine: &str, case: &str) -> String {
    format!("bn run {case} --engine {engine}")
}
