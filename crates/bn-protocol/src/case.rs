//! What an engine is asked: a layer, the state it starts from, and a script of
//! steps. The expected answers live apart (in the suite), so that what
//! is sent to an engine cannot leak them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::{self, Number};
use crate::tensor::Tensor;

/// One question of the suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `group/fault-it-exposes`, unique in the catalogue.
    pub name: String,
    /// Why the case exists: what a failure here means.
    pub note: String,
    /// The layer's configuration.
    pub layer: Layer,
    /// Parameters and buffers before the first step.
    pub state: State,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

impl Case {
    /// The part of the name before the slash.
    pub fn group(&self) -> &str {
        self.name.split_once('/').map_or("", |(group, _)| group)
    }
}

/// Which inputs a layer takes, as PyTorch's classes differ in nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Rank {
    /// `BatchNorm1d`: (N, C) or (N, C, L).
    #[serde(rename = "1d")]
    One,
    /// `BatchNorm2d`: (N, C, H, W).
    #[serde(rename = "2d")]
    Two,
    /// `BatchNorm3d`: (N, C, D, H, W).
    #[serde(rename = "3d")]
    Three,
    /// The function under the modules: any rank from 2 up.
    #[serde(rename = "any")]
    Any,
}

/// The configuration of a batch-norm layer, in PyTorch's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Which input ranks are taken.
    pub rank: Rank,
    /// C, the number of channels.
    pub num_features: usize,
    /// Added to the variance under the root.
    #[serde(with = "number::plain")]
    #[schemars(with = "Number")]
    pub eps: f64,
    /// The weight of the new value in the running statistics; null asks for the
    /// cumulative average.
    pub momentum: Option<Number>,
    /// Whether training steps update the running statistics and the counter.
    pub track_running_stats: bool,
}

impl Default for Layer {
    /// PyTorch's defaults, one channel, any rank.
    fn default() -> Self {
        Layer {
            rank: Rank::Any,
            num_features: 1,
            eps: 1e-5,
            momentum: Some(Number(0.1)),
            track_running_stats: true,
        }
    }
}

/// Parameters and buffers under PyTorch's names. What a layer does not have is
/// null: no weight and no bias is `affine=False`; weight alone or bias alone is
/// allowed; so is one running statistic without the other, which training and
/// evaluation must then refuse.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// γ, of length C.
    pub weight: Option<Tensor>,
    /// β, of length C.
    pub bias: Option<Tensor>,
    /// Running mean, of length C.
    pub running_mean: Option<Tensor>,
    /// Running (unbiased) variance, of length C.
    pub running_var: Option<Tensor>,
    /// Training batches seen so far.
    pub num_batches_tracked: Option<i64>,
}

/// Which statistics a forward pass is asked to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Batch statistics; running statistics are updated when tracked.
    Train,
    /// Running statistics, or batch statistics where the layer has none.
    Eval,
}

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// A forward pass, and with `grad_output` the backward pass that belongs to it.
    /// Answers `output`, then whichever of `running_mean`, `running_var` and
    /// `num_batches_tracked` the layer has, then the gradients asked for.
    BatchNorm(Box<Pass>),
    /// `reset_running_stats()` or `reset_parameters()`. Answers every parameter and buffer.
    Reset {
        /// Which of the two.
        what: Reset,
    },
    /// Folds the layer, in evaluation, into the linear map or convolution before
    /// it. Answers `folded_weight` and `folded_bias`.
    Fold(Fold),
    /// A training forward over a batch that arrives in parts, as SyncBatchNorm's
    /// ranks hold it. Answers `mean` and `var_biased` of the whole, `output` (the
    /// parts' outputs joined along N) and the buffers as a whole batch leaves them.
    Merge {
        /// (Nᵢ, C, *) each; Nᵢ may be 0.
        parts: Vec<Tensor>,
    },
}

impl Step {
    /// The array that the step works on: the input, the first part of a batch in
    /// parts, the weight of the map that is folded into; none for a reset.
    pub fn input(&self) -> Option<&Tensor> {
        match self {
            Step::BatchNorm(pass) => Some(&pass.input),
            Step::Merge { parts } => parts.first(),
            Step::Fold(fold) => Some(&fold.weight),
            Step::Reset { .. } => None,
        }
    }
}

/// A forward pass and, if asked, the backward passes that belong to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// Train or eval.
    pub mode: Mode,
    /// x, (N, C, *).
    pub input: Tensor,
    /// ∂loss/∂output, of the input's shape and dtype.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_output: Option<Tensor>,
    /// Which gradients are asked for; all that the layer has when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_mask: Option<OutputMask>,
    /// When true, the backward pass runs after the last step's forward pass
    /// (with the statistics of *this* step's forward all the same).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backward_at_end: bool,
    /// Cotangents of the first gradients; with them, the second gradients are
    /// asked for. Needs `grad_output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cotangents: Option<Cotangents>,
}

impl Pass {
    /// A forward pass alone.
    pub fn forward(mode: Mode, input: Tensor) -> Self {
        Pass { mode, input, grad_output: None, output_mask: None, backward_at_end: false, cotangents: None }
    }
}

/// Which gradients a backward pass is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputMask {
    /// `grad_input`.
    pub input: bool,
    /// `grad_weight`.
    pub weight: bool,
    /// `grad_bias`.
    pub bias: bool,
}

/// Cotangents u, v, t of a double backward: the second gradients are those of
/// S = Σ u·grad_input + Σ v·grad_weight + Σ t·grad_bias, with respect to
/// grad_output, input and weight. What is null counts as 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cotangents {
    /// u, of the input's shape.
    pub grad_input: Option<Tensor>,
    /// v, of length C; only where the layer has a weight.
    pub grad_weight: Option<Tensor>,
    /// t, of length C; only where the layer has a bias.
    pub grad_bias: Option<Tensor>,
}

/// What a reset resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// `reset_running_stats()`: running mean 0, running variance 1, counter 0.
    RunningStats,
    /// `reset_parameters()`: the same, and weight 1, bias 0.
    Parameters,
}

/// The map that precedes a batch norm, for folding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// What kind of map it is.
    pub into: FoldInto,
    /// Its number of groups; 1 for a linear map.
    pub groups: usize,
    /// Its weight: linear (out, in); convolution (out, in/groups, *kernel);
    /// transposed convolution (in, out/groups, *kernel).
    pub weight: Tensor,
    /// Its bias, of length out.
    pub bias: Option<Tensor>,
}

/// The kind of map that a batch norm is folded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoldInto {
    /// `Linear`.
    Linear,
    /// `Conv1d`, `Conv2d`, `Conv3d`.
    Conv,
    /// `ConvTranspose1d`, `2d`, `3d`.
    ConvTranspose,
}
