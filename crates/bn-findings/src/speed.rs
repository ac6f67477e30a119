//! How long an engine takes beside ours, kept in a file: `bn-perf --engine` writes it, and the
//! scoreboard shows it.

use std::collections::BTreeMap;
use std::path::Path;

use bn_suite::protocol::timing::Op;
use serde::{Deserialize, Serialize};

use crate::record::{RecordError, checked, lines};

/// A race of an engine with ours, A B B A, each through its public calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Race {
    /// [`SCHEMA`](crate::record::SCHEMA).
    pub schema: u32,
    /// Seconds since 1970 at which it ended.
    pub recorded: u64,
    /// The engine.
    pub engine: Engine,
    /// The commit of ours, with `-dirty` where the checkout differed from it.
    pub revision: String,
    /// On what.
    pub machine: Machine,
    /// N of every shape.
    pub batch: usize,
    /// Of each network and pass: the geometric mean over the network's layers.
    pub means: BTreeMap<String, BTreeMap<Op, Mean>>,
    /// One per shape and pass.
    pub rows: Vec<Row>,
}

/// Whom ours is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Its name.
    pub name: String,
    /// The version of the framework.
    pub version: String,
}

/// What belongs beside the figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many threads run at once; each side used as many of them as it liked.
    pub threads: usize,
    /// How many processors others kept busy just before.
    pub busy: Option<f64>,
}

/// The engine's time / ours over all batch norms of a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// The geometric mean.
    pub ratio: f64,
    /// Its 95 % confidence interval.
    pub interval: [f64; 2],
}

/// A shape and a pass: how long both take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The network.
    pub network: String,
    /// `8x64x56x56`.
    pub shape: String,
    /// How many layers of the network have it.
    pub count: usize,
    /// The pass.
    pub op: Op,
    /// Our time, in seconds: the median over the rounds.
    pub ours: f64,
    /// The engine's.
    pub theirs: f64,
    /// The engine's time / ours: the median of the rounds, and its 95 % interval.
    pub ratio: f64,
    /// See `ratio`.
    pub interval: [f64; 2],
    /// Every turn of every round: ours, theirs, theirs, ours, in seconds.
    pub rounds: Vec<[f64; 4]>,
}

impl Race {
    /// What its file holds.
    pub fn text(&self) -> String {
        lines(&serde_json::to_value(self).expect("a race is plain data"))
    }

    /// Reads one, and refuses what is none, is of another version, or contradicts itself.
    ///
    /// # Errors
    /// [`RecordError`], with the file's name.
    pub fn read(path: &Path) -> Result<Race, RecordError> {
        checked(path, Race::contradiction)
    }

    fn contradiction(&self) -> Option<String> {
        for Row { network, shape, op, ratio, interval: [low, high], rounds, .. } in &self.rows {
            let place = format!("{}, {} of {shape}", network, op.name());
            let is_time = |seconds: &f64| *seconds > 0.0 && seconds.is_finite();
            if rounds.is_empty() || !rounds.iter().flatten().all(is_time) {
                return Some(format!("{place}: times that are none"));
            }
            if !(low <= ratio && ratio <= high) {
                return Some(format!("{place}: {ratio} is not from {low} to {high}"));
            }
        }
        for (network, means) in &self.means {
            for op in means.keys() {
                if !self.rows.iter().any(|row| row.network == *network && row.op == *op) {
                    return Some(format!("{network}, {}: a mean of no row", op.name()));
                }
            }
        }
        None
    }
}
