//! A case with its expected answer, and the files that hold them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::number::{self, Number};
use crate::outcome::{Field, RefusalKind};
use crate::tensor::Tensor;

/// A case and the truth about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// What is asked.
    pub case: Case,
    /// What is right, one entry per step.
    pub expected: Vec<Expected>,
    /// Set where the oracle is known to differ from the truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disputed: Option<Dispute>,
}

/// What is right for one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The true arrays, and how far an element may be from them.
    #[serde(default)]
    pub fields: BTreeMap<Field, ExpectedField>,
    /// The counter after the step, where the layer has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_batches_tracked: Option<i64>,
    /// Set where the step must be refused; `fields` then holds the buffers as
    /// the refused step must leave them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusalKind>,
}

/// A true array with its allowances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedField {
    /// The truth, correctly rounded to its dtype.
    pub value: Tensor,
    /// |got − expected| ≤ allowance, element by element, in the order of the
    /// data. Where the truth is NaN or infinite only the same is right, and
    /// the allowance is 0.
    #[serde(with = "number::list")]
    #[schemars(with = "Vec<Number>")]
    pub allowance: Vec<f64>,
}

/// A known difference between the oracle and the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// The engine whose failure here is known.
    pub engine: String,
    /// The arrays that it gets wrong. None at all: it raises an error instead of answering.
    pub fields: Vec<Field>,
    /// What it does, and why the truth stands all the same.
    pub note: String,
    /// Whether it depends on the numbers if the fault shows: then the case may pass
    /// as well, and only of all the cases that share the note one has to fail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sporadic: bool,
}
