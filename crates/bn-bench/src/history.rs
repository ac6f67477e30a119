//! A history: a file to which each run adds a line of JSON.
//!
//! A line is a [`Record`] without its raw samples, or a gate's [`Report`]. It is added to
//! the end of the file in one write, under an exclusive lock. The other way, to write the
//! whole file anew and rename it, would need a lock on a second file (the rename takes the
//! first away from whoever waits for it), would break links, and would put the old lines
//! at stake each time. Here they are never touched: a write that fails is cut off again,
//! and what a power failure leaves of a line is refused by its number when the file is
//! next read, and before anything is added to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use bn_page::FileError;
use serde::Serialize;
use serde_json::Value;

use crate::gate::Report;
use crate::record::{Record, SCHEMA_VERSION};

/// The version of a gate's line.
pub const GATE_VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// What `bn-perf` measured.
    Run(Box<Record>),
    /// What `bn-perf gate` found.
    Gate(Box<Report>),
}

/// Why a history was not read or added to.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is none of ours.
    #[error("{path}:{line}: not a line of a history: {reason}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
        /// Why not.
        reason: String,
    },
}

impl Line {
    /// A run, of which the samples are left out.
    pub fn of_run(record: &Record) -> Line {
        let mut record = record.clone();
        for row in &mut record.rows {
            row.samples = Default::default();
        }
        Line::Run(Box::new(record))
    }

    fn parse(text: &str) -> Result<Line, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let version = |name: &str, known: u32| match value.get(name) {
            Some(version) if *version == known => Ok(true),
            Some(version) => Err(format!("{name} {version}, expected {known}")),
            None => Ok(false),
        };
        let text = |error: serde_json::Error| error.to_string();
        if version("gate_version", GATE_VERSION)? {
            Ok(Line::Gate(serde_json::from_value(value).map_err(text)?))
        } else if version("schema_version", SCHEMA_VERSION)? {
            Ok(Line::Run(serde_json::from_value(value).map_err(text)?))
        } else {
            Err("neither schema_version nor gate_version".into())
        }
    }
}

/// The lines of a history, in order.
///
/// # Errors
/// [`HistoryError`]; the first line that is none is named.
pub fn read(path: &Path) -> Result<Vec<Line>, HistoryError> {
    parse(path, &std::fs::read(path).map_err(|source| file(path, source))?)
}

/// Adds a line; a history that is not there is begun. Whoever adds at the same time waits.
///
/// # Errors
/// [`HistoryError`]; then the file is as it was.
pub fn append(path: &Path, line: &Line) -> Result<(), HistoryError> {
    let refused = |source| file(path, source);
    let mut history = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(refused)?;
    // Closing the file gives the lock back.
    history.lock().map_err(refused)?;
    let mut before = Vec::new();
    history.read_to_end(&mut before).map_err(refused)?;
    parse(path, &before)?;
    let text = serde_json::to_string(line).expect("a line is JSON") + "\n";
    add(&mut history, before.len() as u64, text.as_bytes()).map_err(refused)?;
    Ok(())
}

/// Writes all of it, or leaves the file at its length.
fn add(history: &mut File, length: u64, text: &[u8]) -> io::Result<()> {
    history.seek(io::SeekFrom::End(0))?;
    let written = history.write_all(text).and_then(|()| history.sync_data());
    if written.is_err() {
        history.set_len(length)?;
    }
    written
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Line>, HistoryError> {
    let wrong = |line, reason| HistoryError::Line { path: path.into(), line, reason };
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate().map(|(index, line)| {
        let line = std::str::from_utf8(line).map_err(|error| wrong(index + 1, error.to_string()))?;
        let Some(line) = line.strip_suffix('\n') else {
            return Err(wrong(index + 1, "its end is missing".into()));
        };
        Line::parse(line).map_err(|reason| wrong(index + 1, reason))
    });
    lines.collect()
}

fn file(path: &Path, source: io::Error) -> HistoryError {
    HistoryError::File(FileError { path: path.into(), source })
}
