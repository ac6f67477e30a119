//! How an implementation of batch norm plugs in.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::case::Case;
use crate::outcome::Outcome;

/// An implementation under test.
///
/// An engine answers every case whose [`Case::requires`] it claims; a claim is
/// a promise, and [`EngineError::Unsupported`] on a claimed case is a failure.
/// `run` starts from a fresh layer each time: nothing may be left over from the
/// case before.
pub trait Engine {
    /// Name, version and claims.
    fn about(&self) -> &About;

    /// Plays the case's script: one outcome per step, in order.
    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError>;
}

/// Who an engine is, and what it says it can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// A short name, such as `batchnorm` or `libtorch`.
    pub name: String,
    /// The version of the implementation, as its authors write it.
    pub version: String,
    /// What it takes upon itself. Cases that need more are counted as unsupported.
    pub claims: BTreeSet<Capability>,
}

/// Why an engine gave no outcomes for a case.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// It says that it cannot do this case. A failure if the case needs only what it claims.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// It raised an error that is not a refusal, and can be asked again.
    #[error("failed: {0}")]
    Failed(String),
    /// It died or panicked.
    #[error("crashed: {0}")]
    Crashed(String),
    /// It did not answer in time.
    #[error("no answer within {seconds} s")]
    TimedOut {
        /// The limit that passed.
        seconds: u64,
    },
    /// What it answered is not an answer.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// It could not be started.
    #[error("cannot start: {0}")]
    NotStarted(String),
}
