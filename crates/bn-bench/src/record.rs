//! A run, as it is kept: a JSON object that this module alone reads and writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bn_page::{FileError, WholeFile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::axes::{Cache, DType, Layout, Op};
use crate::machine::{self, Machine};
use crate::paired::{Rounds, means, ratios};
use crate::statistics::{Weighted, geometric_mean, mean_interval, median, median_interval};

/// The version of the form; a reader refuses others.
pub const SCHEMA_VERSION: u32 = 1;

/// A run: where, of what, its rows and their geometric means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The version of this form: 1.
    pub schema_version: u32,
    /// When the run began, in seconds since 1970.
    pub unix_time: u64,
    /// On what.
    pub machine: Machine,
    /// The commit of our engine, with `-dirty` where the checkout differed from it.
    pub revision: String,
    /// The version of libtorch.
    pub libtorch: String,
    /// What the caches held when a sample began.
    pub cache: Cache,
    /// One per shape and setting.
    pub rows: Vec<Row>,
    /// `<op>/<dtype>/<layout>/<threads>`: the geometric mean of the ratios of all its
    /// rows, weighted by count.
    pub geomean: BTreeMap<String, f64>,
    /// The 95 % confidence intervals of those.
    pub geomean_interval: BTreeMap<String, [f64; 2]>,
    /// The same means of each network's rows alone.
    pub geomeans_by_network: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// Whose layer.
    pub network: String,
    /// (N, C, *).
    pub shape: Vec<usize>,
    /// How many layers of the network have this shape.
    pub count: usize,
    /// Of input and output. Parameters are f64 beside f64, else f32.
    pub dtype: DType,
    /// Of input, output and their gradients.
    pub layout: Layout,
    /// What was timed.
    pub op: Op,
    /// How many threads each contestant had; on a GPU 1, which makes the calls.
    pub threads: usize,
}

/// One operation on one shape.
///
/// `ours_s` is the median over the rounds; each other time is `ours_s` times the median
/// of its ratio to ours in the same round. So the quotient of two times of a row is the
/// paired ratio, which a drift of the machine does not move, and not that of two medians.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// What was timed, on what.
    #[serde(flatten)]
    pub subject: Subject,
    /// Seconds per call of our engine.
    pub ours_s: f64,
    /// Seconds per call of libtorch; on a GPU of its own kernels.
    pub libtorch_s: f64,
    /// Seconds per call of cuDNN, where it took part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn_s: Option<f64>,
    /// Seconds that libtorch's `copy_` takes to move as many bytes as the operation
    /// must: one copy of the input for two arrays, as forward; 1.5 for three, as backward.
    pub copy_s: f64,
    /// The same for a copy with streaming stores, where the processor has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_copy_s: Option<f64>,
    /// libtorch_s / ours_s.
    pub ratio: f64,
    /// The lower end of the ratio's 95 % confidence interval.
    pub ratio_low: f64,
    /// The upper end.
    pub ratio_high: f64,
    /// cudnn_s / ours_s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn_ratio: Option<f64>,
    /// The 95 % confidence interval of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn_ratio_interval: Option<[f64; 2]>,
    /// What the operation must move: 2 to 4 arrays of the input's size.
    pub bytes: u64,
    /// bytes / ours_s / 10⁹.
    pub gb_per_s: f64,
    /// copy_s / ours_s.
    pub copy_fraction: f64,
    /// stream_copy_s / ours_s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_fraction: Option<f64>,
    /// What there is to say besides.
    #[serde(flatten)]
    pub remarks: Remarks,
    /// What was measured; left out of a history.
    #[serde(default, skip_serializing_if = "Samples::is_empty")]
    pub samples: Samples,
}

/// What was found out about the others before they were timed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Remarks {
    /// Where libtorch's own result is further from the truth than a right engine can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libtorch_outside: Option<String>,
    /// The same of cuDNN's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn_outside: Option<String>,
    /// Why cuDNN was not timed on a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn_refused: Option<String>,
}

/// The raw samples of a row: seconds per call, two for each round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Samples {
    /// Our engine.
    pub ours: Rounds,
    /// libtorch.
    pub libtorch: Rounds,
    /// cuDNN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn: Option<Rounds>,
    /// One copy of the input by libtorch.
    pub copy: Rounds,
    /// One copy of the input with streaming stores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_copy: Option<Rounds>,
}

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no record.
    #[error("{path}: not a record of bn-perf: {source}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// It is one of another version.
    #[error("{path}: schema version {found}, expected {SCHEMA_VERSION}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version that it has.
        found: Value,
    },
}

impl Subject {
    /// What the geometric means are sorted by: `forward-train/f32/contiguous/1`.
    pub fn key(&self) -> String {
        let Subject { op, dtype, layout, threads, .. } = self;
        format!("{op}/{dtype}/{layout}/{threads}")
    }

    /// What the operation must move at the least, in bytes.
    pub fn bytes(&self) -> u64 {
        (self.op.streams() * self.shape.iter().product::<usize>() * self.dtype.bytes()) as u64
    }
}

impl Samples {
    /// Whether they were left out.
    pub fn is_empty(&self) -> bool {
        *self == Samples::default()
    }
}

impl Row {
    /// The figures that the samples give.
    ///
    /// # Panics
    /// If there are no rounds.
    pub fn new(subject: Subject, samples: Samples, remarks: Remarks) -> Row {
        let ours_s = median(&means(&samples.ours));
        let to_ours = |rounds: &Rounds| ratios(rounds, &samples.ours);
        let libtorch = to_ours(&samples.libtorch);
        let [ratio_low, ratio_high] = median_interval(&libtorch);
        let ratio = median(&libtorch);
        let cudnn = samples.cudnn.as_ref().map(to_ours);
        let cudnn_ratio = cudnn.as_deref().map(median);
        // A copy moves two arrays.
        let copies = subject.op.streams() as f64 / 2.0;
        let copy_fraction = copies * median(&to_ours(&samples.copy));
        let stream_fraction = samples.stream_copy.as_ref().map(|rounds| copies * median(&to_ours(rounds)));
        let bytes = subject.bytes();
        Row {
            subject,
            ours_s,
            libtorch_s: ours_s * ratio,
            cudnn_s: cudnn_ratio.map(|ratio| ours_s * ratio),
            copy_s: ours_s * copy_fraction,
            stream_copy_s: stream_fraction.map(|fraction| ours_s * fraction),
            ratio,
            ratio_low,
            ratio_high,
            cudnn_ratio,
            cudnn_ratio_interval: cudnn.as_deref().map(median_interval),
            bytes,
            gb_per_s: bytes as f64 / ours_s / 1e9,
            copy_fraction,
            stream_fraction,
            remarks,
            samples,
        }
    }

    /// libtorch's time over ours, round by round.
    pub fn round_ratios(&self) -> Vec<f64> {
        ratios(&self.samples.libtorch, &self.samples.ours)
    }
}

/// Geometric means by key.
type Means = BTreeMap<String, f64>;

/// The ratios of rows, weighted by count, under the keys of [`Subject::key`].
fn geometric_means<'a>(rows: impl Iterator<Item = &'a Row>) -> Means {
    let mut by_key = BTreeMap::<String, Vec<(usize, f64)>>::new();
    for row in rows {
        by_key.entry(row.subject.key()).or_default().push((row.subject.count, row.ratio));
    }
    by_key.into_iter().map(|(key, ratios)| (key, geometric_mean(ratios))).collect()
}

fn intervals(rows: &[Row]) -> BTreeMap<String, [f64; 2]> {
    let mut by_key = BTreeMap::<String, Vec<(usize, Vec<f64>)>>::new();
    for row in rows {
        by_key.entry(row.subject.key()).or_default().push((row.subject.count, row.round_ratios()));
    }
    let interval_of = |rows: &[(usize, Vec<f64>)]| {
        mean_interval(
            &rows.iter().map(|(count, ratios)| Weighted { count: *count, ratios }).collect::<Vec<_>>(),
        )
    };
    by_key.into_iter().map(|(key, rows)| (key, interval_of(&rows))).collect()
}

impl Record {
    /// A record of these rows, with their means.
    pub fn new(unix_time: u64, machine: Machine, cache: Cache, rows: Vec<Row>) -> Record {
        let mut networks: Vec<&str> = rows.iter().map(|row| row.subject.network.as_str()).collect();
        networks.dedup();
        let of = |network| rows.iter().filter(move |row: &&Row| row.subject.network == network);
        Record {
            schema_version: SCHEMA_VERSION,
            unix_time,
            machine,
            revision: machine::revision(),
            libtorch: bn_oracle::version::loaded(),
            cache,
            geomean: geometric_means(rows.iter()),
            geomean_interval: intervals(&rows),
            geomeans_by_network: networks
                .into_iter()
                .map(|network| (network.to_owned(), geometric_means(of(network))))
                .collect(),
            rows,
        }
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn read(path: &Path) -> Result<Record, RecordError> {
        let file = |source| FileError { path: path.into(), source };
        let form = |source| RecordError::Form { path: path.into(), source };
        let value: Value = serde_json::from_str(&fs::read_to_string(path).map_err(file)?).map_err(form)?;
        match value.get("schema_version") {
            Some(found) if *found != SCHEMA_VERSION => {
                Err(RecordError::Version { path: path.into(), found: found.clone() })
            }
            _ => serde_json::from_value(value).map_err(form),
        }
    }

    /// Writes the record to a file, all of it or nothing.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        WholeFile::create(path)?.finish(self.to_json())
    }

    /// The record as one line of JSON, with its end.
    ///
    /// # Panics
    /// Never: a record has nothing that JSON has not.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a record is JSON") + "\n"
    }
}

/// The JSON Schema of a record.
pub fn schema() -> Value {
    schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Record>()
        .into()
}
