//! What an engine answers: for each step its fields, and a refusal where the
//! step could not be done.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::tensor::Tensor;

/// The name of an array in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// y, of the input's shape, dtype and memory order.
    Output,
    /// ∂loss/∂input, of the input's shape, dtype and memory order.
    GradInput,
    /// ∂loss/∂weight, of length C.
    GradWeight,
    /// ∂loss/∂bias, of length C.
    GradBias,
    /// ∂S/∂grad_output of the double backward.
    SecondGradOutput,
    /// ∂S/∂input of the double backward.
    SecondGradInput,
    /// ∂S/∂weight of the double backward.
    SecondGradWeight,
    /// The weight after the step (resets only).
    Weight,
    /// The bias after the step (resets only).
    Bias,
    /// The running mean after the step.
    RunningMean,
    /// The running variance after the step.
    RunningVar,
    /// The mean of a merged batch, of length C.
    Mean,
    /// The biased variance of a merged batch, of length C.
    VarBiased,
    /// The folded weight.
    FoldedWeight,
    /// The folded bias.
    FoldedBias,
}

impl Field {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Field::Output => "output",
            Field::GradInput => "grad_input",
            Field::GradWeight => "grad_weight",
            Field::GradBias => "grad_bias",
            Field::SecondGradOutput => "second_grad_output",
            Field::SecondGradInput => "second_grad_input",
            Field::SecondGradWeight => "second_grad_weight",
            Field::Weight => "weight",
            Field::Bias => "bias",
            Field::RunningMean => "running_mean",
            Field::RunningVar => "running_var",
            Field::Mean => "mean",
            Field::VarBiased => "var_biased",
            Field::FoldedWeight => "folded_weight",
            Field::FoldedBias => "folded_bias",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an engine answers for one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The arrays. A refused step still answers the buffers, as it left them.
    #[serde(default)]
    #[schemars(schema_with = "arrays_by_name")]
    pub fields: BTreeMap<Field, Tensor>,
    /// The counter after the step, where the layer has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_batches_tracked: Option<i64>,
    /// Why the step was refused, if it was. Later steps still run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// A map as schemars has it would take any name.
fn arrays_by_name(generator: &mut SchemaGenerator) -> Schema {
    let (name, array) = (generator.subschema_for::<Field>(), generator.subschema_for::<Tensor>());
    json_schema!({ "type": "object", "propertyNames": name, "additionalProperties": array })
}

/// A step that an engine declined, with its reason. A panic, an exception that
/// the engine did not mean, or a crash is no refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The reason, sorted.
    pub kind: RefusalKind,
    /// The reason, in the engine's own words.
    pub message: String,
}

/// Why batch norm may decline a step. When several hold, PyTorch reports the
/// first in this order; in evaluation it finds a running statistic missing when it
/// comes to check that one's length: running_mean, running_var, weight, bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The input's rank is not one that the layer takes.
    Rank,
    /// Momentum null with a counter of −1: the factor would be 1/0.
    CounterZero,
    /// One value per channel where batch statistics are needed.
    TooFewValues,
    /// `eps` is not positive in training, or is negative in evaluation.
    Eps,
    /// A parameter's or buffer's length is not the input's channel count.
    NumFeatures,
    /// One running statistic is present and the other is not.
    RunningStats,
    /// A dtype, or a mix of dtypes, that batch norm does not take.
    Dtype,
    /// `grad_output` or a cotangent does not have the shape of its counterpart.
    Shape,
    /// The engine does not sort its refusals: matches any expected kind.
    Unsorted,
}

impl RefusalKind {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            RefusalKind::Rank => "rank",
            RefusalKind::CounterZero => "counter_zero",
            RefusalKind::TooFewValues => "too_few_values",
            RefusalKind::RunningStats => "running_stats",
            RefusalKind::NumFeatures => "num_features",
            RefusalKind::Eps => "eps",
            RefusalKind::Dtype => "dtype",
            RefusalKind::Shape => "shape",
            RefusalKind::Unsorted => "unsorted",
        }
    }
}
