//! How many instructions one call takes, counted under valgrind's callgrind.
//!
//! The count of a program that does the same on the same values repeats exactly, so one
//! run of each side is enough, and 1 % is a change of the code. It knows nothing of
//! memory or of how long an instruction takes: it stands beside the time, not for it.
//! Valgrind emulates: it has no AVX-512, so the kernels for AVX2 run, and fused
//! multiply-adds take some hundred times as long as they should. Hence small rows.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bn_driver::protocol::Row;
use bn_driver::session::COUNTED;
use serde::{Deserialize, Serialize};

use super::driver::{Driver, DriverError};
use super::sides::Sides;

/// More than so many times the base's instructions are too many: 1 %.
pub const MOST: f64 = 1.01;

/// One row's instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// What was called once.
    #[serde(flatten)]
    pub row: Row,
    /// The base's.
    pub base: u64,
    /// The change's.
    pub change: u64,
}

impl Counted {
    /// Whether the change takes more than it may.
    pub fn more(&self) -> bool {
        self.change as f64 > self.base as f64 * MOST
    }
}

/// Why nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The driver failed, or valgrind under it.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// There was nowhere to write to, or nothing was written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// callgrind's file has no total, or counted nothing.
    #[error("callgrind counted no instruction of {COUNTED}")]
    Nothing,
}

/// Whether there is a valgrind to count with.
pub fn available() -> bool {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    valgrind.status().is_ok_and(|status| status.success())
}

/// Counts one call of each row on both sides.
///
/// # Errors
/// [`CountError`].
pub fn compare(sides: &Sides, rows: &[Row], mut progress: impl FnMut()) -> Result<Vec<Counted>, CountError> {
    let counted = rows.iter().map(|row| {
        progress();
        Ok(Counted { row: row.clone(), base: count(&sides.base, row)?, change: count(&sides.change, row)? })
    });
    counted.collect()
}

/// The instructions of one call, from when it is entered until it is left.
///
/// # Errors
/// [`CountError`].
pub fn count(program: &Path, row: &Row) -> Result<u64, CountError> {
    let folder =
        tempfile::tempdir().map_err(|source| CountError::File { path: std::env::temp_dir(), source })?;
    let counts = folder.path().join("counts");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
    valgrind.arg(format!("--toggle-collect=*{COUNTED}*"));
    valgrind.arg(format!("--callgrind-out-file={}", counts.display()));
    let mut driver = Driver::start(program, valgrind.arg(program))?;
    driver.prepare(row)?;
    driver.once()?;
    driver.end()?;
    let text =
        std::fs::read_to_string(&counts).map_err(|source| CountError::File { path: counts, source })?;
    total(&text).ok_or(CountError::Nothing)
}

/// The total of a file of callgrind's: the number of its line `totals:`, or `summary:`.
fn total(text: &str) -> Option<u64> {
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    of("totals:").or_else(|| of("summary:")).filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_file_is_read() {
        let text = "version: 1\nevents: Ir\nfn=(1) call\n5 100\n\ntotals: 12345\n";
        assert_eq!(total(text), Some(12345));
        assert_eq!(total("events: Ir\nsummary: 7\n"), Some(7));
        assert_eq!(total("events: Ir\ntotals: 0\n"), None);
        assert_eq!(total(""), None);
    }

    #[test]
    fn one_percent_is_allowed() {
        let counted =
            |change| Counted { row: super::super::catalogue::counted()[0].clone(), base: 10_000, change };
        assert!(!counted(10_100).more());
        assert!(counted(10_101).more());
        assert!(!counted(5_000).more());
    }
}
