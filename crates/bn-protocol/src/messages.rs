//! The lines themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::engine::{About, Reproduction};
use crate::outcome::Outcome;
use crate::timing::{Timed, Timing};

/// The version of the protocol that this suite speaks.
pub const VERSION: u32 = 1;

/// What the suite writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The first request, and again after each answer to a `run`.
    Hello {
        /// The version that the suite speaks.
        protocol: u32,
    },
    /// Play this case.
    Run(Box<Case>),
    /// Write a program that plays this case. Asked of an engine that offers `reproduce`.
    Reproduce(Box<Case>),
    /// Time a pass. Asked of an engine that offers `time`.
    Time(Box<Timing>),
    /// Nothing more will be asked.
    Bye,
}

/// What an engine's program answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `hello`.
    Hello(About),
    /// To `run`: one outcome per step.
    Outcomes(Vec<Outcome>),
    /// To `reproduce`: the program.
    Reproduction(Reproduction),
    /// To `time`: how long each call took.
    Timed(Timed),
    /// To all but `hello`: the engine cannot do this, and says why.
    Unsupported(String),
    /// To any: the engine failed, and says how.
    Error(String),
}
