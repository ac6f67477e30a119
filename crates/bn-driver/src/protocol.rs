//! What a gate and a driver say to each other: a line of JSON each way.
//!
//! ```text
//! → {"prepare":{"shape":[16,16,32,32],"dtype":"f32","layout":"contiguous","op":"forward-train","threads":1}}
//! ← {"ready":{"digest":"85944171f73967e8"}}
//! → {"calibrate":{"seconds":0.002,"multiple":20}}
//! ← {"calibrated":{"calls":40}}
//! → {"sample":{"lead_in":10,"calls":40}}
//! ← {"sampled":{"seconds":0.00201}}
//! ```
//!
//! Between two requests the driver waits for its standard input and does nothing, so two
//! of them can take turns on one machine. What cannot be done is answered with
//! `{"error":"…"}`, and the driver goes on. It ends with its standard input.

use serde::{Deserialize, Serialize};

use crate::axes::{DType, Layout, Op};

/// What is timed, on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// (N, C, *).
    pub shape: Vec<usize>,
    /// Of input and output.
    pub dtype: DType,
    /// Of input, output and their gradients.
    pub layout: Layout,
    /// The operation.
    pub op: Op,
    /// How many threads it may take.
    pub threads: usize,
}

/// What a driver is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Makes the row's values, does the operation once and looks at the result. The other
    /// requests are about the row that was prepared last.
    Prepare(Row),
    /// How many calls last so long.
    Calibrate {
        /// What a sample is to last, in seconds.
        seconds: f64,
        /// The answer is a multiple of this.
        multiple: usize,
    },
    /// Times some calls in a row.
    Sample {
        /// Calls before the clock starts.
        lead_in: usize,
        /// Calls that are timed.
        calls: usize,
        /// More calls that are timed, but not meant: a slowdown by extra / calls, by which
        /// a gate can be tried.
        #[serde(default, skip_serializing_if = "is_none")]
        extra: usize,
    },
    /// One call, through a function of its own, [`crate::session::COUNTED`], whose
    /// instructions a tool can count.
    Once {},
}

fn is_none(extra: &usize) -> bool {
    *extra == 0
}

/// What a driver answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// To [`Request::Prepare`]: the result is finite.
    Ready {
        /// A hash of the bits of all results.
        digest: String,
    },
    /// To [`Request::Calibrate`].
    Calibrated {
        /// As many last as long as was asked, or longer.
        calls: usize,
    },
    /// To [`Request::Sample`].
    Sampled {
        /// What calls and extra calls took together.
        seconds: f64,
    },
    /// To [`Request::Once`].
    Done {},
    /// What was asked cannot be done, and why.
    Error(String),
}
