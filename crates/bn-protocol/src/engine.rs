//! How an implementation of batch norm plugs in.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::case::Case;
use crate::outcome::Outcome;
use crate::timing::{Timed, Timing};

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

    /// A program in the framework's own words that plays the case, for its maintainers.
    /// Asked only where [`About::offers`] says so.
    fn reproduce(&mut self, _case: &Case) -> Result<Reproduction, EngineError> {
        Err(EngineError::Unsupported("it writes no reproductions".into()))
    }

    /// Times a pass. Asked only where [`About::offers`] says so.
    fn time(&mut self, _timing: &Timing) -> Result<Timed, EngineError> {
        Err(EngineError::Unsupported("it is not timed".into()))
    }
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
    /// What it can be asked besides the cases.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub offers: BTreeSet<Offer>,
    /// The engine whose kernels it calls, if it is only a wrapper around them: what is
    /// disputed of that one is disputed of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernels: Option<String>,
}

impl About {
    /// An engine with these claims, that offers nothing else and calls nobody's kernels.
    pub fn new(name: &str, version: &str, claims: impl IntoIterator<Item = Capability>) -> Self {
        About {
            name: name.into(),
            version: version.into(),
            claims: claims.into_iter().collect(),
            offers: BTreeSet::new(),
            kernels: None,
        }
    }

    /// The same, and it offers this.
    pub fn offering(mut self, offers: impl IntoIterator<Item = Offer>) -> Self {
        self.offers.extend(offers);
        self
    }
}

/// What an engine may be asked besides cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// [`Engine::reproduce`].
    Reproduce,
    /// [`Engine::time`].
    Time,
}

/// A short program that plays a case without the suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reproduction {
    /// As a fence of Markdown names it: `rust`, `python`.
    pub language: String,
    /// The program. It prints what the case asks for.
    pub code: String,
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
    /// It was not asked any more.
    #[error("not asked: {0}")]
    GivenUp(String),
}
