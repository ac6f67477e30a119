//! The recorded curves: libtorch's own trainings, and how far another may be from them.
//!
//! A file for each network, with a curve for each of its runs: the loss of every step, and for
//! every gradient, parameter and buffer its projection after every step ([`drift::projection`]). The
//! expected numbers are those that libtorch's autograd and optimisers gave; the allowances are
//! [`drift::allowances`]. They are made by `scripts/record-curves`, and need libtorch for that alone.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::drift::{self, Curve};
use super::follow::Trainee;
use super::selection::{Disagreement, Run, STEPS};
use crate::blueprint::{Document, Norm};
use crate::network::Engine;

/// The version of the files' form; a reader refuses any other.
pub const SCHEMA_VERSION: u32 = 1;

/// The curves of one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurveFile {
    /// The version of this form.
    pub schema_version: u32,
    /// The network.
    pub document: Document,
    /// What computed the expected numbers.
    pub oracle: String,
    /// The command that wrote the file.
    pub command: String,
    /// SHA-256 of `curves` as compact JSON.
    pub sha256: String,
    /// One for each run, in the order of [`Run::all`].
    pub curves: Vec<Recorded>,
}

/// A recorded training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Where the batch norm is.
    pub norm: Norm,
    /// Whose it is.
    pub engine: Engine,
    /// `f32` or `f64`.
    pub dtype: String,
    /// Σ of all inputs, which tells that the batches are the same.
    pub inputs: f64,
    /// The loss of each step.
    pub losses: Series,
    /// Gradients, parameters and buffers.
    pub entries: Vec<Entry>,
}

/// A gradient, a parameter or a buffer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name in the state dictionary, with `.grad` behind it for a gradient.
    pub name: String,
    /// Its projection after each step.
    pub projections: Series,
}

/// Numbers, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What is expected.
    pub expected: Vec<f64>,
    /// How far from it another may be.
    pub allowance: Vec<f64>,
}

/// Why a file of curves was refused, or a training disagrees with it.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// Unreadable.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No JSON, cut off, or of another form.
    #[error("{path}: not a file of curves: {source}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Written for another reader.
    #[error("{path}: expected schema_version {SCHEMA_VERSION}, got {got}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: u64,
    },
    /// Changed by another hand.
    #[error(
        "{path}: the curves' SHA-256 is {actual}, and the file says {stated}: it was edited or damaged; \
             scripts/record-curves writes it anew"
    )]
    Tampered {
        /// The file.
        path: PathBuf,
        /// What the file says.
        stated: String,
        /// What it is.
        actual: String,
    },
    /// A run without a curve.
    #[error("{path}: no curve of {run}; scripts/record-curves records it")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The run.
        run: String,
    },
    /// Other batches than those that were recorded.
    #[error("{run}: the inputs add up to {actual:e}, and to {expected:e} when the curve was recorded")]
    Inputs {
        /// The run.
        run: String,
        /// What was recorded.
        expected: f64,
        /// What they are now.
        actual: f64,
    },
    /// Another number than may be.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
}

/// The folder of the committed files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("curves")
}

/// The file of a network.
pub fn path(folder: &Path, document: Document) -> PathBuf {
    folder.join(document.name()).with_extension("json")
}

fn digest(curves: &[Recorded]) -> String {
    let text = serde_json::to_string(curves).expect("plain data");
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl CurveFile {
    /// Recorded curves, with their digest.
    pub fn new(document: Document, oracle: String, curves: Vec<Recorded>) -> Self {
        let (command, sha256) = ("scripts/record-curves".into(), digest(&curves));
        CurveFile { schema_version: SCHEMA_VERSION, document, oracle, command, sha256, curves }
    }

    /// Reads a network's file.
    ///
    /// # Errors
    /// [`GoldenError`], naming the file.
    pub fn read(folder: &Path, document: Document) -> Result<Self, GoldenError> {
        let path = path(folder, document);
        let text =
            fs::read_to_string(&path).map_err(|source| GoldenError::Io { path: path.clone(), source })?;
        let form = |source| GoldenError::Form { path: path.clone(), source };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(form)?;
        let version = value.get("schema_version").and_then(serde_json::Value::as_u64);
        if let Some(got) = version.filter(|&got| got != u64::from(SCHEMA_VERSION)) {
            return Err(GoldenError::Version { path, got });
        }
        let file: CurveFile = serde_json::from_value(value).map_err(form)?;
        let actual = digest(&file.curves);
        if actual != file.sha256 || file.document != document {
            return Err(GoldenError::Tampered { path, stated: file.sha256, actual });
        }
        Ok(file)
    }

    /// The curve of a run.
    ///
    /// # Errors
    /// [`GoldenError::Missing`].
    pub fn curve(&self, folder: &Path, run: Run) -> Result<&Recorded, GoldenError> {
        let found = self.curves.iter().find(|recorded| recorded.is_of(run));
        found.ok_or_else(|| GoldenError::Missing { path: path(folder, run.document), run: run.name() })
    }
}

/// Σ of all inputs of a run.
fn inputs(run: Run) -> f64 {
    (0..STEPS).map(|step| run.batch(step).0.sum()).sum()
}

/// So many digits of an allowance are kept, rounded up.
fn short(allowance: f64) -> f64 {
    format!("{:.2e}", allowance * 1.01).parse().expect("a number")
}

impl Recorded {
    /// A training, and how far others may be from it.
    pub fn new(run: Run, trained: &Curve, allowances: &Curve) -> Self {
        let series = |expected: &[f64], allowance: &[f64]| Series {
            expected: expected.to_vec(),
            allowance: allowance.iter().map(|&allowance| short(allowance)).collect(),
        };
        let entry = |(name, expected): &(String, Vec<f64>)| {
            let allowance = allowances.entries.iter().find(|(known, _)| known == name);
            let projections = series(expected, &allowance.expect("the same names").1);
            Entry { name: name.clone(), projections }
        };
        Recorded {
            norm: run.norm,
            engine: run.engine,
            dtype: run.dtype.to_string(),
            inputs: inputs(run),
            losses: series(&trained.losses, &allowances.losses),
            entries: trained.entries.iter().map(entry).collect(),
        }
    }

    fn is_of(&self, run: Run) -> bool {
        (self.norm, self.engine, self.dtype.as_str()) == (run.norm, run.engine, run.dtype.name())
    }

    /// Trains freely, and compares every step. Gives the largest part of an allowance that was taken.
    ///
    /// # Errors
    /// [`GoldenError::Inputs`], [`GoldenError::Disagreement`].
    pub fn check(&self, run: Run, trainee: &mut dyn Trainee) -> Result<f64, GoldenError> {
        let actual = inputs(run);
        if actual != self.inputs {
            return Err(GoldenError::Inputs { run: run.name(), expected: self.inputs, actual });
        }
        let trained = drift::train(run, trainee);
        let mut worst = self.losses.check(run, "loss", &trained.losses)?;
        for Entry { name, projections } in &self.entries {
            let got = trained.entries.iter().find(|(known, _)| known == name);
            let got = got.map_or(&[][..], |(_, got)| got);
            worst = worst.max(projections.check(run, name, got)?);
        }
        Ok(worst)
    }
}

impl Series {
    fn check(&self, run: Run, name: &str, got: &[f64]) -> Result<f64, Disagreement> {
        let mut worst = 0.0_f64;
        for (step, (&expected, &allowance)) in self.expected.iter().zip(&self.allowance).enumerate() {
            // What is not there is not a number.
            let got = got.get(step).copied().unwrap_or(f64::NAN);
            let part = if got == expected { 0.0 } else { (got - expected).abs() / allowance };
            if part.is_nan() || part > 1.0 {
                let (run, name) = (run.name(), name.to_owned());
                return Err(Disagreement { run, step, name, index: 0, got, expected, allowance });
            }
            worst = worst.max(part);
        }
        Ok(worst)
    }
}
